//! The turn of the daemon: wait, read each source a bounded amount, write once.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};
use ferrite_unit::zone::{Zone, Zones};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use super::clock::{Moment, boot_id};
use super::config::Config;
use super::context::Processes;
use super::control::{Answer, Call, Client, Order};
use super::file_store::FileStore;
use super::forward::Forward;
use super::keeper::{Keeper, Standing};
use super::rate::RateLimit;
use super::sockets::{READ_BYTES, Sockets};
use super::sources::{Stream, open_audit, open_kmsg};
use super::store::{Places, Store};
use super::terminal::Terminal;
use super::wishes::AllWishes;
use super::{Environment, Options, config};

const SIGNALS: u64 = 0;
const STDOUT: u64 = 1;
const SYSLOG: u64 = 2;
const NATIVE: u64 = 3;
const KERNEL: u64 = 4;
const CONTROL: u64 = 5;
const AUDIT: u64 = 6;
const FIRST_CLIENT: u64 = 16;
pub(super) const FIRST_STREAM: u64 = 1 << 32;
const EVENTS_PER_TURN: usize = 64;
/// Turns in which what was sent before is still taken, at the end and before a synchronisation.
const LAST_TURNS: usize = 64;
/// Connections that give orders at the same time.
const CLIENTS_MAX: usize = 16;

/// Runs until SIGTERM.
pub fn run(options: &Options, environment: Environment) -> Result<()> {
    let mut daemon = Daemon::start(options, environment)?;
    daemon.files.notifier().ready("Processing requests...").context("telling PID 1 that the log is ready")?;
    while daemon.turn(None)? != Next::Stop {
        daemon.obey()?;
    }
    daemon.drain()?;
    daemon.keeper.tell_suppressed();
    let now = Moment::now();
    daemon.keeper.finish_turn(now);
    daemon.keeper.store.sync(now);
    daemon.save_sequence();
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Idle,
    Stop,
}

/// Everything the daemon has.
pub(super) struct Daemon {
    pub(super) epoll: Epoll,
    signals: SignalFd,
    pub(super) sockets: Sockets,
    pub(super) files: FileStore,
    pub(super) kmsg: Option<File>,
    pub(super) audit: Option<OwnedFd>,
    sequence_path: PathBuf,
    pub(super) next_sequence: u64,
    saved_sequence: u64,
    pub(super) streams_dir: PathBuf,
    pub(super) streams: BTreeMap<u64, Stream>,
    pub(super) next_stream: u64,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    /// Orders, each with the connection that waits for its answer.
    orders: Vec<(Order, Option<u64>)>,
    pub(super) keeper: Keeper,
    pub(super) line_max: usize,
    pub(super) buffer: Vec<u8>,
    run_dir: PathBuf,
    watchdog_us: Option<u64>,
    watchdog_at_us: u64,
}

impl Daemon {
    fn start(options: &Options, environment: Environment) -> Result<Self> {
        raise_file_limit();
        let notifier = ferrite_notify::Notifier::new(environment.notify_socket.as_deref())?;
        let mut files = FileStore::take_over(&environment.handed, notifier);
        let signals = ferrite_sys::signal::block_all().context("taking signals")?;
        let (config, faults) = read_config(options);
        let sockets = Sockets::open(&options.run_dir, &options.dev_log, &mut files)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("opening an epoll")?;
        let kmsg = if config.read_kmsg { open_kmsg(&options.kmsg) } else { None };
        let audit = open_audit(config.audit);
        let watch = |file: &dyn AsFd, token| {
            epoll.add(file.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token)).context("watching a descriptor")
        };
        watch(&signals, SIGNALS)?;
        watch(&sockets.stdout, STDOUT)?;
        watch(&sockets.syslog, SYSLOG)?;
        watch(&sockets.native, NATIVE)?;
        watch(&sockets.control, CONTROL)?;
        if let Some(kmsg) = &kmsg {
            watch(kmsg, KERNEL)?;
        }
        if let Some(audit) = &audit {
            watch(audit, AUDIT)?;
        }
        let sequence_path = options.run_dir.join("kernel-sequence");
        // The number belongs to this start of the kernel: /run is empty at the next one.
        let next_sequence =
            std::fs::read_to_string(&sequence_path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let mut daemon = Self {
            epoll,
            signals,
            sockets,
            files,
            kmsg,
            audit,
            sequence_path,
            next_sequence,
            saved_sequence: next_sequence,
            streams_dir: options.run_dir.join("streams"),
            streams: BTreeMap::new(),
            next_stream: FIRST_STREAM,
            clients: BTreeMap::new(),
            next_client: FIRST_CLIENT,
            orders: Vec::new(),
            line_max: config.line_max,
            keeper: keeper(options, config),
            buffer: vec![0; READ_BYTES],
            run_dir: options.run_dir.clone(),
            watchdog_us: environment.watchdog_us.map(|us| us / 2),
            watchdog_at_us: 0,
        };
        faults.into_iter().for_each(|fault| daemon.keeper.say(&fault, 4));
        daemon.restore_streams();
        Ok(daemon)
    }

    fn turn(&mut self, timeout: Option<EpollTimeout>) -> Result<Next> {
        let timeout = timeout.unwrap_or_else(|| self.timeout());
        let mut events = [EpollEvent::empty(); EVENTS_PER_TURN];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno).context("waiting for messages"),
        };
        let mut next = if count == 0 { Next::Idle } else { Next::GoOn };
        for event in events.get(..count).unwrap_or_default() {
            match event.data() {
                SIGNALS => {
                    if self.take_signals() {
                        next = Next::Stop;
                    }
                }
                STDOUT => self.accept_streams(),
                SYSLOG => self.read_syslog(),
                NATIVE => self.read_native(),
                KERNEL => self.read_kernel(),
                CONTROL => self.accept_clients(),
                AUDIT => self.read_audit(),
                token if token >= FIRST_STREAM => self.read_stream(token),
                token => self.read_client(token),
            }
        }
        let now = Moment::now();
        self.keeper.finish_turn(now);
        self.save_sequence();
        self.tell_watchdog(now);
        Ok(next)
    }

    /// Takes what was sent so far.
    fn drain(&mut self) -> Result<()> {
        for _ in 0..LAST_TURNS {
            if self.turn(Some(EpollTimeout::ZERO))? == Next::Idle {
                break;
            }
        }
        Ok(())
    }

    fn timeout(&self) -> EpollTimeout {
        let now = Moment::now();
        let watchdog = self.watchdog_us.map(|_| self.watchdog_at_us.saturating_sub(now.monotonic_us));
        match self.keeper.store.due_in_us(now).into_iter().chain(watchdog).min() {
            None => EpollTimeout::NONE,
            Some(us) => i32::try_from(us.div_ceil(1000))
                .ok()
                .and_then(|ms| EpollTimeout::try_from(ms).ok())
                .unwrap_or(EpollTimeout::MAX),
        }
    }

    fn tell_watchdog(&mut self, now: Moment) {
        if let Some(interval) = self.watchdog_us.filter(|_| now.monotonic_us >= self.watchdog_at_us) {
            self.watchdog_at_us = now.monotonic_us + interval;
            // PID 1 that does not listen will end us, and say so.
            let _ = self.files.notifier().watchdog();
        }
    }

    /// `true`: the end.
    fn take_signals(&mut self) -> bool {
        let mut is_over = false;
        let synchronise = ferrite_sys::signal::real_time(1);
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            match number {
                n if n == Signal::SIGTERM as i32 || n == Signal::SIGINT as i32 => is_over = true,
                n if n == Signal::SIGUSR1 as i32 => self.orders.push((Order::FlushToVar, None)),
                n if n == Signal::SIGUSR2 as i32 => self.orders.push((Order::Rotate, None)),
                n if n == synchronise => self.orders.push((Order::Synchronize, None)),
                _ => {}
            }
        }
        is_over
    }

    /// Carries out what was ordered, and answers.
    fn obey(&mut self) -> Result<()> {
        if self.orders.is_empty() {
            return Ok(());
        }
        self.drain()?;
        for (order, token) in std::mem::take(&mut self.orders) {
            let now = Moment::now();
            let mut is_done = true;
            let mark = match order {
                Order::Synchronize => {
                    self.keeper.tell_suppressed();
                    self.keeper.finish_turn(now);
                    is_done = self.keeper.store.sync(now);
                    Some("synced").filter(|_| is_done)
                }
                Order::Rotate => {
                    self.keeper.store.rotate(now);
                    Some("rotated")
                }
                Order::FlushToVar => {
                    self.keeper.store.flush_to_disk(now);
                    Some("flushed")
                }
                Order::RelinquishVar => {
                    self.keeper.store.relinquish(now);
                    None
                }
            };
            if let Some(mark) = mark {
                // Whoever waits for these files of systemd sees when it was done; without them the answer is enough.
                let _ = std::fs::write(self.run_dir.join(mark), format!("{}\n", now.monotonic_us));
            }
            if let Some(token) = token
                && let Some(mut client) = self.clients.remove(&token)
                && client.answer(if is_done { Answer::Done } else { Answer::NotDurable })
            {
                self.clients.insert(token, client);
            }
        }
        Ok(())
    }

    fn accept_clients(&mut self) {
        while let Ok((socket, _)) = self.sockets.control.accept() {
            if self.clients.len() >= CLIENTS_MAX || socket.set_nonblocking(true).is_err() {
                continue;
            }
            let token = self.next_client;
            if self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, token)).is_ok() {
                self.next_client = if token + 1 == FIRST_STREAM { FIRST_CLIENT } else { token + 1 };
                self.clients.insert(token, Client::new(socket));
            }
        }
    }

    fn read_client(&mut self, token: u64) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        match client.read() {
            Call::Over => {
                // It is closed now, and watched no more.
                let _ = self.epoll.delete(client.socket());
                return;
            }
            Call::Incomplete => {}
            Call::Order(order) => self.orders.push((order, Some(token))),
            Call::Unknown(method) => {
                if !client.answer(Answer::Unknown(&method)) {
                    return;
                }
            }
        }
        self.clients.insert(token, client);
    }

    /// After the records are written, so that a crash repeats some rather than losing any.
    fn save_sequence(&mut self) {
        if self.saved_sequence != self.next_sequence {
            self.saved_sequence = self.next_sequence;
            // Without it a restart repeats the kernel's messages: not worth an error.
            let _ = std::fs::write(&self.sequence_path, format!("{}\n", self.next_sequence));
        }
    }
}

fn read_config(options: &Options) -> (Config, Vec<String>) {
    let (mut config, faults) = config::read(&options.root);
    if let Some(burst) = options.rate_burst {
        config.rate_burst = burst;
    }
    (config, faults)
}

fn keeper(options: &Options, config: Config) -> Keeper {
    let boot = boot_id();
    let machine = std::fs::read_to_string(&options.machine_id).unwrap_or_default();
    // A machine that has no id yet has one for this start.
    let machine = ferrite_journal_file::Id128::parse(&machine).unwrap_or(boot);
    let places = Places { disk: options.log_dir.clone(), memory: options.runtime_dir.clone(), machine };
    let level = config.forward_to_syslog.then_some(config.max_level_syslog);
    Keeper {
        standing: Standing::new(boot, machine),
        rate: RateLimit::new(config.rate_interval_us, config.rate_burst),
        wishes: AllWishes::new(&options.units_dir),
        processes: Processes::new(&options.units_dir),
        forward: Forward::new(&options.run_dir, local_zone(), level),
        terminal: Terminal::new(config.forward_to_console.then(|| config.terminal.clone()), config.max_level_console),
        max_level: config.max_level_store,
        store: Store::new(places, config),
    }
}

/// The zone that a syslog daemon expects times to be in.
fn local_zone() -> Zone {
    Zones::new(None, |path| std::fs::read(path).ok()).local().clone()
}

/// Each service is a descriptor.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // With the old limit fewer services can be connected.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
