//! The text of /run/resolv.conf from the leases of all links. Pure.

use crate::lease::Lease;

/// More than three are never asked by the C library; the rest serve other resolvers.
const MAX_SERVERS: usize = 6;
const MAX_DOMAINS: usize = 16;

/// Servers and domains of all leases in the order of the links, each once.
pub(crate) fn render(leases: &[&Lease]) -> String {
    let mut servers = Vec::new();
    let mut domains: Vec<&str> = Vec::new();
    for lease in leases {
        for server in &lease.dns {
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        for domain in &lease.search {
            if !domains.contains(&domain.as_str()) {
                domains.push(domain);
            }
        }
    }
    let mut text = String::from("# Written by ferrite-networkd from DHCP leases; changes are lost.\n");
    for server in servers.iter().take(MAX_SERVERS) {
        text.push_str(&format!("nameserver {server}\n"));
    }
    domains.truncate(MAX_DOMAINS);
    if !domains.is_empty() {
        text.push_str(&format!("search {}\n", domains.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(dns: &[[u8; 4]], search: &[&str]) -> Lease {
        Lease {
            address: [10, 0, 0, 5].into(),
            prefix: 24,
            server: [10, 0, 0, 1].into(),
            routes: vec![],
            dns: dns.iter().map(|server| (*server).into()).collect(),
            search: search.iter().map(ToString::to_string).collect(),
            hostname: None,
            mtu: None,
            times: None,
        }
    }

    #[test]
    fn servers_and_domains_are_merged_in_order_without_doubles() {
        let one = lease(&[[10, 0, 0, 3], [8, 8, 8, 8]], &["a.example"]);
        let two = lease(&[[8, 8, 8, 8], [10, 1, 0, 3]], &["b.example", "a.example"]);
        let text = render(&[&one, &two]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            ["nameserver 10.0.0.3", "nameserver 8.8.8.8", "nameserver 10.1.0.3", "search a.example b.example"]
        );
    }
}
