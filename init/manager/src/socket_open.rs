//! Making the sockets, FIFOs and other files of a socket unit, with all their options.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};

use ferrite_sys::socket as sys;
use ferrite_unit::address::{Address, SocketType};
use ferrite_unit::socket::{BindIpv6Only, Listen, Protocol, Socket, Timestamping};
use ferrite_unit::value::Span;
use nix::libc;
use nix::sys::socket::{NetlinkAddr, SockaddrIn, SockaddrIn6, SockaddrLike, UnixAddr};
use nix::sys::stat::{Mode, umask};

use crate::rate::Rate;

/// One thing that is listened on.
#[derive(Debug)]
pub struct Port {
    /// What the unit file says.
    pub listen: Listen,
    /// The open file.
    pub file: OwnedFd,
    /// The key under which the loop waits for it.
    pub key: Option<u64>,
    /// How often it woke PID 1.
    pub polls: Rate,
}

/// The open sockets of a unit.
#[derive(Debug, Default)]
pub struct OpenSockets {
    /// All of them, in the order of the unit file.
    pub ports: Vec<Port>,
    /// How often the service was started.
    pub triggers: Rate,
    /// Connections that were accepted, and refused.
    pub accepted: u32,
    /// Connections that were refused.
    pub refused: u32,
}

/// The file that it is or makes.
pub fn path(listen: &Listen) -> Option<&str> {
    match listen {
        Listen::Fifo(path) | Listen::Special(path) | Listen::Socket(_, Address::Unix(path)) => Some(path),
        Listen::Socket(..) | Listen::MessageQueue(_) | Listen::UsbFunction(_) => None,
    }
}

/// Makes one file. The text names what failed.
pub fn open(socket: &Socket, listen: &Listen, warn: &mut dyn FnMut(String)) -> Result<OwnedFd, String> {
    let fault = |error: io::Error| format!("listening on {}: {error}", listen.target());
    match listen {
        Listen::Socket(kind, address) => {
            let file = listen_on(socket, *kind, address, warn).map_err(fault)?;
            apply_options(socket, address, &file, warn);
            make_links(socket, warn);
            Ok(file)
        }
        Listen::Fifo(path) => {
            let file = fifo(socket, path).map_err(fault)?;
            if let Ok(size) = usize::try_from(socket.pipe_size)
                && size > 0
                && let Err(error) = rustix::pipe::fcntl_setpipe_size(&file, size)
            {
                warn(format!("PipeSize=: {error}, ignoring it"));
            }
            make_links(socket, warn);
            Ok(file)
        }
        Listen::Special(path) => special(path, socket.writable).map_err(fault),
        Listen::MessageQueue(name) => queue(socket, name).map_err(fault),
        Listen::UsbFunction(path) => Err(format!("ListenUSBFunction={path}: this system has no USB gadgets")),
    }
}

fn number_of(kind: SocketType) -> i32 {
    match kind {
        SocketType::Stream => libc::SOCK_STREAM,
        SocketType::Datagram => libc::SOCK_DGRAM,
        SocketType::SequentialPacket => libc::SOCK_SEQPACKET,
        SocketType::Raw => libc::SOCK_RAW,
    }
}

fn protocol_of(socket: &Socket, kind: SocketType, address: &Address) -> i32 {
    match (address, kind, socket.protocol) {
        (Address::Netlink(family, _), ..) => family.0,
        (_, SocketType::Stream, Some(Protocol::Mptcp)) => libc::IPPROTO_MPTCP,
        (_, SocketType::Stream | SocketType::SequentialPacket, Some(Protocol::Sctp)) => libc::IPPROTO_SCTP,
        (_, SocketType::Datagram, Some(Protocol::UdpLite)) => libc::IPPROTO_UDPLITE,
        _ => 0,
    }
}

fn interface_number(link: &str) -> u32 {
    nix::net::if_::if_nametoindex(link).ok().or_else(|| link.parse().ok()).unwrap_or(0)
}

/// Does this machine have IPv6?
fn has_ipv6() -> bool {
    std::path::Path::new("/proc/net/if_inet6").exists()
}

/// Family and kernel form of an address.
fn kernel_address(address: &Address) -> io::Result<(i32, Box<dyn SockaddrLike>)> {
    Ok(match address {
        Address::Unix(path) => (libc::AF_UNIX, Box::new(UnixAddr::new(path.as_str())?)),
        Address::Abstract(name) => (libc::AF_UNIX, Box::new(UnixAddr::new_abstract(name.as_bytes())?)),
        Address::V4(ip, port) => (libc::AF_INET, Box::new(SockaddrIn::from(std::net::SocketAddrV4::new(*ip, *port)))),
        Address::V6(ip, port, link) => {
            let scope = link.as_deref().map_or(0, interface_number);
            (libc::AF_INET6, Box::new(SockaddrIn6::from(std::net::SocketAddrV6::new(*ip, *port, 0, scope))))
        }
        Address::Port(port) if has_ipv6() => {
            let any = std::net::SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, *port, 0, 0);
            (libc::AF_INET6, Box::new(SockaddrIn6::from(any)))
        }
        Address::Port(port) => {
            let any = std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, *port);
            (libc::AF_INET, Box::new(SockaddrIn::from(any)))
        }
        Address::Vsock(context, port) => (libc::AF_VSOCK, Box::new(sys::vsock(*context, *port))),
        Address::Netlink(_, group) => (libc::AF_NETLINK, Box::new(NetlinkAddr::new(0, *group))),
    })
}

fn listen_on(
    socket: &Socket,
    kind: SocketType,
    address: &Address,
    warn: &mut dyn FnMut(String),
) -> io::Result<OwnedFd> {
    let (family, place) = kernel_address(address)?;
    let file = sys::make(family, number_of(kind), protocol_of(socket, kind, address))?;
    if family == libc::AF_INET6 && socket.bind_ipv6_only != BindIpv6Only::Default {
        let only = i32::from(socket.bind_ipv6_only == BindIpv6Only::Ipv6Only);
        sys::set_number(&file, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, only)?;
    }
    if matches!(family, libc::AF_INET | libc::AF_INET6) {
        if let Some(link) = &socket.bind_to_device {
            sys::set_text(&file, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, link)?;
        }
        let (level, transparent, free) = match family {
            libc::AF_INET => (libc::IPPROTO_IP, libc::IP_TRANSPARENT, libc::IP_FREEBIND),
            _ => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, libc::IPV6_FREEBIND),
        };
        for (wanted, name, level, option) in [
            (socket.reuse_port, "ReusePort", libc::SOL_SOCKET, libc::SO_REUSEPORT),
            (socket.free_bind, "FreeBind", level, free),
            (socket.transparent, "Transparent", level, transparent),
        ] {
            if wanted && let Err(error) = sys::set_number(&file, level, option, 1) {
                warn(format!("{name}=: {error}, ignoring it"));
            }
        }
    }
    sys::set_number(&file, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    match address {
        Address::Unix(path) => bind_path(socket, &file, path, &*place)?,
        _ => sys::bind(&file, &*place)?,
    }
    if matches!(kind, SocketType::Stream | SocketType::SequentialPacket) {
        rustix::net::listen(&file, i32::try_from(socket.backlog).unwrap_or(i32::MAX))?;
    }
    Ok(file)
}

/// Binds in the file system with the mode of the unit; what an earlier socket left there goes.
fn bind_path(socket: &Socket, file: &OwnedFd, path: &str, place: &dyn SockaddrLike) -> io::Result<()> {
    make_parents(path, socket.directory_mode);
    with_mode(socket.mode, || match sys::bind(file, place) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && std::fs::remove_file(path).is_ok() => {
            sys::bind(file, place)
        }
        other => other,
    })
}

/// Runs something that makes a file with exactly this mode.
fn with_mode<T>(mode: u32, work: impl FnOnce() -> T) -> T {
    let before = umask(Mode::from_bits_truncate(!mode & 0o777));
    let outcome = work();
    umask(before);
    outcome
}

/// Makes the directories above a path; if that fails, what needs them tells.
fn make_parents(path: &str, mode: u32) {
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        let _ = std::fs::DirBuilder::new().recursive(true).mode(mode).create(parent);
    }
}

fn occupied() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "something else is there")
}

fn fifo(socket: &Socket, path: &str) -> io::Result<OwnedFd> {
    make_parents(path, socket.directory_mode);
    let made = with_mode(socket.mode, || nix::unistd::mkfifo(path, Mode::from_bits_truncate(socket.mode & 0o777)));
    match made {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    let file = std::fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    let fits = metadata.file_type().is_fifo() && metadata.permissions().mode() & 0o777 == socket.mode & 0o777;
    if fits { Ok(file.into()) } else { Err(occupied()) }
}

fn special(path: &str, writable: bool) -> io::Result<OwnedFd> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    let file = std::fs::OpenOptions::new().read(true).write(writable).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() || kind.is_char_device() { Ok(file.into()) } else { Err(occupied()) }
}

fn queue(socket: &Socket, name: &str) -> io::Result<OwnedFd> {
    let limits = (socket.queue_messages_max, socket.queue_message_size);
    let limits = (limits.0 > 0 && limits.1 > 0).then_some(limits);
    let file = std::fs::File::from(with_mode(socket.mode, || sys::open_queue(name, socket.mode & 0o777, limits))?);
    let fits = file.metadata()?.permissions().mode() & 0o777 == socket.mode & 0o777;
    if fits { Ok(file.into()) } else { Err(occupied()) }
}

/// `Symlinks=`: they lead to the one place in the file system.
fn make_links(socket: &Socket, warn: &mut dyn FnMut(String)) {
    let Some(target) = socket.link_target() else { return };
    for link in &socket.symlinks {
        make_parents(link, socket.directory_mode);
        let right = || std::fs::read_link(link).is_ok_and(|there| there.as_os_str() == target);
        let made = match std::os::unix::fs::symlink(target, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && right() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && socket.remove_on_stop => {
                std::fs::remove_file(link).and_then(|()| std::os::unix::fs::symlink(target, link))
            }
            other => other,
        };
        if let Err(error) = made {
            warn(format!("making the link {link}: {error}, ignoring it"));
        }
    }
}

fn seconds(span: Span) -> i32 {
    span.finite().map_or(0, |duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX))
}

/// Sets the options of a socket, also of a connection that was accepted.
pub fn apply_options(socket: &Socket, address: &Address, file: impl AsFd, warn: &mut dyn FnMut(String)) {
    let file = file.as_fd();
    let v6 = matches!(address, Address::V6(..) | Address::Port(_)) && has_ipv6();
    let sctp = socket.protocol == Some(Protocol::Sctp);
    // linux/sctp.h: SCTP_NODELAY.
    let (delay_level, delay) = if sctp { (libc::IPPROTO_SCTP, 3) } else { (libc::SOL_TCP, libc::TCP_NODELAY) };
    let stamp =
        if socket.timestamping == Timestamping::Nanoseconds { libc::SO_TIMESTAMPNS } else { libc::SO_TIMESTAMP };
    let (ttl_level, ttl) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
        false => (libc::IPPROTO_IP, libc::IP_TTL),
    };
    let flag = |wanted: bool| wanted.then_some(1);
    let positive = |value: i32| (value > 0).then_some(value);
    let (idle, interval) = (seconds(socket.keep_alive_time), seconds(socket.keep_alive_interval));
    let probes = i32::try_from(socket.keep_alive_probes).unwrap_or(i32::MAX);
    let numbers = [
        ("KeepAlive", libc::SOL_SOCKET, libc::SO_KEEPALIVE, flag(socket.keep_alive)),
        ("KeepAliveTimeSec", libc::SOL_TCP, libc::TCP_KEEPIDLE, positive(idle)),
        ("KeepAliveIntervalSec", libc::SOL_TCP, libc::TCP_KEEPINTVL, positive(interval)),
        ("KeepAliveProbes", libc::SOL_TCP, libc::TCP_KEEPCNT, positive(probes)),
        ("DeferAcceptSec", libc::SOL_TCP, libc::TCP_DEFER_ACCEPT, positive(seconds(socket.defer_accept))),
        ("NoDelay", delay_level, delay, flag(socket.no_delay)),
        ("Broadcast", libc::SOL_SOCKET, libc::SO_BROADCAST, flag(socket.broadcast)),
        ("PassCredentials", libc::SOL_SOCKET, libc::SO_PASSCRED, flag(socket.pass_credentials)),
        ("PassSecurity", libc::SOL_SOCKET, libc::SO_PASSSEC, flag(socket.pass_security)),
        ("Timestamping", libc::SOL_SOCKET, stamp, flag(socket.timestamping != Timestamping::Off)),
        ("Priority", libc::SOL_SOCKET, libc::SO_PRIORITY, socket.priority),
        ("Mark", libc::SOL_SOCKET, libc::SO_MARK, socket.mark),
        ("IPTOS", libc::IPPROTO_IP, libc::IP_TOS, socket.ip_tos),
        ("IPTTL", ttl_level, ttl, socket.ip_ttl),
    ];
    for (name, level, option, value) in numbers {
        if let Some(value) = value
            && let Err(error) = sys::set_number(file, level, option, value)
        {
            warn(format!("{name}=: {error}, ignoring it"));
        }
    }
    if socket.pass_packet_info
        && let Err(error) = pass_packet_info(address, file)
    {
        warn(format!("PassPacketInfo=: {error}, ignoring it"));
    }
    set_buffer("ReceiveBuffer", file, (libc::SO_RCVBUF, libc::SO_RCVBUFFORCE), socket.receive_buffer, warn);
    set_buffer("SendBuffer", file, (libc::SO_SNDBUF, libc::SO_SNDBUFFORCE), socket.send_buffer, warn);
    if let Some(control) = &socket.tcp_congestion
        && let Err(error) = sys::set_text(file, libc::SOL_TCP, libc::TCP_CONGESTION, control)
    {
        warn(format!("TCPCongestion=: {error}, ignoring it"));
    }
}

fn pass_packet_info(address: &Address, file: impl AsFd) -> io::Result<()> {
    match address {
        Address::V4(..) => sys::set_number(file, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        Address::V6(..) | Address::Port(_) => sys::set_number(file, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
        Address::Netlink(..) => sys::set_number(file, libc::SOL_NETLINK, libc::NETLINK_PKTINFO, 1),
        Address::Unix(_) | Address::Abstract(_) | Address::Vsock(..) => {
            Err(io::Error::from(io::ErrorKind::Unsupported))
        }
    }
}

/// Sets the size of a buffer, beyond the limit of the kernel if we may.
fn set_buffer(name: &str, file: impl AsFd, (plain, force): (i32, i32), bytes: u64, warn: &mut dyn FnMut(String)) {
    let Ok(bytes) = i32::try_from(bytes) else { return warn(format!("{name}= is too large, ignoring it")) };
    if bytes == 0 {
        return;
    }
    let file = file.as_fd();
    let forced = sys::set_number(file, libc::SOL_SOCKET, force, bytes);
    if forced.is_err()
        && let Err(error) = sys::set_number(file, libc::SOL_SOCKET, plain, bytes)
    {
        warn(format!("{name}=: {error}, ignoring it"));
    }
}

/// Throws away what waits in a socket: connections, messages, bytes.
pub fn drain(port: &Port) {
    const ROUNDS: usize = 1024;
    if matches!(port.listen, Listen::MessageQueue(_)) {
        return sys::drain_queue(&port.file);
    }
    let mut buffer = [0_u8; 4096];
    for _ in 0..ROUNDS {
        let got = match port.listen.accepts() {
            true => rustix::net::accept_with(&port.file, rustix::net::SocketFlags::CLOEXEC).map(|_| 1),
            false => rustix::io::read(&port.file, &mut buffer),
        };
        if !matches!(got, Ok(count) if count > 0) {
            return;
        }
    }
}

/// Removes what a socket left in the file system (`RemoveOnStop=`).
pub fn remove(listen: &Listen) {
    // What somebody else removed already is gone as wished.
    match listen {
        Listen::Fifo(path) | Listen::Socket(_, Address::Unix(path)) => drop(std::fs::remove_file(path)),
        Listen::MessageQueue(name) => drop(sys::remove_queue(name)),
        Listen::Socket(..) | Listen::Special(_) | Listen::UsbFunction(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(socket: &Socket, listen: Listen) -> Result<OwnedFd, String> {
        open(socket, &listen, &mut |warning| panic!("{warning}"))
    }

    #[test]
    fn a_socket_takes_the_place_of_an_older_one_with_its_mode_and_link() {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| format!("{}/{name}", directory.path().display());
        let listen = Listen::Socket(SocketType::Stream, Address::Unix(place("a/b.sock")));
        let socket = Socket {
            listen: vec![listen.clone()],
            mode: 0o640,
            directory_mode: 0o700,
            symlinks: vec![place("link")],
            keep_alive: true,
            ..Socket::default()
        };
        let first = open(&socket, &listen, &mut |_| {}).unwrap();
        drop(first);
        let second = open(&socket, &listen, &mut |_| {}).unwrap();
        assert_eq!(std::fs::metadata(place("a/b.sock")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::metadata(place("a")).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::net::UnixStream::connect(place("link")).unwrap();
        assert_eq!(sys::number(&second, libc::SOL_SOCKET, libc::SO_KEEPALIVE).unwrap(), 1);
    }

    #[test]
    fn a_fifo_of_another_mode_or_a_file_in_its_place_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("{}/fifo", directory.path().display());
        let socket = Socket { mode: 0o600, ..Socket::default() };
        opened(&socket, Listen::Fifo(path.clone())).unwrap();
        opened(&socket, Listen::Fifo(path.clone())).unwrap();
        assert!(opened(&Socket { mode: 0o666, ..Socket::default() }, Listen::Fifo(path.clone())).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(opened(&socket, Listen::Fifo(path)).unwrap_err().contains("something else is there"));
    }

    #[test]
    fn datagrams_that_wait_are_thrown_away() {
        let name = format!("ferrite-drain-{}", std::process::id());
        let socket = Socket { receive_buffer: 65_536, ..Socket::default() };
        let listen = Listen::Socket(SocketType::Datagram, Address::Abstract(name.clone()));
        let file = opened(&socket, listen.clone()).unwrap();
        let sender = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM, None);
        let place = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        rustix::net::sendto(sender.unwrap(), b"x", rustix::net::SendFlags::empty(), &place).unwrap();
        let port = Port { listen, file, key: None, polls: Rate::default() };
        drain(&port);
        assert_eq!(rustix::io::read(&port.file, &mut [0_u8; 8]), Err(rustix::io::Errno::AGAIN));
        assert!(sys::number(&port.file, libc::SOL_SOCKET, libc::SO_RCVBUF).unwrap() >= 131_072);
    }
}
