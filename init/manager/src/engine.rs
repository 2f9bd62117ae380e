//! PID 1's whole state, and the loop that turns what happens into what is done.
//!
//! One thread. Whatever happens is queued as an event of a unit; events are taken until none is left, then jobs run.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ferrite_sys::epoll::Epoll;
use ferrite_sys::reboot::End;
use ferrite_unit::LoadPath;
use ferrite_unit::specifier::Host;

use crate::bus_names::Bus;
use crate::clock;
use crate::completion::Completion;
use crate::corruption::RootWatch;
use crate::groups::Groups;
use crate::jobs::{JobId, JobKind, UnitId};
use crate::kinds::{KindEvent, Kinds};
use crate::launching::Launching;
use crate::log::Log;
use crate::machine::Event;
use crate::manager_state::ManagerState;
use crate::moments::Moments;
use crate::recorder::Recorder;
use crate::reexec::Reexec;
use crate::reload::Reloads;
use crate::server::{ClientId, Server};
use crate::timers::{TimerKey, Timers};
use crate::units::Table;
use crate::watch::Watch;

/// How PID 1 was started.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Is this the PID 1 of the machine, not of a namespace?
    pub real_boot: bool,
    /// Where units are searched.
    pub load_path: LoadPath,
    /// The unit to start; `default.target` unless the command line says otherwise.
    pub default_unit: String,
    /// The control socket.
    pub control_socket: String,
    /// The notify socket.
    pub notify_socket: String,
    /// The kernel command line.
    pub command_line: String,
    /// The program of PID 1, to execute it again.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The table of file systems.
    pub fstab: String,
    /// `SYSTEMD_GENERATOR_PATH`: where generators are; without it a namespace has none.
    pub generator_path: Option<String>,
    /// May clients inject faults? For tests.
    pub test_faults: bool,
    /// The variables of PID 1, for units that name some (`PassEnvironment=`).
    pub environment: Vec<(String, String)>,
}

/// A job in the queue.
#[derive(Debug)]
pub struct Job {
    /// Its unit.
    pub unit: UnitId,
    /// What is asked.
    pub kind: JobKind,
    /// Did it begin?
    pub running: bool,
    /// May it not be replaced?
    pub irreversible: bool,
    /// Asked to ignore all order.
    pub ignore_order: bool,
    /// When it was queued, in microseconds of the monotonic clock.
    pub queued_us: u64,
    /// When it began last; 0: it did not.
    pub began_us: u64,
    /// Clients that wait for its end.
    pub waiters: Vec<(ClientId, usize)>,
}

/// Which process of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The main process of a service, or the helper of a mount.
    Main,
    /// A control process.
    Control,
    /// A command of a client (`sudo`).
    Command(ClientId),
    /// A helper of PID 1 itself, whose end means nothing.
    Helper,
    /// The trial of the next image of PID 1.
    Trial,
    /// The generators of a reload.
    Generators,
    /// Removes the files of a unit.
    Cleaner(UnitId),
}

/// A child of ours.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Whose.
    pub unit: Option<UnitId>,
    /// Which.
    pub role: Role,
}

/// An event of a unit.
#[derive(Debug, Clone, Copy)]
pub enum UnitEvent {
    /// Of a service.
    Service(Event),
    /// Of any other kind.
    Other(KindEvent),
}

/// Where the whole system stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first transaction runs.
    Starting,
    /// It is over.
    Running,
    /// The system ends.
    Stopping(End),
}

/// Keys of the files that the loop waits for.
pub mod keys {
    /// Signals.
    pub const SIGNALS: u64 = 0;
    /// sd_notify.
    pub const NOTIFY: u64 = 1;
    /// Control groups.
    pub const GROUPS: u64 = 2;
    /// New clients.
    pub const CONTROL: u64 = 3;
    /// The kernel's word on the device below the root.
    pub const ROOT: u64 = 4;
    /// The message bus.
    pub const BUS: u64 = 5;
    /// From here on: clients, by number.
    pub const CLIENTS: u64 = 1 << 32;
    /// From here on: reports of children before execution, by process id.
    pub const REPORTS: u64 = 1 << 48;
    /// From here on: files of units, see `kinds::Watched`.
    pub const WATCHED: u64 = 1 << 56;
    /// From here on: stored files, by number.
    pub const STORED: u64 = 1 << 60;
}

/// The service manager.
pub struct Engine {
    /// How it was started.
    pub settings: Settings,
    /// The units.
    pub units: Table,
    /// The jobs.
    pub jobs: BTreeMap<JobId, Job>,
    /// Jobs that may be able to run now.
    pub ready: BTreeSet<JobId>,
    /// Number of the next job.
    pub next_job: JobId,
    /// The same when memory was last given back.
    pub rested: JobId,
    /// Events not yet taken.
    pub events: VecDeque<(UnitId, UnitEvent)>,
    /// Deadlines.
    pub timers: Timers,
    /// Our children that belong to somebody.
    pub processes: BTreeMap<i32, Process>,
    /// Pipes on which children report why they could not execute.
    pub reports: BTreeMap<i32, OwnedFd>,
    /// How processes are made.
    pub launching: Launching,
    /// Control groups.
    pub groups: Groups,
    /// What specifiers say.
    pub host: Host,
    /// The log.
    pub log: Log,
    /// What units beside services and mounts hold.
    pub kinds: Kinds,
    /// Files that are waited for.
    pub epoll: Epoll,
    /// The notify socket.
    pub notify: Option<OwnedFd>,
    /// Clients.
    pub server: Server,
    /// Where the system stands.
    pub phase: Phase,
    /// Watchdog and boot deadline.
    pub watch: Watch,
    /// Did the boot get to its end?
    pub completion: Completion,
    /// Is the root still what its hash says?
    pub root: RootWatch,
    /// Did the shutdown get far enough for its last phase?
    pub finished: Option<End>,
    /// A word for the firmware at a restart.
    pub reboot_argument: Option<String>,
    /// Recent Ctrl-Alt-Del.
    pub ctrl_alt_del: Vec<Instant>,
    /// Idle services wait for a byte in this pipe, as long as the boot goes on.
    pub idle: Option<(OwnedFd, OwnedFd)>,
    /// The moments of the boot.
    pub moments: Moments,
    /// The units of stored files whose hang-up is waited for.
    pub stored_keys: BTreeMap<u64, UnitId>,
    /// Number of the next one.
    pub next_stored: u64,
    /// Forking services whose main process is not known yet.
    pub unborn: BTreeSet<UnitId>,
    /// Units to look at because others came up or went down.
    pub checks: BTreeSet<UnitId>,
    /// Units that may not be needed any more.
    pub idle_units: BTreeSet<UnitId>,
    /// A wish to execute PID 1 again.
    pub reexec: Option<Reexec>,
    /// The state kept ready for a crash.
    pub recorder: Recorder,
    /// Reloads under way and wished.
    pub reloads: Reloads,
    /// The message bus, and who waits for a name there.
    pub bus: Bus,
    /// What was chosen for the manager itself.
    pub manager: ManagerState,
}

/// Clients are served for so long before timers and processes have their turn.
const CLIENTS_TIME: Duration = Duration::from_millis(500);

/// Children that have not executed their program yet; each holds a file of ours, has all of ours open, and shares our
/// memory, of which everything that we write meanwhile must be copied.
const UNBORN_MAX: usize = 32;
/// Rounds in a turn while there are so many of them.
const ROUNDS_CROWDED: usize = 64;
/// How long to wait for one of them.
const CROWDED: Duration = Duration::from_millis(10);

/// So many jobs leave memory that is worth giving back.
const JOBS_MANY: JobId = 100;

/// Rounds of events and jobs between two looks at files: PID 1 always answers, whatever units do.
const ROUNDS_MAX: usize = 10_000;

impl Engine {
    /// Waits for what happens and deals with it, until the system is to end.
    pub fn run(&mut self, signals: &nix::sys::signalfd::SignalFd) -> End {
        loop {
            self.work();
            if let Some(end) = self.finished {
                return end;
            }
            self.continue_reload();
            self.reexec_if_wished();
            self.record_changes();
            self.rest();
            let busy = !self.events.is_empty() || !self.ready.is_empty() || self.reloads.is_busy();
            let wait = match busy {
                true if self.is_crowded() => Some(CROWDED),
                true => Some(Duration::ZERO),
                false => self.timers.wait(Instant::now()),
            };
            match self.epoll.wait(wait) {
                Ok(keys) => self.files_ready(&keys, signals),
                Err(error) => self.log.error(&format!("waiting for events: {error}, going on")),
            }
            for _ in 0..ROUNDS_MAX {
                let Some(key) = self.timers.due(Instant::now()) else { break };
                self.due(key);
            }
        }
    }

    fn files_ready(&mut self, ready: &[u64], signals: &nix::sys::signalfd::SignalFd) {
        if ready.contains(&keys::ROOT) {
            self.check_root();
        }
        // A message of a process counts before the news of its end.
        if ready.contains(&keys::NOTIFY) || ready.contains(&keys::SIGNALS) {
            self.take_notifications();
        }
        for key in ready.iter().filter(|key| (keys::REPORTS..keys::WATCHED).contains(key)) {
            self.take_report(*key);
        }
        for key in ready.iter().filter(|key| **key >= keys::STORED) {
            self.stored_hung_up(*key);
        }
        if ready.contains(&keys::SIGNALS) {
            self.take_signals(signals);
        }
        if ready.contains(&keys::GROUPS) {
            self.take_group_changes();
        }
        if ready.contains(&keys::BUS) {
            self.hear_bus();
        }
        for key in ready.iter().filter(|key| (keys::WATCHED..keys::STORED).contains(key)) {
            self.watched_ready(*key);
        }
        let began = Instant::now();
        for key in ready {
            if began.elapsed() > CLIENTS_TIME {
                // The rest is told of again, after timers and processes had their turn.
                break;
            }
            match *key {
                keys::CONTROL => self.accept_clients(),
                key if (keys::CLIENTS..keys::REPORTS).contains(&key) => {
                    self.client_ready(ClientId(key - keys::CLIENTS))
                }
                _ => {}
            }
        }
    }

    /// All jobs are done: what many of them took for a while is given back.
    fn rest(&mut self) {
        let ended = self.next_job.wrapping_sub(self.rested);
        if ended >= JOBS_MANY && self.jobs.is_empty() && self.reports.is_empty() && !self.reloads.is_busy() {
            self.rested = self.next_job;
            self.give_back_memory();
        }
    }

    fn is_crowded(&self) -> bool {
        self.reports.len() >= UNBORN_MAX
    }

    /// Takes events and runs jobs until nothing is left to do.
    pub fn work(&mut self) {
        for round in 0..ROUNDS_MAX {
            if round >= ROUNDS_CROWDED && self.is_crowded() {
                break;
            }
            if let Some((id, event)) = self.events.pop_front() {
                self.take_event(id, event);
            } else if let Some(job) = self.ready.pop_first() {
                self.try_job(job);
            } else if !self.check_next() {
                break;
            }
            // At once: a process that was made just now must not be made a second time after a crash.
            if self.recorder.is_urgent() {
                self.record_changes();
            }
        }
        self.check_phase();
        self.collect();
    }

    fn due(&mut self, key: TimerKey) {
        match key {
            TimerKey::Unit(id) => {
                let event = match self.units.get(id).map(|runtime| &runtime.kind) {
                    Some(crate::units::Kind::Other(_)) => UnitEvent::Other(KindEvent::TimedOut),
                    _ => UnitEvent::Service(Event::TimedOut),
                };
                self.events.push_back((id, event));
            }
            TimerKey::Watchdog(id) => self.events.push_back((id, UnitEvent::Service(Event::WatchdogExpired))),
            TimerKey::PidFile(id) => self.find_main(id, true),
            TimerKey::Rest(id) => self.ports_rested(id),
            TimerKey::Elapse(id) => self.timer_elapsed(id),
            TimerKey::Cleaning(id) => self.cleaning_timed_out(id),
            TimerKey::Mounts => self.look_at_mounts(),
            TimerKey::Job(job) => self.job_timed_out(job),
            TimerKey::Check(id) => {
                self.checks.insert(id);
            }
            TimerKey::BootDeadline => self.boot_deadline(),
            // Only that the time is over counts: the next round looks at the boot again.
            TimerKey::BootRetry => {}
            TimerKey::Hardware => self.ping_hardware(),
            TimerKey::Emergency => self.emergency_over(),
            TimerKey::Reload => self.begin_reload(),
            TimerKey::Generators => self.generators_timed_out(),
            TimerKey::Trial => self.trial_timed_out(),
            TimerKey::Shutdown => {
                if let Phase::Stopping(end) = self.phase {
                    self.log.error("stopping all units takes too long, ending the system without them");
                    self.finished = Some(end);
                }
            }
        }
    }

    /// Now, in microseconds: wall clock and since the kernel started.
    pub fn now_us(&self) -> (u64, u64) {
        (clock::wall_us(), clock::boot_us())
    }
}
