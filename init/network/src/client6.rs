//! The DHCPv6 client of one link: its state and its socket. What to do is decided by `dhcp6::machine`.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::client::{Arrived, Heard, Target};
use crate::dhcp::machine::Moment;
use crate::dhcp6::machine::{Effect, Event, Exchange, Held, State, step};
use crate::dhcp6::message::{self, Lease6, Request};

const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
const ALL_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const MAX_MESSAGE_BYTES: usize = 4096;

/// What the daemon must do after a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    Granted(Lease6),
    Lost,
}

/// The client of one link.
#[derive(Debug)]
pub(crate) struct Client6 {
    pub link: Target,
    /// The address that its socket is bound to.
    pub own: Ipv6Addr,
    state: State,
    /// When the timer runs out.
    pub deadline: Option<Duration>,
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

impl Client6 {
    /// Opens the port on the link's own address.
    pub(crate) fn open(
        link: Target,
        own: Ipv6Addr,
        held: Option<Held>,
        arrived: mpsc::Sender<Arrived>,
    ) -> anyhow::Result<Self> {
        let address = SocketAddrV6::new(own, CLIENT_PORT, 0, link.index);
        let socket = std::net::UdpSocket::bind(address).with_context(|| format!("binding {address} for DHCPv6"))?;
        socket.set_nonblocking(true).context("preparing the DHCPv6 port")?;
        let socket = Arc::new(UdpSocket::from_std(socket).context("preparing the DHCPv6 port")?);
        let reader = tokio::spawn(read(Arc::clone(&socket), link.index, arrived)).abort_handle();
        Ok(Self { link, own, state: State::Stopped { held }, deadline: None, socket, reader })
    }

    /// The lease in force.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.state.held()
    }

    /// The name of its state, for people.
    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    /// Reads a message as a reply to us.
    pub(crate) fn reply(&self, bytes: &[u8]) -> Option<Event> {
        let (xid, reply) = message::read(bytes, self.link.mac)?;
        Some(Event::Reply { xid, reply })
    }

    /// Feeds an event to the machine and does what it says.
    pub(crate) fn feed(&mut self, event: &Event, moment: Moment, hostname: Option<&str>) -> Outcome {
        if *event == Event::TimedOut {
            self.deadline = None;
        }
        let Some((state, effects)) = step(&self.state, event, moment) else {
            return Outcome::Nothing;
        };
        if state.name() != self.state.name() {
            eprintln!("{}: DHCPv6 {} -> {}", self.link.name, self.state.name(), state.name());
        }
        self.state = state;
        let mut outcome = Outcome::Nothing;
        for effect in effects {
            match effect {
                Effect::Send { request, exchange } => self.send(&request, &exchange, moment, hostname),
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

    fn send(&self, request: &Request, exchange: &Exchange, moment: Moment, hostname: Option<&str>) {
        let elapsed = moment.now.saturating_sub(exchange.began).as_millis() / 10;
        let elapsed = u16::try_from(elapsed).unwrap_or(u16::MAX);
        let Some(bytes) = message::write(request, self.link.mac, hostname, exchange.xid, elapsed) else { return };
        let to = SocketAddrV6::new(ALL_SERVERS, SERVER_PORT, 0, self.link.index);
        if let Err(error) = self.socket.try_send_to(&bytes, to.into()) {
            // A socket that is new has not been found writable yet.
            let again = std::io::ErrorKind::WouldBlock == error.kind();
            let socket = Arc::clone(&self.socket);
            if again {
                tokio::spawn(async move { socket.send_to(&bytes, to).await });
            } else {
                eprintln!("{}: warning: sending to DHCPv6 servers: {error}, trying again later", self.link.name);
            }
        }
    }
}

impl Drop for Client6 {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(socket: Arc<UdpSocket>, index: u32, arrived: mpsc::Sender<Arrived>) {
    let mut buffer = vec![0; MAX_MESSAGE_BYTES];
    loop {
        // An error is about one message (a port that is closed at the other end); the link itself is watched elsewhere.
        let Ok((length, _)) = socket.recv_from(&mut buffer).await else { continue };
        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if arrived.send(Arrived { index, what: Heard::Dhcp6(bytes) }).await.is_err() {
            return;
        }
    }
}
