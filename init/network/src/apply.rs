//! Makes one change over rtnetlink or in /proc/sys/net. What is gone already counts as removed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ferrite_netconf::Netdev;
use ferrite_netconf::network::BridgePort;
use ferrite_netconf::route::{RouteKind, RuleKind};
use ferrite_netconf::value::Prefixed;
use futures_util::StreamExt;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{
    InfoBond, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkInfo,
};
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use crate::change::{Change, LinkChange, Reshaping};
use crate::observed::{Address, OURS, Route, Rule};
use crate::{make_link, wireguard};

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused it.
    #[error("{}", reason(.0))]
    Kernel(#[from] rtnetlink::Error),
    /// A file or socket.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// The key of a tunnel.
    #[error("{0}")]
    Tunnel(#[from] wireguard::TunnelError),
}

impl ApplyError {
    /// A file system that is mounted to be read only, or a container's.
    pub(crate) fn is_lasting(&self) -> bool {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        matches!(self, Self::System(error) if matches!(error.kind(), ReadOnlyFilesystem | PermissionDenied))
    }
}

/// The words of the system for an error of the kernel.
fn reason(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => std::io::Error::from_raw_os_error(-message.raw_code()).to_string(),
        other => other.to_string(),
    }
}

/// Makes one change.
pub(crate) async fn apply(handle: &Handle, change: &Change) -> Result<(), ApplyError> {
    match change {
        Change::Create { netdev, lower, mac } => {
            let message = make_link::message(netdev, *lower, *mac);
            Ok(handle.link().add(message).execute().await?)
        }
        Change::Reshape { index, name, netdev, how } => reshape(handle, *index, name, netdev, how).await,
        Change::WireGuard { name, netdev, replace } => Ok(wireguard::configure(name, netdev, *replace)?),
        Change::Link { index, set } => change_link(handle, *index, set).await,
        Change::Setting { path, value, .. } => {
            Ok(std::fs::write(std::path::Path::new("/proc/sys/net").join(path), value)?)
        }
        Change::SetAddress(address) => {
            let request = handle.address().add(address.index, address.address.address, address.address.prefix);
            let mut request = request.replace();
            *request.message_mut() = address_message(address);
            Ok(request.execute().await?)
        }
        Change::RemoveAddress(address) => gone_is_fine(handle.address().del(address_message(address)).execute().await),
        Change::AddRoute(route) => {
            let message = RouteNetlinkMessage::NewRoute(route_message(route));
            Ok(send(handle, message, NLM_F_CREATE | NLM_F_APPEND).await?)
        }
        Change::RemoveRoute(route) => gone_is_fine(handle.route().del(route_message(route)).execute().await),
        Change::AddRule(rule) => {
            Ok(send(handle, RouteNetlinkMessage::NewRule(rule_message(rule)), NLM_F_CREATE | NLM_F_EXCL).await?)
        }
        Change::RemoveRule(rule) => gone_is_fine(handle.rule().del(rule_message(rule)).execute().await),
    }
}

/// Changes a link that was made, or removes it where the kernel cannot change it while it is in use.
async fn reshape(handle: &Handle, index: u32, name: &str, netdev: &Netdev, how: &Reshaping) -> Result<(), ApplyError> {
    use nix::errno::Errno;
    if let Reshaping::Change { options, mac } = how {
        let message = make_link::change(index, netdev, options.as_ref(), *mac);
        match handle.link().change(message).execute().await {
            Ok(()) => {
                eprintln!("{name}: changed as {} says", netdev.file);
                return Ok(());
            }
            Err(error) if [Errno::EBUSY, Errno::ENOTEMPTY, Errno::EACCES].iter().any(|errno| is(&error, *errno)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    eprintln!("{name}: cannot become what {} says while it is there, making it anew", netdev.file);
    Ok(handle.link().del(index).execute().await?)
}

async fn send(handle: &Handle, message: RouteNetlinkMessage, flags: u16) -> Result<(), rtnetlink::Error> {
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    let mut answers = handle.clone().request(request)?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload
            && error.code.is_some()
        {
            return Err(rtnetlink::Error::NetlinkError(error));
        }
    }
    Ok(())
}

async fn change_link(handle: &Handle, index: u32, set: &LinkChange) -> Result<(), ApplyError> {
    let builder = LinkMessageBuilder::<LinkUnspec>::new().index(index);
    let message = match set {
        LinkChange::Up => builder.up(),
        LinkChange::Down => builder.down(),
        LinkChange::Mtu(mtu) => builder.mtu(*mtu),
        LinkChange::Mac(mac) => builder.address(mac.0.to_vec()),
        LinkChange::Name(name) => builder.name(name.clone()),
        LinkChange::Alias(alias) => builder.alias(alias.clone()),
        LinkChange::Arp(on) => builder.arp(*on),
        LinkChange::Multicast(on) => builder.multicast(*on),
        LinkChange::Promiscuous(on) => builder.promiscuous(*on),
        LinkChange::Controller(Some(controller)) => builder.controller(*controller),
        LinkChange::Controller(None) => builder.nocontroller(),
        LinkChange::BridgePort(port) => {
            builder.set_port_kind(InfoPortKind::Bridge).set_port_data(InfoPortData::BridgePort(bridge_port(port)))
        }
        LinkChange::PrimaryPort(port) => {
            let mut message = builder.build();
            let data = InfoData::Bond(vec![InfoBond::Primary(*port)]);
            let infos = vec![LinkInfo::Kind(InfoKind::Bond), LinkInfo::Data(data)];
            message.attributes.push(LinkAttribute::LinkInfo(infos));
            return Ok(handle.link().change(message).execute().await?);
        }
    };
    let message = message.build();
    match handle.link().change(message.clone()).execute().await {
        // Some drivers change it only while the link is off.
        Err(error)
            if matches!(set, LinkChange::Mac(_) | LinkChange::Name(_)) && is(&error, nix::errno::Errno::EBUSY) =>
        {
            let builder = || LinkMessageBuilder::<LinkUnspec>::new().index(index);
            handle.link().change(builder().down().build()).execute().await?;
            let outcome = handle.link().change(message).execute().await;
            handle.link().change(builder().up().build()).execute().await?;
            Ok(outcome?)
        }
        outcome => Ok(outcome?),
    }
}

fn bridge_port(port: &BridgePort) -> Vec<InfoBridgePort> {
    let mut data = Vec::new();
    data.extend(port.cost.map(InfoBridgePort::Cost));
    data.extend(port.priority.map(InfoBridgePort::Priority));
    data.extend(port.hairpin.map(InfoBridgePort::HairpinMode));
    data.extend(port.isolated.map(InfoBridgePort::Isolated));
    data.extend(port.learning.map(InfoBridgePort::Learning));
    data
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address_message(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    let own = address.address;
    message.header.family = family(own.address);
    message.header.prefix_len = address.peer.map_or(own.prefix, |peer| peer.prefix);
    message.header.index = address.index;
    message.header.scope = AddressScope::from(address.scope);
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Local(own.address));
    attributes.push(AddressAttribute::Address(address.peer.map_or(own.address, |peer| peer.address)));
    if let Some(IpAddr::V4(broadcast)) = address.broadcast {
        attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    attributes.extend(address.label.clone().filter(|_| own.address.is_ipv4()).map(AddressAttribute::Label));
    attributes.extend(address.metric.map(AddressAttribute::RoutePriority));
    attributes.push(AddressAttribute::Protocol(AddressProtocol::from(OURS)));
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    flags.set(AddressFlags::Nodad, address.no_duplicate_detection && own.address.is_ipv6());
    attributes.push(AddressAttribute::Flags(flags));
    let seconds =
        |span: Option<Duration>| span.map_or(u32::MAX, |span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX));
    let mut info = CacheInfo::default();
    info.ifa_valid = seconds(address.valid).max(1);
    info.ifa_preferred = seconds(address.preferred).min(info.ifa_valid);
    attributes.push(AddressAttribute::CacheInfo(info));
    message
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = match (route.destination.address, route.source) {
        (IpAddr::V4(to), from) => {
            let builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to, route.destination.prefix);
            let builder = match from {
                Some(Prefixed { address: IpAddr::V4(from), prefix }) => builder.source_prefix(from, prefix),
                _ => builder,
            };
            builder.table_id(route.table).build()
        }
        (IpAddr::V6(to), from) => {
            let builder = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(to, route.destination.prefix);
            let builder = match from {
                Some(Prefixed { address: IpAddr::V6(from), prefix }) => builder.source_prefix(from, prefix),
                _ => builder,
            };
            builder.table_id(route.table).build()
        }
    };
    message.header.protocol = RouteProtocol::from(route.protocol);
    message.header.scope = RouteScope::from(route.scope);
    message.header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Broadcast => RouteType::Broadcast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Throw => RouteType::Throw,
    };
    if route.on_link {
        message.header.flags |= RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    attributes.extend(route.index.map(RouteAttribute::Oif));
    attributes.extend(route.gateway.map(|gateway| match (gateway, route.destination.address) {
        (IpAddr::V6(gateway), IpAddr::V4(_)) => RouteAttribute::Via(gateway.into()),
        (gateway, _) => RouteAttribute::Gateway(gateway.into()),
    }));
    attributes.extend(route.preferred_source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.push(RouteAttribute::Priority(route.metric));
    let mut metrics = Vec::new();
    metrics.extend(route.mtu.map(RouteMetric::Mtu));
    metrics.extend(route.advertised_mss.map(RouteMetric::Advmss));
    metrics.extend(route.initial_congestion_window.map(RouteMetric::InitCwnd));
    metrics.extend(route.initial_receive_window.map(RouteMetric::InitRwnd));
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = if rule.is_ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.tos = rule.tos;
    message.header.action = match rule.kind {
        RuleKind::Table => RuleAction::ToTable,
        RuleKind::Blackhole => RuleAction::Blackhole,
        RuleKind::Unreachable => RuleAction::Unreachable,
        RuleKind::Prohibit => RuleAction::Prohibit,
    };
    if rule.invert {
        message.header.flags = RuleFlags::Invert;
    }
    message.header.src_len = rule.from.map_or(0, |net| net.prefix);
    message.header.dst_len = rule.to.map_or(0, |net| net.prefix);
    let attributes = &mut message.attributes;
    if rule.kind == RuleKind::Table {
        attributes.push(RuleAttribute::Table(rule.table));
    }
    attributes.extend(rule.from.map(|net| RuleAttribute::Source(net.address)));
    attributes.extend(rule.to.map(|net| RuleAttribute::Destination(net.address)));
    attributes.extend(rule.priority.map(RuleAttribute::Priority));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    attributes.extend(rule.incoming.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.outgoing.clone().map(RuleAttribute::Oifname));
    attributes.extend(rule.suppress_prefix_length.map(RuleAttribute::SuppressPrefixLen));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(OURS)));
    message
}

fn is(error: &rtnetlink::Error, errno: nix::errno::Errno) -> bool {
    matches!(error, rtnetlink::Error::NetlinkError(message) if message.raw_code() == -(errno as i32))
}

/// The kernel removes routes with their address and addresses with their link.
fn gone_is_fine(result: Result<(), rtnetlink::Error>) -> Result<(), ApplyError> {
    use nix::errno::Errno;
    match result {
        Err(error)
            if [Errno::ESRCH, Errno::EADDRNOTAVAIL, Errno::ENODEV, Errno::ENOENT]
                .iter()
                .any(|errno| is(&error, *errno)) =>
        {
            Ok(())
        }
        other => Ok(other?),
    }
}
