//! The clients of all links: which are started and stopped, what they hear, and what is known from them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use ferrite_netconf::Config;
use ferrite_netconf::network::{ClientIdentifier, Dhcp6Client, Network};
use tokio::sync::mpsc;

use crate::claim::Claim;
use crate::client::{Arrived, Client, Heard, Introduction, Outcome, Target};
use crate::client6::{self, Client6};
use crate::dhcp::machine::{Event, Held, Moment, State, remaining};
use crate::dhcp6::machine::{self as machine6, Mode};
use crate::lease::Lease;
use crate::listener::Listener;
use crate::observed::{Link, OURS, Observed};
use crate::plan::{Dynamic, Granted, Granted6, Role, role};
use crate::router::Learned;
use crate::{hostname, lease_file, lease6_file, link_local, router};

/// All clients by the index of their link.
pub(crate) struct Clients {
    v4: BTreeMap<u32, Client>,
    v6: BTreeMap<u32, Client6>,
    listeners: BTreeMap<u32, Listener>,
    claims: BTreeMap<u32, Claim>,
    /// What an earlier daemon learned of routers, until their link is listened to.
    remembered: BTreeMap<u32, Learned>,
    arrived: mpsc::Sender<Arrived>,
}

/// Where files of clients are.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a> {
    pub leases: &'a Path,
    pub hostname: &'a Path,
}

impl Clients {
    pub(crate) fn new(remembered: BTreeMap<u32, Learned>, arrived: mpsc::Sender<Arrived>) -> Self {
        Self {
            v4: BTreeMap::new(),
            v6: BTreeMap::new(),
            listeners: BTreeMap::new(),
            claims: BTreeMap::new(),
            remembered,
            arrived,
        }
    }

    /// Forgets the clients of a link, so that they begin anew.
    pub(crate) fn forget(&mut self, index: u32) {
        self.v4.remove(&index);
        self.v6.remove(&index);
        self.listeners.remove(&index);
        self.claims.remove(&index);
    }

    /// Starts and stops clients as the files say, and tells them about cables.
    pub(crate) fn meet(&mut self, config: &Config, observed: &Observed, places: Places<'_>) {
        let wanted: BTreeMap<u32, (&Link, &Network)> = observed
            .links
            .iter()
            .filter_map(|link| match role(config, observed, link) {
                Role::Managed(network) if network.controller().is_none() => Some((link.index, (link, network))),
                Role::Managed(_) | Role::Broken(_) | Role::Loopback | Role::Unmanaged => None,
            })
            .collect();
        let asks4 = |index: &u32, mac: [u8; 6]| {
            wanted.get(index).is_some_and(|(link, network)| network.dhcp.ipv4 && link.mac() == Some(mac))
        };
        self.v4.retain(|index, client| {
            let stays = asks4(index, client.link.mac);
            if !stays && observed.by_index(*index).is_none() {
                eprintln!("{}: the link is gone", client.link.name);
            }
            stays
        });
        self.listeners.retain(|index, _| {
            wanted.get(index).is_some_and(|(link, network)| link.up && network.takes_advertisements())
        });
        self.v6.retain(|index, client| {
            let own = IpAddr::V6(client.own);
            let is_wanted = wanted.get(index).is_some_and(|(link, _)| link.mac() == Some(client.link.mac));
            is_wanted && observed.addresses_of(*index).any(|address| address.address.address == own)
        });
        self.claims.retain(|index, claim| {
            wanted.get(index).is_some_and(|(link, network)| {
                network.link_local.is_some_and(|families| families.ipv4) && link.mac() == Some(claim.link.mac)
            })
        });
        for (link, network) in wanted.values() {
            self.listen(link, network);
            if let Some(mac) = link.mac() {
                let target = Target { index: link.index, name: link.name().to_owned(), mac };
                if network.dhcp.ipv4 {
                    self.meet4(&target, link, network, observed, places);
                }
                self.meet6(&target, link, network, observed, places);
                self.claim(target, link, network, observed);
            }
        }
    }

    fn listen(&mut self, link: &Link, network: &Network) {
        if !link.up || !network.takes_advertisements() {
            return;
        }
        if !self.listeners.contains_key(&link.index) {
            let mut learned = self.remembered.remove(&link.index).unwrap_or_default();
            learned.expire(now());
            match Listener::open(link.index, learned, self.arrived.clone()) {
                Ok(listener) => {
                    self.listeners.insert(link.index, listener);
                }
                Err(error) => {
                    eprintln!("{}: warning: {error:#}, name servers of routers are not heard", link.name());
                    return;
                }
            }
        }
        if let Some(listener) = self.listeners.get_mut(&link.index) {
            listener.carrier(link.carrier, now());
        }
    }

    fn meet4(&mut self, target: &Target, link: &Link, network: &Network, observed: &Observed, places: Places<'_>) {
        if !self.v4.contains_key(&link.index) {
            let initial = initial_state(lease_file::load(places.leases, target.mac), link, observed);
            match Client::open(target.clone(), initial, self.arrived.clone()) {
                Ok(client) => {
                    eprintln!("{}: new link {}", target.name, link.index);
                    self.v4.insert(link.index, client);
                }
                Err(error) => {
                    eprintln!("{}: warning: {error:#}, the link gets no address", target.name);
                    return;
                }
            }
        }
        if let Some(client) = self.v4.get_mut(&link.index) {
            client.link = target.clone();
        }
        let event = if link.carrier { Event::CarrierUp } else { Event::CarrierDown };
        self.feed4(link.index, &event, network, places);
    }

    /// Where servers are asked, a link-local address is for the time in which none answers.
    fn claim(&mut self, target: Target, link: &Link, network: &Network, observed: &Observed) {
        if !network.link_local.is_some_and(|families| families.ipv4) {
            return;
        }
        let claim = self.claims.entry(link.index).or_insert_with(|| {
            let held = observed.addresses_of(link.index).find_map(|known| match known.address.address {
                IpAddr::V4(own) if own.is_link_local() && known.protocol == OURS => Some(own),
                _ => None,
            });
            Claim::open(target.clone(), held, self.arrived.clone())
        });
        claim.link = target;
        let client = self.v4.get(&link.index).filter(|_| network.dhcp.ipv4);
        let is_alone = !network.dhcp.ipv4
            || client
                .is_some_and(|client| client.held().is_none() && (client.is_unanswered() || claim.held().is_some()));
        let event = if link.carrier && is_alone { link_local::Event::Start } else { link_local::Event::Stop };
        claim.feed(&event, moment());
    }

    fn meet6(&mut self, target: &Target, link: &Link, network: &Network, observed: &Observed, places: Places<'_>) {
        let saved = || lease6_file::load(places.leases, target.mac);
        let mode = self.mode6(link, network);
        if !self.v6.contains_key(&link.index) {
            let held =
                saved().filter(|_| mode != Some(Mode::Information)).and_then(|lease| held6(lease, link, observed));
            let own = observed.addresses_of(link.index).find_map(|address| match address.address.address {
                IpAddr::V6(own) if own.is_unicast_link_local() && !address.tentative => Some(own),
                _ => None,
            });
            let (Some(own), true) = (own, mode.is_some() || held.is_some()) else { return };
            match Client6::open(target.clone(), own, held, self.arrived.clone()) {
                Ok(client) => self.v6.insert(link.index, client),
                Err(error) => {
                    eprintln!("{}: warning: {error:#}, the link gets nothing by DHCPv6", target.name);
                    return;
                }
            };
        }
        let Some(client) = self.v6.get_mut(&link.index) else { return };
        client.link = target.clone();
        let keeps = client.held().is_some_and(|held| !held.lease.addresses.is_empty());
        let mode = mode.or(keeps.then_some(Mode::Address));
        let event = match mode.filter(|_| link.carrier) {
            Some(mode) => machine6::Event::Start(mode),
            None => machine6::Event::Stop,
        };
        self.feed6(link.index, &event, network, places);
    }

    /// What is to be asked by DHCPv6 now.
    fn mode6(&self, link: &Link, network: &Network) -> Option<Mode> {
        let address = if network.dhcp6.use_address { Mode::Address } else { Mode::Information };
        let policy = network.advertisements.dhcp6;
        if (network.dhcp.ipv6 && network.dhcp6.without_ra)
            || (network.takes_advertisements() && policy == Dhcp6Client::Always)
        {
            return Some(address);
        }
        let learned = &self.listeners.get(&link.index)?.learned;
        if policy == Dhcp6Client::No {
            return None;
        }
        match (learned.managed, learned.other) {
            (true, _) => Some(address),
            (false, true) => Some(Mode::Information),
            (false, false) => None,
        }
    }

    /// Takes in what a socket heard; whether the configuration must change.
    pub(crate) fn hear(&mut self, arrived: &Arrived, network: &Network, places: Places<'_>) -> bool {
        let index = arrived.index;
        match &arrived.what {
            Heard::Dhcp4(packet) => {
                let event = self.v4.get(&index).and_then(|client| client.reply(packet));
                event.is_some_and(|event| self.feed4(index, &event, network, places))
            }
            Heard::Dhcp6(bytes) => {
                let event = self.v6.get(&index).and_then(|client| client.reply(bytes));
                event.is_some_and(|event| self.feed6(index, &event, network, places))
            }
            Heard::Arp(arp) => {
                let event = link_local::Event::Heard(*arp);
                self.claims.get_mut(&index).is_some_and(|claim| claim.feed(&event, moment()))
            }
            Heard::Router(packet, router) => {
                let heard = router::read(packet, *router);
                let (Some(heard), Some(listener)) = (heard, self.listeners.get_mut(&index)) else { return false };
                listener.answered();
                listener.learned.hear(&heard, now())
            }
        }
    }

    /// What routers said, for a daemon that comes after this one.
    pub(crate) fn learned(&self) -> BTreeMap<u32, Learned> {
        self.listeners.iter().map(|(index, listener)| (*index, listener.learned.clone())).collect()
    }

    /// Asks servers for more time now; whether there was a client to ask.
    pub(crate) fn renew(&mut self, index: u32, network: &Network, places: Places<'_>) -> bool {
        let asks = self.v4.contains_key(&index) || self.v6.contains_key(&index);
        self.feed4(index, &Event::Renew, network, places);
        self.feed6(index, &machine6::Event::Renew, network, places);
        asks
    }

    /// Links whose time has come.
    pub(crate) fn due(&self) -> Vec<u32> {
        let now = now();
        let is_due = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now);
        let mut due: Vec<u32> = Vec::new();
        due.extend(self.v4.iter().filter(|(_, client)| is_due(client.deadline)).map(|(index, _)| *index));
        due.extend(self.v6.iter().filter(|(_, client)| is_due(client.deadline)).map(|(index, _)| *index));
        due.extend(self.claims.iter().filter(|(_, claim)| is_due(claim.deadline)).map(|(index, _)| *index));
        due.extend(self.listeners.iter().filter(|(_, client)| is_due(client.deadline())).map(|(index, _)| *index));
        due
    }

    /// Tells a link's clients that their time has come; whether the configuration must change.
    pub(crate) fn wake(&mut self, index: u32, network: &Network, places: Places<'_>) -> bool {
        let now = now();
        let is_due = |deadline: Option<Duration>| deadline.is_some_and(|deadline| deadline <= now);
        let mut changed = false;
        if self.v4.get(&index).is_some_and(|client| is_due(client.deadline)) {
            changed |= self.feed4(index, &Event::TimedOut, network, places);
            changed |= self.v4.get(&index).is_some_and(Client::is_unanswered);
        }
        if self.v6.get(&index).is_some_and(|client| is_due(client.deadline)) {
            changed |= self.feed6(index, &machine6::Event::TimedOut, network, places);
        }
        if let Some(claim) = self.claims.get_mut(&index).filter(|claim| is_due(claim.deadline)) {
            changed |= claim.feed(&link_local::Event::TimedOut, moment());
        }
        if let Some(listener) = self.listeners.get_mut(&index) {
            changed |= listener.woken(now);
        }
        changed
    }

    /// When the next one must be woken.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let v4 = self.v4.values().filter_map(|client| client.deadline);
        let v6 = self.v6.values().filter_map(|client| client.deadline);
        let claims = self.claims.values().filter_map(|claim| claim.deadline);
        v4.chain(v6).chain(claims).chain(self.listeners.values().filter_map(Listener::deadline)).min()
    }

    fn feed4(&mut self, index: u32, event: &Event, network: &Network, places: Places<'_>) -> bool {
        let chosen = hostname::chosen(places.hostname);
        let Some(client) = self.v4.get_mut(&index) else { return false };
        let name = client.link.name.clone();
        let options = &network.dhcp4;
        let told = options.hostname.clone().or_else(|| chosen.clone());
        let who = Introduction {
            hostname: told.filter(|_| options.send_hostname),
            by_duid: options.client_identifier == ClientIdentifier::Duid,
        };
        match client.feed(event, moment(), &who) {
            Outcome::Nothing => false,
            Outcome::Granted(lease) => {
                eprintln!("{name}: {}/{} from {}", lease.address, lease.prefix, lease.server);
                if let Err(error) = lease_file::store(places.leases, client.link.mac, &lease) {
                    eprintln!("{name}: warning: {error}: {}, the lease is not kept", error.source);
                }
                if chosen.is_none() && options.use_hostname {
                    hostname::take(&lease);
                }
                true
            }
            Outcome::Lost => {
                eprintln!("{name}: the lease is gone, removing the address");
                true
            }
        }
    }

    fn feed6(&mut self, index: u32, event: &machine6::Event, network: &Network, places: Places<'_>) -> bool {
        let told = hostname::chosen(places.hostname).filter(|_| network.dhcp6.send_hostname);
        let Some(client) = self.v6.get_mut(&index) else { return false };
        let name = client.link.name.clone();
        match client.feed(event, moment(), told.as_deref()) {
            client6::Outcome::Nothing => false,
            client6::Outcome::Granted(lease) => {
                for address in &lease.addresses {
                    eprintln!("{name}: {} by DHCPv6", address.address);
                }
                if let Err(error) = lease6_file::store(places.leases, client.link.mac, &lease) {
                    eprintln!("{name}: warning: {error}: {}, the lease is not kept", error.source);
                }
                true
            }
            client6::Outcome::Lost => {
                eprintln!("{name}: the lease of DHCPv6 is gone");
                true
            }
        }
    }

    /// What servers and routers said, for the plan.
    pub(crate) fn dynamic(&self) -> BTreeMap<u32, Dynamic> {
        let now = now();
        let mut known: BTreeMap<u32, Dynamic> = BTreeMap::new();
        for (index, client) in &self.v4 {
            let granted = |held: &Held| Granted { lease: held.lease.clone(), remaining: remaining(held, now) };
            let entry = known.entry(*index).or_default();
            (entry.lease, entry.unanswered) = (client.held().map(granted), client.is_unanswered());
        }
        for (index, client) in &self.v6 {
            let Some(held) = client.held() else { continue };
            let age = now.saturating_sub(held.since);
            let left = held.lease.addresses.iter().filter(|address| address.valid > age).map(|address| Granted6 {
                address: address.address,
                preferred: address.preferred.saturating_sub(age),
                valid: address.valid.saturating_sub(age),
            });
            known.entry(*index).or_default().addresses6 = left.collect();
        }
        for (index, claim) in &self.claims {
            known.entry(*index).or_default().link_local4 = claim.held();
        }
        for (index, listener) in &self.listeners {
            known.entry(*index).or_default().router = listener.learned.router.map(|(router, _)| router);
        }
        known
    }

    /// The lease of a link.
    fn lease(&self, index: u32) -> Option<&Lease> {
        Some(&self.v4.get(&index)?.held()?.lease)
    }

    /// Name servers of a link: of its file, of DHCP, of routers.
    pub(crate) fn servers(&self, index: u32, network: &Network) -> Vec<IpAddr> {
        let mut servers = network.dns.clone();
        if let Some(lease) = self.lease(index).filter(|_| network.dhcp4.use_dns) {
            servers.extend(lease.dns.iter().map(|server| IpAddr::V4(*server)));
        }
        let held6 = self.v6.get(&index).and_then(Client6::held).filter(|_| network.dhcp6.use_dns);
        servers.extend(held6.into_iter().flat_map(|held| &held.lease.dns).map(|server: &Ipv6Addr| IpAddr::V6(*server)));
        let learned = self.listeners.get(&index).filter(|_| network.advertisements.use_dns);
        servers.extend(learned.into_iter().flat_map(|listener| listener.learned.servers()));
        servers
    }

    /// Time servers of a link: of its file, of DHCP.
    pub(crate) fn time_servers(&self, index: u32, network: &Network) -> Vec<String> {
        let mut servers = network.ntp.clone();
        let lease = self.lease(index).filter(|_| network.dhcp4.use_ntp);
        servers.extend(lease.into_iter().flat_map(|lease| lease.ntp.iter().map(ToString::to_string)));
        let held6 = self.v6.get(&index).and_then(Client6::held).filter(|_| network.dhcp6.use_ntp);
        servers.extend(held6.into_iter().flat_map(|held| held.lease.ntp.iter().cloned()));
        servers
    }

    /// Search domains of a link.
    pub(crate) fn domains(&self, index: u32, network: &Network) -> Vec<String> {
        let mut domains = network.domains.clone();
        if let Some(lease) = self.lease(index).filter(|_| network.dhcp4.use_domains) {
            domains.extend(lease.search.iter().cloned());
        }
        let held6 = self.v6.get(&index).and_then(Client6::held).filter(|_| network.dhcp6.use_domains);
        domains.extend(held6.into_iter().flat_map(|held| held.lease.search.iter().cloned()));
        let learned = self.listeners.get(&index).filter(|_| network.advertisements.use_domains);
        domains.extend(learned.into_iter().flat_map(|listener| listener.learned.domains().map(str::to_owned)));
        domains
    }

    /// States of the clients, for people.
    pub(crate) fn states(&self) -> (BTreeMap<u32, &'static str>, BTreeMap<u32, &'static str>) {
        let v4 = self.v4.iter().map(|(index, client)| (*index, client.state_name())).collect();
        (v4, self.v6.iter().map(|(index, client)| (*index, client.state_name())).collect())
    }
}

/// An address that the kernel still holds from this lease is ours already: the daemon was only restarted.
fn initial_state(saved: Option<Lease>, link: &Link, observed: &Observed) -> State {
    let Some(lease) = saved else {
        return State::Stopped { held: None, wanted: None };
    };
    let wanted = Some(lease.address);
    let known = observed
        .addresses_of(link.index)
        .find(|known| known.address.address == IpAddr::V4(lease.address) && known.address.prefix == lease.prefix);
    let held = known.and_then(|known| known.valid).map(|left| {
        let age = lease.times.map_or(Duration::ZERO, |times| times.expire.saturating_sub(left));
        Held { since: now().saturating_sub(age), lease }
    });
    State::Stopped { held, wanted }
}

fn held6(lease: crate::dhcp6::message::Lease6, link: &Link, observed: &Observed) -> Option<machine6::Held> {
    let mut ours = observed.addresses_of(link.index).filter(|known| known.protocol == OURS);
    let left = ours.find_map(|known| {
        let is_leased = lease.addresses.iter().any(|leased| IpAddr::V6(leased.address) == known.address.address);
        known.valid.filter(|_| is_leased)
    })?;
    let age = lease.expire().saturating_sub(left);
    Some(machine6::Held { since: now().saturating_sub(age), lease })
}

fn moment() -> Moment {
    Moment { now: now(), random: random() }
}

/// Seconds since boot, suspended time included: leases go on while the machine sleeps.
pub(crate) fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A transaction id nobody can guess; without entropy the clock must do.
fn random() -> u32 {
    let mut bytes = [0; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(4) => u32::from_ne_bytes(bytes),
        Ok(_) | Err(_) => now().subsec_nanos().wrapping_mul(2_654_435_761),
    }
}
