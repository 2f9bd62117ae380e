//! What the new state of one unit means: for its job, for the units that depend on it, for the machine.

use std::time::{Duration, Instant};

use ferrite_sys::reboot::End;
use ferrite_unit::action::EmergencyAction;

use crate::engine::{Engine, Phase};
use crate::jobs::{Active, JobKind, JobResult, Mode, UnitId};
use crate::machine::Outcome;
use crate::transaction::{Graph, Relation};

/// Jobs that are queued for a unit because of the state of others, in the interval: more are a fault of the files.
const AUTOMATIC_MAX: usize = 16;
/// The interval.
const AUTOMATIC_INTERVAL: Duration = Duration::from_secs(10);

/// Units that need a unit with `StopWhenUnneeded=`.
const USERS: [Relation; 5] =
    [Relation::RequiredBy, Relation::RequisiteOf, Relation::WantedBy, Relation::BoundBy, Relation::UpheldBy];
/// Units that may have to go down with a unit: those that it needed, and those that need it up.
const AFFECTED: [Relation; 6] =
    [Relation::Requires, Relation::Requisite, Relation::Wants, Relation::BindsTo, Relation::Upholds, Relation::BoundBy];

/// Was a change asked for by a job?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Job,
    Itself,
}

impl Engine {
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
        if new.is_down() && !self.manager.frozen.is_empty() {
            self.thaw_ended(id);
        }
        let cause = self.settle_job(id, new);
        self.kind_changed(id, new);
        if let Some(job) = self.units.get(id).and_then(|runtime| runtime.job) {
            self.ready.insert(job);
        }
        if new == old {
            return;
        }
        if cause == Cause::Itself {
            self.follow_unasked(id, old, new);
        }
        if new == Active::Failed {
            self.failed(id);
        }
        if new == Active::Inactive && !old.is_down() {
            self.start_after_end(id, Relation::OnSuccess);
        }
        self.act_on_end(id, old, new);
        self.note_checks(id, new);
        self.wake_related(id);
    }

    /// Ends the job of a unit when its state says so.
    fn settle_job(&mut self, id: UnitId, new: Active) -> Cause {
        let Some(job_id) = self.units.get(id).and_then(|runtime| runtime.job) else { return Cause::Itself };
        let Some(job) = self.jobs.get(&job_id) else { return Cause::Itself };
        let (kind, running) = (job.kind, job.running);
        let ended = if new == Active::Failed { JobResult::Failed } else { JobResult::Done };
        match kind {
            JobKind::Start | JobKind::VerifyActive if new.is_up() => self.finish_job(job_id, JobResult::Done),
            JobKind::Start | JobKind::VerifyActive if running && new != Active::Activating => {
                if new.is_down() {
                    let skipped = self.units.get(id).is_some_and(|runtime| runtime.result() == "exec-condition");
                    self.finish_job(job_id, if skipped { JobResult::Skipped } else { ended });
                }
                return Cause::Itself;
            }
            JobKind::Reload | JobKind::TryReload if running => match new {
                Active::Active => {
                    let result = self.units.get(id).and_then(|runtime| runtime.machine()).map(|m| m.reload_result);
                    let good = result.is_none_or(|result| result == Outcome::Success) && !self.remount_failed(id);
                    self.finish_job(job_id, if good { JobResult::Done } else { JobResult::Failed });
                }
                Active::Activating | Active::Reloading => {}
                Active::Inactive | Active::Failed => {
                    self.finish_job(job_id, ended);
                    return Cause::Itself;
                }
                Active::Deactivating => return Cause::Itself,
            },
            JobKind::Stop if new.is_down() => self.finish_job(job_id, JobResult::Done),
            JobKind::Restart | JobKind::TryRestart if new.is_down() => self.becomes_start(job_id),
            JobKind::Stop | JobKind::Restart | JobKind::TryRestart if running && new != Active::Deactivating => {
                self.finish_job(job_id, JobResult::Failed);
                return Cause::Itself;
            }
            _ => {}
        }
        Cause::Job
    }

    /// A unit came up or went down without a job: what it needs is started, what must not run beside it is stopped.
    pub fn follow_unasked(&mut self, id: UnitId, old: Active, new: Active) {
        let runs = |active: Active| active.is_up() || active == Active::Activating;
        if old.is_down() && runs(new) {
            for (relation, mode) in [
                (Relation::Requires, Mode::Replace),
                (Relation::BindsTo, Mode::Replace),
                (Relation::Wants, Mode::Fail),
                (Relation::Upholds, Mode::Fail),
            ] {
                let before = self.units.related(id, Relation::After);
                for other in self.units.related(id, relation) {
                    if !before.contains(&other) && !runs(self.active(other)) {
                        let _ = self.enqueue(other, JobKind::Start, mode);
                    }
                }
            }
            for relation in [Relation::Conflicts, Relation::ConflictedBy] {
                for other in self.units.related(id, relation) {
                    if runs(self.active(other)) {
                        let _ = self.enqueue(other, JobKind::Stop, Mode::Replace);
                    }
                }
            }
        }
        if runs(old) && (new.is_down() || new == Active::Deactivating) {
            for relation in [Relation::BoundBy, Relation::PropagatesStopTo] {
                for other in self.units.related(id, relation) {
                    if runs(self.active(other)) {
                        let _ = self.enqueue(other, JobKind::Stop, Mode::Replace);
                    }
                }
            }
        }
    }

    fn failed(&mut self, id: UnitId) {
        let title = self.title(id);
        let result = self.units.get(id).map_or("", |runtime| runtime.result());
        self.log.error(&format!("{title}: failed with result '{result}'"));
        self.start_after_end(id, Relation::OnFailure);
    }

    /// `OnFailure=` and `OnSuccess=`.
    pub fn start_after_end(&mut self, id: UnitId, relation: Relation) {
        let Some(runtime) = self.units.get(id) else { return };
        let mode = match relation {
            Relation::OnFailure => runtime.unit.on_failure_job_mode,
            _ => runtime.unit.on_success_job_mode,
        };
        let others = self.units.related(id, relation);
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.spared = !others.is_empty();
        }
        for other in others {
            if let Err(error) = self.enqueue(other, JobKind::Start, mode) {
                let name = self.title(other);
                self.log.error(&format!("starting {name} after the end of another unit: {error}, going on without"));
            }
        }
    }

    /// `FailureAction=` and `SuccessAction=`.
    fn act_on_end(&mut self, id: UnitId, old: Active, new: Active) {
        let Some(runtime) = self.units.get(id) else { return };
        let action = if new == Active::Failed && old != Active::Failed {
            runtime.unit.failure_action
        } else if new == Active::Inactive && !old.is_down() {
            runtime.unit.success_action
        } else {
            return;
        };
        let (title, argument) = (self.title(id), runtime.unit.reboot_argument.clone());
        self.act(action, argument, &format!("{title}: its end"));
    }

    /// Carries an action out that a unit file asks for; `argument` is for the firmware, if the machine restarts.
    pub fn act(&mut self, action: EmergencyAction, argument: Option<String>, cause: &str) {
        let (end, force) = match action {
            EmergencyAction::None => return,
            // A machine that is not a container has nowhere to exit to.
            EmergencyAction::Reboot => (End::Reboot, 0),
            EmergencyAction::RebootForce => (End::Reboot, 1),
            EmergencyAction::SoftReboot => (End::SoftReboot, 0),
            EmergencyAction::SoftRebootForce => (End::SoftReboot, 1),
            EmergencyAction::Kexec => (End::Kexec, 0),
            EmergencyAction::KexecForce => (End::Kexec, 1),
            EmergencyAction::RebootImmediate => (End::Reboot, 2),
            EmergencyAction::Poweroff | EmergencyAction::Exit => (End::Poweroff, 0),
            EmergencyAction::PoweroffForce | EmergencyAction::ExitForce => (End::Poweroff, 1),
            EmergencyAction::PoweroffImmediate => (End::Poweroff, 2),
            EmergencyAction::Halt => (End::Halt, 0),
            EmergencyAction::HaltForce => (End::Halt, 1),
            EmergencyAction::HaltImmediate => (End::Halt, 2),
        };
        if matches!(self.phase, Phase::Stopping(_)) {
            // A second wish would force the end, with units that still stop in order.
            return;
        }
        let word = argument.as_ref().filter(|_| end == End::Reboot).map(|word| format!(" with '{word}'"));
        self.log.error(&format!("{cause} asks for {end:?}{}", word.unwrap_or_default()));
        if argument.is_some() {
            self.set_reboot_argument(argument);
        }
        self.begin_shutdown(end, force);
    }

    /// Notes which units must be looked at because this one came up or went down.
    fn note_checks(&mut self, id: UnitId, new: Active) {
        let relations: &[Relation] = if new.is_down() {
            self.idle_units.insert(id);
            &AFFECTED
        } else if new.is_up() {
            &[Relation::Upholds]
        } else {
            return;
        };
        self.checks.insert(id);
        for relation in relations {
            self.checks.extend(self.units.related(id, *relation));
        }
    }

    /// Looks at one of the noted units, when nothing else is to be done.
    pub fn check_next(&mut self) -> bool {
        let Some(id) = self.checks.pop_first() else { return false };
        let Some(runtime) = self.units.get(id) else { return true };
        if runtime.job.is_some() || matches!(self.phase, Phase::Stopping(_)) {
            return true;
        }
        let active = runtime.active();
        let wish = if active.is_down() && self.is_upheld(id) {
            Some((JobKind::Start, Mode::Fail, "is upheld by a unit that is up"))
        } else if active == Active::Active && self.is_bound_to_dead(id) {
            Some((JobKind::Stop, Mode::Replace, "is bound to a unit that is down"))
        } else if active == Active::Active && self.is_unneeded(id) {
            Some((JobKind::Stop, Mode::Fail, "is not needed any more"))
        } else {
            None
        };
        if let Some((kind, mode, why)) = wish {
            self.queue_automatic(id, kind, mode, why);
        }
        true
    }

    fn queue_automatic(&mut self, id: UnitId, kind: JobKind, mode: Mode, why: &str) {
        let title = self.title(id);
        let now = Instant::now();
        let Some(runtime) = self.units.get_mut(id) else { return };
        runtime.automatic_jobs.retain(|at| now.saturating_duration_since(*at) < AUTOMATIC_INTERVAL);
        if runtime.automatic_jobs.len() >= AUTOMATIC_MAX {
            self.log.warning(&format!("{title} {why}, but that happens too often: looking again in a while"));
            self.timers.arm(crate::timers::TimerKey::Check(id), now, AUTOMATIC_INTERVAL);
            return;
        }
        runtime.automatic_jobs.push(now);
        self.log.info(&format!("{title} {why}: {} it", kind.as_str()));
        if let Err(error) = self.enqueue(id, kind, mode) {
            self.log.warning(&format!("{title}: {error}, leaving it as it is"));
        }
    }

    fn is_upheld(&self, id: UnitId) -> bool {
        self.units.related(id, Relation::UpheldBy).into_iter().any(|other| {
            self.active(other).is_up() && self.units.get(other).is_some_and(|runtime| runtime.job.is_none())
        })
    }

    fn is_bound_to_dead(&self, id: UnitId) -> bool {
        self.units.related(id, Relation::BindsTo).into_iter().any(|other| {
            self.active(other).is_down() && self.units.get(other).is_some_and(|runtime| runtime.job.is_none())
        })
    }

    fn is_unneeded(&self, id: UnitId) -> bool {
        let wants_that = self.units.get(id).is_some_and(|runtime| runtime.unit.stop_when_unneeded);
        let uses = |other: UnitId| {
            self.units.get(other).is_some_and(|runtime| !runtime.active().is_down() || runtime.job.is_some())
        };
        wants_that && !USERS.iter().flat_map(|relation| self.units.related(id, *relation)).any(uses)
    }
}
