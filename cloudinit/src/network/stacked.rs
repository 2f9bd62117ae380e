//! Links on top of others: bonds, bridges, VLANs, VRFs and tunnels, with the names their options have. Pure.

use crate::config::words;
use crate::document::Node;
use crate::fault::{Faults, Severity};

use super::device::{Below, Device};

/// How the value of an option is written.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// Milliseconds here, a time there.
    Millis,
    /// Seconds.
    Seconds,
    Truth,
    /// A list, blanks between.
    List,
}

/// Options of a bond: netplan's name, cloud-init's of version 1, networkd's.
const BOND: [(&str, &str, &str, Form); 21] = [
    ("mode", "mode", "Mode", Form::Plain),
    ("lacp_rate", "lacp_rate", "LACPTransmitRate", Form::Plain),
    ("mii_monitor_interval", "miimon", "MIIMonitorSec", Form::Millis),
    ("min_links", "min_links", "MinLinks", Form::Plain),
    ("transmit_hash_policy", "xmit_hash_policy", "TransmitHashPolicy", Form::Plain),
    ("ad_select", "ad_select", "AdSelect", Form::Plain),
    ("all_slaves_active", "all_slaves_active", "AllSlavesActive", Form::Truth),
    ("all_members_active", "all_slaves_active", "AllSlavesActive", Form::Truth),
    ("arp_interval", "arp_interval", "ARPIntervalSec", Form::Millis),
    ("arp_ip_targets", "arp_ip_target", "ARPIPTargets", Form::List),
    ("arp_validate", "arp_validate", "ARPValidate", Form::Plain),
    ("arp_all_targets", "arp_all_targets", "ARPAllTargets", Form::Plain),
    ("up_delay", "updelay", "UpDelaySec", Form::Millis),
    ("down_delay", "downdelay", "DownDelaySec", Form::Millis),
    ("fail_over_mac_policy", "fail_over_mac", "FailOverMACPolicy", Form::Plain),
    ("gratuitous_arp", "num_grat_arp", "GratuitousARP", Form::Plain),
    ("packets_per_slave", "packets_per_slave", "PacketsPerSlave", Form::Plain),
    ("packets_per_member", "packets_per_slave", "PacketsPerSlave", Form::Plain),
    ("learn_packet_interval", "lp_interval", "LearnPacketIntervalSec", Form::Seconds),
    ("primary_reselect_policy", "primary_reselect", "PrimaryReselectPolicy", Form::Plain),
    ("resend_igmp", "resend_igmp", "ResendIGMP", Form::Plain),
];

/// Options of a bridge.
const BRIDGE: [(&str, &str, &str, Form); 7] = [
    ("ageing_time", "ageing", "AgeingTimeSec", Form::Seconds),
    ("priority", "bridgeprio", "Priority", Form::Plain),
    ("forward_delay", "fd", "ForwardDelaySec", Form::Seconds),
    ("hello_time", "hello", "HelloTimeSec", Form::Seconds),
    ("max_age", "maxage", "MaxAgeSec", Form::Seconds),
    ("stp", "stp", "STP", Form::Truth),
    ("vlan_filtering", "vlan_filtering", "VLANFiltering", Form::Truth),
];

/// The modes of a bond by the numbers of the kernel.
const BOND_MODES: [&str; 7] =
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"];

/// An option under any of its names; version 1 puts `bond_` or `bridge_` in front.
fn option<'a>(options: &'a Node, names: [&str; 2], prefix: &str) -> Option<&'a Node> {
    let [netplan, old] = names;
    options.get(netplan).or_else(|| options.get(&format!("{prefix}_{old}"))).or_else(|| options.get(old))
}

fn formed(node: &Node, form: Form) -> Option<String> {
    let text = node.text().map(str::to_string);
    match form {
        Form::Plain => text,
        Form::Millis => {
            text.map(|text| if text.bytes().all(|byte| byte.is_ascii_digit()) { text + "ms" } else { text })
        }
        Form::Seconds => {
            text.map(|text| if text.bytes().all(|byte| byte.is_ascii_digit()) { text + "s" } else { text })
        }
        Form::Truth => {
            let truth = text.as_deref().map(|text| matches!(text, "1") || crate::document::truth(text) == Some(true));
            truth.map(|truth| if truth { "yes" } else { "no" }.to_string())
        }
        Form::List => Some(words(Some(node)).join(" ")),
    }
}

fn options(device: &mut Device, options: &Node, table: &[(&str, &str, &'static str, Form)], of: &Section) {
    for (netplan, old, setting, form) in table {
        let value = option(options, [netplan, old], of.prefix).and_then(|node| formed(node, *form));
        if let Some(value) = value {
            device.netdev.replace(of.name, setting, value);
        }
    }
}

/// Warns of parameters that netplan does not have either; those of version 1 have names of their own.
fn unknown(given: &Node, table: &[(&str, &str, &'static str, Form)], more: &[&str], faults: &mut Faults) {
    for (key, _) in given.pairs() {
        let name = key.text().unwrap_or_default();
        let alike = |other: &str| other.replace('-', "_");
        let plain = alike(name);
        let bare = plain.strip_prefix("bond_").or_else(|| plain.strip_prefix("bridge_")).unwrap_or(&plain);
        let is_known = table.iter().any(|(netplan, old, ..)| alike(netplan) == bare || *old == bare);
        // What version 1 says of ports and of a wait that networkd does not have.
        let is_old = ["pathcost", "portprio", "ports", "waitport", "maxwait", "hw", "gcint"].contains(&bare);
        if !is_known && !is_old && !more.iter().any(|other| alike(other) == bare) {
            let name = crate::check::short(name);
            faults.push(Severity::Warning, key.place, format!("'{name}' is no parameter that is known, ignored"));
        }
    }
}

/// A section of a .netdev file and what version 1 puts in front of its options.
struct Section {
    name: &'static str,
    prefix: &'static str,
}

/// The options of a device: netplan's `parameters`, or `params` of version 1.
fn parameters(spec: &Node) -> Node {
    spec.get("parameters").or_else(|| spec.get("params")).cloned().unwrap_or_else(Node::empty)
}

pub(super) fn bond(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    let mut device = Device::made(id, "bond", place);
    let given = parameters(spec);
    options(&mut device, &given, &BOND, &Section { name: "Bond", prefix: "bond" });
    unknown(&given, &BOND, &["primary"], faults);
    let mode = device.netdev.values("Bond", "Mode").next().map(str::to_string);
    if let Some(mode) = mode {
        let named = mode.parse::<usize>().ok().and_then(|number| BOND_MODES.get(number).copied());
        let named = named.or_else(|| BOND_MODES.iter().find(|known| **known == mode).copied());
        let Some(named) = named else {
            let place = option(&given, ["mode", "mode"], "bond").map_or(place, |node| node.place);
            let modes = BOND_MODES.join(", ");
            let mode = crate::check::short(&mode);
            faults.push(Severity::Error, place, format!("'{mode}' is not a mode of a bond; it is one of {modes}"));
            return None;
        };
        device.netdev.replace("Bond", "Mode", named);
    }
    let primary = option(&given, ["primary", "primary"], "bond").and_then(Node::text).map(str::to_string);
    for member in words(spec.get("interfaces").or_else(|| spec.get("bond_interfaces"))) {
        let first = primary.as_deref() == Some(member.as_str());
        let more = if first { vec![("Network", "PrimarySlave", "yes".to_string())] } else { Vec::new() };
        device.below.push(Below { id: member, setting: "Bond", more });
    }
    Some(device)
}

pub(super) fn bridge(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    let mut device = Device::made(id, "bridge", place);
    let given = parameters(spec);
    options(&mut device, &given, &BRIDGE, &Section { name: "Bridge", prefix: "bridge" });
    unknown(&given, &BRIDGE, &["path_cost", "port_priority"], faults);
    for member in words(spec.get("interfaces").or_else(|| spec.get("bridge_interfaces"))) {
        let more = [("path_cost", "pathcost", "Cost"), ("port_priority", "portprio", "Priority")]
            .into_iter()
            .filter_map(|(netplan, old, setting)| {
                let value = of_port(option(&given, [netplan, old], "bridge")?, &member)?;
                Some(("Bridge", setting, value))
            })
            .collect();
        device.below.push(Below { id: member, setting: "Bridge", more });
    }
    Some(device)
}

/// The value of one port: a map from ports to values, or in version 1 a list of `PORT VALUE`.
fn of_port(node: &Node, port: &str) -> Option<String> {
    let of_map = node.pairs().iter().find(|(key, _)| key.text() == Some(port)).and_then(|(_, value)| value.text());
    let of_list = || {
        let lines = words(Some(node)).into_iter().chain(node.text().map(str::to_string));
        lines
            .filter_map(|line| line.split_once(' ').map(|(name, value)| (name.to_string(), value.to_string())))
            .find(|(name, _)| name == port)
            .map(|(_, value)| value)
    };
    of_map.map(str::to_string).or_else(of_list)
}

pub(super) fn vlan(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    let mut device = Device::made(id, "vlan", place);
    let number = spec.get("vlan_id").or_else(|| spec.get("id"));
    let link = ["link", "vlan_link", "vlan_raw_device"].iter().find_map(|key| spec.get(key)).and_then(Node::text);
    let mut missing = |what: &str| {
        faults.push(Severity::Error, place, format!("'{what}' is missing; a VLAN needs a number and a link below it"));
    };
    let (Some(number), Some(link)) = (number, link) else {
        missing(if number.is_none() { "id" } else { "link" });
        return None;
    };
    let Some(tag) = number.text().and_then(|text| text.parse::<u16>().ok()).filter(|tag| *tag <= 4094) else {
        faults.push(Severity::Error, number.place, "the number of a VLAN is from 0 to 4094");
        return None;
    };
    device.netdev.set("VLAN", "Id", tag.to_string());
    device.put_on(link, "VLAN");
    Some(device)
}

pub(super) fn vrf(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    let mut device = Device::made(id, "vrf", place);
    let Some(table) = spec.get("table").and_then(Node::text) else {
        faults.push(Severity::Error, place, "'table' is missing; a VRF needs the number of a routing table");
        return None;
    };
    device.netdev.set("VRF", "Table", table);
    for member in words(spec.get("interfaces")) {
        device.put_on(&member, "VRF");
    }
    Some(device)
}

/// One end of a virtual pair. The end that comes first by name makes both.
pub(super) fn pair(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    let Some(peer) = spec.get("peer").and_then(Node::text) else {
        faults.push(Severity::Error, place, "'peer' is missing; it is the name of the other end");
        return None;
    };
    if id > peer {
        return Some(Device::new(id, place));
    }
    let mut device = Device::made(id, "veth", place);
    device.netdev.set("Peer", "Name", peer);
    Some(device)
}

/// Of the tunnels networkd makes those of WireGuard.
pub(super) fn tunnel(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    const MODES: [&str; 15] = [
        "wireguard",
        "vxlan",
        "gre",
        "gretap",
        "ip6gre",
        "ip6gretap",
        "ipip",
        "ipip6",
        "ip6ip6",
        "ip6ip",
        "sit",
        "isatap",
        "vti",
        "vti6",
        "ip6tnl",
    ];
    let mode = spec.get("mode").and_then(Node::text).unwrap_or_default();
    let place_of_mode = spec.get("mode").map_or(place, |node| node.place);
    if mode == "wireguard" {
        return super::wireguard::tunnel(id, place, spec, faults);
    }
    if MODES.contains(&mode) {
        let message = format!("tunnels of the mode '{mode}' are not supported, '{id}' is left alone; use 'wireguard'");
        faults.push(Severity::Warning, place_of_mode, message);
    } else {
        let mode = crate::check::short(mode);
        let message = format!("'{mode}' is not a mode of a tunnel; use 'wireguard'");
        faults.push(Severity::Error, place_of_mode, message);
    }
    None
}
