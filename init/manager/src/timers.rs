//! Deadlines: which key is due when. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::jobs::{JobId, UnitId};

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// The timer of a unit's state.
    Unit(UnitId),
    /// The watchdog of a service.
    Watchdog(UnitId),
    /// Look for a PID file again.
    PidFile(UnitId),
    /// The sockets of a unit woke us too often and rest.
    Rest(UnitId),
    /// The time of a timer unit has come.
    Elapse(UnitId),
    /// Removing the files of a unit takes too long.
    Cleaning(UnitId),
    /// Look at a unit again that others ask for too often.
    Check(UnitId),
    /// The table of mounts changed a moment ago.
    Mounts,
    /// A job takes too long.
    Job(JobId),
    /// The boot takes too long.
    BootDeadline,
    /// The end of the boot may be tried again.
    BootRetry,
    /// The hardware watchdog wants its ping.
    Hardware,
    /// Emergency mode lasts too long.
    Emergency,
    /// The whole shutdown takes too long.
    Shutdown,
    /// The next reload may begin.
    Reload,
    /// The generators of a reload take too long.
    Generators,
    /// The trial of the next image takes too long.
    Trial,
}

/// All deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    by_time: BTreeMap<(Instant, TimerKey), ()>,
    by_key: BTreeMap<TimerKey, Instant>,
}

impl Timers {
    /// Sets the deadline of a key, in place of an older one.
    pub fn arm(&mut self, key: TimerKey, now: Instant, after: Duration) {
        self.disarm(key);
        // A time beyond what the clock can hold never comes.
        if let Some(at) = now.checked_add(after) {
            self.by_key.insert(key, at);
            self.by_time.insert((at, key), ());
        }
    }

    /// Forgets a deadline.
    pub fn disarm(&mut self, key: TimerKey) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// How long until the deadline of a key; `None`: there is none.
    pub fn left(&self, key: TimerKey, now: Instant) -> Option<Duration> {
        self.by_key.get(&key).map(|at| at.saturating_duration_since(now))
    }

    /// The deadline of a key.
    pub fn at(&self, key: TimerKey) -> Option<Instant> {
        self.by_key.get(&key).copied()
    }

    /// Is there a deadline for this key?
    pub fn is_armed(&self, key: TimerKey) -> bool {
        self.by_key.contains_key(&key)
    }

    /// How long to wait for the next deadline.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.by_time.keys().next().map(|(at, _)| at.saturating_duration_since(now))
    }

    /// Takes the next key that is due.
    pub fn due(&mut self, now: Instant) -> Option<TimerKey> {
        let (at, key) = *self.by_time.keys().next()?;
        if at > now {
            return None;
        }
        self.disarm(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_come_in_order_and_once() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.arm(TimerKey::Hardware, now, Duration::from_secs(2));
        timers.arm(TimerKey::BootDeadline, now, Duration::from_secs(1));
        timers.arm(TimerKey::Hardware, now, Duration::from_secs(3));
        assert_eq!(timers.wait(now), Some(Duration::from_secs(1)));
        assert_eq!(timers.due(now), None);
        assert_eq!(timers.left(TimerKey::Hardware, now), Some(Duration::from_secs(3)));
        assert_eq!(timers.left(TimerKey::Emergency, now), None);
        let later = now + Duration::from_secs(5);
        assert_eq!(timers.due(later), Some(TimerKey::BootDeadline));
        assert_eq!(timers.due(later), Some(TimerKey::Hardware));
        assert_eq!((timers.due(later), timers.wait(later)), (None, None));
    }
}
