//! What clouds say about a machine's links: OpenStack's network_data.json, DigitalOcean's and EC2's interfaces. Pure.
//!
//! All of them name links by their address. None of them is a person, so what is wrong is a warning.

use std::net::IpAddr;

use crate::document::Node;
use crate::fault::{Faults, Severity};

use super::device::{Device, link_name};
use super::version1::{route_lines, with_prefix};
use super::{keys, stacked};

/// The routing table of the second NIC of EC2, and the step of metrics.
const FIRST_TABLE: usize = 100;
const METRIC_STEP: usize = 100;

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key).and_then(Node::text).filter(|text| !text.is_empty())
}

/// Whether a text is an address; a cloud that says something else gets a warning.
fn is_address(node: &Node, key: &str, faults: &mut Faults) -> bool {
    let Some(value) = text(node, key) else {
        return false;
    };
    let bare = value.split('/').next().unwrap_or_default();
    if bare.parse::<IpAddr>().is_ok() {
        return true;
    }
    let message = format!("'{}' is not an IP address, ignored", crate::check::short(value));
    faults.push(Severity::Warning, node.get(key).map_or(node.place, |node| node.place), message);
    false
}

/// An address in its usual form.
fn plain(text: &str) -> String {
    text.parse::<IpAddr>().map_or_else(|_| text.to_string(), |ip| ip.to_string())
}

fn mac_of<'a>(node: &'a Node, key: &str, faults: &mut Faults) -> Option<&'a str> {
    let mac = text(node, key)?;
    match keys::mac(mac) {
        Ok(()) => Some(mac),
        Err(message) => {
            faults.push(Severity::Warning, node.place, format!("{message}; the link is left alone"));
            None
        }
    }
}

/// Links and networks of OpenStack.
pub(super) fn openstack(root: &Node, faults: &mut Faults) -> Vec<Device> {
    let links = root.get("links").map(Node::items).unwrap_or_default();
    let mut devices: Vec<Device> = links.iter().filter_map(|link| openstack_link(link, faults)).collect();
    for network in root.get("networks").map(Node::items).unwrap_or_default() {
        let id = text(network, "link").unwrap_or_default();
        match devices.iter_mut().find(|device| device.id == id) {
            Some(device) => openstack_network(device, network, faults),
            None => {
                let message = format!("a network of link '{}', which is not among the links", crate::check::short(id));
                faults.push(Severity::Warning, network.place, message);
            }
        }
    }
    let services = root.get("services").map(Node::items).unwrap_or_default();
    let servers: Vec<&str> = services
        .iter()
        .filter(|service| text(service, "type") == Some("dns") && is_address(service, "address", faults))
        .filter_map(|service| text(service, "address"))
        .take(super::version1::MAX_SHARED)
        .collect();
    for device in devices.iter_mut().filter(|device| device.network.has("Network", "DHCP")) {
        for server in servers.iter().filter(|_| !device.network.has("Network", "DNS")).copied().collect::<Vec<_>>() {
            device.network.set("Network", "DNS", server);
        }
    }
    devices
}

fn openstack_link(link: &Node, faults: &mut Faults) -> Option<Device> {
    let id = text(link, "id")?;
    let kind = text(link, "type").unwrap_or_default();
    // Ids may be longer than the names of the kernel.
    let name = || match link_name(id) {
        Ok(()) => id.to_string(),
        Err(_) => {
            let letters: Vec<char> = id.chars().filter(char::is_ascii_alphanumeric).collect();
            format!("{kind}-{}", letters.iter().skip(letters.len().saturating_sub(8)).collect::<String>())
        }
    };
    let mut device = match kind {
        "bond" => {
            let mut device = stacked::bond(&name(), link.place, link, faults)?;
            for member in link.get("bond_links").map(Node::items).unwrap_or_default().iter().filter_map(Node::text) {
                device.put_on(member, "Bond");
            }
            for (key, setting) in [("bond_mode", "Mode"), ("bond_xmit_hash_policy", "TransmitHashPolicy")] {
                if let Some(value) = text(link, key) {
                    device.netdev.set("Bond", setting, value);
                }
            }
            if let Some(interval) = text(link, "bond_miimon") {
                device.netdev.set("Bond", "MIIMonitorSec", format!("{interval}ms"));
            }
            device
        }
        "vlan" => {
            let mut device = stacked::vlan(&name(), link.place, link, faults)?;
            if let Some(mac) = mac_of(link, "vlan_mac_address", faults) {
                device.set_mac(mac);
            }
            device
        }
        _ => {
            let mut device = Device::new(id, link.place);
            device.match_address(mac_of(link, "ethernet_mac_address", faults)?);
            device
        }
    };
    if device.is_made() {
        if let Some(mac) = mac_of(link, "ethernet_mac_address", faults) {
            device.set_mac(mac);
        }
        // The networks of the document name the link by its id.
        let made = std::mem::replace(&mut device.id, id.to_string());
        device.matching = vec![("Name", made)];
    }
    if let Some(mtu) = text(link, "mtu") {
        device.network.set("Link", "MTUBytes", mtu);
    }
    Some(device)
}

fn openstack_network(device: &mut Device, network: &Node, faults: &mut Faults) {
    let kind = text(network, "type").unwrap_or_default();
    let had_dhcp = device.network.values("Network", "DHCP").next().map(str::to_string).unwrap_or_default();
    let v4 = matches!(had_dhcp.as_str(), "yes" | "ipv4") || kind == "ipv4_dhcp";
    let v6 = matches!(had_dhcp.as_str(), "yes" | "ipv6") || matches!(kind, "ipv6_dhcp" | "ipv6_dhcpv6-stateful");
    device.set_dhcp(v4, v6);
    match kind {
        "ipv6_slaac" | "ipv6_dhcpv6-stateless" => device.network.replace("Network", "IPv6AcceptRA", "yes"),
        "ipv6" | "static6" => device.network.replace("Network", "IPv6AcceptRA", "no"),
        _ => {}
    }
    let is_static = matches!(kind, "ipv4" | "ipv6" | "static" | "static6");
    if is_static && is_address(network, "ip_address", faults) {
        device.add_address(&with_prefix(text(network, "ip_address").unwrap_or_default(), network).0);
    }
    if is_address(network, "gateway", faults) {
        device.add_gateway(text(network, "gateway").unwrap_or_default());
    }
    for route in network.get("routes").map(Node::items).unwrap_or_default() {
        if is_address(route, "gateway", faults) {
            device.network.add("Route", route_lines(route));
        }
    }
    let services = network.get("services").map(Node::items).unwrap_or_default().iter();
    let listed = network.get("dns_nameservers").map(Node::items).unwrap_or_default().iter().filter_map(Node::text);
    let servers = services.filter_map(|service| text(service, "address")).chain(listed);
    for server in servers.filter(|server| server.parse::<IpAddr>().is_ok()) {
        device.network.set("Network", "DNS", server);
    }
}

/// The interfaces of a droplet, from /metadata/v1.json: static, with or without its DHCP server.
pub(super) fn digitalocean(root: &Node, faults: &mut Faults) -> Vec<Device> {
    let mut devices = Vec::new();
    let servers = root.get("dns").and_then(|dns| dns.get("nameservers")).map(Node::items).unwrap_or_default();
    for kind in ["public", "private"] {
        let interfaces = root.get("interfaces").and_then(|interfaces| interfaces.get(kind));
        for (number, spec) in interfaces.map(Node::items).unwrap_or_default().iter().enumerate() {
            let Some(mac) = mac_of(spec, "mac", faults) else {
                continue;
            };
            let mut device = Device::new(&format!("{kind}{number}"), spec.place);
            device.match_address(mac);
            device.set_dhcp(false, false);
            device.network.set("Network", "IPv6AcceptRA", "no");
            for (family, prefix) in [("ipv4", "netmask"), ("ipv6", "cidr"), ("anchor_ipv4", "netmask")] {
                let Some(spec) = spec.get(family).filter(|spec| text(spec, "ip_address").is_some()) else {
                    continue;
                };
                if !is_address(spec, "ip_address", faults) {
                    continue;
                }
                let address = plain(text(spec, "ip_address").unwrap_or_default());
                let usual = if address.contains(':') { 64 } else { 24 };
                let length = text(spec, prefix).and_then(keys::prefix_of).unwrap_or(usual);
                device.add_address(&format!("{address}/{length}"));
                // The way to everywhere is that of the public interface; an anchor address is only an address.
                if kind == "public" && family != "anchor_ipv4" && is_address(spec, "gateway", faults) {
                    device.add_gateway(&plain(text(spec, "gateway").unwrap_or_default()));
                }
            }
            for server in servers.iter().filter_map(Node::text).filter(|text| text.parse::<IpAddr>().is_ok()) {
                device.network.set("Network", "DNS", server);
            }
            devices.push(device);
        }
    }
    devices
}

/// The NICs of an EC2 instance: a map from their addresses to what `network/interfaces/macs/MAC/` says.
///
/// Each asks for its addresses; the first one is preferred, and what comes from an address of another one leaves by it.
pub(super) fn ec2(root: &Node, faults: &mut Faults) -> Vec<Device> {
    let number = |node: &Node, key: &str| text(node, key).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    // Device numbers begin anew on each card of the hardware.
    let place = |node: &Node| (number(node, "network-card"), number(node, "device-number"));
    let mut nics: Vec<((u32, u32), &str, &Node)> =
        root.pairs().iter().filter_map(|(mac, nic)| Some((place(nic), mac.text()?, nic))).collect();
    nics.sort_by_key(|(place, mac, _)| (*place, mac.to_string()));
    let mut devices = Vec::new();
    for (index, (_, mac, nic)) in nics.into_iter().enumerate() {
        if let Err(message) = keys::mac(mac) {
            faults.push(Severity::Warning, nic.place, format!("{message}; the link is left alone"));
            continue;
        }
        let mut device = Device::new(&format!("ec2-{index}"), nic.place);
        device.match_address(mac);
        let (v4, v6) = (listed(nic, "local-ipv4s"), listed(nic, "ipv6s"));
        device.set_dhcp(!v4.is_empty() || v6.is_empty(), !v6.is_empty());
        let metric = ((index + 1) * METRIC_STEP).to_string();
        device.network.set("DHCPv4", "RouteMetric", metric.as_str());
        device.network.set("DHCPv4", "UseDomains", "yes");
        if !v6.is_empty() {
            device.network.set("IPv6AcceptRA", "RouteMetric", metric);
        }
        let subnet = |key: &str| listed(nic, key).into_iter().find(|subnet| keys::prefixed(subnet).is_ok());
        let subnet_v4 = subnet("subnet-ipv4-cidr-block");
        let length = subnet_v4.as_deref().and_then(|subnet| subnet.split_once('/')).map_or("32", |(_, length)| length);
        for address in v4.iter().skip(1) {
            device.add_address(&format!("{address}/{length}"));
        }
        for address in v6.iter().skip(1) {
            device.add_address(&format!("{address}/128"));
        }
        if index > 0 {
            own_table(&mut device, FIRST_TABLE + index, subnet_v4.as_deref(), &v4);
        } else {
            device.network.set("Link", "RequiredForOnline", "yes");
        }
        devices.push(device);
    }
    devices
}

/// The addresses of one key: lines of a text, or a list.
fn listed(nic: &Node, key: &str) -> Vec<String> {
    let of_text = text(nic, key).map(|text| text.lines().map(str::to_string).collect::<Vec<_>>());
    let lines = of_text.unwrap_or_else(|| crate::config::words(nic.get(key)));
    lines.into_iter().filter(|line| line.split('/').next().is_some_and(|ip| ip.parse::<IpAddr>().is_ok())).collect()
}

/// Answers leave by the link that the question came to: a table of its own for each further NIC. Only for IPv4: the
/// router of IPv6 is not known before it advertises itself.
fn own_table(device: &mut Device, table: usize, subnet: Option<&str>, v4: &[String]) {
    let table = table.to_string();
    device.network.set("Link", "RequiredForOnline", "no");
    if let Some((network, router)) = subnet.and_then(router) {
        let to_all = vec![("Destination", "0.0.0.0/0".to_string()), ("Gateway", router), ("Table", table.clone())];
        device.network.add("Route", to_all);
        let near = [("Destination", network), ("Scope", "link".to_string()), ("Table", table.clone())];
        device.network.add("Route", near.to_vec());
    }
    for address in v4 {
        device.network.add("RoutingPolicyRule", vec![("From", address.clone()), ("Table", table.clone())]);
    }
}

/// A subnet and its router, which is always the first address.
fn router(subnet: &str) -> Option<(String, String)> {
    let (ip, length) = subnet.split_once('/')?;
    let (ip, bits) = (ip.parse::<std::net::Ipv4Addr>().ok()?, length.parse::<u32>().ok()?);
    let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
    let network = u32::from(ip) & mask;
    let text = |number: u32| std::net::Ipv4Addr::from(number).to_string();
    Some((format!("{}/{bits}", text(network)), text(network.checked_add(1)?)))
}
