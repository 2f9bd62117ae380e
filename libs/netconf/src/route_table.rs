//! The keys of `[Address]`, `[Route]` and `[RoutingPolicyRule]`. Pure.

use ferrite_unit::value::{ValueError, wrong};

use crate::key::{Key, Repeated, idle, key};
use crate::network::Network;
use crate::network_table::gateway;
use crate::route::{AddressEntry, Broadcast, Family, Gateway, RouteEntry, RouteKind, RuleEntry, RuleKind};
use crate::value::{Parsed, Prefixed, address, boolean, choice, link_name, number_8, number_32, prefixed, span, table};

const LOST: &str = "a key of a section that was not begun";

fn last<T>(list: &mut [T]) -> Parsed<&mut T> {
    list.last_mut().ok_or_else(|| ValueError(LOST.into()))
}

fn missing<T>(what: &str) -> Parsed<T> {
    Err(ValueError(what.to_owned()))
}

pub(crate) const ADDRESS_ELEMENTS: Repeated<Network> = Repeated {
    begin: |network| network.addresses.push(AddressEntry::default()),
    check: |network| match network.addresses.last() {
        Some(AddressEntry { address: None, .. }) => missing("[Address] has no Address="),
        _ => Ok(()),
    },
    drop: |network| {
        network.addresses.pop();
    },
};

pub(crate) static ADDRESS: &[Key<Network>] = &[
    key("Address", "an address with its prefix", "the address", |network, text| {
        last(&mut network.addresses)?.address = Some(prefixed(text)?);
        Ok(())
    }),
    key("Peer", "an address with its prefix", "the other end of the link", |network, text| {
        last(&mut network.addresses)?.peer = Some(prefixed(text)?);
        Ok(())
    }),
    key("Broadcast", "an address of IPv4, yes or no", "reaches everybody on the link", |network, text| {
        last(&mut network.addresses)?.broadcast = match text.parse() {
            Ok(address) => Some(Broadcast::Address(address)),
            Err(_) if boolean(text)? => None,
            Err(_) => Some(Broadcast::None),
        };
        Ok(())
    }),
    key("Label", "at most 15 characters", "a name of the address, for old tools", |network, text| {
        last(&mut network.addresses)?.label = Some(label(text)?);
        Ok(())
    }),
    key("PreferredLifetime", "forever or 0", "with 0 it begins no connections", |network, text| {
        last(&mut network.addresses)?.preferred = match text {
            "forever" | "infinity" | "" => None,
            text => span(text)?.finite(),
        };
        Ok(())
    }),
    key("Scope", "global, link, host or a number", "how far it is known", |network, text| {
        last(&mut network.addresses)?.scope = Some(scope(text)?);
        Ok(())
    }),
    key("RouteMetric", "a number", "the metric of the route to its network", |network, text| {
        last(&mut network.addresses)?.metric = Some(number_32(text)?);
        Ok(())
    }),
    key("AddPrefixRoute", "yes or no", "makes the route to its network", |network, text| {
        last(&mut network.addresses)?.prefix_route = Some(boolean(text)?);
        Ok(())
    }),
    key("DuplicateAddressDetection", "ipv4, ipv6, both, none", "`none`: used at once", |network, text| {
        let kinds = [("ipv4", true), ("ipv6", false), ("both", false), ("none", true)];
        last(&mut network.addresses)?.no_duplicate_detection = choice(text, &kinds)?;
        Ok(())
    }),
    idle("HomeAddress", "there is no mobile IPv6"),
    idle("ManageTemporaryAddress", "the kernel makes temporary addresses of advertised networks"),
    idle("AutoJoin", "groups are joined by programs"),
];

fn label(text: &str) -> Parsed<String> {
    let fine = (1..16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine { Ok(text.to_owned()) } else { Err(wrong(text, "a label of 1 to 15 characters")) }
}

fn scope(text: &str) -> Parsed<u8> {
    match text {
        "global" => Ok(0),
        "site" => Ok(200),
        "link" => Ok(253),
        "host" => Ok(254),
        "nowhere" => Ok(255),
        text => number_8(text, 255).map_err(|_| wrong(text, "global, site, link, host or a number up to 255")),
    }
}

pub(crate) const ROUTE_ELEMENTS: Repeated<Network> = Repeated {
    begin: |network| network.routes.push(RouteEntry::default()),
    check: |network| match network.routes.last() {
        Some(route) => whole_route(route),
        None => Ok(()),
    },
    drop: |network| {
        network.routes.pop();
    },
};

fn whole_route(route: &RouteEntry) -> Parsed<()> {
    if route.destination.is_none() && route.gateway == Gateway::None && route.kind == RouteKind::Unicast {
        return missing("[Route] has neither Gateway= nor Destination=");
    }
    let gateway = match route.gateway {
        Gateway::Address(address) => Some(address),
        Gateway::None | Gateway::Dhcp4 | Gateway::Ra => None,
    };
    let parts = [route.destination.map(|net| net.address), route.source.map(|net| net.address), route.preferred_source];
    let mut families = parts.into_iter().chain([gateway]).flatten().map(|address| address.is_ipv4());
    let first = families.next();
    if families.any(|family| Some(family) != first) {
        return missing("[Route] mixes IPv4 and IPv6");
    }
    Ok(())
}

pub(crate) static ROUTE: &[Key<Network>] = &[
    key("Destination", "a network", "where to; everywhere unless set", |network, text| {
        last(&mut network.routes)?.destination = if text == "default" { None } else { Some(network_of(text)?) };
        Ok(())
    }),
    key("Gateway", "an address, `_dhcp4` or `_ipv6ra`", "the next hop", |network, text| {
        last(&mut network.routes)?.gateway = gateway(text)?;
        Ok(())
    }),
    key("GatewayOnLink", "yes or no", "the gateway is on the link although no address says so", |network, text| {
        last(&mut network.routes)?.on_link = Some(boolean(text)?);
        Ok(())
    }),
    key("Metric", "a number", "the lower, the better", |network, text| {
        last(&mut network.routes)?.metric = Some(number_32(text)?);
        Ok(())
    }),
    key("Table", "a table", "the table; `main` unless set, or that of the VRF", |network, text| {
        last(&mut network.routes)?.table = Some(table(text)?);
        Ok(())
    }),
    key("Type", "unicast, blackhole, unreachable ...", "what it does with a packet", |network, text| {
        let kinds = [
            ("unicast", RouteKind::Unicast),
            ("local", RouteKind::Local),
            ("broadcast", RouteKind::Broadcast),
            ("blackhole", RouteKind::Blackhole),
            ("unreachable", RouteKind::Unreachable),
            ("prohibit", RouteKind::Prohibit),
            ("throw", RouteKind::Throw),
        ];
        last(&mut network.routes)?.kind = choice(text, &kinds)?;
        Ok(())
    }),
    key("Source", "a network", "only for packets from there", |network, text| {
        last(&mut network.routes)?.source = Some(network_of(text)?);
        Ok(())
    }),
    key("PreferredSource", "an address", "the address that packets leave from", |network, text| {
        last(&mut network.routes)?.preferred_source = Some(address(text)?);
        Ok(())
    }),
    key("MTUBytes", "bytes", "the largest packet on the way", |network, text| {
        last(&mut network.routes)?.mtu = Some(crate::value::mtu(text)?);
        Ok(())
    }),
    key("Scope", "global, link, host or a number", "how far its destination is", |network, text| {
        last(&mut network.routes)?.scope = Some(scope(text)?);
        Ok(())
    }),
    key("InitialCongestionWindow", "a number", "packets that a new connection sends at once", |network, text| {
        last(&mut network.routes)?.initial_congestion_window = Some(number_32(text)?);
        Ok(())
    }),
    key("TCPAdvertisedMaximumSegmentSize", "bytes", "the largest piece of TCP that is asked for", |network, text| {
        last(&mut network.routes)?.advertised_mss = Some(number_32(text)?);
        Ok(())
    }),
    key("InitialAdvertisedReceiveWindow", "a number", "packets that it may be sent at once", |network, text| {
        last(&mut network.routes)?.initial_receive_window = Some(number_32(text)?);
        Ok(())
    }),
    idle("Protocol", "the number marks whose a route is: `static` and `dhcp` are ours"),
];

/// A network; bits behind its prefix do not count.
fn network_of(text: &str) -> Parsed<Prefixed> {
    prefixed(text).map(|value| value.network())
}

pub(crate) const RULE_ELEMENTS: Repeated<Network> = Repeated {
    begin: |network| network.rules.push(RuleEntry::default()),
    check: |network| match network.rules.last() {
        Some(RuleEntry { from: Some(from), to: Some(to), .. }) if from.address.is_ipv4() != to.address.is_ipv4() => {
            missing("[RoutingPolicyRule] mixes IPv4 and IPv6")
        }
        _ => Ok(()),
    },
    drop: |network| {
        network.rules.pop();
    },
};

pub(crate) static RULE: &[Key<Network>] = &[
    key("From", "a network", "packets from there", |network, text| {
        last(&mut network.rules)?.from = Some(network_of(text)?);
        Ok(())
    }),
    key("To", "a network", "packets to there", |network, text| {
        last(&mut network.rules)?.to = Some(network_of(text)?);
        Ok(())
    }),
    key("Table", "a table", "the table to look into", |network, text| {
        last(&mut network.rules)?.table = Some(table(text)?);
        Ok(())
    }),
    key("Priority", "a number", "its place among the rules", |network, text| {
        last(&mut network.rules)?.priority = Some(number_32(text)?);
        Ok(())
    }),
    key("FirewallMark", "a mark, a mask behind `/`", "packets with this mark", |network, text| {
        let (mark, mask) = text.split_once('/').unwrap_or((text, "4294967295"));
        last(&mut network.rules)?.mark = Some((mark_number(mark)?, mark_number(mask)?));
        Ok(())
    }),
    key("IncomingInterface", "a link", "packets that come in there", |network, text| {
        last(&mut network.rules)?.incoming = Some(link_name(text)?);
        Ok(())
    }),
    key("OutgoingInterface", "a link", "packets of sockets bound to it", |network, text| {
        last(&mut network.rules)?.outgoing = Some(link_name(text)?);
        Ok(())
    }),
    key("TypeOfService", "a number up to 255", "packets of this type", |network, text| {
        last(&mut network.rules)?.tos = Some(number_8(text, 255)?);
        Ok(())
    }),
    key("Family", "ipv4, ipv6, both", "where no address says which", |network, text| {
        let families = [("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6), ("both", Family::Both)];
        last(&mut network.rules)?.family = Some(choice(text, &families)?);
        Ok(())
    }),
    key("SuppressPrefixLength", "a number up to 128", "routes no longer than this do not count", |network, text| {
        last(&mut network.rules)?.suppress_prefix_length = Some(number_8(text, 128)?.into());
        Ok(())
    }),
    key("InvertRule", "yes or no", "everything else", |network, text| {
        last(&mut network.rules)?.invert = boolean(text)?;
        Ok(())
    }),
    key("Type", "table, blackhole, unreachable, prohibit", "what it does", |network, text| {
        let kinds = [
            ("table", RuleKind::Table),
            ("blackhole", RuleKind::Blackhole),
            ("unreachable", RuleKind::Unreachable),
            ("prohibit", RuleKind::Prohibit),
        ];
        last(&mut network.rules)?.kind = choice(text, &kinds)?;
        Ok(())
    }),
];

fn mark_number(text: &str) -> Parsed<u32> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| wrong(text, "a mark such as 7 or 0x10"))
}
