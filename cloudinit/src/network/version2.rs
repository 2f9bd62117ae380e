//! Version 2 of a network-config, which is netplan's language: each device by itself into networkd's settings. Pure.

use crate::config::{says, words};
use crate::document::Node;
use crate::fault::{Faults, Severity};

use super::device::{Device, Sections, link_name};
use super::stacked;

/// The sections of a document, and what is in them.
pub(super) const SECTIONS: [(&str, Family); 10] = [
    ("ethernets", Family::Ethernet),
    ("bonds", Family::Bond),
    ("bridges", Family::Bridge),
    ("vlans", Family::Vlan),
    ("vrfs", Family::Vrf),
    ("tunnels", Family::Tunnel),
    ("dummy_devices", Family::Dummy),
    ("virtual_ethernets", Family::Pair),
    ("wifis", Family::Unsupported("wireless links")),
    ("modems", Family::Unsupported("modems")),
];

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Ethernet,
    Bond,
    Bridge,
    Vlan,
    Vrf,
    Tunnel,
    Dummy,
    Pair,
    Unsupported(&'static str),
}

/// Turns a checked device into its settings; `None`: it cannot be used, and a fault says why.
pub(super) fn device(family: Family, key: &Node, spec: &Node, faults: &mut Faults) -> Option<Device> {
    let id = key.text().unwrap_or_default();
    if family != Family::Ethernet
        && let Err(message) = link_name(id)
    {
        faults.push(Severity::Error, key.place, message);
        return None;
    }
    let mut device = match family {
        Family::Ethernet => ethernet(id, key.place, spec),
        Family::Bond => stacked::bond(id, key.place, spec, faults)?,
        Family::Bridge => stacked::bridge(id, key.place, spec, faults)?,
        Family::Vlan => stacked::vlan(id, key.place, spec, faults)?,
        Family::Vrf => stacked::vrf(id, key.place, spec, faults)?,
        Family::Tunnel => stacked::tunnel(id, key.place, spec, faults)?,
        Family::Dummy => Device::made(id, "dummy", key.place),
        Family::Pair => stacked::pair(id, key.place, spec, faults)?,
        Family::Unsupported(what) => {
            faults.push(Severity::Warning, key.place, format!("{what} are not supported, '{id}' is left alone"));
            return None;
        }
    };
    link(&mut device, spec);
    addresses(&mut device, spec);
    dhcp(&mut device, spec);
    routes(&mut device, spec);
    not_done(spec, faults);
    Some(device)
}

/// Warns of what is accepted without effect.
fn not_done(spec: &Node, faults: &mut Faults) {
    const KEYS: [&str; 20] = [
        "openvswitch",
        "networkmanager",
        "virtual_function_count",
        "embedded_switch_mode",
        "delay_virtual_functions_rebind",
        "infiniband_mode",
        "auth",
        "optional_addresses",
        "emit_lldp",
        "neigh_suppress",
        "wakeonlan",
        "ipv6_address_token",
        "receive_checksum_offload",
        "transmit_checksum_offload",
        "tcp_segmentation_offload",
        "tcp6_segmentation_offload",
        "generic_segmentation_offload",
        "generic_receive_offload",
        "large_receive_offload",
        "dhcp6_overrides.hostname",
    ];
    let mut warn = |node: &Node, key: &str| {
        faults.push(Severity::Warning, node.place, format!("'{}' is not done, ignored", key.replace('_', "-")));
    };
    for key in KEYS {
        let node = key.split('.').try_fold(spec, |node, part| node.get(part));
        if let Some(node) = node {
            warn(node, key);
        }
    }
    if let Some(node) = spec.get("ra_overrides").and_then(|overrides| overrides.get("table")) {
        warn(node, "ra_overrides.table");
    }
    if let Some(node) = spec.get("ipv6_address_generation").filter(|node| node.text() == Some("stable-privacy")) {
        warn(node, "ipv6_address_generation: stable-privacy");
    }
}

/// A link of the hardware, by its name or by what `match` says.
fn ethernet(id: &str, place: (u64, u64), spec: &Node) -> Device {
    let mut device = Device::new(id, place);
    let rename = spec.get("set_name").and_then(Node::text);
    if let Some(matching) = spec.get("match") {
        let text = |key: &str| matching.get(key).and_then(Node::text);
        device.matching.clear();
        if let Some(mac) = text("macaddress") {
            device.match_address(mac);
        }
        let drivers = words(matching.get("driver"));
        if !drivers.is_empty() {
            device.matching.push(("Driver", drivers.join(" ")));
        }
        if let Some(name) = text("name") {
            // A name that is about to change finds nothing once it has.
            let found_as = rename.filter(|_| device.matching.is_empty()).unwrap_or(name);
            device.matching.push(("Name", found_as.to_string()));
            device.original_name = Some(name.to_string());
        }
        if device.matching.is_empty() {
            // An empty match means every link of this kind.
            device.matching.push(("Type", "ether".into()));
        }
    }
    if let Some(name) = rename {
        device.link.set("Link", "Name", name);
    }
    device
}

/// Settings of the link itself.
fn link(device: &mut Device, spec: &Node) {
    let text = |key: &str| spec.get(key).and_then(Node::text);
    if let Some(mac) = text("macaddress") {
        device.set_mac(mac);
    }
    if let Some(mtu) = text("mtu") {
        device.network.replace("Link", "MTUBytes", mtu);
    }
    match text("activation_mode") {
        Some("off") => device.network.set("Link", "ActivationPolicy", "always-down"),
        Some(_) => device.network.set("Link", "ActivationPolicy", "manual"),
        None => {}
    }
    if says(spec, "optional") == Some(true) || text("activation_mode").is_some() {
        device.network.set("Link", "RequiredForOnline", "no");
    }
    if let Some(families) = spec.get("link_local") {
        let families = words(Some(families));
        let has = |family: &str| families.iter().any(|known| known == family);
        let value = match (has("ipv4"), has("ipv6")) {
            (true, true) => "yes",
            (true, false) => "ipv4",
            (false, true) => "ipv6",
            (false, false) => "no",
        };
        device.network.replace("Network", "LinkLocalAddressing", value);
    }
    // Nothing is to be said of 'critical': networkd leaves what it has configured when it ends.
    for (key, setting) in [("ipv6_privacy", "IPv6PrivacyExtensions"), ("ignore_carrier", "ConfigureWithoutCarrier")] {
        if let Some(truth) = says(spec, key) {
            device.network.set("Network", setting, if truth { "yes" } else { "no" });
        }
    }
    if let Some(mtu) = text("ipv6_mtu") {
        device.network.set("Network", "IPv6MTUBytes", mtu);
    }
    if text("ipv6_address_generation") == Some("eui64") {
        device.network.set("Network", "IPv6LinkLocalAddressGenerationMode", "eui64");
    }
    // Of a link as a port of a bridge.
    for (key, setting) in [("hairpin", "HairPin"), ("port_mac_learning", "Learning")] {
        if let Some(truth) = says(spec, key) {
            device.network.set("Bridge", setting, if truth { "yes" } else { "no" });
        }
    }
}

fn addresses(device: &mut Device, spec: &Node) {
    for item in spec.get("addresses").map(Node::items).unwrap_or_default() {
        if let Some(address) = item.text() {
            device.add_address(address);
        }
        for (address, options) in item.pairs() {
            let mut lines = vec![("Address", address.text().unwrap_or_default().to_string())];
            if let Some(label) = options.get("label").and_then(Node::text) {
                lines.push(("Label", label.to_string()));
            }
            if let Some(lifetime) = options.get("lifetime").and_then(Node::text) {
                lines.push(("PreferredLifetime", lifetime.to_string()));
            }
            device.network.add("Address", lines);
        }
    }
    if let Some(servers) = spec.get("nameservers") {
        for server in words(servers.get("addresses")) {
            device.network.set("Network", "DNS", server);
        }
        let domains = words(servers.get("search"));
        if !domains.is_empty() {
            device.network.set("Network", "Domains", domains.join(" "));
        }
    }
}

fn dhcp(device: &mut Device, spec: &Node) {
    let (v4, v6) = (says(spec, "dhcp4"), says(spec, "dhcp6"));
    let is_member = !device.is_made() && v4.is_none() && v6.is_none() && spec.get("addresses").is_none();
    if !is_member {
        device.set_dhcp(v4 == Some(true), v6 == Some(true));
    }
    if let Some(accept) = says(spec, "accept_ra") {
        device.network.set("Network", "IPv6AcceptRA", if accept { "yes" } else { "no" });
    }
    if let Some(identifier @ ("mac" | "duid")) = spec.get("dhcp_identifier").and_then(Node::text) {
        device.network.set("DHCPv4", "ClientIdentifier", identifier);
    }
    if let Some(overrides) = spec.get("ra_overrides") {
        for (key, setting) in [("use_dns", "UseDNS"), ("use_domains", "UseDomains")] {
            match (says(overrides, key), overrides.get(key).and_then(Node::text)) {
                (Some(truth), _) => device.network.set("IPv6AcceptRA", setting, if truth { "yes" } else { "no" }),
                (None, Some(word)) => device.network.set("IPv6AcceptRA", setting, word),
                (None, None) => {}
            }
        }
    }
    for (key, section) in [("dhcp4_overrides", "DHCPv4"), ("dhcp6_overrides", "DHCPv6")] {
        if let Some(overrides) = spec.get(key) {
            overridden(&mut device.network, section, overrides);
        }
    }
}

fn overridden(network: &mut Sections, section: &'static str, overrides: &Node) {
    const TRUTHS: [(&str, &str); 7] = [
        ("use_dns", "UseDNS"),
        ("use_ntp", "UseNTP"),
        ("use_hostname", "UseHostname"),
        ("use_mtu", "UseMTU"),
        ("use_routes", "UseRoutes"),
        ("use_domains", "UseDomains"),
        ("send_hostname", "SendHostname"),
    ];
    let is_v6 = section == "DHCPv6";
    for (key, setting) in TRUTHS {
        // DHCPv6 gives neither routes nor an MTU: router advertisements do.
        if is_v6 && matches!(key, "use_routes" | "use_mtu") {
            continue;
        }
        match (says(overrides, key), overrides.get(key).and_then(Node::text)) {
            (Some(truth), _) => network.set(section, setting, if truth { "yes" } else { "no" }),
            (None, Some(word)) => network.set(section, setting, word),
            (None, None) => {}
        }
    }
    if let Some(name) = overrides.get("hostname").and_then(Node::text).filter(|_| !is_v6) {
        network.set(section, "Hostname", name);
    }
    if let Some(metric) = overrides.get("route_metric").and_then(Node::text) {
        network.set(if is_v6 { "IPv6AcceptRA" } else { section }, "RouteMetric", metric);
    }
    if is_v6 && says(overrides, "use_routes") == Some(false) {
        network.set("IPv6AcceptRA", "UseGateway", "no");
    }
}

fn routes(device: &mut Device, spec: &Node) {
    for key in ["gateway4", "gateway6"] {
        if let Some(gateway) = spec.get(key).and_then(Node::text) {
            device.add_gateway(gateway);
        }
    }
    for route in spec.get("routes").map(Node::items).unwrap_or_default() {
        let lines = route_lines(route);
        device.network.add("Route", lines);
    }
    for rule in spec.get("routing_policy").map(Node::items).unwrap_or_default() {
        let settings = [
            ("from", "From"),
            ("to", "To"),
            ("table", "Table"),
            ("priority", "Priority"),
            ("mark", "FirewallMark"),
            ("type_of_service", "TypeOfService"),
        ];
        let lines = settings
            .into_iter()
            .filter_map(|(key, setting)| Some((setting, rule.get(key)?.text()?.to_string())))
            .collect::<Vec<_>>();
        device.network.add("RoutingPolicyRule", lines);
    }
}

/// The settings of a route; what `default` means is told by its gateway.
pub(super) fn route_lines(route: &Node) -> Vec<(&'static str, String)> {
    let text = |key: &str| route.get(key).and_then(Node::text).map(str::to_string);
    let is_v6 = ["via", "from"].iter().any(|key| text(key).is_some_and(|text| text.contains(':')));
    let mut lines = Vec::new();
    match text("to").as_deref() {
        Some("default") if is_v6 => lines.push(("Destination", "::/0".to_string())),
        Some("default") => lines.push(("Destination", "0.0.0.0/0".to_string())),
        Some(to) => lines.push(("Destination", to.to_string())),
        None => {}
    }
    for (key, setting) in [
        ("via", "Gateway"),
        ("from", "PreferredSource"),
        ("metric", "Metric"),
        ("table", "Table"),
        ("type", "Type"),
        ("scope", "Scope"),
        ("mtu", "MTUBytes"),
        ("congestion_window", "InitialCongestionWindow"),
        ("advertised_receive_window", "InitialAdvertisedReceiveWindow"),
        ("advertised_mss", "TCPAdvertisedMaximumSegmentSize"),
    ] {
        lines.extend(text(key).map(|value| (setting, value)));
    }
    if says(route, "on_link") == Some(true) {
        lines.push(("GatewayOnLink", "yes".to_string()));
    }
    lines
}
