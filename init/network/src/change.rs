//! One change of the kernel's network configuration. Pure.
//!
//! Its text is what logs and `networkctl` show, and the name under which a failure is remembered until it goes away.

use std::fmt;

use ferrite_netconf::Netdev;
use ferrite_netconf::netdev::NetdevKind;
use ferrite_netconf::network::BridgePort;
use ferrite_netconf::value::Mac;

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
            Self::Link { index, .. } | Self::Setting { index, .. } => Some(*index),
            Self::RemoveAddress(address) | Self::SetAddress(address) => Some(address.index),
            Self::RemoveRoute(route) | Self::AddRoute(route) => route.index,
        }
    }

    /// Whether the rest must be planned anew afterwards.
    pub fn is_structural(&self) -> bool {
        match self {
            Self::Create { .. } => true,
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

impl fmt::Display for LinkChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::Up => out.write_str("up"),
            Self::Down => out.write_str("down"),
            Self::Mtu(mtu) => write!(out, "mtu {mtu}"),
            Self::Mac(mac) => write!(out, "hardware address {mac}"),
            Self::Name(name) => write!(out, "name {name}"),
            Self::Alias(_) => out.write_str("alias"),
            Self::Arp(yes) => write!(out, "arp {}", on(*yes)),
            Self::Multicast(yes) => write!(out, "multicast {}", on(*yes)),
            Self::Promiscuous(yes) => write!(out, "promiscuous {}", on(*yes)),
            Self::Controller(Some(index)) => write!(out, "port of link {index}"),
            Self::Controller(None) => out.write_str("port of nothing"),
            Self::BridgePort(_) => out.write_str("port options"),
            Self::PrimaryPort(port) => write!(out, "primary port link {port}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = |index: Option<u32>| index.map(|index| format!(" on link {index}")).unwrap_or_default();
        match self {
            Self::Create { netdev, .. } => {
                let kind = netdev.kind.map(NetdevKind::word).unwrap_or_default();
                write!(out, "make {kind} {}", netdev.name.as_deref().unwrap_or_default())
            }
            Self::WireGuard { name, .. } => write!(out, "keys and peers of {name}"),
            Self::Link { index, set } => write!(out, "{set}{}", link(Some(*index))),
            Self::Setting { path, value, .. } => write!(out, "{path} = {value}"),
            Self::RemoveAddress(address) => write!(out, "remove {address}{}", link(Some(address.index))),
            Self::SetAddress(address) => write!(out, "set {address}{}", link(Some(address.index))),
            Self::RemoveRoute(route) => write!(out, "remove {route}{}", link(route.index)),
            Self::AddRoute(route) => write!(out, "add {route}{}", link(route.index)),
            Self::RemoveRule(rule) => write!(out, "remove {rule}"),
            Self::AddRule(rule) => write!(out, "add {rule}"),
        }
    }
}
