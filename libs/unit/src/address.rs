//! Addresses that a socket unit listens on, as unit files write and systemd prints them. Pure.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::value::{Parsed, wrong};

/// Longest path of a socket in the file system; the kernel's structure holds 108 bytes with the final zero.
pub const UNIX_PATH_MAX: usize = 107;

/// The address that takes a virtual machine's connections on every context.
pub const VSOCK_ANY: u32 = u32::MAX;

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(String),
    /// A socket in the kernel's own name space, without the leading `@`.
    Abstract(String),
    /// IPv4.
    V4(Ipv4Addr, u16),
    /// IPv6, with an interface for link-local addresses.
    V6(Ipv6Addr, u16, Option<String>),
    /// A port only: all addresses, IPv6 ones too if the machine has them.
    Port(u16),
    /// Virtual machine sockets: context and port.
    Vsock(u32, u32),
    /// A netlink family and its group.
    Netlink(NetlinkFamily, u32),
}

/// A netlink family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetlinkFamily(pub i32);

const NETLINK: [(&str, i32); 19] = [
    ("route", 0),
    ("firewall", 3),
    ("inet-diag", 4),
    ("nflog", 5),
    ("xfrm", 6),
    ("selinux", 7),
    ("iscsi", 8),
    ("audit", 9),
    ("fib-lookup", 10),
    ("connector", 11),
    ("netfilter", 12),
    ("ip6-fw", 13),
    ("dnrtmsg", 14),
    ("kobject-uevent", 15),
    ("generic", 16),
    ("scsitransport", 18),
    ("ecryptfs", 19),
    ("rdma", 20),
    ("crypto", 21),
];

impl fmt::Display for NetlinkFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NETLINK.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => f.write_str(path),
            Address::Abstract(name) => write!(f, "@{name}"),
            Address::V4(address, port) => write!(f, "{address}:{port}"),
            Address::V6(address, port, Some(link)) => write!(f, "[{address}]:{port}%{link}"),
            Address::V6(address, port, None) => write!(f, "[{address}]:{port}"),
            Address::Port(port) => write!(f, "[::]:{port}"),
            Address::Vsock(VSOCK_ANY, port) => write!(f, "vsock::{port}"),
            Address::Vsock(context, port) => write!(f, "vsock:{context}:{port}"),
            Address::Netlink(family, group) => write!(f, "{family} {group}"),
        }
    }
}

/// The type of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// Connections of bytes.
    Stream,
    /// Single messages.
    Datagram,
    /// Connections of messages.
    SequentialPacket,
    /// Netlink messages.
    Raw,
}

/// Reads the value of `ListenStream=` and its like; the type in a vsock address gives way to that of the directive.
pub fn parse(text: &str) -> Parsed<Address> {
    if text.starts_with('/') {
        if text.len() > UNIX_PATH_MAX {
            return Err(wrong(text, "short enough for a socket (107 bytes)"));
        }
        let plain = crate::escape::simplify_path(text).ok_or_else(|| wrong(text, "a path without '..'"))?;
        return Ok(Address::Unix(without_var(format!("/{plain}"))));
    }
    if let Some(name) = text.strip_prefix('@') {
        if name.is_empty() || name.len() > UNIX_PATH_MAX {
            return Err(wrong(text, "a name of 1 to 107 bytes after '@'"));
        }
        return Ok(Address::Abstract(name.to_owned()));
    }
    for prefix in ["vsock:", "vsock-dgram:", "vsock-seqpacket:", "vsock-stream:"] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return vsock(rest).ok_or_else(|| wrong(text, "vsock:CID:PORT"));
        }
    }
    if let Some(port) = port(text) {
        return Ok(Address::Port(port));
    }
    internet(text).ok_or_else(|| wrong(text, "an address to listen on"))
}

/// `/run/x` for the older `/var/run/x`.
pub(crate) fn without_var(path: String) -> String {
    path.strip_prefix("/var/run/").map(|rest| format!("/run/{rest}")).unwrap_or(path)
}

fn port(text: &str) -> Option<u16> {
    text.parse::<u16>().ok().filter(|port| *port != 0 && !text.starts_with('+'))
}

fn vsock(text: &str) -> Option<Address> {
    let (context, port) = text.split_once(':')?;
    let context = if context.is_empty() { VSOCK_ANY } else { context.parse().ok()? };
    Some(Address::Vsock(context, port.parse().ok()?))
}

/// `address:port`, `[address]:port` and `[address]:port%interface`.
fn internet(text: &str) -> Option<Address> {
    let Some(rest) = text.strip_prefix('[') else {
        let (address, number) = text.split_once(':')?;
        return Some(Address::V4(address.parse().ok()?, port(number)?));
    };
    let (address, tail) = rest.split_once(']')?;
    let (number, link) = match tail.strip_prefix(':')?.split_once('%') {
        Some((number, link)) if is_link(link) => (number, Some(link.to_owned())),
        Some(_) => return None,
        None => (tail.strip_prefix(':')?, None),
    };
    Some(Address::V6(address.parse().ok()?, port(number)?, link))
}

/// Is this the name or number of a network interface?
pub(crate) fn is_link(text: &str) -> bool {
    !text.is_empty()
        && text.len() < 16
        && !matches!(text, "." | ".." | "all" | "default")
        && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ':' | '/' | '%'))
}

/// Reads the value of `ListenNetlink=`: a family and perhaps a group.
pub fn netlink(text: &str) -> Parsed<Address> {
    let fault = || wrong(text, "a netlink family and perhaps a group");
    let mut words = text.split_whitespace();
    let family = words.next().ok_or_else(fault)?;
    let number = NETLINK.iter().find(|(name, _)| *name == family).map(|(_, number)| *number);
    let number = number.or_else(|| family.parse().ok().filter(|n| (0..32).contains(n))).ok_or_else(fault)?;
    let group = words.next().map_or(Ok(0), |group| group.parse().map_err(|_| fault()))?;
    if words.next().is_some() {
        return Err(fault());
    }
    Ok(Address::Netlink(NetlinkFamily(number), group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_systemd_prints_them() {
        let cases = [
            ("/run/../x", None),
            ("/run//a/./b", Some("/run/a/b")),
            ("/var/run/x", Some("/run/x")),
            ("@name", Some("@name")),
            ("@", None),
            ("127.0.0.1:11300", Some("127.0.0.1:11300")),
            ("0.0.0.0:111", Some("0.0.0.0:111")),
            ("[::]:111", Some("[::]:111")),
            ("[fe80::1]:22%eth0", Some("[fe80::1]:22%eth0")),
            ("21", Some("[::]:21")),
            ("0", None),
            ("65536", None),
            ("1.2.3.4", None),
            ("::1:22", None),
            ("vsock:2:1234", Some("vsock:2:1234")),
            ("vsock::22", Some("vsock::22")),
            ("vsock:2", None),
            ("", None),
            ("name", None),
        ];
        for (text, want) in cases {
            let got = parse(text).ok().map(|address| address.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
        assert_eq!(parse("vsock-dgram:1:2"), Ok(Address::Vsock(1, 2)));
    }

    #[test]
    fn netlink_families_have_names_and_groups() {
        assert_eq!(netlink("kobject-uevent 1").unwrap().to_string(), "kobject-uevent 1");
        assert_eq!(netlink("audit").unwrap().to_string(), "audit 0");
        assert!(netlink("nonsense 1").is_err());
        assert!(netlink("route 1 2").is_err());
    }
}
