//! Carries out what the state machines decide, and what the change of one unit means for its job and for other units.

use std::time::{Duration, Instant};

use ferrite_unit::service::{RestartMode, Service, ServiceType};

use crate::engine::{Engine, UnitEvent};
use crate::jobs::{Active, JobKind, JobResult, Mode, UnitId};
use crate::kinds::{KindEvent, KindState};
use crate::machine::{self, ControlKind, Effect, Event, State, View};
use crate::scope_machine::ScopeEvent;
use crate::timers::TimerKey;
use crate::transaction::Relation;
use crate::units::Kind;

impl Engine {
    /// Takes one event of one unit.
    pub fn take_event(&mut self, id: UnitId, event: UnitEvent) {
        match event {
            UnitEvent::Service(event) => self.service_event(id, event),
            UnitEvent::Other(event) => self.kind_event(id, event),
        }
    }

    fn service_event(&mut self, id: UnitId, event: Event) {
        let Some(runtime) = self.units.get(id) else { return };
        let (Kind::Service(before), Some(service)) = (runtime.kind, runtime.unit.service()) else { return };
        // News of a main process that was just made: it lives, so nothing depends on others in its group.
        let asks = !matches!(event, Event::MainMade | Event::MainExecuted);
        let populated = runtime.group.as_ref().is_some_and(|group| asks && self.groups.populated(group));
        let stop_queued = runtime.job.and_then(|job| self.jobs.get(&job)).is_some_and(|job| job.kind == JobKind::Stop);
        let pinned = self.keeps_files(id);
        let bus_tells = self.bus.watches(id);
        let view = View { service, populated, stop_queued, pinned, bus_tells };
        let stepped = machine::step(before, event, view);
        let Some((after, effects)) = stepped else {
            let quiet = [Event::GroupEmpty, Event::MainExecuted, Event::MainNotExecuted, Event::MainMade];
            if !quiet.contains(&event) && event != Event::ResetFailed {
                let name = self.title(id);
                self.log.debug(&format!("{name}: {event:?} means nothing in state {}", before.state.sub()));
            }
            self.resolve_meaningless(id, event);
            return;
        };
        let old = runtime.active();
        if event == Event::Start {
            let joined = self.joined_unit(id);
            self.begin_start(id);
            if let Some(runtime) = self.units.get_mut(id) {
                runtime.joined = joined;
            }
            self.watch_bus_name(id);
        }
        let forks = service_forks(&after, self.units.get(id).and_then(|runtime| runtime.unit.service()));
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.kind = Kind::Service(after);
        }
        if forks {
            self.unborn.insert(id);
        } else {
            self.unborn.remove(&id);
        }
        let mut old = old;
        for effect in effects {
            if let Effect::Ended(end) = effect {
                old = self.pass_through(id, old, end);
            } else {
                self.service_effect(id, effect);
            }
        }
        self.changed(id, old);
    }

    /// What is known of the run before is forgotten.
    fn begin_start(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        runtime.commands.clear();
        runtime.status_text.clear();
        runtime.status_errno = 0;
        runtime.early_ends.clear();
        runtime.notify_access = None;
        runtime.watchdog_override = None;
        runtime.invocation = crate::spawn::new_invocation();
        // A process that outlived its own service is none of the new one's.
        for pid in [runtime.main_pid.take(), runtime.control_pid.take()].into_iter().flatten() {
            self.processes.remove(&pid);
        }
    }

    /// A job that the machine refuses must not wait for ever.
    fn resolve_meaningless(&mut self, id: UnitId, event: Event) {
        let Some(job) = self.units.get(id).and_then(|runtime| runtime.job) else { return };
        let active = crate::transaction::Graph::active(self, id);
        match event {
            Event::Reload => self.finish_job(job, JobResult::Invalid),
            Event::Stop if active.is_down() => self.finish_job(job, JobResult::Done),
            Event::Start if active.is_up() => self.finish_job(job, JobResult::Done),
            _ => {}
        }
    }

    /// A unit that restarts by itself was down for a moment: its dependents and its job are told.
    fn pass_through(&mut self, id: UnitId, old: Active, end: State) -> Active {
        let Some(runtime) = self.units.get_mut(id) else { return old };
        let Kind::Service(next) = runtime.kind else { return old };
        runtime.kind = Kind::Service(machine::Machine { state: end, ..next });
        self.changed(id, old);
        let between = crate::transaction::Graph::active(self, id);
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.kind = Kind::Service(next);
        }
        between
    }

    fn service_effect(&mut self, id: UnitId, effect: Effect) {
        let now = Instant::now();
        match effect {
            Effect::SpawnMain(index) => self.spawn(id, None, index),
            Effect::SpawnControl(kind, index) => self.spawn(id, Some(kind), index),
            Effect::Kill(step) => self.kill(id, step),
            Effect::KillControl => {
                if let Some(pid) = self.units.get_mut(id).and_then(|runtime| runtime.control_pid.take()) {
                    self.processes.remove(&pid);
                    let _ = ferrite_sys::signal::send(pid, 9);
                }
            }
            Effect::SignalReload => {
                let runtime = self.units.get(id);
                let signal = runtime.and_then(|r| r.unit.service()).map_or(1, |service| service.reload_signal);
                if let Some(pid) = runtime.and_then(|r| r.main_pid) {
                    let _ = ferrite_sys::signal::send(pid, signal);
                    let _ = ferrite_sys::signal::send(pid, 18);
                }
                if let Some(runtime) = self.units.get_mut(id) {
                    runtime.reload_began_us = crate::clock::boot_us();
                }
            }
            Effect::ArmTimer(after) => {
                let after = after.saturating_add(self.random_extra(id));
                self.timers.arm(TimerKey::Unit(id), now, after);
            }
            Effect::DisarmTimer => self.timers.disarm(TimerKey::Unit(id)),
            Effect::FindMain { wait } => self.find_main(id, wait),
            Effect::ArmWatchdog => self.arm_watchdog(id),
            Effect::DisarmWatchdog => self.timers.disarm(TimerKey::Watchdog(id)),
            Effect::PropagateReload => self.propagate_reload(id),
            Effect::Ended(_) => {}
            Effect::RequestRestart => self.request_restart(id),
            Effect::Release => self.release(id),
        }
    }

    /// `RuntimeRandomizedExtraSec=`, for a service that is to end after a while.
    fn random_extra(&self, id: UnitId) -> Duration {
        let Some(runtime) = self.units.get(id) else { return Duration::ZERO };
        let runs = runtime.machine().is_some_and(|machine| machine.state == State::Running);
        let extra = runtime.unit.service().filter(|_| runs).and_then(|service| service.runtime_random_extra.finite());
        let micros = extra.and_then(|extra| u64::try_from(extra.as_micros()).ok()).unwrap_or(0);
        Duration::from_micros(crate::timer_unit::random_number().checked_rem(micros).unwrap_or(0))
    }

    /// Queues the job of an automatic restart, now or because the time has come.
    pub fn request_restart(&mut self, id: UnitId) {
        let service = self.units.get(id).and_then(|runtime| runtime.unit.service());
        let mode = match service.map(|service| service.restart_mode) {
            // Units that need it are not to notice.
            Some(RestartMode::Direct) => Mode::Replace,
            _ => Mode::RestartDependencies,
        };
        let event = match self.enqueue(id, JobKind::Start, mode) {
            Ok(_) => Event::RestartQueued,
            Err(error) => {
                let name = self.title(id);
                self.log.error(&format!("{name}: cannot be restarted: {error}, leaving it down"));
                Event::RestartRefused
            }
        };
        self.events.push_back((id, UnitEvent::Service(event)));
    }

    /// A service that reloads takes those along that reload with it.
    fn propagate_reload(&mut self, id: UnitId) {
        for other in self.units.related(id, Relation::PropagatesReloadTo) {
            if let Err(error) = self.enqueue(other, JobKind::TryReload, Mode::Fail) {
                let name = self.title(other);
                self.log.warning(&format!("reloading {name} with another unit: {error}, going on without"));
            }
        }
    }

    /// The service is over: its directories and its group go.
    pub fn release(&mut self, id: UnitId) {
        self.release_files(id);
        self.forget_bus_name(id);
        self.timers.disarm(TimerKey::Watchdog(id));
        self.timers.disarm(TimerKey::PidFile(id));
        let Some(runtime) = self.units.get(id) else { return };
        let restarts = matches!(runtime.machine().map(|m| m.state), Some(State::AutoRestart));
        if let Some(path) = runtime.unit.service().and_then(|service| service.pid_file.as_deref())
            && self.answers(path)
            && let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // It is out of date now, and might mislead whoever reads it.
            self.log.warning(&format!("removing {path}: {error}, leaving it"));
        }
        let Some(exec) = runtime.unit.exec() else { return };
        let keep = match exec.runtime_preserve {
            ferrite_unit::exec::Preserve::Yes => true,
            ferrite_unit::exec::Preserve::Restart => restarts,
            ferrite_unit::exec::Preserve::No => false,
        };
        if !keep {
            // A link of a time when it was hidden goes first.
            let places = exec.runtime.paths().flat_map(|name| [format!("/run/{name}"), format!("/run/private/{name}")]);
            for path in places {
                if std::fs::remove_file(&path).is_ok() {
                    continue;
                }
                if crate::facts::has_mounts_below(&path) {
                    self.log.warning(&format!("{path} holds a mounted file system, leaving it"));
                } else if let Err(error) = std::fs::remove_dir_all(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    self.log.warning(&format!("removing {path}: {error}, leaving it"));
                }
            }
        }
        if crate::credentials::has(exec) {
            crate::credentials::remove(runtime.unit.name.as_str());
        }
        self.release_messages(id);
        self.release_log_settings(id);
        self.release_shared(id, restarts);
        self.drop_group(id);
    }

    /// Lets go what the processes of the unit shared, unless new ones come soon.
    fn release_shared(&mut self, id: UnitId, restarts: bool) {
        let Some(runtime) = self.units.get(id) else { return };
        let Some(exec) = runtime.unit.exec().filter(|exec| !restarts && crate::sandbox::shared::shares(exec)) else {
            return;
        };
        let unit = runtime.unit.name.as_str();
        let user = exec.user.as_deref().filter(|_| exec.sandbox.dynamic_user);
        let sharer = self.sharer(runtime);
        let aside = if self.is_shared(id, sharer) { None } else { crate::sandbox::shared::put_aside(sharer) };
        if aside.is_none() && user.is_none() {
            return;
        }
        let work = || i32::from(crate::sandbox::shared::remove(aside.as_deref(), user, unit).is_err());
        // Its end means nothing to any unit; it is reaped as every orphan is.
        if let Err(error) = ferrite_sys::process::fork_into(None, work) {
            self.log.warning(&format!("making a process that cleans up after {unit}: {error}, leaving it"));
        }
    }

    /// Removes the group of a unit that is down, unless processes are left in it.
    pub fn drop_group(&mut self, id: UnitId) {
        let Some(group) = self.units.get(id).and_then(|runtime| runtime.group.clone()) else { return };
        if self.groups.populated(&group) {
            return;
        }
        self.groups.remove(id, &group);
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.group = None;
            if runtime.unit.exec().is_some_and(crate::credentials::has) {
                crate::credentials::remove(runtime.unit.name.as_str());
            }
        }
        self.idle_units.insert(id);
    }

    /// The control groups that changed: a service may have lost its last process.
    pub fn take_group_changes(&mut self) {
        let changes = self.groups.changed();
        self.answer_freezers();
        for id in changes.memory {
            self.count_memory_kills(id);
        }
        for id in changes.population {
            let Some(runtime) = self.units.get(id) else { continue };
            let Some(group) = runtime.group.clone() else { continue };
            // Usually the news is that its first process came; when that ends, the group is looked at.
            if runtime.has_own_main() || self.groups.populated(&group) {
                continue;
            }
            if runtime.active().is_down() {
                self.drop_group(id);
            } else if matches!(runtime.kind, Kind::Service(_)) {
                self.events.push_back((id, UnitEvent::Service(Event::GroupEmpty)));
            } else if matches!(runtime.kind, Kind::Other(_)) {
                self.kind_happened(id, KindEvent::GroupEmpty);
            }
        }
    }

    /// Did the kernel kill a process of the unit for want of memory? Then `OOMPolicy=` says what follows.
    pub fn count_memory_kills(&mut self, id: UnitId) {
        let Some(group) = self.units.get(id).and_then(|runtime| runtime.group.as_deref()) else { return };
        let Some(count) = self.groups.memory_kills(id, group) else { return };
        let Some(runtime) = self.units.get_mut(id) else { return };
        let known = std::mem::replace(&mut runtime.memory_kills, count);
        if count <= known {
            return;
        }
        let event = match runtime.kind {
            Kind::Service(_) => UnitEvent::Service(Event::OomKilled),
            Kind::Other(KindState::Scope(_)) => UnitEvent::Other(KindEvent::Scope(ScopeEvent::OutOfMemory)),
            Kind::Passive(_) | Kind::Other(_) | Kind::Inert => return,
        };
        let title = self.title(id);
        self.log.warning(&format!("{title}: the kernel killed one of its processes for want of memory"));
        self.events.push_back((id, event));
    }

    /// Targets and slices have no process: they are up or down at once.
    pub fn set_passive(&mut self, id: UnitId, up: bool) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        let old = runtime.active();
        runtime.kind = Kind::Passive(up);
        let slice = runtime.unit.name.kind() == ferrite_unit::UnitKind::Slice;
        match up {
            // It is there before anything is in it, so that its limits hold from the first process on.
            true if slice => drop(self.make_group(id)),
            false if slice => self.drop_group(id),
            _ => {}
        }
        self.changed(id, old);
        if up {
            self.target_reached(id);
        }
        // A target that was up already still has a job to end.
        if crate::transaction::Graph::active(self, id) == old
            && let Some(job) = self.units.get(id).and_then(|runtime| runtime.job)
        {
            self.finish_job(job, JobResult::Done);
        }
    }
}

/// Is its main process not known yet?
fn service_forks(machine: &machine::Machine, service: Option<&Service>) -> bool {
    let starts = matches!(machine.state, State::Start(_) | State::StartPost(_));
    starts && service.is_some_and(|service| service.kind == ServiceType::Forking)
}

/// The directive of a spawned command.
pub fn directive(kind: Option<ControlKind>) -> &'static str {
    kind.map_or("ExecStart", ControlKind::directive)
}
