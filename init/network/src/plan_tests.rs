//! Tests of the plan, as texts.

use super::*;

fn link(index: u32, role: Role) -> Link {
    Link { index, name: format!("l{index}"), mac: [0; 6], up: true, carrier: true, mtu: 1500, role }
}

fn granted(address: [u8; 4], gateway: [u8; 4]) -> Granted {
    let lease = Lease {
        address: address.into(),
        prefix: 24,
        server: gateway.into(),
        routes: vec![Route::default_by(gateway.into())],
        dns: vec![],
        search: vec![],
        hostname: None,
        mtu: None,
        times: None,
    };
    Granted { lease, remaining: Some(Duration::from_secs(600)) }
}

fn text(observed: &Observed, granted: &BTreeMap<u32, Granted>) -> Vec<String> {
    plan(observed, granted).iter().map(ToString::to_string).collect()
}

#[test]
fn links_are_switched_on_but_never_parts_of_something_else() {
    let mut links = vec![link(1, Role::Loopback), link(2, Role::Wired), link(3, Role::Other)];
    for link in &mut links {
        link.up = false;
    }
    let observed = Observed { links, ..Observed::default() };
    assert_eq!(text(&observed, &BTreeMap::new()), ["up link 1", "up link 2"]);
}

#[test]
fn a_lease_sets_address_and_route_and_the_second_link_comes_after_the_first() {
    let observed = Observed { links: vec![link(2, Role::Wired), link(5, Role::Wired)], ..Observed::default() };
    let leases =
        BTreeMap::from([(2, granted([10, 0, 2, 15], [10, 0, 2, 2])), (5, granted([10, 1, 0, 9], [10, 1, 0, 1]))]);
    assert_eq!(
        text(&observed, &leases),
        [
            "set address 10.0.2.15/24 on link 2 for 600 s",
            "set address 10.1.0.9/24 on link 5 for 600 s",
            "set route 0.0.0.0/0 via 10.0.2.2 on link 2 metric 1024 from 10.0.2.15",
            "set route 0.0.0.0/0 via 10.1.0.1 on link 5 metric 1025 from 10.1.0.9",
        ]
    );
}

#[test]
fn a_lost_lease_removes_what_was_ours_and_nothing_else() {
    let ours = Address { index: 2, address: [10, 0, 2, 15].into(), prefix: 24, lifetime: Some(Duration::from_secs(9)) };
    let by_hand = Address { lifetime: None, address: [10, 9, 9, 9].into(), ..ours };
    let elsewhere = Address { index: 3, ..ours };
    let route = InstalledRoute { index: 2, route: Route::default_by([10, 0, 2, 2].into()), metric: 1024 };
    let observed = Observed {
        links: vec![link(2, Role::Wired), link(3, Role::Other)],
        addresses: vec![ours, by_hand, elsewhere],
        routes: vec![route],
    };
    assert_eq!(
        text(&observed, &BTreeMap::new()),
        ["remove route 0.0.0.0/0 via 10.0.2.2 on link 2 metric 1024", "remove address 10.0.2.15/24 on link 2 for 9 s"]
    );
}

#[test]
fn what_is_there_already_only_gets_a_new_lifetime() {
    let address =
        Address { index: 2, address: [10, 0, 2, 15].into(), prefix: 24, lifetime: Some(Duration::from_secs(9)) };
    let route = InstalledRoute { index: 2, route: Route::default_by([10, 0, 2, 2].into()), metric: 1024 };
    let observed = Observed { links: vec![link(2, Role::Wired)], addresses: vec![address], routes: vec![route] };
    let leases = BTreeMap::from([(2, granted([10, 0, 2, 15], [10, 0, 2, 2]))]);
    assert_eq!(text(&observed, &leases), ["set address 10.0.2.15/24 on link 2 for 600 s"]);
}

#[test]
fn a_gateway_outside_the_network_is_made_reachable_first() {
    let observed = Observed { links: vec![link(2, Role::Wired)], ..Observed::default() };
    let mut granted = granted([10, 128, 0, 7], [10, 128, 0, 1]);
    granted.lease.prefix = 32;
    granted.lease.mtu = Some(1460);
    assert_eq!(
        text(&observed, &BTreeMap::from([(2, granted)])),
        [
            "mtu 1460 on link 2",
            "set address 10.128.0.7/32 on link 2 for 600 s",
            "set route 10.128.0.1/32 via 0.0.0.0 on link 2 metric 1024 from 10.128.0.7",
            "set route 0.0.0.0/0 via 10.128.0.1 on link 2 metric 1024 from 10.128.0.7",
        ]
    );
}
