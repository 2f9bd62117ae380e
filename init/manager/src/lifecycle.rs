//! Carries out what the state machines decide, and what the change of one unit means for its job and for other units.

use std::time::{Duration, Instant};

use crate::engine::{Engine, Role, UnitEvent};
use crate::facts::is_mount_point;
use crate::jobs::{Active, JobKind, JobResult, Mode, UnitId};
use crate::machine::{self, ControlKind, Effect, Event, State, View};
use crate::mounts::{self, MountEffect, MountEvent};
use crate::timers::TimerKey;
use crate::transaction::Relation;
use crate::units::{CommandRun, Kind};

/// How long between two looks for a PID file.
const PID_FILE_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of a PID file that are read.
const PID_FILE_MAX: u64 = 64;

impl Engine {
    /// Takes one event of one unit.
    pub fn take_event(&mut self, id: UnitId, event: UnitEvent) {
        match event {
            UnitEvent::Service(event) => self.service_event(id, event),
            UnitEvent::Mount(event) => self.mount_event(id, event),
            UnitEvent::Other(event) => self.kind_event(id, event),
        }
    }

    fn service_event(&mut self, id: UnitId, event: Event) {
        let Some(runtime) = self.units.get(id) else { return };
        let (Kind::Service(before), Some(service)) = (runtime.kind, runtime.unit.service()) else { return };
        let populated = runtime.group.as_ref().is_some_and(|group| self.groups.populated(group));
        let stepped = machine::step(before, event, View { service, populated });
        let Some((after, effects)) = stepped else {
            if !matches!(event, Event::GroupEmpty | Event::MainExecuted | Event::ResetFailed) {
                let name = self.title(id);
                self.log.debug(&format!("{name}: {event:?} means nothing in state {}", before.state.sub()));
            }
            self.resolve_meaningless(id, event);
            return;
        };
        let old = runtime.active();
        if let Some(runtime) = self.units.get_mut(id) {
            if event == Event::Start {
                runtime.commands.clear();
                runtime.status_text.clear();
                runtime.invocation = crate::spawn::new_invocation();
            }
            runtime.kind = Kind::Service(after);
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
                }
            }
            Effect::ArmTimer(after) => self.timers.arm(TimerKey::Unit(id), now, after),
            Effect::DisarmTimer => self.timers.disarm(TimerKey::Unit(id)),
            Effect::FindMain => self.find_main(id),
            Effect::Ended(_) => {}
            Effect::RequestRestart => {
                if let Err(error) = self.enqueue(id, JobKind::Restart, Mode::Replace) {
                    let name = self.title(id);
                    self.log.error(&format!("{name}: cannot be restarted: {error}, stopping it"));
                    self.events.push_back((id, UnitEvent::Service(Event::Stop)));
                }
            }
            Effect::Release => self.release(id),
        }
    }

    /// Looks for the main process of a forking service: its PID file, else the one process it left.
    pub fn find_main(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        let Some(service) = runtime.unit.service() else { return };
        if !matches!(runtime.machine().map(|m| m.state), Some(State::Start(_))) {
            return;
        }
        let group = runtime.group.clone().unwrap_or_default();
        let members: Vec<i32> = self.groups.processes(&group).into_iter().map(|(pid, _)| pid).collect();
        let found = match &service.pid_file {
            Some(path) => match read_pid(path) {
                Some(pid) if self.groups.root().is_none() || members.contains(&pid) => Some(pid),
                _ => {
                    // It is written a moment after the first process ended; the start's own timer limits the wait.
                    self.timers.arm(TimerKey::PidFile(id), Instant::now(), PID_FILE_INTERVAL);
                    return;
                }
            },
            None if service.guess_main_pid && members.len() == 1 => members.first().copied(),
            None => None,
        };
        let event = match found {
            Some(pid) => {
                self.set_main(id, pid);
                Event::MainFound
            }
            None => Event::MainUnknown,
        };
        self.events.push_back((id, UnitEvent::Service(event)));
    }

    /// From now on this process is the main one.
    pub fn set_main(&mut self, id: UnitId, pid: i32) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        if let Some(old) = runtime.main_pid.replace(pid)
            && old != pid
        {
            self.processes.remove(&old);
        }
        runtime.note_command(CommandRun {
            main: true,
            directive: "ExecStart",
            pid,
            start_us: crate::clock::wall_us(),
            ..CommandRun::default()
        });
        self.processes.insert(pid, crate::engine::Process { unit: Some(id), role: Role::Main });
    }

    /// The service is over: its directories and its group go.
    pub fn release(&mut self, id: UnitId) {
        self.timers.disarm(TimerKey::Watchdog(id));
        self.timers.disarm(TimerKey::PidFile(id));
        let Some(runtime) = self.units.get_mut(id) else { return };
        for pid in [runtime.main_pid.take(), runtime.control_pid.take()].into_iter().flatten() {
            self.processes.remove(&pid);
        }
        let restarts = matches!(runtime.machine().map(|m| m.state), Some(State::AutoRestart));
        let Some(exec) = runtime.unit.exec() else { return };
        let keep = match exec.runtime_preserve {
            ferrite_unit::exec::Preserve::Yes => true,
            ferrite_unit::exec::Preserve::Restart => restarts,
            ferrite_unit::exec::Preserve::No => false,
        };
        if !keep {
            for name in exec.runtime.paths() {
                let path = format!("/run/{name}");
                if crate::facts::has_mounts_below(&path) {
                    self.log.warning(&format!("{path} holds a mounted file system, leaving it"));
                } else if let Err(error) = std::fs::remove_dir_all(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    self.log.warning(&format!("removing {path}: {error}, leaving it"));
                }
            }
        }
        self.drop_group(id);
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
        }
        self.idle_units.insert(id);
    }

    /// The control groups that changed: a service may have lost its last process.
    pub fn take_group_changes(&mut self) {
        for id in self.groups.changed() {
            let Some(runtime) = self.units.get(id) else { continue };
            let Some(group) = runtime.group.clone() else { continue };
            if self.groups.populated(&group) {
                continue;
            }
            if runtime.active().is_down() {
                self.drop_group(id);
            } else if matches!(runtime.kind, Kind::Service(_)) {
                self.events.push_back((id, UnitEvent::Service(Event::GroupEmpty)));
            } else if matches!(runtime.kind, Kind::Other(_)) {
                self.kind_happened(id, crate::kinds::KindEvent::GroupEmpty);
            }
        }
    }

    fn mount_event(&mut self, id: UnitId, event: MountEvent) {
        let Some(runtime) = self.units.get(id) else { return };
        let Kind::Mount(before) = runtime.kind else { return };
        let old = runtime.active();
        let Some((after, effects)) = mounts::step(before, event) else { return };
        let timeout = runtime.unit.mount().and_then(|mount| mount.timeout.finite());
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.kind = Kind::Mount(after);
        }
        for effect in effects {
            match effect {
                MountEffect::Mount => self.spawn_mount(id, true),
                MountEffect::Unmount => self.spawn_mount(id, false),
                MountEffect::Kill => self.kill(id, machine::KillStep::Kill),
                MountEffect::ArmTimer => {
                    if let Some(timeout) = timeout {
                        self.timers.arm(TimerKey::Unit(id), Instant::now(), timeout);
                    }
                }
                MountEffect::DisarmTimer => self.timers.disarm(TimerKey::Unit(id)),
            }
        }
        self.changed(id, old);
    }

    /// Is something mounted where this unit mounts?
    pub fn is_mounted(&self, id: UnitId) -> bool {
        self.units.get(id).and_then(|runtime| runtime.unit.mount()).is_some_and(|mount| is_mount_point(&mount.where_))
    }

    /// Targets and slices have no process: they are up or down at once.
    pub fn set_passive(&mut self, id: UnitId, up: bool) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        let old = runtime.active();
        runtime.kind = Kind::Passive(up);
        self.changed(id, old);
        // A target that was up already still has a job to end.
        if crate::transaction::Graph::active(self, id) == old
            && let Some(job) = self.units.get(id).and_then(|runtime| runtime.job)
        {
            self.finish_job(job, JobResult::Done);
        }
    }

    /// What a new state of a unit means: times, its job, and the units that depend on it.
    pub fn changed(&mut self, id: UnitId, old: Active) {
        let now = self.now_us();
        let Some(runtime) = self.units.get_mut(id) else { return };
        let new = runtime.active();
        if new != old {
            runtime.times.change = now;
            if old.is_down() && !new.is_down() {
                runtime.times.inactive_exit = now;
            }
            if !old.is_down() && new.is_down() {
                runtime.times.inactive_enter = now;
            }
            if !old.is_up() && new.is_up() {
                runtime.times.active_enter = now;
            }
            if old.is_up() && !new.is_up() {
                runtime.times.active_exit = now;
            }
        }
        let had_job = runtime.job.is_some();
        let stopping = runtime.job.and_then(|job| self.jobs.get(&job)).is_some_and(|job| job.kind.is_stopping());
        self.settle_job(id, new);
        self.kind_changed(id, new);
        if new == old {
            return;
        }
        if new == Active::Failed {
            self.failed(id);
        } else if new == Active::Inactive && old != Active::Failed {
            self.start_all(id, Relation::OnSuccess);
        }
        if new.is_down() && !stopping {
            self.stop_bound(id, had_job);
        }
        if new.is_down() {
            self.stop_unneeded(id);
            self.idle_units.insert(id);
        }
        self.wake_related(id);
    }

    /// Ends the job of a unit when its state says so.
    fn settle_job(&mut self, id: UnitId, new: Active) {
        let Some(job_id) = self.units.get(id).and_then(|runtime| runtime.job) else { return };
        let Some(job) = self.jobs.get(&job_id) else { return };
        let (kind, running) = (job.kind, job.running);
        let reload_failed = self.units.get(id).and_then(|r| r.machine()).is_some_and(|machine| machine.reload_failed);
        match kind {
            JobKind::Start | JobKind::VerifyActive => match new {
                Active::Active | Active::Reloading => self.finish_job(job_id, JobResult::Done),
                Active::Failed if running => self.finish_job(job_id, JobResult::Failed),
                Active::Inactive if running => {
                    let skipped = self.units.get(id).is_some_and(|runtime| runtime.result() == "exec-condition");
                    self.finish_job(job_id, if skipped { JobResult::Skipped } else { JobResult::Done });
                }
                _ => {}
            },
            JobKind::Reload if running => match new {
                Active::Active if reload_failed => self.finish_job(job_id, JobResult::Failed),
                Active::Active => self.finish_job(job_id, JobResult::Done),
                Active::Inactive | Active::Failed => self.finish_job(job_id, JobResult::Failed),
                Active::Activating | Active::Reloading | Active::Deactivating => {}
            },
            JobKind::Reload => {}
            JobKind::Stop if new.is_down() => self.finish_job(job_id, JobResult::Done),
            JobKind::Stop if running && new == Active::Active => self.finish_job(job_id, JobResult::Failed),
            JobKind::Restart if new.is_down() && running => self.becomes_start(job_id),
            JobKind::Stop | JobKind::Restart => {}
        }
    }

    fn failed(&mut self, id: UnitId) {
        let title = self.title(id);
        let result = self.units.get(id).map_or("", |runtime| runtime.result());
        self.log.error(&format!("{title}: failed with result '{result}'"));
        let Some(runtime) = self.units.get(id) else { return };
        let limit_hit = result == "start-limit-hit";
        let action = if limit_hit { runtime.unit.start_limit_action } else { runtime.unit.failure_action };
        self.start_all(id, Relation::OnFailure);
        self.act(action, &title);
    }

    /// `FailureAction=` and its like.
    fn act(&mut self, action: ferrite_unit::action::EmergencyAction, title: &str) {
        use ferrite_sys::reboot::End;
        use ferrite_unit::action::EmergencyAction;
        let (end, force) = match action {
            EmergencyAction::None => return,
            // A machine that is not a container has nowhere to exit to; without kexec or a second root it starts again.
            EmergencyAction::Reboot | EmergencyAction::SoftReboot | EmergencyAction::Kexec => (End::Reboot, 0),
            EmergencyAction::RebootForce | EmergencyAction::SoftRebootForce | EmergencyAction::KexecForce => {
                (End::Reboot, 1)
            }
            EmergencyAction::RebootImmediate => (End::Reboot, 2),
            EmergencyAction::Poweroff | EmergencyAction::Exit => (End::Poweroff, 0),
            EmergencyAction::PoweroffForce | EmergencyAction::ExitForce => (End::Poweroff, 1),
            EmergencyAction::PoweroffImmediate => (End::Poweroff, 2),
            EmergencyAction::Halt => (End::Halt, 0),
            EmergencyAction::HaltForce => (End::Halt, 1),
            EmergencyAction::HaltImmediate => (End::Halt, 2),
        };
        if matches!(self.phase, crate::engine::Phase::Stopping(_)) {
            // A second wish would force the end, with units that still stop in order.
            return;
        }
        self.log.error(&format!("{title}: its end asks for {end:?}"));
        self.begin_shutdown(end, force);
    }

    fn start_all(&mut self, id: UnitId, relation: Relation) {
        for other in self.units.related(id, relation) {
            if let Err(error) = self.enqueue(other, JobKind::Start, Mode::Replace) {
                let name = self.title(other);
                self.log.error(&format!("starting {name} after the end of another unit: {error}, going on without"));
            }
        }
    }

    /// Units bound to one that went down by itself go down too.
    fn stop_bound(&mut self, id: UnitId, had_job: bool) {
        let failed = crate::transaction::Graph::active(self, id) == Active::Failed;
        for other in self.units.related(id, Relation::BoundBy) {
            let up = !crate::transaction::Graph::active(self, other).is_down();
            // A start that failed takes its dependents' jobs along by itself.
            if up && (failed || !had_job) {
                let _ = self.enqueue(other, JobKind::Stop, Mode::Replace);
            }
        }
    }

    /// `StopWhenUnneeded=`: what this unit needed may not be needed any more.
    fn stop_unneeded(&mut self, id: UnitId) {
        for relation in [Relation::Requires, Relation::Wants, Relation::BindsTo, Relation::Requisite] {
            for other in self.units.related(id, relation) {
                let Some(runtime) = self.units.get(other) else { continue };
                if !runtime.unit.stop_when_unneeded || !runtime.active().is_up() || runtime.job.is_some() {
                    continue;
                }
                let needing = [Relation::RequiredBy, Relation::WantedBy, Relation::BoundBy, Relation::RequisiteOf];
                let needed = needing
                    .iter()
                    .flat_map(|relation| self.units.related(other, *relation))
                    .any(|user| self.units.get(user).is_some_and(|r| !r.active().is_down() || r.job.is_some()));
                if !needed {
                    let _ = self.enqueue(other, JobKind::Stop, Mode::Replace);
                }
            }
        }
    }
}

fn read_pid(path: &str) -> Option<i32> {
    // It may lie in a directory of an unprivileged service: any kind of file may be there.
    let bytes = crate::disk::read_plain(path, PID_FILE_MAX).ok()?;
    String::from_utf8(bytes).ok()?.trim().parse().ok().filter(|pid| *pid > 1)
}

/// The directive of a spawned command.
pub fn directive(kind: Option<ControlKind>) -> &'static str {
    kind.map_or("ExecStart", ControlKind::directive)
}
