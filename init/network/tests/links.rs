//! The daemon with files of links: static addresses, bridges, routers, names, faults, restarts, orders.
//!
//! Needs root, `ip` and `dnsmasq`. Kinds of links that this kernel cannot make are said and left to the machine test.

#[path = "support/lab.rs"]
mod lab;

use std::process::{Command, Stdio};

use lab::{Lab, interface};

const STATIC: &str = "[Match]\nName=eth0\n[Link]\nMTUBytes=1400\n[Network]\nAddress=10.77.0.5/24\nGateway=10.77.0.1\n\
    DNS=10.77.0.3\nDomains=example.org ~corp.example\nNTP=10.77.0.4\n[Address]\nAddress=fd77::5/64\nLabel=x\n\
    [Route]\nDestination=10.88.0.0/16\nGateway=10.77.0.9\nMetric=50\nTable=100\nMTUBytes=1300\n\
    [Route]\nDestination=10.99.0.0/16\nType=unreachable\n[Route]\nDestination=fd99::/64\nGateway=fd77::1\n\
    [RoutingPolicyRule]\nFrom=10.77.0.0/24\nTable=100\nPriority=90\n";

#[test]
fn a_file_gives_a_link_everything_and_networkctl_shows_it() {
    let mut lab = Lab::new("k");
    lab.file("10-eth0.network", STATIC);
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    let addresses = lab.shown(&["addr", "show", "dev", "eth0"]);
    for wanted in ["mtu 1400", "inet 10.77.0.5/24 brd 10.77.0.255", "inet6 fd77::5/64"] {
        assert!(addresses.contains(wanted), "{wanted}: {addresses}");
    }
    let routes = lab.shown(&["route", "show", "table", "all"]);
    for wanted in [
        "default via 10.77.0.1 dev eth0 proto static",
        "10.88.0.0/16 via 10.77.0.9 dev eth0 table 100 proto static metric 50 mtu 1300",
        "unreachable 10.99.0.0/16",
    ] {
        assert!(routes.contains(wanted), "{wanted}: {routes}");
    }
    assert!(lab.shown(&["-6", "route"]).contains("fd99::/64 via fd77::1 dev eth0 proto static metric 1024"));
    assert!(lab.shown(&["rule"]).contains("90:\tfrom 10.77.0.0/24 lookup 100 proto 70"), "{}", lab.shown(&["rule"]));
    assert!(lab.text("resolv").ends_with("nameserver 10.77.0.3\nsearch example.org\n"), "{}", lab.text("resolv"));
    let list = lab.networkctl(&["list"]).unwrap();
    assert!(
        list.starts_with("IDX LINK TYPE     OPERATIONAL SETUP\n  1 lo   loopback carrier     unmanaged\n"),
        "{list}"
    );
    assert!(
        list.contains(" eth0 ether    routable    configured\n") && list.ends_with("\n2 links listed.\n"),
        "{list}"
    );
    let status = lab.networkctl(&["status", "eth0"]).unwrap();
    for wanted in ["State: routable (configured)", "Address: 10.77.0.5", "Gateway: 10.77.0.1", "NTP: 10.77.0.4"] {
        assert!(status.contains(wanted), "{wanted}: {status}");
    }
    let json: serde_json::Value = serde_json::from_str(&lab.networkctl(&["--json=short", "list"]).unwrap()).unwrap();
    assert_eq!(interface(&json, "eth0").unwrap()["Addresses"][0]["ConfigSource"], "static");
    assert!(lab.networkctl(&["status", "eth9"]).unwrap_err().contains("no link 'eth9'"));
    assert!(lab.networkctl(&["lldp"]).unwrap_err().contains("'lldp' is not supported"));
}

#[test]
fn a_bridge_gets_its_lease_over_its_port() {
    let mut lab = Lab::new("l");
    lab.server(&["--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,2m", "--dhcp-option=option:router,10.77.0.1"]);
    lab.file("20-br0.netdev", "[NetDev]\nName=br0\nKind=bridge\n[Bridge]\nSTP=no\nForwardDelaySec=0\n");
    lab.file("20-br0.network", "[Match]\nName=br0\n[Network]\nDHCP=ipv4\n");
    lab.file("10-port.network", "[Match]\nName=eth0\n[Network]\nBridge=br0\n[Bridge]\nCost=77\n");
    lab.daemon();
    lab.must_be_online();
    let port = lab.shown(&["-d", "link", "show", "dev", "eth0"]);
    assert!(port.contains("master br0") && port.contains("cost 77"), "{port}");
    assert!(lab.shown(&["-4", "addr", "show", "dev", "br0"]).contains("inet 10.77.0."));
    assert!(lab.shown(&["addr", "show", "dev", "eth0"]).matches("inet").count() == 0, "a port has no address");
    assert!(lab.networkctl(&["list"]).unwrap().contains(" eth0 ether    enslaved    configured"), "{}", lab.log());
}

#[test]
fn routers_give_addresses_routes_servers_and_domains_where_nobody_answers_for_ipv4() {
    let mut lab = Lab::new("m");
    lab.ip(&["-n", &lab.far(), "addr", "add", "fd77::1/64", "dev", "srv0", "nodad"]);
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
    lab.server(&[
        "--enable-ra",
        "--dhcp-range=fd77::,ra-only,64,2m",
        "--dhcp-option=option6:dns-server,[fd77::53]",
        "--dhcp-option=option6:domain-search,six.example",
    ]);
    lab.daemon();
    lab.wait_for_state("an address, a gateway, a server and a domain", |state| {
        let Some(link) = interface(state, "eth0") else { return false };
        let sources =
            link["Addresses"].as_array().is_some_and(|all| all.iter().any(|one| one["ConfigSource"] == "NDisc"));
        sources
            && link["Gateways"][0]["ConfigSource"] == "NDisc"
            && link["DNS"][0] == "fd77::53"
            && link["SearchDomains"][0] == "six.example"
            && link["AdministrativeState"] == "configured"
    });
    assert!(lab.text("resolv").contains("nameserver fd77::53\nsearch six.example\n"), "{}", lab.text("resolv"));
    // Nobody says it again.
    lab.stop_server();
    lab.restart();
    lab.wait_for_setup("eth0", "configured");
    assert!(lab.text("resolv").contains("nameserver fd77::53\nsearch six.example\n"), "{}", lab.text("resolv"));
}

#[test]
fn a_link_that_was_made_follows_its_file_and_goes_by_order() {
    let mut lab = Lab::new("w");
    let file = |lab: &Lab, options: &str| {
        lab.file("20-br0.netdev", &format!("[NetDev]\nName=br0\nKind=bridge\n[Bridge]\n{options}\n"));
    };
    file(&lab, "STP=no\nForwardDelaySec=4");
    lab.file("20-br0.network", "[Match]\nName=br0\n[Network]\nAddress=10.91.0.1/24\nConfigureWithoutCarrier=yes\n");
    lab.file("10-port.network", "[Match]\nName=eth0\n[Network]\nBridge=br0\n");
    lab.daemon();
    lab.wait_for_setup("br0", "configured");
    let index = |lab: &Lab| lab.shown(&["link", "show", "dev", "br0"]).split(':').next().map(str::to_owned);
    let before = index(&lab);
    file(&lab, "STP=no\nForwardDelaySec=6\nAgeingTimeSec=77");
    lab.networkctl(&["reload"]).unwrap();
    let shown = lab.shown(&["-d", "link", "show", "dev", "br0"]);
    assert!(shown.contains("forward_delay 600 ") && shown.contains("ageing_time 7700 "), "{shown}");
    assert_eq!(index(&lab), before, "the same link");
    assert!(lab.log().contains("br0: changed as 20-br0.netdev says"), "{}", lab.log());
    assert!(lab.networkctl(&["delete", "lo"]).unwrap_err().contains("'lo' was not made by software"));
    lab.networkctl(&["delete", "br0"]).unwrap();
    lab.wait_for_state("no br0", |state| interface(state, "br0").is_none() && interface(state, "eth0").is_some());
    assert!(lab.networkctl(&["delete", "br0"]).unwrap_err().contains("no link 'br0'"));
    lab.networkctl(&["reload"]).unwrap();
    lab.wait_for_setup("br0", "configured");
    lab.wait_for_setup("eth0", "configured");
    assert!(lab.shown(&["link", "show", "dev", "eth0"]).contains("master br0"));
}

#[test]
fn a_link_that_shall_be_off_is_switched_off_once() {
    let mut lab = Lab::new("x");
    lab.ip(&["-n", &lab.near(), "link", "set", "eth0", "up"]);
    lab.file("10-eth0.network", &STATIC.replace("[Link]", "[Link]\nActivationPolicy=down"));
    lab.daemon();
    let off =
        |state: &serde_json::Value| interface(state, "eth0").is_some_and(|link| link["OperationalState"] == "off");
    lab.wait_for_state("off", off);
    lab.networkctl(&["up", "eth0"]).unwrap();
    lab.wait_for_setup("eth0", "configured");
    lab.restart();
    lab.wait_for_setup("eth0", "configured");
    assert!(lab.shown(&["link", "show", "dev", "eth0"]).contains(",UP"), "{}", lab.log());
    lab.networkctl(&["reconfigure", "eth0"]).unwrap();
    lab.wait_for_state("off again", off);
}

#[test]
fn an_address_of_dhcpv6_outlives_the_daemon() {
    let mut lab = Lab::new("n");
    lab.ip(&["-n", &lab.far(), "addr", "add", "fd77::1/64", "dev", "srv0", "nodad"]);
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\n");
    lab.server(&[
        "--enable-ra",
        "--dhcp-range=fd77::100,fd77::1ff,64,2m",
        "--dhcp-option=option6:dns-server,[fd77::53]",
    ]);
    lab.daemon();
    let leased = |state: &serde_json::Value| {
        let link = interface(state, "eth0");
        let addresses = link.and_then(|link| link["Addresses"].as_array());
        addresses.is_some_and(|all| all.iter().any(|one| one["ConfigSource"] == "DHCPv6" && one["Tentative"] == false))
    };
    lab.wait_for_state("an address of DHCPv6", leased);
    let watch = lab.watch();
    lab.stop_last();
    std::fs::remove_file(lab.path("report.json")).unwrap();
    lab.daemon();
    lab.wait_for_log("DHCPv6 rebinding -> bound");
    lab.wait_for_state("the same address", leased);
    let seen = watch.end();
    assert!(!seen.contains("Deleted"), "{seen}");
}

#[test]
fn servers_that_only_tell_things_are_asked_for_them() {
    let mut lab = Lab::new("o");
    lab.ip(&["-n", &lab.far(), "addr", "add", "fd77::1/64", "dev", "srv0", "nodad"]);
    lab.file("10-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\n[IPv6AcceptRA]\nUseDNS=no\nUseDomains=no\n");
    let servers = "--dhcp-option=option6:dns-server,[fd77::54]";
    lab.server(&["--enable-ra", "--dhcp-range=fd77::,ra-stateless,64,2m", servers]);
    lab.daemon();
    lab.wait_for_log("DHCPv6 informing -> bound");
    lab.wait_for_state("its name server", |state| {
        interface(state, "eth0").is_some_and(|link| link["DNS"][0] == "fd77::54")
    });
}

#[test]
fn a_broken_file_costs_its_own_link_only_and_a_reload_mends_it() {
    let mut lab = Lab::new("p");
    lab.ip(&["-n", &lab.near(), "link", "add", "eth1", "type", "veth", "peer", "name", "other"]);
    lab.ip(&["-n", &lab.near(), "link", "set", "other", "up"]);
    lab.file("10-eth0.network", STATIC);
    lab.file("10-eth1.network", "[Match]\nName=eth1\n[Network\nAddress=10.78.0.5/24\n");
    lab.file("10-eth0.network.d/x.conf", "[Network]\nDHPC=yes\n[Route]\nGateway=nobody\n");
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    lab.wait_for_setup("eth1", "failed");
    let log = lab.log();
    for wanted in [
        "/etc/systemd/network/10-eth1.network:3: error: section header '[Network' does not end with ']'",
        "/etc/systemd/network/10-eth0.network.d/x.conf:2: warning: unknown key DHPC= in [Network], ignoring it",
        "/etc/systemd/network/10-eth0.network.d/x.conf:4: error: Gateway=: 'nobody' is not an address",
    ] {
        assert!(log.contains(wanted), "{wanted}: {log}");
    }
    assert!(lab.networkctl(&["status"]).unwrap().contains("10-eth1.network:3: error"));
    lab.file("10-eth1.network", "[Match]\nName=eth1\n[Network]\nAddress=10.78.0.5/24\n");
    lab.networkctl(&["reload"]).unwrap();
    lab.wait_for_setup("eth1", "configured");
    lab.ip(&["-n", &lab.near(), "addr", "add", "10.79.0.1/24", "dev", "eth1"]);
    lab.file("10-eth1.network", "[Match]\nName=eth1\n[Network]\nAddress=10.78.0.6/24\n");
    lab.networkctl(&["reload"]).unwrap();
    let addresses = lab.shown(&["-4", "addr", "show", "dev", "eth1"]);
    assert!(addresses.contains("10.78.0.6/24") && !addresses.contains("10.78.0.5/24"), "{addresses}");
    assert!(addresses.contains("10.79.0.1/24"), "what others added stays: {addresses}");
}

#[test]
fn a_restart_keeps_everything_and_touches_nothing() {
    let mut lab = Lab::new("q");
    lab.file("10-eth0.network", STATIC);
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    lab.wait_for_link_local("eth0");
    lab.ip(&["-n", &lab.near(), "route", "add", "10.66.0.0/16", "via", "10.77.0.1"]);
    let watch = lab.watch();
    let before = [lab.shown(&["route", "show", "table", "all"]), lab.shown(&["rule"])];
    lab.stop_last();
    std::fs::remove_file(lab.path("report.json")).unwrap();
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    assert_eq!([lab.shown(&["route", "show", "table", "all"]), lab.shown(&["rule"])], before);
    assert!(before[0].contains("10.66.0.0/16"), "what others added stays");
    let seen = watch.end();
    assert_eq!(seen, "", "the kernel was told something");
}

#[test]
fn names_and_the_kernel_command_line() {
    let mut lab = Lab::new("r");
    let mac = lab.mac("eth0");
    std::fs::write(
        lab.path("cmdline"),
        format!(
            "quiet ifname=lan0:{mac} ip=10.77.0.8::10.77.0.1:255.255.255.0::lan0:none:10.77.0.3 nameserver=9.9.9.9\n"
        ),
    )
    .unwrap();
    lab.daemon();
    lab.wait_for_setup("lan0", "configured");
    assert!(lab.shown(&["route"]).contains("default via 10.77.0.1 dev lan0 proto static"), "{}", lab.shown(&["route"]));
    assert!(lab.text("resolv").contains("nameserver 10.77.0.3\nnameserver 9.9.9.9\n"));
    assert!(
        lab.networkctl(&["status", "lan0"]).unwrap().contains("Network File: /run/systemd/network/70-lan0.network")
    );
}

#[test]
fn what_the_kernel_refuses_is_shown_and_tried_again() {
    let mut lab = Lab::new("s");
    lab.file(
        "10-eth0.network",
        "[Match]\nName=eth0\n[Network]\nAddress=10.77.0.5/24\n[Route]\n\
        Destination=10.88.0.0/16\nGateway=10.55.0.1\nGatewayOnLink=no\n",
    );
    lab.daemon();
    lab.wait_for_setup("eth0", "failed");
    let status = lab.networkctl(&["status", "eth0"]).unwrap();
    assert!(status.contains("Failed: add route 10.88.0.0/16 via 10.55.0.1"), "{status}");
    let error = String::from_utf8(lab.wait_online(0).stderr).unwrap();
    assert!(error.contains("eth0 failed (add route 10.88.0.0/16"), "{error}");
    lab.ip(&["-n", &lab.near(), "addr", "add", "10.55.0.2/24", "dev", "eth0"]);
    lab.wait_for_setup("eth0", "configured");
}

#[test]
fn a_link_that_was_switched_off_stays_off_until_it_is_switched_on() {
    let mut lab = Lab::new("t");
    lab.file("10-eth0.network", STATIC);
    lab.daemon();
    lab.wait_for_setup("eth0", "configured");
    lab.networkctl(&["down", "eth0"]).unwrap();
    lab.wait_for_state("off", |state| interface(state, "eth0").is_some_and(|link| link["OperationalState"] == "off"));
    lab.networkctl(&["reload"]).unwrap();
    assert!(!lab.shown(&["link", "show", "dev", "eth0"]).contains(",UP"), "{}", lab.log());
    lab.networkctl(&["up", "eth0"]).unwrap();
    lab.wait_for_setup("eth0", "configured");
    assert!(lab.shown(&["route"]).contains("default via 10.77.0.1"), "routes that went with the link come back");
}

#[test]
fn a_machine_without_links_is_told_at_once() {
    let mut lab = Lab::new("u");
    lab.file("99-default.network", "[Match]\nName=nothing\n");
    lab.daemon();
    lab.wait_for_state("a report", |state| !state.is_null());
    let begin = std::time::Instant::now();
    let error = String::from_utf8(lab.wait_online(120).stderr).unwrap();
    assert!(error.contains("there is no link to wait for"), "{error}");
    assert!(begin.elapsed().as_secs() < 60, "not the whole time-out");
}

#[test]
fn made_links_of_every_kind_that_this_kernel_has() {
    let mut lab = Lab::new("v");
    let has = |kind: &str| {
        let far = lab.far();
        let add = ["-n", &far, "link", "add", "t0", "type", kind];
        let made = Command::new("ip").args(add).stderr(Stdio::null()).status().unwrap().success();
        let _ = Command::new("ip").args(["-n", &lab.far(), "link", "del", "t0"]).stderr(Stdio::null()).status();
        if !made {
            eprintln!("SKIPPED {kind}: this kernel cannot make it; the machine test network:: does");
        }
        made
    };
    let mut expected = vec!["veth0"];
    lab.file("veth.netdev", "[NetDev]\nName=veth0\nKind=veth\n[Peer]\nName=veth1\n");
    lab.file("veth.network", "[Match]\nName=veth0\n[Network]\nAddress=10.90.0.1/24\nConfigureWithoutCarrier=yes\n");
    for kind in ["dummy", "bridge"] {
        if has(kind) {
            let name = if kind == "dummy" { "dummy7" } else { "br7" };
            lab.file(&format!("{kind}.netdev"), &format!("[NetDev]\nName={name}\nKind={kind}\n"));
            let address = format!("[Match]\nName={name}\n[Network]\nAddress=10.91.{}.1/24\n", name.len());
            lab.file(&format!("{kind}.network"), &format!("{address}ConfigureWithoutCarrier=yes\n"));
            expected.push(name);
        }
    }
    lab.daemon();
    for name in expected {
        lab.wait_for_setup(name, "configured");
    }
    let before = lab.mac("veth0");
    lab.stop_last();
    lab.ip(&["-n", &lab.near(), "link", "del", "veth0"]);
    std::fs::remove_file(lab.path("report.json")).unwrap();
    lab.daemon();
    lab.wait_for_setup("veth0", "configured");
    assert_eq!(lab.mac("veth0"), before, "the hardware address is the same each time");
}
