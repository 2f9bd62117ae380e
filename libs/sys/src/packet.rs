//! Packet sockets of one link: for DHCP, IPv4 for a machine that has no address yet; for ARP about one address.
//!
//! The kernel passes on only unfragmented UDP to port 68, or ARP about the address (socket filters), so a socket may
//! stay open on a busy link.

use std::io;
use std::mem::size_of;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A packet socket bound to one link.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
    protocol: u16,
}

/// Accepts what goes to the DHCP client port; offsets count from the IPv4 header.
const FILTER: [libc::sock_filter; 9] = [
    instruction(0x30, 0, 0, 9),      // load the protocol
    instruction(0x15, 0, 6, 17),     // not UDP: drop
    instruction(0x28, 0, 0, 6),      // load flags and fragment offset
    instruction(0x45, 4, 0, 0x3fff), // a fragment: drop
    instruction(0xb1, 0, 0, 0),      // index = length of the IPv4 header
    instruction(0x48, 0, 0, 2),      // load the destination port
    instruction(0x15, 0, 1, 68),     // not the DHCP client: drop
    instruction(0x06, 0, 0, 0xffff), // accept
    instruction(0x06, 0, 0, 0),      // drop
];

/// Accepts ARP from or about an address; offsets count from the header of ARP.
const fn arp_filter(address: u32) -> [libc::sock_filter; 6] {
    [
        instruction(0x20, 0, 0, 14),      // load the sender's address
        instruction(0x15, 2, 0, address), // ours: accept
        instruction(0x20, 0, 0, 24),      // load the address that is asked about
        instruction(0x15, 0, 1, address), // another: drop
        instruction(0x06, 0, 0, 0xffff),  // accept
        instruction(0x06, 0, 0, 0),       // drop
    ]
}

const fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

impl PacketSocket {
    /// Opens a non-blocking socket for replies of DHCP servers on the link with this index.
    pub fn open(link: u32) -> io::Result<Self> {
        Self::bind(link, libc::ETH_P_IP as u16, &mut FILTER.clone())
    }

    /// Opens a non-blocking socket for ARP about an address on the link with this index.
    pub fn open_arp(link: u32, address: Ipv4Addr) -> io::Result<Self> {
        Self::bind(link, libc::ETH_P_ARP as u16, &mut arp_filter(u32::from(address)))
    }

    fn bind(link: u32, protocol: u16, filter: &mut [libc::sock_filter]) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers are passed; protocol 0 receives nothing until bind.
        let raw = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the kernel just gave us this descriptor, nobody else owns it.
        let socket = Self { socket: unsafe { OwnedFd::from_raw_fd(raw) }, protocol };
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        let program_bytes = size_of::<libc::sock_fprog>() as libc::socklen_t;
        // SAFETY: `program` and the instructions it points to live until the call returns; the kernel copies them.
        check(unsafe {
            libc::setsockopt(raw, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, (&raw const program).cast(), program_bytes)
        })?;
        let address = link_address(link, protocol, None)?;
        let address_bytes = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` is a valid sockaddr_ll of the given size.
        check(unsafe { libc::bind(raw, (&raw const address).cast(), address_bytes) })?;
        Ok(socket)
    }

    /// Sends a packet to a hardware address of the link.
    pub fn send_to(&self, link: u32, hardware: [u8; 6], packet: &[u8]) -> io::Result<()> {
        let address = link_address(link, self.protocol, Some(hardware))?;
        let address_bytes = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the pointers and lengths describe `packet` and `address`, which outlive the call.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                libc::MSG_NOSIGNAL,
                (&raw const address).cast(),
                address_bytes,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Receives one packet, its header of IPv4 or ARP first. `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut *buffer))?)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn link_address(link: u32, protocol: u16, hardware: Option<[u8; 6]>) -> io::Result<libc::sockaddr_ll> {
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(&hardware.unwrap_or_default());
    Ok(libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(link).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if hardware.is_some() { 6 } else { 0 },
        sll_addr: bytes,
    })
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    #[test]
    fn only_what_goes_to_the_dhcp_client_port_arrives() {
        let socket = PacketSocket::open(1).expect("a packet socket on lo needs root (CAP_NET_RAW)");
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // Nobody need listen on the ports: the packet socket sees the packet before UDP does.
        let _refused = sender.send_to(b"other", "127.0.0.1:67");
        let _refused = sender.send_to(b"wanted", "127.0.0.1:68");
        let mut ready = [PollFd::new(&socket, PollFlags::IN)];
        assert_eq!(poll(&mut ready, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).unwrap(), 1);
        let mut buffer = [0; 256];
        let length = socket.receive(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"wanted"));
    }

    #[test]
    fn a_link_that_does_not_exist_is_an_error() {
        assert!(PacketSocket::open(0x7fff_fff0).is_err());
    }
}
