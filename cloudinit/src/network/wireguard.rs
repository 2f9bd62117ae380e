//! WireGuard: netplan's tunnels, and the files of `wg-quick` that cloud-init's `wireguard` key carries. Pure.
//!
//! The .netdev file holds a private key, so only networkd may read it.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::words;
use crate::document::Node;
use crate::fault::{Faults, Severity};

use super::device::Device;
use super::keys;

/// A key of WireGuard: 32 bytes in base64.
fn key(text: &str) -> Result<String, String> {
    match STANDARD.decode(text.trim()) {
        Ok(bytes) if bytes.len() == 32 => Ok(text.trim().to_string()),
        Ok(_) | Err(_) => Err("a key of WireGuard is 32 bytes in base64, as 'wg genkey' prints them".into()),
    }
}

/// A tunnel of netplan's with `mode: wireguard`.
pub(super) fn tunnel(id: &str, place: (u64, u64), spec: &Node, faults: &mut Faults) -> Option<Device> {
    let mut device = Device::made(id, "wireguard", place);
    device.secret = true;
    let private = spec.get("key").or_else(|| spec.get("keys"));
    let private = private.map(|node| node.get("private").unwrap_or(node));
    let Some(private) = private.filter(|node| node.text().is_some()) else {
        faults.push(Severity::Error, place, "'key' is missing; it is the private key of the tunnel");
        return None;
    };
    let mut good = true;
    let mut checked = |node: &Node, good: &mut bool| match key(node.text().unwrap_or_default()) {
        Ok(key) => key,
        Err(message) => {
            faults.push(Severity::Error, node.place, message);
            *good = false;
            String::new()
        }
    };
    device.netdev.set("WireGuard", "PrivateKey", checked(private, &mut good));
    for (name, setting) in [("port", "ListenPort"), ("mark", "FirewallMark")] {
        if let Some(value) = spec.get(name).and_then(Node::text) {
            device.netdev.set("WireGuard", setting, value);
        }
    }
    for peer in spec.get("peers").map(Node::items).unwrap_or_default() {
        let mut lines = Vec::new();
        if let Some(node) = peer.get("keys").and_then(|keys| keys.get("public")) {
            lines.push(("PublicKey", checked(node, &mut good)));
        }
        if let Some(node) = peer.get("keys").and_then(|keys| keys.get("shared")) {
            lines.push(("PresharedKey", checked(node, &mut good)));
        }
        let allowed = words(peer.get("allowed_ips"));
        if !allowed.is_empty() {
            lines.push(("AllowedIPs", allowed.join(",")));
        }
        for (name, setting) in [("endpoint", "Endpoint"), ("keepalive", "PersistentKeepalive")] {
            lines.extend(peer.get(name).and_then(Node::text).map(|value| (setting, value.to_string())));
        }
        device.netdev.add("WireGuardPeer", lines);
    }
    good.then_some(device)
}

/// A tunnel of cloud-init's `wireguard` key: the file that `wg-quick` would read. `Err` says what is wrong with it.
pub(crate) fn quick(name: &str, content: &str, place: (u64, u64)) -> Result<Device, String> {
    super::device::link_name(name)?;
    let mut device = Device::made(name, "wireguard", place);
    device.secret = true;
    let mut section = String::new();
    let mut peers: Vec<Vec<(&'static str, String)>> = Vec::new();
    let mut allowed_ips = Vec::new();
    let mut routed = true;
    for (number, line) in (1..).zip(content.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = title.to_ascii_lowercase();
            if section == "peer" {
                peers.push(Vec::new());
            }
            continue;
        }
        let Some((setting, value)) = line.split_once('=').map(|(setting, value)| (setting.trim(), value.trim())) else {
            return Err(format!("line {number} of '{name}' is neither a section nor 'KEY = VALUE'"));
        };
        let fault = |message: String| format!("line {number} of '{name}': {message}");
        match (section.as_str(), setting.to_ascii_lowercase().as_str()) {
            ("interface", "table") => routed = value != "off",
            ("interface", setting) => interface(&mut device, setting, value).map_err(fault)?,
            ("peer", setting) => {
                let lines = peers.last_mut();
                let line = peer(setting, value).map_err(fault)?;
                if line.0 == "AllowedIPs" {
                    allowed_ips.extend(value.split(',').map(|ip| ip.trim().to_string()));
                }
                lines.into_iter().for_each(|lines| lines.push(line.clone()));
            }
            (_, _) => return Err(fault("a setting outside of [Interface] and [Peer]".into())),
        }
    }
    if !device.netdev.has("WireGuard", "PrivateKey") {
        return Err(format!("'{name}' has no PrivateKey in its [Interface]"));
    }
    for lines in peers {
        device.netdev.add("WireGuardPeer", lines);
    }
    // wg-quick makes a route for whatever the peers may send; the one to everywhere needs rules that are not made here.
    for ip in allowed_ips.iter().filter(|ip| routed && !ip.ends_with("/0")) {
        device.network.add("Route", vec![("Destination", ip.clone())]);
    }
    Ok(device)
}

fn interface(device: &mut Device, setting: &str, value: &str) -> Result<(), String> {
    match setting {
        "privatekey" => device.netdev.set("WireGuard", "PrivateKey", key(value)?),
        "listenport" => device.netdev.set("WireGuard", "ListenPort", value),
        "fwmark" => device.netdev.set("WireGuard", "FirewallMark", value),
        "mtu" => device.network.replace("Link", "MTUBytes", value),
        "address" => {
            for address in value.split(',').map(str::trim) {
                let full = if address.contains('/') { address.to_string() } else { whole(address) };
                keys::prefixed(&full)?;
                device.add_address(&full);
            }
        }
        "dns" => {
            for word in value.split(',').map(str::trim) {
                match word.parse::<IpAddr>() {
                    Ok(_) => device.network.set("Network", "DNS", word),
                    Err(_) => device.network.set("Network", "Domains", word),
                }
            }
        }
        "preup" | "postup" | "predown" | "postdown" | "saveconfig" => {
            return Err(format!("'{setting}' runs commands of wg-quick, which the image does not have"));
        }
        _ => return Err(format!("'{}' is not a setting of [Interface]", crate::check::short(setting))),
    }
    Ok(())
}

fn whole(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 128 } else { 32 })
}

fn peer(setting: &str, value: &str) -> Result<(&'static str, String), String> {
    Ok(match setting {
        "publickey" => ("PublicKey", key(value)?),
        "presharedkey" => ("PresharedKey", key(value)?),
        "allowedips" => ("AllowedIPs", value.split(',').map(str::trim).collect::<Vec<_>>().join(",")),
        "endpoint" => ("Endpoint", value.to_string()),
        "persistentkeepalive" => ("PersistentKeepalive", value.to_string()),
        _ => return Err(format!("'{}' is not a setting of [Peer]", crate::check::short(setting))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn a_file_of_wg_quick_becomes_a_netdev_with_its_peers_and_routes() {
        let text = format!(
            "[Interface]\nAddress = 10.9.0.2/24, fd00::2\nPrivateKey = {KEY}\nDNS = 10.9.0.1, example.com\n\n[Peer] # hub\n\
             PublicKey = {KEY}\nAllowedIPs = 10.9.0.0/16, 0.0.0.0/0\nEndpoint = [2001:db8::1]:51820\n"
        );
        let device = quick("wg0", &text, (1, 1)).unwrap();
        assert!(device.secret);
        assert_eq!(device.netdev.values("WireGuardPeer", "AllowedIPs").next(), Some("10.9.0.0/16,0.0.0.0/0"));
        let addresses: Vec<&str> = device.network.values("Address", "Address").collect();
        assert_eq!(addresses, ["10.9.0.2/24", "fd00::2/128"]);
        assert_eq!(device.network.values("Route", "Destination").collect::<Vec<_>>(), ["10.9.0.0/16"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_the_key() {
        for (text, expected) in [
            ("[Interface]\nPrivateKey = c2VjcmV0\n", "line 2"),
            ("[Interface]\nPostUp = rm -rf /\n", "line 2"),
            ("nonsense\n", "line 1"),
            ("[Interface]\nListenPort = 1\n", "no PrivateKey"),
        ] {
            let message = quick("wg0", text, (1, 1)).unwrap_err();
            assert!(message.contains(expected) && !message.contains("c2VjcmV0"), "{message}");
        }
    }
}
