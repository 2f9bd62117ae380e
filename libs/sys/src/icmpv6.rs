//! A raw socket for router advertisements of one link.
//!
//! The kernel passes on only advertisements (ICMP6_FILTER), computes checksums, and tells the hop limit, which must be
//! 255: nobody behind a router can make such a packet.

use std::io;
use std::mem::size_of;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::net::SendFlags;

const ICMP6_FILTER: libc::c_int = 1;
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: usize = 134;
const SO_BINDTOIFINDEX: libc::c_int = 62;
const HOP_LIMIT: u8 = 255;
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// A socket that hears the routers of one link.
#[derive(Debug)]
pub struct RouterSocket(OwnedFd);

impl RouterSocket {
    /// Opens a non-blocking socket on the link with this index.
    pub fn open(link: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers are passed.
        let raw = check(unsafe { libc::socket(libc::AF_INET6, kind, libc::IPPROTO_ICMPV6) })?;
        // SAFETY: the kernel just gave us this descriptor, nobody else owns it.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(raw) });
        // A set bit blocks its type.
        let mut filter = [u32::MAX; 8];
        filter[ROUTER_ADVERTISEMENT / 32] &= !(1 << (ROUTER_ADVERTISEMENT % 32));
        socket.set(libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)?;
        let index = i32::try_from(link).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        socket.set(libc::SOL_SOCKET, SO_BINDTOIFINDEX, &index)?;
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, &index)?;
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS, &i32::from(HOP_LIMIT))?;
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP, &0_i32)?;
        socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1_i32)?;
        Ok(socket)
    }

    /// Asks the routers of the link to speak.
    pub fn solicit(&self, link: u32) -> io::Result<()> {
        let packet = [ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        let routers = SocketAddrV6::new(ALL_ROUTERS, 0, 0, link);
        rustix::net::sendto(&self.0, &packet, SendFlags::NOSIGNAL, &routers)?;
        Ok(())
    }

    /// Receives one advertisement of a router on the link and who sent it; `WouldBlock` when there is none.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Ipv6Addr)>> {
        let mut address = libc::sockaddr_in6 {
            sin6_family: 0,
            sin6_port: 0,
            sin6_flowinfo: 0,
            sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
            sin6_scope_id: 0,
        };
        let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // Room for one number, aligned as the kernel writes it.
        let mut control = [0_u64; 8];
        // SAFETY: all fields of the structure may be zero.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: the header points to buffers of the given sizes that outlive the call.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut header, 0) };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        let sender = Ipv6Addr::from(address.sin6_addr.s6_addr);
        let is_near = hop_limit(&control) == Some(i32::from(HOP_LIMIT)) && sender.is_unicast_link_local();
        Ok((is_near && header.msg_flags & libc::MSG_TRUNC == 0).then_some((length, sender)))
    }

    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        let bytes = size_of::<T>() as libc::socklen_t;
        // SAFETY: the pointer and the length describe `value`, which outlives the call.
        check(unsafe { libc::setsockopt(self.0.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), bytes) })?;
        Ok(())
    }
}

/// The number behind a header of `length, level, type`, when it is the hop limit.
fn hop_limit(control: &[u64; 8]) -> Option<i32> {
    let bytes: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    let is_hop_limit = number(8) == Some(libc::IPPROTO_IPV6) && number(12) == Some(libc::IPV6_HOPLIMIT);
    if is_hop_limit { number(16) } else { None }
}

impl AsFd for RouterSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for RouterSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_no_advertisement_arrives() {
        let socket = RouterSocket::open(1).expect("a raw socket on lo needs root (CAP_NET_RAW)");
        let mut buffer = [0; 256];
        assert_eq!(socket.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(RouterSocket::open(0x7fff_fff0).is_err());
    }

    #[test]
    fn the_hop_limit_is_read_from_its_own_header_only() {
        let mut control = [0_u64; 8];
        assert_eq!(hop_limit(&control), None);
        control[1] = u64::from(libc::IPPROTO_IPV6 as u32) | u64::from(libc::IPV6_HOPLIMIT as u32) << 32;
        control[2] = 255;
        assert_eq!(hop_limit(&control), Some(255));
    }
}
