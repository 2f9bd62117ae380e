//! `[Timer]`: when a timer elapses and which unit it starts. Pure.

use crate::calendar::CalendarSpec;
use crate::directive::{Apply, Table, Value};
use crate::name::{UnitKind, UnitName};
use crate::value::{Parsed, Span, ValueError, boolean, span, wrong};
use crate::zone::Zones;

/// Times of one timer at most.
const TIMES_MAX: usize = 1024;

/// From when a span of a timer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// `OnActiveSec=`: the start of the timer.
    Active,
    /// `OnBootSec=`: the start of the machine.
    Boot,
    /// `OnStartupSec=`: the start of PID 1.
    Startup,
    /// `OnUnitActiveSec=`: the last time the unit became active.
    UnitActive,
    /// `OnUnitInactiveSec=`: the last time the unit became inactive.
    UnitInactive,
}

impl Base {
    /// The directive.
    pub fn directive(self) -> &'static str {
        match self {
            Base::Active => "OnActiveSec",
            Base::Boot => "OnBootSec",
            Base::Startup => "OnStartupSec",
            Base::UnitActive => "OnUnitActiveSec",
            Base::UnitInactive => "OnUnitInactiveSec",
        }
    }
}

/// One time at which a timer elapses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elapse {
    /// So long after an event.
    After(Base, Span),
    /// At a calendar event, as written.
    Calendar(String),
}

/// The settings of a timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// When it elapses, in the order of the file.
    pub times: Vec<Elapse>,
    /// `Unit=`.
    pub unit: Option<UnitName>,
    /// `AccuracySec=`.
    pub accuracy: Span,
    /// `RandomizedDelaySec=`.
    pub randomized_delay: Span,
    /// `FixedRandomDelay=`.
    pub fixed_random_delay: bool,
    /// `Persistent=`.
    pub persistent: bool,
    /// `WakeSystem=`.
    pub wake_system: bool,
    /// `RemainAfterElapse=`.
    pub remain_after_elapse: bool,
    /// `OnClockChange=`.
    pub on_clock_change: bool,
    /// `OnTimezoneChange=`.
    pub on_timezone_change: bool,
    /// `DeferReactivation=`.
    pub defer_reactivation: bool,
}

impl Default for Timer {
    fn default() -> Self {
        Timer {
            times: Vec::new(),
            unit: None,
            accuracy: Span::seconds(60),
            randomized_delay: Span::seconds(0),
            fixed_random_delay: false,
            persistent: false,
            wake_system: false,
            remain_after_elapse: true,
            on_clock_change: false,
            on_timezone_change: false,
            defer_reactivation: false,
        }
    }
}

impl Timer {
    /// The unit that it starts.
    pub fn activates(&self, name: &UnitName) -> Option<UnitName> {
        self.unit.clone().or_else(|| name.with_kind(UnitKind::Service).ok())
    }

    /// Does it follow the calendar?
    pub fn has_calendar(&self) -> bool {
        self.times.iter().any(|time| matches!(time, Elapse::Calendar(_)))
    }

    /// Why this timer cannot run, if it cannot.
    pub(crate) fn verify(&self) -> Result<(), String> {
        if self.times.is_empty() && !self.on_clock_change && !self.on_timezone_change {
            return Err("timer has no time such as OnCalendar= or OnBootSec=, refusing".into());
        }
        Ok(())
    }
}

/// Reads `Unit=` of a timer or path: any unit but itself and those of the same kind that start others.
pub(crate) fn trigger(slot: &mut Option<UnitName>, value: &Value<'_>) -> Parsed<()> {
    let text = value.text()?;
    let name = UnitName::parse(&text).map_err(|error| ValueError(error.to_string()))?;
    if slot.is_some() {
        return Err(ValueError(format!("a second unit {name}, only one can be started")));
    }
    if name == *value.specifiers.unit || name.is_template() {
        return Err(wrong(&text, "another unit"));
    }
    *slot = Some(name);
    Ok(())
}

fn push(timer: &mut Timer, time: Elapse) -> Parsed<()> {
    if timer.times.len() >= TIMES_MAX {
        return Err(ValueError(format!("more than {TIMES_MAX} times")));
    }
    timer.times.push(time);
    Ok(())
}

fn after(timer: &mut Timer, value: &Value<'_>, base: Base) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        // Whatever is emptied, all times go.
        timer.times.clear();
        return Ok(());
    };
    push(timer, Elapse::After(base, span(&text)?))
}

fn calendar(timer: &mut Timer, value: &Value<'_>) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        timer.times.clear();
        return Ok(());
    };
    check_event(&text)?;
    push(timer, Elapse::Calendar(text))
}

/// A calendar event; whether its time zone exists, only the machine can tell.
fn check_event(text: &str) -> Parsed<()> {
    let zones = Zones::utc();
    match (CalendarSpec::parse(text, &zones), text.rsplit_once(' ')) {
        (Ok(_), _) => Ok(()),
        (Err(fault), Some((event, zone))) if zone.contains(|c: char| c.is_ascii_alphabetic()) => {
            CalendarSpec::parse(event, &zones).map(|_| ()).map_err(|_| fault)
        }
        (Err(fault), _) => Err(fault),
    }
}

macro_rules! set {
    ($field:ident, $read:expr) => {{
        let apply: Apply<Timer> = |timer, value| {
            timer.$field = $read(value.raw)?;
            Ok(())
        };
        apply
    }};
}

pub(crate) const TABLE: Table<Timer> = &[
    ("OnCalendar", calendar),
    ("OnActiveSec", |timer, value| after(timer, value, Base::Active)),
    ("OnBootSec", |timer, value| after(timer, value, Base::Boot)),
    ("OnStartupSec", |timer, value| after(timer, value, Base::Startup)),
    ("OnUnitActiveSec", |timer, value| after(timer, value, Base::UnitActive)),
    ("OnUnitInactiveSec", |timer, value| after(timer, value, Base::UnitInactive)),
    ("OnClockChange", set!(on_clock_change, boolean)),
    ("OnTimezoneChange", set!(on_timezone_change, boolean)),
    ("Persistent", set!(persistent, boolean)),
    ("WakeSystem", set!(wake_system, boolean)),
    ("RemainAfterElapse", set!(remain_after_elapse, boolean)),
    ("FixedRandomDelay", set!(fixed_random_delay, boolean)),
    ("AccuracySec", set!(accuracy, span)),
    ("RandomizedDelaySec", set!(randomized_delay, span)),
    ("DeferReactivation", set!(defer_reactivation, boolean)),
    ("Unit", |timer, value| trigger(&mut timer.unit, value)),
];
