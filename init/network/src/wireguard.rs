//! Keys and peers of a WireGuard link, over generic netlink.
//!
//! Peers are only added and changed when the daemon meets a tunnel that works already, so that its sessions go on.

use std::net::IpAddr;

use ferrite_netconf::Netdev;
use ferrite_netconf::netdev::{KeySource, WireGuardPeer};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr};

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const WG_CMD_SET_DEVICE: u8 = 1;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NESTED: u16 = 0x8000;
const HEADER_BYTES: usize = 16;
/// Bytes of a message at most; the kernel takes no longer one.
const MESSAGE_MAX: usize = 60_000;
const KEY_FILE_MAX: u64 = 4096;

/// Why a tunnel did not get its keys.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The kernel said no.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// A key file.
    #[error("'{0}' {1}")]
    KeyFile(String, String),
    /// Too many peers for one message.
    #[error("its peers do not fit into one message of the kernel")]
    TooLong,
}

/// Gives the link what its file says.
pub(crate) fn configure(link: &str, netdev: &Netdev, replace: bool) -> Result<(), TunnelError> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut name = Vec::new();
    put(&mut name, CTRL_ATTR_FAMILY_NAME, b"wireguard\0");
    let answer = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let family = find(answer.get(HEADER_BYTES + 4..).unwrap_or_default(), CTRL_ATTR_FAMILY_ID)
        .and_then(|bytes| Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)))
        .ok_or_else(|| std::io::Error::other("the kernel has no WireGuard"))?;
    let attributes = device(link, netdev, replace)?;
    if attributes.len() > MESSAGE_MAX {
        return Err(TunnelError::TooLong);
    }
    ask(&socket, family, WG_CMD_SET_DEVICE, &attributes)?;
    Ok(())
}

/// Sends a request and reads its answer; an error of the kernel is one.
fn ask(socket: &Socket, kind: u16, command: u8, attributes: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER_BYTES + 4 + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(HEADER_BYTES + 4 + attributes.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    let answer_wanted = if kind == GENL_ID_CTRL { 0 } else { NLM_F_ACK };
    message.extend_from_slice(&(NLM_F_REQUEST | answer_wanted).to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes());
    message.extend_from_slice(&0_u32.to_ne_bytes());
    message.extend_from_slice(&[command, 1, 0, 0]);
    message.extend_from_slice(attributes);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let word = |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match (kind, word(HEADER_BYTES)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(Vec::new()),
        (Some(NLMSG_ERROR), Some(code)) => Err(std::io::Error::from_raw_os_error(-code)),
        _ => Ok(answer),
    }
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        if kind & !NESTED == wanted {
            return attributes.get(4..length);
        }
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// WGDEVICE_A_*.
fn device(link: &str, netdev: &Netdev, replace: bool) -> Result<Vec<u8>, TunnelError> {
    let options = &netdev.wireguard;
    let mut out = Vec::new();
    put(&mut out, 2, format!("{link}\0").as_bytes());
    if let Some(source) = &options.private_key {
        put(&mut out, 3, &key(source)?);
    }
    put(&mut out, 5, &u32::from(replace).to_ne_bytes());
    put(&mut out, 6, &options.port.unwrap_or(0).to_ne_bytes());
    put(&mut out, 7, &options.mark.unwrap_or(0).to_ne_bytes());
    let mut peers = Vec::new();
    for wanted in &netdev.wireguard_peers {
        put(&mut peers, NESTED, &peer(wanted)?);
    }
    if !peers.is_empty() {
        if peers.len() > MESSAGE_MAX {
            return Err(TunnelError::TooLong);
        }
        put(&mut out, 8 | NESTED, &peers);
    }
    Ok(out)
}

/// WGPEER_A_*.
fn peer(wanted: &WireGuardPeer) -> Result<Vec<u8>, TunnelError> {
    /// What the peer may send is replaced.
    const REPLACE_ALLOWED: u32 = 2;
    let mut out = Vec::new();
    if let Some(public) = &wanted.public_key {
        put(&mut out, 1, &public.0);
    }
    if let Some(source) = &wanted.preshared_key {
        put(&mut out, 2, &key(source)?);
    }
    put(&mut out, 3, &REPLACE_ALLOWED.to_ne_bytes());
    if let Some(endpoint) = &wanted.endpoint {
        let mut socket = Vec::new();
        match endpoint.address {
            IpAddr::V4(address) => {
                socket.extend_from_slice(&2_u16.to_ne_bytes());
                socket.extend_from_slice(&endpoint.port.to_be_bytes());
                socket.extend_from_slice(&address.octets());
                socket.resize(16, 0);
            }
            IpAddr::V6(address) => {
                socket.extend_from_slice(&10_u16.to_ne_bytes());
                socket.extend_from_slice(&endpoint.port.to_be_bytes());
                socket.extend_from_slice(&[0; 4]);
                socket.extend_from_slice(&address.octets());
                socket.resize(28, 0);
            }
        }
        put(&mut out, 4, &socket);
    }
    if let Some(seconds) = wanted.keepalive_s {
        put(&mut out, 5, &seconds.to_ne_bytes());
    }
    let mut allowed = Vec::new();
    for net in &wanted.allowed {
        let (family, octets) = match net.address {
            IpAddr::V4(address) => (2_u16, address.octets().to_vec()),
            IpAddr::V6(address) => (10_u16, address.octets().to_vec()),
        };
        let mut one = Vec::new();
        put(&mut one, 1, &family.to_ne_bytes());
        put(&mut one, 2, &octets);
        put(&mut one, 3, &[net.prefix]);
        put(&mut allowed, NESTED, &one);
    }
    if !allowed.is_empty() {
        put(&mut out, 9 | NESTED, &allowed);
    }
    Ok(out)
}

fn key(source: &KeySource) -> Result<[u8; 32], TunnelError> {
    match source {
        KeySource::Inline(secret) => Ok(secret.0),
        KeySource::File(path) => {
            let fault = |what: String| TunnelError::KeyFile(path.clone(), what);
            let metadata = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
            if !metadata.is_file() || metadata.len() > KEY_FILE_MAX {
                return Err(fault("is not a small file".to_owned()));
            }
            let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
            let secret = ferrite_netconf::value::secret(text.trim());
            Ok(secret.map_err(|_| fault("holds no key (44 characters of base64)".to_owned()))?.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let mut out = Vec::new();
        put(&mut out, 7, b"abcde");
        put(&mut out, 1, &5_u16.to_ne_bytes());
        assert_eq!(out.len(), 20);
        assert_eq!(find(&out, 1), Some(&5_u16.to_ne_bytes()[..]));
        assert_eq!((find(&out, 9), find(&[3], 1), find(&[0, 0, 0, 0], 1)), (None, None, None));
    }
}
