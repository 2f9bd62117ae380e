//! The claim of one link to a link-local address of IPv4: its state and its socket. What to do is decided by
//! `link_local`.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use ferrite_sys::packet::PacketSocket;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::client::{Arrived, Heard, Target, watch};
use crate::dhcp::machine::Moment;
use crate::link_local::{self, Effect, Event, State, step};

const BROADCAST: [u8; 6] = [0xff; 6];
const MAX_PACKET_BYTES: usize = 64;

/// The claim of one link.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The link as it was last seen.
    pub link: Target,
    state: State,
    /// When the timer runs out.
    pub deadline: Option<Duration>,
    ear: Option<Ear>,
    arrived: mpsc::Sender<Arrived>,
}

/// Hears what is said about one address.
#[derive(Debug)]
struct Ear {
    socket: Arc<AsyncFd<PacketSocket>>,
    reader: AbortHandle,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Claim {
    /// Begins with an address that the kernel still holds, or with the first that the link tries.
    pub(crate) fn open(link: Target, held: Option<Ipv4Addr>, arrived: mpsc::Sender<Arrived>) -> Self {
        let mut claim = Self {
            state: State::Stopped { address: held.unwrap_or_else(|| link_local::candidate(link.mac, 0)) },
            link,
            deadline: None,
            ear: None,
            arrived,
        };
        if let Some(address) = held {
            claim.state = State::Held { address, defended: None };
            claim.listen(address);
        }
        claim
    }

    /// The address in force.
    pub(crate) fn held(&self) -> Option<Ipv4Addr> {
        self.state.held()
    }

    /// Feeds an event to the machine and does what it says; whether the address changed.
    pub(crate) fn feed(&mut self, event: &Event, moment: Moment) -> bool {
        if *event == Event::TimedOut {
            self.deadline = None;
        }
        let Some((state, effects)) = step(&self.state, event, self.link.mac, moment) else { return false };
        if state.address() != self.state.address() {
            eprintln!("{}: another machine has {}, trying {}", self.link.name, self.state.address(), state.address());
        }
        self.state = state;
        let mut changed = false;
        for effect in effects {
            match effect {
                Effect::Listen(address) => self.listen(address),
                Effect::Probe(address) => self.say(Ipv4Addr::UNSPECIFIED, address),
                Effect::Announce(address) => self.say(address, address),
                Effect::ArmTimer(wait) => self.deadline = Some(moment.now + wait),
                Effect::DisarmTimer => self.deadline = None,
                Effect::Configure => {
                    changed = true;
                    match self.state.held() {
                        Some(address) => eprintln!("{}: {address} is not used by anybody", self.link.name),
                        None => eprintln!("{}: the link-local address is gone", self.link.name),
                    }
                }
            }
        }
        changed
    }

    /// Without an ear a conflict is not seen, but the address still serves.
    fn listen(&mut self, address: Ipv4Addr) {
        self.ear = None;
        let opened = PacketSocket::open_arp(self.link.index, address).and_then(watch);
        match opened.with_context(|| format!("listening to ARP on {}", self.link.name)) {
            Ok(socket) => {
                let socket = Arc::new(socket);
                let reader = read(Arc::clone(&socket), self.link.index, self.arrived.clone());
                self.ear = Some(Ear { socket, reader: tokio::spawn(reader).abort_handle() });
            }
            Err(error) => eprintln!("{}: warning: {error:#}, conflicts of addresses are not seen", self.link.name),
        }
    }

    fn say(&self, sender: Ipv4Addr, target: Ipv4Addr) {
        let Some(ear) = &self.ear else { return };
        let packet = link_local::write(self.link.mac, sender, target);
        if let Err(error) = ear.socket.get_ref().send_to(self.link.index, BROADCAST, &packet) {
            eprintln!("{}: warning: sending ARP: {error}, going on", self.link.name);
        }
    }
}

async fn read(socket: Arc<AsyncFd<PacketSocket>>, index: u32, arrived: mpsc::Sender<Arrived>) {
    let mut buffer = [0; MAX_PACKET_BYTES];
    loop {
        let Ok(mut ready) = socket.readable().await else { return };
        // An error is about the link, which netlink tells the daemon.
        if let Ok(Ok(length)) = ready.try_io(|socket| socket.get_ref().receive(&mut buffer))
            && let Some(heard) = link_local::read(buffer.get(..length).unwrap_or_default())
            && arrived.send(Arrived { index, what: Heard::Arp(heard) }).await.is_err()
        {
            return;
        }
    }
}
