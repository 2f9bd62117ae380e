//! The keys of `.netdev` files. Pure.

use ferrite_unit::value::{ValueError, wrong};

use crate::key::{Key, Repeated, idle, key};
use crate::netdev::{Endpoint, KeySource, Netdev, NetdevKind, WireGuardPeer};
use crate::value::{
    Parsed, boolean, choice, extend, link_name, mac, milliseconds, mtu, number_8, number_16, number_32, optional,
    prefixed, secret, span, table,
};

const KINDS: [(&str, NetdevKind); 7] = [
    ("bond", NetdevKind::Bond),
    ("bridge", NetdevKind::Bridge),
    ("dummy", NetdevKind::Dummy),
    ("veth", NetdevKind::Veth),
    ("vlan", NetdevKind::Vlan),
    ("vrf", NetdevKind::Vrf),
    ("wireguard", NetdevKind::Wireguard),
];

/// What is missing for the link to be made.
pub(crate) fn whole(netdev: &Netdev) -> Parsed<()> {
    let missing = |what: &str| Err(ValueError(what.to_owned()));
    let Some(kind) = netdev.kind else { return missing("[NetDev] has no Kind= (a word such as bond or vlan)") };
    if netdev.name.is_none() {
        return missing("[NetDev] has no Name= (the name of the link)");
    }
    match kind {
        NetdevKind::Vlan if netdev.vlan.id.is_none() => missing("[VLAN] has no Id= (a number from 0 to 4094)"),
        NetdevKind::Vrf if netdev.vrf_table.is_none() => missing("[VRF] has no Table= (a number)"),
        NetdevKind::Veth if netdev.peer_name.is_none() => missing("[Peer] has no Name= (the name of the other end)"),
        NetdevKind::Bond
        | NetdevKind::Bridge
        | NetdevKind::Dummy
        | NetdevKind::Veth
        | NetdevKind::Vlan
        | NetdevKind::Vrf
        | NetdevKind::Wireguard => Ok(()),
    }
}

pub(crate) static NETDEV: &[Key<Netdev>] = &[
    key("Name", "a name of at most 15 characters", "the name of the link", |netdev, text| {
        netdev.name = Some(link_name(text)?);
        Ok(())
    }),
    key("Kind", "bond, bridge, dummy, veth, vlan, vrf, wireguard", "what is made", |netdev, text| {
        netdev.kind = Some(choice(text, &KINDS)?);
        Ok(())
    }),
    key("MTUBytes", "bytes, K or M behind", "the largest packet", |netdev, text| {
        netdev.mtu = optional(text, mtu)?;
        Ok(())
    }),
    key("MACAddress", "a hardware address, or none", "`none`: the kernel chooses", |netdev, text| {
        netdev.kernel_mac = text == "none";
        netdev.mac = if netdev.kernel_mac { None } else { optional(text, mac)? };
        Ok(())
    }),
    key("Description", "text", "for people", |_, _| Ok(())),
];

fn set<T>(place: &mut Option<T>, value: Parsed<T>) -> Parsed<()> {
    *place = Some(value?);
    Ok(())
}

pub(crate) static BOND: &[Key<Netdev>] = &[
    key("Mode", "balance-rr, active-backup, 802.3ad ...", "how ports are used", |netdev, text| {
        let modes = [
            ("balance-rr", 0),
            ("active-backup", 1),
            ("balance-xor", 2),
            ("broadcast", 3),
            ("802.3ad", 4),
            ("balance-tlb", 5),
            ("balance-alb", 6),
        ];
        set(&mut netdev.bond.mode, choice(text, &modes))
    }),
    key("TransmitHashPolicy", "layer2, layer3+4 ...", "what a packet's port depends on", |netdev, text| {
        let policies =
            [("layer2", 0), ("layer3+4", 1), ("layer2+3", 2), ("encap2+3", 3), ("encap3+4", 4), ("vlan+srcmac", 5)];
        set(&mut netdev.bond.hash_policy, choice(text, &policies))
    }),
    key("MIIMonitorSec", "a time span", "how often the cables are looked at", |netdev, text| {
        set(&mut netdev.bond.mii_monitor_ms, milliseconds(text))
    }),
    key("UpDelaySec", "a time span", "how long a port must be up", |netdev, text| {
        set(&mut netdev.bond.up_delay_ms, milliseconds(text))
    }),
    key("DownDelaySec", "a time span", "how long a port must be down", |netdev, text| {
        set(&mut netdev.bond.down_delay_ms, milliseconds(text))
    }),
    key("LACPTransmitRate", "slow or fast", "how often the partner speaks", |netdev, text| {
        set(&mut netdev.bond.lacp_rate, choice(text, &[("slow", 0), ("fast", 1)]))
    }),
    key("AdSelect", "stable, bandwidth, count", "how aggregators are chosen", |netdev, text| {
        set(&mut netdev.bond.ad_select, choice(text, &[("stable", 0), ("bandwidth", 1), ("count", 2)]))
    }),
    key("FailOverMACPolicy", "none, active, follow", "hardware addresses of the ports", |netdev, text| {
        set(&mut netdev.bond.fail_over_mac, choice(text, &[("none", 0), ("active", 1), ("follow", 2)]))
    }),
    key("ARPIntervalSec", "a time span", "how often targets are asked", |netdev, text| {
        set(&mut netdev.bond.arp_interval_ms, milliseconds(text))
    }),
    key("ARPIPTargets", "addresses of IPv4", "whom to ask", |netdev, text| {
        extend(&mut netdev.bond.arp_targets, text, |word| word.parse().map_err(|_| wrong(word, "an address of IPv4")))
    }),
    key("ARPValidate", "none, active, backup, all", "which answers count", |netdev, text| {
        let kinds = [("none", 0), ("active", 1), ("backup", 2), ("all", 3)];
        set(&mut netdev.bond.arp_validate, choice(text, &kinds))
    }),
    key("ARPAllTargets", "any or all", "how many must answer", |netdev, text| {
        set(&mut netdev.bond.arp_all_targets, choice(text, &[("any", 0), ("all", 1)]))
    }),
    key("PrimaryReselectPolicy", "always, better, failure", "when the primary port is used again", |netdev, text| {
        set(&mut netdev.bond.primary_reselect, choice(text, &[("always", 0), ("better", 1), ("failure", 2)]))
    }),
    key("MinLinks", "a number", "ports that must be up", |netdev, text| {
        set(&mut netdev.bond.min_links, number_32(text))
    }),
    key("AllSlavesActive", "yes or no", "ports that are not active receive, too", |netdev, text| {
        set(&mut netdev.bond.all_ports_active, boolean(text))
    }),
    key("ResendIGMP", "a number up to 255", "how often groups are joined again", |netdev, text| {
        set(&mut netdev.bond.resend_igmp, number_8(text, 255).map(u32::from))
    }),
    key("GratuitousARP", "a number up to 255", "how often others are told of a new active port", |netdev, text| {
        set(&mut netdev.bond.gratuitous_arp, number_8(text, 255))
    }),
    key("PacketsPerSlave", "a number up to 65535", "packets before the next port", |netdev, text| {
        set(&mut netdev.bond.packets_per_port, number_16(text, 0, 65535).map(u32::from))
    }),
    key("LearnPacketIntervalSec", "a time span", "how often learning packets are sent", |netdev, text| {
        set(&mut netdev.bond.learn_interval_s, milliseconds(text).map(|span| span / 1000))
    }),
    key("DynamicTransmitLoadBalancing", "yes or no", "moves flows by load", |netdev, text| {
        set(&mut netdev.bond.dynamic_tlb, boolean(text))
    }),
];

pub(crate) static BRIDGE: &[Key<Netdev>] = &[
    key("STP", "yes or no", "keeps loops out", |netdev, text| set(&mut netdev.bridge.stp, boolean(text))),
    key("Priority", "a number up to 65535", "which bridge is the root", |netdev, text| {
        set(&mut netdev.bridge.priority, number_16(text, 0, 65535))
    }),
    key("ForwardDelaySec", "a time span", "how long a port waits", |netdev, text| {
        set(&mut netdev.bridge.forward_delay_ms, milliseconds(text))
    }),
    key("HelloTimeSec", "a time span", "how often it says hello", |netdev, text| {
        set(&mut netdev.bridge.hello_time_ms, milliseconds(text))
    }),
    key("MaxAgeSec", "a time span", "how old what it heard may be", |netdev, text| {
        set(&mut netdev.bridge.max_age_ms, milliseconds(text))
    }),
    key("AgeingTimeSec", "a time span", "how long an address is known", |netdev, text| {
        set(&mut netdev.bridge.ageing_ms, milliseconds(text))
    }),
    key("VLANFiltering", "yes or no", "keeps VLANs apart", |netdev, text| {
        set(&mut netdev.bridge.vlan_filtering, boolean(text))
    }),
    key("DefaultPVID", "a number up to 4094, or none", "the VLAN of packets without one", |netdev, text| {
        let none = text == "none";
        set(&mut netdev.bridge.default_pvid, if none { Ok(0) } else { number_16(text, 0, 4094) })
    }),
    key("MulticastSnooping", "yes or no", "listens to who wants which group", |netdev, text| {
        set(&mut netdev.bridge.multicast_snooping, boolean(text))
    }),
    key("MulticastQuerier", "yes or no", "asks who wants which group", |netdev, text| {
        set(&mut netdev.bridge.multicast_querier, boolean(text))
    }),
];

pub(crate) static VLAN: &[Key<Netdev>] = &[
    key("Id", "a number from 0 to 4094", "its number", |netdev, text| {
        set(&mut netdev.vlan.id, number_16(text, 0, 4094))
    }),
    key("Protocol", "802.1q or 802.1ad", "the kind of tag", |netdev, text| {
        let kinds = [("802.1q", false), ("802.1Q", false), ("802.1ad", true)];
        netdev.vlan.is_provider = choice(text, &kinds)?;
        Ok(())
    }),
    idle("GVRP", "the link is made without it"),
    idle("MVRP", "the link is made without it"),
    idle("LooseBinding", "the link is made without it"),
    idle("ReorderHeader", "headers are reordered, as the kernel does"),
];

pub(crate) static VRF: &[Key<Netdev>] = &[
    key("Table", "a table", "its routing table", |netdev, text| set(&mut netdev.vrf_table, table(text))),
    key("TableId", "a table", "the old name", |netdev, text| set(&mut netdev.vrf_table, table(text))),
];

pub(crate) static PEER: &[Key<Netdev>] = &[
    key("Name", "a name of at most 15 characters", "the other end of a veth", |netdev, text| {
        set(&mut netdev.peer_name, link_name(text))
    }),
    key("MACAddress", "a hardware address", "of the other end", |netdev, text| set(&mut netdev.peer_mac, mac(text))),
];

fn key_file(text: &str) -> Parsed<KeySource> {
    if text.starts_with('/') { Ok(KeySource::File(text.to_owned())) } else { Err(wrong(text, "an absolute path")) }
}

fn number_or_off(text: &str) -> Parsed<u16> {
    if text == "off" { Ok(0) } else { number_16(text, 0, 65535) }
}

pub(crate) static WIREGUARD: &[Key<Netdev>] = &[
    key("PrivateKey", "44 characters of base64", "our key", |netdev, text| {
        set(&mut netdev.wireguard.private_key, secret(text).map(KeySource::Inline))
    }),
    key("PrivateKeyFile", "a path", "a file with our key", |netdev, text| {
        set(&mut netdev.wireguard.private_key, key_file(text))
    }),
    key("ListenPort", "a port, or auto", "the port that is listened on", |netdev, text| {
        netdev.wireguard.port = if matches!(text, "auto" | "") { None } else { Some(number_16(text, 1, 65535)?) };
        Ok(())
    }),
    key("FirewallMark", "a number", "the mark of its packets", |netdev, text| {
        set(&mut netdev.wireguard.mark, number_32(text))
    }),
    idle("RouteTable", "it is said with each peer"),
];

pub(crate) const WIREGUARD_PEERS: Repeated<Netdev> = Repeated {
    begin: |netdev| netdev.wireguard_peers.push(WireGuardPeer::default()),
    check: |netdev| match netdev.wireguard_peers.last() {
        Some(WireGuardPeer { public_key: None, .. }) => {
            Err(ValueError("[WireGuardPeer] has no PublicKey= (44 characters of base64)".to_owned()))
        }
        _ => Ok(()),
    },
    drop: |netdev| {
        netdev.wireguard_peers.pop();
    },
};

fn last(netdev: &mut Netdev) -> Parsed<&mut WireGuardPeer> {
    netdev.wireguard_peers.last_mut().ok_or_else(|| ValueError("a key of a section that was not begun".into()))
}

fn endpoint(text: &str) -> Parsed<Endpoint> {
    let socket: std::net::SocketAddr = text
        .parse()
        .map_err(|_| wrong(text, "an address and a port such as 192.0.2.1:51820 or [2001:db8::1]:51820"))?;
    Ok(Endpoint { address: socket.ip(), port: socket.port() })
}

pub(crate) static WIREGUARD_PEER: &[Key<Netdev>] = &[
    key("PublicKey", "44 characters of base64", "who it is", |netdev, text| {
        set(&mut last(netdev)?.public_key, secret(text))
    }),
    key("PresharedKey", "44 characters of base64", "a key that both have", |netdev, text| {
        set(&mut last(netdev)?.preshared_key, secret(text).map(KeySource::Inline))
    }),
    key("PresharedKeyFile", "a path", "a file with such a key", |netdev, text| {
        set(&mut last(netdev)?.preshared_key, key_file(text))
    }),
    key("AllowedIPs", "networks, blanks or commas between", "whose packets it carries", |netdev, text| {
        extend(&mut last(netdev)?.allowed, &text.replace(',', " "), |word| prefixed(word).map(|net| net.network()))
    }),
    key("Endpoint", "an address and a port", "where it is; names are not looked up", |netdev, text| {
        set(&mut last(netdev)?.endpoint, endpoint(text))
    }),
    key("PersistentKeepalive", "seconds, or off", "signs of life", |netdev, text| {
        let seconds = number_or_off(text).or_else(|_| {
            let span = span(text)?.finite().and_then(|span| u16::try_from(span.as_secs()).ok());
            span.ok_or_else(|| wrong(text, "a number of seconds up to 65535, or off"))
        });
        set(&mut last(netdev)?.keepalive_s, seconds)
    }),
    key("RouteTable", "a table, or off", "makes routes to what is allowed there", |netdev, text| {
        last(netdev)?.route_table = if matches!(text, "off" | "") { None } else { Some(table(text)?) };
        Ok(())
    }),
    key("RouteMetric", "a number", "the metric of those routes", |netdev, text| {
        set(&mut last(netdev)?.route_metric, number_32(text))
    }),
];
