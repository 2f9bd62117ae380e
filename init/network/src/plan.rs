//! What must change so that the kernel agrees with the files and the leases. Pure.
//!
//! Only what is ours is ever removed: addresses with our mark, routes of protocols `static` and `dhcp` over links that
//! have a file, rules with our mark. The plan holds what can be done with the links there are; whoever applies it
//! plans again after a link was made, renamed or switched on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ferrite_netconf::network::Network;
use ferrite_netconf::value::Mac;
use ferrite_netconf::{Config, Netdev};

use crate::change::Change;
use crate::lease::Lease;
use crate::observed::{Link, Observed};
use crate::{plan_addresses, plan_links, plan_routes};

/// What a link is to us.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role<'a> {
    /// No file, or a part of something that others made: left alone.
    Unmanaged,
    /// `lo`: only switched on.
    Loopback,
    /// Its file cannot be used: left as it is, and said.
    Broken(&'a Network),
    /// Configured as its file says.
    Managed(&'a Network),
}

impl<'a> Role<'a> {
    /// The file that counts.
    pub fn network(self) -> Option<&'a Network> {
        match self {
            Self::Managed(network) => Some(network),
            Self::Unmanaged | Self::Loopback | Self::Broken(_) => None,
        }
    }
}

/// One lease of DHCPv4 in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// What was granted.
    pub lease: Lease,
    /// How long it still holds; `None` is for ever.
    pub remaining: Option<Duration>,
}

/// An address of DHCPv6 in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted6 {
    /// The address.
    pub address: Ipv6Addr,
    /// How long it begins connections.
    pub preferred: Duration,
    /// How long it still holds.
    pub valid: Duration,
}

/// What servers and routers said about a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dynamic {
    /// DHCPv4.
    pub lease: Option<Granted>,
    /// Addresses of DHCPv6.
    pub addresses6: Vec<Granted6>,
    /// The link-local address of IPv4 that nobody else has.
    pub link_local4: Option<Ipv4Addr>,
    /// No server of DHCPv4 answered for a while: what IPv6 gives is enough.
    pub unanswered: bool,
    /// The router for routes over `_ipv6ra`.
    pub router: Option<Ipv6Addr>,
}

/// Everything the plan depends on.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The files.
    pub config: &'a Config,
    /// The kernel.
    pub observed: &'a Observed,
    /// Leases by link.
    pub dynamic: &'a BTreeMap<u32, Dynamic>,
    /// Links that were switched on or off once already.
    pub activated: &'a BTreeSet<u32>,
    /// What the tunnels with these names were given.
    pub tunnels: &'a BTreeMap<String, Netdev>,
    /// The files after which links with these names were made or changed, whatever the kernel shows of it.
    pub reshaped: &'a BTreeMap<String, Netdev>,
    /// Links that were removed by order: they are not made before the files are read again.
    pub removed: &'a BTreeSet<String>,
    /// A number that only this machine has, for hardware addresses.
    pub machine: u64,
}

/// Which file a link gets.
pub fn role<'a>(config: &'a Config, observed: &Observed, link: &Link) -> Role<'a> {
    let Some(network) = config.network_for(&link.facts) else {
        return if link.is_loopback { Role::Loopback } else { Role::Unmanaged };
    };
    if network.link.unmanaged {
        return Role::Unmanaged;
    }
    let controller = link.controller.and_then(|index| observed.by_index(index));
    // A port of something that no file of ours made belongs to whoever made it.
    let foreign = controller.is_some_and(|controller| config.netdev(controller.name()).is_none());
    let asked = network.controller().or(network.vrf.as_deref());
    if foreign && controller.map(Link::name) != asked {
        return Role::Unmanaged;
    }
    if network.broken { Role::Broken(network) } else { Role::Managed(network) }
}

/// Plans the changes, in the order in which they are made.
pub fn plan(situation: &Situation<'_>) -> Vec<Change> {
    let mut changes = plan_links::creations(situation);
    let mut managed: Vec<(&Link, &Network)> = Vec::new();
    for link in &situation.observed.links {
        changes.extend(plan_links::naming(situation, link));
        match role(situation.config, situation.observed, link) {
            Role::Managed(network) => {
                changes.extend(plan_links::settle(situation, link, network));
                managed.push((link, network));
            }
            Role::Loopback if !link.up => changes.push(plan_links::up(link)),
            Role::Loopback | Role::Unmanaged | Role::Broken(_) => {}
        }
    }
    plan_addresses::plan(situation, &managed, &mut changes);
    plan_routes::plan(situation, &managed, &mut changes);
    changes
}

/// A hardware address that this machine gives a link of this name at every boot.
pub fn lasting_mac(machine: u64, name: &str) -> Mac {
    use std::hash::Hasher;
    let mut hasher = siphasher::sip::SipHasher24::new_with_keys(machine, 0x0066_6572_7269_7465);
    hasher.write(name.as_bytes());
    let [a, b, c, d, e, f, ..] = hasher.finish().to_le_bytes();
    // Not of a vendor, and of one machine.
    Mac([(a & 0xfc) | 0x02, b, c, d, e, f])
}

/// Whether an address is one of the link only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
