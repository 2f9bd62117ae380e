//! Version 1 of a network-config, cloud-init's own language: a list of devices, name servers and routes. Pure.

use std::net::IpAddr;

use crate::config::{says, words};
use crate::document::Node;
use crate::fault::{Faults, Severity};

use super::device::Device;
use super::{keys, stacked, wireguard};

/// Name servers and search domains for all devices.
pub(super) const MAX_SHARED: usize = 100;

/// What is given for all devices.
#[derive(Debug, Default)]
pub(super) struct Shared {
    servers: Vec<String>,
    search: Vec<String>,
    of_one: Vec<(String, Vec<String>, Vec<String>)>,
    routes: Vec<Node>,
}

impl Shared {
    /// Takes an item that is not a device.
    pub(super) fn take(&mut self, kind: &str, item: &Node) {
        if kind == "route" {
            if self.routes.len() < super::MAX_DEVICES {
                self.routes.push(item.clone());
            }
            return;
        }
        let (servers, search) = (listed(item.get("address")), listed(item.get("search")));
        match item.get("interface").and_then(Node::text) {
            Some(name) if self.of_one.len() < super::MAX_DEVICES => {
                self.of_one.push((name.to_string(), servers, search));
            }
            Some(_) => {}
            None => {
                self.servers.extend(servers);
                self.search.extend(search);
                self.servers.truncate(MAX_SHARED);
                self.search.truncate(MAX_SHARED);
            }
        }
    }

    /// Gives the devices what is for all of them.
    pub(super) fn give(&self, devices: &mut [Device], faults: &mut Faults) {
        for (name, servers, search) in &self.of_one {
            if let Some(device) = devices.iter_mut().find(|device| device.id == *name) {
                resolve(device, servers, search);
            }
        }
        for device in devices.iter_mut().filter(|device| device.network.has("Network", "DHCP")) {
            if device.id == "lo" || device.matching.is_empty() {
                continue;
            }
            let servers = if device.network.has("Network", "DNS") { &[][..] } else { &self.servers };
            let search = if device.network.has("Network", "Domains") { &[][..] } else { &self.search };
            resolve(device, servers, search);
        }
        for route in &self.routes {
            let gateway = route.get("gateway").and_then(Node::text).and_then(|text| text.parse().ok());
            let reaches = |device: &&mut Device| gateway.is_none_or(|gateway| reaches(device, gateway));
            match devices.iter_mut().find(reaches) {
                Some(device) => device.network.add("Route", route_lines(route)),
                None => {
                    let message = "no device here has an address in the network of the gateway, the route is ignored";
                    faults.push(Severity::Warning, route.place, message);
                }
            }
        }
    }
}

/// Words of a list, or of a text with blanks or commas between.
fn listed(node: Option<&Node>) -> Vec<String> {
    words(node).iter().flat_map(|text| text.split_whitespace().map(str::to_string).collect::<Vec<_>>()).collect()
}

fn resolve(device: &mut Device, servers: &[String], search: &[String]) {
    for server in servers {
        device.network.set("Network", "DNS", server.as_str());
    }
    if !search.is_empty() {
        device.network.set("Network", "Domains", search.join(" "));
    }
}

/// Whether a device has an address in the network that a gateway is in.
fn reaches(device: &Device, gateway: IpAddr) -> bool {
    device.network.values("Address", "Address").any(|address| {
        let Some((ip, length)) = address.split_once('/') else {
            return false;
        };
        match (ip.parse(), gateway, length.parse::<u32>()) {
            (Ok(IpAddr::V4(ip)), IpAddr::V4(gateway), Ok(length)) => {
                let mask = u32::MAX.checked_shl(32 - length.min(32)).unwrap_or(0);
                u32::from(ip) & mask == u32::from(gateway) & mask
            }
            (Ok(IpAddr::V6(ip)), IpAddr::V6(gateway), Ok(length)) => {
                let mask = u128::MAX.checked_shl(128 - length.min(128)).unwrap_or(0);
                u128::from(ip) & mask == u128::from(gateway) & mask
            }
            (_, _, _) => false,
        }
    })
}

/// Turns a checked item into its settings; `None`: it cannot be used, and a fault says why.
pub(super) fn device(kind: &str, item: &Node, faults: &mut Faults) -> Option<Device> {
    let text = |key: &str| item.get(key).and_then(Node::text);
    let name = text("name").unwrap_or_default();
    let mut device = match kind {
        "bond" => stacked::bond(name, item.place, item, faults)?,
        "bridge" => stacked::bridge(name, item.place, item, faults)?,
        "vlan" => stacked::vlan(name, item.place, item, faults)?,
        "wireguard" => wireguard::tunnel(name, item.place, item, faults)?,
        _ => Device::new(name, item.place),
    };
    if let Some(mac) = text("mac_address") {
        if device.is_made() {
            device.set_mac(mac);
        } else {
            device.match_address(mac);
            device.link.set("Link", "Name", name);
        }
    }
    if let Some(mtu) = text("mtu") {
        device.network.set("Link", "MTUBytes", mtu);
    }
    if says(item, "optional") == Some(true) {
        device.network.set("Link", "RequiredForOnline", "no");
    }
    if kind != "loopback" {
        let subnets = item.get("subnets").map(Node::items).unwrap_or_default();
        let asks = |types: &[&str]| {
            subnets.iter().filter_map(|subnet| subnet.get("type")?.text()).any(|kind| types.contains(&kind))
        };
        let (v4, v6) = (asks(&["dhcp", "dhcp4"]), asks(&["dhcp6", "ipv6_dhcpv6-stateful"]));
        if device.is_made() || !subnets.is_empty() {
            device.set_dhcp(v4, v6);
        }
        let by_router = asks(&["ipv6_slaac", "ipv6_dhcpv6-stateless"]);
        match says(item, "accept_ra") {
            Some(accept) => device.network.set("Network", "IPv6AcceptRA", if accept { "yes" } else { "no" }),
            None if by_router => device.network.set("Network", "IPv6AcceptRA", "yes"),
            None => {}
        }
    }
    resolve(&mut device, &listed(item.get("dns_nameservers")), &listed(item.get("dns_search")));
    for each in item.get("subnets").map(Node::items).unwrap_or_default() {
        subnet(&mut device, each, faults);
    }
    Some(device)
}

fn subnet(device: &mut Device, subnet: &Node, faults: &mut Faults) {
    let text = |key: &str| subnet.get(key).and_then(Node::text);
    let kind = text("type").unwrap_or_default();
    if text("control") == Some("manual") {
        device.network.replace("Link", "ActivationPolicy", "manual");
        device.network.replace("Link", "RequiredForOnline", "no");
    }
    if let Some(node) = subnet.get("address").filter(|_| kind.starts_with("static") || kind == "loopback") {
        let (address, assumed) = with_prefix(node.text().unwrap_or_default(), subnet);
        if assumed {
            let message = format!("the netmask is missing, {address} is taken; write it behind the address");
            faults.push(Severity::Warning, node.place, message);
        }
        device.add_address(&address);
    } else if kind.starts_with("static") {
        faults.push(Severity::Warning, subnet.place, "a static subnet without 'address' gives none");
    }
    resolve(device, &listed(subnet.get("dns_nameservers")), &listed(subnet.get("dns_search")));
    if let Some(metric) = text("metric").filter(|_| kind.starts_with("dhcp")) {
        device.network.replace("DHCPv4", "RouteMetric", metric);
    }
    if let Some(gateway) = text("gateway") {
        device.add_gateway(gateway);
    }
    for route in subnet.get("routes").map(Node::items).unwrap_or_default() {
        device.network.add("Route", route_lines(route));
    }
}

/// An address with its prefix, and whether the prefix had to be assumed.
pub(super) fn with_prefix(address: &str, spec: &Node) -> (String, bool) {
    let (ip, mask) = address.split_once('/').map_or((address, None), |(ip, mask)| (ip, Some(mask)));
    let text = |key: &str| spec.get(key).and_then(Node::text);
    let given = mask.or_else(|| text("netmask")).or_else(|| text("prefix")).and_then(keys::prefix_of);
    let usual = if ip.contains(':') { 64 } else { 24 };
    (format!("{ip}/{}", given.unwrap_or(usual)), given.is_none())
}

/// The settings of a route of version 1 or of OpenStack.
pub(super) fn route_lines(route: &Node) -> Vec<(&'static str, String)> {
    let text = |key: &str| route.get(key).and_then(Node::text);
    let gateway = text("gateway");
    let is_v6 = gateway.is_some_and(|gateway| gateway.contains(':'));
    let mut lines = Vec::new();
    let to = match text("destination").or_else(|| text("network")) {
        None | Some("default") => if is_v6 { "::/0" } else { "0.0.0.0/0" }.to_string(),
        Some(to) if to.contains('/') => with_prefix(to, route).0,
        Some(to) => {
            let host = if to.contains(':') { 128 } else { 32 };
            let is_all = matches!(to, "0.0.0.0" | "::");
            let length = text("netmask").or_else(|| text("prefix")).and_then(keys::prefix_of);
            format!("{to}/{}", length.unwrap_or(if is_all { 0 } else { host }))
        }
    };
    lines.push(("Destination", to));
    for (key, setting) in [("gateway", "Gateway"), ("metric", "Metric"), ("mtu", "MTUBytes")] {
        lines.extend(text(key).map(|value| (setting, value.to_string())));
    }
    lines
}
