//! The text of /run/resolv.conf from the name servers and domains of all links. Pure.

use std::net::IpAddr;

/// More than three are never asked by the C library; the rest serve other resolvers.
const MAX_SERVERS: usize = 6;
const MAX_DOMAINS: usize = 16;

/// Servers and domains in the order of the links, each once.
pub(crate) fn render<'a>(
    servers: impl IntoIterator<Item = IpAddr>,
    domains: impl IntoIterator<Item = &'a str>,
) -> String {
    let mut text = String::from("# Written by ferrite-networkd; changes are lost.\n");
    let mut known: Vec<IpAddr> = Vec::new();
    for server in servers {
        if known.len() < MAX_SERVERS && !known.contains(&server) {
            text.push_str(&format!("nameserver {server}\n"));
            known.push(server);
        }
    }
    let mut search: Vec<&str> = Vec::new();
    // A domain that only chooses servers is not searched, and the root is no domain to search.
    for domain in domains.into_iter().filter(|domain| !domain.starts_with('~') && *domain != ".") {
        if search.len() < MAX_DOMAINS && !search.contains(&domain) {
            search.push(domain);
        }
    }
    if !search.is_empty() {
        text.push_str(&format!("search {}\n", search.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_domains_are_merged_in_order_without_doubles() {
        let servers = ["10.0.0.3", "8.8.8.8", "8.8.8.8", "2001:db8::53"].map(|text| text.parse().unwrap());
        let text = render(servers, ["a.example", "~corp.example", "b.example", "a.example", "."]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            ["nameserver 10.0.0.3", "nameserver 8.8.8.8", "nameserver 2001:db8::53", "search a.example b.example"]
        );
    }
}
