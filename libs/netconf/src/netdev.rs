//! A `.netdev` file, typed: a link that is made. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::value::{Mac, Prefixed};

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetdevKind {
    /// Several links as one.
    Bond,
    /// A switch.
    Bridge,
    /// A link that goes nowhere.
    Dummy,
    /// A pair of links.
    Veth,
    /// A numbered network on another link.
    Vlan,
    /// A routing table of its own.
    Vrf,
    /// An encrypted tunnel.
    Wireguard,
}

impl NetdevKind {
    /// The kernel's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bond => "bond",
            Self::Bridge => "bridge",
            Self::Dummy => "dummy",
            Self::Veth => "veth",
            Self::Vlan => "vlan",
            Self::Vrf => "vrf",
            Self::Wireguard => "wireguard",
        }
    }
}

/// `[Bond]`; numbers are the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bond {
    /// How ports are used, 0 to 6.
    pub mode: Option<u8>,
    /// What a packet's port depends on, 0 to 5.
    pub hash_policy: Option<u8>,
    /// How often the cables are looked at.
    pub mii_monitor_ms: Option<u32>,
    /// How long a port must be up.
    pub up_delay_ms: Option<u32>,
    /// How long a port must be down.
    pub down_delay_ms: Option<u32>,
    /// 0 slow, 1 fast.
    pub lacp_rate: Option<u8>,
    /// How aggregators are chosen.
    pub ad_select: Option<u8>,
    /// Which addresses ports get when the active one changes.
    pub fail_over_mac: Option<u8>,
    /// How often targets are asked.
    pub arp_interval_ms: Option<u32>,
    /// Whom to ask.
    pub arp_targets: Vec<Ipv4Addr>,
    /// Which answers count.
    pub arp_validate: Option<u8>,
    /// 0 any, 1 all.
    pub arp_all_targets: Option<u8>,
    /// When a better port becomes the active one.
    pub primary_reselect: Option<u8>,
    /// Ports that must be up.
    pub min_links: Option<u32>,
    /// Ports that are not active receive, too.
    pub all_ports_active: Option<bool>,
    /// How often groups are joined again.
    pub resend_igmp: Option<u32>,
    /// How often others are told of a new active port.
    pub gratuitous_arp: Option<u8>,
    /// Packets before the next port.
    pub packets_per_port: Option<u32>,
    /// How often learning packets are sent.
    pub learn_interval_s: Option<u32>,
    /// Moves flows by load.
    pub dynamic_tlb: Option<bool>,
}

/// `[Bridge]` of a `.netdev` file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bridge {
    /// Keeps loops out by the protocol.
    pub stp: Option<bool>,
    /// Which bridge is the root.
    pub priority: Option<u16>,
    /// How long a port waits.
    pub forward_delay_ms: Option<u32>,
    /// How often it says hello.
    pub hello_time_ms: Option<u32>,
    /// How old what it heard may be.
    pub max_age_ms: Option<u32>,
    /// How long an address is known.
    pub ageing_ms: Option<u32>,
    /// Keeps VLANs apart.
    pub vlan_filtering: Option<bool>,
    /// The VLAN of packets without one.
    pub default_pvid: Option<u16>,
    /// Listens to who wants which group.
    pub multicast_snooping: Option<bool>,
    /// Asks who wants which group.
    pub multicast_querier: Option<bool>,
}

/// `[VLAN]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vlan {
    /// Its number.
    pub id: Option<u16>,
    /// 802.1ad instead of 802.1Q.
    pub is_provider: bool,
}

/// A key of WireGuard; it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In the file.
    Inline(Secret),
    /// In another file, which whoever applies it reads.
    File(String),
}

/// `[WireGuard]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WireGuard {
    /// Our key.
    pub private_key: Option<KeySource>,
    /// The port that is listened on; `None`: any.
    pub port: Option<u16>,
    /// The mark of its packets.
    pub mark: Option<u32>,
}

/// `[WireGuardPeer]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WireGuardPeer {
    /// Who it is.
    pub public_key: Option<Secret>,
    /// A key that both have.
    pub preshared_key: Option<KeySource>,
    /// Whose packets come from it and go to it.
    pub allowed: Vec<Prefixed>,
    /// Where it is.
    pub endpoint: Option<Endpoint>,
    /// Seconds between signs of life.
    pub keepalive_s: Option<u16>,
    /// The table for routes to what is allowed; `None`: no routes.
    pub route_table: Option<u32>,
    /// The metric of those routes.
    pub route_metric: Option<u32>,
}

/// Where a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Netdev {
    /// Its name.
    pub file: String,
    /// Where it is.
    pub path: String,
    /// It cannot be used.
    pub broken: bool,
    /// How many of its lines are wrong.
    pub errors: usize,
    /// The name of the link.
    pub name: Option<String>,
    /// What it is.
    pub kind: Option<NetdevKind>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The hardware address; `None`: one that the machine and the name say.
    pub mac: Option<Mac>,
    /// `MACAddress=none`: the kernel chooses.
    pub kernel_mac: bool,
    /// `[Bond]`.
    pub bond: Bond,
    /// `[Bridge]`.
    pub bridge: Bridge,
    /// `[VLAN]`.
    pub vlan: Vlan,
    /// `Table=` of `[VRF]`.
    pub vrf_table: Option<u32>,
    /// `Name=` of `[Peer]`.
    pub peer_name: Option<String>,
    /// `MACAddress=` of `[Peer]`.
    pub peer_mac: Option<Mac>,
    /// `[WireGuard]`.
    pub wireguard: WireGuard,
    /// `[WireGuardPeer]`.
    pub wireguard_peers: Vec<WireGuardPeer>,
}
