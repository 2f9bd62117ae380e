//! The daemon: one loop over the kernel's messages, packets, orders, timers and signals. It decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ferrite_files::Durability;
use ferrite_netconf::network::Activation;
use ferrite_netconf::{Config, Netdev, Severity};
use ferrite_notify::Notifier;
use futures_util::{FutureExt, StreamExt};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, MulticastGroup};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::change::{Change, LinkChange};
use crate::client::Arrived;
use crate::clients::{Clients, Places, now};
use crate::control::{self, Asked, Order};
use crate::memory::{MAX_BYTES, Memory};
use crate::observed::{Link, Observed};
use crate::plan::{Role, Situation, plan, role};
use crate::report::render_report;
use crate::state::{Extra, State, build};
use crate::{apply, config_files, observe, resolv, time_sources};

/// Packets that wait for the loop; more are left to the kernel's buffer.
const PACKET_QUEUE: usize = 64;
/// Rounds of planning for one event: making, naming, joining and switching on come one after the other.
const ROUNDS: usize = 12;
/// The longest wait before a change that failed is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// Where the daemon reads and writes.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Files are read below this folder.
    pub root: PathBuf,
    /// The kernel command line.
    pub command_line: PathBuf,
    /// One lease a link, kept over a reboot.
    pub leases: PathBuf,
    /// The short report; the whole one lies beside it with the suffix `.json`, the socket with `.sock`.
    pub report: PathBuf,
    /// The resolver's configuration.
    pub resolv: PathBuf,
    /// The host name that somebody chose.
    pub hostname: PathBuf,
    /// Sources of chrony; its folder is made when there is one.
    pub time_sources: PathBuf,
}

/// A change that the kernel refused.
struct Failure {
    index: Option<u32>,
    reason: String,
    wait: Duration,
    again: Duration,
}

struct Daemon {
    paths: Paths,
    handle: Handle,
    notifier: Notifier,
    config: Config,
    machine: u64,
    clients: Clients,
    /// The kernel at the last look: links tell when they change.
    seen: Observed,
    activated: BTreeSet<u32>,
    tunnels: BTreeMap<String, Netdev>,
    reshaped: BTreeMap<String, Netdev>,
    removed: BTreeSet<String>,
    /// Settings that this machine lets nobody write.
    unwritable: BTreeSet<String>,
    failures: BTreeMap<String, Failure>,
    written: BTreeMap<PathBuf, String>,
}

/// Runs until SIGTERM or SIGINT; what was configured stays when it ends.
pub async fn run(paths: Paths, notifier: Notifier) -> anyhow::Result<()> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr];
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&groups).context("opening rtnetlink")?;
    tokio::spawn(connection);
    let (arrived, mut packets) = mpsc::channel(PACKET_QUEUE);
    let (send_order, mut orders) = mpsc::channel(1);
    let mut terminated = signal(SignalKind::terminate()).context("catching SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("catching SIGINT")?;
    let mut hung_up = signal(SignalKind::hangup()).context("catching SIGHUP")?;
    if let Err(error) = std::fs::create_dir_all(&paths.leases) {
        eprintln!("warning: making '{}': {error}, leases are not kept", paths.leases.display());
    }
    if let Err(error) = control::serve(&paths.report.with_extension("sock"), send_order) {
        eprintln!("warning: {error:#}, networkctl can only show");
    }
    let mut daemon = Daemon::new(paths, handle, notifier, arrived);
    daemon.load();
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
            Some(arrived) = packets.recv() => daemon.hear(arrived, &mut packets).await?,
            Some(asked) = orders.recv() => daemon.obey(asked).await?,
            () = tokio::time::sleep(wait) => daemon.timers().await?,
            _ = hung_up.recv() => daemon.reload().await?,
            _ = terminated.recv() => break,
            _ = interrupted.recv() => break,
        }
    }
    // PID 1 may be gone already when the machine goes down.
    let _ = daemon.notifier.stopping();
    Ok(())
}

impl Daemon {
    fn new(paths: Paths, handle: Handle, notifier: Notifier, arrived: mpsc::Sender<Arrived>) -> Self {
        config_files::render_command_line(&paths.command_line, &paths.root);
        let machine = config_files::machine_number(&paths.root);
        let memory = recall(&memory_path(&paths));
        Self {
            paths,
            handle,
            notifier,
            config: Config::default(),
            machine,
            clients: Clients::new(memory.routers, arrived),
            seen: Observed::default(),
            activated: memory.switched_off,
            tunnels: BTreeMap::new(),
            reshaped: BTreeMap::new(),
            removed: BTreeSet::new(),
            unwritable: BTreeSet::new(),
            failures: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Reads all files and says what is wrong with them.
    fn load(&mut self) {
        self.removed.clear();
        self.unwritable.clear();
        self.config = config_files::load(&self.paths.root);
        for fault in &self.config.faults {
            eprintln!("{fault}");
        }
        let errors = self.config.faults.iter().filter(|fault| fault.severity == Severity::Error).count();
        let files = self.config.networks.len() + self.config.netdevs.len() + self.config.links.len();
        eprintln!("{files} files, {errors} errors in them");
    }

    async fn reload(&mut self) -> anyhow::Result<()> {
        self.load();
        self.failures.clear();
        self.refresh().await
    }

    /// Looks, plans and applies until nothing is left to do, then writes what others read.
    async fn refresh(&mut self) -> anyhow::Result<()> {
        let mut observed = observe::observe(&self.handle, &self.config).await?;
        for _ in 0..ROUNDS {
            self.note_links(&observed);
            self.meet(&observed);
            let changes = self.planned(&observed);
            self.failures.retain(|text, _| changes.iter().any(|change| change.name() == *text));
            let (mut done, mut anew) = (false, false);
            for change in &changes {
                if self.try_change(change).await {
                    done = true;
                    anew |= change.is_structural();
                }
                // What follows was planned for a link in another state.
                if anew && matches!(change, Change::Link { set: LinkChange::Name(_), .. }) {
                    break;
                }
            }
            if done {
                observed = observe::observe(&self.handle, &self.config).await?;
            }
            if !anew {
                break;
            }
        }
        self.note_links(&observed);
        self.report(&observed);
        self.seen = observed;
        self.remember();
        Ok(())
    }

    fn situation_of<'a>(
        &'a self,
        observed: &'a Observed,
        dynamic: &'a BTreeMap<u32, crate::plan::Dynamic>,
    ) -> Situation<'a> {
        Situation {
            config: &self.config,
            observed,
            dynamic,
            activated: &self.activated,
            tunnels: &self.tunnels,
            reshaped: &self.reshaped,
            removed: &self.removed,
            machine: self.machine,
        }
    }

    fn planned(&self, observed: &Observed) -> Vec<Change> {
        let mut changes = plan(&self.situation_of(observed, &self.clients.dynamic()));
        changes.retain(|change| !matches!(change, Change::Setting { path, .. } if self.unwritable.contains(path)));
        changes
    }

    /// A link that is on was switched on by somebody; one that is gone may come back as another.
    fn note_links(&mut self, observed: &Observed) {
        self.activated.retain(|index| observed.by_index(*index).is_some());
        let was_chosen = |link: &&Link| link.up && !is_switched_off_once(&self.config, observed, link);
        self.activated.extend(observed.links.iter().filter(was_chosen).map(|link| link.index));
        self.tunnels.retain(|name, _| observed.link(name).is_some());
    }

    fn meet(&mut self, observed: &Observed) {
        let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
        self.clients.meet(&self.config, observed, places);
    }

    /// Makes a change unless it failed a moment ago; whether it was made.
    async fn try_change(&mut self, change: &Change) -> bool {
        let text = change.name();
        let now = now();
        if self.failures.get(&text).is_some_and(|failure| failure.again > now) {
            return false;
        }
        match apply::apply(&self.handle, change).await {
            Ok(()) => {
                self.failures.remove(&text);
                match change {
                    Change::Reshape { name, netdev, .. } => {
                        self.reshaped.insert(name.clone(), (**netdev).clone());
                    }
                    Change::WireGuard { name, netdev, .. } => {
                        self.tunnels.insert(name.clone(), (**netdev).clone());
                    }
                    Change::Link { index, set: LinkChange::Down | LinkChange::Up } => {
                        self.activated.insert(*index);
                    }
                    _ => {}
                }
                true
            }
            Err(error) if error.is_lasting() && matches!(change, Change::Setting { .. }) => {
                if let Change::Setting { path, .. } = change {
                    eprintln!("warning: {change}: {error}, leaving it as it is");
                    self.unwritable.insert(path.clone());
                }
                false
            }
            Err(error) => {
                let wait = self.failures.get(&text).map_or(Duration::from_secs(1), |failure| failure.wait * 2);
                let wait = wait.min(LONGEST_RETRY);
                let reason = format!("{change}: {error}");
                if !self.failures.contains_key(&text) {
                    eprintln!("warning: {reason}, trying again");
                }
                self.failures.insert(text, Failure { index: change.index(), reason, wait, again: now + wait });
                false
            }
        }
    }

    /// All packets that are here already are one event.
    async fn hear(&mut self, first: Arrived, packets: &mut mpsc::Receiver<Arrived>) -> anyhow::Result<()> {
        let mut changed = false;
        let mut next = Some(first);
        while let Some(arrived) = next {
            if let Some(network) = self.network(arrived.index) {
                let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
                changed |= self.clients.hear(&arrived, &network, places);
            }
            next = packets.try_recv().ok();
        }
        if changed {
            return self.refresh().await;
        }
        self.remember();
        Ok(())
    }

    fn network(&self, index: u32) -> Option<ferrite_netconf::Network> {
        let link = self.seen.by_index(index)?;
        role(&self.config, &self.seen, link).network().cloned()
    }

    async fn timers(&mut self) -> anyhow::Result<()> {
        let due = self.clients.due();
        let mut changed = self.failures.values().any(|failure| failure.again <= now());
        for index in due {
            let Some(network) = self.network(index) else {
                self.clients.forget(index);
                continue;
            };
            let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
            changed |= self.clients.wake(index, &network, places);
        }
        if changed { self.refresh().await } else { Ok(()) }
    }

    async fn obey(&mut self, (order, answer): Asked) -> anyhow::Result<()> {
        let observed = observe::observe(&self.handle, &self.config).await?;
        let indexes = |names: &[String]| -> Result<Vec<u32>, String> {
            let find = |name: &String| observed.link(name).map(|link| link.index).ok_or(format!("no link '{name}'"));
            names.iter().map(find).collect()
        };
        let outcome = match &order {
            Order::Reload => {
                self.load();
                self.failures.clear();
                Ok(())
            }
            Order::Reconfigure(names) => indexes(names).map(|indexes| {
                for index in indexes {
                    self.clients.forget(index);
                    self.activated.remove(&index);
                }
                self.tunnels.retain(|name, _| !names.contains(name));
                self.reshaped.retain(|name, _| !names.contains(name));
                self.failures.clear();
            }),
            Order::Renew(names) => indexes(names).and_then(|indexes| self.renew(&observed, &indexes)),
            Order::Delete(names) => self.delete(&observed, names).await,
            Order::Up(names) => self.switch(indexes(names), true).await,
            Order::Down(names) => self.switch(indexes(names), false).await,
        };
        self.refresh().await?;
        // Who asked may be gone.
        let _ = answer.send(outcome);
        Ok(())
    }

    fn renew(&mut self, observed: &Observed, indexes: &[u32]) -> Result<(), String> {
        for index in indexes {
            let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
            let network = self.network(*index);
            if !network.is_some_and(|network| self.clients.renew(*index, &network, places)) {
                let name = observed.by_index(*index).map(Link::name).unwrap_or_default();
                return Err(format!("'{name}' asks no DHCP server"));
            }
        }
        Ok(())
    }

    async fn delete(&mut self, observed: &Observed, names: &[String]) -> Result<(), String> {
        for name in names {
            let link = observed.link(name).ok_or(format!("no link '{name}'"))?;
            if link.facts.kind.is_none() {
                return Err(format!("'{name}' was not made by software; 'networkctl down {name}' switches it off"));
            }
            self.removed.insert(name.clone());
            self.handle.link().del(link.index).execute().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn switch(&mut self, indexes: Result<Vec<u32>, String>, on: bool) -> Result<(), String> {
        for index in indexes? {
            let builder = LinkMessageBuilder::<LinkUnspec>::new().index(index);
            let message = if on { builder.up() } else { builder.down() }.build();
            self.activated.insert(index);
            self.handle.link().change(message).execute().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Writes the files that follow from what there is.
    fn report(&mut self, observed: &Observed) {
        let mut extra = Extra::default();
        (extra.dhcp4, extra.dhcp6) = self.clients.states();
        for link in &observed.links {
            if let Role::Managed(network) = role(&self.config, observed, link) {
                extra.dns.insert(link.index, self.clients.servers(link.index, network));
                extra.domains.insert(link.index, self.clients.domains(link.index, network));
                extra.ntp.insert(link.index, self.clients.time_servers(link.index, network));
            }
        }
        let failed = self.failures.values().map(|failure| (failure.index, failure.reason.clone()));
        extra.failures = failed.collect();
        let dynamic = self.clients.dynamic();
        let pending = self.planned(observed);
        let state = build(&self.situation_of(observed, &dynamic), &pending, &extra);
        let servers = extra.dns.values().flatten().copied();
        let resolv = resolv::render(servers, extra.domains.values().flatten().map(String::as_str));
        self.write(self.paths.resolv.clone(), resolv);
        self.write(self.paths.report.clone(), render_report(&state));
        self.write_time_sources(extra.ntp.values().flatten().map(String::as_str));
        // Last: who waits for it finds the others as they should be.
        match serde_json::to_string_pretty(&state) {
            Ok(text) => {
                self.write(self.paths.report.with_extension("json"), text + "\n");
            }
            Err(error) => eprintln!("warning: writing the state: {error}"),
        }
        // PID 1 may be gone already; the report says the same.
        let _ = self.notifier.status(&summary(&state));
    }

    /// Writes what a daemon that comes after this one must know.
    fn remember(&mut self) {
        let observed = &self.seen;
        let off = |index: &&u32| {
            let link = observed.by_index(**index);
            link.is_some_and(|link| is_switched_off_once(&self.config, observed, link))
        };
        let memory = Memory {
            routers: self.clients.learned(),
            switched_off: self.activated.iter().filter(off).copied().collect(),
        };
        self.write(memory_path(&self.paths), memory.render());
    }

    fn write_time_sources<'a>(&mut self, servers: impl Iterator<Item = &'a str>) {
        let path = self.paths.time_sources.clone();
        let mut servers = servers.peekable();
        if servers.peek().is_none() && !path.exists() {
            return;
        }
        if let Some(Err(error)) = path.parent().map(std::fs::create_dir_all) {
            eprintln!("warning: making the folder of '{}': {error}, chrony does not learn of servers", path.display());
            return;
        }
        if self.write(path, time_sources::render(servers)) {
            time_sources::tell_chrony();
        }
    }

    /// Replaces a file unless it is right already; whether it was.
    fn write(&mut self, path: PathBuf, text: String) -> bool {
        if self.written.get(&path) == Some(&text) {
            return false;
        }
        // An earlier daemon may have written the same.
        if !self.written.contains_key(&path) && std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            self.written.insert(path, text);
            return false;
        }
        match ferrite_files::replace(&path, text.as_bytes(), 0o644, Durability::Volatile) {
            Ok(()) => {
                self.written.insert(path, text);
                true
            }
            Err(error) => {
                eprintln!("warning: {error}: {}, trying again at the next change", error.source);
                false
            }
        }
    }

    fn tell_ready(&self) {
        if let Err(error) = self.notifier.ready("configuring links") {
            eprintln!("warning: telling PID 1 that networkd is ready: {error}");
        }
    }

    fn until_next_timer(&self) -> Duration {
        const AN_HOUR: Duration = Duration::from_secs(3600);
        let retry = self.failures.values().map(|failure| failure.again).min();
        let next = self.clients.deadline().into_iter().chain(retry).min();
        next.map_or(AN_HOUR, |deadline| deadline.saturating_sub(now())).min(AN_HOUR)
    }
}

/// Beside the report, and gone with it at the next boot.
fn memory_path(paths: &Paths) -> PathBuf {
    paths.report.with_extension("memory")
}

fn recall(path: &Path) -> Memory {
    // Nothing is known after a boot.
    let is_small = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_BYTES);
    let text = if is_small { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
    Memory::parse(&text)
}

/// `ActivationPolicy=down`: somebody may have switched it on before its file was read.
fn is_switched_off_once(config: &Config, observed: &Observed, link: &Link) -> bool {
    role(config, observed, link).network().is_some_and(|network| network.link.activation == Activation::Down)
}

fn summary(state: &State) -> String {
    let managed = state.interfaces.iter().filter(|link| link.administrative_state != "unmanaged");
    let phrases: Vec<String> = managed
        .map(|link| match crate::report::main_address(link) {
            Some(address) => format!("{} {}/{}", link.name, address.address, address.prefix_length),
            None => format!("{} {}", link.name, crate::report::word(link)),
        })
        .collect();
    if phrases.is_empty() { "no link has a file".to_string() } else { phrases.join(", ") }
}
