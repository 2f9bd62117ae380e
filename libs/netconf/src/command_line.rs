//! `ip=`, `nameserver=`, `rd.route=` and `ifname=` of the kernel command line, as files for /run/systemd/network. Pure.
//!
//! Both forms are known, the kernel's `ip=CLIENT:SERVER:GATEWAY:MASK:HOST:LINK:HOW:DNS:DNS` and the short ones of the
//! initramfs tools, `ip=HOW` and `ip=LINK:HOW`; IPv6 addresses stand in brackets.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

use crate::value::{address, link_name, mac, mtu, prefix_of_mask, prefixed};

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// Names and texts of files.
    pub files: Vec<(String, String)>,
    /// Arguments that make no sense.
    pub faults: Vec<String>,
}

/// One link, or all of them when it has no name.
#[derive(Default)]
struct Wanted {
    how: Option<&'static str>,
    addresses: Vec<String>,
    gateway: Option<IpAddr>,
    hostname: Option<String>,
    mtu: Option<u32>,
    mac: Option<String>,
    dns: Vec<IpAddr>,
    ntp: Vec<String>,
    routes: Vec<(String, Option<IpAddr>)>,
    is_off: bool,
}

/// Reads the whole command line.
pub fn render(command_line: &str) -> Rendered {
    let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
    let mut servers = Vec::new();
    let mut out = Rendered::default();
    for argument in command_line.split_ascii_whitespace() {
        let Some((key, value)) = argument.split_once('=') else { continue };
        let outcome = match key {
            "ip" => ip(value, &mut wanted),
            "nameserver" => address(value.trim_matches(['[', ']'])).map(|server| servers.push(server)).map_err(text),
            "rd.route" => route(value, &mut wanted),
            "ifname" => rename(value).map(|file| out.files.push(file)),
            _ => continue,
        };
        if let Err(fault) = outcome {
            out.faults.push(format!("{argument}: {fault}, ignoring it"));
        }
    }
    // Servers alone say nothing about any link.
    for (link, mut wanted) in wanted {
        wanted.dns.extend(servers.iter().copied());
        let name = if link.is_empty() { "71-default.network".into() } else { format!("70-{link}.network") };
        out.files.push((name, file(&link, &wanted)));
    }
    out
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Splits at `:`, but not inside brackets, which are taken off.
fn fields(value: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut depth = 0_usize;
    for letter in value.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => fields.push(std::mem::take(&mut field)),
            letter => field.push(letter),
        }
    }
    fields.push(field);
    fields
}

/// `DHCP=` for a way of configuration; `Some(None)`: nothing to ask, but the link is configured.
fn how(word: &str) -> Option<Option<&'static str>> {
    match word {
        "dhcp" | "dhcp4" => Some(Some("ipv4")),
        "on" | "any" => Some(Some("yes")),
        "dhcp6" | "either6" => Some(Some("ipv6")),
        "none" | "off" | "" | "auto6" | "link6" | "link-local" => Some(None),
        _ => None,
    }
}

fn ip(value: &str, wanted: &mut BTreeMap<String, Wanted>) -> Result<(), String> {
    let fields = fields(value);
    let field = |at: usize| fields.get(at).map(String::as_str).unwrap_or_default();
    if fields.len() == 1 {
        let how = how(value).ok_or_else(|| format!("'{value}' is no way such as dhcp, on, dhcp6 or off"))?;
        let entry = wanted.entry(String::new()).or_default();
        (entry.how, entry.is_off) = (how, value == "off");
        return Ok(());
    }
    // A name of a link never looks like an address.
    let is_short = fields.len() <= 9 && field(0).parse::<IpAddr>().is_err() && how(field(1)).is_some();
    if is_short && !field(0).is_empty() {
        let link = link_name(field(0)).map_err(text)?;
        let entry = wanted.entry(link).or_default();
        entry.how = how(field(1)).flatten();
        return tail(entry, fields.get(2..).unwrap_or_default());
    }
    let link = if field(5).is_empty() { String::new() } else { link_name(field(5)).map_err(text)? };
    let way = how(field(6)).ok_or_else(|| format!("'{}' is no way such as dhcp, on or none", field(6)))?;
    let client = match field(0) {
        "" => None,
        client => Some(prefix(client, field(3))?),
    };
    let gateway = match field(2) {
        "" => None,
        gateway => Some(address(gateway).map_err(text)?),
    };
    let entry = wanted.entry(link).or_default();
    entry.how = way;
    entry.addresses.extend(client);
    entry.gateway = gateway.or(entry.gateway);
    entry.hostname = Some(field(4)).filter(|name| !name.is_empty()).map(str::to_owned);
    tail(entry, fields.get(7..).unwrap_or_default())
}

/// The address with the prefix that a mask or a number says.
fn prefix(client: &str, mask: &str) -> Result<String, String> {
    if client.contains('/') {
        return prefixed(client).map(|value| value.to_string()).map_err(text);
    }
    let client = address(client).map_err(text)?;
    let prefix = match (mask, client) {
        ("", IpAddr::V4(client)) => by_class(client),
        ("", IpAddr::V6(_)) => 64,
        (mask, _) => match mask.parse::<Ipv4Addr>().ok().and_then(prefix_of_mask).or_else(|| mask.parse().ok()) {
            Some(prefix) => prefix,
            None => return Err(format!("'{mask}' is not a netmask")),
        },
    };
    prefixed(&format!("{client}/{prefix}")).map(|value| value.to_string()).map_err(text)
}

fn by_class(client: Ipv4Addr) -> u8 {
    match client.octets() {
        [0..=127, ..] => 8,
        [128..=191, ..] => 16,
        [192..=255, ..] => 24,
    }
}

/// `MTU:MAC`, or `DNS:DNS:NTP`.
fn tail(entry: &mut Wanted, fields: &[String]) -> Result<(), String> {
    let Some(first) = fields.first() else { return Ok(()) };
    if first.parse::<IpAddr>().is_ok()
        || (first.is_empty() && fields.get(1).is_some_and(|two| two.parse::<IpAddr>().is_ok()))
    {
        for server in fields.iter().take(2).filter(|server| !server.is_empty()) {
            entry.dns.push(address(server).map_err(text)?);
        }
        entry.ntp.extend(fields.get(2).filter(|ntp| !ntp.is_empty()).cloned());
        return Ok(());
    }
    if !first.is_empty() {
        entry.mtu = Some(mtu(first).map_err(text)?);
    }
    let rest = fields.get(1..).unwrap_or_default().join(":");
    if !rest.is_empty() {
        entry.mac = Some(mac(&rest).map_err(text)?.to_string());
    }
    Ok(())
}

/// `NETWORK:GATEWAY[:LINK]`.
fn route(value: &str, wanted: &mut BTreeMap<String, Wanted>) -> Result<(), String> {
    let fields = fields(value);
    let field = |at: usize| fields.get(at).map(String::as_str).unwrap_or_default();
    let destination = prefixed(field(0)).map_err(text)?.network().to_string();
    let gateway = match field(1) {
        "" => None,
        gateway => Some(address(gateway).map_err(text)?),
    };
    let link = if field(2).is_empty() { String::new() } else { link_name(field(2)).map_err(text)? };
    wanted.entry(link).or_default().routes.push((destination, gateway));
    Ok(())
}

/// `NAME:MAC`.
fn rename(value: &str) -> Result<(String, String), String> {
    let (name, hardware) = value.split_once(':').ok_or("it is not ifname=NAME:MAC")?;
    let (name, hardware) = (link_name(name).map_err(text)?, mac(hardware).map_err(text)?);
    Ok((format!("70-{name}.link"), format!("{HEAD}[Match]\nMACAddress={hardware}\n\n[Link]\nName={name}\n")))
}

const HEAD: &str = "# Made by ferrite-networkd from the kernel command line; changes are lost.\n";

fn file(link: &str, wanted: &Wanted) -> String {
    let matching = if link.is_empty() { "Type=ether\nKind=!*".to_owned() } else { format!("Name={link}") };
    let mut out = format!("{HEAD}[Match]\n{matching}\n\n[Link]\n");
    let mut line = |key: &str, value: &dyn std::fmt::Display| {
        // Writing into a String never fails.
        let _ = writeln!(out, "{key}={value}");
    };
    if let Some(mtu) = wanted.mtu {
        line("MTUBytes", &mtu);
    }
    if let Some(mac) = &wanted.mac {
        line("MACAddress", mac);
    }
    if wanted.is_off {
        line("RequiredForOnline", &"no");
    }
    line("\n[Network]\nDHCP", &wanted.how.unwrap_or("no"));
    for address in &wanted.addresses {
        line("Address", address);
    }
    if let Some(gateway) = wanted.gateway {
        line("Gateway", &gateway);
    }
    for server in &wanted.dns {
        line("DNS", server);
    }
    for server in &wanted.ntp {
        line("NTP", server);
    }
    if let Some(name) = &wanted.hostname {
        line("\n[DHCPv4]\nHostname", name);
    }
    for (destination, gateway) in &wanted.routes {
        line("\n[Route]\nDestination", destination);
        if let Some(gateway) = gateway {
            line("Gateway", gateway);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Content, SourceFile, read};

    fn config(command_line: &str) -> Config {
        let rendered = render(command_line);
        assert_eq!(rendered.faults, Vec::<String>::new(), "{command_line}");
        let file = |(name, text): &(String, String)| SourceFile {
            path: format!("/run/systemd/network/{name}"),
            content: Content::Bytes(text.clone().into_bytes()),
        };
        let config = read(&rendered.files.iter().map(file).collect::<Vec<_>>());
        assert_eq!(config.faults, [], "{rendered:?}");
        config
    }

    #[test]
    fn every_form_becomes_a_file_that_is_read_without_a_fault() {
        let all = config("quiet ip=dhcp root=x");
        assert!(all.networks[0].dhcp.ipv4 && !all.networks[0].dhcp.ipv6);
        assert_eq!(all.networks[0].file, "71-default.network");
        let one = config("ip=eth0:dhcp6:1400:52:54:00:12:34:56");
        assert!(one.networks[0].dhcp.ipv6 && one.networks[0].link.mtu == Some(1400));
        assert_eq!(one.networks[0].link.mac.unwrap().to_string(), "52:54:00:12:34:56");
        let fixed = config("ip=10.0.0.5::10.0.0.1:255.255.252.0:web7:eth1:none:10.0.0.2:10.0.0.3 nameserver=9.9.9.9");
        let network = &fixed.networks[0];
        assert_eq!(network.addresses[0].address.unwrap().to_string(), "10.0.0.5/22");
        assert_eq!((network.file.as_str(), network.dns.len()), ("70-eth1.network", 3));
        assert!(network.has_gateway() && network.dhcp4.hostname.as_deref() == Some("web7"));
        let six = config("ip=[2001:db8::5]::[2001:db8::1]:64::eth0:off rd.route=10.9.0.0/16:10.0.0.9:eth0");
        assert_eq!(six.networks[0].addresses[0].address.unwrap().to_string(), "2001:db8::5/64");
        assert_eq!(six.networks[0].routes.len(), 2);
        let named = config("ifname=lan0:52:54:00:00:00:01 ip=lan0:dhcp");
        assert_eq!(named.links[0].name.as_deref(), Some("lan0"));
    }

    #[test]
    fn nonsense_is_named_and_makes_no_file() {
        for argument in ["ip=maybe", "ip=10.0.0.5::::::", "ip=1.2.3.4::x:24::eth0:none", "nameserver=me", "ifname=a"] {
            let rendered = render(argument);
            let fine = argument == "ip=10.0.0.5::::::";
            assert_eq!((rendered.faults.len(), rendered.files.len()), if fine { (0, 1) } else { (1, 0) }, "{argument}");
        }
    }
}
