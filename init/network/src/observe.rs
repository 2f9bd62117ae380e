//! What the kernel has, asked over rtnetlink, /proc/sys/net and /sys/class/net.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ferrite_netconf::Config;
use ferrite_netconf::route::{MAIN_TABLE, RouteKind, RuleKind};
use ferrite_netconf::value::{Mac, Prefixed};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, Prop};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use crate::observed::{Address, DHCP, Link, OURS, Observed, RA, Route, Rule, STATIC};
use crate::plan_links::SETTINGS;

/// Default routes of others that are shown; anybody on a link can make the kernel have more.
const MAX_FOREIGN_ROUTES: usize = 64;
/// A lifetime without an end.
const FOR_EVER: u32 = u32::MAX;

/// Asks the kernel for everything; settings only of links that have a file.
pub(crate) async fn observe(handle: &Handle, config: &Config) -> anyhow::Result<Observed> {
    let mut observed = Observed { ipv6_is_off: ipv6_is_off(), ..Observed::default() };
    let mut links = handle.link().get().execute();
    while let Some(message) = links.try_next().await.context("listing links")? {
        observed.links.extend(link(&message));
    }
    observed.links.sort_by_key(|link| link.index);
    for link in &mut observed.links {
        if config.network_for(&link.facts).is_some() {
            read_settings(link);
        }
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.context("listing addresses")? {
        observed.addresses.extend(address(&message));
    }
    let requests = [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
    for request in requests {
        let mut messages = handle.route().get(request).execute();
        let mut foreign = 0;
        while let Some(message) = messages.try_next().await.context("listing routes")? {
            for route in routes(&message) {
                let is_ours = matches!(route.protocol, STATIC | DHCP | OURS);
                foreign += usize::from(!is_ours);
                if is_ours || foreign <= MAX_FOREIGN_ROUTES {
                    observed.routes.push(route);
                }
            }
        }
    }
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut rules = handle.rule().get(version).execute();
        // A kernel without policy routing has no rules.
        while let Ok(Some(message)) = rules.try_next().await {
            observed.rules.push(rule(&message));
        }
    }
    Ok(observed)
}

fn link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_loopback: flags.contains(LinkFlags::Loopback),
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        arp: !flags.contains(LinkFlags::Noarp),
        multicast: flags.contains(LinkFlags::Multicast),
        promiscuous: flags.contains(LinkFlags::Promisc),
        ..Link::default()
    };
    let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
    let mac = |bytes: &[u8]| bytes.try_into().ok().map(Mac).filter(|mac| ethernet && *mac != Mac::default());
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.facts.name = name.clone(),
            LinkAttribute::Address(bytes) => link.facts.mac = mac(bytes),
            LinkAttribute::PermAddress(bytes) => link.facts.permanent_mac = mac(bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.controller = Some(*index).filter(|index| *index != 0),
            LinkAttribute::Link(index) => link.lower = Some(*index),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::PropList(list) => {
                link.facts.alternative_names.extend(list.iter().filter_map(|prop| match prop {
                    Prop::AltIfName(name) => Some(name.clone()),
                    _ => None,
                }))
            }
            LinkAttribute::LinkInfo(infos) => {
                link.facts.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_word(kind)),
                    _ => None,
                });
                link.shape = infos.iter().find_map(|info| match info {
                    LinkInfo::Data(data) => Some(data.clone()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (link.facts.driver, link.facts.path) = device(&link.facts.name);
    link.facts.link_type = type_word(&link, message.header.link_layer_type);
    (!link.facts.name.is_empty()).then_some(link)
}

fn kind_word(kind: &InfoKind) -> String {
    kind.to_string().to_ascii_lowercase()
}

/// The words of `networkctl`.
fn type_word(link: &Link, layer: LinkLayerType) -> String {
    if link.is_loopback {
        return "loopback".to_owned();
    }
    match (layer, link.facts.kind.as_deref()) {
        (_, Some("wireguard")) => "wireguard".to_owned(),
        (LinkLayerType::Ether, _) => "ether".to_owned(),
        (layer, _) => layer.to_string().to_ascii_lowercase(),
    }
}

/// Driver and place of the hardware behind a link.
fn device(name: &str) -> (Option<String>, Option<String>) {
    let folder = Path::new("/sys/class/net").join(name).join("device");
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    // A link without hardware has neither.
    let driver = std::fs::read_link(folder.join("driver")).ok().and_then(|path| last(&path));
    let mut place = std::fs::canonicalize(&folder).ok();
    let mut path = None;
    // A device of virtio hangs below the one of its bus.
    while let Some(folder) = place.as_deref().filter(|folder| folder.starts_with("/sys/devices")) {
        let bus = std::fs::read_link(folder.join("subsystem")).ok().and_then(|path| last(&path));
        if let (Some("pci"), Some(address)) = (bus.as_deref(), last(folder)) {
            path = Some(format!("pci-{address}"));
            break;
        }
        place = folder.parent().map(Path::to_path_buf);
    }
    (driver, path)
}

fn ipv6_is_off() -> bool {
    let is_set = |which: &&str| {
        let path = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
        // A kernel without IPv6 has no such setting.
        std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
    };
    ["all", "default"].iter().any(is_set)
}

fn read_settings(link: &mut Link) {
    for key in SETTINGS {
        let Some((family, name)) = key.split_once('/') else { continue };
        let path = Path::new("/proc/sys/net").join(family).join("conf").join(link.name()).join(name);
        // A kernel without IPv6 has no such setting.
        if let Ok(text) = std::fs::read_to_string(path) {
            link.settings.insert(key, text.trim().to_owned());
        }
    }
}

fn address(message: &AddressMessage) -> Option<Address> {
    let prefix = message.header.prefix_len;
    let (mut local, mut other, mut flags) = (None, None, AddressFlags::empty());
    let mut address = Address {
        index: message.header.index,
        address: Prefixed { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix },
        peer: None,
        broadcast: None,
        label: None,
        valid: None,
        preferred: None,
        scope: u8::from(message.header.scope),
        metric: None,
        no_prefix_route: false,
        no_duplicate_detection: false,
        protocol: 0,
        tentative: false,
        duplicate: false,
    };
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => other = Some(*ip),
            AddressAttribute::Label(label) => address.label = Some(label.clone()),
            AddressAttribute::Broadcast(ip) => address.broadcast = Some(IpAddr::V4(*ip)),
            AddressAttribute::Flags(bits) => flags = *bits,
            AddressAttribute::RoutePriority(metric) => address.metric = Some(*metric),
            AddressAttribute::Protocol(protocol) => address.protocol = u8::from(*protocol),
            AddressAttribute::CacheInfo(info) => {
                let span = |seconds: u32| (seconds != FOR_EVER).then(|| Duration::from_secs(seconds.into()));
                (address.valid, address.preferred) = (span(info.ifa_valid), span(info.ifa_preferred));
            }
            _ => {}
        }
    }
    address.address.address = local.or(other)?;
    address.peer = match (local, other) {
        (Some(local), Some(other)) if local != other => Some(Prefixed { address: other, prefix }),
        _ => None,
    };
    if address.peer.is_some() {
        address.address.prefix = if address.address.address.is_ipv4() { 32 } else { 128 };
    }
    address.tentative = flags.contains(AddressFlags::Tentative);
    address.duplicate = flags.contains(AddressFlags::Dadfailed);
    Some(address)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

fn route_kind(kind: RouteType) -> Option<RouteKind> {
    Some(match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        _ => return None,
    })
}

/// Routes that may be ours, and default routes of the main table; each next hop is one.
fn routes(message: &RouteMessage) -> Vec<Route> {
    let header = &message.header;
    let protocol = u8::from(header.protocol);
    let Some(kind) = route_kind(header.kind) else { return Vec::new() };
    let is_ours = matches!(protocol, STATIC | DHCP | OURS);
    if !is_ours && (header.destination_prefix_length != 0 || kind != RouteKind::Unicast) {
        return Vec::new();
    }
    let is_ipv4 = header.address_family == AddressFamily::Inet;
    let zero = if is_ipv4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let mut route = Route {
        index: None,
        destination: Prefixed { address: zero, prefix: header.destination_prefix_length },
        source: None,
        gateway: None,
        metric: 0,
        table: header.table.into(),
        kind,
        protocol,
        preferred_source: None,
        scope: u8::from(header.scope),
        on_link: false,
        mtu: None,
        advertised_mss: None,
        initial_congestion_window: None,
        initial_receive_window: None,
    };
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => route.destination.address = ip(to).unwrap_or(zero),
            RouteAttribute::Source(from) => {
                let prefix = header.source_prefix_length;
                route.source = ip(from).map(|address| Prefixed { address, prefix });
            }
            RouteAttribute::PrefSource(from) => route.preferred_source = ip(from),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Metrics(metrics) => read_metrics(metrics, &mut route),
            RouteAttribute::MultiPath(paths) => {
                hops = paths.iter().map(|path| (Some(path.interface_index), gateway(&path.attributes))).collect();
            }
            _ => {}
        }
    }
    if hops.is_empty() {
        let index = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
        hops.push((index, gateway(&message.attributes)));
    }
    let drops = matches!(kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw);
    let one = |(index, gateway): (Option<u32>, Option<IpAddr>)| {
        // IPv6 puts routes that drop packets on the loopback link.
        Route { index: index.filter(|_| !drops), gateway, ..route.clone() }
    };
    hops.into_iter().map(one).collect()
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(to) => ip(to),
        RouteAttribute::Via(RouteVia::Inet6(to)) => Some(IpAddr::V6(*to)),
        _ => None,
    })
}

fn read_metrics(metrics: &[RouteMetric], route: &mut Route) {
    for metric in metrics {
        match metric {
            RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
            RouteMetric::Advmss(bytes) => route.advertised_mss = Some(*bytes),
            RouteMetric::InitCwnd(window) => route.initial_congestion_window = Some(*window),
            RouteMetric::InitRwnd(window) => route.initial_receive_window = Some(*window),
            _ => {}
        }
    }
    // What a router or a path told is not what a file says.
    if route.protocol == RA {
        route.mtu = None;
    }
}

fn rule(message: &RuleMessage) -> Rule {
    let header = &message.header;
    let mut rule = Rule {
        is_ipv4: header.family == AddressFamily::Inet,
        from: None,
        to: None,
        table: header.table.into(),
        priority: Some(0),
        mark: None,
        incoming: None,
        outgoing: None,
        tos: header.tos,
        suppress_prefix_length: None,
        invert: header.flags.contains(RuleFlags::Invert),
        kind: match header.action {
            RuleAction::Blackhole => RuleKind::Blackhole,
            RuleAction::Unreachable => RuleKind::Unreachable,
            RuleAction::Prohibit => RuleKind::Prohibit,
            _ => RuleKind::Table,
        },
        protocol: 0,
    };
    let (mut mark, mut mask) = (None, u32::MAX);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Source(address) => rule.from = Some(Prefixed { address: *address, prefix: header.src_len }),
            RuleAttribute::Destination(address) => {
                rule.to = Some(Prefixed { address: *address, prefix: header.dst_len });
            }
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Priority(priority) => rule.priority = Some(*priority),
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = *value,
            RuleAttribute::Iifname(name) => rule.incoming = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.outgoing = Some(name.clone()),
            RuleAttribute::Protocol(protocol) => rule.protocol = u8::from(*protocol),
            // All ones: nothing is left out.
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => {
                rule.suppress_prefix_length = Some(*length);
            }
            _ => {}
        }
    }
    rule.mark = mark.filter(|mark| *mark != 0).map(|mark| (mark, mask));
    if rule.kind != RuleKind::Table || rule.table == 0 {
        rule.table = if rule.kind == RuleKind::Table { MAIN_TABLE } else { 0 };
    }
    rule
}
