//! One change of the kernel's network configuration. Pure.
//!
//! Its text is what logs and `networkctl` show.

use std::fmt;

use ferrite_netconf::Netdev;
use ferrite_netconf::netdev::NetdevKind;
use ferrite_netconf::network::BridgePort;
use ferrite_netconf::value::Mac;
use rtnetlink::packet_route::link::InfoData;

use crate::observed::{Address, Route, Rule};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a link.
    Create {
        /// As the file says.
        netdev: Box<Netdev>,
        /// The link that it stands on.
        lower: Option<u32>,
        /// Its hardware address.
        mac: Option<Mac>,
    },
    /// Make a link that is there as its file says.
    Reshape {
        /// The link.
        index: u32,
        /// Its name.
        name: String,
        /// As the file says.
        netdev: Box<Netdev>,
        /// How.
        how: Reshaping,
    },
    /// Give a link its keys and peers.
    WireGuard {
        /// The link.
        name: String,
        /// As the file says.
        netdev: Box<Netdev>,
        /// Peers that the file does not name go away.
        replace: bool,
    },
    /// Change a link.
    Link {
        /// Which.
        index: u32,
        /// What.
        set: LinkChange,
    },
    /// Write a setting below /proc/sys/net.
    Setting {
        /// Of which link.
        index: u32,
        /// `ipv6/accept_ra` and the like.
        key: &'static str,
        /// The file below /proc/sys/net.
        path: String,
        /// What to write.
        value: String,
    },
    /// Remove an address.
    RemoveAddress(Address),
    /// Add an address, or give the existing one a new lifetime.
    SetAddress(Address),
    /// Remove a route.
    RemoveRoute(Route),
    /// Add a route.
    AddRoute(Route),
    /// Remove a rule.
    RemoveRule(Rule),
    /// Add a rule.
    AddRule(Rule),
}

/// How a link that was made becomes what its file says now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reshaping {
    /// The kernel changes it while it is there.
    Change {
        /// The options that differ.
        options: Option<InfoData>,
        /// The hardware address.
        mac: Option<Mac>,
    },
    /// It goes away, and the next plan makes it again.
    Anew,
}

/// What to change of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// Switch it on.
    Up,
    /// Switch it off.
    Down,
    /// The largest packet.
    Mtu(u32),
    /// The hardware address.
    Mac(Mac),
    /// The name.
    Name(String),
    /// The description.
    Alias(String),
    /// ARP on or off.
    Arp(bool),
    /// Multicast on or off.
    Multicast(bool),
    /// Receive everything or not.
    Promiscuous(bool),
    /// Make it a port; `None`: of nothing.
    Controller(Option<u32>),
    /// As a port of a bridge.
    BridgePort(BridgePort),
    /// The port that a bond prefers.
    PrimaryPort(u32),
}

impl Change {
    /// The link that it is about, where there is one already.
    pub fn index(&self) -> Option<u32> {
        match self {
            Self::Create { .. } | Self::WireGuard { .. } | Self::RemoveRule(_) | Self::AddRule(_) => None,
            Self::Link { index, .. } | Self::Reshape { index, .. } | Self::Setting { index, .. } => Some(*index),
            Self::RemoveAddress(address) | Self::SetAddress(address) => Some(address.index),
            Self::RemoveRoute(route) | Self::AddRoute(route) => route.index,
        }
    }

    /// The name under which a failure is remembered: the same while a lifetime runs down.
    pub fn name(&self) -> String {
        match self {
            Self::SetAddress(address) => {
                format!("set {}", Address { valid: None, preferred: None, ..address.clone() })
                    + &on(Some(address.index))
            }
            other => other.to_string(),
        }
    }

    /// Whether the rest must be planned anew afterwards.
    pub fn is_structural(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Reshape { .. } => true,
            Self::Link { set, .. } => !matches!(set, LinkChange::BridgePort(_) | LinkChange::PrimaryPort(_)),
            Self::Setting { .. } => true,
            Self::WireGuard { .. }
            | Self::RemoveAddress(_)
            | Self::SetAddress(_)
            | Self::RemoveRoute(_)
            | Self::AddRoute(_)
            | Self::RemoveRule(_)
            | Self::AddRule(_) => false,
        }
    }
}

fn on(index: Option<u32>) -> String {
    index.map(|index| format!(" on link {index}")).unwrap_or_default()
}

impl fmt::Display for LinkChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::Up => out.write_str("up"),
            Self::Down => out.write_str("down"),
            Self::Mtu(mtu) => write!(out, "mtu {mtu}"),
            Self::Mac(mac) => write!(out, "hardware address {mac}"),
            Self::Name(name) => write!(out, "name {name}"),
            Self::Alias(_) => out.write_str("alias"),
            Self::Arp(yes) => write!(out, "arp {}", word(*yes)),
            Self::Multicast(yes) => write!(out, "multicast {}", word(*yes)),
            Self::Promiscuous(yes) => write!(out, "promiscuous {}", word(*yes)),
            Self::Controller(Some(index)) => write!(out, "port of link {index}"),
            Self::Controller(None) => out.write_str("port of nothing"),
            Self::BridgePort(_) => out.write_str("port options"),
            Self::PrimaryPort(port) => write!(out, "primary port link {port}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { netdev, .. } => {
                let kind = netdev.kind.map(NetdevKind::word).unwrap_or_default();
                write!(out, "make {kind} {}", netdev.name.as_deref().unwrap_or_default())
            }
            Self::Reshape { name, how: Reshaping::Change { .. }, .. } => write!(out, "options of {name}"),
            Self::Reshape { name, how: Reshaping::Anew, .. } => write!(out, "remove {name} to make it anew"),
            Self::WireGuard { name, .. } => write!(out, "keys and peers of {name}"),
            Self::Link { index, set } => write!(out, "{set}{}", on(Some(*index))),
            Self::Setting { path, value, .. } => write!(out, "{path} = {value}"),
            Self::RemoveAddress(address) => write!(out, "remove {address}{}", on(Some(address.index))),
            Self::SetAddress(address) => write!(out, "set {address}{}", on(Some(address.index))),
            Self::RemoveRoute(route) => write!(out, "remove {route}{}", on(route.index)),
            Self::AddRoute(route) => write!(out, "add {route}{}", on(route.index)),
            Self::RemoveRule(rule) => write!(out, "remove {rule}"),
            Self::AddRule(rule) => write!(out, "add {rule}"),
        }
    }
}
