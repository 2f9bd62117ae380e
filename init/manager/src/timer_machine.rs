//! The life of a timer unit as a state machine, and when it elapses next. Pure. States and rules are systemd's.
//!
//! Moments are microseconds: of the wall clock since 1970, or of the monotonic clock since the kernel started.

use ferrite_unit::calendar::CalendarSpec;
use ferrite_unit::timer::{Base, Elapse, Timer};
use ferrite_unit::value::Span;
use ferrite_unit::zone::Zones;
use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;

/// Where a timer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum TimerState {
    #[default]
    Dead,
    Waiting,
    Running,
    Elapsed,
    Failed,
}

/// A timer: its state, and why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimerMachine {
    /// Where it stands.
    pub state: TimerState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
}

impl TimerMachine {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            TimerState::Dead => "dead",
            TimerState::Waiting => "waiting",
            TimerState::Running => "running",
            TimerState::Elapsed => "elapsed",
            TimerState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            TimerState::Dead => Active::Inactive,
            TimerState::Waiting | TimerState::Running | TimerState::Elapsed => Active::Active,
            TimerState::Failed => Active::Failed,
        }
    }
}

/// What happened to a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// The answer to `TimerEffect::Plan`: is there a next time?
    Planned {
        /// It is armed.
        armed: bool,
        /// The unit's own starts or ends may arm it again.
        leave_around: bool,
    },
    /// A time has come.
    Elapsed,
    /// The unit cannot be started.
    NotStarted,
    /// The state or the job of the unit changed; is it down now?
    UnitChanged {
        /// Inactive or failed.
        down: bool,
    },
    /// The wall clock was set.
    ClockChanged,
    /// The time zone of the machine changed.
    ZoneChanged,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimerEffect {
    /// Times after the start of the timer count anew, and what the stamp file tells.
    Begin,
    /// Times after the unit's starts and ends count anew.
    Renew,
    /// A last time that lies in the future is now.
    Rewind,
    /// Find the next time and arm it; the answer is an event.
    Plan {
        /// The clock was set, so that what lies in the past did not elapse.
        clock_changed: bool,
    },
    /// Start the unit and remember when.
    Trigger,
    /// Wait for nothing.
    Disarm,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(machine: TimerMachine, event: TimerEvent, timer: &Timer) -> Option<(TimerMachine, Vec<TimerEffect>)> {
    use TimerEffect::{Begin, Disarm, Plan, Renew, Rewind, Trigger};
    use TimerState as S;
    const PLAN: TimerEffect = Plan { clock_changed: false };
    let to = |state| TimerMachine { state, ..machine };
    let fails = |cause| TimerMachine { state: S::Failed, cause };
    Some(match (event, machine.state) {
        (TimerEvent::Start, S::Dead | S::Failed) => {
            (TimerMachine { state: S::Waiting, cause: Cause::Success }, vec![Begin, PLAN])
        }
        (TimerEvent::Stop, S::Waiting | S::Running | S::Elapsed) => (to(S::Dead), vec![Disarm]),
        (TimerEvent::StartLimitHit, S::Dead | S::Failed) => (fails(Cause::StartLimitHit), vec![]),
        (TimerEvent::ResetFailed, S::Failed) => (TimerMachine::default(), vec![]),
        (TimerEvent::Planned { armed: true, .. }, S::Waiting | S::Running | S::Elapsed) => (to(S::Waiting), vec![]),
        (TimerEvent::Planned { leave_around, .. }, S::Waiting | S::Running | S::Elapsed) => {
            let stays = timer.remain_after_elapse || leave_around;
            (to(if stays { S::Elapsed } else { S::Dead }), vec![Disarm])
        }
        (TimerEvent::Elapsed, S::Waiting) => (to(S::Running), vec![Disarm, Trigger]),
        (TimerEvent::NotStarted, S::Running) => (fails(Cause::Resources), vec![Disarm]),
        (TimerEvent::UnitChanged { .. }, S::Waiting | S::Elapsed) => (machine, vec![Renew, PLAN]),
        (TimerEvent::UnitChanged { down: true }, S::Running) => (machine, vec![Renew, PLAN]),
        (TimerEvent::UnitChanged { down: false }, S::Running) => (machine, vec![Renew]),
        (TimerEvent::ClockChanged, S::Waiting) if timer.on_clock_change => {
            (to(S::Running), vec![Rewind, Disarm, Trigger])
        }
        (TimerEvent::ClockChanged, S::Waiting) => (machine, vec![Rewind, Plan { clock_changed: true }]),
        (TimerEvent::ZoneChanged, S::Waiting) if timer.on_timezone_change => (to(S::Running), vec![Disarm, Trigger]),
        (TimerEvent::ZoneChanged, S::Waiting) => (machine, vec![PLAN]),
        _ => return None,
    })
}

/// A moment on both clocks; 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// Of the wall clock.
    pub wall: u64,
    /// Of the monotonic clock.
    pub monotonic: u64,
}

/// What the times of a timer count from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// Now.
    pub now: Moment,
    /// How far the clock that runs on while the machine sleeps is ahead of the monotonic one.
    pub slept: u64,
    /// Is the timer active already?
    pub active: bool,
    /// When it began.
    pub began: Moment,
    /// When PID 1 began.
    pub startup: u64,
    /// From when `OnBootSec=` counts: 0, or the start of PID 1 inside a container.
    pub boot: u64,
    /// When it elapsed last.
    pub last: Moment,
    /// When its unit was started last.
    pub unit_started: Moment,
    /// When its unit ended last.
    pub unit_ended: Moment,
    /// The clock was set.
    pub clock_changed: bool,
}

/// When a timer elapses next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// On the monotonic clock, or with `WakeSystem=` on the one that runs on while the machine sleeps.
    pub monotonic: Option<u64>,
    /// On the wall clock.
    pub wall: Option<u64>,
    /// The unit's own starts or ends may arm the timer again.
    pub leave_around: bool,
    /// Times that elapsed for good.
    pub over: Vec<usize>,
    /// When each time of the unit file elapses, before any random delay.
    pub each: Vec<Option<u64>>,
}

fn micros(span: Span) -> u64 {
    span.finite().map_or(u64::MAX, |duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// Finds the next times. `events` are the calendar events by their place in the unit file; `over` elapsed for good.
pub fn plan(timer: &Timer, events: &[Option<CalendarSpec>], over: &[usize], facts: &Facts, zones: &Zones) -> Plan {
    let mut out = Plan { over: over.to_vec(), each: vec![None; timer.times.len()], ..Plan::default() };
    let earlier = |have: Option<u64>, next: u64| Some(have.map_or(next, |have| have.min(next)));
    for (place, time) in timer.times.iter().enumerate() {
        if over.contains(&place) {
            continue;
        }
        match time {
            Elapse::Calendar(_) => {
                let event = events.get(place).and_then(Option::as_ref);
                if let Some(next) = event.and_then(|event| next_event(timer, event, facts, zones)) {
                    out.wall = earlier(out.wall, next);
                    out.each.get_mut(place).into_iter().for_each(|each| *each = Some(next));
                }
            }
            Elapse::After(base, span) => {
                out.leave_around |= matches!(base, Base::UnitActive | Base::UnitInactive);
                let Some(from) = base_of(*base, facts) else { continue };
                let slept = if timer.wake_system { facts.slept } else { 0 };
                let next = from.saturating_add(slept).saturating_add(micros(*span));
                let once = matches!(base, Base::Active | Base::Boot | Base::Startup);
                let past = next < facts.now.monotonic.saturating_add(slept);
                if once && past && facts.last != Moment::default() && !facts.clock_changed {
                    out.over.push(place);
                    continue;
                }
                out.monotonic = earlier(out.monotonic, next);
                out.each.get_mut(place).into_iter().for_each(|each| *each = Some(next));
            }
        }
    }
    out
}

/// From when a time counts; `None`: that did not happen yet.
fn base_of(base: Base, facts: &Facts) -> Option<u64> {
    let happened = |at: u64| Some(at).filter(|at| *at > 0);
    match base {
        Base::Active if facts.active => Some(facts.began.monotonic),
        Base::Active => Some(facts.now.monotonic),
        Base::Boot => Some(facts.boot),
        Base::Startup => Some(facts.startup),
        Base::UnitActive => happened(facts.unit_started.monotonic.max(facts.last.monotonic)),
        Base::UnitInactive => happened(facts.unit_ended.monotonic.max(facts.last.monotonic)),
    }
}

fn next_event(timer: &Timer, event: &CalendarSpec, facts: &Facts, zones: &Zones) -> Option<u64> {
    let mut rebase = false;
    let from = if timer.defer_reactivation && facts.unit_ended.wall > 0 {
        facts.unit_ended.wall.max(facts.last.wall)
    } else if facts.last.wall > 0 {
        // Told by the stamp file of an earlier boot.
        rebase = facts.last.monotonic < facts.startup;
        facts.last.wall
    } else if facts.active && facts.began.wall > 0 {
        facts.began.wall
    } else {
        rebase = true;
        facts.now.wall
    };
    let next = event.next_after(from, zones)?;
    // What was missed before this boot counts as due at its beginning, so that a random delay spreads it.
    let boot = facts.now.wall.saturating_sub(facts.now.monotonic.saturating_sub(facts.startup));
    Some(if rebase { next.max(boot) } else { next })
}

/// Adds a part of `RandomizedDelaySec=`.
pub fn delayed(at: u64, timer: &Timer, random: u64) -> u64 {
    match micros(timer.randomized_delay) {
        0 => at,
        limit => at.saturating_add(random % limit),
    }
}

/// The number behind `FixedRandomDelay=`, the same as systemd's on the same machine.
pub fn fixed_random(machine_id: &str, unit: &str) -> u64 {
    let mut bytes: Vec<u8> = (0..16)
        .map(|place| machine_id.get(place * 2..place * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok()))
        .map(Option::unwrap_or_default)
        .collect();
    // This is the manager of the system, and it runs as root.
    bytes.push(1);
    bytes.extend([0; 4]);
    bytes.extend(unit.as_bytes());
    sip_hash([0xc242_5129_76db_0a51, 0xbd37_3a8e_e6ea_3580], &bytes)
}

/// SipHash-2-4.
fn sip_hash([k0, k1]: [u64; 2], bytes: &[u8]) -> u64 {
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut last = (bytes.len() as u64 & 0xff) << 56;
    for chunk in bytes.chunks(8) {
        let word = chunk.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        if chunk.len() < 8 {
            last |= word;
        } else {
            absorb(&mut state, word);
        }
    }
    absorb(&mut state, last);
    let [v0, v1, v2, v3] = &mut state;
    *v2 ^= 0xff;
    (0..4).for_each(|_| sip_round(v0, v1, v2, v3));
    *v0 ^ *v1 ^ *v2 ^ *v3
}

fn absorb(state: &mut [u64; 4], word: u64) {
    let [v0, v1, v2, v3] = state;
    *v3 ^= word;
    (0..2).for_each(|_| sip_round(v0, v1, v2, v3));
    *v0 ^= word;
}

fn sip_round(v0: &mut u64, v1: &mut u64, v2: &mut u64, v3: &mut u64) {
    *v0 = v0.wrapping_add(*v1);
    *v2 = v2.wrapping_add(*v3);
    *v1 = v1.rotate_left(13) ^ *v0;
    *v3 = v3.rotate_left(16) ^ *v2;
    *v0 = v0.rotate_left(32);
    *v2 = v2.wrapping_add(*v1);
    *v0 = v0.wrapping_add(*v3);
    *v1 = v1.rotate_left(17) ^ *v2;
    *v3 = v3.rotate_left(21) ^ *v0;
    *v2 = v2.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn timer(times: Vec<Elapse>) -> Timer {
        Timer { times, ..Timer::default() }
    }

    fn events(timer: &Timer) -> Vec<Option<CalendarSpec>> {
        let event = |time: &Elapse| match time {
            Elapse::Calendar(text) => CalendarSpec::parse(text, &Zones::utc()).ok(),
            Elapse::After(..) => None,
        };
        timer.times.iter().map(event).collect()
    }

    fn planned(timer: &Timer, facts: &Facts) -> Plan {
        plan(timer, &events(timer), &[], facts, &Zones::utc())
    }

    fn after(base: Base, seconds: u64) -> Elapse {
        Elapse::After(base, Span::seconds(seconds))
    }

    /// The machine runs for 1,000 s, PID 1 for 990 s, and it is 10,000 s after 1970.
    fn facts() -> Facts {
        let now = Moment { wall: 10_000 * SECOND, monotonic: 1_000 * SECOND };
        Facts { now, startup: 10 * SECOND, ..Facts::default() }
    }

    #[test]
    fn spans_count_from_their_bases() {
        let all = [Base::Active, Base::Boot, Base::Startup, Base::UnitActive, Base::UnitInactive];
        let seconds = |base| planned(&timer(vec![after(base, 5)]), &facts()).monotonic.map(|at| at / SECOND);
        assert_eq!(all.map(seconds), [Some(1005), Some(5), Some(15), None, None]);
        let known = Facts {
            active: true,
            began: Moment { wall: 1, monotonic: 900 * SECOND },
            unit_started: Moment { wall: 1, monotonic: 950 * SECOND },
            unit_ended: Moment { wall: 1, monotonic: 960 * SECOND },
            last: Moment { wall: 1, monotonic: 955 * SECOND },
            ..facts()
        };
        let seconds = |base| planned(&timer(vec![after(base, 100)]), &known).monotonic.map(|at| at / SECOND);
        assert_eq!(all.map(seconds), [Some(1000), None, None, Some(1055), Some(1060)]);
        assert_eq!(planned(&timer(vec![after(Base::Boot, 100)]), &known).over, [0]);
        let changed = Facts { clock_changed: true, ..known };
        assert_eq!(planned(&timer(vec![after(Base::Boot, 100)]), &changed).monotonic, Some(100 * SECOND));
        let waking = Timer { wake_system: true, ..timer(vec![after(Base::Boot, 2000)]) };
        let slept = Facts { slept: 7 * SECOND, ..facts() };
        assert_eq!(planned(&waking, &slept).monotonic, Some(2007 * SECOND));
    }

    #[test]
    fn the_earliest_of_all_times_counts() {
        let timer = timer(vec![after(Base::Active, 50), after(Base::Active, 20), Elapse::Calendar("daily".into())]);
        let plan = planned(&timer, &facts());
        assert_eq!((plan.monotonic, plan.wall), (Some(1020 * SECOND), Some(86_400 * SECOND)));
        assert!(!plan.leave_around);
    }

    #[test]
    fn a_time_missed_while_the_machine_was_off_is_due_at_its_boot() {
        let timer = timer(vec![Elapse::Calendar("*:0/10".into())]);
        // It elapsed last 9,000 s ago, in an earlier boot: due since, and counted from the start of PID 1.
        let missed = Facts { last: Moment { wall: 1_000 * SECOND, monotonic: 0 }, ..facts() };
        assert_eq!(planned(&timer, &missed).wall, Some(9_010 * SECOND));
        // In this boot it is the next time after the last one.
        let seen = Facts { last: Moment { wall: 9_500 * SECOND, monotonic: 500 * SECOND }, ..facts() };
        assert_eq!(planned(&timer, &seen).wall, Some(9_600 * SECOND));
        assert_eq!(planned(&timer, &facts()).wall, Some(10_200 * SECOND));
        let deferred = Timer { defer_reactivation: true, ..timer.clone() };
        let ended = Facts { unit_ended: Moment { wall: 9_700 * SECOND, monotonic: 700 * SECOND }, ..seen };
        assert_eq!(planned(&deferred, &ended).wall, Some(10_200 * SECOND));
    }

    #[test]
    fn a_timer_waits_runs_and_waits_again() {
        let timer = timer(vec![after(Base::UnitActive, 5)]);
        let run = |events: &[TimerEvent]| {
            events.iter().fold(TimerMachine::default(), |machine, event| step(machine, *event, &timer).unwrap().0).sub()
        };
        let armed = TimerEvent::Planned { armed: true, leave_around: false };
        let nothing = TimerEvent::Planned { armed: false, leave_around: false };
        assert_eq!(run(&[TimerEvent::Start, armed]), "waiting");
        assert_eq!(run(&[TimerEvent::Start, nothing]), "elapsed");
        assert_eq!(run(&[TimerEvent::Start, armed, TimerEvent::Elapsed]), "running");
        let again = [TimerEvent::Start, armed, TimerEvent::Elapsed, TimerEvent::UnitChanged { down: true }, armed];
        assert_eq!(run(&again), "waiting");
        assert_eq!(run(&[TimerEvent::Start, armed, TimerEvent::Elapsed, TimerEvent::NotStarted]), "failed");
        let once = Timer { remain_after_elapse: false, ..timer.clone() };
        let waiting = TimerMachine { state: TimerState::Waiting, ..TimerMachine::default() };
        assert_eq!(step(waiting, nothing, &once).unwrap().0.sub(), "dead");
        let clock = Timer { on_clock_change: true, ..timer.clone() };
        assert_eq!(step(waiting, TimerEvent::ClockChanged, &clock).unwrap().0.sub(), "running");
        assert!(step(TimerMachine::default(), TimerEvent::Elapsed, &timer).is_none());
    }

    #[test]
    fn the_hash_is_the_one_of_its_paper() {
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(sip_hash([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908], &bytes), 0xa129_ca61_49be_45e5);
        assert_ne!(fixed_random(&"0".repeat(32), "a.timer"), fixed_random(&"0".repeat(32), "b.timer"));
    }

    #[test]
    fn a_delay_is_shorter_than_its_limit() {
        let timer = Timer { randomized_delay: Span::seconds(10), ..Timer::default() };
        assert_eq!(delayed(5, &timer, 10 * SECOND + 3), 8);
        assert_eq!(delayed(5, &Timer::default(), 999), 5);
        assert_eq!(delayed(u64::MAX, &timer, 1), u64::MAX);
    }
}
