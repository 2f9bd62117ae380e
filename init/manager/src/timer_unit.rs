//! Carries out what the machine of timer units decides: arms clocks, starts units, keeps stamp files.

use std::fs;
use std::io;
use std::time::{Duration, Instant, SystemTime};

use ferrite_unit::calendar::CalendarSpec;
use ferrite_unit::timer::{Elapse, Timer};
use ferrite_unit::zone::Zones;
use ferrite_unit::{Config, LoadState};
use rustix::fs::inotify;

use crate::alarms::{Alarms, Clock, boot_with_sleep_us};
use crate::engine::Engine;
use crate::jobs::{JobKind, Mode, UnitId};
use crate::kinds::{KindEvent, KindState, Watched};
use crate::timer_machine::{Facts, Moment, Plan, TimerEffect, TimerEvent, TimerMachine, TimerState, delayed};
use crate::timer_machine::{fixed_random, plan, step};
use crate::timers::TimerKey;

/// Where `Persistent=` timers note when they elapsed.
const STAMPS: &str = "/var/lib/systemd/timers";
/// Bytes of the description of a time zone.
const ZONE_MAX: u64 = 1024 * 1024;
const LOCAL_ZONE: &str = "/etc/localtime";

/// What is known of a timer beside its state.
#[derive(Debug, Clone, Default)]
pub struct TimerData {
    /// When it elapsed last.
    pub last: Moment,
    /// Times of its unit file that elapsed for good.
    pub over: Vec<usize>,
    /// When it elapses next, with the random delay.
    pub next: Plan,
}

/// Where it is noted when a timer elapsed last.
pub fn stamp_path(unit: &str) -> String {
    format!("{STAMPS}/stamp-{unit}")
}

impl Engine {
    /// The settings of a timer unit.
    pub fn timer_settings(&self, id: UnitId) -> Option<&Timer> {
        match &self.units.get(id)?.unit.config {
            Config::Timer(timer) => Some(timer),
            _ => None,
        }
    }

    /// The unit that a timer, path or automount starts.
    pub fn triggered_unit(&self, id: UnitId) -> Option<UnitId> {
        self.units.find(&self.units.get(id)?.unit.activates()?)
    }

    /// Why a unit that starts another one cannot be started as things stand.
    pub fn trigger_refuses(&self, id: UnitId) -> Option<String> {
        let runtime = self.triggered_unit(id).and_then(|unit| self.units.get(unit));
        match runtime {
            Some(runtime) if runtime.unit.load == LoadState::Loaded => None,
            Some(runtime) => Some(format!("{} is {}", runtime.unit.name, runtime.unit.load.as_str())),
            None => Some("the unit to start is not there".into()),
        }
    }

    /// Queues an event of a timer.
    pub fn timer_happened(&mut self, id: UnitId, event: TimerEvent) {
        self.kind_happened(id, KindEvent::Timer(event));
    }

    /// Takes one event of a timer.
    pub fn timer_event(&mut self, id: UnitId, before: TimerMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => TimerEvent::Start,
            KindEvent::Stop => TimerEvent::Stop,
            KindEvent::StartLimitHit => TimerEvent::StartLimitHit,
            KindEvent::ResetFailed => TimerEvent::ResetFailed,
            KindEvent::TriggeredChanged => {
                let unit = self.triggered_unit(id).and_then(|unit| self.units.get(unit));
                TimerEvent::UnitChanged { down: unit.is_none_or(|runtime| runtime.active().is_down()) }
            }
            KindEvent::Timer(event) => event,
            _ => return,
        };
        let Some(old) = self.units.get(id).map(|runtime| runtime.active()) else { return };
        let mut machine = before;
        let mut next = Some(own);
        while let Some(own) = next.take() {
            let Some((after, effects)) = self.timer_settings(id).and_then(|timer| step(machine, own, timer)) else {
                if own == TimerEvent::Start || own == TimerEvent::Stop {
                    self.kind_meaningless(id, event);
                }
                return;
            };
            machine = after;
            for effect in effects {
                let answer = self.timer_effect(id, effect, before);
                next = next.or(answer);
            }
        }
        self.set_kind(id, KindState::Timer(machine));
        self.changed(id, old);
    }

    fn timer_effect(&mut self, id: UnitId, effect: TimerEffect, before: TimerMachine) -> Option<TimerEvent> {
        match effect {
            TimerEffect::Begin => self.begin_timer(id),
            TimerEffect::Renew => {
                // Those that count from starts and ends of the unit never elapse for good.
            }
            TimerEffect::Rewind => {
                let now = crate::clock::wall_us();
                if let Some(data) = self.kinds.timers.get_mut(&id) {
                    data.last.wall = data.last.wall.min(now);
                }
            }
            TimerEffect::Plan { clock_changed } => return Some(self.plan_timer(id, before, clock_changed)),
            TimerEffect::Trigger => return self.trigger_timer(id),
            TimerEffect::Disarm => self.disarm_timer(id),
        }
        None
    }

    /// Times after the start of the timer count anew; the stamp file tells when it elapsed last.
    fn begin_timer(&mut self, id: UnitId) {
        use ferrite_unit::timer::Base;
        self.open_clocks();
        let Some(runtime) = self.units.get(id) else { return };
        let Config::Timer(timer) = &runtime.unit.config else { return };
        let of_start = |place: &usize| matches!(timer.times.get(*place), Some(Elapse::After(Base::Active, _)));
        let (persistent, path) = (timer.persistent, stamp_path(runtime.unit.name.as_str()));
        let mut data = self.kinds.timers.get(&id).cloned().unwrap_or_default();
        data.over.retain(|place| !of_start(place));
        if persistent && self.answers(&path) {
            match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
                Ok(at) if at < SystemTime::now() => {
                    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    data.last.wall = u64::try_from(since.as_micros()).unwrap_or(0);
                }
                Ok(_) => self.log.warning(&format!("{path} is of the future, ignoring it")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.stamp(&path, SystemTime::now()),
                Err(error) => self.log.warning(&format!("reading the time of {path}: {error}, ignoring it")),
            }
        }
        self.kinds.timers.insert(id, data);
    }

    fn stamp(&self, path: &str, at: SystemTime) {
        if !self.answers(path) {
            return;
        }
        let touched = fs::create_dir_all(STAMPS)
            .and_then(|()| fs::OpenOptions::new().create(true).append(true).open(path))
            .and_then(|file| file.set_modified(at));
        if let Err(error) = touched {
            self.log.warning(&format!("setting the time of {path}: {error}, ignoring it"));
        }
    }

    fn timer_facts(&self, id: UnitId, before: TimerMachine, clock_changed: bool) -> Facts {
        let now = Moment { wall: crate::clock::wall_us(), monotonic: crate::clock::boot_us() };
        let moment = |(wall, monotonic): (u64, u64)| Moment { wall, monotonic };
        let own = self.units.get(id).map(|runtime| runtime.times).unwrap_or_default();
        let unit = self.triggered_unit(id).and_then(|unit| self.units.get(unit));
        let unit = unit.map(|runtime| runtime.times).unwrap_or_default();
        Facts {
            now,
            slept: boot_with_sleep_us().saturating_sub(now.monotonic),
            active: before.active().is_up(),
            began: moment(own.inactive_exit),
            startup: self.moments.userspace.1,
            boot: if self.settings.real_boot { 0 } else { self.moments.userspace.1 },
            last: self.kinds.timers.get(&id).map(|data| data.last).unwrap_or_default(),
            unit_started: moment(unit.inactive_exit),
            unit_ended: moment(unit.inactive_enter),
            clock_changed,
        }
    }

    /// Finds the next time and arms it.
    fn plan_timer(&mut self, id: UnitId, before: TimerMachine, clock_changed: bool) -> TimerEvent {
        let facts = self.timer_facts(id, before, clock_changed);
        let zones = self.zones();
        let nothing = TimerEvent::Planned { armed: false, leave_around: false };
        let Some(runtime) = self.units.get(id) else { return nothing };
        let Config::Timer(timer) = &runtime.unit.config else { return nothing };
        let events: Vec<Option<CalendarSpec>> = timer
            .times
            .iter()
            .map(|time| match time {
                Elapse::Calendar(text) => CalendarSpec::parse(text, &zones).ok(),
                Elapse::After(..) => None,
            })
            .collect();
        let over = self.kinds.timers.get(&id).map(|data| data.over.clone()).unwrap_or_default();
        let mut next = plan(timer, &events, &over, &facts, &zones);
        let name = runtime.unit.name.as_str();
        let random = || match timer.fixed_random_delay {
            true => fixed_random(&self.host.machine_id, name),
            false => random_number(),
        };
        next.monotonic = next.monotonic.map(|at| delayed(at, timer, random()));
        next.wall = next.wall.map(|at| delayed(at, timer, random()));
        let waits = timer.on_clock_change || timer.on_timezone_change;
        let wakes = timer.wake_system;
        let armed = next.monotonic.is_some() || next.wall.is_some() || waits;
        let leave_around = next.leave_around;
        self.arm_timer(id, wakes, &next, &facts);
        let data = self.kinds.timers.entry(id).or_default();
        data.over.clone_from(&next.over);
        data.next = next;
        TimerEvent::Planned { armed, leave_around }
    }

    fn arm_timer(&mut self, id: UnitId, wakes: bool, next: &Plan, facts: &Facts) {
        let mut times = [(Clock::Wall, None), (Clock::WallWaking, None), (Clock::BootWaking, None)];
        match next.wall {
            Some(at) if wakes => times[1].1 = Some(at),
            Some(at) => times[0].1 = Some(at),
            None => {}
        }
        self.timers.disarm(TimerKey::Elapse(id));
        match next.monotonic {
            Some(at) if wakes => times[2].1 = Some(at),
            Some(at) => {
                let left = Duration::from_micros(at.saturating_sub(facts.now.monotonic));
                self.timers.arm(TimerKey::Elapse(id), Instant::now(), left);
            }
            None => {}
        }
        for (clock, at) in times {
            if at.is_some() {
                self.open_clock(clock);
            }
            let Some((_, alarms)) = self.kinds.alarms.iter_mut().find(|(have, _)| *have == clock) else { continue };
            let outcome = match at {
                Some(at) => alarms.arm(id, at),
                None => alarms.disarm(id),
            };
            if let Err(error) = outcome {
                self.log.error(&format!("setting a clock: {error}, a timer may come late"));
            }
        }
    }

    fn disarm_timer(&mut self, id: UnitId) {
        self.timers.disarm(TimerKey::Elapse(id));
        for (_, alarms) in &mut self.kinds.alarms {
            // The unit is forgotten either way; the kernel may wake us once for nothing.
            let _ = alarms.disarm(id);
        }
        if let Some(data) = self.kinds.timers.get_mut(&id) {
            data.next = Plan::default();
        }
    }

    /// Starts the unit of a timer whose time has come.
    fn trigger_timer(&mut self, id: UnitId) -> Option<TimerEvent> {
        let outcome = match self.triggered_unit(id) {
            Some(unit) => self.enqueue(unit, JobKind::Start, Mode::Replace).map(|_| unit).map_err(|e| e.to_string()),
            None => Err("it is not there".to_owned()),
        };
        let unit = match outcome {
            Ok(unit) => unit,
            Err(why) => {
                let title = self.title(id);
                self.log.warning(&format!("{title}: starting its unit: {why}"));
                return Some(TimerEvent::NotStarted);
            }
        };
        let now = Moment { wall: crate::clock::wall_us(), monotonic: crate::clock::boot_us() };
        self.kinds.timers.entry(id).or_default().last = now;
        let runtime = self.units.get(id)?;
        let name = runtime.unit.name.to_string();
        if matches!(&runtime.unit.config, Config::Timer(timer) if timer.persistent) {
            self.stamp(&stamp_path(&name), SystemTime::UNIX_EPOCH + Duration::from_micros(now.wall));
        }
        let variables = vec![
            ("TRIGGER_UNIT".to_owned(), name),
            ("TRIGGER_TIMER_REALTIME_USEC".to_owned(), now.wall.to_string()),
            ("TRIGGER_TIMER_MONOTONIC_USEC".to_owned(), now.monotonic.to_string()),
        ];
        self.note_trigger(unit, variables);
        None
    }

    /// What started a unit is told to its processes; the first reason counts.
    pub fn note_trigger(&mut self, unit: UnitId, variables: Vec<(String, String)>) {
        self.kinds.triggers.entry(unit).or_insert(variables);
    }

    /// A timer that was taken over, or whose file was read anew, finds its next time.
    pub fn resume_timer(&mut self, id: UnitId) {
        self.open_clocks();
        self.timer_happened(id, TimerEvent::UnitChanged { down: false });
    }

    /// A time of a timer has come. A unit that is to stop anyway starts nothing any more.
    pub fn timer_elapsed(&mut self, id: UnitId) {
        if !self.stop_waits(id) {
            self.timer_happened(id, TimerEvent::Elapsed);
        }
    }

    /// The zones of this machine, read when they are needed first.
    fn zones(&mut self) -> Zones {
        let read = |path: &str| crate::disk::read_whole(path, ZONE_MAX).ok();
        self.kinds.zones.get_or_insert_with(|| Zones::new(None, read)).clone()
    }

    /// The clocks that every timer needs: the wall clock, to learn when it is set, and the time zone.
    fn open_clocks(&mut self) {
        self.open_clock(Clock::Wall);
        if self.kinds.zone_watch.is_none() {
            self.watch_zone();
        }
    }

    fn open_clock(&mut self, clock: Clock) {
        if self.kinds.alarms.iter().any(|(have, _)| *have == clock) {
            return;
        }
        let key = self.kinds.watch(Watched::Clock(clock));
        let opened = Alarms::open(clock).and_then(|(alarms, sleepy)| {
            self.epoll.add(alarms.file(), key)?;
            Ok((alarms, sleepy))
        });
        match opened {
            Ok((alarms, sleepy)) => {
                if sleepy {
                    self.log.warning("this machine cannot be woken by a clock, timers with WakeSystem= come late");
                }
                self.kinds.alarms.push((clock, alarms));
            }
            Err(error) => {
                self.kinds.unwatch(key);
                self.log.error(&format!("opening a clock: {error}, timers do not elapse"));
            }
        }
    }

    /// A clock is ready: a time has come, or it was set.
    pub fn clock_ready(&mut self, clock: Clock) {
        let Some((_, alarms)) = self.kinds.alarms.iter_mut().find(|(have, _)| *have == clock) else { return };
        let (due, set) = alarms.take();
        for id in due {
            self.timer_elapsed(id);
        }
        if set && clock == Clock::Wall {
            self.log.info("the clock was set");
            self.tell_timers(TimerEvent::ClockChanged);
        }
    }

    fn tell_timers(&mut self, event: TimerEvent) {
        for id in self.units.ids() {
            let waits = |machine: TimerMachine| machine.state == TimerState::Waiting;
            if matches!(self.kind_state(id), Some(KindState::Timer(machine)) if waits(machine)) {
                self.timer_happened(id, event);
            }
        }
    }

    /// Waits for a change of the time zone: of the link itself or, while there is none, of its directory.
    fn watch_zone(&mut self) {
        use inotify::{CreateFlags, WatchFlags};
        if let Some((file, key)) = self.kinds.zone_watch.take() {
            let _ = self.epoll.remove(&file);
            self.kinds.unwatch(key);
        }
        let key = self.kinds.watch(Watched::Zone);
        let changes = WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::CLOSE_WRITE | WatchFlags::DONT_FOLLOW;
        let watched = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).and_then(|file| {
            inotify::add_watch(&file, LOCAL_ZONE, changes)
                .or_else(|_| inotify::add_watch(&file, "/etc", WatchFlags::CREATE | WatchFlags::MOVED_TO))?;
            Ok(file)
        });
        match watched.map_err(io::Error::from).and_then(|file| self.epoll.add(&file, key).map(|()| file)) {
            Ok(file) => self.kinds.zone_watch = Some((file, key)),
            Err(error) => {
                self.kinds.unwatch(key);
                self.log.warning(&format!("watching {LOCAL_ZONE}: {error}, timers keep to the zone of now"));
            }
        }
    }

    /// The time zone may have changed.
    pub fn zone_ready(&mut self) {
        self.watch_zone();
        let before = self.zones().local().names().map(str::to_owned);
        self.kinds.zones = None;
        let after = self.zones().local().names().map(str::to_owned);
        if before != after {
            self.log.info(&format!("the time zone is {} now", after.join("/")));
        }
        self.tell_timers(TimerEvent::ZoneChanged);
    }
}

/// Any number.
pub fn random_number() -> u64 {
    let mut bytes = [0_u8; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::INSECURE) {
        Ok(_) => u64::from_ne_bytes(bytes),
        Err(_) => crate::clock::wall_us(),
    }
}
