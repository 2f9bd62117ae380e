//! The job queue: planning a wish into it, running what may run, ending jobs and telling who waits.

use ferrite_unit::condition::{Strength, check};
use ferrite_unit::service::ServiceType;
use ferrite_unit::{LoadState, UnitKind};
use std::time::Instant;

use crate::engine::{Engine, Job, Phase, UnitEvent};
use crate::facts::{MachineFacts, is_mount_point};
use crate::jobs::{Active, JobId, JobKind, JobResult, Mode, UnitId, waits};
use crate::kinds::KindEvent;
use crate::log::Mark;
use crate::machine::Event;
use crate::mounts::MountEvent;
use crate::timers::TimerKey;
use crate::transaction::{Graph, PlanError, Relation, plan};
use crate::units::Kind;

/// Jobs at most.
pub const JOBS_MAX: usize = 20_000;

impl Graph for Engine {
    fn related(&self, unit: UnitId, relation: Relation) -> Vec<UnitId> {
        self.units.related(unit, relation)
    }

    fn active(&self, unit: UnitId) -> Active {
        self.units.get(unit).map_or(Active::Inactive, |runtime| runtime.active())
    }

    fn refuses_start(&self, unit: UnitId) -> Option<String> {
        let runtime = self.units.get(unit)?;
        // What runs already needs no file any more.
        if runtime.active().is_up() {
            return None;
        }
        let name = &runtime.unit.name;
        match &runtime.unit.load {
            LoadState::Loaded => match runtime.kind {
                Kind::Inert => Some(format!("{name}: this version cannot run {} units", name.kind().suffix())),
                // Nobody would tell that the name was taken.
                _ if runtime.unit.service().is_some_and(|s| s.kind == ServiceType::Dbus) => {
                    Some(format!("{name}: Type=dbus needs a message bus, which this version does not have"))
                }
                _ => None,
            },
            LoadState::NotFound => Some(format!("unit {name} not found")),
            LoadState::BadSetting(fault) => Some(format!("unit {name} has a bad setting: {fault}")),
            LoadState::Error(fault) => Some(format!("unit {name} cannot be loaded: {fault}")),
            LoadState::Masked => Some(format!("unit {name} is masked")),
        }
    }

    fn queued(&self, unit: UnitId) -> Option<(JobKind, bool)> {
        let job = self.jobs.get(&self.units.get(unit)?.job?)?;
        Some((job.kind, job.irreversible))
    }

    fn waiting(&self, unit: UnitId) -> Option<JobKind> {
        let job = self.jobs.get(&self.units.get(unit)?.job?)?;
        (!job.running).then_some(job.kind)
    }

    fn name(&self, unit: UnitId) -> String {
        self.units.get(unit).map(|runtime| runtime.unit.name.to_string()).unwrap_or_default()
    }

    fn isolated(&self) -> Vec<UnitId> {
        let stops = |id: &UnitId| {
            self.units.get(*id).is_some_and(|runtime| {
                let busy = !runtime.active().is_down() || runtime.job.is_some();
                busy && !runtime.unit.ignore_on_isolate
            })
        };
        self.units.ids().into_iter().filter(stops).collect()
    }
}

impl Engine {
    /// Plans a wish and queues its jobs. The number of the wish's own job is returned.
    pub fn enqueue(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> Result<JobId, PlanError> {
        let plan = plan(self, unit, kind, mode)?;
        for note in &plan.notes {
            self.log.warning(note);
        }
        if self.jobs.len() + plan.jobs.len() > JOBS_MAX {
            return Err(PlanError::Refused(format!("more than {JOBS_MAX} jobs")));
        }
        let mut own = None;
        for (id, kind) in plan.jobs {
            let job = self.install(id, kind, mode);
            if id == unit {
                own = Some(job);
            }
        }
        own.ok_or_else(|| PlanError::Refused(format!("the job of {} was dropped", Graph::name(self, unit))))
    }

    /// Puts one job into the queue, together with or in place of the unit's older one.
    fn install(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> JobId {
        let irreversible = mode == Mode::ReplaceIrreversibly;
        if let Some(old) = self.units.get(unit).and_then(|runtime| runtime.job) {
            match self.jobs.get_mut(&old) {
                Some(job) if job.kind.merge(kind).is_some() && !(job.running && job.kind != kind) => {
                    job.kind = job.kind.merge(kind).unwrap_or(kind);
                    job.irreversible |= irreversible;
                    self.ready.insert(old);
                    return old;
                }
                _ => self.finish_job(old, JobResult::Canceled),
            }
        }
        let id = self.next_job;
        self.next_job = self.next_job.wrapping_add(1).max(1);
        let ignore_order = mode == Mode::IgnoreDependencies;
        let job = Job { unit, kind, running: false, irreversible, ignore_order, waiters: Vec::new() };
        self.jobs.insert(id, job);
        let timeout = self.units.get_mut(unit).and_then(|runtime| {
            runtime.job = Some(id);
            runtime.unit.job_timeout.finite()
        });
        if let Some(timeout) = timeout {
            self.timers.arm(TimerKey::Job(id), Instant::now(), timeout);
        }
        self.ready.insert(id);
        id
    }

    /// Must the job wait for a job of a unit it is ordered with?
    fn must_wait(&self, job: &Job) -> bool {
        if job.ignore_order {
            return false;
        }
        let waits_for = |relation, after| {
            self.units.related(job.unit, relation).into_iter().any(|other| {
                let queued = self.units.get(other).and_then(|runtime| runtime.job).and_then(|id| self.jobs.get(&id));
                queued.is_some_and(|other| waits(job.kind, other.kind, after))
            })
        };
        waits_for(Relation::After, true) || waits_for(Relation::Before, false)
    }

    /// Runs a job if nothing is in its way. It is tried again when something changes.
    pub fn try_job(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.running || self.must_wait(job) {
            return;
        }
        let (unit, kind) = (job.unit, job.kind);
        let active = self.active(unit);
        match kind {
            JobKind::Start => self.run_start(id, unit, active),
            JobKind::VerifyActive if active.is_up() => self.finish_job(id, JobResult::Done),
            JobKind::VerifyActive if active == Active::Activating => {}
            JobKind::VerifyActive => self.finish_job(id, JobResult::Dependency),
            JobKind::Stop => self.run_stop(id, unit, active),
            JobKind::Restart if active.is_down() => self.becomes_start(id),
            JobKind::Restart if self.waits_for_restart(unit) => self.becomes_start(id),
            JobKind::Restart => self.run_stop(id, unit, active),
            JobKind::Reload if active.is_up() => self.run_reload(id, unit),
            JobKind::Reload if active == Active::Activating => {}
            JobKind::Reload => self.finish_job(id, JobResult::Invalid),
        }
    }

    fn waits_for_restart(&self, unit: UnitId) -> bool {
        self.units.get(unit).is_some_and(|r| r.machine().is_some_and(|m| m.state == crate::machine::State::AutoRestart))
    }

    /// The second half of a restart.
    pub fn becomes_start(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.kind = JobKind::Start;
            job.running = false;
            self.ready.insert(id);
        }
    }

    fn set_running(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.running = true;
        }
    }

    fn run_start(&mut self, id: JobId, unit: UnitId, active: Active) {
        match active {
            Active::Active | Active::Reloading => return self.finish_job(id, JobResult::Done),
            // It is tried again when the unit is down.
            Active::Deactivating => return,
            Active::Activating if !self.waits_for_restart(unit) => return self.set_running(id),
            Active::Activating | Active::Inactive | Active::Failed => {}
        }
        if let Some(reason) = self.refuses_start(unit) {
            self.log.warning(&reason);
            return self.finish_job(id, JobResult::Invalid);
        }
        if let Err(result) = self.check_conditions(unit) {
            return self.finish_job(id, result);
        }
        if !self.bindings_hold(unit) {
            return self.finish_job(id, JobResult::Dependency);
        }
        if self.start_limit_hit(unit) {
            let name = self.name(unit);
            self.log.error(&format!("{name}: started too often in too short a time, not starting it again"));
            self.set_running(id);
            let other = matches!(self.units.get(unit).map(|runtime| &runtime.kind), Some(Kind::Other(_)));
            let event = match other {
                true => UnitEvent::Other(KindEvent::StartLimitHit),
                false => UnitEvent::Service(Event::StartLimitHit),
            };
            self.events.push_back((unit, event));
            return;
        }
        self.set_running(id);
        self.begin(unit);
    }

    /// Units bound to must run already, as far as they are ordered before this one.
    fn bindings_hold(&self, unit: UnitId) -> bool {
        let before = self.units.related(unit, Relation::After);
        self.units.related(unit, Relation::BindsTo).iter().all(|other| {
            !before.contains(other)
                || self.active(*other).is_up()
                || self.units.get(*other).is_some_and(|r| r.job.is_some())
        })
    }

    fn check_conditions(&mut self, unit: UnitId) -> Result<(), JobResult> {
        let now = self.now_us().0;
        let facts = MachineFacts {
            command_line: &self.settings.command_line,
            host_name: &self.host.host_name,
            machine_id: &self.host.machine_id,
            kernel_release: &self.host.kernel_release,
        };
        let Some(runtime) = self.units.get_mut(unit) else { return Err(JobResult::Invalid) };
        runtime.times.condition = now;
        runtime.unmet = None;
        runtime.assert_failed = false;
        let conditions = &runtime.unit.conditions;
        for (strength, result) in [(Strength::Condition, JobResult::Skipped), (Strength::Assert, JobResult::Assert)] {
            if let Err(unmet) = check(conditions, strength, &facts) {
                runtime.unmet = conditions.iter().position(|condition| condition == unmet);
                runtime.assert_failed = strength == Strength::Assert;
                return Err(result);
            }
        }
        Ok(())
    }

    /// Counts this start; `true` when there were too many.
    fn start_limit_hit(&mut self, unit: UnitId) -> bool {
        let now = Instant::now();
        let Some(runtime) = self.units.get_mut(unit) else { return false };
        let (Some(interval), burst) = (runtime.unit.start_limit_interval.finite(), runtime.unit.start_limit_burst)
        else {
            return false;
        };
        if interval.is_zero() || burst == 0 || !is_limited(&runtime.kind) {
            return false;
        }
        runtime.starts.retain(|start| now.saturating_duration_since(*start) < interval);
        if runtime.starts.len() >= usize::try_from(burst).unwrap_or(usize::MAX) {
            return true;
        }
        runtime.starts.push(now);
        false
    }

    fn begin(&mut self, unit: UnitId) {
        let Some(runtime) = self.units.get(unit) else { return };
        match runtime.kind {
            Kind::Service(_) => {
                let text = format!("Starting {}...", self.title(unit));
                self.log.info(&text);
                self.events.push_back((unit, UnitEvent::Service(Event::Start)));
            }
            Kind::Mount(_) => {
                let mounted = runtime.unit.mount().is_some_and(|mount| is_mount_point(&mount.where_));
                self.events.push_back((unit, UnitEvent::Mount(MountEvent::Start { mounted })));
            }
            Kind::Passive(_) => self.set_passive(unit, true),
            Kind::Other(_) => self.begin_kind(unit),
            Kind::Inert => {}
        }
    }

    fn run_stop(&mut self, id: JobId, unit: UnitId, active: Active) {
        if active.is_down() {
            return self.finish_job(id, JobResult::Done);
        }
        self.set_running(id);
        let kind = self.units.get(unit).map(|runtime| runtime.kind);
        match kind {
            Some(Kind::Service(_)) => {
                let text = format!("Stopping {}...", self.title(unit));
                self.log.info(&text);
                self.events.push_back((unit, UnitEvent::Service(Event::Stop)));
            }
            Some(Kind::Mount(_)) => self.events.push_back((unit, UnitEvent::Mount(MountEvent::Stop))),
            Some(Kind::Passive(_)) => self.set_passive(unit, false),
            Some(Kind::Other(_)) => self.kind_happened(unit, KindEvent::Stop),
            Some(Kind::Inert) | None => self.finish_job(id, JobResult::Done),
        }
    }

    fn run_reload(&mut self, id: JobId, unit: UnitId) {
        let can = self.units.get(unit).and_then(|runtime| runtime.unit.service()).is_some_and(|service| {
            !service.reload.is_empty() || service.kind == ferrite_unit::service::ServiceType::NotifyReload
        });
        if !can {
            return self.finish_job(id, JobResult::Invalid);
        }
        self.set_running(id);
        self.events.push_back((unit, UnitEvent::Service(Event::Reload)));
    }

    /// Ends a job: tells who waits, frees what waited for it, and lets a failure spread to what needs the unit.
    pub fn finish_job(&mut self, id: JobId, result: JobResult) {
        let mut open = vec![(id, result)];
        while let Some((id, result)) = open.pop() {
            let Some(job) = self.jobs.remove(&id) else { continue };
            self.ready.remove(&id);
            self.timers.disarm(TimerKey::Job(id));
            if let Some(runtime) = self.units.get_mut(job.unit) {
                runtime.job = None;
            }
            self.report(&job, result);
            self.tell_triggering(job.unit);
            self.answer_waiters(&job, result);
            let refused = !matches!(result, JobResult::Done | JobResult::Canceled | JobResult::Failed);
            if refused && job.kind == JobKind::Start && self.waits_for_restart(job.unit) {
                // Its automatic restart came to nothing, and no timer would ever try again.
                self.events.push_back((job.unit, UnitEvent::Service(Event::Stop)));
            }
            if result != JobResult::Done && result != JobResult::Skipped && job.kind != JobKind::Stop {
                for relation in [Relation::RequiredBy, Relation::RequisiteOf, Relation::BoundBy] {
                    for other in self.units.related(job.unit, relation) {
                        let Some(other) = self.units.get(other).and_then(|runtime| runtime.job) else { continue };
                        let starts = |j: &Job| matches!(j.kind, JobKind::Start | JobKind::VerifyActive) && !j.running;
                        if result != JobResult::Canceled && self.jobs.get(&other).is_some_and(starts) {
                            open.push((other, JobResult::Dependency));
                        }
                    }
                }
            }
            self.wake_related(job.unit);
            self.idle_units.insert(job.unit);
        }
    }

    /// Jobs of units ordered with this one may be able to run now.
    pub fn wake_related(&mut self, unit: UnitId) {
        for relation in [Relation::Before, Relation::After] {
            for other in self.units.related(unit, relation) {
                if let Some(job) = self.units.get(other).and_then(|runtime| runtime.job) {
                    self.ready.insert(job);
                }
            }
        }
        if let Some(job) = self.units.get(unit).and_then(|runtime| runtime.job) {
            self.ready.insert(job);
        }
    }

    /// `ssh.service - OpenBSD Secure Shell server`.
    pub fn title(&self, unit: UnitId) -> String {
        self.units.get(unit).map_or_else(String::new, |runtime| match &runtime.unit.description {
            Some(description) => format!("{} - {description}", runtime.unit.name),
            None => runtime.unit.name.to_string(),
        })
    }

    /// The line on the consoles, and in the log.
    fn report(&self, job: &Job, result: JobResult) {
        let Some(runtime) = self.units.get(job.unit) else { return };
        let title = self.title(job.unit);
        let target = matches!(runtime.unit.name.kind(), UnitKind::Target);
        let quiet = matches!(runtime.unit.name.kind(), UnitKind::Slice);
        let (mark, text) = match (job.kind, result) {
            (JobKind::Start, JobResult::Done) if quiet => return,
            (JobKind::Start, JobResult::Done) if target => (Mark::Ok, format!("Reached target {title}.")),
            (JobKind::Start, JobResult::Done) => match runtime.unit.service() {
                Some(s) if s.kind == ferrite_unit::service::ServiceType::Oneshot => {
                    (Mark::Ok, format!("Finished {title}."))
                }
                Some(_) => (Mark::Ok, format!("Started {title}.")),
                None => (Mark::Ok, format!("{} {title}.", done_word(runtime.unit.name.kind(), true))),
            },
            (JobKind::Start, JobResult::Failed) if runtime.unit.name.kind() == UnitKind::Socket => {
                (Mark::Failed, format!("Failed to listen on {title}."))
            }
            (JobKind::Start, JobResult::Failed) => (Mark::Failed, format!("Failed to start {title}.")),
            (JobKind::Start, JobResult::Timeout) => (Mark::Time, format!("Timed out starting {title}.")),
            (JobKind::Start, JobResult::Dependency) => (Mark::Depend, format!("Dependency failed for {title}.")),
            (JobKind::Start, JobResult::Assert) => (Mark::Failed, format!("An assertion failed for {title}.")),
            (JobKind::Start, JobResult::Skipped) => {
                let unmet = runtime.unmet.and_then(|position| runtime.unit.conditions.get(position));
                let text = unmet.map(crate::answers::condition_text).unwrap_or_default();
                self.log.info(&format!("{title} was skipped because of an unmet condition ({text})"));
                return;
            }
            (JobKind::Stop, JobResult::Done) if quiet => return,
            (JobKind::Stop, JobResult::Done) if target => (Mark::Ok, format!("Stopped target {title}.")),
            (JobKind::Stop, JobResult::Done) => {
                (Mark::Ok, format!("{} {title}.", done_word(runtime.unit.name.kind(), false)))
            }
            (JobKind::Stop, JobResult::Timeout | JobResult::Failed) => {
                (Mark::Failed, format!("Failed to stop {title}."))
            }
            (JobKind::Reload, JobResult::Done) => (Mark::Ok, format!("Reloaded {title}.")),
            (JobKind::Reload, JobResult::Failed) => (Mark::Failed, format!("Reload failed for {title}.")),
            _ => return,
        };
        self.log.info(&text);
        if self.phase != Phase::Running || mark != Mark::Ok {
            let took = crate::clock::boot_us().saturating_sub(runtime.times.inactive_exit.1);
            let starting = matches!(job.kind, JobKind::Start) && runtime.unit.service().is_some();
            self.log.status(mark, &format!("{text}{}", if starting { slow(took) } else { String::new() }));
        }
    }
}

/// systemd's word for what a job did to a unit of this kind.
fn done_word(kind: UnitKind, start: bool) -> &'static str {
    match (kind, start) {
        (UnitKind::Mount, true) => "Mounted",
        (UnitKind::Mount, false) => "Unmounted",
        (UnitKind::Socket, true) => "Listening on",
        (UnitKind::Socket, false) => "Closed",
        (UnitKind::Swap, true) => "Activated swap",
        (UnitKind::Swap, false) => "Deactivated swap",
        (UnitKind::Automount, true) => "Set up automount",
        (UnitKind::Automount, false) => "Unset automount",
        (UnitKind::Device, true) => "Found device",
        (_, true) => "Started",
        (_, false) => "Stopped",
    }
}

/// Are the starts of such a unit counted?
fn is_limited(kind: &Kind) -> bool {
    match kind {
        Kind::Service(_) => true,
        Kind::Other(state) => state.is_limited(),
        Kind::Mount(_) | Kind::Passive(_) | Kind::Inert => false,
    }
}

/// ` (1.2 s)` for a start that a person would notice.
fn slow(took_us: u64) -> String {
    const NOTICED_US: u64 = 100_000;
    if took_us < NOTICED_US { String::new() } else { format!(" ({:.1} s)", took_us as f64 / 1e6) }
}
