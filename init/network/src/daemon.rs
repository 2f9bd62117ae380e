//! The daemon: one loop over the kernel's messages, packets, timers and signals. It decides nothing itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ferrite_files::Durability;
use ferrite_notify::Notifier;
use futures_util::{FutureExt, StreamExt};
use rtnetlink::{Handle, MulticastGroup};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::client::{Arrived, Client, Outcome};
use crate::dhcp::machine::{Event, Held, Moment, State, remaining};
use crate::lease::Lease;
use crate::plan::{Granted, Link, Observed, Role, plan};
use crate::report::{LinkReport, LinkState, render_report};
use crate::{hostname, lease_file, netlink, resolv};

/// Packets that wait for the loop; more are left to the kernel's buffer.
const PACKET_QUEUE: usize = 16;

/// Where the daemon reads and writes.
#[derive(Debug, Clone)]
pub struct Paths {
    /// One lease a link, kept over a reboot.
    pub leases: PathBuf,
    /// The report for other programs.
    pub report: PathBuf,
    /// The resolver's configuration.
    pub resolv: PathBuf,
    /// The host name that somebody chose.
    pub hostname: PathBuf,
}

struct Daemon {
    paths: Paths,
    handle: Handle,
    notifier: Notifier,
    clients: BTreeMap<u32, Client>,
    arrived: mpsc::Sender<Arrived>,
    written: BTreeMap<PathBuf, String>,
}

/// Runs until SIGTERM or SIGINT; addresses stay when it ends.
pub async fn run(paths: Paths, notifier: Notifier) -> anyhow::Result<()> {
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).context("opening rtnetlink")?;
    tokio::spawn(connection);
    let (arrived, mut packets) = mpsc::channel(PACKET_QUEUE);
    let mut terminated = signal(SignalKind::terminate()).context("catching SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("catching SIGINT")?;
    if let Err(error) = std::fs::create_dir_all(&paths.leases) {
        eprintln!("warning: making '{}': {error}, leases are not kept", paths.leases.display());
    }
    let mut daemon = Daemon { paths, handle, notifier, clients: BTreeMap::new(), arrived, written: BTreeMap::new() };
    daemon.refresh().await?;
    daemon.tell_ready();
    loop {
        let wait = daemon.until_next_timer();
        tokio::select! {
            message = messages.next() => {
                message.context("rtnetlink was closed")?;
                // One look at the kernel answers all messages that are here already.
                while let Some(Some(_)) = messages.next().now_or_never() {}
                daemon.refresh().await?;
            }
            Some((index, packet)) = packets.recv() => daemon.packet(index, &packet).await?,
            () = tokio::time::sleep(wait) => daemon.timers().await?,
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
    }
    // PID 1 may be gone already when the machine goes down.
    let _ = daemon.notifier.stopping();
    Ok(())
}

impl Daemon {
    /// Looks at the links, starts and stops clients, then makes the kernel agree.
    async fn refresh(&mut self) -> anyhow::Result<()> {
        let observed = netlink::observe(&self.handle).await?;
        let wired = |index: &u32| observed.links.iter().any(|link| link.index == *index && link.role == Role::Wired);
        self.clients.retain(|index, client| {
            let stays = wired(index) && observed.links.iter().any(|link| link.mac == client.link.mac);
            if !stays {
                eprintln!("{}: the link is gone", client.link.name);
            }
            stays
        });
        for link in observed.links.iter().filter(|link| link.role == Role::Wired) {
            self.meet(link, &observed);
        }
        self.reconcile(observed).await
    }

    /// Starts the client of a new link and tells it about the carrier.
    fn meet(&mut self, link: &Link, observed: &Observed) {
        if !self.clients.contains_key(&link.index) {
            let initial = initial_state(lease_file::load(&self.paths.leases, link.mac), link, observed);
            match Client::open(link.clone(), initial, self.arrived.clone()) {
                Ok(client) => {
                    eprintln!("{}: new link {}", link.name, link.index);
                    self.clients.insert(link.index, client);
                }
                Err(error) => {
                    eprintln!("{}: warning: {error:#}, the link gets no address", link.name);
                    return;
                }
            }
        }
        if let Some(client) = self.clients.get_mut(&link.index) {
            client.link = link.clone();
        }
        let event = if link.carrier { Event::CarrierUp } else { Event::CarrierDown };
        self.feed(link.index, &event);
    }

    async fn packet(&mut self, index: u32, packet: &[u8]) -> anyhow::Result<()> {
        let Some(event) = self.clients.get(&index).and_then(|client| client.reply(packet)) else {
            return Ok(());
        };
        if self.feed(index, &event) {
            self.reconcile(netlink::observe(&self.handle).await?).await?;
        }
        Ok(())
    }

    async fn timers(&mut self) -> anyhow::Result<()> {
        let now = now();
        let due: Vec<u32> = self
            .clients
            .iter()
            .filter(|(_, client)| client.deadline.is_some_and(|deadline| deadline <= now))
            .map(|(index, _)| *index)
            .collect();
        let mut changed = false;
        for index in due {
            changed |= self.feed(index, &Event::TimedOut);
        }
        if changed {
            self.reconcile(netlink::observe(&self.handle).await?).await?;
        }
        Ok(())
    }

    /// Feeds one client; returns whether the configuration must change.
    fn feed(&mut self, index: u32, event: &Event) -> bool {
        let chosen = hostname::chosen(&self.paths.hostname);
        let Some(client) = self.clients.get_mut(&index) else {
            return false;
        };
        let name = client.link.name.clone();
        match client.feed(event, Moment { now: now(), random: random() }, chosen.as_deref()) {
            Outcome::Nothing => false,
            Outcome::Granted(lease) => {
                let (mac, address, prefix) = (client.link.mac, lease.address, lease.prefix);
                eprintln!("{name}: {address}/{prefix} from {}", lease.server);
                if let Err(error) = lease_file::store(&self.paths.leases, mac, &lease) {
                    eprintln!("{name}: warning: {}, the lease is not kept", chain(&error));
                }
                if chosen.is_none() {
                    set_hostname(&lease);
                }
                true
            }
            Outcome::Lost => {
                eprintln!("{name}: the lease is gone, removing the address");
                true
            }
        }
    }

    /// Plans, applies, then writes the files that follow from the leases.
    async fn reconcile(&mut self, observed: Observed) -> anyhow::Result<()> {
        let now = now();
        let mut granted = BTreeMap::new();
        for (index, client) in &self.clients {
            if let Some(held) = client.held() {
                granted.insert(*index, Granted { lease: held.lease.clone(), remaining: remaining(held, now) });
            }
        }
        for change in plan(&observed, &granted) {
            if let Err(error) = netlink::apply(&self.handle, &change).await {
                eprintln!("warning: {change}: {error}, going on without it");
            }
        }
        let leases: Vec<&Lease> = granted.values().map(|granted| &granted.lease).collect();
        self.write(self.paths.resolv.clone(), resolv::render(&leases));
        let reports = reports(&observed, &granted);
        self.write(self.paths.report.clone(), render_report(&reports));
        // PID 1 may be gone already; the report file says the same.
        let _ = self.notifier.status(&summary(&reports));
        Ok(())
    }

    fn write(&mut self, path: PathBuf, text: String) {
        if self.written.get(&path) == Some(&text) {
            return;
        }
        match ferrite_files::replace(&path, text.as_bytes(), 0o644, Durability::Volatile) {
            Ok(()) => {
                self.written.insert(path, text);
            }
            Err(error) => eprintln!("warning: {}, trying again at the next change", chain(&error)),
        }
    }

    fn tell_ready(&self) {
        if let Err(error) = self.notifier.ready("looking for DHCP servers") {
            eprintln!("warning: telling PID 1 that networkd is ready: {error}");
        }
    }

    fn until_next_timer(&self) -> Duration {
        const AN_HOUR: Duration = Duration::from_secs(3600);
        let next = self.clients.values().filter_map(|client| client.deadline).min();
        next.map_or(AN_HOUR, |deadline| deadline.saturating_sub(now())).min(AN_HOUR)
    }
}

/// An address that the kernel still holds from this lease is ours already: the daemon was only restarted.
fn initial_state(saved: Option<Lease>, link: &Link, observed: &Observed) -> State {
    let Some(lease) = saved else {
        return State::Stopped { held: None, wanted: None };
    };
    let wanted = Some(lease.address);
    let known = observed
        .addresses
        .iter()
        .find(|known| (known.index, known.address, known.prefix) == (link.index, lease.address, lease.prefix));
    let held = known.and_then(|known| known.lifetime).map(|left| {
        let age = lease.times.map_or(Duration::ZERO, |times| times.expire.saturating_sub(left));
        Held { since: now().saturating_sub(age), lease }
    });
    State::Stopped { held, wanted }
}

fn reports(observed: &Observed, granted: &BTreeMap<u32, Granted>) -> Vec<LinkReport> {
    let report = |link: &Link| {
        let lease = granted.get(&link.index).map(|granted| &granted.lease);
        let state = match (lease, link.carrier) {
            (_, false) => LinkState::NoCarrier,
            (None, true) => LinkState::Configuring,
            (Some(_), true) => LinkState::Configured,
        };
        LinkReport {
            link: link.name.clone(),
            state,
            address: lease.map(|lease| (lease.address, lease.prefix)),
            gateway: lease.and_then(Lease::gateway),
            dns: lease.map(|lease| lease.dns.clone()).unwrap_or_default(),
        }
    };
    observed.links.iter().filter(|link| link.role == Role::Wired).map(report).collect()
}

fn summary(reports: &[LinkReport]) -> String {
    let phrases: Vec<String> = reports
        .iter()
        .map(|report| match report.address {
            Some((address, prefix)) => format!("{} {address}/{prefix}", report.link),
            None => format!("{} {}", report.link, report.state),
        })
        .collect();
    if phrases.is_empty() { "no wired link".to_string() } else { phrases.join(", ") }
}

fn set_hostname(lease: &Lease) {
    let Some(name) = &lease.hostname else {
        return;
    };
    match hostname::set(name) {
        Ok(true) => eprintln!("host name {name} from DHCP"),
        Ok(false) => {}
        Err(error) => eprintln!("warning: setting the host name to '{name}': {error}, keeping the old one"),
    }
}

fn chain(error: &ferrite_files::FileError) -> String {
    format!("{error}: {}", error.source)
}

/// Seconds since boot, suspended time included: leases go on while the machine sleeps.
fn now() -> Duration {
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
