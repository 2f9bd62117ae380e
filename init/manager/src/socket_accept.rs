//! `Accept=yes`: taking connections, and starting an instance of the service for each.

use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use ferrite_unit::address::Address;
use ferrite_unit::socket::Listen;
use ferrite_unit::{Config, LoadState, UnitKind, UnitName};
use nix::sys::socket::{SockaddrLike, SockaddrStorage, getsockopt, sockopt};
use rustix::net::SocketFlags;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::jobs::{JobKind, Mode, UnitId};
use crate::socket_machine::SocketEvent;
use crate::socket_open::apply_options;
use crate::transaction::Relation;

/// Connections taken before other work is looked at again.
const BATCH_MAX: usize = 32;

/// Whence a connection comes, as `MaxConnectionsPerSource=` counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An address of the network.
    Internet(IpAddr),
    /// A virtual machine.
    Machine(u32),
    /// A user of this machine.
    User(u32),
}

/// One connection, until its service ends.
#[derive(Debug)]
pub struct Connection {
    /// The open file.
    pub file: OwnedFd,
    /// The socket that took it.
    pub socket: UnitId,
    /// Whence it comes.
    pub source: Option<Source>,
}

/// One side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Address and port.
    Internet(IpAddr, u16),
    /// Context and port.
    Machine(u32, u32),
    /// A socket of this machine.
    Local,
}

impl Side {
    fn of(address: &SockaddrStorage) -> Option<Side> {
        if let Some(v4) = address.as_sockaddr_in() {
            return Some(Side::Internet(IpAddr::V4(v4.ip()), v4.port()));
        }
        if let Some(v6) = address.as_sockaddr_in6() {
            return Some(Side::Internet(IpAddr::V6(v6.ip()), v6.port()));
        }
        if let Some(vsock) = address.as_vsock_addr() {
            return Some(Side::Machine(vsock.cid(), vsock.port()));
        }
        (address.family() == Some(nix::sys::socket::AddressFamily::Unix)).then_some(Side::Local)
    }

    /// Address and port for the environment of the service.
    pub fn words(self) -> Option<(String, String)> {
        match self {
            Side::Internet(address, port) => Some((plain(address).to_string(), port.to_string())),
            Side::Machine(context, port) => Some((format!("vsock:{context}"), port.to_string())),
            Side::Local => None,
        }
    }
}

/// An IPv4 address that came as IPv6 is shown as what it is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The instance of the service of a connection: its number and both sides, or number, process and user.
fn instance(number: u32, own: Side, peer: Side, user: Option<(i32, u32)>) -> String {
    match (own, peer) {
        (Side::Internet(a, a_port), Side::Internet(b, b_port)) => {
            let mapped = |address: IpAddr| matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
            let (a, b) = if mapped(a) && mapped(b) { (plain(a), plain(b)) } else { (a, b) };
            format!("{number}-{a}:{a_port}-{b}:{b_port}")
        }
        (Side::Machine(a, a_port), Side::Machine(b, b_port)) => format!("{number}-{a}:{a_port}-{b}:{b_port}"),
        _ => match user {
            Some((pid, uid)) => format!("{number}-{pid}-{uid}"),
            None => format!("{number}-unknown"),
        },
    }
}

/// Process and user of the other side, as far as this name space knows them.
fn user_of(file: impl AsFd) -> Option<(i32, u32)> {
    let credentials = getsockopt(&file.as_fd(), sockopt::PeerCredentials).ok()?;
    (credentials.pid() > 0).then(|| (credentials.pid(), credentials.uid()))
}

fn source_of(peer: Side, user: Option<(i32, u32)>) -> Option<Source> {
    match peer {
        Side::Internet(address, _) => Some(Source::Internet(address)),
        Side::Machine(context, _) => Some(Source::Machine(context)),
        Side::Local => user.map(|(_, uid)| Source::User(uid)),
    }
}

/// Text for messages and descriptions; `None`: nobody knows.
fn peer_text(peer: Side, user: Option<(i32, u32)>) -> Option<String> {
    Some(match (peer.words(), user) {
        (Some((address, port)), _) if address.contains(':') && address.parse::<Ipv6Addr>().is_ok() => {
            format!("[{address}]:{port}")
        }
        (Some((address, port)), _) => format!("{address}:{port}"),
        (None, Some((pid, uid))) => format!("PID {pid}/UID {uid}"),
        (None, None) => return None,
    })
}

impl Engine {
    /// Takes the connections that wait at one socket.
    pub fn accept_connections(&mut self, id: UnitId, place: usize) {
        for _ in 0..BATCH_MAX {
            let Some(port) = self.kinds.sockets.get(&id).and_then(|open| open.ports.get(place)) else { return };
            let Listen::Socket(_, address) = port.listen.clone() else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&port.file, flags) {
                Ok(file) => self.take_connection(id, &address, file),
                Err(error) if is_passing(error) => return,
                Err(error) => {
                    let title = self.title(id);
                    self.log.error(&format!("{title}: taking a connection: {error}, closing the socket"));
                    return self.socket_happened(id, SocketEvent::Broken);
                }
            }
            if !self.socket_listens(id) {
                return;
            }
        }
    }

    fn take_connection(&mut self, id: UnitId, address: &Address, file: OwnedFd) {
        let Some(runtime) = self.units.get(id) else { return };
        let Config::Socket(socket) = &runtime.unit.config else { return };
        let mut warnings = Vec::new();
        apply_options(socket, address, &file, &mut |warning| warnings.push(warning));
        let limit = socket.trigger_limit();
        let (most, most_of_source) = (socket.connections_max, socket.connections_per_source_max);
        let name = runtime.unit.name.clone();
        for warning in warnings {
            self.log.warning(&format!("{name}: {warning}"));
        }
        // A connection that is gone again needs no service.
        let sides = (ferrite_sys::socket::own(&file).ok(), ferrite_sys::socket::peer(&file).ok());
        let (Some(own), Some(peer)) = (sides.0.as_ref().and_then(Side::of), sides.1.as_ref().and_then(Side::of)) else {
            return;
        };
        let user = if peer == Side::Local { user_of(&file) } else { None };
        let Some(open) = self.kinds.sockets.get_mut(&id) else { return };
        if !open.triggers.count(Instant::now(), limit) {
            open.refused = open.refused.saturating_add(1);
            self.log.warning(&format!("{name}: trigger limit hit, taking no more connections"));
            return self.socket_happened(id, SocketEvent::TriggerLimitHit);
        }
        let source = source_of(peer, user);
        let number = open.accepted;
        let all = self.kinds.connections.values().filter(|connection| connection.socket == id);
        let count = all.clone().count();
        let of_source = all.filter(|connection| source.is_some() && connection.source == source).count();
        let too_many = if count >= usize_of(most) {
            Some(format!("{count} connections are open already"))
        } else if most_of_source > 0 && of_source >= usize_of(most_of_source) {
            let peer = peer_text(peer, user).unwrap_or_default();
            Some(format!("{of_source} connections of {peer} are open already"))
        } else {
            None
        };
        if let Some(open) = self.kinds.sockets.get_mut(&id) {
            match too_many {
                Some(_) => open.refused = open.refused.saturating_add(1),
                None => open.accepted = open.accepted.wrapping_add(1),
            }
        }
        match too_many {
            Some(why) => self.log.warning(&format!("{name}: {why}, dropping a new one")),
            None => {
                let instance = instance(number, own, peer, user);
                let connection = Connection { file, socket: id, source };
                self.start_instance(id, &name, &instance, peer_text(peer, user), connection);
            }
        }
    }

    /// Starts the instance of the service that takes a connection.
    fn start_instance(
        &mut self,
        id: UnitId,
        socket: &UnitName,
        instance: &str,
        peer: Option<String>,
        connection: Connection,
    ) {
        let text = format!("{}@{instance}.{}", socket.prefix(), UnitKind::Service.suffix());
        let service = UnitName::parse(&text).ok().and_then(|name| self.load(&name));
        let outcome = match service.and_then(|service| Some((service, self.units.get_mut(service)?))) {
            Some((service, runtime)) if runtime.unit.load == LoadState::Loaded && runtime.active().is_down() => {
                if let Some(peer) = peer {
                    let about = runtime.unit.description.take();
                    let text = about.map_or_else(|| peer.clone(), |about| format!("{about} ({peer})"));
                    runtime.unit.description = Some(text);
                }
                self.units.relate(service, Relation::After, id);
                self.kinds.connections.insert(service, connection);
                let outcome = self.enqueue(service, JobKind::Start, Mode::Replace).map_err(|error| error.to_string());
                if outcome.is_err() {
                    self.close_connection(service);
                }
                outcome.map(drop)
            }
            Some((_, runtime)) => Err(format!("{text} is {}", runtime.unit.load.as_str())),
            None => Err(format!("{text} cannot be loaded")),
        };
        if let Err(why) = outcome {
            self.log.warning(&format!("{socket}: starting the service of a connection: {why}, closing the socket"));
            self.socket_happened(id, SocketEvent::Broken);
        }
    }

    /// Closes the connection of a service that is down.
    pub fn close_connection(&mut self, service: UnitId) {
        if let Some(connection) = self.kinds.connections.remove(&service) {
            drop(connection.file);
        }
    }

    /// What the environment of a service tells of its connection.
    pub fn connection_variables(&self, service: UnitId) -> Vec<(String, String)> {
        let Some(connection) = self.kinds.connections.get(&service) else { return Vec::new() };
        let peer = ferrite_sys::socket::peer(&connection.file).ok();
        let words = peer.as_ref().and_then(Side::of).and_then(Side::words);
        words.map_or_else(Vec::new, |(address, port)| {
            vec![("REMOTE_ADDR".to_owned(), address), ("REMOTE_PORT".to_owned(), port)]
        })
    }
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Errors of one connection that tell nothing of the socket.
fn is_passing(error: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(
        error,
        Errno::AGAIN
            | Errno::INTR
            | Errno::CONNABORTED
            | Errno::CONNRESET
            | Errno::NETDOWN
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::NONET
            | Errno::OPNOTSUPP
            | Errno::TIMEDOUT
            | Errno::NETRESET
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_named_after_both_sides() {
        let side = |text: &str, port| Side::Internet(text.parse().unwrap(), port);
        let name = |own, peer| instance(3, own, peer, Some((7, 1000)));
        assert_eq!(name(side("10.0.0.1", 22), side("10.0.0.2", 4000)), "3-10.0.0.1:22-10.0.0.2:4000");
        assert_eq!(name(side("::1", 22), side("::1", 4000)), "3-::1:22-::1:4000");
        let mapped = name(side("::ffff:10.0.0.1", 22), side("::ffff:10.0.0.2", 4000));
        assert_eq!(mapped, "3-10.0.0.1:22-10.0.0.2:4000");
        assert_eq!(name(Side::Local, Side::Local), "3-7-1000");
        assert_eq!(instance(3, Side::Local, Side::Local, None), "3-unknown");
        assert_eq!(name(Side::Machine(2, 22), Side::Machine(3, 9)), "3-2:22-3:9");
        assert_eq!(peer_text(side("::1", 5), None).as_deref(), Some("[::1]:5"));
        assert_eq!(peer_text(Side::Local, Some((7, 0))).as_deref(), Some("PID 7/UID 0"));
    }
}
