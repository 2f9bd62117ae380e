//! Deadlines on clocks that jump or run on while the machine sleeps, each clock by one timer of the kernel.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

use crate::jobs::UnitId;

/// A clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clock {
    /// The wall clock.
    Wall,
    /// The wall clock, waking the machine.
    WallWaking,
    /// The time since the kernel started with all sleep, waking the machine.
    BootWaking,
}

impl Clock {
    fn file_clock(self) -> TimerfdClockId {
        match self {
            Clock::Wall => TimerfdClockId::Realtime,
            Clock::WallWaking => TimerfdClockId::RealtimeAlarm,
            Clock::BootWaking => TimerfdClockId::BoottimeAlarm,
        }
    }

    /// The same without waking the machine, for machines that cannot.
    fn plain(self) -> TimerfdClockId {
        match self {
            Clock::Wall | Clock::WallWaking => TimerfdClockId::Realtime,
            Clock::BootWaking => TimerfdClockId::Boottime,
        }
    }

    fn now(self) -> u64 {
        match self {
            Clock::Wall | Clock::WallWaking => crate::clock::wall_us(),
            Clock::BootWaking => boot_with_sleep_us(),
        }
    }
}

/// Microseconds since the kernel started, with the time that the machine slept.
pub fn boot_with_sleep_us() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1000)
}

/// The deadlines of one clock.
#[derive(Debug)]
pub struct Alarms {
    clock: Clock,
    file: OwnedFd,
    by_time: BTreeMap<(u64, UnitId), ()>,
    by_unit: BTreeMap<UnitId, u64>,
}

impl Alarms {
    /// Opens the clock. `true`: it cannot wake the machine.
    pub fn open(clock: Clock) -> io::Result<(Alarms, bool)> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let (file, sleepy) = match timerfd_create(clock.file_clock(), flags) {
            Ok(file) => (file, false),
            Err(_) => (timerfd_create(clock.plain(), flags)?, true),
        };
        let alarms = Alarms { clock, file, by_time: BTreeMap::new(), by_unit: BTreeMap::new() };
        alarms.set()?;
        Ok((alarms, sleepy))
    }

    /// The file that becomes readable when a deadline is due or the wall clock was set.
    pub fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Sets the deadline of a unit, in place of an older one.
    pub fn arm(&mut self, unit: UnitId, at_us: u64) -> io::Result<()> {
        self.forget(unit);
        self.by_unit.insert(unit, at_us);
        self.by_time.insert((at_us, unit), ());
        self.set()
    }

    /// Forgets the deadline of a unit.
    pub fn disarm(&mut self, unit: UnitId) -> io::Result<()> {
        if self.forget(unit) { self.set() } else { Ok(()) }
    }

    fn forget(&mut self, unit: UnitId) -> bool {
        let Some(at) = self.by_unit.remove(&unit) else { return false };
        self.by_time.remove(&(at, unit)).is_some()
    }

    /// Tells the kernel the first deadline. Without one it waits for changes of the clock alone.
    fn set(&self) -> io::Result<()> {
        let first = self.by_time.keys().next().map(|(at, _)| *at);
        // Zero would disarm the timer.
        let value = match first {
            Some(at) => Timespec {
                tv_sec: i64::try_from(at / 1_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(at % 1_000_000).unwrap_or(0) * 1000 + 1,
            },
            None => Timespec { tv_sec: i64::MAX, tv_nsec: 0 },
        };
        let mut flags = TimerfdTimerFlags::ABSTIME;
        if self.clock != Clock::BootWaking {
            flags |= TimerfdTimerFlags::CANCEL_ON_SET;
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(&self.file, flags, &Itimerspec { it_interval: never, it_value: value })?;
        Ok(())
    }

    /// The file is ready: takes the units whose time has come; `true`: the wall clock was set.
    pub fn take(&mut self) -> (Vec<UnitId>, bool) {
        let set = matches!(rustix::io::read(&self.file, &mut [0_u8; 8]), Err(rustix::io::Errno::CANCELED));
        let now = self.clock.now();
        let mut due = Vec::new();
        while let Some((at, unit)) = self.by_time.keys().next().copied() {
            if at > now {
                break;
            }
            self.forget(unit);
            due.push(unit);
        }
        // The next deadline was told before to the same file; only its moment can be wrong.
        let _ = self.set();
        (due, set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_first_deadline_wakes_and_the_others_stay() {
        let (mut alarms, _) = Alarms::open(Clock::Wall).unwrap();
        let epoll = ferrite_sys::epoll::Epoll::new().unwrap();
        epoll.add(alarms.file(), 7).unwrap();
        let now = crate::clock::wall_us();
        alarms.arm(UnitId(1), now + 3_600_000_000).unwrap();
        alarms.arm(UnitId(2), now + 10_000).unwrap();
        alarms.arm(UnitId(3), now + 5_000).unwrap();
        alarms.disarm(UnitId(3)).unwrap();
        assert_eq!(epoll.wait(Some(Duration::from_secs(10))).unwrap(), [7]);
        assert_eq!(alarms.take(), (vec![UnitId(2)], false));
        assert!(epoll.wait(Some(Duration::ZERO)).unwrap().is_empty());
        // What lies in the past is due at once.
        alarms.arm(UnitId(4), 1).unwrap();
        assert_eq!(epoll.wait(Some(Duration::from_secs(10))).unwrap(), [7]);
        assert_eq!(alarms.take().0, [UnitId(4)]);
    }
}
