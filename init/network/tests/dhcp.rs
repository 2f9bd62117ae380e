//! The daemon against real DHCP servers: a pair of virtual cables between two network namespaces, dnsmasq at the
//! far end.
//!
//! Needs root, `ip`, `dnsmasq` and `busybox`; a missing one fails the test with its name.

#[path = "support/lab.rs"]
mod lab;

use std::path::Path;

use lab::Lab;

const RANGE: &str = "--dhcp-range=10.77.0.50,10.77.0.99,255.255.255.0,2m";

#[test]
fn a_link_gets_address_routes_dns_mtu_and_host_name() {
    let mut lab = Lab::new("a");
    lab.server(&[
        RANGE,
        "--dhcp-option=option:router,10.77.0.1",
        "--dhcp-option=option:dns-server,10.77.0.3,10.77.0.4",
        "--dhcp-option=option:domain-name,example.org",
        "--dhcp-option=option:mtu,1400",
        "--dhcp-option=option:ntp-server,10.77.0.4",
        "--dhcp-host=*:*:*:*:*:*,10.77.0.77,web7",
    ]);
    lab.daemon();
    lab.must_be_online();
    assert_eq!(lab.text("report"), "eth0 configured 10.77.0.77/24 10.77.0.1 10.77.0.3,10.77.0.4\n");
    let resolv = lab.text("resolv");
    assert!(resolv.ends_with("nameserver 10.77.0.3\nnameserver 10.77.0.4\nsearch example.org\n"), "{resolv}");
    let addresses = lab.shown(&["-4", "addr", "show", "dev", "eth0"]);
    assert!(addresses.contains("mtu 1400") && addresses.contains("inet 10.77.0.77/24 brd 10.77.0.255"), "{addresses}");
    assert!(addresses.contains("valid_lft 1") && addresses.contains("dynamic"), "{addresses}");
    let routes = lab.shown(&["route"]);
    assert!(routes.contains("default via 10.77.0.1 dev eth0 proto dhcp src 10.77.0.77 metric 1024"), "{routes}");
    assert!(lab.shown(&["addr", "show", "dev", "lo"]).contains("UP"), "loopback is up");
    assert!(lab.log().contains("host name web7 from DHCP"), "{}", lab.log());
    assert!(lab.text("chrony/ferrite.sources").ends_with("\nserver 10.77.0.4 iburst\n"));
    assert!(lab.networkctl(&["status", "eth0"]).unwrap().contains("NTP: 10.77.0.4"));
    assert!(!lab.log().contains("renewing"), "{}", lab.log());
    lab.networkctl(&["renew", "eth0"]).unwrap();
    lab.wait_for_log("renewing -> bound");
    assert!(lab.networkctl(&["renew", "lo"]).unwrap_err().contains("'lo' asks no DHCP server"));
    lab.file("99-default.network.d/time.conf", "[DHCPv4]\nUseNTP=no\n");
    lab.networkctl(&["reload"]).unwrap();
    assert_eq!(lab.text("chrony/ferrite.sources").lines().count(), 1, "no server is left");
}

#[test]
fn the_address_stays_over_a_restart_and_is_asked_for_again() {
    let mut lab = Lab::new("b");
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.daemon();
    lab.must_be_online();
    let before = lab.text("report");
    lab.stop_last();
    assert!(lab.shown(&["-4", "addr", "show", "dev", "eth0"]).contains("inet 10.77.0."), "the address stays");
    std::fs::write(lab.path("log"), "").unwrap();
    lab.daemon();
    lab.wait_for_log("rebooting -> bound");
    assert_eq!(lab.text("report"), before);
    lab.stop_last();
    // A reboot: the kernel has forgotten everything, the lease file has not.
    lab.ip(&["-n", &lab.near(), "addr", "flush", "dev", "eth0"]);
    lab.ip(&["-n", &lab.near(), "link", "set", "eth0", "down"]);
    for name in ["report", "report.json", "report.memory"] {
        std::fs::remove_file(lab.path(name)).unwrap();
    }
    lab.daemon();
    lab.must_be_online();
    assert_eq!(lab.text("report"), before);
    assert!(lab.log().contains("stopped -> rebooting"), "{}", lab.log());
}

#[test]
fn a_lease_of_another_network_is_given_up() {
    let mut lab = Lab::new("c");
    std::fs::create_dir_all(lab.path("leases")).unwrap();
    let shown = lab.shown(&["link", "show", "dev", "eth0"]);
    let mac = shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_string();
    std::fs::write(lab.path("leases").join(format!("{mac}.lease")), "address=192.168.9.9/24\nserver=192.168.9.1\n")
        .unwrap();
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1", "--dhcp-authoritative"]);
    lab.daemon();
    lab.must_be_online();
    assert!(lab.text("report").contains(" 10.77.0."), "{}", lab.text("report"));
}

#[test]
fn a_late_cable_a_late_server_and_a_new_link_are_all_found() {
    let mut lab = Lab::new("d");
    lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "down"]);
    lab.daemon();
    lab.wait_for_log("eth0: new link");
    lab.wait_for_setup("eth0", "configuring");
    let output = lab.wait_online(0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("eth0 has no carrier"), "{output:?}");
    lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "up"]);
    lab.wait_for_log("stopped -> selecting");
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.must_be_online();
    lab.ip(&["-n", &lab.near(), "link", "add", "eth1", "type", "veth", "peer", "name", "other"]);
    lab.wait_for_log("eth1: new link");
    lab.ip(&["-n", &lab.near(), "link", "del", "eth1"]);
    lab.wait_for_log("eth1: the link is gone");
}

#[test]
fn a_pulled_cable_costs_no_lease() {
    let mut lab = Lab::new("g");
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.daemon();
    lab.must_be_online();
    let before = lab.text("report");
    let watch = lab.watch();
    lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "down"]);
    lab.wait_for_state("no cable", |state| {
        lab::interface(state, "eth0").is_some_and(|link| link["OperationalState"] == "no-carrier")
    });
    assert!(lab.text("report").starts_with("eth0 no-carrier 10.77.0."), "{}", lab.text("report"));
    lab.ip(&["-n", &lab.far(), "link", "set", "srv0", "up"]);
    lab.wait_for_log("rebooting -> bound");
    lab.must_be_online();
    assert_eq!(lab.text("report"), before);
    let seen = watch.end();
    let lost: Vec<&str> = seen.lines().filter(|line| line.contains("Deleted") && line.contains("10.77.0.")).collect();
    assert_eq!(lost, Vec::<&str>::new());
}

#[test]
fn garbage_at_the_client_port_disturbs_nobody() {
    let mut lab = Lab::new("e");
    lab.daemon();
    lab.wait_for_log("stopped -> selecting");
    lab.send_garbage(2000);
    lab.server(&[RANGE, "--dhcp-option=option:router,10.77.0.1"]);
    lab.must_be_online();
    assert!(Path::new(&lab.path("leases")).exists());
}

#[test]
fn a_lease_is_renewed_and_given_up_when_nobody_renews_it() {
    let mut lab = Lab::new("f");
    lab.short_lease_server(12);
    lab.daemon();
    lab.must_be_online();
    lab.wait_for_log("renewing -> bound");
    lab.stop_server();
    lab.wait_for_log("rebinding -> selecting");
    lab.wait_for_log("the lease is gone, removing the address");
    // The daemon finishes what it began before it ends.
    lab.stop_last();
    assert!(!lab.shown(&["-4", "addr", "show", "dev", "eth0"]).contains("inet "));
    assert_eq!(lab.text("report"), "eth0 configuring - - -\n");
    assert!(!lab.shown(&["route"]).contains("default"));
}
