//! What a DHCP server granted, after every field was checked. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A route of a lease; an unspecified gateway means that the destination is on the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The network.
    pub destination: Ipv4Addr,
    /// How many bits of it count.
    pub prefix: u8,
    /// The next hop.
    pub gateway: Ipv4Addr,
}

impl Route {
    /// The route to everywhere.
    pub fn default_by(gateway: Ipv4Addr) -> Self {
        Self { destination: Ipv4Addr::UNSPECIFIED, prefix: 0, gateway }
    }

    /// Whether this is a route to everywhere.
    pub fn is_default(&self) -> bool {
        self.prefix == 0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{} via {}", self.destination, self.prefix, self.gateway)
    }
}

/// One granted lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Our address.
    pub address: Ipv4Addr,
    /// The length of its network.
    pub prefix: u8,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// Routes, the default route among them.
    pub routes: Vec<Route>,
    /// Name servers, best first.
    pub dns: Vec<Ipv4Addr>,
    /// Time servers.
    pub ntp: Vec<Ipv4Addr>,
    /// Search domains.
    pub search: Vec<String>,
    /// The name the server gave us.
    pub hostname: Option<String>,
    /// The largest packet of the link.
    pub mtu: Option<u16>,
    /// When to renew, when to ask any server, when it ends; `None` is for ever.
    pub times: Option<Times>,
}

/// The three times of a lease, counted from its acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// T1: ask the same server again.
    pub renew: Duration,
    /// T2: ask any server.
    pub rebind: Duration,
    /// The address must be given up.
    pub expire: Duration,
}

impl Lease {
    /// The next hop of the default route.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.routes.iter().find(|route| route.is_default()).map(|route| route.gateway)
    }
}

/// Whether an address can be that of one machine: not 0.x, loopback, multicast, reserved or broadcast.
pub(crate) fn is_host_address(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// A host or domain name: letters, digits, hyphens and dots, labels of at most 63, at most 253 in all.
///
/// Whatever else a server sends must not reach resolv.conf or sethostname.
pub(crate) fn is_domain_name(text: &str) -> bool {
    let label_is_fine = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.len() <= 253 && text.split('.').all(label_is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_blanks_newlines_or_empty_labels_are_refused() {
        for (name, fine) in [
            ("example.org", true),
            ("a", true),
            ("_tcp.example", true),
            ("", false),
            ("a..b", false),
            ("a b", false),
            ("a\nnameserver 6.6.6.6", false),
            ("-a", false),
            (&"x".repeat(64), false),
        ] {
            assert_eq!(is_domain_name(name), fine, "{name}");
        }
    }

    #[test]
    fn only_unicast_addresses_are_those_of_a_machine() {
        for (address, fine) in [
            ([10, 0, 2, 15], true),
            ([169, 254, 1, 1], true),
            ([0, 0, 0, 0], false),
            ([127, 0, 0, 1], false),
            ([224, 0, 0, 1], false),
            ([255, 255, 255, 255], false),
        ] {
            assert_eq!(is_host_address(Ipv4Addr::from(address)), fine, "{address:?}");
        }
    }
}
