//! The message that makes a link of a `.netdev` file. Pure.

use ferrite_netconf::Netdev;
use ferrite_netconf::netdev::{Bond, Bridge, NetdevKind};
use ferrite_netconf::value::Mac;
use rtnetlink::packet_route::link::{
    InfoBond, InfoBridge, InfoData, InfoKind, InfoVeth, InfoVlan, InfoVrf, LinkAttribute, LinkInfo, LinkMessage,
    VlanProtocol,
};

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
            if netdev.vlan.is_provider {
                data.push(InfoVlan::Protocol(VlanProtocol::Ieee8021Ad));
            }
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
