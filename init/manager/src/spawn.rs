//! Making the processes of units, signalling them, and what their ends mean.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferrite_unit::UnitName;
use ferrite_unit::command::Privilege;
use ferrite_unit::exec::Exec;
use ferrite_unit::service::{Service, ServiceType};
use ferrite_unit::shared::Shared;

use crate::child::Invocation;
use crate::engine::{Engine, Process, Role, UnitEvent, keys};
use crate::groups::Groups;
use crate::jobs::{JobKind, UnitId};
use crate::lifecycle::directive;
use crate::machine::{ControlKind, Event, Exit, KillStep, State};
use crate::units::{CommandRun, Kind};

/// Bytes of a child's report that are read.
const REPORT_MAX: usize = 1024;

/// 128 random bits as text.
pub fn new_invocation() -> String {
    let mut bytes = [0_u8; 16];
    // Before the kernel's generator is ready the call would block; then an older kernel source serves as well.
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::INSECURE) {
        Ok(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) => format!("{:032x}", crate::clock::wall_us()),
    }
}

/// The pipe that a child reports through; neither end waits, as it has room for more than a report.
pub fn report_pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::PipeFlags;
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// Where a new process begins.
pub enum Place {
    /// In the group of PID 1: there is no hierarchy.
    Here,
    /// In this group, from its first instruction.
    Inside(OwnedFd),
    /// It joins the group by itself, through this file.
    Join(String),
}

impl Place {
    /// The group to be made in.
    pub fn group(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Place::Inside(group) => Some(group.as_fd()),
            Place::Here | Place::Join(_) => None,
        }
    }

    /// The first act of the child.
    pub fn enter(&self) {
        if let Place::Join(file) = self {
            // A process outside its group is still one that PID 1 knows.
            let _ = std::fs::write(file, "0");
        }
    }
}

impl Engine {
    /// Makes the group of a unit, if it has none yet.
    ///
    /// Kernels since 6.12.13 kill whatever is cloned into a group on which `cgroup.kill` was ever used: they compare
    /// its count of kills with that of the parent's group. So such a group is made anew, or joined after the clone.
    pub fn make_group(&mut self, id: UnitId) -> Place {
        let Some(runtime) = self.units.get(id) else { return Place::Here };
        let group = match &runtime.group {
            Some(group) => group.clone(),
            None => Groups::path(runtime.unit.slice().as_ref(), &runtime.unit.name),
        };
        if runtime.group_killed && self.groups.populated(&group) {
            return Place::Join(format!("{}{group}/cgroup.procs", self.groups.root().unwrap_or_default()));
        }
        if runtime.group_killed {
            self.groups.remove(id, &group);
        }
        let units = &self.units;
        let disabled = |part: &str| {
            let slice = UnitName::parse(part).ok().and_then(|name| units.get(units.find(&name)?));
            slice.map(|slice| slice.unit.resources.disabled).unwrap_or_default()
        };
        if let Err(error) = self.groups.make(id, &group, disabled) {
            self.log.warning(&format!("making control group {group}: {error}, going on without it"));
            return Place::Here;
        }
        self.limit_group(id, &group);
        let file = self.groups.open(&group);
        if let Some(runtime) = self.units.get_mut(id) {
            if runtime.group.replace(group).is_none() {
                runtime.memory_kills = 0;
            }
            runtime.group_killed = false;
        }
        file.map_or(Place::Here, Place::Inside)
    }

    /// The place of one process of a service: in a group that is handed over the processes of the service itself may be
    /// in groups below, and then the kernel allows none beside them.
    fn subgroup(&self, id: UnitId, kind: Option<ControlKind>, place: Place) -> std::io::Result<Place> {
        let Some(runtime) = self.units.get(id) else { return Ok(place) };
        let resources = &runtime.unit.resources;
        let Some((root, group)) = self.groups.root().zip(runtime.group.as_ref()).filter(|_| resources.delegate) else {
            return Ok(place);
        };
        let beside = [ControlKind::StartPost, ControlKind::Reload, ControlKind::Stop, ControlKind::StopPost];
        let below = match kind {
            Some(kind) if beside.contains(&kind) => ".control",
            _ => match &resources.delegate_subgroup {
                Some(name) => name.as_str(),
                None => return Ok(place),
            },
        };
        let below = format!("{group}/{below}");
        let folder = format!("{root}{below}");
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        Ok(match place {
            Place::Here => Place::Here,
            Place::Join(_) => Place::Join(format!("{folder}/cgroup.procs")),
            Place::Inside(_) => self.groups.open(&below).map_or(Place::Here, Place::Inside),
        })
    }

    /// Makes the main process (`kind` is `None`) or a control process of a service.
    pub fn spawn(&mut self, id: UnitId, kind: Option<ControlKind>, index: usize) {
        let failed = match kind {
            None => Event::MainNotMade,
            Some(_) => Event::ControlNotMade,
        };
        match self.try_spawn(id, kind, index) {
            Ok(()) if kind.is_none() => self.events.push_back((id, UnitEvent::Service(Event::MainMade))),
            Ok(()) => {}
            Err(error) => {
                let title = self.title(id);
                self.log.error(&format!("{title}: making a process for {}=: {error}", directive(kind)));
                self.events.push_back((id, UnitEvent::Service(failed)));
            }
        }
    }

    fn try_spawn(&mut self, id: UnitId, kind: Option<ControlKind>, index: usize) -> std::io::Result<()> {
        let place = self.make_group(id);
        let place = self.subgroup(id, kind, place)?;
        self.export_log_settings(id);
        let gone = || std::io::Error::other("unit has no such command");
        let runtime = self.units.get(id).ok_or_else(gone)?;
        let service = runtime.unit.service().ok_or_else(gone)?;
        let list = kind.map_or(service.start.as_slice(), |kind| kind.commands(service));
        let command = list.get(index).ok_or_else(gone)?;
        let file_variables = crate::variables::of_files(&service.exec, &|path| self.answers(path))?;
        let starts = kind.is_none() || kind == Some(ControlKind::Start);
        let exec = exec_of(service, starts);
        let invocation = Invocation {
            unit: runtime.unit.name.as_str(),
            exec: &exec,
            command,
            as_user: starts || !service.permissions_start_only,
            variables: self.variables(id, kind),
            file_variables,
            to_kernel_log: self.settings.real_boot,
            oom_score: 0,
            idle: self.idle_gate(service.kind, kind),
            descriptors: self.descriptors(id, starts),
            streams: self.kinds.streams.get(&id),
            surroundings: self.surroundings(id, kind),
        };
        let birth = self.birth(id, kind, command.privilege == Privilege::Full, &place);
        let (reader, writer) = report_pipe()?;
        let pid = self.launching.make(birth, &place, &invocation, writer)?;
        let run = CommandRun {
            main: kind.is_none(),
            directive: directive(kind),
            argv: command.words.clone(),
            pid,
            start_us: crate::clock::wall_us(),
            ..CommandRun::default()
        };
        let role = if kind.is_none() { Role::Main } else { Role::Control };
        self.watch_report(pid, reader);
        self.processes.insert(pid, Process { unit: Some(id), role });
        if let Some(runtime) = self.units.get_mut(id) {
            match kind {
                None => runtime.main_pid = Some(pid),
                Some(_) => runtime.control_pid = Some(pid),
            }
            runtime.note_command(run);
        }
        Ok(())
    }

    /// Where the main process of an idle service waits for the end of the boot's rush.
    fn idle_gate(&self, service: ServiceType, kind: Option<ControlKind>) -> Option<BorrowedFd<'_>> {
        if service != ServiceType::Idle || kind.is_some() {
            return None;
        }
        self.idle.as_ref().map(|(reader, _)| reader.as_fd())
    }

    /// Waits for the report of a child that was just made.
    pub fn watch_report(&mut self, pid: i32, reader: OwnedFd) {
        self.recorder.hurry();
        let key = keys::REPORTS + u64::try_from(pid).unwrap_or(0);
        if self.epoll.add(&reader, key).is_ok() {
            self.reports.insert(pid, reader);
        }
    }

    /// A child executed its program (the pipe is closed) or says why it could not.
    pub fn take_report(&mut self, key: u64) {
        let Ok(pid) = i32::try_from(key - keys::REPORTS) else { return };
        let Some(reader) = self.reports.remove(&pid) else { return };
        let _ = self.epoll.remove(&reader);
        let mut buffer = [0; REPORT_MAX];
        let length = rustix::io::read(&reader, &mut buffer).unwrap_or(0);
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let text = ferrite_sys::launch::report_text(text.trim());
        self.launching.sweep();
        let Some(process) = self.processes.get(&pid).copied() else { return };
        let cleaned = if let Role::Cleaner(id) = process.role { Some(id) } else { None };
        let Some(id) = process.unit.or(cleaned) else { return };
        if text.is_empty() {
            if process.role == Role::Main {
                self.events.push_back((id, UnitEvent::Service(Event::MainExecuted)));
            }
            return;
        }
        if process.role == Role::Main {
            self.events.push_back((id, UnitEvent::Service(Event::MainNotExecuted)));
        }
        let title = self.title(id);
        let reason = text.split_once(' ').map_or(text.as_str(), |(_, reason)| reason);
        self.log.error(&format!("{title}: {reason}"));
    }

    /// Signals the processes of a unit as its `KillMode=` says.
    pub fn kill(&mut self, id: UnitId, step: KillStep) {
        use ferrite_unit::kill::KillMode;
        let Some(runtime) = self.units.get(id) else { return };
        let Some(kill) = runtime.unit.kill() else { return };
        if kill.mode == KillMode::None {
            return;
        }
        let restarts = runtime.job.and_then(|job| self.jobs.get(&job)).is_some_and(|job| job.kind == JobKind::Restart);
        let first = runtime.machine().is_some_and(|machine| machine.state == State::StopSigterm);
        let signal = match step {
            KillStep::Terminate if restarts && first => kill.restart_signal.unwrap_or(kill.signal),
            KillStep::Terminate => kill.signal,
            KillStep::Abort => kill.watchdog_signal,
            KillStep::Kill => kill.final_signal,
        };
        let mut pids: Vec<i32> = [runtime.main_pid, runtime.control_pid].into_iter().flatten().collect();
        let whole = kill.mode == KillMode::ControlGroup || (kill.mode == KillMode::Mixed && step == KillStep::Kill);
        if whole && let Some(group) = &runtime.group {
            if step == KillStep::Kill && signal == 9 {
                self.groups.kill(group);
            }
            for (pid, _) in self.groups.processes(group) {
                if !pids.contains(&pid) {
                    pids.push(pid);
                }
            }
        }
        let send_sighup = kill.send_sighup && step == KillStep::Terminate;
        if whole
            && step == KillStep::Kill
            && signal == 9
            && let Some(runtime) = self.units.get_mut(id)
        {
            runtime.group_killed = true;
        }
        for pid in pids {
            // A process that ended in the meantime is reaped in a moment.
            let _ = ferrite_sys::signal::send(pid, signal);
            if send_sighup {
                let _ = ferrite_sys::signal::send(pid, 1);
            }
            if step != KillStep::Kill {
                let _ = ferrite_sys::signal::send(pid, 18);
            }
        }
    }

    /// A child ended: ours or an orphan that was given to us.
    pub fn process_ended(&mut self, pid: i32, exit: Exit) {
        if self.reports.contains_key(&pid) {
            self.take_report(keys::REPORTS + u64::try_from(pid).unwrap_or(0));
        }
        self.launching.sweep();
        let Some(process) = self.processes.remove(&pid) else { return };
        if process.role == Role::Generators {
            return self.generators_ended();
        }
        if process.role == Role::Trial {
            return self.trial_ended(exit == Exit::Code(0));
        }
        if let Role::Cleaner(id) = process.role {
            return self.cleaning_ended(id, exit);
        }
        if let Role::Command(client) = process.role {
            self.command_ended(client, exit);
            return;
        }
        let Some(id) = process.unit else { return };
        // Why it ended counts before the end.
        self.count_memory_kills(id);
        let title = self.title(id);
        let Some(runtime) = self.units.get_mut(id) else { return };
        if let Some(run) = runtime.commands.iter_mut().rev().find(|run| run.pid == pid) {
            let (code, status) = exit_words(exit);
            run.exit_us = crate::clock::wall_us();
            run.code = code;
            run.status = status_number(exit);
            if exit != Exit::Code(0) {
                self.log.info(&format!("{title}: process {pid} ({}=) {code}, status {status}", run.directive));
            }
        }
        let known = [runtime.main_pid, runtime.control_pid].contains(&Some(pid));
        if runtime.main_pid == Some(pid) {
            runtime.main_pid = None;
        }
        if runtime.control_pid == Some(pid) {
            runtime.control_pid = None;
        }
        if !known && matches!(runtime.kind, Kind::Service(_)) {
            // A process that was given up before it ended.
            self.idle_units.insert(id);
            return;
        }
        let event = match (&runtime.kind, process.role) {
            (Kind::Other(_), _) => UnitEvent::Other(crate::kinds::KindEvent::Exited(exit)),
            (_, Role::Main) => {
                if let Some(next) = self.pid_of_file(id).filter(|next| *next != pid) {
                    // It handed over to another process and said so in its PID file.
                    return self.set_main(id, next);
                }
                UnitEvent::Service(Event::MainExited(exit))
            }
            (
                _,
                Role::Control | Role::Command(_) | Role::Helper | Role::Trial | Role::Generators | Role::Cleaner(_),
            ) => UnitEvent::Service(Event::ControlExited(exit)),
        };
        self.events.push_back((id, event));
    }
}

/// The context of a process: of those that do not start the service, the root may be that of the machine.
fn exec_of(service: &Service, starts: bool) -> Shared<Exec> {
    let mut exec = service.exec.clone();
    if service.root_directory_start_only && !starts && exec.sandbox.mounts.root_directory.is_some() {
        exec.sandbox.mounts.root_directory = None;
    }
    exec
}

/// systemd's words for the end of a process, and the status as text.
pub fn exit_words(exit: Exit) -> (&'static str, String) {
    match exit {
        Exit::Code(code) => ("exited", code.to_string()),
        Exit::Signal(signal) => ("killed", ferrite_unit::value::signal_name(signal)),
        Exit::Dumped(signal) => ("dumped", ferrite_unit::value::signal_name(signal)),
    }
}

fn status_number(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => i32::from(code),
        Exit::Signal(signal) | Exit::Dumped(signal) => signal,
    }
}
