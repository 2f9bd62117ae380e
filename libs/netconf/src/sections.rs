//! Which sections the three kinds of files have. Pure.

use crate::key::{Key, Section};
use crate::link::Link;
use crate::matching;
use crate::netdev::Netdev;
use crate::network::Network;
use crate::{link_table, netdev_table, network_table, route_table};

static NETWORK_MATCH: [Key<Network>; 8] = matching::keys();
static LINK_MATCH: [Key<Link>; 8] = matching::keys();

const fn one<T>(name: &'static str, keys: &'static [Key<T>]) -> Section<T> {
    Section { name, keys, repeated: None }
}

pub(crate) static NETWORK: [Section<Network>; 11] = [
    one("Match", &NETWORK_MATCH),
    one("Link", network_table::LINK),
    one("Network", network_table::NETWORK),
    Section { name: "Address", keys: route_table::ADDRESS, repeated: Some(route_table::ADDRESS_ELEMENTS) },
    Section { name: "Route", keys: route_table::ROUTE, repeated: Some(route_table::ROUTE_ELEMENTS) },
    Section { name: "RoutingPolicyRule", keys: route_table::RULE, repeated: Some(route_table::RULE_ELEMENTS) },
    one("DHCPv4", network_table::DHCP4),
    one("DHCPv6", network_table::DHCP6),
    one("DHCP", network_table::DHCP),
    one("IPv6AcceptRA", network_table::ADVERTISEMENTS),
    one("Bridge", network_table::BRIDGE_PORT),
];

pub(crate) static NETDEV: [Section<Netdev>; 8] = [
    one("NetDev", netdev_table::NETDEV),
    one("Bond", netdev_table::BOND),
    one("Bridge", netdev_table::BRIDGE),
    one("VLAN", netdev_table::VLAN),
    one("VRF", netdev_table::VRF),
    one("Peer", netdev_table::PEER),
    one("WireGuard", netdev_table::WIREGUARD),
    Section {
        name: "WireGuardPeer",
        keys: netdev_table::WIREGUARD_PEER,
        repeated: Some(netdev_table::WIREGUARD_PEERS),
    },
];

pub(crate) static LINK: [Section<Link>; 2] = [one("Match", &LINK_MATCH), one("Link", link_table::LINK)];
