//! The kinds of units beside service, mount, target and slice: their states, their events, what PID 1 holds for them.
//!
//! Each kind has a pure machine in `X_machine.rs` and an applier in `X_unit.rs`; this file leads the one to the other.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;

use ferrite_sys::autofs::Control;
use ferrite_unit::zone::Zones;
use serde::{Deserialize, Serialize};

use crate::alarms::{Alarms, Clock};
use crate::automount_machine::{AutomountEvent, AutomountMachine};
use crate::automount_unit::AutomountPipe;
use crate::device_unit::{DeviceState, DeviceWatch};
use crate::engine::{Engine, UnitEvent, keys};
use crate::jobs::{Active, JobResult, UnitId};
use crate::machine::Exit;
use crate::mount_machine::{MountEvent, MountMachine};
use crate::mount_unit::MountTable;
use crate::path_machine::{PathEvent, PathMachine};
use crate::path_unit::PathData;
use crate::reach::Silent;
use crate::scope_machine::{ScopeEvent, ScopeMachine, ScopeState};
use crate::server::ClientId;
use crate::socket_accept::Connection;
use crate::socket_machine::{SocketEvent, SocketMachine};
use crate::socket_open::OpenSockets;
use crate::swap_machine::{SwapEvent, SwapMachine};
use crate::timer_machine::{TimerEvent, TimerMachine};
use crate::timer_unit::TimerData;
use crate::timers::TimerKey;
use crate::transaction::Relation;
use crate::units::Kind;

/// Why a unit failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Cause {
    #[default]
    Success,
    Resources,
    Timeout,
    ExitCode,
    Signal,
    CoreDump,
    OomKill,
    StartLimitHit,
    TriggerLimitHit,
    ServiceStartLimitHit,
    UnitStartLimitHit,
    MountStartLimitHit,
    Unmounted,
    Protocol,
}

impl Cause {
    /// systemd's `Result=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Success => "success",
            Cause::Resources => "resources",
            Cause::Timeout => "timeout",
            Cause::ExitCode => "exit-code",
            Cause::Signal => "signal",
            Cause::CoreDump => "core-dump",
            Cause::OomKill => "oom-kill",
            Cause::StartLimitHit => "start-limit-hit",
            Cause::TriggerLimitHit => "trigger-limit-hit",
            Cause::ServiceStartLimitHit => "service-start-limit-hit",
            Cause::UnitStartLimitHit => "unit-start-limit-hit",
            Cause::MountStartLimitHit => "mount-start-limit-hit",
            Cause::Unmounted => "unmounted",
            Cause::Protocol => "protocol",
        }
    }

    /// What the end of a command means.
    pub fn of(exit: Exit) -> Cause {
        match exit {
            Exit::Code(0) => Cause::Success,
            Exit::Code(_) => Cause::ExitCode,
            Exit::Signal(_) => Cause::Signal,
            Exit::Dumped(_) => Cause::CoreDump,
        }
    }
}

/// The state of a unit of one of these kinds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum KindState {
    /// A socket.
    Socket(SocketMachine),
    /// A timer.
    Timer(TimerMachine),
    /// A path unit.
    Path(PathMachine),
    /// A scope.
    Scope(ScopeMachine),
    /// A device.
    Device(DeviceState),
    /// A mount.
    Mount(MountMachine),
    /// Swap space.
    Swap(SwapMachine),
    /// A mount made on access.
    Automount(AutomountMachine),
}

impl KindState {
    /// The state of a unit that does not run; `None` for kinds of which this file knows nothing.
    pub fn idle(unit: &ferrite_unit::Unit) -> Option<KindState> {
        use ferrite_unit::Config;
        match &unit.config {
            Config::Socket(_) => Some(KindState::Socket(SocketMachine::default())),
            Config::Timer(_) => Some(KindState::Timer(TimerMachine::default())),
            Config::Path(_) => Some(KindState::Path(PathMachine::default())),
            // The processes of PID 1 itself are there from the start.
            Config::Scope(_) if crate::collect::is_perpetual(unit.name.as_str()) => {
                Some(KindState::Scope(ScopeMachine { state: ScopeState::Running, ..ScopeMachine::default() }))
            }
            Config::Scope(_) => Some(KindState::Scope(ScopeMachine::default())),
            Config::Device => Some(KindState::Device(DeviceState::default())),
            Config::Mount(_) => Some(KindState::Mount(MountMachine::default())),
            Config::Swap(_) => Some(KindState::Swap(SwapMachine::default())),
            Config::Automount(_) => Some(KindState::Automount(AutomountMachine::default())),
            _ => None,
        }
    }

    /// systemd's active state.
    pub fn active(&self) -> Active {
        match self {
            KindState::Socket(machine) => machine.active(),
            KindState::Timer(machine) => machine.active(),
            KindState::Path(machine) => machine.active(),
            KindState::Scope(machine) => machine.active(),
            KindState::Device(state) => state.active(),
            KindState::Mount(machine) => machine.active(),
            KindState::Swap(machine) => machine.active(),
            KindState::Automount(machine) => machine.active(),
        }
    }

    /// systemd's sub state.
    pub fn sub(&self) -> &'static str {
        match self {
            KindState::Socket(machine) => machine.sub(),
            KindState::Timer(machine) => machine.sub(),
            KindState::Path(machine) => machine.sub(),
            KindState::Scope(machine) => machine.sub(),
            KindState::Device(state) => state.sub(),
            KindState::Mount(machine) => machine.sub(),
            KindState::Swap(machine) => machine.sub(),
            KindState::Automount(machine) => machine.sub(),
        }
    }

    /// Are its starts counted?
    pub fn is_limited(&self) -> bool {
        match self {
            KindState::Socket(_) | KindState::Timer(_) | KindState::Path(_) => true,
            KindState::Mount(_) | KindState::Swap(_) | KindState::Automount(_) => true,
            KindState::Scope(_) | KindState::Device(_) => false,
        }
    }

    /// Why it failed.
    pub fn cause(&self) -> Cause {
        match self {
            KindState::Socket(machine) => machine.cause,
            KindState::Timer(machine) => machine.cause,
            KindState::Path(machine) => machine.cause,
            KindState::Scope(machine) => machine.cause,
            KindState::Device(_) => Cause::Success,
            KindState::Mount(machine) => machine.cause,
            KindState::Swap(machine) => machine.cause,
            KindState::Automount(machine) => machine.cause,
        }
    }
}

/// What happened to a unit of one of these kinds.
#[derive(Debug, Clone, Copy)]
pub enum KindEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// A reload job runs.
    Reload,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// Its process ended.
    Exited(Exit),
    /// Its process could not be made.
    NotMade,
    /// The last process of its control group ended.
    GroupEmpty,
    /// The timer ran out.
    TimedOut,
    /// A unit that it starts changed its state or its job.
    TriggeredChanged,
    /// Of a socket alone.
    Socket(SocketEvent),
    /// Of a timer alone.
    Timer(TimerEvent),
    /// Of a path unit alone.
    Path(PathEvent),
    /// Of a scope alone.
    Scope(ScopeEvent),
    /// Of a mount alone.
    Mount(MountEvent),
    /// Of swap space alone.
    Swap(SwapEvent),
    /// Of an automount alone.
    Automount(AutomountEvent),
}

/// What an open file is to its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// A listening socket of a unit, by its place.
    Port(UnitId, usize),
    /// A watched path of a unit, by its place.
    Path(UnitId, usize),
    /// The place of a device.
    Device(UnitId),
    /// The kernel's messages about devices.
    Uevents,
    /// The kernel's reports about an automount.
    Automount(UnitId),
    /// The table of mounts.
    Mounts,
    /// The list of swap space.
    Swaps,
    /// A clock of timers.
    Clock(Clock),
    /// The time zone.
    Zone,
}

/// What PID 1 holds for the units of these kinds.
#[derive(Debug, Default)]
pub struct Kinds {
    /// The open sockets.
    pub sockets: BTreeMap<UnitId, OpenSockets>,
    /// The connections of services that were made for one.
    pub connections: BTreeMap<UnitId, Connection>,
    /// What is known of timers.
    pub timers: BTreeMap<UnitId, TimerData>,
    /// What is known of path units.
    pub paths: BTreeMap<UnitId, PathData>,
    /// The kernel's automounter, once somebody needs it.
    pub autofs: Option<Control>,
    /// Its reports.
    pub automounts: BTreeMap<UnitId, AutomountPipe>,
    /// The table of mounts.
    pub mounts: MountTable,
    /// The list of swap space, once somebody uses some.
    pub swaps: Option<std::fs::File>,
    /// Watches of devices below /dev.
    pub devices: BTreeMap<UnitId, DeviceWatch>,
    /// The kernel's messages about devices, once somebody waits for one in sysfs.
    pub uevents: Option<OwnedFd>,
    /// Processes with which scopes begin.
    pub scope_processes: BTreeMap<UnitId, Vec<i32>>,
    /// Standard streams that came with the request for a unit.
    pub streams: BTreeMap<UnitId, [OwnedFd; 3]>,
    /// Clients for which units are kept although they are over.
    pub references: BTreeMap<UnitId, BTreeSet<ClientId>>,
    /// Clients that wait for the end of a unit.
    pub waiting: Vec<(ClientId, UnitId)>,
    /// File systems that gave no answer.
    pub silent: Silent,
    /// Clients that wait until a unit is frozen or thawed.
    pub freezing: Vec<(ClientId, UnitId)>,
    /// Clients that wait until the files of a unit are removed.
    pub cleaning: Vec<(ClientId, UnitId)>,
    /// What started a unit, for its environment.
    pub triggers: BTreeMap<UnitId, Vec<(String, String)>>,
    /// Clocks that are open.
    pub alarms: Vec<(Clock, Alarms)>,
    /// Time zones, once a timer asked for them.
    pub zones: Option<Zones>,
    /// Tells of changes of the time zone.
    pub zone_watch: Option<(OwnedFd, u64)>,
    /// Files that the loop waits for.
    watched: BTreeMap<u64, Watched>,
    next_key: u64,
}

impl Kinds {
    /// A key for the loop.
    pub fn watch(&mut self, what: Watched) -> u64 {
        self.next_key += 1;
        let key = keys::WATCHED + self.next_key;
        self.watched.insert(key, what);
        key
    }

    /// Forgets a unit that is down and gone: its number may be given to another one.
    pub fn forget(&mut self, id: UnitId) {
        self.sockets.remove(&id);
        self.connections.remove(&id);
        self.timers.remove(&id);
        self.triggers.remove(&id);
    }

    /// Forgets a key.
    pub fn unwatch(&mut self, key: u64) {
        self.watched.remove(&key);
    }
}

impl Engine {
    /// Begins to start a unit.
    pub fn begin_kind(&mut self, id: UnitId) {
        if let Some(why) = self.refuses_now(id) {
            let name = self.title(id);
            self.log.error(&format!("{name}: {why}, refusing"));
            if let Some(job) = self.units.get(id).and_then(|runtime| runtime.job) {
                self.finish_job(job, JobResult::Failed);
            }
            return;
        }
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.commands.clear();
            runtime.invocation = crate::spawn::new_invocation();
        }
        self.kind_happened(id, KindEvent::Start);
    }

    /// Why a unit cannot be started as things stand.
    fn refuses_now(&mut self, id: UnitId) -> Option<String> {
        match self.kind_state(id)? {
            KindState::Socket(_) => self.socket_refuses(id),
            KindState::Timer(_) | KindState::Path(_) => self.trigger_refuses(id),
            KindState::Scope(_) => self.scope_refuses(id),
            KindState::Automount(_) => self.automount_refuses(id),
            KindState::Device(_) | KindState::Mount(_) | KindState::Swap(_) => None,
        }
    }

    /// The state of a unit, if it is of one of these kinds.
    pub fn kind_state(&self, id: UnitId) -> Option<KindState> {
        match self.units.get(id)?.kind {
            Kind::Other(state) => Some(state),
            Kind::Service(_) | Kind::Passive(_) | Kind::Inert => None,
        }
    }

    /// Queues an event.
    pub fn kind_happened(&mut self, id: UnitId, event: KindEvent) {
        self.events.push_back((id, UnitEvent::Other(event)));
    }

    /// Takes an event.
    pub fn kind_event(&mut self, id: UnitId, event: KindEvent) {
        match self.kind_state(id) {
            Some(KindState::Socket(machine)) => self.socket_event(id, machine, event),
            Some(KindState::Timer(machine)) => self.timer_event(id, machine, event),
            Some(KindState::Path(machine)) => self.path_event(id, machine, event),
            Some(KindState::Scope(machine)) => self.scope_event(id, machine, event),
            Some(KindState::Device(_)) => self.device_event(id, event),
            Some(KindState::Mount(machine)) => self.mount_event(id, machine, event),
            Some(KindState::Swap(machine)) => self.swap_event(id, machine, event),
            Some(KindState::Automount(machine)) => self.automount_event(id, machine, event),
            None => {}
        }
    }

    /// Gives a unit its new state and tells everybody whom that concerns.
    pub fn set_kind(&mut self, id: UnitId, state: KindState) {
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.kind = Kind::Other(state);
        }
    }

    /// An event that means nothing in this state: a job must not wait for it.
    pub fn kind_meaningless(&mut self, id: UnitId, event: KindEvent) {
        let Some(runtime) = self.units.get(id) else { return };
        let (Some(job), active) = (runtime.job, runtime.active()) else { return };
        match event {
            KindEvent::Stop if active.is_down() => self.finish_job(job, JobResult::Done),
            KindEvent::Start if active.is_up() => self.finish_job(job, JobResult::Done),
            _ => {}
        }
    }

    /// A file of one of these kinds is ready.
    pub fn watched_ready(&mut self, key: u64) {
        match self.kinds.watched.get(&key).copied() {
            Some(Watched::Port(id, place)) => self.port_ready(id, place),
            Some(Watched::Path(id, number)) => self.path_ready(id, number),
            Some(Watched::Device(id)) => self.device_ready(id),
            Some(Watched::Uevents) => self.uevents_ready(),
            Some(Watched::Automount(id)) => self.automount_ready(id),
            Some(Watched::Mounts) => self.mounts_changed(),
            Some(Watched::Swaps) => self.swaps_changed(),
            Some(Watched::Clock(clock)) => self.clock_ready(clock),
            Some(Watched::Zone) => self.zone_ready(),
            None => {}
        }
    }

    /// A unit changed its state or its job: who starts it wants to know.
    pub fn tell_triggering(&mut self, id: UnitId) {
        for other in self.units.related(id, Relation::TriggeredBy) {
            self.kind_happened(other, KindEvent::TriggeredChanged);
        }
        self.answer_waiting(id);
    }

    /// What a change means for what is held beside the table of units.
    pub fn kind_changed(&mut self, id: UnitId, new: Active) {
        if new.is_down() {
            self.close_connection(id);
            let starts = self.units.get(id).is_some_and(|runtime| runtime.job.is_some());
            if !starts {
                self.kinds.triggers.remove(&id);
                self.kinds.streams.remove(&id);
            }
        }
        self.tell_triggering(id);
    }

    /// What is held for a unit that is being forgotten goes too.
    pub fn forget_kind(&mut self, id: UnitId) {
        self.timers.disarm(TimerKey::Rest(id));
        self.kinds.connections.remove(&id);
        self.kinds.sockets.remove(&id);
        self.kinds.timers.remove(&id);
        self.kinds.paths.remove(&id);
        self.unwatch_device(id);
        self.close_automount(id);
        self.kinds.scope_processes.remove(&id);
        self.kinds.streams.remove(&id);
        if let Some(runtime) = self.units.get(id).filter(|runtime| runtime.transient) {
            crate::transient::remove_file(&runtime.unit.name);
        }
        self.kinds.triggers.remove(&id);
    }
}
