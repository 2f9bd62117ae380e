//! The messages that make a link of a `.netdev` file, and change one that is there. Pure.

use ferrite_netconf::Netdev;
use ferrite_netconf::netdev::{Bond, Bridge, NetdevKind};
use ferrite_netconf::value::Mac;
use rtnetlink::packet_route::link::{
    InfoBond, InfoBridge, InfoData, InfoKind, InfoVeth, InfoVlan, InfoVrf, LinkAttribute, LinkInfo, LinkMessage,
    VlanProtocol,
};

use crate::change::Reshaping;
use crate::observed::Link;

/// The kernel counts the times of a bridge in hundredths of a second.
const BRIDGE_TICK_MS: u32 = 10;

pub(crate) fn message(netdev: &Netdev, lower: Option<u32>, mac: Option<Mac>) -> LinkMessage {
    let mut message = LinkMessage::default();
    let attributes = &mut message.attributes;
    attributes.extend(netdev.name.clone().map(LinkAttribute::IfName));
    attributes.extend(netdev.mtu.map(LinkAttribute::Mtu));
    attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    attributes.extend(lower.map(LinkAttribute::Link));
    if let Some(kind) = netdev.kind {
        let (kind, data) = info(netdev, kind);
        let mut infos = vec![LinkInfo::Kind(kind)];
        infos.extend(data.map(LinkInfo::Data));
        attributes.push(LinkAttribute::LinkInfo(infos));
    }
    message
}

/// What must be done about a link that is there so that it is what its file says; `None`: nothing.
///
/// Options that the file does not name are not compared: they stay as they are.
pub(crate) fn reshaping(netdev: &Netdev, link: &Link, lower: Option<u32>, mac: Option<Mac>) -> Option<Reshaping> {
    let (_, wanted) = info(netdev, netdev.kind?);
    let options = match (wanted, &link.shape) {
        (Some(InfoData::Bond(wanted)), Some(InfoData::Bond(there))) => differing(wanted, there).map(InfoData::Bond),
        (Some(InfoData::Bridge(wanted)), Some(InfoData::Bridge(there))) => {
            differing(wanted, there).map(InfoData::Bridge)
        }
        (Some(InfoData::Vlan(wanted)), Some(InfoData::Vlan(there))) => {
            let is_elsewhere = lower.is_some() && link.lower != lower;
            if is_elsewhere || differing(wanted, there).is_some() {
                return Some(Reshaping::Anew);
            }
            None
        }
        (Some(InfoData::Vrf(wanted)), Some(InfoData::Vrf(there))) if differing(wanted.clone(), there).is_some() => {
            return Some(Reshaping::Anew);
        }
        _ => None,
    };
    let mac = mac.filter(|mac| Some(*mac) != link.facts.mac);
    (options.is_some() || mac.is_some()).then_some(Reshaping::Change { options, mac })
}

fn differing<T: PartialEq>(wanted: Vec<T>, there: &[T]) -> Option<Vec<T>> {
    let differing: Vec<T> = wanted.into_iter().filter(|wanted| !there.contains(wanted)).collect();
    (!differing.is_empty()).then_some(differing)
}

/// The message that changes a link that is there.
pub(crate) fn change(index: u32, netdev: &Netdev, options: Option<&InfoData>, mac: Option<Mac>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    if let (Some(kind), Some(options)) = (netdev.kind, options) {
        let infos = vec![LinkInfo::Kind(info(netdev, kind).0), LinkInfo::Data(options.clone())];
        message.attributes.push(LinkAttribute::LinkInfo(infos));
    }
    message
}

fn info(netdev: &Netdev, kind: NetdevKind) -> (InfoKind, Option<InfoData>) {
    match kind {
        NetdevKind::Bond => (InfoKind::Bond, Some(InfoData::Bond(bond(&netdev.bond)))),
        NetdevKind::Bridge => (InfoKind::Bridge, Some(InfoData::Bridge(bridge(&netdev.bridge)))),
        NetdevKind::Dummy => (InfoKind::Dummy, None),
        NetdevKind::Wireguard => (InfoKind::Wireguard, None),
        NetdevKind::Veth => {
            let mut peer = LinkMessage::default();
            peer.attributes.extend(netdev.peer_name.clone().map(LinkAttribute::IfName));
            peer.attributes.extend(netdev.peer_mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
            (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))))
        }
        NetdevKind::Vlan => {
            let mut data = Vec::new();
            data.extend(netdev.vlan.id.map(InfoVlan::Id));
            let provider = netdev.vlan.is_provider;
            data.push(InfoVlan::Protocol(if provider { VlanProtocol::Ieee8021Ad } else { VlanProtocol::Ieee8021Q }));
            (InfoKind::Vlan, Some(InfoData::Vlan(data)))
        }
        NetdevKind::Vrf => {
            let data = netdev.vrf_table.map(InfoVrf::TableId).into_iter().collect();
            (InfoKind::Vrf, Some(InfoData::Vrf(data)))
        }
    }
}

fn bond(bond: &Bond) -> Vec<InfoBond> {
    let mut data = Vec::new();
    data.extend(bond.mode.map(|mode| InfoBond::Mode(mode.into())));
    data.extend(bond.hash_policy.map(|policy| InfoBond::XmitHashPolicy(policy.into())));
    data.extend(bond.mii_monitor_ms.map(InfoBond::MiiMon));
    data.extend(bond.up_delay_ms.map(InfoBond::UpDelay));
    data.extend(bond.down_delay_ms.map(InfoBond::DownDelay));
    data.extend(bond.lacp_rate.map(|rate| InfoBond::AdLacpRate(rate.into())));
    data.extend(bond.ad_select.map(|select| InfoBond::AdSelect(select.into())));
    data.extend(bond.fail_over_mac.map(|policy| InfoBond::FailOverMac(policy.into())));
    data.extend(bond.arp_interval_ms.map(InfoBond::ArpInterval));
    if !bond.arp_targets.is_empty() {
        data.push(InfoBond::ArpIpTarget(bond.arp_targets.clone()));
    }
    data.extend(bond.arp_validate.map(|validate| InfoBond::ArpValidate(u32::from(validate).into())));
    data.extend(bond.arp_all_targets.map(|all| InfoBond::ArpAllTargets(u32::from(all).into())));
    data.extend(bond.primary_reselect.map(|policy| InfoBond::PrimaryReselect(policy.into())));
    data.extend(bond.min_links.map(InfoBond::MinLinks));
    data.extend(bond.all_ports_active.map(|all| InfoBond::AllPortsActive(u8::from(all).into())));
    data.extend(bond.resend_igmp.map(InfoBond::ResendIgmp));
    data.extend(bond.gratuitous_arp.map(InfoBond::NumPeerNotif));
    data.extend(bond.packets_per_port.map(InfoBond::PacketsPerPort));
    data.extend(bond.learn_interval_s.map(InfoBond::LpInterval));
    data.extend(bond.dynamic_tlb.map(InfoBond::TlbDynamicLb));
    data
}

fn bridge(bridge: &Bridge) -> Vec<InfoBridge> {
    let mut data = Vec::new();
    data.extend(bridge.stp.map(|stp| InfoBridge::StpState(u32::from(stp).into())));
    data.extend(bridge.priority.map(InfoBridge::Priority));
    data.extend(bridge.forward_delay_ms.map(|ms| InfoBridge::ForwardDelay(ms / BRIDGE_TICK_MS)));
    data.extend(bridge.hello_time_ms.map(|ms| InfoBridge::HelloTime(ms / BRIDGE_TICK_MS)));
    data.extend(bridge.max_age_ms.map(|ms| InfoBridge::MaxAge(ms / BRIDGE_TICK_MS)));
    data.extend(bridge.ageing_ms.map(|ms| InfoBridge::AgeingTime(ms / BRIDGE_TICK_MS)));
    data.extend(bridge.vlan_filtering.map(InfoBridge::VlanFiltering));
    data.extend(bridge.default_pvid.map(InfoBridge::VlanDefaultPvid));
    data.extend(bridge.multicast_snooping.map(InfoBridge::MulticastSnooping));
    data.extend(bridge.multicast_querier.map(InfoBridge::MulticastQuerier));
    data
}
