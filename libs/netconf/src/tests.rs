//! Tests of the language: precedence, matching, faults, and that no bytes make it panic.

use proptest::prelude::*;

use super::*;
use crate::network::{Operational, Required};
use crate::route::Gateway;

fn source(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), content: Content::Bytes(text.as_bytes().to_vec()) }
}

fn network(text: &str) -> (Network, Vec<String>) {
    let config = read(&[source("/etc/systemd/network/10-a.network", text)]);
    let faults = config.faults.iter().map(shown).collect();
    (config.networks.into_iter().next().unwrap(), faults)
}

fn shown(fault: &Fault) -> String {
    fault.to_string().replace("/etc/systemd/network/", "")
}

fn link(name: &str) -> LinkFacts {
    LinkFacts {
        name: name.into(),
        link_type: "ether".into(),
        mac: value::mac("52:54:00:00:00:01").ok(),
        ..Default::default()
    }
}

#[test]
fn a_whole_file_is_understood() {
    let (network, faults) = network(
        "[Match]\nName=eth* !x\nMACAddress=52:54:00:00:00:01 5254.0000.0002\n\n[Link]\nMTUBytes=9000\n\
         RequiredForOnline=routable\n\n[Network]\nDHCP=ipv6\nAddress=10.0.0.5/24\nGateway=10.0.0.1\n\
         DNS=10.0.0.2 9.9.9.9\nDomains=example.org ~corp.example\nVLAN=v5\nVLAN=v6\n\n[Address]\n\
         Address=2001:db8::5/64\nPreferredLifetime=0\n\n\
         [Route]\nDestination=172.16.1.9/12\nGateway=10.0.0.9\nMetric=50\nTable=100\n\n[RoutingPolicyRule]\n\
         From=10.0.0.0/24\nTable=100\nPriority=90\n\n[DHCPv4]\nRouteMetric=512\nUseDNS=no\n\n\
         [IPv6AcceptRA]\nUseDNS=no\n",
    );
    assert_eq!(faults, Vec::<String>::new());
    assert!(network.matching.matches(&link("eth0")) && !network.matching.matches(&link("wan")));
    assert_eq!(network.link.required, Required::AtLeast(Operational::Routable));
    assert_eq!((network.addresses.len(), network.routes.len(), network.rules.len()), (2, 2, 1));
    assert_eq!(network.routes[0].gateway, Gateway::Address("10.0.0.1".parse().unwrap()));
    assert_eq!(network.routes[1].destination.unwrap().to_string(), "172.16.0.0/12");
    assert_eq!((network.vlans.len(), network.dns.len(), network.domains.len()), (2, 2, 2));
    assert!(!network.dhcp4.use_dns && network.dhcp4.use_routes && !network.advertisements.use_dns);
}

#[test]
fn faults_have_lines_and_cost_only_their_line_or_section() {
    let (network, faults) = network(
        "[Match]\nName=eth0\n[Network]\nDHCP=maybe\nAdress=10.0.0.1/24\nAddress=10.0.0.5/24\nLLMNR=no\n[Route]\n\
         Destination=10.1.0.0/16\nGateway=10.0.0.300\n[Route]\nMetric=5\n[Route]\nDestination=10.2.0.0/16\n\
         [Nonsense]\nA=b\n",
    );
    assert_eq!(
        faults,
        [
            "10-a.network:4: error: DHCP=: 'maybe' is not yes, no, ipv4 or ipv6, ignoring the line",
            "10-a.network:5: warning: unknown key Adress= in [Network], ignoring it",
            "10-a.network:7: warning: LLMNR= has no effect: there is no systemd-resolved",
            "10-a.network:10: error: Gateway=: '10.0.0.300' is not an address such as 192.0.2.1 or \
             2001:db8::1, ignoring the section",
            "10-a.network:12: error: [Route] has neither Gateway= nor Destination=, ignoring the \
             section",
            "10-a.network:16: warning: unknown section [Nonsense], ignoring it",
        ]
    );
    assert_eq!((network.routes.len(), network.addresses.len(), network.errors), (1, 1, 3));
    assert!(!network.broken);
}

#[test]
fn a_broken_file_still_says_which_links_it_breaks() {
    let (network, faults) = network("[Match]\nName=eth1\n[Network\nDHCP=yes\n");
    assert!(network.broken && network.matching.matches(&link("eth1")) && !network.matching.matches(&link("eth0")));
    assert_eq!(faults, ["10-a.network:3: error: section header '[Network' does not end with ']', refusing the file"]);
    let (network, faults) = self::network("[Network]\nDHCP=yes\n");
    assert!(!network.matching.matches(&link("eth0")));
    assert!(faults[0].contains("no [Match]"), "{faults:?}");
}

#[test]
fn folders_masks_and_drop_ins_have_their_order() {
    let dhcp = |yes: &str| format!("[Match]\nName=*\n[Network]\nDHCP={yes}\n");
    let config = read(&[
        source("/usr/lib/systemd/network/10-a.network", &dhcp("no")),
        source("/etc/systemd/network/10-a.network", &dhcp("yes")),
        source("/usr/lib/systemd/network/10-a.network.d/50-x.conf", "[Network]\nDNS=10.0.0.1\n"),
        source("/run/systemd/network/10-a.network.d/10-y.conf", "[Network]\nDNS=10.0.0.2\n"),
        source("/run/systemd/network/10-a.network.d/50-x.conf", "[Network]\nDNS=10.0.0.3\n"),
        source("/usr/lib/systemd/network/20-b.network", &dhcp("yes")),
        SourceFile { path: "/etc/systemd/network/20-b.network".into(), content: Content::Masked },
        source("/usr/lib/systemd/network/30-c.network", &dhcp("yes")),
        source("/run/systemd/network/30-c.network", ""),
        source("/usr/lib/systemd/network/README", "not one of ours"),
    ]);
    assert_eq!(config.faults, []);
    assert_eq!(config.networks.len(), 1);
    let network = &config.networks[0];
    assert!(network.path.starts_with("/etc") && network.dhcp.ipv4);
    assert_eq!(network.dns, ["10.0.0.2", "10.0.0.3"].map(|text| text.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(network.drop_ins.len(), 2);
}

#[test]
fn links_that_are_made_must_be_whole() {
    let config = read(&[
        source("/etc/systemd/network/a.netdev", "[NetDev]\nName=v5\nKind=vlan\n"),
        source(
            "/etc/systemd/network/b.netdev",
            "[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=802.3ad\nMIIMonitorSec=1\n",
        ),
        source("/etc/systemd/network/c.netdev", "[NetDev]\nName=bond0\nKind=bridge\n"),
        source(
            "/etc/systemd/network/d.netdev",
            "[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\nPrivateKey=secret\n\
             [WireGuardPeer]\nAllowedIPs=10.0.0.0/8\n",
        ),
    ]);
    let faults: Vec<String> = config.faults.iter().map(shown).collect();
    assert_eq!(
        faults,
        [
            "a.netdev: error: [VLAN] has no Id= (a number from 0 to 4094), the link is not made",
            "d.netdev:5: error: PrivateKey=: the value is not a key (44 characters of base64), \
             ignoring the line",
            "d.netdev:7: error: [WireGuardPeer] has no PublicKey= (44 characters of base64), \
             ignoring the section",
            "c.netdev: error: b.netdev makes a link bond0, too, ignoring this file",
        ]
    );
    let bond = &config.netdev("bond0").unwrap().bond;
    assert_eq!((bond.mode, bond.mii_monitor_ms), (Some(4), Some(1000)));
}

#[test]
fn secrets_are_never_printed() {
    let key = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=";
    let text = format!("[NetDev]\nName=wg0\nKind=wireguard\n[WireGuard]\nPrivateKey={key}\n");
    let config = read(&[source("/etc/systemd/network/a.netdev", &text)]);
    assert_eq!(config.faults, []);
    let shown = format!("{config:?}");
    assert!(!shown.contains(key) && !shown.contains("97, 98"), "{shown}");
}

#[test]
fn patterns_are_turned_around_by_an_exclamation_mark() {
    let (not_these, _) = network("[Match]\nName=!lo eth1\n[Network]\nDHCP=yes\n");
    assert!(not_these.matching.matches(&link("eth0")) && !not_these.matching.matches(&link("eth1")));
    let (hardware, _) = network("[Match]\nType=ether\nKind=!*\n[Network]\nDHCP=yes\n");
    assert!(hardware.matching.matches(&link("eth0")));
    assert!(!hardware.matching.matches(&LinkFacts { kind: Some("bond".into()), ..link("bond0") }));
}

#[test]
fn values_at_the_border() {
    for (text, right) in [
        ("10.0.0.1/24", true),
        ("10.0.0.1/33", false),
        ("::1/128", true),
        ("10.0.0.1/255.255.0.0", true),
        ("10.0.0.1/255.0.255.0", false),
        ("10.0.0.1/", false),
        ("10.0.0.1/+4", false),
    ] {
        assert_eq!(value::prefixed(text).is_ok(), right, "{text}");
    }
    for (text, right) in
        [("eth0", true), ("a/b", false), ("..", false), ("sixteenletters00", false), ("", false), ("ü", false)]
    {
        assert_eq!(value::link_name(text).is_ok(), right, "{text}");
    }
    for (text, right) in
        [("example.org", true), ("~.", true), ("a b", false), ("x\nnameserver 6.6.6.6", false), ("-", true)]
    {
        assert_eq!(value::domain(text).is_ok(), right, "{text}");
    }
    assert_eq!(value::mac("1-2-3-4-5-6").unwrap().to_string(), "01:02:03:04:05:06");
    assert!(value::mac("1:2:3:4:5").is_err() && value::mac("+1:2:3:4:5:6").is_err());
}

const SECTIONS: [&str; 7] =
    ["[Match]", "[Network]", "[Route]", "[Address]", "[WireGuardPeer]", "[NetDev]", "[RoutingPolicyRule]"];

fn anything() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        proptest::sample::select(&SECTIONS[..]).prop_map(str::to_owned),
        "(Name|Address|Gateway|DHCP|AllowedIPs|Kind|Domains|Table|MACAddress|FirewallMark|MTUBytes)=.{0,24}",
        "(Address|Destination|From|DNS)=[0-9a-f:./]{0,30}",
        ".{0,20}",
    ];
    prop_oneof![
        proptest::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n").into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in anything()) {
        let names = ["a.network", "a.netdev", "a.link", "b.network.d/x.conf", "b.network"];
        let files = names.map(|name| SourceFile {
            path: format!("/run/systemd/network/{name}"),
            content: Content::Bytes(bytes.clone()),
        });
        let config = read(&files);
        for network in &config.networks {
            let _ignored = network.matching.matches(&link("eth0"));
            prop_assert!(network.addresses.iter().all(|entry| entry.address.is_some()));
        }
    }

    #[test]
    fn an_arbitrary_command_line_makes_files_that_can_be_read(
        text in "((ip|rd.route|ifname|nameserver)=[0-9a-z:.\\[\\]/]{0,40} ?){0,4}"
    ) {
        let file = |(name, text): &(String, String)| source(&format!("/run/systemd/network/{name}"), text);
        let files: Vec<SourceFile> = command_line::render(&text).files.iter().map(file).collect();
        prop_assert_eq!(read(&files).faults, vec![]);
    }
}
