//! What each part of PID 1 keeps when it executes itself: one pair of functions a part, `save_x` and `restore_x`.
//!
//! Whoever adds a kind of unit adds an arm to `save_kind` and `restore_kind`; whoever adds a deadline of a unit adds a
//! line to `UNIT_TIMERS`; whoever holds open files saves them with `saved_file` and takes them back from the `Bag`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ferrite_sys::inherit::{Inherited, inode};
use ferrite_sys::reboot::End;
use serde_json::Value;

use crate::clock;
use crate::engine::{Engine, Phase};
use crate::jobs::UnitId;
use crate::machine::{ControlKind, Exit};
use crate::state::{SavedCommand, SavedFile, SavedUnit};
use crate::timers::TimerKey;
use crate::units::{CommandRun, Kind};

/// Makes the key of a unit's deadline.
type KeyOfUnit = fn(UnitId) -> TimerKey;

/// Deadlines of units, with the names under which they are kept.
const UNIT_TIMERS: [(&str, KeyOfUnit); 4] = [
    ("unit", TimerKey::Unit),
    ("watchdog", TimerKey::Watchdog),
    ("pid-file", TimerKey::PidFile),
    ("rest", TimerKey::Rest),
];

/// Deadlines of the manager. The hardware watchdog is pinged anew.
const MANAGER_TIMERS: [(&str, TimerKey); 3] =
    [("boot-deadline", TimerKey::BootDeadline), ("emergency", TimerKey::Emergency), ("shutdown", TimerKey::Shutdown)];

/// An open file for the next image.
pub fn saved_file(name: &str, file: impl AsFd) -> SavedFile {
    let file = file.as_fd();
    SavedFile { name: name.to_owned(), fd: file.as_raw_fd(), inode: inode(file) }
}

/// The files of one owner, as the next image takes them back.
pub struct Bag<'a> {
    inherited: &'a mut Inherited,
    files: Vec<SavedFile>,
}

impl<'a> Bag<'a> {
    /// The files that were saved with an owner.
    pub fn new(inherited: &'a mut Inherited, files: &[SavedFile]) -> Bag<'a> {
        Bag { inherited, files: files.to_vec() }
    }

    /// Takes the first file of this name.
    pub fn take(&mut self, name: &str) -> Option<OwnedFd> {
        let place = self.files.iter().position(|file| file.name == name)?;
        let file = self.files.remove(place);
        self.inherited.take(file.fd, Some(file.inode))
    }

    /// Takes all files whose names begin so; the rest of each name comes along.
    pub fn take_all(&mut self, prefix: &str) -> Vec<(String, OwnedFd)> {
        let (wanted, rest) = std::mem::take(&mut self.files).into_iter().partition(|f| f.name.starts_with(prefix));
        self.files = rest;
        let wanted: Vec<SavedFile> = wanted;
        wanted
            .into_iter()
            .filter_map(|file| {
                let name = file.name.strip_prefix(prefix)?.to_owned();
                Some((name, self.inherited.take(file.fd, Some(file.inode))?))
            })
            .collect()
    }
}

/// A moment as microseconds of the monotonic clock, which goes on when PID 1 executes itself.
pub fn monotonic_us(at: Instant) -> u64 {
    let (now, now_us) = (Instant::now(), clock::boot_us());
    let distance = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    match at.checked_duration_since(now) {
        Some(ahead) => now_us.saturating_add(distance(ahead)),
        None => now_us.saturating_sub(distance(now.saturating_duration_since(at))),
    }
}

/// The moment of a time of the monotonic clock.
pub fn instant(at_us: u64) -> Instant {
    let (now, now_us) = (Instant::now(), clock::boot_us());
    let moment = match at_us.checked_sub(now_us) {
        Some(ahead) => now.checked_add(Duration::from_micros(ahead)),
        None => now.checked_sub(Duration::from_micros(now_us - at_us)),
    };
    moment.unwrap_or(now)
}

/// How long until then.
pub fn until(at_us: u64) -> Duration {
    Duration::from_micros(at_us.saturating_sub(clock::boot_us()))
}

impl Engine {
    /// Saves what the kind of a unit knows beyond the unit itself.
    pub fn save_kind(&self, id: UnitId, saved: &mut SavedUnit) {
        let Some(runtime) = self.units.get(id) else { return };
        let state = match &runtime.kind {
            Kind::Service(machine) => serde_json::to_value(machine),
            Kind::Passive(up) => Ok(Value::Bool(*up)),
            Kind::Other(state) => serde_json::to_value(state),
            Kind::Inert => Ok(Value::Null),
        };
        // What cannot be written is told by the active state.
        saved.state = state.unwrap_or_default();
        self.save_held(id, saved);
    }

    /// The opposite. `false`: the state is not understood, and the unit is what its processes tell.
    pub fn restore_kind(&mut self, id: UnitId, saved: &SavedUnit, files: &mut Bag<'_>) -> bool {
        self.restore_held(id, saved, files);
        let Some(runtime) = self.units.get_mut(id) else { return true };
        let state = saved.state.clone();
        let kind = match runtime.kind {
            Kind::Service(_) => serde_json::from_value(state).map(Kind::Service),
            Kind::Passive(_) => serde_json::from_value(state).map(Kind::Passive),
            Kind::Other(_) => serde_json::from_value(state).map(Kind::Other),
            Kind::Inert => Ok(Kind::Inert),
        };
        match kind {
            Ok(kind) => runtime.kind = kind,
            Err(_) => return false,
        }
        true
    }

    /// Saves the deadlines of a unit.
    pub fn save_timers(&self, id: UnitId, saved: &mut SavedUnit) {
        for (name, key) in UNIT_TIMERS {
            if let Some(at) = self.timers.at(key(id)) {
                saved.timers.insert(name.to_owned(), monotonic_us(at));
            }
        }
    }

    /// The opposite.
    pub fn restore_timers(&mut self, id: UnitId, saved: &SavedUnit) {
        for (name, key) in UNIT_TIMERS {
            if let Some(at) = saved.timers.get(name) {
                self.timers.arm(key(id), Instant::now(), until(*at));
            }
        }
    }

    /// Saves the deadlines that belong to no unit.
    pub fn save_manager_timers(&self) -> std::collections::BTreeMap<String, u64> {
        let armed = |(name, key): (&str, TimerKey)| Some((name.to_owned(), monotonic_us(self.timers.at(key)?)));
        MANAGER_TIMERS.into_iter().filter_map(armed).collect()
    }

    /// The opposite.
    pub fn restore_manager_timers(&mut self, saved: &std::collections::BTreeMap<String, u64>) {
        for (name, key) in MANAGER_TIMERS {
            if let Some(at) = saved.get(name) {
                self.timers.arm(key, Instant::now(), until(*at));
            }
        }
    }
}

/// Phase and way of the end, as words.
pub fn phase_words(phase: Phase) -> (&'static str, &'static str) {
    match phase {
        Phase::Starting => ("starting", ""),
        Phase::Running => ("running", ""),
        Phase::Stopping(End::Reboot) => ("stopping", "reboot"),
        Phase::Stopping(End::Poweroff) => ("stopping", "poweroff"),
        Phase::Stopping(End::Halt) => ("stopping", "halt"),
        Phase::Stopping(End::Kexec) => ("stopping", "kexec"),
        Phase::Stopping(End::SoftReboot) => ("stopping", "soft-reboot"),
    }
}

/// The opposite.
pub fn phase(word: &str, end: &str) -> Phase {
    match (word, end) {
        ("starting", _) => Phase::Starting,
        ("stopping", "poweroff") => Phase::Stopping(End::Poweroff),
        ("stopping", "halt") => Phase::Stopping(End::Halt),
        ("stopping", "kexec") => Phase::Stopping(End::Kexec),
        ("stopping", "soft-reboot") => Phase::Stopping(End::SoftReboot),
        ("stopping", _) => Phase::Stopping(End::Reboot),
        _ => Phase::Running,
    }
}

/// A command that ran.
pub fn save_command(run: &CommandRun) -> SavedCommand {
    SavedCommand {
        main: run.main,
        directive: run.directive.to_owned(),
        argv: run.argv.clone(),
        pid: run.pid,
        start_us: run.start_us,
        exit_us: run.exit_us,
        code: run.code.to_owned(),
        status: run.status,
    }
}

/// The opposite.
pub fn restore_command(saved: &SavedCommand) -> CommandRun {
    const KINDS: [ControlKind; 7] = [
        ControlKind::Condition,
        ControlKind::StartPre,
        ControlKind::Start,
        ControlKind::StartPost,
        ControlKind::Reload,
        ControlKind::Stop,
        ControlKind::StopPost,
    ];
    let codes = [Exit::Code(0), Exit::Signal(9), Exit::Dumped(9)].map(|exit| crate::spawn::exit_words(exit).0);
    CommandRun {
        main: saved.main,
        directive: KINDS.iter().map(|k| k.directive()).find(|word| *word == saved.directive).unwrap_or("ExecStart"),
        argv: saved.argv.clone(),
        pid: saved.pid,
        start_us: saved.start_us,
        exit_us: saved.exit_us,
        code: codes.into_iter().find(|word| *word == saved.code).unwrap_or(""),
        status: saved.status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_as_a_time_of_the_monotonic_clock() {
        let moment = Instant::now() + Duration::from_secs(100);
        let back = instant(monotonic_us(moment));
        let error = back.max(moment) - back.min(moment);
        assert!(error < Duration::from_millis(500), "{error:?}");
        let past = instant(monotonic_us(Instant::now() - Duration::from_secs(1)));
        assert!(past < Instant::now());
    }

    #[test]
    fn the_phase_survives_as_words() {
        for value in [Phase::Starting, Phase::Running, Phase::Stopping(End::Kexec), Phase::Stopping(End::Halt)] {
            let (word, end) = phase_words(value);
            assert_eq!(phase(word, end), value);
        }
    }
}
