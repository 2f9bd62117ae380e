//! The part of the plan about addresses. Pure.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ferrite_netconf::network::Network;
use ferrite_netconf::route::{AddressEntry, Broadcast};
use ferrite_netconf::value::Prefixed;

use crate::change::Change;
use crate::observed::{Address, Link, OURS};
use crate::plan::{Granted, Granted6, Situation};

/// A lifetime that differs by less is the same.
const TOLERANCE: Duration = Duration::from_secs(5);
/// A lease without an end.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64 - 1);

const LINK_LOCAL_METRIC: u32 = 2048;

/// Removes what is not wanted any more, then adds what is missing.
pub(crate) fn plan(situation: &Situation<'_>, managed: &[(&Link, &Network)], changes: &mut Vec<Change>) {
    for (link, network) in managed {
        let wanted = wanted(situation, link, network);
        let is_wanted = |there: &&Address| wanted.iter().any(|wanted| same(there, wanted));
        let ours = situation.observed.addresses_of(link.index).filter(|there| there.protocol == OURS);
        changes.extend(ours.filter(|there| !is_wanted(there)).map(|stale| Change::RemoveAddress(stale.clone())));
        let may_add = link.up && (link.carrier || network.configure_without_carrier);
        for address in wanted {
            let there = situation.observed.addresses_of(link.index).find(|there| same(there, &address));
            let is_fresh = there.is_some_and(|there| {
                lives_as_long(there.valid, address.valid) && lives_as_long(there.preferred, address.preferred)
            });
            if !is_fresh && (may_add || there.is_some()) {
                changes.push(Change::SetAddress(address));
            }
        }
    }
}

/// All addresses that files and leases give a link.
pub(crate) fn wanted(situation: &Situation<'_>, link: &Link, network: &Network) -> Vec<Address> {
    let mut addresses: Vec<Address> = network.addresses.iter().filter_map(|entry| fixed(link.index, entry)).collect();
    if let Some(dynamic) = situation.dynamic.get(&link.index) {
        addresses.extend(dynamic.lease.as_ref().map(|granted| leased(link.index, granted)));
        addresses.extend(dynamic.link_local4.map(|own| claimed(link.index, own)));
        addresses.extend(dynamic.addresses6.iter().map(|granted| leased6(link.index, granted)));
    }
    let mut once: Vec<Address> = Vec::new();
    for address in addresses {
        if !once.iter().any(|known| same(known, &address)) {
            once.push(address);
        }
    }
    once
}

fn same(there: &Address, wanted: &Address) -> bool {
    there.index == wanted.index && there.address == wanted.address && there.peer == wanted.peer
}

fn lives_as_long(there: Option<Duration>, wanted: Option<Duration>) -> bool {
    match (there, wanted) {
        (None, None) => true,
        (Some(there), Some(wanted)) => there.abs_diff(wanted) <= TOLERANCE,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

fn plain(index: u32, address: Prefixed) -> Address {
    Address {
        index,
        address,
        peer: None,
        broadcast: broadcast(address),
        label: None,
        valid: None,
        preferred: None,
        scope: default_scope(address.address),
        metric: None,
        no_prefix_route: false,
        no_duplicate_detection: false,
        protocol: OURS,
        tentative: false,
        duplicate: false,
    }
}

fn default_scope(address: IpAddr) -> u8 {
    if address.is_loopback() {
        return 254;
    }
    if crate::plan::is_link_local(address) { 253 } else { 0 }
}

/// The last address of a network of IPv4 that has room for it.
fn broadcast(address: Prefixed) -> Option<IpAddr> {
    match address.address {
        IpAddr::V4(host) if address.prefix < 31 && !host.is_loopback() => {
            let rest = u32::MAX.checked_shr(address.prefix.into()).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from(u32::from(host) | rest)))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn fixed(index: u32, entry: &AddressEntry) -> Option<Address> {
    let mut address = plain(index, entry.address?);
    address.peer = entry.peer;
    address.label = entry.label.clone();
    address.preferred = entry.preferred;
    address.metric = entry.metric;
    address.no_prefix_route = entry.prefix_route == Some(false);
    address.no_duplicate_detection = entry.no_duplicate_detection;
    if let Some(scope) = entry.scope {
        address.scope = scope;
    }
    match entry.broadcast {
        Some(Broadcast::None) => address.broadcast = None,
        Some(Broadcast::Address(broadcast)) => address.broadcast = Some(IpAddr::V4(broadcast)),
        None if entry.peer.is_some() => address.broadcast = None,
        None => {}
    }
    Some(address)
}

fn leased(index: u32, granted: &Granted) -> Address {
    let lease = &granted.lease;
    let mut address = plain(index, Prefixed { address: IpAddr::V4(lease.address), prefix: lease.prefix });
    let lifetime = granted.remaining.unwrap_or(LONGEST);
    (address.valid, address.preferred) = (Some(lifetime), Some(lifetime));
    address
}

/// Everybody of the block is on the link; any other way is better.
fn claimed(index: u32, own: Ipv4Addr) -> Address {
    let mut address = plain(index, Prefixed { address: IpAddr::V4(own), prefix: 16 });
    address.metric = Some(LINK_LOCAL_METRIC);
    address
}

/// The network of such an address is told by routers, not by its server.
fn leased6(index: u32, granted: &Granted6) -> Address {
    let mut address = plain(index, Prefixed { address: IpAddr::V6(granted.address), prefix: 128 });
    (address.valid, address.preferred) = (Some(granted.valid), Some(granted.preferred));
    address
}
