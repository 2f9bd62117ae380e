//! Router advertisements: what they say about name servers, domains and DHCPv6, and for how long. Pure.
//!
//! Addresses and routes are the kernel's business (accept_ra); it tells nobody the rest.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lease::is_domain_name;

const MAX_SERVERS: usize = 8;
const MAX_DOMAINS: usize = 16;
const RECURSIVE_SERVERS: u8 = 25;
const SEARCH_LIST: u8 = 31;
const FOR_EVER: u32 = u32::MAX;

/// One advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// Who spoke.
    pub router: Ipv6Addr,
    /// How long it is a default router; 0: it is none.
    pub lifetime: Duration,
    /// Addresses are to be had by DHCPv6.
    pub managed: bool,
    /// Other things are to be had by DHCPv6.
    pub other: bool,
    /// Name servers and how long they count.
    pub servers: Vec<(Ipv6Addr, Duration)>,
    /// Search domains and how long they count.
    pub domains: Vec<(String, Duration)>,
}

/// Reads an advertisement; `None` when it is none.
pub(crate) fn read(packet: &[u8], router: Ipv6Addr) -> Option<Advertisement> {
    let (head, mut options) = packet.split_at_checked(16)?;
    let [134, 0, _, _, _, flags, high, low, ..] = head else { return None };
    let mut heard = Advertisement {
        router,
        lifetime: Duration::from_secs(u16::from_be_bytes([*high, *low]).into()),
        managed: flags & 0x80 != 0,
        other: flags & 0x40 != 0,
        servers: Vec::new(),
        domains: Vec::new(),
    };
    while let [kind, units, ..] = options {
        let length = usize::from(*units) * 8;
        // A length of nothing: the packet must be dropped (RFC 4861).
        let option = options.get(..length).filter(|_| length > 0)?;
        if let (Some(bytes), Some(rest)) = (option.get(4..8), option.get(8..)) {
            let lifetime = span(bytes);
            match *kind {
                RECURSIVE_SERVERS => heard.servers.extend(servers(rest, lifetime)),
                SEARCH_LIST => heard.domains.extend(names(rest).into_iter().map(|name| (name, lifetime))),
                _ => {}
            }
        }
        options = options.get(length..)?;
    }
    heard.servers.truncate(MAX_SERVERS);
    heard.domains.truncate(MAX_DOMAINS);
    Some(heard)
}

fn span(bytes: &[u8]) -> Duration {
    let seconds = bytes.try_into().map(u32::from_be_bytes).unwrap_or_default();
    // For ever is long, not special.
    Duration::from_secs(if seconds == FOR_EVER { u64::from(u32::MAX) } else { seconds.into() })
}

fn servers(bytes: &[u8], lifetime: Duration) -> impl Iterator<Item = (Ipv6Addr, Duration)> {
    let address = |chunk: &[u8]| <[u8; 16]>::try_from(chunk).ok().map(Ipv6Addr::from);
    bytes
        .chunks_exact(16)
        .filter_map(address)
        .filter(|address| !address.is_unspecified() && !address.is_multicast())
        .map(move |address| (address, lifetime))
}

/// Names as labels with their lengths, ended by an empty one, padded with zeros.
pub(crate) fn names(mut bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    while let Some((length, rest)) = bytes.split_first() {
        let Some((label, after)) = rest.split_at_checked(usize::from(*length)) else { break };
        if label.is_empty() {
            let whole = std::mem::take(&mut name).to_ascii_lowercase();
            if is_domain_name(&whole) {
                names.push(whole);
            }
        } else {
            let Ok(label) = std::str::from_utf8(label) else { break };
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(label);
        }
        bytes = after;
    }
    names
}

/// What is remembered of the routers of a link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// The first default router that still counts, and until when.
    pub router: Option<(Ipv6Addr, Duration)>,
    /// Some router says that addresses are to be had by DHCPv6.
    pub managed: bool,
    /// The same for other things.
    pub other: bool,
    servers: Vec<(Ipv6Addr, Duration)>,
    domains: Vec<(String, Duration)>,
}

impl Learned {
    /// Takes in an advertisement; whether it said something new.
    pub(crate) fn hear(&mut self, heard: &Advertisement, now: Duration) -> bool {
        let before = self.content();
        (self.managed, self.other) = (heard.managed, heard.other);
        let is_known = self.router.is_none_or(|(router, _)| router == heard.router);
        if heard.lifetime > Duration::ZERO && is_known {
            self.router = Some((heard.router, now + heard.lifetime));
        } else if heard.lifetime.is_zero() && self.router.is_some_and(|(router, _)| router == heard.router) {
            self.router = None;
        }
        self.expire(now);
        for (server, lifetime) in &heard.servers {
            keep(&mut self.servers, server, now + *lifetime, MAX_SERVERS);
        }
        for (domain, lifetime) in &heard.domains {
            keep(&mut self.domains, domain, now + *lifetime, MAX_DOMAINS);
        }
        self.expire(now);
        self.content() != before
    }

    /// What it says, whatever the times.
    fn content(&self) -> (Option<Ipv6Addr>, bool, bool, BTreeSet<Ipv6Addr>, BTreeSet<String>) {
        let servers = self.servers.iter().map(|(server, _)| *server).collect();
        let domains = self.domains.iter().map(|(domain, _)| domain.clone()).collect();
        (self.router.map(|(router, _)| router), self.managed, self.other, servers, domains)
    }

    /// Forgets what does not count any more; whether that was anything.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let before = (self.servers.len(), self.domains.len(), self.router.is_some());
        self.servers.retain(|(_, until)| *until > now);
        self.domains.retain(|(_, until)| *until > now);
        self.router = self.router.filter(|(_, until)| *until > now);
        before != (self.servers.len(), self.domains.len(), self.router.is_some())
    }

    /// When something must be forgotten.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let servers = self.servers.iter().map(|(_, until)| *until);
        servers.chain(self.domains.iter().map(|(_, until)| *until)).chain(self.router.map(|(_, until)| until)).min()
    }

    /// Name servers.
    pub(crate) fn servers(&self) -> impl Iterator<Item = IpAddr> {
        self.servers.iter().map(|(server, _)| IpAddr::V6(*server))
    }

    /// Search domains.
    pub(crate) fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(|(domain, _)| domain.as_str())
    }
}

/// What was there first stays, so that a flood of strangers neither drives it out nor changes anything all the time.
fn keep<T: PartialEq + Clone>(all: &mut Vec<(T, Duration)>, one: &T, until: Duration, most: usize) {
    if let Some((_, end)) = all.iter_mut().find(|(known, _)| known == one) {
        *end = until;
    } else if all.len() < most {
        all.push((one.clone(), until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    fn packet(flags: u8, lifetime: u16, options: &[u8]) -> Vec<u8> {
        let mut packet = vec![134, 0, 0, 0, 64, flags];
        packet.extend_from_slice(&lifetime.to_be_bytes());
        packet.extend_from_slice(&[0; 8]);
        packet.extend_from_slice(options);
        packet
    }

    fn servers_for(seconds: u32) -> Vec<u8> {
        let mut option = vec![25, 3, 0, 0];
        option.extend_from_slice(&seconds.to_be_bytes());
        option.extend_from_slice(&"2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
        option
    }

    #[test]
    fn servers_domains_and_flags_are_read() {
        let mut options = servers_for(600);
        options.extend_from_slice(&[31, 3, 0, 0, 0, 0, 1, 0, 7]);
        options.extend_from_slice(b"Example\x03org\x00\0\0\0");
        let heard = read(&packet(0xc0, 1800, &options), ROUTER).unwrap();
        assert!(heard.managed && heard.other);
        assert_eq!(heard.servers, [("2001:db8::53".parse().unwrap(), Duration::from_secs(600))]);
        assert_eq!(heard.domains, [("example.org".to_owned(), Duration::from_secs(256))]);
        assert_eq!(read(&packet(0, 0, &[25, 0, 0, 0, 0, 0, 0, 0]), ROUTER), None);
        assert_eq!(read(&[133; 40], ROUTER), None);
    }

    #[test]
    fn what_was_learned_is_forgotten_in_time_or_taken_back() {
        let seconds = Duration::from_secs;
        let mut learned = Learned::default();
        learned.hear(&read(&packet(0, 1800, &servers_for(600)), ROUTER).unwrap(), seconds(100));
        assert_eq!((learned.servers().count(), learned.deadline()), (1, Some(seconds(700))));
        assert!(!learned.expire(seconds(699)));
        assert!(learned.expire(seconds(700)) && learned.servers().count() == 0);
        learned.hear(&read(&packet(0, 0, &servers_for(0)), ROUTER).unwrap(), seconds(800));
        assert_eq!(learned, Learned::default());
    }

    #[test]
    fn strangers_neither_drive_out_what_is_known_nor_change_anything() {
        let seconds = Duration::from_secs;
        let option = |last: u8| {
            let mut option = servers_for(600);
            option[23] = last;
            option
        };
        let mut learned = Learned::default();
        for last in 0..u8::try_from(MAX_SERVERS).unwrap() {
            assert!(learned.hear(&read(&packet(0, 1800, &option(last)), ROUTER).unwrap(), seconds(1)));
        }
        let stranger = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
        assert!(!learned.hear(&read(&packet(0, 1800, &option(99)), stranger).unwrap(), seconds(2)));
        assert_eq!((learned.servers().count(), learned.router.map(|(router, _)| router)), (MAX_SERVERS, Some(ROUTER)));
    }

    proptest! {
        #[test]
        fn hostile_packets_never_panic(options in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ignored = read(&packet(0, 1, &options), ROUTER);
            let _ignored = read(&options, ROUTER);
        }
    }
}
