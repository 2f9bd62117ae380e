//! Values of keys: addresses with a prefix, hardware addresses, names of links, numbers. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
pub(crate) use ferrite_unit::value::{Parsed, boolean, span};
use ferrite_unit::value::{ValueError, number, wrong};

/// An address and how many bits of it are the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefixed {
    /// The address, its bits behind the prefix kept.
    pub address: IpAddr,
    /// The length of the network.
    pub prefix: u8,
}

impl Prefixed {
    /// The network: the address with the bits behind the prefix cleared.
    pub fn network(&self) -> Prefixed {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from(u32::from(address) & mask))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & mask))
            }
        };
        Prefixed { address, prefix: self.prefix }
    }

    /// Whether an address lies in the network.
    pub fn contains(&self, other: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == other.is_ipv4();
        same_family && Prefixed { address: other, prefix: self.prefix }.network() == self.network()
    }

    /// `0.0.0.0/0` or `::/0`.
    pub fn is_default(&self) -> bool {
        self.prefix == 0
    }
}

impl fmt::Display for Prefixed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

/// A hardware address of an Ethernet link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Bytes separated by `:` or `-`, or groups of two bytes separated by `.`.
pub fn mac(text: &str) -> Parsed<Mac> {
    let fault = || wrong(text, "a hardware address such as 52:54:00:12:34:56");
    let separator = [':', '-', '.'].into_iter().find(|separator| text.contains(*separator)).ok_or_else(fault)?;
    let (groups, digits) = if separator == '.' { (3, 4) } else { (6, 2) };
    let parts: Vec<&str> = text.split(separator).collect();
    let is_group =
        |part: &&str| !part.is_empty() && part.len() <= digits && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.len() != groups || !parts.iter().all(is_group) {
        return Err(fault());
    }
    let mut bytes = Vec::with_capacity(6);
    for part in parts {
        let value = u16::from_str_radix(part, 16).map_err(|_| fault())?;
        if digits == 4 {
            bytes.extend_from_slice(&value.to_be_bytes());
        } else {
            bytes.push(u8::try_from(value).map_err(|_| fault())?);
        }
    }
    bytes.try_into().map(Mac).map_err(|_| fault())
}

/// An address.
pub fn address(text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| wrong(text, "an address such as 192.0.2.1 or 2001:db8::1"))
}

/// An address with a prefix; without one it is that of a single machine.
pub fn prefixed(text: &str) -> Parsed<Prefixed> {
    let fault = || wrong(text, "an address with a prefix such as 192.0.2.10/24");
    let (bare, prefix) = match text.split_once('/') {
        Some((bare, prefix)) => (bare, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = bare.parse().map_err(|_| fault())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => most,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(fault)?
        }
        // `/255.255.255.0` is what old tools write.
        Some(mask) => match mask.parse::<Ipv4Addr>().ok().and_then(prefix_of_mask) {
            Some(prefix) if address.is_ipv4() => prefix,
            _ => return Err(fault()),
        },
    };
    Ok(Prefixed { address, prefix })
}

/// The length of a netmask whose ones are all in front.
pub fn prefix_of_mask(mask: Ipv4Addr) -> Option<u8> {
    let bits = u32::from(mask);
    (bits.count_ones() == bits.leading_ones()).then_some(u8::try_from(bits.leading_ones()).ok()?)
}

/// The name of a link: at most 15 bytes that the kernel allows.
pub fn link_name(text: &str) -> Parsed<String> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    let fine =
        (1..16).contains(&text.len()) && text.bytes().all(is_fine) && !matches!(text, "." | ".." | "all" | "default");
    if fine { Ok(text.to_owned()) } else { Err(wrong(text, "a name of a link (1 to 15 characters without '/')")) }
}

/// A domain; a leading `~` marks one that only chooses servers, `.` or `~.` is the root.
pub fn domain(text: &str) -> Parsed<String> {
    let bare = text.strip_prefix('~').unwrap_or(text);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let label = |label: &str| {
        (1..64).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if bare.is_empty() && text.ends_with('.') {
        return Ok(text.to_owned());
    }
    if bare.len() > 253 || bare.is_empty() || !bare.split('.').all(label) {
        return Err(wrong(text, "a domain such as example.org"));
    }
    let mark = if text.starts_with('~') { "~" } else { "" };
    Ok(format!("{mark}{}", bare.to_ascii_lowercase()))
}

/// A largest packet, with an optional K or M.
pub fn mtu(text: &str) -> Parsed<u32> {
    let size = ferrite_unit::value::size(text)?.and_then(|size| u32::try_from(size).ok());
    size.filter(|size| (68..=0x7fff_ffff).contains(size)).ok_or_else(|| wrong(text, "a number of bytes from 68"))
}

/// A number of 32 bits.
pub fn number_32(text: &str) -> Parsed<u32> {
    let value = number(text, 0, i64::from(u32::MAX))?;
    u32::try_from(value).map_err(|_| wrong(text, "a number"))
}

/// A number of 16 bits from `low`.
pub fn number_16(text: &str, low: u16, high: u16) -> Parsed<u16> {
    let value = number(text, low.into(), high.into())?;
    u16::try_from(value).map_err(|_| wrong(text, "a number"))
}

/// A number of 8 bits up to `high`.
pub fn number_8(text: &str, high: u8) -> Parsed<u8> {
    let value = number(text, 0, high.into())?;
    u8::try_from(value).map_err(|_| wrong(text, "a number"))
}

/// A span in milliseconds.
pub fn milliseconds(text: &str) -> Parsed<u32> {
    let span = span(text)?.finite().and_then(|span| u32::try_from(span.as_millis()).ok());
    span.ok_or_else(|| wrong(text, "a time span such as 1s or 100ms"))
}

/// One of some words; gives its place.
pub fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Parsed<T> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    Err(ValueError(format!("'{text}' is none of {}", words.join(", "))))
}

/// 32 bytes; the value itself is never repeated in a message.
pub fn secret(text: &str) -> Parsed<crate::netdev::Secret> {
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(crate::netdev::Secret)
        .ok_or_else(|| ValueError("the value is not a key (44 characters of base64)".to_owned()))
}

/// A routing table: a number, or one of the kernel's names.
pub fn table(text: &str) -> Parsed<u32> {
    match text {
        "default" => Ok(253),
        "main" => Ok(254),
        "local" => Ok(255),
        text => number_32(text)
            .ok()
            .filter(|table| *table > 0)
            .ok_or_else(|| wrong(text, "a routing table (a number from 1, or main, default, local)")),
    }
}

/// Words with quotes.
pub(crate) fn words(text: &str) -> Parsed<Vec<String>> {
    ferrite_unit::words::split(text, ferrite_unit::words::Escapes::Lenient)
        .map_err(|error| ValueError(error.to_string()))
}

/// Adds every word of a value to a list; the empty value empties it. Words that are wrong are named, the rest is taken.
pub(crate) fn extend<T>(list: &mut Vec<T>, text: &str, read: impl Fn(&str) -> Parsed<T>) -> Parsed<()> {
    if text.is_empty() {
        list.clear();
        return Ok(());
    }
    let mut fault = Ok(());
    for word in words(text)? {
        match read(&word) {
            Ok(value) => list.push(value),
            Err(error) => fault = Err(error),
        }
    }
    fault
}

/// The value, or nothing for the empty assignment.
pub(crate) fn optional<T>(text: &str, read: impl FnOnce(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    if text.is_empty() { Ok(None) } else { read(text).map(Some) }
}
