//! /run/ferrite/network: one line a link that has a file, for the login banner and for people with a shell. Pure.
//!
//! `LINK STATE ADDRESS/PREFIX GATEWAY DNS[,DNS]`, fields separated by one blank, `-` where there is nothing.

use std::net::IpAddr;

use crate::state::{AddressReport, Interface, State};

/// The text of the file.
pub fn render_report(state: &State) -> String {
    state.interfaces.iter().filter(|link| link.administrative_state != "unmanaged").map(line).collect()
}

fn line(link: &Interface) -> String {
    let none = || "-".to_owned();
    let address = main_address(link).map_or_else(none, |found| format!("{}/{}", found.address, found.prefix_length));
    let gateway = link.gateways.first().map_or_else(none, |gateway| gateway.address.to_string());
    let servers: Vec<String> = link.dns.iter().map(IpAddr::to_string).collect();
    let servers = if servers.is_empty() { none() } else { servers.join(",") };
    format!("{} {} {address} {gateway} {servers}\n", link.name, word(link))
}

/// The state in one word.
pub(crate) fn word(link: &Interface) -> &str {
    match link.operational_state.as_str() {
        "no-carrier" | "off" => &link.operational_state,
        _ => &link.administrative_state,
    }
}

/// IPv4 first, and nothing that only the link knows.
pub(crate) fn main_address(link: &Interface) -> Option<&AddressReport> {
    let wide = |report: &&AddressReport| !crate::plan::is_link_local(report.address);
    let mut addresses: Vec<&AddressReport> = link.addresses.iter().filter(wide).collect();
    addresses.sort_by_key(|report| report.address.is_ipv6());
    addresses.first().copied()
}
