//! The job queue: planning a wish into it, running what may run, ending jobs and telling who waits.

use ferrite_unit::condition::{Strength, check};
use ferrite_unit::value::Span;
use ferrite_unit::{LoadState, UnitKind};
use std::collections::BTreeMap;
use std::time::Instant;

use crate::engine::{Engine, Job, Phase, UnitEvent};
use crate::facts::MachineFacts;
use crate::jobs::{Active, JobId, JobKind, JobResult, Mode, UnitId, waits};
use crate::kinds::KindEvent;
use crate::log::Mark;
use crate::machine::{Event, State};
use crate::timers::TimerKey;
use crate::transaction::{Fault, Graph, PlanError, Relation};
use crate::units::Kind;

/// Jobs at most.
pub const JOBS_MAX: usize = 20_000;

/// Does the end of a job end others?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    Yes,
    No,
}

impl Graph for Engine {
    fn related(&self, unit: UnitId, relation: Relation) -> Vec<UnitId> {
        self.units.related(unit, relation)
    }

    fn active(&self, unit: UnitId) -> Active {
        self.units.get(unit).map_or(Active::Inactive, |runtime| runtime.active())
    }

    fn refuses_start(&self, unit: UnitId) -> Option<(Fault, String)> {
        let runtime = self.units.get(unit)?;
        // What runs already needs no file any more.
        if runtime.active().is_up() {
            return None;
        }
        let name = &runtime.unit.name;
        match &runtime.unit.load {
            LoadState::Loaded => match runtime.kind {
                Kind::Inert => {
                    let text = format!("{name}: this version cannot run {} units", name.kind().suffix());
                    Some((Fault::NotSupported, text))
                }
                _ => None,
            },
            LoadState::NotFound => Some((Fault::NotFound, format!("unit {name} not found"))),
            LoadState::BadSetting(fault) => {
                Some((Fault::BadSetting, format!("unit {name} has a bad setting: {fault}")))
            }
            LoadState::Error(fault) => Some((Fault::Unreadable, format!("unit {name} cannot be loaded: {fault}"))),
            LoadState::Masked => Some((Fault::Masked, format!("unit {name} is masked"))),
        }
    }

    fn applies(&self, unit: UnitId, kind: JobKind) -> bool {
        let Some(runtime) = self.units.get(unit) else { return false };
        let device = runtime.unit.name.kind() == UnitKind::Device;
        let stoppable = !device && !crate::collect::is_perpetual(runtime.unit.name.as_str());
        match kind {
            JobKind::Start | JobKind::VerifyActive | JobKind::Nop => true,
            JobKind::Stop | JobKind::Restart | JobKind::TryRestart => stoppable,
            JobKind::Reload | JobKind::TryReload | JobKind::ReloadOrStart => self.can_reload(unit),
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
        let plan = self.planned(unit, kind, mode)?;
        for note in &plan.notes {
            self.log.warning(note);
        }
        if self.jobs.len() + plan.jobs.len() > JOBS_MAX {
            return Err(PlanError::Refused(Fault::Other, format!("more than {JOBS_MAX} jobs")));
        }
        if matches!(mode, Mode::Isolate | Mode::Flush) {
            self.cancel_others(&plan.jobs);
        }
        let mut own = None;
        for (id, kind) in plan.jobs {
            let job = self.install(id, kind, mode);
            if id == unit {
                own = Some(job);
            }
        }
        own.ok_or_else(|| PlanError::Refused(Fault::Other, format!("the job of {} was dropped", self.name(unit))))
    }

    /// Cancels the jobs of units that the new transaction does not know.
    fn cancel_others(&mut self, planned: &BTreeMap<UnitId, JobKind>) {
        let stays = |job: &Job| {
            planned.contains_key(&job.unit)
                || self.units.get(job.unit).is_some_and(|runtime| runtime.unit.ignore_on_isolate)
        };
        let others: Vec<JobId> = self.jobs.iter().filter(|(_, job)| !stays(job)).map(|(id, _)| *id).collect();
        for id in others {
            self.end_job(id, JobResult::Canceled, Spread::No);
        }
    }

    /// Puts one job into the queue, together with or in place of the unit's older one.
    fn install(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> JobId {
        let irreversible = mode == Mode::ReplaceIrreversibly;
        let ignore_order = mode == Mode::IgnoreDependencies;
        if let Some(old) = self.units.get(unit).and_then(|runtime| runtime.job) {
            let active = self.active(unit);
            match self.jobs.get_mut(&old) {
                Some(job) if job.kind.merge(kind).is_some() => {
                    let merged = job.kind.merge(kind).unwrap_or(kind);
                    // One that runs is run again, unless it does all that is asked.
                    job.running &= kind.joins_late() && merged == job.kind;
                    job.kind = merged.collapse(active);
                    job.irreversible |= irreversible;
                    job.ignore_order |= ignore_order;
                    self.ready.insert(old);
                    return old;
                }
                _ => self.end_job(old, JobResult::Canceled, Spread::No),
            }
        }
        let id = self.next_job;
        self.next_job = self.next_job.wrapping_add(1).max(1);
        let job = Job {
            unit,
            kind,
            running: false,
            irreversible,
            ignore_order,
            queued_us: crate::clock::boot_us(),
            began_us: 0,
            waiters: Vec::new(),
        };
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
        if self.units.get(job.unit).is_some_and(|runtime| runtime.cleaner.is_some()) {
            return true;
        }
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
        if self.is_held_by_freezer(job) {
            return self.finish_job(id, JobResult::Frozen);
        }
        let (unit, kind) = (job.unit, job.kind);
        let active = self.active(unit);
        match kind {
            JobKind::Start => self.run_start(id, unit, active),
            JobKind::VerifyActive if active.is_up() => self.finish_job(id, JobResult::Done),
            JobKind::VerifyActive if active == Active::Activating => {}
            JobKind::VerifyActive => self.finish_job(id, JobResult::Dependency),
            JobKind::Stop => self.run_stop(id, unit, active),
            JobKind::Restart | JobKind::TryRestart if active.is_down() => self.becomes_start(id),
            JobKind::Restart | JobKind::TryRestart => self.run_stop(id, unit, active),
            JobKind::Reload | JobKind::TryReload if active == Active::Active => self.run_reload(id, unit),
            JobKind::Reload | JobKind::TryReload if matches!(active, Active::Activating | Active::Reloading) => {}
            JobKind::Reload | JobKind::TryReload => self.finish_job(id, JobResult::Invalid),
            JobKind::ReloadOrStart => self.turn_into(id, kind.collapse(active)),
            JobKind::Nop => self.finish_job(id, JobResult::Done),
        }
    }

    fn restart_state(&self, unit: UnitId) -> Option<State> {
        let state = self.units.get(unit)?.machine()?.state;
        matches!(state, State::AutoRestart | State::AutoRestartQueued).then_some(state)
    }

    fn turn_into(&mut self, id: JobId, kind: JobKind) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.kind = kind;
            job.running = false;
            self.ready.insert(id);
        }
    }

    /// The second half of a restart.
    pub fn becomes_start(&mut self, id: JobId) {
        self.turn_into(id, JobKind::Start);
    }

    fn set_running(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.running = true;
        job.began_us = crate::clock::boot_us();
        let unit = job.unit;
        let wish = self.units.get(unit).map(|runtime| (runtime.unit.job_running_timeout, runtime.unit.name.kind()));
        let limit = match wish {
            Some((None, UnitKind::Device)) => Some(crate::device_unit::PATIENCE),
            Some((wish, _)) => wish.and_then(Span::finite),
            None => None,
        };
        let now = Instant::now();
        // Of both limits the one that comes first counts.
        if let Some(limit) = limit
            && self.timers.left(TimerKey::Job(id), now).is_none_or(|left| left > limit)
        {
            self.timers.arm(TimerKey::Job(id), now, limit);
        }
    }

    fn run_start(&mut self, id: JobId, unit: UnitId, active: Active) {
        let restart = self.restart_state(unit);
        match active {
            Active::Active | Active::Reloading => return self.finish_job(id, JobResult::Done),
            // It is tried again when the unit is down.
            Active::Deactivating => return,
            // Whoever asks for it does not want to wait for the restart.
            Active::Activating if restart == Some(State::AutoRestart) => return self.request_restart(unit),
            Active::Activating if restart.is_none() => return self.set_running(id),
            Active::Activating | Active::Inactive | Active::Failed => {}
        }
        if let Some((_, reason)) = self.refuses_start(unit) {
            self.log.warning(&reason);
            return self.finish_job(id, JobResult::Invalid);
        }
        // A restart goes on whatever has become of the conditions.
        if restart.is_none()
            && let Err(result) = self.check_conditions(unit)
        {
            return self.finish_job(id, result);
        }
        if !self.bindings_hold(unit) {
            return self.finish_job(id, JobResult::Dependency);
        }
        self.set_running(id);
        if self.start_limit_hit(unit) {
            self.refuse_start(unit);
        } else {
            self.begin(unit);
        }
    }

    /// A unit was started too often.
    fn refuse_start(&mut self, unit: UnitId) {
        let title = self.title(unit);
        self.log.error(&format!("{title}: started too often in too short a time, not starting it again"));
        let event = match self.units.get(unit).map(|runtime| &runtime.kind) {
            Some(Kind::Other(_)) => UnitEvent::Other(KindEvent::StartLimitHit),
            _ => UnitEvent::Service(Event::StartLimitHit),
        };
        self.events.push_back((unit, event));
        if let Some(unit) = self.units.get(unit).map(|runtime| &runtime.unit) {
            let (action, argument) = (unit.start_limit_action, unit.reboot_argument.clone());
            self.act(action, argument, &format!("{title}: its start limit"));
        }
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
        let now = self.now_us();
        let unmet = self.first_unmet(unit);
        let Some(runtime) = self.units.get_mut(unit) else { return Err(JobResult::Invalid) };
        runtime.times.condition = now;
        runtime.unmet = unmet.map(|(_, position)| position);
        match unmet {
            Some((Strength::Condition, _)) => return Err(JobResult::Skipped),
            Some((Strength::Assert, _)) => runtime.assert_failed = true,
            None => runtime.assert_failed = false,
        }
        runtime.times.assertion = now;
        if unmet.is_some() { Err(JobResult::Assert) } else { Ok(()) }
    }

    /// The condition in the way of a unit, by its place in the list; assertions come after conditions.
    fn first_unmet(&self, unit: UnitId) -> Option<(Strength, usize)> {
        let facts = MachineFacts {
            command_line: &self.settings.command_line,
            host_name: &self.host.host_name,
            machine_id: &self.host.machine_id,
            kernel_release: &self.host.kernel_release,
            answers: &|path| self.answers(path),
        };
        let conditions = &self.units.get(unit)?.unit.conditions;
        [Strength::Condition, Strength::Assert].into_iter().find_map(|strength| {
            let unmet = check(conditions, strength, &facts).err()?;
            Some((strength, conditions.iter().position(|condition| condition == unmet)?))
        })
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
        // The interval begins with the first start that it counts.
        if runtime.starts.first().is_some_and(|first| now.saturating_duration_since(*first) > interval) {
            runtime.starts.clear();
        }
        if runtime.starts.len() >= usize::try_from(burst).unwrap_or(usize::MAX) {
            return true;
        }
        runtime.starts.reserve_exact(1);
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
            Some(Kind::Passive(_)) => self.set_passive(unit, false),
            Some(Kind::Other(_)) => self.kind_happened(unit, KindEvent::Stop),
            Some(Kind::Inert) | None => self.finish_job(id, JobResult::Done),
        }
    }

    fn run_reload(&mut self, id: JobId, unit: UnitId) {
        if !self.can_reload(unit) {
            return self.finish_job(id, JobResult::Invalid);
        }
        self.set_running(id);
        let event = match self.units.get(unit).map(|runtime| &runtime.kind) {
            Some(Kind::Other(_)) => UnitEvent::Other(KindEvent::Reload),
            _ => UnitEvent::Service(Event::Reload),
        };
        self.events.push_back((unit, event));
    }

    /// A job takes too long.
    pub fn job_timed_out(&mut self, id: JobId) {
        let Some(unit) = self.jobs.get(&id).map(|job| job.unit) else { return };
        let unit_file = self.units.get(unit).map(|runtime| &runtime.unit);
        let action = unit_file.map(|unit| (unit.job_timeout_action, unit.job_timeout_reboot_argument.clone()));
        let title = self.title(unit);
        self.finish_job(id, JobResult::Timeout);
        if let Some((action, argument)) = action {
            self.act(action, argument, &format!("{title}: its job took too long, which"));
        }
    }

    /// Ends a job, and lets a failure spread to what needs the unit.
    pub fn finish_job(&mut self, id: JobId, result: JobResult) {
        self.end_job(id, result, Spread::Yes);
    }

    /// Ends a job: tells who waits, frees what waited for it, and lets a failure spread if asked for.
    fn end_job(&mut self, id: JobId, result: JobResult, spread: Spread) {
        let mut open = vec![(id, result)];
        while let Some((id, result)) = open.pop() {
            let Some(job) = self.jobs.remove(&id) else { continue };
            self.ready.remove(&id);
            self.timers.disarm(TimerKey::Job(id));
            if let Some(runtime) = self.units.get_mut(job.unit) {
                runtime.job = None;
            }
            if !matches!(result, JobResult::Done | JobResult::Skipped | JobResult::Canceled) {
                self.manager.failed_jobs = self.manager.failed_jobs.saturating_add(1);
            }
            self.report(&job, result);
            self.tell_triggering(job.unit);
            self.answer_waiters(&job, result);
            let refused = !matches!(result, JobResult::Done | JobResult::Canceled | JobResult::Failed);
            if refused && job.kind == JobKind::Start && self.restart_state(job.unit).is_some() {
                // Its automatic restart came to nothing, and no timer would ever try again.
                self.events.push_back((job.unit, UnitEvent::Service(Event::Stop)));
            }
            if spread == Spread::Yes {
                open.extend(self.victims(&job, result).into_iter().map(|victim| (victim, JobResult::Dependency)));
            }
            if job.kind == JobKind::Start && matches!(result, JobResult::Timeout | JobResult::Dependency) {
                self.start_after_end(job.unit, Relation::OnFailure);
            }
            self.wake_related(job.unit);
            self.idle_units.insert(job.unit);
            self.checks.insert(job.unit);
        }
    }

    /// The start jobs that fail because this job came to nothing.
    fn victims(&self, job: &Job, result: JobResult) -> Vec<JobId> {
        let good = matches!(result, JobResult::Done | JobResult::Skipped);
        let active = self.active(job.unit);
        let relations: &[Relation] = match job.kind {
            JobKind::Start | JobKind::VerifyActive if !good => {
                &[Relation::RequiredBy, Relation::RequisiteOf, Relation::BoundBy]
            }
            JobKind::Stop if !good => &[Relation::ConflictedBy],
            // It ended well, but it is not up, and that is what those rely on.
            JobKind::Start | JobKind::Reload if active.is_down() => &[Relation::RequisiteOf],
            _ => &[],
        };
        let starts = |id: &JobId| {
            self.jobs.get(id).is_some_and(|job| matches!(job.kind, JobKind::Start | JobKind::VerifyActive))
        };
        let others = relations.iter().flat_map(|relation| self.units.related(job.unit, *relation));
        others.filter_map(|other| self.units.get(other)?.job).filter(starts).collect()
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
        Kind::Passive(_) | Kind::Inert => false,
    }
}

/// ` (1.2 s)` for a start that a person would notice.
fn slow(took_us: u64) -> String {
    const NOTICED_US: u64 = 100_000;
    if took_us < NOTICED_US { String::new() } else { format!(" ({:.1} s)", took_us as f64 / 1e6) }
}
