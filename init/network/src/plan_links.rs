//! The part of the plan about links: making, naming, joining, switching on, and settings of the kernel. Pure.

use ferrite_netconf::Netdev;
use ferrite_netconf::link::MacPolicy;
use ferrite_netconf::netdev::NetdevKind;
use ferrite_netconf::network::{Activation, Families, Network, Privacy};

use crate::change::{Change, LinkChange};
use crate::make_link;
use crate::observed::Link;
use crate::plan::{Situation, lasting_mac};

/// Links that files make and that are not there, and tunnels without their keys.
pub(crate) fn creations(situation: &Situation<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    for netdev in situation.config.netdevs.iter().filter(|netdev| !netdev.broken) {
        let (Some(name), Some(kind)) = (netdev.name.as_deref(), netdev.kind) else { continue };
        if let Some(link) = situation.observed.link(name).filter(|link| is_of(link, kind)) {
            changes.extend(reshape(situation, netdev, link));
            if kind == NetdevKind::Wireguard && situation.tunnels.get(name) != Some(netdev) {
                let replace = situation.tunnels.contains_key(name);
                let netdev = Box::new(netdev.clone());
                changes.push(Change::WireGuard { name: name.to_owned(), netdev, replace });
            }
            continue;
        }
        if situation.removed.contains(name) {
            continue;
        }
        let lower = match kind {
            NetdevKind::Vlan => match below(situation, name) {
                Some(index) => Some(index),
                // It is made when the link below appears.
                None => continue,
            },
            NetdevKind::Bond
            | NetdevKind::Bridge
            | NetdevKind::Dummy
            | NetdevKind::Veth
            | NetdevKind::Vrf
            | NetdevKind::Wireguard => None,
        };
        let chosen = matches!(kind, NetdevKind::Bond | NetdevKind::Bridge | NetdevKind::Dummy | NetdevKind::Veth);
        let lasting = (chosen && !netdev.kernel_mac).then(|| lasting_mac(situation.machine, name));
        changes.push(Change::Create { netdev: Box::new(netdev.clone()), lower, mac: netdev.mac.or(lasting) });
    }
    changes
}

/// Whether a link is what a file would make; where it is not, the kernel says that the name is taken.
fn is_of(link: &Link, kind: NetdevKind) -> bool {
    link.facts.kind.as_deref() == Some(kind.word())
}

/// A link that was made after another file, or an older one.
fn reshape(situation: &Situation<'_>, netdev: &Netdev, link: &Link) -> Option<Change> {
    if situation.reshaped.get(link.name()) == Some(netdev) {
        return None;
    }
    let lower = below(situation, link.name());
    let named = situation.config.network_for(&link.facts).and_then(|network| network.link.mac);
    let how = make_link::reshaping(netdev, link, lower, netdev.mac.filter(|_| named.is_none()))?;
    let (index, name) = (link.index, link.name().to_owned());
    Some(Change::Reshape { index, name, netdev: Box::new(netdev.clone()), how })
}

/// The link whose file names this VLAN.
fn below(situation: &Situation<'_>, vlan: &str) -> Option<u32> {
    let carries = |link: &&Link| {
        let network = situation.config.network_for(&link.facts);
        network.is_some_and(|network| !network.broken && network.vlans.iter().any(|name| name == vlan))
    };
    situation.observed.links.iter().find(carries).map(|link| link.index)
}

fn change(link: &Link, set: LinkChange) -> Change {
    Change::Link { index: link.index, set }
}

/// Switches a link on.
pub(crate) fn up(link: &Link) -> Change {
    change(link, LinkChange::Up)
}

/// What a `.link` file says.
pub(crate) fn naming(situation: &Situation<'_>, link: &Link) -> Vec<Change> {
    let Some(file) = situation.config.link_for(&link.facts).filter(|file| !file.broken && !link.is_loopback) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if let Some(name) = file.name.as_ref().filter(|name| *name != link.name()) {
        changes.push(change(link, LinkChange::Name(name.clone())));
    }
    // A hardware address that only a policy asks for is not set on a link that works already.
    let may_choose = file.mac_policy == MacPolicy::Persistent && link.facts.permanent_mac.is_none() && !link.up;
    let mac = file.mac.or_else(|| may_choose.then(|| lasting_mac(situation.machine, link.name())));
    changes.extend(mac.filter(|mac| Some(*mac) != link.facts.mac).map(|mac| change(link, LinkChange::Mac(mac))));
    if let Some(alias) = file.alias.as_ref().filter(|alias| Some(*alias) != link.alias.as_ref()) {
        changes.push(change(link, LinkChange::Alias(alias.clone())));
    }
    changes
}

/// Brings a link into the state that its file asks for, up to addresses.
pub(crate) fn settle(situation: &Situation<'_>, link: &Link, network: &Network) -> Vec<Change> {
    let mut changes = Vec::new();
    let options = &network.link;
    if let Some(mac) = options.mac.filter(|mac| Some(*mac) != link.facts.mac) {
        changes.push(change(link, LinkChange::Mac(mac)));
    }
    let flags = [
        (options.arp, link.arp, LinkChange::Arp as fn(bool) -> LinkChange),
        (options.multicast, link.multicast, LinkChange::Multicast),
        (options.promiscuous, link.promiscuous, LinkChange::Promiscuous),
    ];
    for (wanted, there, set) in flags {
        changes.extend(wanted.filter(|wanted| *wanted != there).map(|wanted| change(link, set(wanted))));
    }
    changes.extend(mtu(situation, link, network));
    changes.extend(settings(link, network, situation.observed.ipv6_is_off));
    let joined = joining(situation, link, network, &mut changes);
    changes.extend(activation(situation, link, network, joined));
    changes
}

/// The file, the file that made the link, the `.link` file, then DHCP.
fn mtu(situation: &Situation<'_>, link: &Link, network: &Network) -> Option<Change> {
    let made = situation.config.netdev(link.name()).and_then(|netdev| netdev.mtu);
    let named = || situation.config.link_for(&link.facts).and_then(|file| file.mtu);
    let leased = || {
        let lease = situation.dynamic.get(&link.index)?.lease.as_ref()?;
        lease.lease.mtu.filter(|_| network.dhcp4.use_mtu).map(u32::from)
    };
    let wanted = network.link.mtu.or(made).or_else(named).or_else(leased)?;
    (wanted != link.mtu).then(|| change(link, LinkChange::Mtu(wanted)))
}

/// Makes the link a port, or frees it from what our files made. Whether it is (or will be) a port of a bond.
fn joining(situation: &Situation<'_>, link: &Link, network: &Network, changes: &mut Vec<Change>) -> bool {
    let wanted = network.controller().or(network.vrf.as_deref());
    let Some(name) = wanted else {
        if link.controller.is_some() {
            changes.push(change(link, LinkChange::Controller(None)));
        }
        return false;
    };
    // It joins when the other one is there.
    let Some(controller) = situation.observed.link(name) else { return network.bond.is_some() };
    if link.controller != Some(controller.index) {
        // A bond takes only ports that are off, and switches them on itself.
        if network.bond.is_some() && link.up {
            changes.push(change(link, LinkChange::Down));
        }
        changes.push(change(link, LinkChange::Controller(Some(controller.index))));
        if network.bridge.is_some() && network.bridge_port != Default::default() {
            changes.push(change(link, LinkChange::BridgePort(network.bridge_port.clone())));
        }
        if network.bond.is_some() && network.primary_port {
            changes.push(change(controller, LinkChange::PrimaryPort(link.index)));
        }
    }
    network.bond.is_some()
}

fn activation(situation: &Situation<'_>, link: &Link, network: &Network, bonded: bool) -> Option<Change> {
    let first = !situation.activated.contains(&link.index);
    match network.link.activation {
        // Off until it has joined.
        _ if bonded && link.controller.is_none() => None,
        Activation::Up => (first && !link.up).then(|| up(link)),
        Activation::AlwaysUp => (!link.up).then(|| up(link)),
        Activation::Manual => None,
        Activation::Down => (first && link.up).then(|| change(link, LinkChange::Down)),
        Activation::AlwaysDown => link.up.then(|| change(link, LinkChange::Down)),
    }
}

/// The settings that are looked at.
pub(crate) const SETTINGS: [&str; 11] = [
    "ipv6/disable_ipv6",
    "ipv6/addr_gen_mode",
    "ipv6/use_tempaddr",
    "ipv6/mtu",
    "ipv6/forwarding",
    "ipv6/autoconf",
    "ipv6/accept_ra_defrtr",
    "ipv6/accept_ra_mtu",
    "ipv6/ra_defrtr_metric",
    "ipv6/accept_ra",
    "ipv4/forwarding",
];

fn settings(link: &Link, network: &Network, ipv6_is_off: bool) -> Vec<Change> {
    let bit = |yes: bool| if yes { "1" } else { "0" }.to_owned();
    let mut wanted: Vec<(&'static str, String)> = Vec::new();
    let ipv6 = network.wants_ipv6() && !ipv6_is_off;
    let is_port = network.controller().is_some();
    // What an administrator switched off is not switched on.
    if !ipv6_is_off {
        wanted.push(("ipv6/disable_ipv6", bit(is_port && !ipv6)));
    }
    if ipv6 || !is_port {
        let link_local = network.link_local.unwrap_or(Families { ipv4: false, ipv6: !is_port });
        let is_off = link.settings.get("ipv6/addr_gen_mode").is_some_and(|mode| mode == "1");
        // Other modes are the administrator's.
        if link_local.ipv6 == is_off || (link_local.ipv6 && network.by_hardware_address) {
            wanted.push(("ipv6/addr_gen_mode", bit(!link_local.ipv6)));
        }
        let takes = network.takes_advertisements();
        wanted.extend(network.privacy.map(|privacy| {
            let mode = match privacy {
                Privacy::No => "0",
                Privacy::PreferPublic => "1",
                Privacy::Yes => "2",
            };
            ("ipv6/use_tempaddr", mode.to_owned())
        }));
        wanted.extend(network.ipv6_mtu.map(|mtu| ("ipv6/mtu", mtu.to_string())));
        wanted.extend(network.forward_ipv6.map(|forward| ("ipv6/forwarding", bit(forward))));
        if takes {
            let options = &network.advertisements;
            wanted.push(("ipv6/autoconf", bit(options.use_autonomous_prefix)));
            wanted.push(("ipv6/accept_ra_defrtr", bit(options.use_gateway)));
            wanted.push(("ipv6/accept_ra_mtu", bit(options.use_mtu)));
            wanted.extend(options.metric.map(|metric| ("ipv6/ra_defrtr_metric", metric.to_string())));
        }
        // 2: also where the machine forwards.
        wanted.push(("ipv6/accept_ra", if takes { "2" } else { "0" }.to_owned()));
    }
    wanted.extend(network.forward_ipv4.map(|forward| ("ipv4/forwarding", bit(forward))));
    let differs = |(key, value): &(&'static str, String)| link.settings.get(key).is_some_and(|there| there != value);
    wanted
        .into_iter()
        .filter(differs)
        .map(|(key, value)| {
            let (family, name) = key.split_once('/').unwrap_or((key, ""));
            let path = format!("{family}/conf/{}/{name}", link.name());
            Change::Setting { index: link.index, key, path, value }
        })
        .collect()
}
