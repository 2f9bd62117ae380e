//! Carries out what clients ask.

use ferrite_control::{
    ErrorKind, InjectedFault, JobEntry, JobMode, JobOutcome, JobReport, JobVerb, KillWhom, MAX_UNITS_PER_REQUEST,
    Reply, Request, ShutdownAction,
};
use ferrite_sys::crash;
use ferrite_sys::reboot::End;
use ferrite_unit::{LoadState, UnitName};

use crate::engine::{Engine, Job, UnitEvent};
use crate::jobs::{JobId, JobKind, JobResult, Mode, UnitId};
use crate::machine::Event;
use crate::server::{ClientId, Pending, error};
use crate::transaction::{Fault, Graph, PlanError};
use crate::units::Kind;

impl Engine {
    /// Answers a request; `None`: the answer comes later.
    pub fn answer(&mut self, client: ClientId, request: Request) -> Option<Reply> {
        Some(match request {
            Request::ListUnits => Reply::Units(self.summaries()),
            Request::ListUnitFiles => Reply::UnitFiles(self.unit_files()),
            Request::ListJobs => Reply::JobQueue(self.job_entries()),
            Request::Show { unit } => match UnitName::parse(&unit) {
                Ok(name) if self.may_load(client, &name) => self.details(&name),
                Ok(_) => error(ErrorKind::LimitExceeded, "too many units".into()),
                Err(fault) => error(ErrorKind::BadRequest, fault.to_string()),
            },
            Request::ShowSome { units } => self.some_details(client, &units),
            Request::Times => Reply::Times(self.unit_times()),
            Request::Gaps => Reply::Gaps(self.gaps()),
            Request::SetLog { level, target } => self.set_log(level.as_deref(), target.as_deref()),
            Request::ShowManager => Reply::Properties(self.manager_properties()),
            Request::Job { verb, units, mode, wait } => return self.job_request(client, verb, &units, mode, wait),
            Request::KillUnit { unit, whom, signal } => self.kill_request(&unit, whom, signal),
            Request::ResetFailed { units } => self.reset_failed(&units),
            Request::DaemonReload => {
                self.request_reload(Some(client));
                return None;
            }
            Request::DaemonReexec => {
                self.request_reexec(Some(client));
                return None;
            }
            Request::InjectFault(fault) => {
                if !self.settings.test_faults {
                    return Some(error(ErrorKind::NotSupported, "faults are injected in tests only".into()));
                }
                inject(fault);
                return None;
            }
            Request::IsSystemRunning { wait } => {
                let state = self.system_state();
                if wait && state == "starting" {
                    self.server.clients.get_mut(&client)?.waits_for_boot = true;
                    return None;
                }
                Reply::SystemState(state.into())
            }
            Request::SetEnvironment { set, unset } => self.set_environment(&unset, &set),
            Request::SetServiceWatchdogs(on) => {
                self.manager.service_watchdogs = on;
                Reply::Done
            }
            Request::GetDefault => Reply::Text(self.default_target()),
            Request::Shutdown { action, force, argument } => {
                self.set_reboot_argument(argument);
                self.begin_shutdown(end_of(action), force);
                Reply::Done
            }
            Request::StartTransient(request) => return self.start_transient(client, &request),
            Request::SetProperty { unit, runtime, settings } => self.set_property(&unit, runtime, &settings),
            Request::CancelJobs { jobs } => self.cancel_jobs(&jobs),
            Request::SetFrozen { unit, frozen } => return self.set_frozen(client, &unit, frozen),
            Request::Clean { unit, what } => return self.clean(client, &unit, &what),
            Request::WaitInactive { unit } => return self.wait_inactive(client, &unit),
            Request::Run(run) => return self.run_request(client, run),
            Request::Kill(signal) => {
                let pid = self.server.clients.get(&client)?.command?;
                // The command may have ended in the meantime; its exit status is on its way.
                let _ = ferrite_sys::signal::send_to_group(pid, signal);
                return None;
            }
        })
    }

    /// A question about an unknown name takes a place for good: the last ones are kept for those that may act.
    pub fn may_load(&self, client: ClientId, name: &UnitName) -> bool {
        let privileged = self.server.clients.get(&client).is_some_and(|client| client.privileged);
        privileged || name.is_template() || self.units.find(name).is_some() || self.units.has_room_for_guests()
    }

    /// Whoever waited for the end of the boot is told.
    pub fn answer_boot_waiters(&mut self) {
        let state = self.system_state();
        let waiting: Vec<ClientId> =
            self.server.clients.iter().filter(|(_, client)| client.waits_for_boot).map(|(id, _)| *id).collect();
        for id in waiting {
            if let Some(client) = self.server.clients.get_mut(&id) {
                client.waits_for_boot = false;
            }
            self.send(id, &Reply::SystemState(state.into()));
        }
    }

    fn job_entries(&self) -> Vec<JobEntry> {
        self.jobs
            .iter()
            .map(|(id, job)| JobEntry {
                id: *id,
                unit: self.name(job.unit),
                job: job.kind.as_str().into(),
                state: if job.running { "running" } else { "waiting" }.into(),
                queued_us: job.queued_us,
                began_us: job.began_us,
            })
            .collect()
    }

    fn default_target(&self) -> String {
        let path = &self.settings.load_path.0;
        let link = path.iter().find_map(|dir| std::fs::read_link(format!("{dir}/default.target")).ok());
        link.and_then(|target| target.file_name().map(|name| name.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "default.target".into())
    }

    fn job_request(
        &mut self,
        client: ClientId,
        verb: JobVerb,
        units: &[String],
        mode: JobMode,
        wait: bool,
    ) -> Option<Reply> {
        if units.len() > MAX_UNITS_PER_REQUEST {
            let text = format!("more than {MAX_UNITS_PER_REQUEST} units in one request");
            return Some(error(ErrorKind::LimitExceeded, text));
        }
        let mode = crate::transient::mode_of(mode);
        let mut reports = Vec::new();
        let mut open = 0;
        for (position, unit) in units.iter().enumerate() {
            let (report, job) = self.one_job(verb, unit, mode);
            if let Some(job) = job.filter(|_| wait).and_then(|job| self.jobs.get_mut(&job)) {
                job.waiters.push((client, position));
                open += 1;
            }
            reports.push(report);
        }
        if open == 0 {
            return Some(Reply::Jobs(reports));
        }
        self.server.clients.get_mut(&client)?.pending = Some(Pending { reports, open });
        None
    }

    /// Queues the job of one unit of a request.
    fn one_job(&mut self, verb: JobVerb, unit: &str, mode: Mode) -> (JobReport, Option<JobId>) {
        let report = |outcome| JobReport {
            unit: unit.to_owned(),
            outcome,
            unit_result: String::new(),
            refusal: None,
            message: String::new(),
        };
        let refused =
            |kind, message: String| (JobReport { refusal: Some(kind), message, ..report(JobOutcome::Refused) }, None);
        let name = match UnitName::parse(unit) {
            Ok(name) if name.is_template() => {
                return refused(ErrorKind::BadRequest, format!("{name} is a template: name an instance"));
            }
            Ok(name) => name,
            Err(fault) => return refused(ErrorKind::BadRequest, fault.to_string()),
        };
        let Some(id) = self.load(&name) else {
            return refused(ErrorKind::LimitExceeded, "too many units".into());
        };
        let active = self.active(id);
        if let Some((kind, message)) = self.refusal(id, verb, mode) {
            return refused(kind, message);
        }
        let kind = match verb {
            JobVerb::Start => JobKind::Start,
            JobVerb::Stop => JobKind::Stop,
            JobVerb::Restart => JobKind::Restart,
            JobVerb::Reload => JobKind::Reload,
            JobVerb::TryRestart | JobVerb::TryReloadOrRestart if active.is_down() => {
                return (report(JobOutcome::Skipped), None);
            }
            JobVerb::TryRestart => JobKind::Restart,
            JobVerb::ReloadOrRestart if active.is_down() => JobKind::Start,
            JobVerb::ReloadOrRestart | JobVerb::TryReloadOrRestart if self.can_reload(id) => JobKind::Reload,
            JobVerb::ReloadOrRestart | JobVerb::TryReloadOrRestart => JobKind::Restart,
        };
        match self.enqueue(id, kind, mode) {
            Ok(job) => (report(JobOutcome::Queued), Some(job)),
            Err(fault) => {
                let kind = match &fault {
                    PlanError::Refused(Fault::NotFound, _) => ErrorKind::NoSuchUnit,
                    PlanError::Refused(Fault::Masked, _) => ErrorKind::UnitMasked,
                    PlanError::Refused(Fault::BadSetting | Fault::Unreadable, _) => ErrorKind::UnitRefuses,
                    PlanError::Refused(Fault::NotSupported, _) => ErrorKind::NotSupported,
                    PlanError::Destructive(_) => ErrorKind::Destructive,
                    PlanError::Refused(Fault::Other, _) | PlanError::Contradiction(_) | PlanError::Cycle(_) => {
                        ErrorKind::TransactionFailed
                    }
                };
                refused(kind, fault.to_string())
            }
        }
    }

    pub fn can_reload(&self, id: UnitId) -> bool {
        if self.can_remount(id) {
            return true;
        }
        self.units.get(id).and_then(|runtime| runtime.unit.service()).is_some_and(|service| {
            !service.reload.is_empty() || service.kind == ferrite_unit::service::ServiceType::NotifyReload
        })
    }

    /// What a unit itself does not allow.
    fn refusal(&self, id: UnitId, verb: JobVerb, mode: Mode) -> Option<(ErrorKind, String)> {
        let runtime = self.units.get(id)?;
        let name = &runtime.unit.name;
        let down = runtime.active().is_down();
        let (no_start, no_stop) = (runtime.unit.refuse_manual_start, runtime.unit.refuse_manual_stop);
        match verb {
            JobVerb::Start if no_start => {
                Some((ErrorKind::OnlyByDependency, format!("{name} may only be started by other units")))
            }
            JobVerb::Stop if no_stop => {
                Some((ErrorKind::OnlyByDependency, format!("{name} may only be stopped by other units")))
            }
            JobVerb::Restart | JobVerb::TryRestart if no_start || no_stop => {
                Some((ErrorKind::OnlyByDependency, format!("{name} may only be started and stopped by other units")))
            }
            JobVerb::Stop if runtime.unit.load == LoadState::NotFound && down => {
                Some((ErrorKind::NoSuchUnit, format!("unit {name} not loaded")))
            }
            JobVerb::Start if mode == Mode::Isolate && !runtime.unit.allow_isolate => {
                Some((ErrorKind::OnlyByDependency, format!("{name} does not allow to be isolated")))
            }
            JobVerb::Reload if runtime.unit.load == LoadState::NotFound && down => {
                Some((ErrorKind::NoSuchUnit, format!("unit {name} not found")))
            }
            JobVerb::Reload if !self.can_reload(id) => {
                Some((ErrorKind::NotSupported, format!("Job type reload is not applicable for unit {name}.")))
            }
            _ => None,
        }
    }

    /// A job ended: the clients that wait for it get their answer once all of theirs have.
    pub fn answer_waiters(&mut self, job: &Job, result: JobResult) {
        let outcome = match result {
            JobResult::Done => JobOutcome::Done,
            JobResult::Canceled => JobOutcome::Canceled,
            JobResult::Timeout => JobOutcome::Timeout,
            JobResult::Failed => JobOutcome::Failed,
            JobResult::Dependency => JobOutcome::Dependency,
            JobResult::Skipped => JobOutcome::Skipped,
            JobResult::Invalid => JobOutcome::Invalid,
            JobResult::Assert => JobOutcome::Assert,
            JobResult::Unsupported => JobOutcome::Unsupported,
            JobResult::Frozen => JobOutcome::Frozen,
        };
        let unit_result = self.units.get(job.unit).map(|runtime| runtime.result().to_owned()).unwrap_or_default();
        for (id, position) in &job.waiters {
            let Some(client) = self.server.clients.get_mut(id) else { continue };
            let Some(pending) = &mut client.pending else { continue };
            if let Some(report) = pending.reports.get_mut(*position) {
                report.outcome = outcome;
                report.unit_result.clone_from(&unit_result);
            }
            pending.open = pending.open.saturating_sub(1);
            if pending.open == 0
                && let Some(pending) = client.pending.take()
            {
                self.send(*id, &Reply::Jobs(pending.reports));
            }
        }
    }

    fn kill_request(&mut self, unit: &str, whom: KillWhom, signal: i32) -> Reply {
        let Some(id) = UnitName::parse(unit).ok().and_then(|name| self.units.find(&name)) else {
            return error(ErrorKind::NoSuchUnit, format!("unit {unit} not loaded"));
        };
        let Some(runtime) = self.units.get(id) else { return Reply::Done };
        if !(1..=64).contains(&signal) {
            return error(ErrorKind::BadRequest, format!("{signal} is no signal"));
        }
        let mut pids: Vec<i32> = match whom {
            KillWhom::Main => runtime.main_pid.into_iter().collect(),
            KillWhom::Control => runtime.control_pid.into_iter().collect(),
            KillWhom::All => [runtime.main_pid, runtime.control_pid].into_iter().flatten().collect(),
        };
        if whom == KillWhom::All
            && let Some(group) = &runtime.group
        {
            pids.extend(self.groups.processes(group).into_iter().map(|(pid, _)| pid));
            pids.sort_unstable();
            pids.dedup();
        }
        if pids.is_empty() {
            return error(ErrorKind::Failed, format!("{unit} has no such process"));
        }
        for pid in pids {
            // One that ended in the meantime needs no signal.
            let _ = ferrite_sys::signal::send(pid, signal);
        }
        Reply::Done
    }

    fn reset_failed(&mut self, units: &[String]) -> Reply {
        let ids = if units.is_empty() {
            self.units.ids()
        } else {
            let mut ids = Vec::new();
            for unit in units {
                match UnitName::parse(unit).ok().and_then(|name| self.units.find(&name)) {
                    Some(id) => ids.push(id),
                    None => return error(ErrorKind::NoSuchUnit, format!("unit {unit} not loaded")),
                }
            }
            ids
        };
        for id in ids {
            let Some(runtime) = self.units.get_mut(id) else { continue };
            runtime.starts.clear();
            match runtime.kind {
                Kind::Service(_) => self.events.push_back((id, UnitEvent::Service(Event::ResetFailed))),
                Kind::Other(_) => {
                    self.kind_happened(id, crate::kinds::KindEvent::ResetFailed);
                }
                Kind::Passive(_) | Kind::Inert => {}
            }
        }
        Reply::Done
    }
}

fn end_of(action: ShutdownAction) -> End {
    match action {
        ShutdownAction::Reboot => End::Reboot,
        ShutdownAction::Poweroff => End::Poweroff,
        ShutdownAction::Halt => End::Halt,
        ShutdownAction::Kexec => End::Kexec,
        ShutdownAction::SoftReboot => End::SoftReboot,
    }
}

/// Crashes as a test asks for it.
fn inject(fault: InjectedFault) {
    crash::inject(match fault {
        InjectedFault::Panic => crash::Fault::Panic,
        InjectedFault::Memory => crash::Fault::Memory,
        InjectedFault::Stack => crash::Fault::Stack,
        InjectedFault::Abort => crash::Fault::Abort,
        InjectedFault::Allocation => crash::Fault::Allocation,
    });
}
