//! Addresses, routes and rules of `.network` files. Pure.

use std::net::IpAddr;
use std::time::Duration;

use crate::value::Prefixed;

/// The main table.
pub const MAIN_TABLE: u32 = 254;

/// `[Address]`, or `Address=` of `[Network]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressEntry {
    /// The address.
    pub address: Option<Prefixed>,
    /// The other end of the link.
    pub peer: Option<Prefixed>,
    /// For everybody on the link; `None`: as the network says.
    pub broadcast: Option<Broadcast>,
    /// A name of the address, for old tools.
    pub label: Option<String>,
    /// How long it may begin connections; `None`: for ever.
    pub preferred: Option<Duration>,
    /// How far it is known.
    pub scope: Option<u8>,
    /// The metric of the route to its network.
    pub metric: Option<u32>,
    /// Whether the route to its network is made.
    pub prefix_route: Option<bool>,
    /// `DuplicateAddressDetection=none`.
    pub no_duplicate_detection: bool,
}

/// `Broadcast=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// None at all.
    None,
    /// This one.
    Address(std::net::Ipv4Addr),
}

/// The next hop of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gateway {
    /// On the link.
    #[default]
    None,
    /// This machine.
    Address(IpAddr),
    /// The gateway that DHCP named.
    Dhcp4,
    /// The router that advertised itself.
    Ra,
}

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RouteKind {
    /// Sends it on.
    #[default]
    Unicast,
    /// It is for this machine.
    Local,
    /// It is for everybody.
    Broadcast,
    /// Drops it.
    Blackhole,
    /// Drops it and says so.
    Unreachable,
    /// Drops it and says that it must not.
    Prohibit,
    /// Looks on in the next table.
    Throw,
}

/// `[Route]`, or `Gateway=` of `[Network]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteEntry {
    /// Where to; `None`: everywhere.
    pub destination: Option<Prefixed>,
    /// From where.
    pub source: Option<Prefixed>,
    /// The next hop.
    pub gateway: Gateway,
    /// The gateway is on the link although no address says so.
    pub on_link: Option<bool>,
    /// The lower, the better.
    pub metric: Option<u32>,
    /// The table; `None`: main.
    pub table: Option<u32>,
    /// What it does.
    pub kind: RouteKind,
    /// The address that packets leave from.
    pub preferred_source: Option<IpAddr>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// How far its destination is.
    pub scope: Option<u8>,
    /// The largest piece of a connection that others are told.
    pub advertised_mss: Option<u32>,
    /// Packets of a new connection.
    pub initial_congestion_window: Option<u32>,
    /// Packets that a new connection may get.
    pub initial_receive_window: Option<u32>,
}

impl RouteEntry {
    /// Whether it is of IPv4; told by whatever address it has.
    pub fn is_ipv4(&self) -> bool {
        let gateway = match self.gateway {
            Gateway::Address(address) => Some(address),
            Gateway::Dhcp4 => return true,
            Gateway::Ra => return false,
            Gateway::None => None,
        };
        let destination = self.destination.map(|destination| destination.address);
        destination.or(gateway).or(self.preferred_source).is_none_or(|address| address.is_ipv4())
    }
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum RuleKind {
    /// Looks into its table.
    #[default]
    Table,
    /// Drops the packet.
    Blackhole,
    /// Drops it and says so.
    Unreachable,
    /// Drops it and says that it must not.
    Prohibit,
}

/// `[RoutingPolicyRule]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleEntry {
    /// From where.
    pub from: Option<Prefixed>,
    /// Where to.
    pub to: Option<Prefixed>,
    /// The table; `None`: main.
    pub table: Option<u32>,
    /// Its place among the rules.
    pub priority: Option<u32>,
    /// A mark and its mask.
    pub mark: Option<(u32, u32)>,
    /// The link that packets come from.
    pub incoming: Option<String>,
    /// The link of the socket.
    pub outgoing: Option<String>,
    /// The type of service.
    pub tos: Option<u8>,
    /// Both families where no address says which.
    pub family: Option<Family>,
    /// Routes no longer than this do not count.
    pub suppress_prefix_length: Option<u32>,
    /// Everything else.
    pub invert: bool,
    /// What it does.
    pub kind: RuleKind,
}

/// `Family=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// One rule of each.
    Both,
}
