//! The kernel's side over rtnetlink: what there is (`observe`) and making one change (`apply`).

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, CacheInfo};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::{AddressMessageBuilder, Handle, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use crate::lease::Route;
use crate::plan::{Address, Change, InstalledRoute, Link, Observed, Role};

/// An address that never ends has this lifetime.
const FOR_EVER: u32 = u32::MAX;
/// A lease without an end: still finite, so that the address is known as ours.
const LONGEST: u32 = u32::MAX - 1;

/// Asks the kernel for links, IPv4 addresses and the routes of DHCP.
pub(crate) async fn observe(handle: &Handle) -> anyhow::Result<Observed> {
    let mut observed = Observed::default();
    let mut links = handle.link().get().execute();
    while let Some(message) = links.try_next().await.context("listing links")? {
        observed.links.extend(read_link(&message));
    }
    observed.links.sort_by_key(|link| link.index);
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await.context("listing addresses")? {
        observed.addresses.extend(read_address(&message));
    }
    let mut routes = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    while let Some(message) = routes.try_next().await.context("listing routes")? {
        observed.routes.extend(read_route(&message));
    }
    Ok(observed)
}

fn read_link(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let (mut name, mut mac, mut mtu, mut controller, mut kind) = (None, [0; 6], 0, false, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = bytes.as_slice().try_into().unwrap_or_default(),
            LinkAttribute::Mtu(bytes) => mtu = *bytes,
            LinkAttribute::Controller(index) => controller = *index != 0,
            LinkAttribute::LinkInfo(infos) => {
                kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.clone()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let is_ethernet = message.header.link_layer_type == LinkLayerType::Ether && mac != [0; 6];
    // Real hardware has no kind; a veth is the cable of a container or a test.
    let role = match kind {
        _ if flags.contains(LinkFlags::Loopback) => Role::Loopback,
        None | Some(InfoKind::Veth) if is_ethernet && !controller => Role::Wired,
        _ => Role::Other,
    };
    let up = flags.contains(LinkFlags::Up);
    let carrier = up && flags.contains(LinkFlags::LowerUp);
    Some(Link { index: message.header.index, name: name?, mac, up, carrier, mtu, role })
}

fn read_address(message: &AddressMessage) -> Option<Address> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    let mut address = None;
    let mut lifetime = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(IpAddr::V4(local)) => address = Some(*local),
            AddressAttribute::CacheInfo(info) if info.ifa_valid != FOR_EVER => {
                lifetime = Some(Duration::from_secs(info.ifa_valid.into()));
            }
            _ => {}
        }
    }
    Some(Address { index: message.header.index, address: address?, prefix: message.header.prefix_len, lifetime })
}

fn read_route(message: &RouteMessage) -> Option<InstalledRoute> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Dhcp || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut destination = Ipv4Addr::UNSPECIFIED;
    let mut gateway = Ipv4Addr::UNSPECIFIED;
    let (mut index, mut metric) = (None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = *address,
            RouteAttribute::Oif(number) => index = Some(*number),
            RouteAttribute::Priority(number) => metric = *number,
            _ => {}
        }
    }
    let route = Route { destination, prefix: header.destination_prefix_length, gateway };
    Some(InstalledRoute { index: index?, route, metric })
}

/// Makes one change. What is gone already counts as removed.
pub(crate) async fn apply(handle: &Handle, change: &Change) -> Result<(), rtnetlink::Error> {
    match change {
        Change::Up { index } => {
            handle.link().change(LinkMessageBuilder::<LinkUnspec>::new().index(*index).up().build()).execute().await
        }
        Change::Mtu { index, mtu } => {
            let message = LinkMessageBuilder::<LinkUnspec>::new().index(*index).mtu(*mtu).build();
            handle.link().change(message).execute().await
        }
        Change::SetAddress(address) => {
            let mut request =
                handle.address().add(address.index, IpAddr::V4(address.address), address.prefix).replace();
            request.message_mut().attributes.push(lifetime(address.lifetime));
            request.execute().await
        }
        Change::RemoveAddress(address) => {
            let mut message = AddressMessageBuilder::<Ipv4Addr>::new()
                .index(address.index)
                .address(address.address, address.prefix)
                .build();
            message.header.flags = AddressHeaderFlags::empty();
            gone_is_fine(handle.address().del(message).execute().await)
        }
        Change::SetRoute { route, source } => {
            let message = route_message(route).pref_source(*source).build();
            handle.route().add(message).replace().execute().await
        }
        Change::RemoveRoute(route) => gone_is_fine(handle.route().del(route_message(route).build()).execute().await),
    }
}

fn lifetime(remaining: Option<Duration>) -> AddressAttribute {
    let seconds = remaining.map_or(LONGEST, |left| u32::try_from(left.as_secs().max(1)).unwrap_or(LONGEST));
    let mut info = CacheInfo::default();
    info.ifa_preferred = seconds;
    info.ifa_valid = seconds;
    AddressAttribute::CacheInfo(info)
}

fn route_message(installed: &InstalledRoute) -> RouteMessageBuilder<Ipv4Addr> {
    let builder = RouteMessageBuilder::<Ipv4Addr>::new()
        .protocol(RouteProtocol::Dhcp)
        .output_interface(installed.index)
        .priority(installed.metric)
        .destination_prefix(installed.route.destination, installed.route.prefix);
    if installed.route.gateway.is_unspecified() {
        builder.scope(RouteScope::Link)
    } else {
        builder.gateway(installed.route.gateway)
    }
}

/// The kernel removes routes with their address and addresses with their link.
fn gone_is_fine(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    const GONE: [i32; 3] = [
        -libc_errno(nix::errno::Errno::ESRCH),
        -libc_errno(nix::errno::Errno::EADDRNOTAVAIL),
        -libc_errno(nix::errno::Errno::ENODEV),
    ];
    match result {
        Err(rtnetlink::Error::NetlinkError(message)) if GONE.contains(&message.raw_code()) => Ok(()),
        other => other,
    }
}

const fn libc_errno(errno: nix::errno::Errno) -> i32 {
    errno as i32
}
