//! What must change so that the kernel agrees with the leases. Pure.
//!
//! Only what is ours is ever removed: IPv4 addresses with a lifetime and routes marked as DHCP's, on wired links.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::lease::{Lease, Route};

/// The default route of the first link has this metric; later links come after.
const FIRST_METRIC: u32 = 1024;

/// What a link is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `lo`: only set up.
    Loopback,
    /// Ethernet that is not part of something else: gets DHCP.
    Wired,
    /// Bridges, bonds, tunnels and their ports: left alone.
    Other,
}

/// A network link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number.
    pub index: u32,
    /// The kernel's name.
    pub name: String,
    /// The hardware address.
    pub mac: [u8; 6],
    /// Whether it is switched on.
    pub up: bool,
    /// Whether the cable is in.
    pub carrier: bool,
    /// The largest packet.
    pub mtu: u32,
    /// What it is to us.
    pub role: Role,
}

/// An IPv4 address in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Of which link.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// The length of its network.
    pub prefix: u8,
    /// What is left of its life; `None`: set by hand, for ever.
    pub lifetime: Option<Duration>,
}

/// A route that a DHCP client installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstalledRoute {
    /// Over which link.
    pub index: u32,
    /// Where to.
    pub route: Route,
    /// Its metric.
    pub metric: u32,
}

/// The kernel's side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// All links.
    pub links: Vec<Link>,
    /// All IPv4 addresses.
    pub addresses: Vec<Address>,
    /// The IPv4 routes that are marked as DHCP's.
    pub routes: Vec<InstalledRoute>,
}

/// One lease in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What was granted.
    pub lease: Lease,
    /// How long it still holds; `None` is for ever.
    pub remaining: Option<Duration>,
}

/// One change of the kernel's network configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Switch a link on.
    Up {
        /// Which.
        index: u32,
    },
    /// Set the largest packet.
    Mtu {
        /// Of which link.
        index: u32,
        /// Bytes.
        mtu: u32,
    },
    /// Remove an address.
    RemoveAddress(Address),
    /// Add an address, or give the existing one a new lifetime.
    SetAddress(Address),
    /// Remove a route.
    RemoveRoute(InstalledRoute),
    /// Add a route or replace the one with the same destination and metric.
    SetRoute {
        /// The route.
        route: InstalledRoute,
        /// The address that packets leave from.
        source: Ipv4Addr,
    },
}

/// Plans the changes: removals first, then what is new, each in the order of the links.
pub fn plan(observed: &Observed, granted: &BTreeMap<u32, Granted>) -> Vec<Change> {
    let mut changes = Vec::new();
    let wired: Vec<&Link> = observed.links.iter().filter(|link| link.role == Role::Wired).collect();
    changes.extend(
        observed
            .links
            .iter()
            .filter(|link| !link.up && link.role != Role::Other)
            .map(|link| Change::Up { index: link.index }),
    );
    let mut wanted_routes = Vec::new();
    for (position, link) in wired.iter().enumerate() {
        if let Some(granted) = granted.get(&link.index) {
            let metric = FIRST_METRIC + u32::try_from(position).unwrap_or(0);
            wanted_routes.extend(routes(link.index, &granted.lease, metric));
        }
    }
    let is_wired = |index: u32| wired.iter().any(|link| link.index == index);
    let stale_routes = observed
        .routes
        .iter()
        .filter(|installed| is_wired(installed.index) && !wanted_routes.iter().any(|(wanted, _)| wanted == *installed));
    changes.extend(stale_routes.map(|route| Change::RemoveRoute(*route)));
    let stale_addresses = observed.addresses.iter().filter(|address| {
        let wanted = granted.get(&address.index).map(|granted| (granted.lease.address, granted.lease.prefix));
        is_wired(address.index) && address.lifetime.is_some() && wanted != Some((address.address, address.prefix))
    });
    changes.extend(stale_addresses.map(|address| Change::RemoveAddress(*address)));
    for link in &wired {
        if let Some(granted) = granted.get(&link.index) {
            changes.extend(configure(link, granted));
        }
    }
    let missing = wanted_routes.into_iter().filter(|(wanted, _)| !observed.routes.contains(wanted));
    changes.extend(missing.map(|(route, source)| Change::SetRoute { route, source }));
    changes
}

fn configure(link: &Link, granted: &Granted) -> Vec<Change> {
    let mut changes = Vec::new();
    let mtu = granted.lease.mtu.map(u32::from).filter(|mtu| *mtu != link.mtu);
    changes.extend(mtu.map(|mtu| Change::Mtu { index: link.index, mtu }));
    changes.push(Change::SetAddress(Address {
        index: link.index,
        address: granted.lease.address,
        prefix: granted.lease.prefix,
        lifetime: granted.remaining,
    }));
    changes
}

/// The routes of a lease; a gateway outside the network is first made reachable on the link, as some clouds need it.
fn routes(index: u32, lease: &Lease, metric: u32) -> Vec<(InstalledRoute, Ipv4Addr)> {
    let mut routes: Vec<(InstalledRoute, Ipv4Addr)> = Vec::new();
    let mut push = |route: Route| {
        let installed = InstalledRoute { index, route, metric };
        if !routes.iter().any(|(known, _)| *known == installed) {
            routes.push((installed, lease.address));
        }
    };
    for route in &lease.routes {
        let reachable = route.gateway.is_unspecified() || same_network(lease.address, route.gateway, lease.prefix);
        if !reachable {
            push(Route { destination: route.gateway, prefix: 32, gateway: Ipv4Addr::UNSPECIFIED });
        }
    }
    for route in &lease.routes {
        push(*route);
    }
    routes
}

fn same_network(one: Ipv4Addr, other: Ipv4Addr, prefix: u8) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
    u32::from(one) & mask == u32::from(other) & mask
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "address {}/{} on link {}", self.address, self.prefix, self.index)?;
        match self.lifetime {
            Some(lifetime) => write!(out, " for {} s", lifetime.as_secs()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for InstalledRoute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "route {} on link {} metric {}", self.route, self.index, self.metric)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { index } => write!(out, "up link {index}"),
            Self::Mtu { index, mtu } => write!(out, "mtu {mtu} on link {index}"),
            Self::RemoveAddress(address) => write!(out, "remove {address}"),
            Self::SetAddress(address) => write!(out, "set {address}"),
            Self::RemoveRoute(route) => write!(out, "remove {route}"),
            Self::SetRoute { route, source } => write!(out, "set {route} from {source}"),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
