//! The part of the plan about routes and rules. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrite_netconf::netdev::NetdevKind;
use ferrite_netconf::network::Network;
use ferrite_netconf::route::{Family, Gateway, MAIN_TABLE, RouteEntry, RouteKind, RuleEntry, RuleKind};
use ferrite_netconf::value::Prefixed;

use crate::change::Change;
use crate::observed::{DHCP, IPV6_METRIC, Link, OURS, Route, Rule, STATIC};
use crate::plan::{Granted, Situation, is_link_local};
use crate::plan_addresses;

/// The default route of the first link has this metric; later links come after.
const FIRST_METRIC: u32 = 1024;
const LINK_SCOPE: u8 = 253;
const HOST_SCOPE: u8 = 254;

/// Removes what is not wanted any more, then adds what is missing.
pub(crate) fn plan(situation: &Situation<'_>, managed: &[(&Link, &Network)], changes: &mut Vec<Change>) {
    let mut wanted: Vec<Route> = Vec::new();
    let mut position = 0;
    for (link, network) in managed {
        wanted.extend(routes_of(situation, link, network, FIRST_METRIC + position));
        position += u32::from(network.dhcp.ipv4);
    }
    let may_be_ours = |route: &Route| match route.index {
        Some(index) => matches!(route.protocol, STATIC | DHCP) && managed.iter().any(|(link, _)| link.index == index),
        None => route.protocol == OURS,
    };
    for there in &situation.observed.routes {
        if may_be_ours(there) && !wanted.iter().any(|wanted| there.is(wanted)) {
            changes.push(Change::RemoveRoute(there.clone()));
        }
    }
    for route in wanted {
        let link = route.index.and_then(|index| managed.iter().find(|(link, _)| link.index == index));
        let is_ready = link.is_none_or(|(link, network)| {
            let carrier = link.carrier || network.configure_without_carrier;
            link.up && carrier && source_is_there(situation, &route)
        });
        if is_ready && !situation.observed.routes.iter().any(|there| there.is(&route)) {
            changes.push(Change::AddRoute(route));
        }
    }
    rules(situation, managed, changes);
}

/// An address must be usable before routes leave from it.
fn source_is_there(situation: &Situation<'_>, route: &Route) -> bool {
    let (Some(IpAddr::V6(source)), Some(index)) = (route.preferred_source, route.index) else { return true };
    let mut addresses = situation.observed.addresses_of(index);
    addresses.any(|there| there.address.address == IpAddr::V6(source) && !there.tentative)
}

fn routes_of(situation: &Situation<'_>, link: &Link, network: &Network, metric: u32) -> Vec<Route> {
    let addresses = plan_addresses::wanted(situation, link, network);
    let networks: Vec<Prefixed> = addresses.iter().map(|address| address.peer.unwrap_or(address.address)).collect();
    let table = vrf_table(situation, network).unwrap_or(MAIN_TABLE);
    let dynamic = situation.dynamic.get(&link.index);
    let mut routes: Vec<Route> = Vec::new();
    let mut add = |route: Route| {
        if !routes.iter().any(|known| known.is(&route)) {
            routes.push(route);
        }
    };
    if let Some(granted) = dynamic.and_then(|dynamic| dynamic.lease.as_ref()) {
        let place = Place { index: link.index, table, metric };
        leased(granted, network, &place).into_iter().for_each(&mut add);
    }
    for entry in &network.routes {
        let lease = dynamic.and_then(|dynamic| dynamic.lease.as_ref());
        let gateway = match entry.gateway {
            Gateway::None => None,
            Gateway::Address(address) => Some(address),
            Gateway::Dhcp4 => match lease.and_then(|granted| granted.lease.gateway()) {
                Some(gateway) => Some(IpAddr::V4(gateway)),
                None => continue,
            },
            Gateway::Ra => match dynamic.and_then(|dynamic| dynamic.router) {
                Some(router) => Some(IpAddr::V6(router)),
                None => continue,
            },
        };
        add(fixed(link.index, entry, gateway, table, &networks));
    }
    tunnel_routes(situation, link).into_iter().for_each(add);
    routes
}

/// Routes of a link of a VRF are in its table.
fn vrf_table(situation: &Situation<'_>, network: &Network) -> Option<u32> {
    let name = network.vrf.as_deref()?;
    situation.config.netdev(name).filter(|netdev| netdev.kind == Some(NetdevKind::Vrf))?.vrf_table
}

fn everywhere(is_ipv4: bool) -> Prefixed {
    let address = if is_ipv4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    Prefixed { address, prefix: 0 }
}

fn fixed(index: u32, entry: &RouteEntry, gateway: Option<IpAddr>, table: u32, networks: &[Prefixed]) -> Route {
    let is_ipv4 = entry.is_ipv4();
    let drops =
        matches!(entry.kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw);
    let default_metric = if is_ipv4 { 0 } else { IPV6_METRIC };
    let scope = match (entry.scope, gateway, entry.kind) {
        (Some(scope), ..) => scope,
        (None, None, RouteKind::Local) => HOST_SCOPE,
        (None, None, RouteKind::Unicast | RouteKind::Broadcast) if is_ipv4 => LINK_SCOPE,
        _ => 0,
    };
    // A gateway that no address of the link reaches must be on the link, or there would be no way to it.
    let is_reached = |gateway: IpAddr| networks.iter().any(|network| network.contains(gateway));
    let on_link = entry.on_link.unwrap_or(gateway.is_some_and(|gateway| {
        let is_on_the_way = is_reached(gateway) || is_link_local(gateway);
        !is_on_the_way && networks.iter().any(|network| network.address.is_ipv4() == gateway.is_ipv4())
    }));
    Route {
        index: (!drops).then_some(index),
        destination: entry.destination.unwrap_or(everywhere(is_ipv4)),
        source: entry.source,
        gateway,
        // The kernel reads 0 of IPv6 as none.
        metric: entry.metric.filter(|metric| is_ipv4 || *metric > 0).unwrap_or(default_metric),
        table: entry.table.unwrap_or(table),
        kind: entry.kind,
        protocol: if drops { OURS } else { STATIC },
        preferred_source: entry.preferred_source,
        scope,
        on_link,
        mtu: entry.mtu,
        advertised_mss: entry.advertised_mss,
        initial_congestion_window: entry.initial_congestion_window,
        initial_receive_window: entry.initial_receive_window,
    }
}

struct Place {
    index: u32,
    table: u32,
    metric: u32,
}

/// The routes of a lease; a gateway outside the network is first made reachable on the link, as some clouds need it.
fn leased(granted: &Granted, network: &Network, place: &Place) -> Vec<Route> {
    let lease = &granted.lease;
    let options = &network.dhcp4;
    if !options.use_routes {
        return Vec::new();
    }
    let own = Prefixed { address: IpAddr::V4(lease.address), prefix: lease.prefix };
    let route = |destination: Ipv4Addr, prefix: u8, gateway: Ipv4Addr| Route {
        index: Some(place.index),
        destination: Prefixed { address: IpAddr::V4(destination), prefix },
        source: None,
        gateway: (!gateway.is_unspecified()).then_some(IpAddr::V4(gateway)),
        metric: options.metric.unwrap_or(place.metric),
        table: options.table.unwrap_or(place.table),
        kind: RouteKind::Unicast,
        protocol: DHCP,
        preferred_source: Some(IpAddr::V4(lease.address)),
        scope: if gateway.is_unspecified() { LINK_SCOPE } else { 0 },
        on_link: false,
        mtu: None,
        advertised_mss: None,
        initial_congestion_window: None,
        initial_receive_window: None,
    };
    let wanted = || lease.routes.iter().filter(|route| options.use_gateway || !route.is_default());
    let far = wanted().filter(|route| !route.gateway.is_unspecified() && !own.contains(IpAddr::V4(route.gateway)));
    let mut routes: Vec<Route> = far.map(|far| route(far.gateway, 32, Ipv4Addr::UNSPECIFIED)).collect();
    routes.extend(wanted().map(|wanted| route(wanted.destination, wanted.prefix, wanted.gateway)));
    routes
}

/// Routes to what peers of a tunnel may send.
fn tunnel_routes(situation: &Situation<'_>, link: &Link) -> Vec<Route> {
    let Some(netdev) = situation.config.netdev(link.name()) else { return Vec::new() };
    let mut routes = Vec::new();
    for peer in &netdev.wireguard_peers {
        let Some(table) = peer.route_table else { continue };
        for net in &peer.allowed {
            let entry = RouteEntry { destination: Some(*net), metric: peer.route_metric, ..RouteEntry::default() };
            routes.push(fixed(link.index, &entry, None, table, &[]));
        }
    }
    routes
}

fn rules(situation: &Situation<'_>, managed: &[(&Link, &Network)], changes: &mut Vec<Change>) {
    let mut wanted: Vec<Rule> = Vec::new();
    for entry in managed.iter().flat_map(|(_, network)| &network.rules) {
        for rule in rules_of(entry) {
            if !wanted.contains(&rule) {
                wanted.push(rule);
            }
        }
    }
    let observed = &situation.observed.rules;
    for there in observed.iter().filter(|there| there.protocol == OURS) {
        if !wanted.iter().any(|wanted| there.is(wanted)) {
            changes.push(Change::RemoveRule(there.clone()));
        }
    }
    let missing = wanted.into_iter().filter(|wanted| !observed.iter().any(|there| there.is(wanted)));
    changes.extend(missing.map(Change::AddRule));
}

/// One rule, or one of each family.
fn rules_of(entry: &RuleEntry) -> Vec<Rule> {
    let told = entry.from.or(entry.to).map(|net| net.address.is_ipv4());
    let families: &[bool] = match (told, entry.family) {
        (Some(true), _) | (None, None | Some(Family::Ipv4)) => &[true],
        (Some(false), _) | (None, Some(Family::Ipv6)) => &[false],
        (None, Some(Family::Both)) => &[true, false],
    };
    let rule = |is_ipv4: &bool| Rule {
        is_ipv4: *is_ipv4,
        from: entry.from.filter(|net| !net.is_default()),
        to: entry.to.filter(|net| !net.is_default()),
        table: if entry.kind == RuleKind::Table { entry.table.unwrap_or(MAIN_TABLE) } else { 0 },
        priority: entry.priority,
        mark: entry.mark,
        incoming: entry.incoming.clone(),
        outgoing: entry.outgoing.clone(),
        tos: entry.tos.unwrap_or(0),
        suppress_prefix_length: entry.suppress_prefix_length,
        invert: entry.invert,
        kind: entry.kind,
        protocol: OURS,
    };
    families.iter().map(rule).collect()
}
