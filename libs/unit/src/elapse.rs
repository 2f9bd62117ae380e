//! When a calendar event is next: a search from the year down to the microsecond. Pure.
//!
//! Each field looks for its earliest value that is not before the current one. Where there is none, the field above
//! steps on and everything below begins anew. A local time that the zone skips is no match.

use std::cmp::Ordering;

use crate::calendar::{CalendarSpec, Chain, Place, SECOND_US, YEARS};
use crate::civil::{Civil, days_of_month};
use crate::timestamp::LATEST_US;
use crate::zone::{Zone, Zones};

/// Steps after which the search gives up.
const STEPS_MAX: usize = 1000;

/// The search gave up: an event so rare that it takes too many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("resource deadlock avoided")]
pub struct TooRare;

impl CalendarSpec {
    /// The first moment after `after_us` (microseconds since 1970); `None` when there is none that can be found.
    pub fn next_after(&self, after_us: u64, zones: &Zones) -> Option<u64> {
        self.search_after(after_us, zones).ok().flatten()
    }

    /// The same, but a search that gave up is told from an event that is over.
    pub fn search_after(&self, after_us: u64, zones: &Zones) -> Result<Option<u64>, TooRare> {
        if after_us > LATEST_US {
            return Ok(None);
        }
        let zone = match &self.place {
            Place::Local | Place::Pinned { .. } => zones.local().clone(),
            Place::Utc => Zone::utc(),
            Place::Named(name) => match zones.named(name) {
                Some(zone) => zone,
                None => return Ok(None),
            },
        };
        Search::new(self, zone, after_us + 1).map_or(Ok(None), Search::run)
    }
}

/// A field of the search, from the largest to the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// What one field makes of the search.
enum Step {
    /// The field matches: on to the next.
    Down,
    /// Something larger moved: begin again.
    Again,
    /// There is no such moment.
    Never,
}

struct Search<'a> {
    spec: &'a CalendarSpec,
    zone: Zone,
    /// What the event says of daylight saving.
    pinned: Option<bool>,
    /// What is known of `at`.
    dst: Option<bool>,
    at: Civil,
    micro: i64,
    /// Where the search began.
    began: (Civil, i64),
    /// A skipped hour led back before the beginning: from then on the clocks' own word on daylight saving counts.
    went_back: bool,
    /// The offset of the moment looked at last.
    offset: i64,
}

impl<'a> Search<'a> {
    fn new(spec: &'a CalendarSpec, zone: Zone, from_us: u64) -> Option<Search<'a>> {
        let seconds = i64::try_from(from_us / 1_000_000).ok()?;
        let offset = zone.offset_at(seconds);
        let pinned = match &spec.place {
            Place::Pinned { dst, .. } => Some(*dst),
            Place::Local | Place::Utc | Place::Named(_) => None,
        };
        let (at, micro) = (zone.civil(seconds), i64::try_from(from_us % 1_000_000).ok()?);
        Some(Search {
            at,
            micro,
            began: (at, micro),
            went_back: false,
            spec,
            pinned,
            dst: Some(offset.dst),
            offset: offset.seconds,
            zone,
        })
    }

    fn run(mut self) -> Result<Option<u64>, TooRare> {
        const ORDER: [Field; 6] = [Field::Year, Field::Month, Field::Day, Field::Hour, Field::Minute, Field::Second];
        'search: for _ in 0..STEPS_MAX {
            if let Some((seconds, civil)) = self.moment() {
                self.at = civil;
                self.dst = Some(self.zone.offset_at(seconds).dst);
            }
            if !self.went_back {
                self.dst = self.pinned;
            }
            for field in ORDER {
                match self.step(field) {
                    Step::Down => {}
                    Step::Again => continue 'search,
                    Step::Never => return Ok(None),
                }
            }
            if (self.at, self.micro) < self.began {
                self.went_back = true;
                self.at.hour += 1;
                continue;
            }
            let found = self.moment().map(|(seconds, _)| seconds * SECOND_US + self.micro);
            return Ok(found.and_then(|found| u64::try_from(found).ok()));
        }
        Err(TooRare)
    }

    fn step(&mut self, field: Field) -> Step {
        let fits = match self.seek(field) {
            Some(_) => self.settle(),
            None => None,
        };
        match (fits, field) {
            (Some(Ordering::Equal), Field::Day) => self.check_weekday(),
            (Some(Ordering::Equal), _) => Step::Down,
            (_, Field::Year) => Step::Never,
            (Some(_), _) => Step::Again,
            (None, _) => {
                self.carry(field);
                Step::Again
            }
        }
    }

    fn check_weekday(&mut self) -> Step {
        let Some(days) = self.spec.weekdays else { return Step::Down };
        if days >> self.at.weekday() & 1 == 1 {
            return Step::Down;
        }
        self.carry(Field::Hour);
        Step::Again
    }

    /// Moves a field to its earliest match; `None` when there is none.
    fn seek(&mut self, field: Field) -> Option<()> {
        let spec = self.spec;
        let (chain, value) = match field {
            Field::Year => (&spec.year, self.at.year),
            Field::Month => (&spec.month, self.at.month),
            Field::Day => (&spec.day, self.at.day),
            Field::Hour => (&spec.hour, self.at.hour),
            Field::Minute => (&spec.minute, self.at.minute),
            Field::Second => (&spec.second, self.at.second * SECOND_US + self.micro),
        };
        let month_end = days_of_month(self.at.year, self.at.month);
        let from_end = spec.from_end && field == Field::Day;
        let found = earliest(chain, value, from_end.then_some(month_end))?;
        if found != value {
            self.reset_below(field);
        }
        match field {
            Field::Year => self.at.year = found,
            Field::Month => self.at.month = found,
            Field::Day => self.at.day = found,
            Field::Hour => self.at.hour = found,
            Field::Minute => self.at.minute = found,
            Field::Second => (self.at.second, self.micro) = (found / SECOND_US, found % SECOND_US),
        }
        Some(())
    }

    /// Puts everything below a field to its beginning.
    fn reset_below(&mut self, field: Field) {
        let first = Civil { year: 0, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
        let at = &mut self.at;
        if field < Field::Month {
            at.month = first.month;
        }
        if field < Field::Day {
            at.day = first.day;
        }
        if field < Field::Hour {
            at.hour = first.hour;
        }
        if field < Field::Minute {
            at.minute = first.minute;
        }
        if field < Field::Second {
            at.second = first.second;
            self.micro = 0;
        }
    }

    /// Steps the field above on, and begins anew below it.
    fn carry(&mut self, field: Field) {
        let above = match field {
            Field::Year | Field::Month => {
                self.at.year += 1;
                Field::Year
            }
            Field::Day => {
                self.at.month += 1;
                Field::Month
            }
            Field::Hour => {
                self.at.day += 1;
                Field::Day
            }
            Field::Minute => {
                self.at.hour += 1;
                Field::Hour
            }
            Field::Second => {
                self.at.minute += 1;
                Field::Minute
            }
        };
        self.reset_below(above);
    }

    /// The moment of `at`, and what the clocks really show then.
    fn moment(&mut self) -> Option<(i64, Civil)> {
        let seconds = self.zone.moment(self.at, self.dst, &mut self.offset)?;
        let shown = Civil::from_seconds(seconds + self.offset);
        let shown = if self.zone.offset_at(seconds).seconds == self.offset { shown } else { self.zone.civil(seconds) };
        Some((seconds, shown))
    }

    /// Does `at` exist? If its clocks show something later, that becomes `at`; `None` when it is out of reach or the
    /// clocks would go backward.
    fn settle(&mut self) -> Option<Ordering> {
        if self.at.year > YEARS.1 {
            return None;
        }
        let (seconds, mut shown) = self.moment().filter(|(seconds, _)| *seconds >= 0)?;
        let at = self.at;
        let ordering = shown.cmp(&at);
        if ordering != Ordering::Greater {
            return (ordering == Ordering::Equal).then_some(ordering);
        }
        // The field below the one that moved begins anew, or its earliest match would be skipped.
        if shown.year != at.year {
            shown.month = 1;
        } else if shown.month != at.month {
            shown.day = 1;
        } else if shown.day != at.day {
            shown.hour = 0;
        } else if shown.hour != at.hour {
            shown.minute = 0;
        } else if shown.minute != at.minute {
            shown.second = 0;
        }
        self.dst = Some(self.zone.offset_at(seconds).dst);
        self.at = shown;
        Some(ordering)
    }
}

/// The earliest value of a chain that is not before `value`. With the length of a month, days count from its end.
fn earliest(chain: &Chain, value: i64, month_end: Option<i64>) -> Option<i64> {
    if chain.is_empty() {
        return Some(value);
    }
    let candidates = chain.iter().filter_map(|component| {
        let (start, stop) = match month_end {
            None => (component.start, component.stop),
            Some(end) => {
                let from_end = |day: i64| Some(end + 1 - day).filter(|day| *day > 0);
                match component.stop.and_then(from_end) {
                    Some(first) => (first, from_end(component.start)),
                    None => (from_end(component.start).unwrap_or(-1), None),
                }
            }
        };
        if start >= value {
            return Some(start);
        }
        if component.step == 0 {
            return None;
        }
        let missing = value - start;
        let next = start + (missing + component.step - 1) / component.step * component.step;
        stop.is_none_or(|stop| next <= stop).then_some(next)
    });
    candidates.min()
}
