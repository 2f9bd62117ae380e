//! After a crash of PID 1: what it kept ready is compared with what really runs; without that, what runs tells alone.
//!
//! A crash is survived once a minute. One that follows at once would go on for ever: then the machine restarts, and the
//! tries of its slot run out.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use ferrite_sys::inherit::Inherited;
use ferrite_unit::UnitName;

use crate::clock;
use crate::engine::{Engine, Process, Role, UnitEvent};
use crate::jobs::{JobKind, UnitId};
use crate::machine::{Event, Exit, State};
use crate::recorder::Recorder;
use crate::reexec;
use crate::start::Options;
use crate::state::Saved;
use crate::units::Kind;

/// Two crashes within this time are one too many.
const RECOVERY: Duration = Duration::from_secs(60);

/// What there was before this image.
pub enum Before {
    /// Nothing: the machine starts.
    Nothing,
    /// An image that handed its state over.
    Handed(Result<Saved, String>),
    /// An image that crashed.
    Crashed(Result<Saved, String>),
}

impl Before {
    /// Is this the first image since the machine, or the namespace, started?
    pub fn is_nothing(&self) -> bool {
        matches!(self, Before::Nothing)
    }

    /// Is it the second crash in a short time?
    pub fn is_hopeless(&self) -> bool {
        let Before::Crashed(Ok(saved)) = self else { return false };
        let now = clock::boot_us();
        let recent = |at: &&u64| now.saturating_sub(**at) < u64::try_from(RECOVERY.as_micros()).unwrap_or(u64::MAX);
        // The crash that led here is one of them.
        saved.crashes.iter().filter(recent).count() > 1
    }
}

/// Takes the state of the image before this one, first of all. The file that comes along after a crash is to stay open
/// until there is another one.
pub fn before(options: &Options, program: &str, inherited: &mut Inherited) -> (Before, Option<OwnedFd>) {
    if let Some(number) = options.state {
        return (
            Before::Handed(reexec::state_file(inherited, number).and_then(|file| reexec::read_state(&file))),
            None,
        );
    }
    let Some(number) = options.recover else { return (Before::Nothing, None) };
    match reexec::state_file(inherited, number) {
        Ok(file) => (Before::Crashed(after_crash(options, program, &file)), Some(file)),
        Err(fault) => (Before::Crashed(Err(fault)), None),
    }
}

fn after_crash(options: &Options, program: &str, file: &OwnedFd) -> Result<Saved, String> {
    Recorder::note_crash(file, clock::boot_us()).map_err(|error| error.to_string())?;
    // A crash on the way leads here once more, with the same file, and is counted.
    let next = reexec::image_words(program, "--recover", file.as_raw_fd(), &options.arguments);
    let (program, arguments) = next.map_err(|error| error.to_string())?;
    ferrite_sys::crash::choose_next(program, arguments);
    ferrite_sys::crash::keep_files_up_to(file.as_raw_fd());
    reexec::read_state(file)
}

impl Engine {
    /// Goes on from what a crashed image had kept ready.
    pub fn recover(&mut self, saved: &Saved, inherited: &mut Inherited) {
        self.recorder.remember(&saved.crashes);
        self.restore(saved, inherited);
        // What was under way is begun again; a job whose work is done ends at once.
        for job in self.jobs.values_mut() {
            job.running = false;
        }
        for id in self.units.ids() {
            self.clear_group_of_start(id);
        }
        self.miss_processes();
        for id in self.units.ids() {
            self.miss_events(id);
        }
        self.log.error("PID 1 crashed and went on with what it had kept ready");
    }

    /// A start that was cut short leaves processes that nobody knows; it is begun again without them.
    fn clear_group_of_start(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        let Kind::Service(machine) = &runtime.kind else { return };
        let rests = matches!(machine.state, State::Dead | State::Failed | State::AutoRestart);
        let job = runtime.job.and_then(|job| self.jobs.get(&job));
        let starts = job.is_some_and(|job| matches!(job.kind, JobKind::Start | JobKind::Restart));
        let group = runtime.group.clone().unwrap_or_else(|| self.expected_group(id));
        if !rests || !starts || !self.groups.populated(&group) {
            return;
        }
        let title = self.title(id);
        self.log.warning(&format!("{title}: its start was cut short, ending the processes that it left"));
        self.groups.kill(&group);
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.group = Some(group);
            runtime.group_killed = true;
        }
    }

    fn expected_group(&self, id: UnitId) -> String {
        let unit = self.units.get(id).map(|runtime| &runtime.unit);
        unit.map(|unit| crate::groups::Groups::path(unit.slice().as_ref(), &unit.name)).unwrap_or_default()
    }

    /// Processes that were known and are gone: their ends were taken by the image that crashed.
    fn miss_processes(&mut self) {
        let known: Vec<(i32, Process)> = self.processes.iter().map(|(pid, process)| (*pid, *process)).collect();
        for (pid, process) in known {
            if crate::main_process::parent(pid) == Some(1) {
                continue;
            }
            // Nobody knows how it ended. A main process is missed; what only helps it has probably done its work.
            let exit = match process.role {
                Role::Main => Exit::Signal(9),
                Role::Control | Role::Command(_) | Role::Helper | Role::Trial | Role::Generators | Role::Cleaner(_) => {
                    Exit::Code(0)
                }
            };
            self.log.warning(&format!("process {pid} ended while PID 1 crashed"));
            self.process_ended(pid, exit);
        }
    }

    /// Events that the crashed image may have taken without acting on them. Those that mean nothing are dropped.
    fn miss_events(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        if !matches!(runtime.kind, Kind::Service(_)) || runtime.active().is_down() {
            return;
        }
        let alive = runtime.main_pid.is_some() || runtime.control_pid.is_some();
        let event = if alive { Event::MainExecuted } else { Event::GroupEmpty };
        self.events.push_back((id, UnitEvent::Service(event)));
    }

    /// Goes on without any state: units whose control groups hold processes run, the rest is started as at a boot.
    pub fn rebuild(&mut self, why: &str) {
        self.log.error(&format!("the state of the image before this one cannot be read: {why}, looking at what runs"));
        for (name, group) in self.groups.populated_units() {
            let Some(id) = self.load(&name) else { continue };
            if let Some(runtime) = self.units.get_mut(id) {
                runtime.group = Some(group.clone());
            }
            let main = self.pid_of_file(id).or_else(|| self.only_process(id));
            if let (Some(pid), Some(runtime)) = (main, self.units.get_mut(id)) {
                runtime.main_pid = main;
                self.processes.insert(pid, Process { unit: Some(id), role: Role::Main });
            }
            // Without it only the end of its main process is seen.
            let _ = self.groups.watch(id, &group);
            let kills = self.groups.memory_kills(id, &group).unwrap_or(0);
            if let Some(runtime) = self.units.get_mut(id) {
                runtime.memory_kills = kills;
            }
            self.adopt(id, "inactive");
            self.log.warning(&format!("{name} runs, keeping it"));
        }
    }
}

/// The units of a path of groups, for those that are units: `/a.slice/b.service` is `b.service`.
pub fn unit_of_group(group: &str) -> Option<UnitName> {
    let name = UnitName::parse(group.rsplit_once('/')?.1).ok()?;
    (name.kind() != ferrite_unit::UnitKind::Slice).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_group_is_its_last_part() {
        assert_eq!(unit_of_group("/system.slice/a.service").map(|name| name.to_string()).as_deref(), Some("a.service"));
        assert_eq!(unit_of_group("/system.slice"), None);
        assert_eq!(unit_of_group("/user/strange"), None);
    }

    #[test]
    fn one_crash_is_survived_and_a_second_one_soon_after_is_not() {
        let minute = u64::try_from(RECOVERY.as_micros()).unwrap_or(u64::MAX);
        let now = clock::boot_us();
        let crashed = |crashes: &[u64]| Before::Crashed(Ok(Saved { crashes: crashes.to_vec(), ..Saved::default() }));
        assert!(!crashed(&[now]).is_hopeless());
        assert!(crashed(&[now, now]).is_hopeless());
        assert!(!crashed(&[now.saturating_sub(minute), now]).is_hopeless());
        assert!(!Before::Crashed(Err("x".into())).is_hopeless());
    }
}
