//! The IPv4 and UDP headers around a DHCP message, for a link that has no address yet. Pure.
//!
//! The UDP checksum of what arrives is not checked: with offloading, a server on the same host leaves it
//! unfinished, and the link has its own.

use std::net::Ipv4Addr;

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;
/// The port of the client.
pub(crate) const CLIENT_PORT: u16 = 68;
/// The port of the server.
pub(crate) const SERVER_PORT: u16 = 67;

/// Wraps a message from the client port to the server port. `None` when it is too long for a packet.
pub(crate) fn wrap(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Option<Vec<u8>> {
    let udp_bytes = u16::try_from(UDP_HEADER + message.len()).ok()?;
    let total_bytes = u16::try_from(IP_HEADER + UDP_HEADER + message.len()).ok()?;
    let mut packet = Vec::with_capacity(usize::from(total_bytes));
    packet.extend_from_slice(&[0x45, 0xc0]);
    packet.extend_from_slice(&total_bytes.to_be_bytes());
    // Identification 0, do not fragment, 64 hops, checksum filled in below.
    packet.extend_from_slice(&[0, 0, 0x40, 0, 64, UDP, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let checksum = finish(sum(0, &packet));
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend_from_slice(&CLIENT_PORT.to_be_bytes());
    packet.extend_from_slice(&SERVER_PORT.to_be_bytes());
    packet.extend_from_slice(&udp_bytes.to_be_bytes());
    packet.extend_from_slice(&[0, 0]);
    packet.extend_from_slice(message);
    let pseudo = sum(sum(0, &source.octets()), &destination.octets()) + u32::from(UDP) + u32::from(udp_bytes);
    let checksum = match finish(sum(pseudo, &packet[IP_HEADER..])) {
        0 => 0xffff,
        checksum => checksum,
    };
    packet[IP_HEADER + 6..IP_HEADER + 8].copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}

/// The DHCP message inside a packet; `None` when it is anything else.
pub(crate) fn unwrap(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header_bytes = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || header_bytes < IP_HEADER {
        return None;
    }
    let header = packet.get(..header_bytes)?;
    let field = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    let total_bytes = usize::from(field(2)?);
    let is_fragment = field(6)? & 0x3fff != 0;
    if *header.get(9)? != UDP || is_fragment || finish(sum(0, header)) != 0 {
        return None;
    }
    let udp = packet.get(header_bytes..total_bytes)?;
    let udp_field = |at: usize| Some(u16::from_be_bytes(udp.get(at..at + 2)?.try_into().ok()?));
    if udp_field(0)? != SERVER_PORT || udp_field(2)? != CLIENT_PORT {
        return None;
    }
    udp.get(UDP_HEADER..usize::from(udp_field(4)?))
}

/// Adds big-endian 16-bit words; an odd last byte counts as the high one.
fn sum(start: u32, bytes: &[u8]) -> u32 {
    let mut total = start;
    for pair in bytes.chunks(2) {
        let high = u32::from(pair[0]) << 8;
        total += high + pair.get(1).map_or(0, |low| u32::from(*low));
    }
    total
}

fn finish(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_headers_have_right_lengths_and_checksums() {
        let packet = wrap(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"abc").unwrap();
        assert_eq!(packet.len(), 31);
        assert_eq!(finish(sum(0, &packet[..20])), 0);
        let pseudo = sum(0, &[0, 0, 0, 0, 255, 255, 255, 255, 0, 17, 0, 11]);
        assert_eq!(finish(sum(pseudo, &packet[20..])), 0);
    }

    #[test]
    fn only_whole_udp_from_server_to_client_port_is_unwrapped() {
        let mut packet = wrap(Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::BROADCAST, b"abc").unwrap();
        assert_eq!(unwrap(&packet), None);
        packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
        assert_eq!(unwrap(&packet), Some(&b"abc"[..]));
        assert_eq!(unwrap(&packet[..packet.len() - 1]), None);
        packet[8] = 1;
        assert_eq!(unwrap(&packet), None, "a damaged header");
    }

    proptest! {
        #[test]
        fn hostile_packets_never_panic(mut packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = packet.first_mut() {
                *first = 0x40 | (*first & 0x0f);
            }
            let _ignored = unwrap(&packet);
        }
    }
}
