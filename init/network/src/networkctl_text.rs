//! The tables of networkctl, in the words and columns of systemd's. Pure.

use std::net::IpAddr;

use crate::state::{AddressReport, Interface, State};

/// `IDX LINK TYPE OPERATIONAL SETUP`.
pub(crate) fn list(links: &[&Interface], legend: bool) -> String {
    let heading = ["IDX", "LINK", "TYPE", "OPERATIONAL", "SETUP"].map(str::to_owned);
    let row = |link: &&Interface| {
        [
            link.index.to_string(),
            link.name.clone(),
            link.r#type.clone(),
            link.operational_state.clone(),
            link.administrative_state.clone(),
        ]
    };
    let mut rows: Vec<[String; 5]> = Vec::new();
    if legend {
        rows.push(heading);
    }
    rows.extend(links.iter().map(row));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len()).max().unwrap_or(0);
    let widths = [width(0).max(3), width(1), width(2), width(3)];
    let mut text = String::new();
    for [index, name, kind, state, setup] in &rows {
        let [a, b, c, d] = widths;
        text.push_str(&format!("{index:>a$} {name:<b$} {kind:<c$} {state:<d$} {setup}\n"));
    }
    if legend {
        text.push_str(&format!("\n{} links listed.\n", links.len()));
    }
    text
}

/// Lines of `LABEL: value`; further values stand under the first.
#[derive(Default)]
struct Lines(Vec<(String, Vec<String>)>);

impl Lines {
    fn add(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.0.push((label.to_owned(), values));
        }
    }

    fn render(&self, indent: usize) -> String {
        let width = self.0.iter().map(|(label, _)| label.len()).max().unwrap_or(0) + indent;
        let mut text = String::new();
        for (label, values) in &self.0 {
            for (number, value) in values.iter().enumerate() {
                match number {
                    0 => text.push_str(&format!("{label:>width$}: {value}\n")),
                    _ => text.push_str(&format!("{:>width$}  {value}\n", "")),
                }
            }
        }
        text
    }
}

fn provider(address: &AddressReport) -> String {
    let mut text = address.address.to_string();
    match (address.config_source.as_str(), address.config_provider) {
        ("DHCPv4", Some(server)) => text.push_str(&format!(" (DHCPv4 via {server})")),
        ("DHCPv6", _) => text.push_str(" (DHCPv6)"),
        _ => {}
    }
    if address.duplicate {
        text.push_str(" (duplicate)");
    }
    text
}

/// `networkctl status` without a link.
pub(crate) fn machine(state: &State) -> String {
    let links = || state.interfaces.iter().filter(|link| link.r#type != "loopback");
    let mut lines = Lines::default();
    lines.add("State", [state.operational_state.clone()]);
    lines.add("Online state", [state.online_state.clone()]);
    lines.add(
        "Address",
        links().flat_map(|link| link.addresses.iter().map(|address| format!("{} on {}", address.address, link.name))),
    );
    lines.add(
        "Gateway",
        links().flat_map(|link| link.gateways.iter().map(|gateway| format!("{} on {}", gateway.address, link.name))),
    );
    lines.add("DNS", once(links().flat_map(|link| link.dns.iter().map(IpAddr::to_string))));
    lines.add("Search Domains", once(links().flat_map(|link| link.search_domains.iter().cloned())));
    lines.add("NTP", once(links().flat_map(|link| link.ntp.iter().cloned())));
    let failures = links().flat_map(|link| link.failures.iter().map(|text| format!("{}: {text}", link.name)));
    lines.add("Failed", state.failures.iter().cloned().chain(failures));
    lines.add("Fault", state.faults.iter().cloned());
    let text = lines.render(2);
    // The dot stands in the margin of the first line.
    format!("\u{25cf}{}", text.get(1..).unwrap_or_default())
}

fn once(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut known: Vec<String> = Vec::new();
    for value in values {
        if !known.contains(&value) {
            known.push(value);
        }
    }
    known
}

/// `networkctl status LINK`.
pub(crate) fn link(link: &Interface) -> String {
    let mut lines = Lines::default();
    lines.add("Link File", [link.link_file.clone().unwrap_or_else(|| "n/a".to_owned())]);
    let mut files = vec![link.network_file.clone().unwrap_or_else(|| "n/a".to_owned())];
    files.extend(link.network_file_dropins.iter().map(|path| format!("\u{2514}\u{2500}{path}")));
    lines.add("Network File", files);
    lines.add("NetDev File", link.netdev_file.clone());
    lines.add("State", [format!("{} ({})", link.operational_state, link.administrative_state)]);
    lines.add("Online state", [link.online_state.clone().unwrap_or_else(|| "unknown".to_owned())]);
    lines.add("Failed", link.failures.iter().cloned());
    if link.file_errors > 0 {
        lines.add("File errors", [format!("{} (see 'networkctl status')", link.file_errors)]);
    }
    lines.add("Type", [link.r#type.clone()]);
    lines.add("Kind", link.kind.clone());
    lines.add("Path", link.path.clone());
    lines.add("Driver", link.driver.clone());
    lines.add("Master", link.master.clone());
    lines.add("Alternative Names", link.alternative_names.iter().cloned());
    lines.add("Hardware Address", link.hardware_address.clone());
    let permanent = link.permanent_hardware_address.clone().filter(|mac| Some(mac) != link.hardware_address.as_ref());
    lines.add("Permanent HW Address", permanent);
    lines.add("MTU", [link.mtu.to_string()]);
    lines.add("Address", link.addresses.iter().map(provider));
    lines.add("Gateway", link.gateways.iter().map(|gateway| gateway.address.to_string()));
    lines.add("DNS", link.dns.iter().map(IpAddr::to_string));
    lines.add("Search Domains", link.search_domains.iter().cloned());
    lines.add("NTP", link.ntp.iter().cloned());
    lines.add("Activation Policy", link.activation_policy.clone());
    if link.network_file.is_some() {
        let required = match &link.required_operational_state_for_online {
            Some(state) => state.clone(),
            None if link.required_for_online => "yes".to_owned(),
            None => "no".to_owned(),
        };
        lines.add("Required For Online", [required]);
    }
    lines.add("DHCP4 Client State", link.dhcp4_state.clone());
    lines.add("DHCP6 Client State", link.dhcp6_state.clone());
    format!("\u{25cf} {}: {}\n{}", link.index, link.name, lines.render(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Interface {
        Interface {
            index: 2,
            name: "eth0".into(),
            r#type: "ether".into(),
            operational_state: "routable".into(),
            administrative_state: "configured".into(),
            addresses: vec![AddressReport {
                address: "10.0.2.15".parse().unwrap(),
                prefix_length: 24,
                config_source: "DHCPv4".into(),
                config_provider: "10.0.2.2".parse().ok(),
                tentative: false,
                duplicate: false,
            }],
            ..Interface::default()
        }
    }

    #[test]
    fn columns_are_those_that_people_know() {
        let lo = Interface {
            index: 1,
            name: "lo".into(),
            r#type: "loopback".into(),
            operational_state: "carrier".into(),
            administrative_state: "unmanaged".into(),
            ..Interface::default()
        };
        assert_eq!(
            list(&[&lo, &sample()], true),
            "IDX LINK TYPE     OPERATIONAL SETUP\n  1 lo   loopback carrier     unmanaged\n\
             \x20 2 eth0 ether    routable    configured\n\n2 links listed.\n"
        );
    }

    #[test]
    fn labels_end_in_one_column() {
        let text = link(&sample());
        assert!(text.starts_with("\u{25cf} 2: eth0\n"), "{text}");
        assert!(text.contains(" Address: 10.0.2.15 (DHCPv4 via 10.0.2.2)\n"), "{text}");
        let columns: Vec<Option<usize>> = text.lines().skip(1).map(|line| line.find(": ")).collect();
        assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
        let state = State { operational_state: "routable".into(), interfaces: vec![sample()], ..State::default() };
        assert!(machine(&state).contains("Address: 10.0.2.15 on eth0\n"), "{}", machine(&state));
    }
}
