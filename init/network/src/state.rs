//! /run/ferrite/network.json: everything about every link, for `networkctl`, `wait-online` and scripts. Making it is
//! pure.
//!
//! Names are those of systemd's `networkctl --json`; addresses are texts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ferrite_netconf::network::{Activation, Families, Network, Operational, Required};
use ferrite_netconf::{Config, Fault};
use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::observed::{Address, DHCP, Link, OURS, Observed, RA};
use crate::plan::{Role, Situation, is_link_local, role};
use crate::plan_addresses;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// The best state of any link.
    pub operational_state: String,
    /// `online`, `partial` or `offline`.
    pub online_state: String,
    /// All links.
    pub interfaces: Vec<Interface>,
    /// What is wrong with files.
    pub faults: Vec<String>,
    /// Changes that concern no link and failed.
    pub failures: Vec<String>,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Interface {
    /// The kernel's number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Other names.
    pub alternative_names: Vec<String>,
    /// `ether` and the like.
    pub r#type: String,
    /// `bond` and the like.
    pub kind: Option<String>,
    /// The kernel's driver.
    pub driver: Option<String>,
    /// Where it hangs.
    pub path: Option<String>,
    /// The hardware address.
    pub hardware_address: Option<String>,
    /// As the hardware was made.
    pub permanent_hardware_address: Option<String>,
    /// The largest packet.
    #[serde(rename = "MTU")]
    pub mtu: u32,
    /// The link that it is a port of.
    pub master: Option<String>,
    /// `configured` and the like: SETUP.
    pub administrative_state: String,
    /// `routable` and the like: OPERATIONAL.
    pub operational_state: String,
    /// Whether it is what `network-online.target` waits for.
    pub online_state: Option<String>,
    /// The file that counts.
    pub network_file: Option<String>,
    /// Its drop-ins.
    pub network_file_dropins: Vec<String>,
    /// The `.link` file.
    pub link_file: Option<String>,
    /// The `.netdev` file that made it.
    pub netdev_file: Option<String>,
    /// `network-online.target` waits for it.
    pub required_for_online: bool,
    /// The state that it waits for at least.
    pub required_operational_state_for_online: Option<String>,
    /// When it is switched on.
    pub activation_policy: Option<String>,
    /// All addresses.
    pub addresses: Vec<AddressReport>,
    /// Next hops of default routes.
    pub gateways: Vec<GatewayReport>,
    /// Name servers.
    #[serde(rename = "DNS")]
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub search_domains: Vec<String>,
    /// Time servers.
    #[serde(rename = "NTP")]
    pub ntp: Vec<String>,
    /// The state of the client.
    #[serde(rename = "DHCPv4State")]
    pub dhcp4_state: Option<String>,
    /// The state of the client.
    #[serde(rename = "DHCPv6State")]
    pub dhcp6_state: Option<String>,
    /// Changes that the kernel refused and that are tried again.
    pub failures: Vec<String>,
    /// Wrong lines of its file.
    pub file_errors: usize,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AddressReport {
    /// The address.
    pub address: IpAddr,
    /// The length of its network.
    pub prefix_length: u8,
    /// `static`, `DHCPv4`, `DHCPv6`, `NDisc`, `IPv4LL`, `IPv6LL` or `foreign`.
    pub config_source: String,
    /// The server that granted it.
    pub config_provider: Option<IpAddr>,
    /// Not usable yet.
    pub tentative: bool,
    /// Another machine has it.
    pub duplicate: bool,
}

/// One gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct GatewayReport {
    /// Its address.
    pub address: IpAddr,
    /// Who named it.
    pub config_source: String,
}

/// What the daemon knows besides the plan's situation.
#[derive(Debug, Default)]
pub struct Extra {
    /// Name servers by link.
    pub dns: BTreeMap<u32, Vec<IpAddr>>,
    /// Time servers by link.
    pub ntp: BTreeMap<u32, Vec<String>>,
    /// Search domains by link.
    pub domains: BTreeMap<u32, Vec<String>>,
    /// States of the clients of DHCPv4 by link.
    pub dhcp4: BTreeMap<u32, &'static str>,
    /// States of the clients of DHCPv6 by link.
    pub dhcp6: BTreeMap<u32, &'static str>,
    /// Changes that failed, with their reason.
    pub failures: Vec<(Option<u32>, String)>,
}

/// Makes the whole report. `pending` is what a new plan would still change.
pub fn build(situation: &Situation<'_>, pending: &[Change], extra: &Extra) -> State {
    let observed = situation.observed;
    let interfaces: Vec<Interface> =
        observed.links.iter().map(|link| interface(situation, link, pending, extra)).collect();
    let best = observed.links.iter().filter(|link| !link.is_loopback).map(|link| operational(observed, link)).max();
    let of_none = |(index, text): &(Option<u32>, String)| index.is_none().then(|| text.clone());
    State {
        operational_state: best.unwrap_or(Operational::Off).word().to_owned(),
        online_state: online(&interfaces).to_owned(),
        interfaces,
        faults: situation.config.faults.iter().map(Fault::to_string).collect(),
        failures: extra.failures.iter().filter_map(of_none).collect(),
    }
}

fn online(interfaces: &[Interface]) -> &'static str {
    let states = || interfaces.iter().filter_map(|interface| interface.online_state.as_deref());
    let online = states().filter(|state| *state == "online").count();
    match (online, states().count()) {
        (0, _) => "offline",
        (online, all) if online == all => "online",
        _ => "partial",
    }
}

/// What a link can do.
pub fn operational(observed: &Observed, link: &Link) -> Operational {
    if !link.up {
        return Operational::Off;
    }
    if !link.carrier {
        return Operational::NoCarrier;
    }
    let controller = link.controller.and_then(|index| observed.by_index(index));
    if controller.is_some_and(|controller| controller.facts.kind.as_deref() != Some("vrf")) {
        return Operational::Enslaved;
    }
    let usable = || observed.addresses_of(link.index).filter(|address| !address.tentative && !address.duplicate);
    let is_wide = |address: &Address| address.scope < 253 && !is_link_local(address.address.address);
    if usable().any(is_wide) {
        Operational::Routable
    } else if link.is_loopback || usable().next().is_none() {
        Operational::Carrier
    } else {
        Operational::Degraded
    }
}

fn setup(situation: &Situation<'_>, link: &Link, network: &Network, pending: &[Change], extra: &Extra) -> &'static str {
    let index = Some(link.index);
    let wanted = plan_addresses::wanted(situation, link, network);
    if extra.failures.iter().any(|(failed, _)| *failed == index) || !duplicates(situation, link, &wanted).is_empty() {
        return "failed";
    }
    let is_there = |wanted: &Address| {
        let mut addresses = situation.observed.addresses_of(link.index);
        addresses.any(|there| there.address == wanted.address && !there.tentative)
    };
    let is_port = network.controller().is_some();
    let joined = network.controller().or(network.vrf.as_deref()).is_none_or(|name| {
        link.controller.and_then(|index| situation.observed.by_index(index)).is_some_and(|there| there.name() == name)
    });
    let ready = link.carrier || network.configure_without_carrier || is_port;
    let settled = ready && joined && !pending.iter().any(|change| change.index() == index);
    if !settled || !wanted.iter().all(is_there) || !(is_port || has_dynamic(situation, link, network)) {
        return "configuring";
    }
    "configured"
}

/// Addresses that the link shall have and another machine has, as failures.
fn duplicates(situation: &Situation<'_>, link: &Link, wanted: &[Address]) -> Vec<String> {
    let there = situation.observed.addresses_of(link.index).filter(|there| there.duplicate);
    let is_wanted = |there: &&Address| wanted.iter().any(|wanted| wanted.address == there.address);
    there.filter(is_wanted).map(|there| format!("{} is another machine's, too", there.address.address)).collect()
}

/// Where servers are asked and no file gives an address, one of them must have answered.
fn has_dynamic(situation: &Situation<'_>, link: &Link, network: &Network) -> bool {
    let leased = situation.dynamic.get(&link.index);
    let has_claimed = leased.is_some_and(|dynamic| dynamic.link_local4.is_some());
    let has_dhcp = network.dhcp.ipv4 || network.dhcp.ipv6;
    if !network.addresses.is_empty() || has_claimed {
        return true;
    }
    if !has_dhcp {
        return !wants_claim(network);
    }
    let advertised = situation.observed.addresses_of(link.index).any(|address| {
        address.protocol != OURS && address.valid.is_some() && address.address.address.is_ipv6() && !address.tentative
    });
    let unanswered = leased.is_some_and(|dynamic| dynamic.unanswered);
    match leased {
        Some(dynamic) if dynamic.lease.is_some() => true,
        // Programs that need IPv4 wait for it, unless there is none.
        _ if network.dhcp.ipv4 && !unanswered => false,
        Some(dynamic) if !dynamic.addresses6.is_empty() => true,
        _ => advertised,
    }
}

/// `LinkLocalAddressing=ipv4`.
fn wants_claim(network: &Network) -> bool {
    network.link_local.is_some_and(|families| families.ipv4)
}

fn activation(policy: Activation) -> &'static str {
    match policy {
        Activation::Up => "up",
        Activation::AlwaysUp => "always-up",
        Activation::Manual => "manual",
        Activation::Down => "down",
        Activation::AlwaysDown => "always-down",
    }
}

fn interface(situation: &Situation<'_>, link: &Link, pending: &[Change], extra: &Extra) -> Interface {
    let (config, observed): (&Config, &Observed) = (situation.config, situation.observed);
    let role = role(config, observed, link);
    let (network, setup) = match role {
        Role::Unmanaged | Role::Loopback => (None, "unmanaged"),
        Role::Broken(network) => (Some(network), "failed"),
        Role::Managed(network) => (Some(network), setup(situation, link, network, pending, extra)),
    };
    let state = operational(observed, link);
    let required = network.map_or(Required::No, |network| network.link.required);
    // A link that is not to have addresses has all that it needs with its carrier.
    let is_bare = network.is_some_and(|network| {
        network.addresses.is_empty() && network.dhcp == Families::default() && !wants_claim(network)
    });
    let least = match required {
        Required::No => None,
        Required::Yes if is_bare => Some(Operational::Carrier),
        Required::Yes => Some(Operational::Degraded),
        Required::AtLeast(state) => Some(state),
    };
    // What matters of a port is the link that it belongs to.
    let is_port = network.is_some_and(|network| network.controller().is_some());
    let online = least
        .filter(|_| !is_port)
        .map(|least| if setup == "configured" && state >= least { "online" } else { "offline" });
    let mine = |(index, text): &(Option<u32>, String)| (*index == Some(link.index)).then(|| text.clone());
    let controller = link.controller.and_then(|index| observed.by_index(index));
    let taken = network.map_or_else(Vec::new, |network| {
        duplicates(situation, link, &plan_addresses::wanted(situation, link, network))
    });
    Interface {
        index: link.index,
        name: link.name().to_owned(),
        alternative_names: link.facts.alternative_names.clone(),
        r#type: link.facts.link_type.clone(),
        kind: link.facts.kind.clone(),
        driver: link.facts.driver.clone(),
        path: link.facts.path.clone(),
        hardware_address: link.facts.mac.map(|mac| mac.to_string()),
        permanent_hardware_address: link.facts.permanent_mac.map(|mac| mac.to_string()),
        mtu: link.mtu,
        master: controller.map(|controller| controller.name().to_owned()),
        administrative_state: setup.to_owned(),
        operational_state: state.word().to_owned(),
        online_state: online.map(str::to_owned),
        network_file: network.map(|network| network.path.clone()),
        network_file_dropins: network.map(|network| network.drop_ins.clone()).unwrap_or_default(),
        link_file: config.link_for(&link.facts).map(|file| file.path.clone()),
        netdev_file: config.netdev(link.name()).map(|file| file.path.clone()),
        required_for_online: required != Required::No,
        required_operational_state_for_online: match required {
            Required::AtLeast(state) => Some(state.word().to_owned()),
            Required::No | Required::Yes => None,
        },
        activation_policy: network.map(|network| activation(network.link.activation).to_owned()),
        addresses: observed.addresses_of(link.index).map(|address| address_report(situation, address)).collect(),
        gateways: gateways(observed, link.index),
        dns: extra.dns.get(&link.index).cloned().unwrap_or_default(),
        search_domains: extra.domains.get(&link.index).cloned().unwrap_or_default(),
        ntp: extra.ntp.get(&link.index).cloned().unwrap_or_default(),
        dhcp4_state: extra.dhcp4.get(&link.index).map(ToString::to_string),
        dhcp6_state: extra.dhcp6.get(&link.index).map(ToString::to_string),
        failures: extra.failures.iter().filter_map(mine).chain(taken).collect(),
        file_errors: network.map_or(0, |network| network.errors),
    }
}

fn address_report(situation: &Situation<'_>, address: &Address) -> AddressReport {
    let dynamic = situation.dynamic.get(&address.index);
    let own = address.address.address;
    let lease =
        dynamic.and_then(|dynamic| dynamic.lease.as_ref()).filter(|lease| IpAddr::V4(lease.lease.address) == own);
    let of_dhcp6 =
        dynamic.is_some_and(|dynamic| dynamic.addresses6.iter().any(|leased| IpAddr::V6(leased.address) == own));
    let claimed = dynamic.and_then(|dynamic| dynamic.link_local4).is_some_and(|claimed| IpAddr::V4(claimed) == own);
    let source = match () {
        () if lease.is_some() => "DHCPv4",
        () if of_dhcp6 => "DHCPv6",
        () if claimed => "IPv4LL",
        () if address.protocol == OURS => "static",
        () if own.is_ipv6() && is_link_local(own) => "IPv6LL",
        () if own.is_ipv6() && address.valid.is_some() => "NDisc",
        () => "foreign",
    };
    AddressReport {
        address: own,
        prefix_length: address.address.prefix,
        config_source: source.to_owned(),
        config_provider: lease.map(|lease| IpAddr::V4(lease.lease.server)),
        tentative: address.tentative,
        duplicate: address.duplicate,
    }
}

fn gateways(observed: &Observed, index: u32) -> Vec<GatewayReport> {
    let mut routes: Vec<_> =
        observed.routes.iter().filter(|route| route.index == Some(index) && route.is_default()).collect();
    routes.sort_by_key(|route| route.metric);
    let mut gateways: Vec<GatewayReport> = Vec::new();
    for route in routes {
        let Some(address) = route.gateway else { continue };
        let source = match route.protocol {
            DHCP => "DHCPv4",
            RA => "NDisc",
            crate::observed::STATIC => "static",
            _ => "foreign",
        };
        if !gateways.iter().any(|known| known.address == address) {
            gateways.push(GatewayReport { address, config_source: source.to_owned() });
        }
    }
    gateways
}
