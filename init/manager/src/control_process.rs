//! Processes of units that are no services: their commands, and work of PID 1 that may take long.

use std::os::fd::OwnedFd;

use ferrite_sys::process::Birth;
use ferrite_unit::command::Command;

use crate::child::{Fault, Invocation};
use crate::engine::{Engine, Process, Role};
use crate::jobs::UnitId;
use crate::kinds::KindEvent;
use crate::units::CommandRun;

/// What a process does.
pub enum Task<'a> {
    /// Executes a command of the unit, named by its directive.
    Command(&'static str, &'a Command),
    /// Does something of our own.
    Work(&'static str, &'a dyn Fn() -> Result<(), Fault>),
}

impl Engine {
    /// Makes the control process of a unit; if that fails, the unit is told.
    pub fn spawn_task(&mut self, id: UnitId, task: Task<'_>) {
        let directive = match task {
            Task::Command(directive, _) | Task::Work(directive, _) => directive,
        };
        if let Err(error) = self.try_spawn_task(id, task) {
            let title = self.title(id);
            self.log.error(&format!("{title}: making a process for {directive}=: {error}"));
            self.kind_happened(id, KindEvent::NotMade);
        }
    }

    fn try_spawn_task(&mut self, id: UnitId, task: Task<'_>) -> std::io::Result<()> {
        let place = self.make_group(id);
        self.export_log_settings(id);
        let gone = || std::io::Error::other("unit has no processes");
        let runtime = self.units.get(id).ok_or_else(gone)?;
        let (reader, writer) = crate::spawn::report_pipe()?;
        let (directive, argv, pid) = match task {
            Task::Command(directive, command) => {
                let invocation = Invocation {
                    unit: runtime.unit.name.as_str(),
                    exec: runtime.unit.exec().ok_or_else(gone)?,
                    command,
                    as_user: true,
                    variables: self.variables(id, None),
                    file_variables: crate::variables::of_files(runtime.unit.exec().ok_or_else(gone)?, &|path| {
                        self.answers(path)
                    })?,
                    to_kernel_log: self.settings.real_boot,
                    oom_score: 0,
                    idle: None,
                    descriptors: self.command_descriptors(id),
                    streams: None,
                    surroundings: self.surroundings(id, None),
                };
                let birth = Birth { group: place.group(), own_pids: false };
                let pid = self.launching.make(birth, &place, &invocation, writer)?;
                (directive, command.words.clone(), pid)
            }
            Task::Work(directive, work) => {
                let child = ferrite_sys::process::fork_into(place.group(), || {
                    place.enter();
                    do_work(work, writer)
                })?;
                (directive, Vec::new(), child.pid)
            }
        };
        let run = CommandRun { directive, argv, pid, start_us: crate::clock::wall_us(), ..CommandRun::default() };
        self.watch_report(pid, reader);
        self.processes.insert(pid, Process { unit: Some(id), role: Role::Control });
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.control_pid = Some(pid);
            runtime.note_command(run);
        }
        Ok(())
    }
}

fn do_work(work: &dyn Fn() -> Result<(), Fault>, report: OwnedFd) -> i32 {
    use std::io::Write;
    match work() {
        Ok(()) => 0,
        Err(fault) => {
            // The exit status tells of the failure if the pipe is broken.
            let _ = std::fs::File::from(report).write_all(format!("{} {}\n", fault.code, fault.text).as_bytes());
            fault.code
        }
    }
}
