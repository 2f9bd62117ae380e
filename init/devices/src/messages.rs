//! The kernel's messages about devices, as they come in.

use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};

use crate::uevent::{self, Uevent, Unreadable};

/// The multicast group of the kernel's own messages.
const KERNEL_GROUP: u32 = 1;
/// Some ten thousand messages.
const RECEIVE_BUFFER_BYTES: usize = 8 << 20;
const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// Messages taken in one turn.
const MAX_MESSAGES: usize = 4096;

/// What waited.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Messages, none missing between them.
    Events(Vec<Uevent>),
    /// Some were lost: only looking at everything helps.
    Lost,
}

/// Begins to listen.
pub(crate) fn open() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
    // Needs CAP_NET_ADMIN; without it the default buffer must do.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

/// Takes the messages that wait.
pub(crate) fn receive(socket: &OwnedFd) -> anyhow::Result<Received> {
    let mut events = Vec::new();
    let mut buffer = [0; MAX_MESSAGE_BYTES];
    while events.len() < MAX_MESSAGES {
        match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), &mut buffer) {
            // Only the kernel sends from port 0; anyone may try.
            Ok((length, Some(sender))) if sender.pid() == 0 => {
                match uevent::parse(buffer.get(..length).unwrap_or_default()) {
                    Ok(event) => events.push(event),
                    Err(Unreadable::Foreign) => {}
                    Err(Unreadable::Torn) => return Ok(Received::Lost),
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => break,
            Err(Errno::ENOBUFS) => return Ok(Received::Lost),
            Err(error) => return Err(error).context("receiving device messages"),
        }
    }
    Ok(Received::Events(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_messages_can_be_listened_to() {
        let socket = open().unwrap();
        assert!(matches!(receive(&socket).unwrap(), Received::Events(_)));
    }
}
