//! The keys of `.network` files, but for addresses, routes and rules. Pure.

use ferrite_unit::value::wrong;

use crate::key::{Key, idle, key};
use crate::network::{Activation, ClientIdentifier, Dhcp6Client, Families, Network, Operational, Privacy, Required};
use crate::route::{AddressEntry, Gateway, RouteEntry};
use crate::value::{
    Parsed, address, boolean, choice, domain, extend, link_name, mac, mtu, number_16, number_32, optional, prefixed,
    table,
};

const BOTH: Families = Families { ipv4: true, ipv6: true };
const NONE: Families = Families { ipv4: false, ipv6: false };
const V4: Families = Families { ipv4: true, ipv6: false };
const V6: Families = Families { ipv4: false, ipv6: true };

fn families(text: &str) -> Parsed<Families> {
    match text {
        "ipv4" | "v4" => Ok(V4),
        "ipv6" | "v6" => Ok(V6),
        "both" => Ok(BOTH),
        "none" => Ok(NONE),
        text => match boolean(text) {
            Ok(true) => Ok(BOTH),
            Ok(false) => Ok(NONE),
            Err(_) => Err(wrong(text, "yes, no, ipv4 or ipv6")),
        },
    }
}

fn required(text: &str) -> Parsed<Required> {
    if let Ok(yes) = boolean(text) {
        return Ok(if yes { Required::Yes } else { Required::No });
    }
    // A range: the highest state is not a limit that anything could break.
    let least = text.split(':').next().unwrap_or(text);
    let states = [
        ("off", Operational::Off),
        ("no-carrier", Operational::NoCarrier),
        ("dormant", Operational::NoCarrier),
        ("degraded-carrier", Operational::Carrier),
        ("carrier", Operational::Carrier),
        ("degraded", Operational::Degraded),
        ("enslaved", Operational::Enslaved),
        ("routable", Operational::Routable),
    ];
    choice(least, &states).map(Required::AtLeast).map_err(|_| wrong(text, "yes, no or a state such as routable"))
}

pub(crate) static LINK: &[Key<Network>] = &[
    key("MACAddress", "a hardware address", "set on the link", |network, text| {
        optional(text, mac).map(|mac| network.link.mac = mac)
    }),
    key("MTUBytes", "bytes, K or M behind", "the largest packet", |network, text| {
        optional(text, mtu).map(|mtu| network.link.mtu = mtu)
    }),
    key("ARP", "yes or no", "answers ARP", |network, text| optional(text, boolean).map(|arp| network.link.arp = arp)),
    key("Multicast", "yes or no", "carries multicast", |network, text| {
        optional(text, boolean).map(|multicast| network.link.multicast = multicast)
    }),
    key("Promiscuous", "yes or no", "receives what is for others", |network, text| {
        optional(text, boolean).map(|promiscuous| network.link.promiscuous = promiscuous)
    }),
    key("Unmanaged", "yes or no", "the link is left alone", |network, text| {
        boolean(text).map(|unmanaged| network.link.unmanaged = unmanaged)
    }),
    key(
        "RequiredForOnline",
        "yes, no or a state",
        "whether `network-online.target` waits for the link, and for which state of it at least",
        |network, text| required(text).map(|required| network.link.required = required),
    ),
    key("ActivationPolicy", "up, always-up, manual, down, always-down", "when it is switched on", |network, text| {
        let policies = [
            ("up", Activation::Up),
            ("always-up", Activation::AlwaysUp),
            ("manual", Activation::Manual),
            ("down", Activation::Down),
            ("always-down", Activation::AlwaysDown),
            ("bound", Activation::Up),
        ];
        choice(text, &policies).map(|policy| network.link.activation = policy)
    }),
];

pub(crate) static NETWORK: &[Key<Network>] = &[
    key("DHCP", "yes, no, ipv4, ipv6", "asks DHCP servers", |network, text| {
        families(text).map(|families| network.dhcp = families)
    }),
    key("Address", "an address with its prefix", "short for a section `[Address]`", |network, text| {
        if text.is_empty() {
            network.addresses.clear();
            return Ok(());
        }
        let address = prefixed(text)?;
        network.addresses.push(AddressEntry { address: Some(address), ..AddressEntry::default() });
        Ok(())
    }),
    key("Gateway", "an address, `_dhcp4` or `_ipv6ra`", "short for a section `[Route]`", |network, text| {
        if text.is_empty() {
            network.routes.retain(|route| route.destination.is_some() || route.gateway == Gateway::None);
            return Ok(());
        }
        network.routes.push(RouteEntry { gateway: gateway(text)?, ..RouteEntry::default() });
        Ok(())
    }),
    key("DNS", "addresses", "name servers", |network, text| extend(&mut network.dns, text, server)),
    key("Domains", "domains", "search domains; `~` before one keeps it out of the search", |network, text| {
        extend(&mut network.domains, text, domain)
    }),
    key("NTP", "names or addresses", "time servers, for chrony", |network, text| {
        extend(&mut network.ntp, text, |word| Ok(word.to_owned()))
    }),
    key(
        "LinkLocalAddressing",
        "yes, no, ipv4, ipv6",
        "link-local addresses; that of IPv4 only while no DHCP server answers, where one is asked",
        |network, text| families(text).map(|families| network.link_local = Some(families)),
    ),
    key("IPv6AcceptRA", "yes or no", "takes router advertisements", |network, text| {
        optional(text, boolean).map(|accept| network.accept_ra = accept)
    }),
    key("IPv6PrivacyExtensions", "yes, no, prefer-public, kernel", "temporary addresses", |network, text| {
        network.privacy = match text {
            "kernel" | "" => None,
            "prefer-public" => Some(Privacy::PreferPublic),
            text if boolean(text)? => Some(Privacy::Yes),
            _ => Some(Privacy::No),
        };
        Ok(())
    }),
    key("IPv6MTUBytes", "bytes, K or M behind", "the largest packet of IPv6", |network, text| {
        optional(text, mtu).map(|mtu| network.ipv6_mtu = mtu)
    }),
    key("IPv6LinkLocalAddressGenerationMode", "eui64", "how that address is made", |network, text| match text {
        "eui64" | "" => {
            network.by_hardware_address = text == "eui64";
            Ok(())
        }
        text => Err(wrong(text, "eui64; with 'none' write LinkLocalAddressing=no")),
    }),
    key("IPv4Forwarding", "yes or no", "forwards IPv4 that comes in by the link", |network, text| {
        optional(text, boolean).map(|forward| network.forward_ipv4 = forward)
    }),
    key("IPv6Forwarding", "yes or no", "forwards IPv6 that comes in by the link", |network, text| {
        optional(text, boolean).map(|forward| network.forward_ipv6 = forward)
    }),
    key("IPForward", "yes, no, ipv4, ipv6", "the old name of both", |network, text| {
        let wanted = families(text)?;
        (network.forward_ipv4, network.forward_ipv6) = (Some(wanted.ipv4), Some(wanted.ipv6));
        Ok(())
    }),
    key("Bond", "a link", "makes the link a port of this bond", |network, text| {
        optional(text, link_name).map(|name| network.bond = name)
    }),
    key("Bridge", "a link", "makes the link a port of this bridge", |network, text| {
        optional(text, link_name).map(|name| network.bridge = name)
    }),
    key("VRF", "a link", "puts the link into this VRF", |network, text| {
        optional(text, link_name).map(|name| network.vrf = name)
    }),
    key("VLAN", "links", "VLANs to make on top of the link", |network, text| {
        extend(&mut network.vlans, text, link_name)
    }),
    key("PrimarySlave", "yes or no", "the port that an active-backup bond prefers", |network, text| {
        boolean(text).map(|primary| network.primary_port = primary)
    }),
    key("ConfigureWithoutCarrier", "yes or no", "configures the link without a cable", |network, text| {
        boolean(text).map(|yes| network.configure_without_carrier = yes)
    }),
    key("Description", "text", "for people", |_, _| Ok(())),
    idle("IgnoreCarrierLoss", "an address stays when the cable is pulled, as with `yes`"),
    idle("KeepConfiguration", "what was configured stays when the daemon ends, as with `yes`"),
    idle("IPv6DuplicateAddressDetection", "the kernel's own number counts"),
    idle("LLDP", "neighbours are not listened to"),
    idle("EmitLLDP", "nothing is sent to neighbours"),
    idle("LLMNR", "there is no systemd-resolved"),
    idle("MulticastDNS", "there is no systemd-resolved"),
    idle("DNSDefaultRoute", "there is no systemd-resolved"),
    idle("DNSOverTLS", "there is no systemd-resolved"),
    idle("DNSSEC", "there is no systemd-resolved"),
    idle("DNSSECNegativeTrustAnchors", "there is no systemd-resolved"),
];

/// A name server; a port or a name behind it is left out, since resolv.conf has no place for it.
fn server(word: &str) -> Parsed<std::net::IpAddr> {
    let bare = word.split_once('#').map_or(word, |(bare, _)| bare);
    let bare = bare.split_once('%').map_or(bare, |(bare, _)| bare);
    address(bare)
}

pub(crate) fn gateway(text: &str) -> Parsed<Gateway> {
    match text {
        "_dhcp4" | "_dhcp" => Ok(Gateway::Dhcp4),
        "_ipv6ra" => Ok(Gateway::Ra),
        text => address(text).map(Gateway::Address),
    }
}

pub(crate) static DHCP4: &[Key<Network>] = &[
    key("RouteMetric", "a number", "the metric of its routes", |network, text| {
        optional(text, number_32).map(|metric| network.dhcp4.metric = metric)
    }),
    key("RouteTable", "a table", "the table of its routes", |network, text| {
        optional(text, table).map(|table| network.dhcp4.table = table)
    }),
    key("UseDNS", "yes or no", "takes name servers", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_dns = yes)
    }),
    key("UseNTP", "yes or no", "takes time servers", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_ntp = yes)
    }),
    key("UseDomains", "yes, no, route", "takes search domains", |network, text| {
        use_domains(text).map(|yes| network.dhcp4.use_domains = yes)
    }),
    key("UseRoutes", "yes or no", "takes routes", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_routes = yes)
    }),
    key("UseGateway", "yes or no", "takes the default route", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_gateway = yes)
    }),
    key("UseHostname", "yes or no", "takes the host name", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_hostname = yes)
    }),
    key("UseMTU", "yes or no", "takes the largest packet", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_mtu = yes)
    }),
    key("SendHostname", "yes or no", "tells the server our name", |network, text| {
        boolean(text).map(|yes| network.dhcp4.send_hostname = yes)
    }),
    key("Hostname", "a name", "the name it is told", |network, text| {
        optional(text, domain).map(|name| network.dhcp4.hostname = name)
    }),
    key("ClientIdentifier", "mac or duid", "who we are to the server; `mac` unless set", |network, text| {
        let kinds = [("mac", ClientIdentifier::Mac), ("duid", ClientIdentifier::Duid)];
        choice(text, &kinds).map(|kind| network.dhcp4.client_identifier = kind)
    }),
    idle("SendRelease", "an address that is not used any more is the server's again when its lease ends"),
    idle("CriticalConnection", "an address is kept as long as its lease, as with `yes`"),
    idle("Anonymize", "what is sent is little and always the same"),
    idle("UseTimezone", "a machine's time zone is its administrator's"),
    idle("UseSIP", "nobody asks for it"),
];

fn use_domains(text: &str) -> Parsed<bool> {
    if text == "route" { Ok(false) } else { boolean(text) }
}

/// `[DHCP]`, the old name of both sections.
pub(crate) static DHCP: &[Key<Network>] = &[
    key("RouteMetric", "a number", "the metric of the routes of DHCPv4", |network, text| {
        optional(text, number_32).map(|metric| network.dhcp4.metric = metric)
    }),
    key("UseDNS", "yes or no", "takes name servers", |network, text| {
        let yes = boolean(text)?;
        (network.dhcp4.use_dns, network.dhcp6.use_dns) = (yes, yes);
        Ok(())
    }),
    key("UseNTP", "yes or no", "takes time servers", |network, text| {
        let yes = boolean(text)?;
        (network.dhcp4.use_ntp, network.dhcp6.use_ntp) = (yes, yes);
        Ok(())
    }),
    key("UseDomains", "yes, no, route", "takes search domains", |network, text| {
        let yes = use_domains(text)?;
        (network.dhcp4.use_domains, network.dhcp6.use_domains) = (yes, yes);
        Ok(())
    }),
    key("UseRoutes", "yes or no", "takes routes of DHCPv4", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_routes = yes)
    }),
    key("UseHostname", "yes or no", "takes the host name", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_hostname = yes)
    }),
    key("UseMTU", "yes or no", "takes the largest packet", |network, text| {
        boolean(text).map(|yes| network.dhcp4.use_mtu = yes)
    }),
    key("SendHostname", "yes or no", "tells the server our name", |network, text| {
        let yes = boolean(text)?;
        (network.dhcp4.send_hostname, network.dhcp6.send_hostname) = (yes, yes);
        Ok(())
    }),
    key("Hostname", "a name", "the name it is told", |network, text| {
        optional(text, domain).map(|name| network.dhcp4.hostname = name)
    }),
    key("ClientIdentifier", "mac or duid", "who we are to the server", |network, text| {
        let kinds = [("mac", ClientIdentifier::Mac), ("duid", ClientIdentifier::Duid)];
        choice(text, &kinds).map(|kind| network.dhcp4.client_identifier = kind)
    }),
    idle("CriticalConnection", "an address is kept as long as its lease, as with `yes`"),
];

pub(crate) static DHCP6: &[Key<Network>] = &[
    key("UseAddress", "yes or no", "takes addresses", |network, text| {
        boolean(text).map(|yes| network.dhcp6.use_address = yes)
    }),
    key("UseDNS", "yes or no", "takes name servers", |network, text| {
        boolean(text).map(|yes| network.dhcp6.use_dns = yes)
    }),
    key("UseNTP", "yes or no", "takes time servers", |network, text| {
        boolean(text).map(|yes| network.dhcp6.use_ntp = yes)
    }),
    key("UseDomains", "yes, no, route", "takes search domains", |network, text| {
        use_domains(text).map(|yes| network.dhcp6.use_domains = yes)
    }),
    key("WithoutRA", "no, solicit, information-request", "asks without an advertisement", |network, text| {
        let kinds = [("no", false), ("solicit", true), ("information-request", true)];
        choice(text, &kinds).map(|yes| network.dhcp6.without_ra = yes)
    }),
    idle("UseHostname", "no server of DHCPv6 names a machine"),
    idle("UseDelegatedPrefix", "no prefix is asked for"),
    idle("RapidCommit", "an address takes two exchanges"),
    idle("RouteMetric", "routes come with router advertisements"),
];

pub(crate) static ADVERTISEMENTS: &[Key<Network>] = &[
    key("UseDNS", "yes or no", "takes name servers", |network, text| {
        boolean(text).map(|yes| network.advertisements.use_dns = yes)
    }),
    key("UseDomains", "yes, no, route", "takes search domains", |network, text| {
        use_domains(text).map(|yes| network.advertisements.use_domains = yes)
    }),
    key("UseMTU", "yes or no", "takes the largest packet of IPv6", |network, text| {
        boolean(text).map(|yes| network.advertisements.use_mtu = yes)
    }),
    key("UseGateway", "yes or no", "takes the default route", |network, text| {
        boolean(text).map(|yes| network.advertisements.use_gateway = yes)
    }),
    key("UseAutonomousPrefix", "yes or no", "makes addresses in advertised networks", |network, text| {
        boolean(text).map(|yes| network.advertisements.use_autonomous_prefix = yes)
    }),
    key("RouteMetric", "a number", "the metric of the default route", |network, text| {
        optional(text, number_32).map(|metric| network.advertisements.metric = metric)
    }),
    key("DHCPv6Client", "yes, no, always", "whether an advertisement starts DHCPv6", |network, text| {
        network.advertisements.dhcp6 = match text {
            "always" => Dhcp6Client::Always,
            text if boolean(text)? => Dhcp6Client::Yes,
            _ => Dhcp6Client::No,
        };
        Ok(())
    }),
    idle("UseOnLinkPrefix", "the kernel makes the routes of advertised networks"),
    idle("UseICMP6RateLimit", "the kernel's own limit counts"),
];

pub(crate) static BRIDGE_PORT: &[Key<Network>] = &[
    key("Cost", "a number from 1 to 65535", "what the way over this port costs", |network, text| {
        number_16(text, 1, 65535).map(|cost| network.bridge_port.cost = Some(cost.into()))
    }),
    key("Priority", "a number from 0 to 63", "which port comes first", |network, text| {
        number_16(text, 0, 63).map(|priority| network.bridge_port.priority = Some(priority))
    }),
    key("HairPin", "yes or no", "sends back where it came from", |network, text| {
        boolean(text).map(|yes| network.bridge_port.hairpin = Some(yes))
    }),
    key("Isolated", "yes or no", "speaks only to ports that are not isolated", |network, text| {
        boolean(text).map(|yes| network.bridge_port.isolated = Some(yes))
    }),
    key("Learning", "yes or no", "learns addresses", |network, text| {
        boolean(text).map(|yes| network.bridge_port.learning = Some(yes))
    }),
];
