//! A `.network` file, typed. Pure.

use std::net::IpAddr;

use crate::matching::{Match, Matches};
use crate::route::{AddressEntry, Gateway, RouteEntry, RuleEntry};
use crate::value::Mac;

/// The state that an online link has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operational {
    /// Down.
    Off,
    /// Up without a cable.
    NoCarrier,
    /// With a cable.
    Carrier,
    /// With addresses of the link only, or with trouble.
    Degraded,
    /// Part of a bond or bridge.
    Enslaved,
    /// With an address that others reach.
    Routable,
}

impl Operational {
    /// The word of the commands.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NoCarrier => "no-carrier",
            Self::Carrier => "carrier",
            Self::Degraded => "degraded",
            Self::Enslaved => "enslaved",
            Self::Routable => "routable",
        }
    }
}

/// `RequiredForOnline=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Required {
    /// `network-online.target` does not wait for it.
    No,
    /// It waits until the link is configured.
    #[default]
    Yes,
    /// It waits until the link is configured and in this state.
    AtLeast(Operational),
}

/// `ActivationPolicy=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Switched on once when it is configured; an administrator may switch it off.
    #[default]
    Up,
    /// Switched on whenever it is off.
    AlwaysUp,
    /// Left as it is.
    Manual,
    /// Switched off once.
    Down,
    /// Switched off whenever it is on.
    AlwaysDown,
}

/// `[Link]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkOptions {
    /// The hardware address to set.
    pub mac: Option<Mac>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// ARP on or off.
    pub arp: Option<bool>,
    /// Multicast on or off.
    pub multicast: Option<bool>,
    /// Receives everything.
    pub promiscuous: Option<bool>,
    /// Left alone.
    pub unmanaged: bool,
    /// What online means.
    pub required: Required,
    /// When it is switched on.
    pub activation: Activation,
}

/// `[DHCPv4]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp4 {
    /// The metric of its routes.
    pub metric: Option<u32>,
    /// The table of its routes.
    pub table: Option<u32>,
    /// Takes name servers.
    pub use_dns: bool,
    /// Takes time servers.
    pub use_ntp: bool,
    /// Takes search domains.
    pub use_domains: bool,
    /// Takes routes.
    pub use_routes: bool,
    /// Takes the default route.
    pub use_gateway: bool,
    /// Takes the host name.
    pub use_hostname: bool,
    /// Takes the largest packet.
    pub use_mtu: bool,
    /// Tells the server our name.
    pub send_hostname: bool,
    /// The name it is told.
    pub hostname: Option<String>,
    /// `duid` instead of `mac`.
    pub client_identifier: ClientIdentifier,
}

/// `ClientIdentifier=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientIdentifier {
    /// The hardware address.
    #[default]
    Mac,
    /// A number of the machine and one of the link.
    Duid,
}

impl Default for Dhcp4 {
    fn default() -> Self {
        Self {
            metric: None,
            table: None,
            use_dns: true,
            use_ntp: true,
            use_domains: true,
            use_routes: true,
            use_gateway: true,
            use_hostname: true,
            use_mtu: true,
            send_hostname: true,
            hostname: None,
            client_identifier: ClientIdentifier::Mac,
        }
    }
}

/// When DHCPv6 is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dhcp6Client {
    /// Never because of an advertisement.
    No,
    /// When an advertisement says so.
    #[default]
    Yes,
    /// Whatever it says.
    Always,
}

/// `[DHCPv6]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dhcp6 {
    /// Takes addresses.
    pub use_address: bool,
    /// Takes name servers.
    pub use_dns: bool,
    /// Takes time servers.
    pub use_ntp: bool,
    /// Takes search domains.
    pub use_domains: bool,
    /// Tells the server our name.
    pub send_hostname: bool,
    /// Asks without an advertisement.
    pub without_ra: bool,
}

impl Default for Dhcp6 {
    fn default() -> Self {
        Self {
            use_address: true,
            use_dns: true,
            use_ntp: true,
            use_domains: true,
            send_hostname: true,
            without_ra: false,
        }
    }
}

/// `[IPv6AcceptRA]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisements {
    /// Takes name servers.
    pub use_dns: bool,
    /// Takes search domains.
    pub use_domains: bool,
    /// Takes the largest packet.
    pub use_mtu: bool,
    /// Takes the default route.
    pub use_gateway: bool,
    /// Makes addresses in advertised networks.
    pub use_autonomous_prefix: bool,
    /// The metric of the default route.
    pub metric: Option<u32>,
    /// Whether it starts DHCPv6.
    pub dhcp6: Dhcp6Client,
}

impl Default for Advertisements {
    fn default() -> Self {
        Self {
            use_dns: true,
            use_domains: true,
            use_mtu: true,
            use_gateway: true,
            use_autonomous_prefix: true,
            metric: None,
            dhcp6: Dhcp6Client::Yes,
        }
    }
}

/// `IPv6PrivacyExtensions=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privacy {
    /// None.
    No,
    /// Made, and the public address preferred.
    PreferPublic,
    /// Made and preferred.
    Yes,
}

/// `[Bridge]`: the link as a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BridgePort {
    /// What the way costs.
    pub cost: Option<u32>,
    /// Which port comes first.
    pub priority: Option<u16>,
    /// Sends back where it came from.
    pub hairpin: Option<bool>,
    /// Speaks to ports that are not isolated only.
    pub isolated: Option<bool>,
    /// Learns addresses.
    pub learning: Option<bool>,
}

/// Addresses of a family or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its name.
    pub file: String,
    /// Where it is.
    pub path: String,
    /// The drop-ins that were read with it.
    pub drop_ins: Vec<String>,
    /// It cannot be used: a link that it matches is not configured, and says so.
    pub broken: bool,
    /// How many of its lines are wrong.
    pub errors: usize,
    /// Which links it is for.
    pub matching: Match,
    /// `[Link]`.
    pub link: LinkOptions,
    /// Whom to ask by DHCP.
    pub dhcp: Families,
    /// Which link-local addresses are made; IPv6 unless told otherwise.
    pub link_local: Option<Families>,
    /// Whether router advertisements are taken; `None`: where the machine does not forward.
    pub accept_ra: Option<bool>,
    /// The largest packet of IPv6.
    pub ipv6_mtu: Option<u32>,
    /// Link-local addresses of IPv6 are made from the hardware address, whatever the kernel was told before.
    pub by_hardware_address: bool,
    /// Temporary addresses.
    pub privacy: Option<Privacy>,
    /// Forwards IPv4.
    pub forward_ipv4: Option<bool>,
    /// Forwards IPv6.
    pub forward_ipv6: Option<bool>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains; with `~` only for choosing servers.
    pub domains: Vec<String>,
    /// Time servers.
    pub ntp: Vec<String>,
    /// The bond that it is a port of.
    pub bond: Option<String>,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// The VRF that it belongs to.
    pub vrf: Option<String>,
    /// VLANs on top of it.
    pub vlans: Vec<String>,
    /// The port of an active-backup bond that is used first.
    pub primary_port: bool,
    /// Configured without a cable.
    pub configure_without_carrier: bool,
    /// Addresses.
    pub addresses: Vec<AddressEntry>,
    /// Routes.
    pub routes: Vec<RouteEntry>,
    /// Rules.
    pub rules: Vec<RuleEntry>,
    /// `[DHCPv4]`.
    pub dhcp4: Dhcp4,
    /// `[DHCPv6]`.
    pub dhcp6: Dhcp6,
    /// `[IPv6AcceptRA]`.
    pub advertisements: Advertisements,
    /// `[Bridge]`.
    pub bridge_port: BridgePort,
}

impl Network {
    /// The link that it makes this one a port of.
    pub fn controller(&self) -> Option<&str> {
        self.bond.as_deref().or(self.bridge.as_deref())
    }

    /// Whether it wants IPv6 on the link at all: a port of something has its addresses there.
    pub fn wants_ipv6(&self) -> bool {
        let link_local = self.link_local.unwrap_or(Families { ipv4: false, ipv6: self.controller().is_none() });
        let is_ipv6 = |address: &AddressEntry| address.address.is_some_and(|address| address.address.is_ipv6());
        link_local.ipv6 || self.addresses.iter().any(is_ipv6)
    }

    /// Whether router advertisements are taken.
    pub fn takes_advertisements(&self) -> bool {
        let link_local = self.link_local.unwrap_or(Families { ipv4: false, ipv6: self.controller().is_none() });
        let default = link_local.ipv6 && self.forward_ipv6 != Some(true);
        self.wants_ipv6() && self.accept_ra.unwrap_or(default)
    }

    /// A default route over the gateway is among its routes.
    pub fn has_gateway(&self) -> bool {
        self.routes.iter().any(|route| route.destination.is_none() && route.gateway != Gateway::None)
    }
}

impl Matches for Network {
    fn matching(&mut self) -> &mut Match {
        &mut self.matching
    }
}
