//! Tests of the plan, as texts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ferrite_netconf::{Config, Content, LinkFacts, Mac, SourceFile, read};

use rtnetlink::packet_route::link::{InfoData, InfoVlan, VlanProtocol};

use super::*;
use crate::lease::Route as LeasedRoute;
use crate::observed::{Address, OURS, Route, STATIC};

const EVERYTHING: &str = "[Match]\nName=l*\n[Network]\nDHCP=ipv4\nIPv6AcceptRA=no\n";

fn config(files: &[(&str, &str)]) -> Config {
    let file = |(name, text): &(&str, &str)| SourceFile {
        path: format!("/etc/systemd/network/{name}"),
        content: Content::Bytes(text.as_bytes().to_vec()),
    };
    let config = read(&files.iter().map(file).collect::<Vec<_>>());
    assert_eq!(config.faults, []);
    config
}

fn link(index: u32) -> Link {
    let name = if index == 1 { "lo".to_owned() } else { format!("l{index}") };
    let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
    let facts = LinkFacts { name, mac, link_type: "ether".into(), ..LinkFacts::default() };
    Link { index, facts, is_loopback: index == 1, up: true, carrier: true, mtu: 1500, ..Link::default() }
}

fn granted(address: [u8; 4], gateway: [u8; 4]) -> Dynamic {
    let lease = Lease {
        address: address.into(),
        prefix: 24,
        server: gateway.into(),
        routes: vec![LeasedRoute::default_by(gateway.into())],
        dns: vec![],
        ntp: vec![],
        search: vec![],
        hostname: None,
        mtu: None,
        times: None,
    };
    let granted = Granted { lease, remaining: Some(Duration::from_secs(600)) };
    Dynamic { lease: Some(granted), ..Dynamic::default() }
}

fn planned(config: &Config, observed: &Observed, dynamic: &BTreeMap<u32, Dynamic>) -> Vec<Change> {
    let (activated, removed, files) = (&BTreeSet::new(), &BTreeSet::new(), BTreeMap::new());
    let (tunnels, reshaped) = (&files, &files);
    plan(&Situation { config, observed, dynamic, activated, tunnels, reshaped, removed, machine: 7 })
}

fn text(config: &Config, observed: &Observed, dynamic: &BTreeMap<u32, Dynamic>) -> Vec<String> {
    planned(config, observed, dynamic).iter().map(ToString::to_string).collect()
}

/// The kernel after it did as it was told.
fn done(mut observed: Observed, changes: Vec<Change>) -> Observed {
    for change in changes {
        match change {
            Change::SetAddress(address) => observed.addresses.push(address),
            Change::AddRoute(route) => observed.routes.push(route),
            Change::AddRule(rule) => observed.rules.push(rule),
            Change::RemoveAddress(address) => observed.addresses.retain(|there| *there != address),
            Change::RemoveRoute(route) => observed.routes.retain(|there| *there != route),
            Change::RemoveRule(rule) => observed.rules.retain(|there| *there != rule),
            Change::Create { .. }
            | Change::Reshape { .. }
            | Change::WireGuard { .. }
            | Change::Link { .. }
            | Change::Setting { .. } => {}
        }
    }
    observed
}

fn with(links: Vec<Link>) -> Observed {
    Observed { links, ..Observed::default() }
}

#[test]
fn links_are_switched_on_but_never_parts_of_something_else() {
    let mut links = vec![link(1), link(2), link(3)];
    links.iter_mut().for_each(|link| (link.up, link.carrier) = (false, false));
    links[2].controller = Some(9);
    links.push(Link { index: 9, facts: LinkFacts { name: "docker0".into(), ..LinkFacts::default() }, ..link(9) });
    assert_eq!(
        text(&config(&[("a.network", EVERYTHING)]), &with(links), &BTreeMap::new()),
        ["up on link 1", "up on link 2"]
    );
}

#[test]
fn a_lease_sets_address_and_route_and_the_second_link_comes_after_the_first() {
    let leases =
        BTreeMap::from([(2, granted([10, 0, 2, 15], [10, 0, 2, 2])), (5, granted([10, 1, 0, 9], [10, 1, 0, 1]))]);
    let config = config(&[("a.network", EVERYTHING)]);
    let observed = with(vec![link(2), link(5)]);
    assert_eq!(
        text(&config, &observed, &leases),
        [
            "set address 10.0.2.15/24 for 600 s on link 2",
            "set address 10.1.0.9/24 for 600 s on link 5",
            "add route 0.0.0.0/0 via 10.0.2.2 metric 1024 from 10.0.2.15 on link 2",
            "add route 0.0.0.0/0 via 10.1.0.1 metric 1025 from 10.1.0.9 on link 5",
        ]
    );
    let settled = done(observed.clone(), planned(&config, &observed, &leases));
    assert_eq!(text(&config, &settled, &leases), Vec::<String>::new(), "nothing twice");
    assert_eq!(
        text(&config, &settled, &BTreeMap::new()),
        [
            "remove address 10.0.2.15/24 for 600 s on link 2",
            "remove address 10.1.0.9/24 for 600 s on link 5",
            "remove route 0.0.0.0/0 via 10.0.2.2 metric 1024 from 10.0.2.15 on link 2",
            "remove route 0.0.0.0/0 via 10.1.0.1 metric 1025 from 10.1.0.9 on link 5",
        ]
    );
}

#[test]
fn what_others_made_stays() {
    let config = config(&[("a.network", EVERYTHING)]);
    let leases = BTreeMap::from([(2, granted([10, 0, 2, 15], [10, 0, 2, 2]))]);
    let observed = with(vec![
        link(2),
        Link { index: 7, facts: LinkFacts { name: "x".into(), ..LinkFacts::default() }, ..link(7) },
    ]);
    let mut settled = done(observed.clone(), planned(&config, &observed, &leases));
    let foreign = Address { protocol: 0, ..settled.addresses[0].clone() };
    let boot = Route { protocol: 3, ..settled.routes[0].clone() };
    let elsewhere = Route { index: Some(7), protocol: STATIC, ..boot.clone() };
    (settled.addresses, settled.routes) = (vec![foreign], vec![boot, elsewhere]);
    assert_eq!(text(&config, &settled, &BTreeMap::new()), Vec::<String>::new());
}

#[test]
fn a_gateway_outside_the_network_is_made_reachable_first() {
    let mut lease = granted([10, 128, 0, 7], [10, 128, 0, 1]);
    if let Some(granted) = &mut lease.lease {
        (granted.lease.prefix, granted.lease.mtu) = (32, Some(1460));
    }
    assert_eq!(
        text(&config(&[("a.network", EVERYTHING)]), &with(vec![link(2)]), &BTreeMap::from([(2, lease)])),
        [
            "mtu 1460 on link 2",
            "set address 10.128.0.7/32 for 600 s on link 2",
            "add route 10.128.0.1/32 metric 1024 from 10.128.0.7 on link 2",
            "add route 0.0.0.0/0 via 10.128.0.1 metric 1024 from 10.128.0.7 on link 2",
        ]
    );
}

#[test]
fn a_file_gives_addresses_routes_and_rules_and_takes_them_back() {
    let file = "[Match]\nName=l2\n[Network]\nAddress=10.0.0.5/24\nAddress=2001:db8::5/64\nGateway=10.0.0.1\n\
                IPv6AcceptRA=no\n[Route]\nDestination=10.9.0.0/16\nType=blackhole\n\
                [Route]\nGateway=192.0.2.1\nMetric=9\n\
                [RoutingPolicyRule]\nFrom=10.0.0.0/24\nTable=100\nPriority=90\n";
    let full = config(&[("a.network", file)]);
    let observed = with(vec![link(2)]);
    let changes = planned(&full, &observed, &BTreeMap::new());
    let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "set address 10.0.0.5/24 on link 2",
            "set address 2001:db8::5/64 on link 2",
            "add route 0.0.0.0/0 via 10.0.0.1 metric 0 on link 2",
            "add route blackhole 10.9.0.0/16 metric 0",
            "add route 0.0.0.0/0 via 192.0.2.1 metric 9 on link 2",
            "add rule ipv4 priority 90 from 10.0.0.0/24 table 100",
        ]
    );
    let on_link = |change: &Change| matches!(change, Change::AddRoute(route) if route.on_link);
    assert_eq!(changes.iter().filter(|change| on_link(change)).count(), 1, "only the gateway that no address reaches");
    let settled = done(observed, changes);
    assert_eq!(text(&full, &settled, &BTreeMap::new()), Vec::<String>::new());
    let bare = config(&[("a.network", "[Match]\nName=l2\n[Network]\nIPv6AcceptRA=no\n")]);
    assert!(settled.addresses.iter().all(|address| address.protocol == OURS));
    assert_eq!(text(&bare, &settled, &BTreeMap::new()).len(), 6);
}

#[test]
fn links_are_made_in_the_order_in_which_they_can_be() {
    let files = [
        ("a.netdev", "[NetDev]\nName=v5\nKind=vlan\n[VLAN]\nId=5\n"),
        ("b.netdev", "[NetDev]\nName=bond0\nKind=bond\n"),
        ("a.network", "[Match]\nName=bond0\n[Network]\nVLAN=v5\nIPv6AcceptRA=no\n"),
        ("b.network", "[Match]\nName=l2\n[Network]\nBond=bond0\n"),
    ];
    let config = config(&files);
    let empty = BTreeMap::new();
    assert_eq!(text(&config, &with(vec![link(2)]), &empty), ["make bond bond0"]);
    let made = |index: u32, name: &str, kind: &str| {
        let facts = LinkFacts { name: name.into(), kind: Some(kind.into()), ..LinkFacts::default() };
        Link { index, facts, ..link(index) }
    };
    let bond = made(8, "bond0", "bond");
    let mut links = vec![link(2), bond];
    assert_eq!(
        text(&config, &with(links.clone()), &empty),
        ["make vlan v5", "down on link 2", "port of link 8 on link 2"]
    );
    links[0].controller = Some(8);
    links.push(made(9, "v5", "vlan"));
    assert_eq!(text(&config, &with(links.clone()), &empty), Vec::<String>::new());
    // Made by others with this number, or on another link: made anew. The kernel says no to a name that is taken.
    for (number, lower, wanted) in [(6, 8, "remove v5 to make it anew"), (5, 2, "remove v5 to make it anew")] {
        links[2].shape = Some(InfoData::Vlan(vec![InfoVlan::Id(number), InfoVlan::Protocol(VlanProtocol::Ieee8021Q)]));
        links[2].lower = Some(lower);
        assert_eq!(text(&config, &with(links.clone()), &empty), [wanted]);
    }
    links[2].facts.kind = Some("dummy".into());
    assert_eq!(text(&config, &with(links), &empty), ["make vlan v5"]);
}

#[test]
fn names_and_hardware_addresses_come_from_link_files() {
    let files = [
        ("a.link", "[Match]\nMACAddress=02:00:00:00:00:09\n[Link]\nName=lan0\nMTUBytes=9000\n"),
        ("a.network", EVERYTHING),
    ];
    assert_eq!(
        text(&config(&files), &with(vec![link(2)]), &BTreeMap::new()),
        ["name lan0 on link 2", "mtu 9000 on link 2"]
    );
    assert_eq!(lasting_mac(7, "br0"), lasting_mac(7, "br0"));
    assert_ne!(lasting_mac(7, "br0"), lasting_mac(8, "br0"));
    assert_eq!(lasting_mac(7, "br0").0[0] & 3, 2);
}
