//! Links before they are configured: which are wired, switching one on, and an address for the time of one question.
//!
//! The address is of the link-local range, made from the hardware address, and it is taken away again, so that the
//! network daemon finds the links as if nobody had been there.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::http::{Patience, Trouble};

/// The kernel's group of news about links.
const LINK_NEWS: u32 = 1;
const PREFIX: u8 = 16;
/// A driver that says nothing is asked again after this.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A wired link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kernel's number; the first card has the smallest.
    pub index: u32,
    /// The kernel's name.
    pub name: String,
    /// The hardware address.
    pub mac: [u8; 6],
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether the cable is in; only a link that is on knows.
    pub has_carrier: bool,
}

impl Link {
    /// The hardware address as text.
    pub(crate) fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// Its own address of the link-local range; never the first or last 256, which are reserved, nor the service's own.
    fn address(&self) -> Ipv4Addr {
        let sum = self.mac.iter().fold(0_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(u16::from(*byte)));
        let (third, fourth) = (1 + (sum >> 8) % 168, 1 + (sum & 0xff) % 254);
        Ipv4Addr::new(169, 254, u8::try_from(third).unwrap_or(1), u8::try_from(fourth).unwrap_or(1))
    }
}

/// The wired links of this machine, the first card first.
pub(crate) fn wired() -> anyhow::Result<Vec<Link>> {
    Kernel::open()?.wired()
}

/// Asks over each wired link in turn, with a passing address on it, until there is an answer.
pub(crate) fn ask_on_link<T>(
    patience: Patience,
    mut question: impl FnMut() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let passing = |error: anyhow::Error| Trouble::Passing(format!("{error:#}"));
    let mut kernel = Kernel::open().map_err(passing)?;
    let news = news_of_links().map_err(passing)?;
    let mut last = Trouble::Passing("no wired link has a carrier".into());
    loop {
        for link in kernel.wired().map_err(passing)? {
            if !link.is_up {
                kernel.switch_on(link.index).map_err(passing)?;
            }
            if !link.has_carrier {
                continue;
            }
            let answer = with_address(&mut kernel, &link, &mut question);
            match answer {
                Ok(Err(trouble @ Trouble::Passing(_))) => last = trouble,
                Ok(answer) => return answer,
                Err(error) => last = passing(error),
            }
        }
        let left = patience.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(last);
        }
        wait(&news, left.min(LONGEST_WAIT)).map_err(passing)?;
    }
}

/// Puts the question while the link has the address.
fn with_address<T>(
    kernel: &mut Kernel,
    link: &Link,
    question: impl FnOnce() -> Result<T, Trouble>,
) -> anyhow::Result<Result<T, Trouble>> {
    let address = link.address();
    let naming = || format!("'{address}' on '{}'", link.name);
    let message = || address_message(link.index, address);
    let flags = NLM_F_CREATE | NLM_F_REPLACE;
    kernel.ask(RouteNetlinkMessage::NewAddress(message()), flags).with_context(|| format!("adding {}", naming()))?;
    let answer = question();
    kernel.ask(RouteNetlinkMessage::DelAddress(message()), 0).with_context(|| format!("taking away {}", naming()))?;
    Ok(answer)
}

fn address_message(index: u32, address: Ipv4Addr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = PREFIX;
    message.header.scope = AddressScope::Link;
    message.header.index = index;
    let address = IpAddr::V4(address);
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}

/// A conversation with the kernel.
struct Kernel {
    socket: Socket,
    sequence: u32,
}

impl Kernel {
    fn open() -> anyhow::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
        socket.bind_auto().context("binding a netlink socket")?;
        Ok(Self { socket, sequence: 0 })
    }

    fn wired(&mut self) -> anyhow::Result<Vec<Link>> {
        let replies =
            self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP).context("listing the links")?;
        let mut links: Vec<Link> = replies
            .iter()
            .filter_map(|reply| match reply {
                RouteNetlinkMessage::NewLink(message) => read_link(message),
                _ => None,
            })
            .collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    fn switch_on(&mut self, index: u32) -> anyhow::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.ask(RouteNetlinkMessage::SetLink(message), 0).with_context(|| format!("switching on link {index}"))?;
        Ok(())
    }

    /// Sends a message and collects what comes back until the kernel says that this was all.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> anyhow::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        let last = if flags & NLM_F_DUMP == NLM_F_DUMP { 0 } else { NLM_F_ACK };
        header.flags = NLM_F_REQUEST | flags | last;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let mut replies = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| anyhow::anyhow!("the kernel's reply cannot be read: {error}"))?;
                // Messages are padded to four bytes.
                let length = (reply.header.length as usize).next_multiple_of(4).clamp(4, rest.len().max(4));
                rest = rest.get(length..).unwrap_or_default();
                if reply.header.sequence_number != self.sequence {
                    continue;
                }
                match reply.payload {
                    NetlinkPayload::Done(_) => return Ok(replies),
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(replies),
                    NetlinkPayload::Error(error) => bail!("{}", error.to_io()),
                    NetlinkPayload::InnerMessage(message) => replies.push(message),
                    _ => {}
                }
            }
        }
    }
}

fn read_link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let (mut name, mut mac, mut has_controller, mut is_made) = (None, [0; 6], false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::Controller(index) => has_controller = *index != 0,
            // Real hardware has no kind; a veth is the cable of a container.
            LinkAttribute::LinkInfo(infos) => {
                is_made = infos.iter().any(|info| matches!(info, LinkInfo::Kind(kind) if *kind != InfoKind::Veth));
            }
            _ => {}
        }
    }
    let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether && mac != [0; 6];
    let is_wired = is_ethernet && !flags.contains(LinkFlags::Loopback) && !has_controller && !is_made;
    let is_up = flags.contains(LinkFlags::Up);
    let has_carrier = is_up && flags.contains(LinkFlags::LowerUp);
    let name = name.filter(|_| is_wired)?;
    Some(Link { index: message.header.index, name, mac, is_up, has_carrier })
}

fn news_of_links() -> anyhow::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
    socket.bind(&SocketAddr::new(0, 0)).context("binding a netlink socket")?;
    socket.add_membership(LINK_NEWS).context("listening for news of links")?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// Waits for news of links; what they are is asked for afterwards.
fn wait(news: &Socket, longest: Duration) -> anyhow::Result<()> {
    let time = Timespec { tv_sec: longest.as_secs().try_into()?, tv_nsec: longest.subsec_nanos().into() };
    poll(&mut [PollFd::new(news, PollFlags::IN)], Some(&time)).context("waiting for news of links")?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    while news.recv(&mut buffer, 0).is_ok() {
        buffer.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_has_a_link_local_address_of_its_own_that_may_be_used() {
        let mut seen = std::collections::BTreeSet::new();
        for last in 0..=255 {
            let link =
                Link { index: 2, name: "eth0".into(), mac: [4, 1, 42, 15, 42, last], is_up: true, has_carrier: true };
            let [first, second, third, fourth] = link.address().octets();
            assert_eq!((first, second), (169, 254));
            assert!((1..169).contains(&third) && (1..255).contains(&fourth), "{third}.{fourth}");
            seen.insert((third, fourth));
        }
        assert!(seen.len() > 200, "{}", seen.len());
    }
}
