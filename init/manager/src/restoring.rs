//! Taking the state of the image before this one: units, jobs, deadlines, processes, sockets, clients.
//!
//! Unit files are read anew; what a file does not tell comes from the state. Nothing here may fail as a whole.

use std::time::Instant;

use ferrite_sys::inherit::Inherited;
use ferrite_unit::UnitName;

use crate::engine::{Engine, Job, Process, Role, UnitEvent};
use crate::jobs::UnitId;
use crate::keeping::{self, Bag};
use crate::machine::{Event, Machine, MainProcess, Outcome, State};
use crate::moments::Moments;
use crate::server::ClientId;
use crate::state::{Saved, SavedJob, SavedProcess, SavedUnit};
use crate::timers::TimerKey;
use crate::units::{Kind, Times};

impl Engine {
    /// Takes everything over.
    pub fn restore(&mut self, saved: &Saved, inherited: &mut Inherited) {
        for fault in &saved.faults {
            self.log.warning(&format!("reading the state of the image before this one: {fault}, going on without"));
        }
        self.restore_manager(saved, inherited);
        for client in saved.clients.values() {
            self.restore_client(client, inherited);
        }
        let units = self.restore_names(saved);
        for (id, unit) in units {
            self.restore_unit(id, unit, inherited);
        }
        for client in saved.clients.values() {
            self.restore_waits(client);
        }
        for process in saved.processes.values() {
            self.restore_process(process, inherited);
        }
        self.look_at_groups();
        self.resume_kinds();
        self.resume_bus();
        self.ready.extend(self.jobs.keys().copied());
        let text = format!("took over {} units and {} jobs", saved.units.len(), self.jobs.len());
        self.log.info(&text);
        self.answer_reexec(&saved.manager.reexec_clients);
    }

    fn restore_manager(&mut self, all: &Saved, inherited: &mut Inherited) {
        let saved = &all.manager;
        self.phase = keeping::phase(&saved.phase, &saved.end);
        // After a crash the numbers may be older than what has them.
        let jobs = all.units.values().filter_map(|unit| Some(unit.job.as_ref()?.id)).max().unwrap_or(0);
        self.next_job = saved.next_job.max(jobs.saturating_add(1));
        let next_client = all.clients.keys().max().map_or(0, |last| last + 1).max(saved.next_client);
        let part = saved.parts.get(crate::manager_state::PART).cloned();
        self.manager = part.and_then(|part| serde_json::from_value(part).ok()).unwrap_or_default();
        self.moments = match saved.parts.get("moments").map(|value| serde_json::from_value(value.clone())) {
            Some(Ok(moments)) => moments,
            // An older image kept only these two.
            Some(Err(_)) | None => Moments {
                userspace: (0, saved.began_us),
                finish: (0, saved.booted_us.unwrap_or(0)),
                ..Moments::default()
            },
        };
        self.restore_log(saved.parts.get("log"));
        self.restore_manager_timers(&saved.timers);
        let mut files = Bag::new(inherited, &saved.files);
        match files.take("notify") {
            Some(socket) => self.use_notify_socket(socket),
            None => self.open_notify_socket(),
        }
        let listener = files.take("control");
        self.restore_listener(listener, next_client);
        self.idle = files.take("idle-reader").zip(files.take("idle-writer"));
    }

    /// Loads all units that were known, and links them.
    fn restore_names<'a>(&mut self, saved: &'a Saved) -> Vec<(UnitId, &'a SavedUnit)> {
        let parse = |unit: &'a SavedUnit| Some((UnitName::parse(&unit.name).ok()?, unit));
        let named: Vec<(UnitName, &SavedUnit)> = saved.units.values().filter_map(parse).collect();
        let ids = self.load_all(named.iter().map(|(name, _)| name));
        let mut units = Vec::new();
        for (id, (name, unit)) in ids.into_iter().zip(named) {
            let Some(id) = id else { continue };
            if units.iter().any(|(have, _)| *have == id) {
                // Two units became one while the state was on its way; the first one counts.
                self.log.warning(&format!("{name} is another name of a unit now, forgetting its own state"));
                continue;
            }
            units.push((id, unit));
        }
        units
    }

    fn restore_unit(&mut self, id: UnitId, saved: &SavedUnit, inherited: &mut Inherited) {
        let mut files = Bag::new(inherited, &saved.files);
        let understood = self.restore_kind(id, saved, &mut files);
        let Some(runtime) = self.units.get_mut(id) else { return };
        runtime.times = Times::of_list(&saved.times, saved.condition_us);
        runtime.group.clone_from(&saved.group);
        runtime.group_killed = saved.group_killed;
        runtime.main_pid = saved.main_pid;
        runtime.control_pid = saved.control_pid;
        runtime.status_text.clone_from(&saved.status_text);
        runtime.starts = saved.starts.iter().map(|start| keeping::instant(*start)).collect();
        runtime.invocation.clone_from(&saved.invocation);
        runtime.commands = saved.commands.iter().map(keeping::restore_command).collect();
        runtime.assert_failed = saved.assert_failed;
        runtime.unmet = saved.unmet;
        for (pid, role) in [(saved.main_pid, Role::Main), (saved.control_pid, Role::Control)] {
            if let Some(pid) = pid {
                self.processes.insert(pid, Process { unit: Some(id), role });
            }
        }
        if let Some(group) = &saved.group
            && let Err(error) = self.groups.watch(id, group)
        {
            self.log.warning(&format!("watching control group {group}: {error}, going on without"));
        }
        self.restore_timers(id, saved);
        if let Some(job) = &saved.job {
            self.restore_job(id, job);
        }
        if !understood {
            self.log.warning(&format!("{}: its state is not understood, looking at its processes", saved.name));
            self.adopt(id, &saved.active);
        }
    }

    fn restore_job(&mut self, unit: UnitId, saved: &SavedJob) {
        let Ok(kind) = serde_json::from_value(saved.kind.clone()) else {
            let name = self.title(unit);
            return self.log.warning(&format!("{name}: its job {} is not understood, dropping it", saved.kind));
        };
        let waiters = saved.waiters.iter().map(|(client, place)| (ClientId(*client), *place)).collect();
        let job = Job {
            unit,
            kind,
            running: saved.running,
            irreversible: saved.irreversible,
            ignore_order: saved.ignore_order,
            queued_us: saved.queued_us,
            began_us: saved.began_us,
            waiters,
        };
        self.jobs.insert(saved.id, job);
        if let Some(runtime) = self.units.get_mut(unit) {
            runtime.job = Some(saved.id);
        }
        if let Some(at) = saved.timeout_us {
            self.timers.arm(TimerKey::Job(saved.id), Instant::now(), keeping::until(at));
        }
    }

    fn restore_process(&mut self, saved: &SavedProcess, inherited: &mut Inherited) {
        let role = match saved.client {
            Some(client) => Some(Role::Command(ClientId(client))),
            None => saved.helper.then_some(Role::Helper),
        };
        if let Some(role) = role {
            self.processes.insert(saved.pid, Process { unit: None, role });
        }
        if let Some(report) = Bag::new(inherited, &saved.report).take("report") {
            self.watch_report(saved.pid, report);
        }
    }

    /// A unit of which nothing but its files, its group and systemd's word for its state is known.
    pub fn adopt(&mut self, id: UnitId, active: &str) {
        let Some(runtime) = self.units.get(id) else { return };
        let populated = runtime.group.as_ref().is_some_and(|group| self.groups.populated(group));
        let alive = runtime.main_pid.is_some();
        let machine = |state, result| Machine {
            state,
            result,
            main: if alive { MainProcess::Alive } else { MainProcess::Unknown },
            ..Machine::default()
        };
        let kind = match (&runtime.kind, active) {
            (Kind::Service(_), _) if populated || alive => Kind::Service(machine(State::Running, Outcome::Success)),
            (Kind::Service(_), "active") => Kind::Service(machine(State::Exited, Outcome::Success)),
            (Kind::Service(_), "failed") => Kind::Service(machine(State::Failed, Outcome::Resources)),
            (Kind::Service(_), _) => Kind::Service(Machine::default()),
            (Kind::Passive(_), _) => Kind::Passive(active == "active"),
            (Kind::Other(_), _) => crate::kinds::KindState::idle(&runtime.unit).map_or(Kind::Inert, Kind::Other),
            (Kind::Inert, _) => Kind::Inert,
        };
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.kind = kind;
        }
    }

    /// A group may have lost its last process while nobody watched.
    fn look_at_groups(&mut self) {
        for id in self.units.ids() {
            let Some(runtime) = self.units.get(id) else { continue };
            let Some(group) = runtime.group.clone() else { continue };
            if matches!(runtime.kind, Kind::Service(_)) && !runtime.active().is_down() && !self.groups.populated(&group)
            {
                self.events.push_back((id, UnitEvent::Service(Event::GroupEmpty)));
            }
        }
    }
}
