//! The DHCP client of one link: its state and its sockets. What to do is decided by `dhcp::machine`.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ferrite_sys::packet::PacketSocket;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::dhcp::machine::{Effect, Event, Held, Moment, State, step};
use crate::dhcp::message::{self, Identity, Request};
use crate::frame;
use crate::lease::Lease;

const BROADCAST: [u8; 6] = [0xff; 6];
/// An Ethernet frame without its header; DHCP asks for no more.
const MAX_PACKET_BYTES: usize = 2048;

/// What arrived, by the index of its link.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub index: u32,
    pub what: Heard,
}

/// What a socket heard.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A packet with a message of DHCPv4.
    Dhcp4(Vec<u8>),
    /// A message of DHCPv6.
    Dhcp6(Vec<u8>),
    /// ARP about the address that a link claims.
    Arp(crate::link_local::Arp),
    /// A router advertisement.
    Router(Vec<u8>, std::net::Ipv6Addr),
}

/// The link of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub index: u32,
    pub name: String,
    pub mac: [u8; 6],
}

/// Who we are to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Introduction {
    /// The name to tell.
    pub hostname: Option<String>,
    /// A DUID instead of the hardware address.
    pub by_duid: bool,
}

/// What the daemon must do after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing that anyone sees.
    Nothing,
    /// A lease is new or was renewed.
    Granted(Lease),
    /// The lease is gone.
    Lost,
}

/// The client of one link.
#[derive(Debug)]
pub(crate) struct Client {
    /// The link as it was last seen.
    pub link: Target,
    state: State,
    /// When the timer runs out.
    pub deadline: Option<Duration>,
    socket: Arc<AsyncFd<PacketSocket>>,
    reader: AbortHandle,
    /// Holds the port while the server answers a renewal, or the kernel would tell it that nobody listens.
    renewal: Option<UdpSocket>,
}

impl Client {
    /// Opens the link; packets go to `arrived`.
    pub(crate) fn open(link: Target, initial: State, arrived: mpsc::Sender<Arrived>) -> anyhow::Result<Self> {
        let socket = PacketSocket::open(link.index).with_context(|| format!("opening link {}", link.name))?;
        let socket = Arc::new(watch(socket).with_context(|| format!("opening link {}", link.name))?);
        let reader = tokio::spawn(read(Arc::clone(&socket), link.index, arrived)).abort_handle();
        Ok(Self { link, state: initial, deadline: None, socket, reader, renewal: None })
    }

    /// Whether servers were asked in vain for some ten seconds.
    pub(crate) fn is_unanswered(&self) -> bool {
        const TRIES: u32 = 4;
        matches!(&self.state, State::Selecting { exchange } if exchange.attempt > TRIES)
    }

    /// The name of its state, for people.
    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// The lease in force.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.state.held()
    }

    /// Feeds an event to the machine and does what it says.
    pub(crate) fn feed(&mut self, event: &Event, moment: Moment, who: &Introduction) -> Outcome {
        if *event == Event::TimedOut {
            self.deadline = None;
        }
        let Some((state, effects)) = step(&self.state, event, moment) else {
            return Outcome::Nothing;
        };
        if state.name() != self.state.name() {
            eprintln!("{}: {} -> {}", self.link.name, self.state.name(), state.name());
        }
        self.state = state;
        if !matches!(self.state, State::Renewing { .. }) {
            self.renewal = None;
        }
        let mut outcome = Outcome::Nothing;
        for effect in effects {
            match effect {
                Effect::Send { request, xid, seconds } => self.send_or_warn(&request, xid, seconds, who),
                Effect::ArmTimer(wait) => self.deadline = Some(moment.now + wait),
                Effect::DisarmTimer => self.deadline = None,
                Effect::Configure => {
                    if let Some(held) = self.state.held() {
                        outcome = Outcome::Granted(held.lease.clone());
                    }
                }
                Effect::Deconfigure => outcome = Outcome::Lost,
            }
        }
        outcome
    }

    /// Reads a packet as a reply to us.
    pub(crate) fn reply(&self, packet: &[u8]) -> Option<Event> {
        let (xid, reply) = message::read(frame::unwrap(packet)?, self.link.mac)?;
        Some(Event::Reply { xid, reply })
    }

    fn send_or_warn(&mut self, request: &Request, xid: u32, seconds: u16, who: &Introduction) {
        if let Err(error) = self.send(request, xid, seconds, who) {
            eprintln!("{}: warning: sending {request:?}: {error:#}, trying again later", self.link.name);
        }
    }

    fn send(&mut self, request: &Request, xid: u32, seconds: u16, who: &Introduction) -> anyhow::Result<()> {
        let identity = Identity { mac: self.link.mac, hostname: who.hostname.clone(), by_duid: who.by_duid };
        let bytes = message::write(request, &identity, xid, seconds).context("the message does not encode")?;
        let (source, destination) = request.endpoints();
        if destination == Ipv4Addr::BROADCAST {
            let packet = frame::wrap(source, destination, &bytes).context("the message is too long")?;
            return Ok(self.broadcast(&packet)?);
        }
        let socket = match self.renewal.take() {
            Some(socket) => socket,
            None => UdpSocket::bind(SocketAddrV4::new(source, frame::CLIENT_PORT)).context("binding the DHCP port")?,
        };
        socket.send_to(&bytes, SocketAddrV4::new(destination, frame::SERVER_PORT))?;
        self.renewal = Some(socket);
        Ok(())
    }
}

impl Client {
    /// A socket remembers that its link was down once and says so at the next call, even when the link is up again.
    fn broadcast(&self, packet: &[u8]) -> std::io::Result<()> {
        let send = || self.socket.get_ref().send_to(self.link.index, BROADCAST, packet);
        match send() {
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENETDOWN as i32) => send(),
            outcome => outcome,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// `AsyncFd::new` asks of its argument to keep one descriptor open as long as it lives, and deprecates itself for types
/// that may not; `PacketSocket` owns its descriptor and never changes it.
#[allow(deprecated)]
pub(crate) fn watch(socket: PacketSocket) -> std::io::Result<AsyncFd<PacketSocket>> {
    AsyncFd::new(socket)
}

async fn read(socket: Arc<AsyncFd<PacketSocket>>, index: u32, arrived: mpsc::Sender<Arrived>) {
    let mut buffer = vec![0; MAX_PACKET_BYTES];
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return;
        };
        match ready.try_io(|socket| socket.get_ref().receive(&mut buffer)) {
            Ok(Ok(length)) => {
                let packet = buffer.get(..length).unwrap_or_default().to_vec();
                if arrived.send(Arrived { index, what: Heard::Dhcp4(packet) }).await.is_err() {
                    return;
                }
            }
            // The link went down or away: netlink tells the daemon, and the socket works again when it returns.
            Ok(Err(error)) if error.raw_os_error() == Some(nix::errno::Errno::ENETDOWN as i32) => {}
            Ok(Err(error)) => {
                eprintln!("link {index}: warning: receiving: {error}, not listening to DHCP any more");
                return;
            }
            Err(_would_block) => {}
        }
    }
}
