//! The keys of a network-config, version 1 and 2, and the rules of their texts. Pure.

use std::net::IpAddr;

use crate::check::short;
use crate::language::{Key, Kind};
use crate::rules;

const LINE: Kind = Kind::Scalar(rules::line);
const ANY_MAP: Kind = Kind::Table(&Kind::Any);
const LINES: Kind = Kind::OneOf(&[LINE, Kind::List(&LINE)], "text or a list of texts");
const ADDRESSES: Kind =
    Kind::List(&Kind::OneOf(&[Kind::Text(prefixed), Kind::Table(&Kind::Any)], "an address such as 192.0.2.10/24"));
const TABLE: Kind = Kind::OneOf(&[Kind::Int, LINE], "a number");

/// Version 2 at its top. The devices are looked at one by one, so that one fault costs one device.
pub(super) static VERSION_2: &[Key] = &[
    Key::new("version", Kind::Int, "2").required(),
    Key::new("renderer", LINE, ""),
    Key::new("ethernets", ANY_MAP, ""),
    Key::new("bonds", ANY_MAP, ""),
    Key::new("bridges", ANY_MAP, ""),
    Key::new("vlans", ANY_MAP, ""),
    Key::new("wifis", ANY_MAP, ""),
    Key::new("tunnels", ANY_MAP, ""),
    Key::new("vrfs", ANY_MAP, ""),
    Key::new("modems", ANY_MAP, ""),
    Key::new("dummy_devices", ANY_MAP, ""),
    Key::new("virtual_ethernets", ANY_MAP, ""),
    Key::new("nm_devices", ANY_MAP, ""),
    Key::new("openvswitch", Kind::Any, ""),
];

/// A device of version 2.
pub(super) const DEVICE: Kind = Kind::Map(DEVICE_KEYS, None);

static DEVICE_KEYS: &[Key] = &[
    Key::new("match", Kind::Map(MATCH, None), ""),
    Key::new("set_name", Kind::Text(super::device::link_name), ""),
    Key::new("dhcp4", Kind::Bool, ""),
    Key::new("dhcp6", Kind::Bool, ""),
    Key::new("dhcp4_overrides", Kind::Map(OVERRIDES, None), ""),
    Key::new("dhcp6_overrides", Kind::Map(OVERRIDES, None), ""),
    Key::new("dhcp_identifier", LINE, ""),
    Key::new("addresses", ADDRESSES, ""),
    Key::new("gateway4", Kind::Text(address), ""),
    Key::new("gateway6", Kind::Text(address), ""),
    Key::new("nameservers", Kind::Map(SERVERS, None), ""),
    Key::new("routes", Kind::List(&Kind::Map(ROUTE, None)), ""),
    Key::new("routing_policy", Kind::List(&Kind::Map(POLICY, None)), ""),
    Key::new("mtu", Kind::Int, ""),
    Key::new("macaddress", Kind::Text(mac), ""),
    Key::new("wakeonlan", Kind::Bool, ""),
    Key::new("optional", Kind::Bool, ""),
    Key::new("optional_addresses", Kind::List(&LINE), ""),
    Key::new("critical", Kind::Bool, ""),
    Key::new("accept_ra", Kind::Bool, ""),
    Key::new("ra_overrides", Kind::Map(RA_OVERRIDES, None), ""),
    Key::new("link_local", Kind::List(&Kind::Words(&["ipv4", "ipv6"])), ""),
    Key::new("ignore_carrier", Kind::Bool, ""),
    Key::new("activation_mode", Kind::Words(&["manual", "off"]), ""),
    Key::new("renderer", LINE, ""),
    Key::new("ipv6_privacy", Kind::Bool, ""),
    Key::new("ipv6_mtu", Kind::Int, ""),
    Key::new("ipv6_address_generation", Kind::Words(&["eui64", "stable-privacy"]), ""),
    Key::new("ipv6_address_token", LINE, ""),
    Key::new("emit_lldp", Kind::Bool, ""),
    Key::new("neigh_suppress", Kind::Bool, ""),
    Key::new("interfaces", Kind::List(&LINE), ""),
    Key::new("parameters", ANY_MAP, ""),
    Key::new("id", Kind::Int, ""),
    Key::new("link", LINE, ""),
    Key::new("mode", LINE, ""),
    Key::new("local", Kind::Text(address), ""),
    Key::new("remote", Kind::Text(address), ""),
    Key::new("ttl", Kind::Int, ""),
    Key::new("key", Kind::Any, ""),
    Key::new("keys", Kind::Any, ""),
    Key::new("peers", Kind::List(&Kind::Map(PEER, None)), ""),
    Key::new("peer", LINE, ""),
    Key::new("port", Kind::Int, ""),
    Key::new("mark", Kind::Int, ""),
    Key::new("table", TABLE, ""),
    Key::new("auth", ANY_MAP, ""),
    Key::new("access_points", ANY_MAP, ""),
    Key::new("openvswitch", Kind::Any, ""),
    Key::new("virtual_function_count", Kind::Int, ""),
    Key::new("embedded_switch_mode", LINE, ""),
    Key::new("delay_virtual_functions_rebind", Kind::Bool, ""),
    Key::new("infiniband_mode", LINE, ""),
    Key::new("receive_checksum_offload", Kind::Bool, ""),
    Key::new("transmit_checksum_offload", Kind::Bool, ""),
    Key::new("tcp_segmentation_offload", Kind::Bool, ""),
    Key::new("tcp6_segmentation_offload", Kind::Bool, ""),
    Key::new("generic_segmentation_offload", Kind::Bool, ""),
    Key::new("generic_receive_offload", Kind::Bool, ""),
    Key::new("large_receive_offload", Kind::Bool, ""),
    Key::new("hairpin", Kind::Bool, ""),
    Key::new("port_mac_learning", Kind::Bool, ""),
    Key::new("networkmanager", Kind::Any, ""),
];

static MATCH: &[Key] =
    &[Key::new("name", LINE, ""), Key::new("macaddress", Kind::Text(mac), ""), Key::new("driver", LINES, "")];

static OVERRIDES: &[Key] = &[
    Key::new("use_dns", Kind::Bool, ""),
    Key::new("use_ntp", Kind::Bool, ""),
    Key::new("use_hostname", Kind::Bool, ""),
    Key::new("use_mtu", Kind::Bool, ""),
    Key::new("use_routes", Kind::Bool, ""),
    Key::new("use_domains", Kind::OneOf(&[Kind::Bool, Kind::Words(&["route"])], "true, false or 'route'"), ""),
    Key::new("send_hostname", Kind::Bool, ""),
    Key::new("hostname", LINE, ""),
    Key::new("route_metric", Kind::Int, ""),
];

static RA_OVERRIDES: &[Key] = &[
    Key::new("use_dns", Kind::Bool, ""),
    Key::new("use_domains", Kind::OneOf(&[Kind::Bool, Kind::Words(&["route"])], "true, false or 'route'"), ""),
    Key::new("table", TABLE, ""),
];

static SERVERS: &[Key] =
    &[Key::new("addresses", Kind::List(&Kind::Text(address)), ""), Key::new("search", Kind::List(&LINE), "")];

static ROUTE: &[Key] = &[
    Key::new("to", Kind::Text(destination), "").required(),
    Key::new("via", Kind::Text(address), ""),
    Key::new("from", Kind::Text(address), ""),
    Key::new("metric", Kind::Int, ""),
    Key::new("mtu", Kind::Int, ""),
    Key::new("table", TABLE, ""),
    Key::new("type", LINE, ""),
    Key::new("scope", LINE, ""),
    Key::new("on_link", Kind::Bool, ""),
    Key::new("congestion_window", Kind::Int, ""),
    Key::new("advertised_receive_window", Kind::Int, ""),
    Key::new("advertised_mss", Kind::Int, ""),
];

static POLICY: &[Key] = &[
    Key::new("from", Kind::Text(network), ""),
    Key::new("to", Kind::Text(network), ""),
    Key::new("table", TABLE, ""),
    Key::new("priority", Kind::Int, ""),
    Key::new("mark", Kind::Int, ""),
    Key::new("type_of_service", Kind::Int, ""),
];

static PEER: &[Key] = &[
    Key::new("endpoint", LINE, ""),
    Key::new("allowed_ips", Kind::List(&Kind::Text(network)), ""),
    Key::new("keepalive", Kind::Int, ""),
    Key::new("keys", Kind::Map(PEER_KEYS, None), ""),
];

static PEER_KEYS: &[Key] = &[Key::new("public", LINE, ""), Key::new("shared", LINE, "")];

/// Version 1 at its top.
pub(super) static VERSION_1: &[Key] = &[
    Key::new("version", Kind::Int, "1").required(),
    Key::new(
        "config",
        Kind::OneOf(
            &[Kind::List(&ANY_MAP), Kind::Words(&["disabled"])],
            "a list of devices, each beginning with '- type: '",
        ),
        "",
    )
    .required(),
];

/// What an item of version 1 may be.
pub(super) const TYPES: &[&str] =
    &["physical", "bond", "bridge", "vlan", "infiniband", "loopback", "nameserver", "route", "wireguard"];

/// A device of version 1.
pub(super) const ITEM: Kind = Kind::Map(ITEM_KEYS, None);

static ITEM_KEYS: &[Key] = &[
    Key::new("type", Kind::Words(TYPES), "").required(),
    Key::new("name", Kind::Scalar(super::device::link_name), "").required(),
    Key::new("id", LINE, ""),
    Key::new("mac_address", Kind::OneOf(&[Kind::Text(mac), Kind::Null], "an address of the link layer"), ""),
    Key::new("mtu", Kind::OneOf(&[Kind::Int, Kind::Null], "a whole number"), ""),
    Key::new("accept_ra", Kind::Bool, ""),
    Key::new("wakeonlan", Kind::Bool, ""),
    Key::new("optional", Kind::Bool, ""),
    Key::new("keep_configuration", Kind::Any, ""),
    Key::new("params", ANY_MAP, ""),
    Key::new("subnets", Kind::List(&Kind::Map(SUBNET, None)), ""),
    Key::new("bond_interfaces", Kind::List(&LINE), ""),
    Key::new("bridge_interfaces", Kind::List(&LINE), ""),
    Key::new("vlan_link", LINE, ""),
    Key::new("vlan_id", Kind::OneOf(&[Kind::Int, LINE], "a number from 0 to 4094"), ""),
    Key::new("vlan_raw_device", LINE, ""),
    Key::new("dns_nameservers", LINES, ""),
    Key::new("dns_search", LINES, ""),
    Key::new("peers", Kind::List(&ANY_MAP), ""),
];

static SUBNET: &[Key] = &[
    Key::new("type", Kind::Words(SUBNETS), "").required(),
    Key::new("control", LINE, ""),
    Key::new("address", Kind::Text(address_or_prefixed), ""),
    Key::new("netmask", Kind::Scalar(netmask), ""),
    Key::new("prefix", Kind::Int, ""),
    Key::new("broadcast", Kind::Text(address), ""),
    Key::new("gateway", Kind::Text(address), ""),
    Key::new("dns_nameservers", LINES, ""),
    Key::new("dns_search", LINES, ""),
    Key::new("pointopoint", LINE, ""),
    Key::new("metric", Kind::Int, ""),
    Key::new("scope", LINE, ""),
    Key::new("mtu", Kind::Int, ""),
    Key::new("ipv4", Kind::Bool, ""),
    Key::new("ipv6", Kind::Bool, ""),
    Key::new("routes", Kind::List(&Kind::Map(ROUTE_1, None)), ""),
];

/// How a subnet of version 1 gets its addresses.
const SUBNETS: &[&str] = &[
    "dhcp",
    "dhcp4",
    "dhcp6",
    "static",
    "static4",
    "static6",
    "manual",
    "ipv6_dhcpv6-stateless",
    "ipv6_dhcpv6-stateful",
    "ipv6_slaac",
    "loopback",
];

static ROUTE_1: &[Key] = &[
    Key::new("destination", Kind::Text(destination), ""),
    Key::new("network", Kind::Text(destination), ""),
    Key::new("netmask", Kind::Scalar(netmask), ""),
    Key::new("prefix", Kind::Int, ""),
    Key::new("gateway", Kind::Text(address), ""),
    Key::new("metric", Kind::Int, ""),
    Key::new("mtu", Kind::Int, ""),
    Key::new("id", LINE, ""),
];

/// A route for all devices, in version 1.
pub(super) const GLOBAL_ROUTE: Kind = Kind::Map(GLOBAL_ROUTE_KEYS, None);

static GLOBAL_ROUTE_KEYS: &[Key] = &[
    Key::new("type", LINE, ""),
    Key::new("name", LINE, ""),
    Key::new("destination", Kind::Text(destination), ""),
    Key::new("network", Kind::Text(destination), ""),
    Key::new("netmask", Kind::Scalar(netmask), ""),
    Key::new("gateway", Kind::Text(address), ""),
    Key::new("metric", Kind::Int, ""),
    Key::new("id", LINE, ""),
];

/// Name servers for all devices, in version 1.
pub(super) const GLOBAL_SERVERS: Kind = Kind::Map(GLOBAL_SERVERS_KEYS, None);

static GLOBAL_SERVERS_KEYS: &[Key] = &[
    Key::new("type", LINE, ""),
    Key::new("name", LINE, ""),
    Key::new("address", SERVER_LIST, "").required(),
    Key::new("search", LINES, ""),
    Key::new("interface", LINE, ""),
    Key::new("id", LINE, ""),
];

const SERVER_LIST: Kind =
    Kind::OneOf(&[Kind::Text(address), Kind::List(&Kind::Text(address))], "an address or a list of addresses");

/// An address of a machine.
pub(super) fn address(text: &str) -> Result<(), String> {
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("'{}' is not an IP address", short(text))),
    }
}

/// An address with its prefix.
pub(super) fn prefixed(text: &str) -> Result<(), String> {
    let wrong = || format!("'{}' must be an address with a prefix, such as 192.0.2.10/24", short(text));
    let (ip, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let most = match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return Err(wrong()),
    };
    prefix.parse::<u8>().ok().filter(|prefix| *prefix <= most).map(|_| ()).ok_or_else(wrong)
}

fn network(text: &str) -> Result<(), String> {
    if address(text).is_ok() { Ok(()) } else { prefixed(text) }
}

fn destination(text: &str) -> Result<(), String> {
    if text == "default" { Ok(()) } else { address_or_prefixed(text) }
}

/// An address, perhaps with a prefix or, as version 1 has it, with a netmask.
fn address_or_prefixed(text: &str) -> Result<(), String> {
    match text.split_once('/') {
        None => address(text),
        Some((ip, mask)) if mask.contains(['.', ':']) => address(ip).and_then(|()| netmask(mask)),
        Some(_) => prefixed(text),
    }
}

fn netmask(text: &str) -> Result<(), String> {
    match prefix_of(text) {
        Some(_) => Ok(()),
        None => Err(format!("'{}' is not a netmask such as 255.255.255.0", short(text))),
    }
}

/// The length of a netmask, also of one that is a length already.
pub(super) fn prefix_of(mask: &str) -> Option<u32> {
    match mask.parse::<IpAddr>() {
        Ok(IpAddr::V4(mask)) => {
            let bits = u32::from(mask);
            (bits.count_ones() == bits.leading_ones()).then(|| bits.leading_ones())
        }
        Ok(IpAddr::V6(mask)) => {
            let bits = u128::from(mask);
            (bits.count_ones() == bits.leading_ones()).then(|| bits.leading_ones())
        }
        Err(_) => mask.parse::<u32>().ok().filter(|length| *length <= 128),
    }
}

/// An address of the link layer: 6 bytes, or 20 of InfiniBand.
pub(super) fn mac(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if matches!(parts.len(), 6 | 20) && parts.iter().all(is_byte) {
        return Ok(());
    }
    Err(format!("'{}' is not an address of a link, such as 52:54:00:12:34:56", short(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks_have_a_length() {
        for (mask, length) in [
            ("255.255.255.0", Some(24)),
            ("0.0.0.0", Some(0)),
            ("255.0.255.0", None),
            ("ffff:ffff::", Some(32)),
            ("::", Some(0)),
            ("24", Some(24)),
            ("x", None),
        ] {
            assert_eq!(prefix_of(mask), length, "{mask}");
        }
    }

    #[test]
    fn addresses_of_links_have_six_or_twenty_bytes() {
        assert!(mac("52:54:00:12:34:56").is_ok() && mac("52-54-00-12-34-56").is_ok());
        assert!(mac("52:54:00:12:34").is_err() && mac("52:54:00:12:34:zz").is_err());
    }
}
