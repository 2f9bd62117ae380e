//! What the kernel has: links, addresses, routes and rules, as the planner sees them. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ferrite_netconf::LinkFacts;
use ferrite_netconf::route::{RouteKind, RuleKind};
use ferrite_netconf::value::Prefixed;
use rtnetlink::packet_route::link::InfoData;

/// Marks addresses, rules and routes without a link as ours (IFA_PROTO, FRA_PROTOCOL, RTA protocol): `F`.
pub const OURS: u8 = 70;
/// The protocol of routes from files (RTPROT_STATIC).
pub const STATIC: u8 = 4;
/// The protocol of routes from DHCP (RTPROT_DHCP).
pub const DHCP: u8 = 16;
/// The protocol of routes from router advertisements (RTPROT_RA).
pub const RA: u8 = 9;
/// The kernel's metric for routes of IPv6 that have none.
pub const IPV6_METRIC: u32 = 1024;

/// A network link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// What files match against.
    pub facts: LinkFacts,
    /// It is `lo`.
    pub is_loopback: bool,
    /// It is switched on.
    pub up: bool,
    /// The cable is in.
    pub carrier: bool,
    /// The largest packet.
    pub mtu: u32,
    /// The link that it is a port of.
    pub controller: Option<u32>,
    /// The link that it stands on.
    pub lower: Option<u32>,
    /// How it was made.
    pub shape: Option<InfoData>,
    /// The description.
    pub alias: Option<String>,
    /// Flags of the link: ARP, multicast, promiscuous.
    pub arp: bool,
    /// Carries multicast.
    pub multicast: bool,
    /// Receives everything.
    pub promiscuous: bool,
    /// Settings below /proc/sys/net, of links that have a file.
    pub settings: BTreeMap<&'static str, String>,
}

impl Link {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Its hardware address, where it is Ethernet.
    pub fn mac(&self) -> Option<[u8; 6]> {
        self.facts.mac.map(|mac| mac.0)
    }
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Of which link.
    pub index: u32,
    /// The address and its network.
    pub address: Prefixed,
    /// The other end.
    pub peer: Option<Prefixed>,
    /// For everybody; not compared.
    pub broadcast: Option<IpAddr>,
    /// A name, for old tools.
    pub label: Option<String>,
    /// How long it is valid; `None`: for ever.
    pub valid: Option<Duration>,
    /// How long it begins connections; `None`: for ever.
    pub preferred: Option<Duration>,
    /// How far it is known.
    pub scope: u8,
    /// The metric of the route to its network.
    pub metric: Option<u32>,
    /// Without the route to its network.
    pub no_prefix_route: bool,
    /// Used at once.
    pub no_duplicate_detection: bool,
    /// The mark of whoever made it.
    pub protocol: u8,
    /// Not usable yet.
    pub tentative: bool,
    /// Another machine has it.
    pub duplicate: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Over which link; routes that drop packets have none.
    pub index: Option<u32>,
    /// Where to; `0.0.0.0/0` and `::/0` are everywhere.
    pub destination: Prefixed,
    /// From where.
    pub source: Option<Prefixed>,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The lower, the better.
    pub metric: u32,
    /// The table.
    pub table: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Whose it is.
    pub protocol: u8,
    /// The address that packets leave from.
    pub preferred_source: Option<IpAddr>,
    /// How far its destination is; not compared.
    pub scope: u8,
    /// The gateway is on the link; not compared.
    pub on_link: bool,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The largest piece of a connection that others are told.
    pub advertised_mss: Option<u32>,
    /// Packets that a new connection sends.
    pub initial_congestion_window: Option<u32>,
    /// Packets that a new connection gets.
    pub initial_receive_window: Option<u32>,
}

impl Route {
    /// Whether this one is what was wanted.
    pub fn is(&self, wanted: &Route) -> bool {
        let key = |route: &Route| {
            (
                (route.index, route.destination, route.source, route.gateway, route.metric),
                (route.table, route.kind, route.protocol, route.mtu),
                (route.preferred_source, route.advertised_mss),
                (route.initial_congestion_window, route.initial_receive_window),
            )
        };
        key(self) == key(wanted)
    }

    /// Whether it leads everywhere.
    pub fn is_default(&self) -> bool {
        self.destination.is_default() && self.kind == RouteKind::Unicast
    }
}

/// A rule of routing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Of IPv4.
    pub is_ipv4: bool,
    /// From where.
    pub from: Option<Prefixed>,
    /// Where to.
    pub to: Option<Prefixed>,
    /// The table.
    pub table: u32,
    /// Its place; `None`: the kernel chooses.
    pub priority: Option<u32>,
    /// A mark and its mask.
    pub mark: Option<(u32, u32)>,
    /// The link that packets come from.
    pub incoming: Option<String>,
    /// The link of the socket.
    pub outgoing: Option<String>,
    /// The type of service.
    pub tos: u8,
    /// Shorter routes do not count.
    pub suppress_prefix_length: Option<u32>,
    /// Everything else.
    pub invert: bool,
    /// What it does.
    pub kind: RuleKind,
    /// Whose it is.
    pub protocol: u8,
}

impl Rule {
    /// Whether this one is what was wanted.
    pub fn is(&self, wanted: &Rule) -> bool {
        let mut same = wanted.clone();
        same.priority = wanted.priority.or(self.priority);
        same.protocol = self.protocol;
        *self == same
    }
}

/// The kernel's side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// All links.
    pub links: Vec<Link>,
    /// All addresses.
    pub addresses: Vec<Address>,
    /// The routes that may be ours, and default routes.
    pub routes: Vec<Route>,
    /// Rules that are not the kernel's own.
    pub rules: Vec<Rule>,
    /// An administrator switched IPv6 off for all links, or for those that come.
    pub ipv6_is_off: bool,
}

impl Observed {
    /// The link with this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name() == name)
    }

    /// The link with this number.
    pub fn by_index(&self, index: u32) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The addresses of a link.
    pub fn addresses_of(&self, index: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.index == index)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "address {}", self.address)?;
        if let Some(peer) = self.peer {
            write!(out, " peer {peer}")?;
        }
        match self.valid {
            Some(valid) => write!(out, " for {} s", valid.as_secs()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            RouteKind::Unicast => "",
            RouteKind::Local => "local ",
            RouteKind::Broadcast => "broadcast ",
            RouteKind::Blackhole => "blackhole ",
            RouteKind::Unreachable => "unreachable ",
            RouteKind::Prohibit => "prohibit ",
            RouteKind::Throw => "throw ",
        };
        write!(out, "route {kind}{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(out, " via {gateway}")?;
        }
        write!(out, " metric {}", self.metric)?;
        if self.table != ferrite_netconf::route::MAIN_TABLE {
            write!(out, " table {}", self.table)?;
        }
        match self.preferred_source {
            Some(source) => write!(out, " from {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rule {}", if self.is_ipv4 { "ipv4" } else { "ipv6" })?;
        if let Some(priority) = self.priority {
            write!(out, " priority {priority}")?;
        }
        for (word, net) in [("from", self.from), ("to", self.to)] {
            if let Some(net) = net {
                write!(out, " {word} {net}")?;
            }
        }
        write!(out, " table {}", self.table)
    }
}
