//! What a unit leaves to others: messages, semaphores and shared memory of its user, what it wants of the log, and when
//! it is to end.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use ferrite_sys::ipc::{self, Kind as Object};
use ferrite_unit::Config;
use ferrite_unit::sandbox::Logging;
use ferrite_unit::value::Span;

use crate::accounts::Accounts;
use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::kinds::KindState;
use crate::machine::State;
use crate::scope_machine::ScopeState;
use crate::timers::TimerKey;
use crate::units::Kind;

/// Objects that are looked at when a unit is over.
const OBJECTS_MAX: usize = 20_000;
/// Where the objects of POSIX are.
const FOLDERS: [&str; 2] = ["/dev/shm", "/dev/mqueue"];
/// Where whoever keeps the log reads what units want of it, as links with the value as their target.
const SETTINGS: &str = "/run/systemd/units";

impl Engine {
    /// `RemoveIPC=`: what the user of a unit left goes, unless another unit that is up has the same user.
    pub fn release_messages(&self, id: UnitId) {
        let Some(exec) = self.units.get(id).and_then(|runtime| runtime.unit.exec()) else { return };
        let Some(name) = exec.user.as_deref().filter(|_| exec.sandbox.remove_ipc) else { return };
        let same = |runtime: &crate::units::Runtime| {
            let user = runtime.unit.exec().and_then(|exec| exec.user.as_deref());
            user == Some(name) && !runtime.active().is_down()
        };
        if self.units.iter().any(|(other, runtime)| other != id && same(runtime)) {
            return;
        }
        let user = match crate::sandbox::shared::dynamic_number(name).filter(|_| exec.sandbox.dynamic_user) {
            Some(number) => Some(number),
            None => Accounts::read().user(name).map(|user| user.uid),
        };
        if let Some(user) = user.filter(|user| *user != 0) {
            remove_of(user);
        }
    }

    /// Tells whoever keeps the log what a unit wants of it, and which run of it this is.
    pub fn export_log_settings(&mut self, id: UnitId) {
        self.export_invocation(id);
        let Some(runtime) = self.units.get(id) else { return };
        let Some(logging) = runtime.unit.exec().map(|exec| &exec.sandbox.logging) else { return };
        let settings = settings(logging);
        if settings.is_empty() && !runtime.log_exported {
            return;
        }
        let unit = runtime.unit.name.to_string();
        remove_settings(&unit);
        let made = fs::create_dir_all(SETTINGS).and_then(|()| {
            settings.iter().try_for_each(|(name, value)| symlink(value, format!("{SETTINGS}/{name}:{unit}")))
        });
        if let Err(error) = made {
            self.log.warning(&format!("{unit}: telling the log what it wants: {error}, going on without"));
        }
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.log_exported = !settings.is_empty();
        }
    }

    /// The link stays when the unit is over: its last messages are often read later.
    fn export_invocation(&self, id: UnitId) {
        let Some(runtime) = self.units.get(id).filter(|runtime| !runtime.invocation.is_empty()) else { return };
        let (link, target) = (invocation_link(runtime.unit.name.as_str()), Path::new(&runtime.invocation));
        let made = symlink(target, &link).or_else(|error| match error.kind() {
            ErrorKind::NotFound => fs::create_dir_all(SETTINGS).and_then(|()| symlink(target, &link)),
            ErrorKind::AlreadyExists if fs::read_link(&link).is_ok_and(|known| known == target) => Ok(()),
            // That of an earlier run.
            ErrorKind::AlreadyExists => fs::remove_file(&link).and_then(|()| symlink(target, &link)),
            _ => Err(error),
        });
        if let Err(error) = made {
            self.log.warning(&format!("making the link {link}: {error}, going on without"));
        }
    }

    /// The unit is forgotten.
    pub fn forget_invocation(&self, id: UnitId) {
        if let Some(runtime) = self.units.get(id) {
            // Most units never ran.
            let _ = fs::remove_file(invocation_link(runtime.unit.name.as_str()));
        }
    }

    /// The unit is over: it wants nothing any more.
    pub fn release_log_settings(&mut self, id: UnitId) {
        if let Some(runtime) = self.units.get_mut(id).filter(|runtime| runtime.log_exported) {
            runtime.log_exported = false;
            remove_settings(runtime.unit.name.as_str());
        }
    }
}

const NAMES: [&str; 3] = ["log-level-max", "log-rate-limit-interval", "log-rate-limit-burst"];

fn invocation_link(unit: &str) -> String {
    format!("{SETTINGS}/invocation:{unit}")
}

fn settings(logging: &Logging) -> Vec<(&'static str, String)> {
    let [level, interval, burst] = NAMES;
    let mut all = Vec::new();
    all.extend(logging.level_max.map(|max| (level, max.to_string())));
    if let Span::Finite(length) = logging.rate_interval
        && !length.is_zero()
    {
        all.push((interval, length.as_micros().to_string()));
    }
    if logging.rate_burst > 0 {
        all.push((burst, logging.rate_burst.to_string()));
    }
    all
}

fn remove_settings(unit: &str) {
    for name in NAMES {
        // Most units have none.
        let _ = fs::remove_file(format!("{SETTINGS}/{name}:{unit}"));
    }
}

/// Removes all objects of a user.
fn remove_of(user: u32) {
    for kind in [Object::Memory, Object::Semaphores, Object::Messages] {
        let text = fs::read_to_string(format!("/proc/sysvipc/{}", kind.name())).unwrap_or_default();
        for number in owned(&text, user).into_iter().take(OBJECTS_MAX) {
            // One that went by itself is what we want.
            let _ = ipc::remove(kind, number);
        }
    }
    for folder in FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten().take(OBJECTS_MAX) {
            let Ok(status) = fs::symlink_metadata(entry.path()) else { continue };
            if status.uid() == user && !status.is_dir() {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The numbers of the objects in a table of the kernel that belong to a user.
fn owned(text: &str, user: u32) -> Vec<i32> {
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = |wanted: &[&str]| head.iter().position(|name| wanted.contains(name));
    let Some((number, owner)) = column(&["shmid", "semid", "msqid"]).zip(column(&["uid"])) else { return Vec::new() };
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mine = words.get(owner)?.parse::<u32>().ok()? == user;
        words.get(number)?.parse().ok().filter(|_| mine)
    };
    lines.filter_map(of_line).collect()
}

impl Engine {
    /// `RuntimeMaxSec=` was perhaps changed while the unit runs: it counts from when the unit came up.
    pub fn bound_run_time(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        let limit = match (&runtime.unit.config, &runtime.kind) {
            (Config::Service(service), Kind::Service(machine)) if machine.state == State::Running => {
                service.runtime_max
            }
            (Config::Scope(scope), Kind::Other(KindState::Scope(machine))) if machine.state == ScopeState::Running => {
                scope.runtime_max
            }
            _ => return,
        };
        let ran_us = crate::clock::boot_us().saturating_sub(runtime.times.active_enter.1);
        match limit.finite() {
            Some(limit) => {
                let left = limit.saturating_sub(Duration::from_micros(ran_us));
                self.timers.arm(TimerKey::Unit(id), Instant::now(), left);
            }
            None => self.timers.disarm(TimerKey::Unit(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_by_their_owner() {
        let text = "       key      shmid perms   size  cpid  lpid nattch   uid   gid\n\
                    0          7  1600  524288  1 2 2   33    33\n         5         12   600  10  1 2 0  0  33\n";
        assert_eq!((owned(text, 33), owned(text, 0), owned(text, 5)), (vec![7], vec![12], vec![]));
        assert_eq!(owned("", 0), Vec::<i32>::new());
    }

    #[test]
    fn only_what_is_written_is_told_to_the_log() {
        assert_eq!(settings(&Logging::default()), []);
        let logging = Logging { level_max: Some(4), rate_interval: Span::seconds(2), ..Logging::default() };
        let want = [("log-level-max", "4".to_owned()), ("log-rate-limit-interval", "2000000".to_owned())];
        assert_eq!(settings(&logging), want);
    }
}
