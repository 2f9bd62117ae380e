//! Checks a network-config of cloud-init, version 1 or 2. Pure.
//!
//! A bad one is named, and costs the network only: the user-data applies all the same.

use crate::check::check;
use crate::document::{self, Node, Value};
use crate::fault::{Faults, Severity};
use crate::language::{Key, Kind};
use crate::rules;

const LINE: Kind = Kind::Scalar(rules::line);
const ANY_MAP: Kind = Kind::Table(&Kind::Any);
const ADDRESSES: Kind =
    Kind::List(&Kind::OneOf(&[Kind::Text(prefixed), Kind::Table(&Kind::Any)], "an address such as 192.0.2.10/24"));

static VERSION_2: &[Key] = &[
    Key::new("version", Kind::Int, "2").required(),
    Key::new("renderer", LINE, ""),
    Key::new("ethernets", Kind::Table(&DEVICE), ""),
    Key::new("bonds", Kind::Table(&DEVICE), ""),
    Key::new("bridges", Kind::Table(&DEVICE), ""),
    Key::new("vlans", Kind::Table(&DEVICE), ""),
    Key::new("wifis", Kind::Table(&DEVICE), ""),
    Key::new("tunnels", Kind::Table(&DEVICE), ""),
    Key::new("vrfs", Kind::Table(&DEVICE), ""),
    Key::new("modems", Kind::Table(&DEVICE), ""),
    Key::new("dummy_devices", Kind::Table(&DEVICE), ""),
    Key::new("nm_devices", Kind::Table(&Kind::Any), ""),
    Key::new("openvswitch", Kind::Any, ""),
];

const DEVICE: Kind = Kind::Map(DEVICE_KEYS, None);

static DEVICE_KEYS: &[Key] = &[
    Key::new("match", Kind::Map(MATCH, None), ""),
    Key::new("set_name", LINE, ""),
    Key::new("dhcp4", Kind::Bool, ""),
    Key::new("dhcp6", Kind::Bool, ""),
    Key::new("dhcp4_overrides", ANY_MAP, ""),
    Key::new("dhcp6_overrides", ANY_MAP, ""),
    Key::new("dhcp_identifier", LINE, ""),
    Key::new("addresses", ADDRESSES, ""),
    Key::new("gateway4", Kind::Text(address), ""),
    Key::new("gateway6", Kind::Text(address), ""),
    Key::new("nameservers", Kind::Map(SERVERS, None), ""),
    Key::new("routes", Kind::List(&Kind::Map(ROUTE, None)), ""),
    Key::new("routing_policy", Kind::List(&ANY_MAP), ""),
    Key::new("mtu", Kind::Int, ""),
    Key::new("macaddress", LINE, ""),
    Key::new("wakeonlan", Kind::Bool, ""),
    Key::new("optional", Kind::Bool, ""),
    Key::new("optional_addresses", Kind::List(&LINE), ""),
    Key::new("critical", Kind::Bool, ""),
    Key::new("accept_ra", Kind::Bool, ""),
    Key::new("link_local", Kind::List(&LINE), ""),
    Key::new("ignore_carrier", Kind::Bool, ""),
    Key::new("activation_mode", LINE, ""),
    Key::new("renderer", LINE, ""),
    Key::new("ipv6_privacy", Kind::Bool, ""),
    Key::new("ipv6_mtu", Kind::Int, ""),
    Key::new("ipv6_address_generation", LINE, ""),
    Key::new("emit_lldp", Kind::Bool, ""),
    Key::new("interfaces", Kind::List(&LINE), ""),
    Key::new("parameters", ANY_MAP, ""),
    Key::new("id", Kind::Int, ""),
    Key::new("link", LINE, ""),
    Key::new("mode", LINE, ""),
    Key::new("local", LINE, ""),
    Key::new("remote", LINE, ""),
    Key::new("key", Kind::Any, ""),
    Key::new("keys", Kind::Any, ""),
    Key::new("peers", Kind::List(&ANY_MAP), ""),
    Key::new("port", Kind::Int, ""),
    Key::new("mark", Kind::Int, ""),
    Key::new("table", Kind::Int, ""),
    Key::new("auth", ANY_MAP, ""),
    Key::new("access_points", ANY_MAP, ""),
    Key::new("openvswitch", Kind::Any, ""),
    Key::new("virtual_function_count", Kind::Int, ""),
];

static MATCH: &[Key] = &[
    Key::new("name", LINE, ""),
    Key::new("macaddress", LINE, ""),
    Key::new("driver", Kind::OneOf(&[LINE, Kind::List(&LINE)], "a name or a list of names"), ""),
];

static SERVERS: &[Key] =
    &[Key::new("addresses", Kind::List(&Kind::Text(address)), ""), Key::new("search", Kind::List(&LINE), "")];

static ROUTE: &[Key] = &[
    Key::new("to", Kind::Text(destination), "").required(),
    Key::new("via", Kind::Text(address), ""),
    Key::new("from", Kind::Text(address), ""),
    Key::new("metric", Kind::Int, ""),
    Key::new("mtu", Kind::Int, ""),
    Key::new("table", Kind::OneOf(&[Kind::Int, LINE], "a number"), ""),
    Key::new("type", LINE, ""),
    Key::new("scope", LINE, ""),
    Key::new("on_link", Kind::Bool, ""),
    Key::new("congestion_window", Kind::Int, ""),
    Key::new("advertised_receive_window", Kind::Int, ""),
];

static VERSION_1: &[Key] = &[
    Key::new("version", Kind::Int, "1").required(),
    Key::new(
        "config",
        Kind::OneOf(
            &[Kind::List(&Kind::Table(&Kind::Any)), Kind::Words(&["disabled"])],
            "a list of devices, each beginning with '- type: '",
        ),
        "",
    )
    .required(),
];

const TYPES: &[&str] =
    &["physical", "bond", "bridge", "vlan", "infiniband", "loopback", "nameserver", "route", "wireguard"];

fn address(text: &str) -> Result<(), String> {
    let bare = text.split_once('%').map_or(text, |(bare, _)| bare);
    match bare.parse::<std::net::IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("'{}' is not an IP address", crate::check::short(text))),
    }
}

fn prefixed(text: &str) -> Result<(), String> {
    let wrong = || format!("'{}' must be an address with a prefix, such as 192.0.2.10/24", crate::check::short(text));
    let (ip, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let most = match ip.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => 32,
        Ok(std::net::IpAddr::V6(_)) => 128,
        Err(_) => return Err(wrong()),
    };
    prefix.parse::<u8>().ok().filter(|prefix| *prefix <= most).map(|_| ()).ok_or_else(wrong)
}

fn destination(text: &str) -> Result<(), String> {
    if text == "default" || address(text).is_ok() { Ok(()) } else { prefixed(text) }
}

/// Checks a network-config; empty is none.
pub(crate) fn check_bytes(bytes: &[u8]) -> Faults {
    let mut faults = Faults::default();
    let Ok(text) = std::str::from_utf8(bytes) else {
        faults.push(Severity::Error, (1, 1), "the network-config is not UTF-8; save it as UTF-8");
        return faults;
    };
    if let Some(root) = document::parse(text, &mut faults).filter(|root| root.value != Value::Null) {
        let inner = root.get("network").unwrap_or(&root);
        tree(inner, &mut faults);
    }
    for fault in faults.0.iter_mut().filter(|fault| fault.severity == Severity::Broken) {
        fault.severity = Severity::Error;
    }
    faults.sort();
    faults
}

fn tree(root: &Node, faults: &mut Faults) {
    if root.get("config").and_then(Node::text) == Some("disabled") {
        return;
    }
    match (root.get("version").and_then(Node::text), &root.value) {
        (Some("2"), _) => {
            let _checked = check("the network-config", root, &Kind::Map(VERSION_2, None), faults);
        }
        (Some("1"), _) => {
            let _checked = check("the network-config", root, &Kind::Map(VERSION_1, None), faults);
            root.get("config").map(Node::items).unwrap_or_default().iter().for_each(|item| device(item, faults));
        }
        (Some(other), _) => {
            let place = root.get("version").map_or(root.place, |node| node.place);
            let message = format!("version '{}' is not known; write 'version: 2'", crate::check::short(other));
            faults.push(Severity::Error, place, message);
        }
        (None, Value::Map(_)) => faults.push(Severity::Error, root.place, "'version' is missing; write 'version: 2'"),
        (None, other) => {
            let message = format!("the network-config is {}, not a map; write 'version: 2' first", other.kind());
            faults.push(Severity::Error, root.place, message);
        }
    }
}

/// A device of version 1.
fn device(item: &Node, faults: &mut Faults) {
    match item.get("type") {
        Some(kind) => {
            let _checked = check("type", kind, &Kind::Words(TYPES), faults);
            let is_device = !matches!(kind.text(), Some("nameserver" | "route"));
            if is_device && item.get("name").is_none() {
                faults.push(Severity::Error, item.place, "'name' is missing; give the name of the device");
            }
        }
        None if matches!(item.value, Value::Map(_)) => {
            faults.push(Severity::Error, item.place, "'type' is missing; write 'type: physical'");
        }
        None => {}
    }
    for subnet in item.get("subnets").map(Node::items).unwrap_or_default() {
        if subnet.get("type").is_none() {
            faults.push(Severity::Error, subnet.place, "'type' is missing; write 'type: dhcp' or 'type: static'");
        }
        if let Some(text) = subnet.get("address").and_then(Node::text) {
            let bare = text.split('/').next().unwrap_or_default();
            if let Err(message) = address(bare) {
                faults.push(Severity::Error, subnet.get("address").map_or(subnet.place, |node| node.place), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_pass_and_faults_of_bad_ones_have_lines() {
        for text in [
            "version: 2\nethernets:\n  all: {match: {name: 'en*'}, dhcp4: true}\n",
            "network:\n  config: disabled\n",
            "version: 1\nconfig:\n  - {type: physical, name: eth0, subnets: [{type: dhcp}]}\n",
            "version: 2\nethernets: {e: {addresses: [192.0.2.1/24], routes: [{to: default, via: 192.0.2.254}]}}\n",
            "",
        ] {
            assert_eq!(check_bytes(text.as_bytes()), Faults::default(), "{text}");
        }
        for (text, line) in [
            ("version: 3\n", 1),
            ("ethernets: {}\n", 1),
            ("version: 2\nethernets:\n  e:\n    addresses: [192.0.2.1]\n", 4),
            ("version: 2\nethernets: [a]\n", 2),
            ("version: 1\nconfig:\n  - {type: token-ring, name: a}\n", 3),
            ("- a\n", 1),
        ] {
            let faults = check_bytes(text.as_bytes());
            assert_eq!(faults.0.first().map(|fault| fault.line), Some(line), "{text} {faults}");
        }
    }
}
