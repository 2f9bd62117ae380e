//! Which process of a service is its main one: the PID file, the one process that a start left, or what it says itself.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Process, Role, UnitEvent};
use crate::jobs::UnitId;
use crate::machine::{Event, Exit, State};
use crate::timers::TimerKey;
use crate::units::CommandRun;

/// How long between two looks for a PID file.
const PID_FILE_INTERVAL: Duration = Duration::from_millis(50);

/// Bytes of a PID file that are read.
const PID_FILE_MAX: u64 = 64;

/// Processes of one start that are remembered after their end: of more than one nobody knows which it was.
const EARLY_ENDS_MAX: usize = 16;

/// Who says that a process is the main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Root.
    OfRoot,
    /// Somebody who may only speak of the service's own processes.
    OfOther,
}

impl Engine {
    /// Looks for the main process: the PID file, else the one process that the group holds.
    pub fn find_main(&mut self, id: UnitId, wait: bool) {
        let Some(runtime) = self.units.get(id) else { return };
        let Some(service) = runtime.unit.service() else { return };
        if !matches!(runtime.machine().map(|m| m.state), Some(State::Start(_) | State::StartPost(_))) {
            return;
        }
        let known = runtime.main_pid;
        let found = match &service.pid_file {
            Some(_) => self.pid_of_file(id),
            None if known.is_some() => known,
            None if service.guess_main_pid => self.only_process(id),
            None => None,
        };
        let ended = if found.is_none() { self.early_end(id) } else { None };
        if let Some((pid, exit)) = ended {
            self.set_main(id, pid);
            self.timers.disarm(TimerKey::PidFile(id));
            self.events.push_back((id, UnitEvent::Service(Event::MainFound)));
            return self.process_ended(pid, exit);
        }
        let event = match found {
            Some(pid) => {
                self.set_main(id, pid);
                Event::MainFound
            }
            None if wait && !self.has_processes(id) => Event::GroupEmpty,
            None if wait => {
                // It is written a moment after the first process ended; the start's own timer limits the wait.
                self.timers.arm(TimerKey::PidFile(id), Instant::now(), PID_FILE_INTERVAL);
                return;
            }
            None => Event::MainUnknown,
        };
        self.timers.disarm(TimerKey::PidFile(id));
        self.events.push_back((id, UnitEvent::Service(event)));
    }

    /// The one process that was left and ended before anybody looked.
    fn early_end(&mut self, id: UnitId) -> Option<(i32, Exit)> {
        let named = self.named_in_file(id);
        let runtime = self.units.get_mut(id)?;
        let service = runtime.unit.service()?;
        let ends = std::mem::take(&mut runtime.early_ends);
        match (&service.pid_file, ends.as_slice()) {
            (Some(_), ends) => ends.iter().find(|(pid, _)| Some(*pid) == named).copied(),
            (None, [only]) if service.guess_main_pid && runtime.main_pid.is_none() => Some(*only),
            (None, _) => None,
        }
    }

    /// A process that we did not make is about to be reaped: it may be the main one of a service that starts.
    pub fn note_early_end(&mut self, pid: i32, exit: Exit) {
        let Some(id) = self.unit_of(pid).filter(|id| self.unborn.contains(id)) else { return };
        if let Some(runtime) = self.units.get_mut(id)
            && runtime.early_ends.len() < EARLY_ENDS_MAX
        {
            runtime.early_ends.push((pid, exit));
        }
    }

    fn has_processes(&self, id: UnitId) -> bool {
        let group = self.units.get(id).and_then(|runtime| runtime.group.as_ref());
        self.groups.root().is_none() || group.is_some_and(|group| self.groups.populated(group))
    }

    /// The process that the PID file names, if it may be the main one.
    pub fn pid_of_file(&self, id: UnitId) -> Option<i32> {
        let path = self.units.get(id)?.unit.service()?.pid_file.as_deref()?;
        let pid = self.named_in_file(id)?;
        let owner = std::fs::symlink_metadata(path).ok()?.uid();
        let word = if owner == 0 { Word::OfRoot } else { Word::OfOther };
        self.may_be_main(id, pid, word).then_some(pid)
    }

    fn named_in_file(&self, id: UnitId) -> Option<i32> {
        let path = self.units.get(id)?.unit.service()?.pid_file.as_deref()?;
        if !self.answers(path) {
            return None;
        }
        // It may lie in a directory of an unprivileged service: any kind of file may be there.
        let bytes = crate::disk::read_plain(path, PID_FILE_MAX).ok()?;
        String::from_utf8(bytes).ok()?.trim().parse().ok()
    }

    /// May this process be the main one of a service?
    pub fn may_be_main(&self, id: UnitId, pid: i32, word: Word) -> bool {
        let Some(runtime) = self.units.get(id) else { return false };
        if pid <= 1 || runtime.control_pid == Some(pid) || is_zombie(pid) != Some(false) {
            return false;
        }
        if self.unit_of(pid) == Some(id) || self.groups.root().is_none() {
            return true;
        }
        let taken = word == Word::OfRoot;
        // A PID file is read again and again until it names the right one.
        if runtime.stranger.replace(pid) != pid {
            let what = if taken { "taking it as the main one nevertheless" } else { "ignoring the wish of it" };
            self.log.warning(&format!("{}: process {pid} is none of its own, {what}", self.title(id)));
        }
        taken
    }

    /// The one process of the group that is a child of ours.
    pub fn only_process(&self, id: UnitId) -> Option<i32> {
        let group = self.units.get(id)?.group.clone()?;
        let orphans = self.groups.processes(&group).into_iter().map(|(pid, _)| pid);
        let mut orphans = orphans.filter(|pid| parent(*pid) == Some(1));
        let only = orphans.next()?;
        orphans.next().is_none().then_some(only)
    }

    /// From now on this process is the main one.
    pub fn set_main(&mut self, id: UnitId, pid: i32) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        let old = runtime.main_pid.replace(pid);
        if old == Some(pid) {
            return;
        }
        runtime.note_command(CommandRun {
            main: true,
            directive: "ExecStart",
            pid,
            start_us: crate::clock::wall_us(),
            ..CommandRun::default()
        });
        if let Some(old) = old {
            self.processes.remove(&old);
        }
        self.processes.insert(pid, Process { unit: Some(id), role: Role::Main });
    }
}

/// The words of /proc/PID/stat after the name: state, parent...
fn stat(pid: i32) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')').map(|(_, rest)| rest.trim().to_owned())
}

/// The parent of a process, which may have ended and wait to be seen.
pub fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

fn is_zombie(pid: i32) -> Option<bool> {
    Some(stat(pid)?.starts_with(['Z', 'X']))
}
