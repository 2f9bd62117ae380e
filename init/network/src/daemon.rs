//! The daemon: one loop over the kernel's messages, packets, orders, timers and signals. It decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ferrite_files::Durability;
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
use crate::observed::Observed;
use crate::plan::{Role, Situation, plan, role};
use crate::report::render_report;
use crate::state::{Extra, State, build};
use crate::{apply, config_files, observe, resolv};

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
    activated: BTreeSet<u32>,
    tunnels: BTreeMap<String, Netdev>,
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
            Some(arrived) = packets.recv() => daemon.hear(&arrived).await?,
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
        Self {
            paths,
            handle,
            notifier,
            config: Config::default(),
            machine,
            clients: Clients::new(arrived),
            activated: BTreeSet::new(),
            tunnels: BTreeMap::new(),
            failures: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// Reads all files and says what is wrong with them.
    fn load(&mut self) {
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
            self.failures.retain(|text, _| changes.iter().any(|change| change.to_string() == *text));
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
            machine: self.machine,
        }
    }

    fn planned(&self, observed: &Observed) -> Vec<Change> {
        plan(&self.situation_of(observed, &self.clients.dynamic()))
    }

    /// A link that is on was switched on by somebody; one that is gone may come back as another.
    fn note_links(&mut self, observed: &Observed) {
        self.activated.retain(|index| observed.by_index(*index).is_some());
        self.activated.extend(observed.links.iter().filter(|link| link.up).map(|link| link.index));
        self.tunnels.retain(|name, _| observed.link(name).is_some());
    }

    fn meet(&mut self, observed: &Observed) {
        let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
        self.clients.meet(&self.config, observed, places);
    }

    /// Makes a change unless it failed a moment ago; whether it was made.
    async fn try_change(&mut self, change: &Change) -> bool {
        let text = change.to_string();
        let now = now();
        if self.failures.get(&text).is_some_and(|failure| failure.again > now) {
            return false;
        }
        match apply::apply(&self.handle, change).await {
            Ok(()) => {
                self.failures.remove(&text);
                match change {
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
            Err(error) => {
                let wait = self.failures.get(&text).map_or(Duration::from_secs(1), |failure| failure.wait * 2);
                let wait = wait.min(LONGEST_RETRY);
                let reason = format!("{text}: {error}");
                if !self.failures.contains_key(&text) {
                    eprintln!("warning: {reason}, trying again");
                }
                self.failures.insert(text, Failure { index: change.index(), reason, wait, again: now + wait });
                false
            }
        }
    }

    async fn hear(&mut self, arrived: &Arrived) -> anyhow::Result<()> {
        let observed = observe::observe(&self.handle, &self.config).await?;
        let Some(network) = self.network(&observed, arrived.index) else { return Ok(()) };
        let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
        if self.clients.hear(arrived, &network, places) {
            self.refresh().await?;
        }
        Ok(())
    }

    fn network(&self, observed: &Observed, index: u32) -> Option<ferrite_netconf::Network> {
        let link = observed.by_index(index)?;
        role(&self.config, observed, link).network().cloned()
    }

    async fn timers(&mut self) -> anyhow::Result<()> {
        let due = self.clients.due();
        let mut changed = self.failures.values().any(|failure| failure.again <= now());
        if !due.is_empty() {
            let observed = observe::observe(&self.handle, &self.config).await?;
            for index in due {
                let Some(network) = self.network(&observed, index) else {
                    self.clients.forget(index);
                    continue;
                };
                let places = Places { leases: &self.paths.leases, hostname: &self.paths.hostname };
                changed |= self.clients.wake(index, &network, places);
            }
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
                self.failures.clear();
            }),
            Order::Renew(names) => indexes(names).map(|indexes| {
                indexes.into_iter().for_each(|index| self.clients.forget(index));
            }),
            Order::Up(names) => self.switch(indexes(names), true).await,
            Order::Down(names) => self.switch(indexes(names), false).await,
        };
        self.refresh().await?;
        // Who asked may be gone.
        let _ = answer.send(outcome);
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
            }
        }
        let failed = self.failures.values().map(|failure| (failure.index, failure.reason.clone()));
        extra.failures = failed.collect();
        let dynamic = self.clients.dynamic();
        let situation = self.situation_of(observed, &dynamic);
        let state = build(&situation, &plan(&situation), &extra);
        let servers = extra.dns.values().flatten().copied();
        let resolv = resolv::render(servers, extra.domains.values().flatten().map(String::as_str));
        self.write(self.paths.resolv.clone(), resolv);
        self.write(self.paths.report.clone(), render_report(&state));
        // Last: who waits for it finds the others as they should be.
        match serde_json::to_string_pretty(&state) {
            Ok(text) => self.write(self.paths.report.with_extension("json"), text + "\n"),
            Err(error) => eprintln!("warning: writing the state: {error}"),
        }
        // PID 1 may be gone already; the report says the same.
        let _ = self.notifier.status(&summary(&state));
    }

    fn write(&mut self, path: PathBuf, text: String) {
        if self.written.get(&path) == Some(&text) {
            return;
        }
        match ferrite_files::replace(&path, text.as_bytes(), 0o644, Durability::Volatile) {
            Ok(()) => {
                self.written.insert(path, text);
            }
            Err(error) => eprintln!("warning: {error}: {}, trying again at the next change", error.source),
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
