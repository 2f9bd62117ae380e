//! Calendar events (`OnCalendar=`): the grammar and the normal form. Pure.
//!
//! A field is a list of components `start`, `start..stop`, `start/step`; no component means any value. Seconds are kept
//! in microseconds. The surprising fact: only `UTC`, the two abbreviations of the local zone and names of zone files
//! are zones; the abbreviation pins the event to standard time or to daylight saving.

use std::fmt;

use crate::civil::{Civil, WEEKDAYS};
use crate::value::{Parsed, ValueError};
use crate::zone::Zones;

/// Components a field may have.
const COMPONENTS_MAX: usize = 241;
/// Years that an event may name.
pub(crate) const YEARS: (i64, i64) = (1970, 2199);
pub(crate) const SECOND_US: i64 = 1_000_000;
/// Numbers are 32-bit in systemd.
const NUMBER_MAX: i64 = i32::MAX as i64;

/// One part of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Component {
    pub start: i64,
    /// `None` sorts before any end.
    pub stop: Option<i64>,
    /// 0: no repetition.
    pub step: i64,
}

impl Component {
    const fn only(start: i64) -> Component {
        Component { start, stop: None, step: 0 }
    }
}

/// A field; empty means any value.
pub(crate) type Chain = Vec<Component>;

/// Which clocks an event is told by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The local zone.
    Local,
    /// The local zone, but only standard time or only daylight saving; with the abbreviation.
    Pinned { dst: bool, name: String },
    /// Universal time.
    Utc,
    /// A zone file.
    Named(String),
}

/// A calendar event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarSpec {
    /// Bit 0 is Monday; `None` means any day.
    pub(crate) weekdays: Option<u8>,
    pub(crate) year: Chain,
    pub(crate) month: Chain,
    pub(crate) day: Chain,
    pub(crate) hour: Chain,
    pub(crate) minute: Chain,
    /// In microseconds.
    pub(crate) second: Chain,
    /// Days count from the end of the month.
    pub(crate) from_end: bool,
    pub(crate) place: Place,
}

const ALL_DAYS: u8 = 127;

fn fault(text: &str) -> ValueError {
    crate::value::wrong(text, "a calendar event such as 'Mon *-*-* 06:00:00'")
}

impl CalendarSpec {
    /// Reads an event.
    pub fn parse(text: &str, zones: &Zones) -> Parsed<CalendarSpec> {
        let (place, rest) = split_place(text, zones);
        let mut spec = CalendarSpec::any(place);
        spec.read(rest).ok_or_else(|| fault(text))?;
        spec.normalize();
        spec.is_valid().then_some(spec).ok_or_else(|| fault(text))
    }

    fn any(place: Place) -> CalendarSpec {
        CalendarSpec {
            weekdays: None,
            year: Vec::new(),
            month: Vec::new(),
            day: Vec::new(),
            hour: Vec::new(),
            minute: Vec::new(),
            second: Vec::new(),
            from_end: false,
            place,
        }
    }

    fn read(&mut self, text: &str) -> Option<()> {
        if text.is_empty() {
            return None;
        }
        if self.shorthand(text) {
            return Some(());
        }
        let mut cursor = Cursor { rest: text };
        self.read_weekdays(&mut cursor)?;
        if !self.read_date(&mut cursor)? {
            self.read_time(&mut cursor)?;
        }
        cursor.rest.is_empty().then_some(())
    }

    /// `daily` and its like.
    fn shorthand(&mut self, text: &str) -> bool {
        let months: &[i64] = match text.to_ascii_lowercase().as_str() {
            "minutely" => {
                self.second = numbers(&[0]);
                return true;
            }
            "hourly" => {
                self.minute = numbers(&[0]);
                self.second = numbers(&[0]);
                return true;
            }
            "daily" => {
                self.set_time(0, 0, 0);
                return true;
            }
            "weekly" => {
                self.weekdays = Some(1);
                self.set_time(0, 0, 0);
                return true;
            }
            "monthly" => &[],
            "yearly" | "annually" | "anually" => &[1],
            "quarterly" => &[1, 4, 7, 10],
            "semiannually" | "semi-annually" | "biannually" | "bi-annually" => &[1, 7],
            _ => return false,
        };
        self.month = numbers(months);
        self.day = numbers(&[1]);
        self.set_time(0, 0, 0);
        true
    }

    fn set_time(&mut self, hour: i64, minute: i64, second: i64) {
        self.hour = numbers(&[hour]);
        self.minute = numbers(&[minute]);
        self.second = numbers(&[second * SECOND_US]);
    }

    fn read_weekdays(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let mut days = 0_u8;
        let mut from: Option<usize> = None;
        let mut is_first = true;
        loop {
            let Some((day, length)) = weekday_at(cursor.rest) else {
                if is_first {
                    return Some(());
                }
                return None;
            };
            cursor.skip(length);
            let first = from.take();
            if first.is_some_and(|first| first > day) {
                return None;
            }
            for number in first.unwrap_or(day)..=day {
                days |= 1 << number;
            }
            self.weekdays = Some(days);
            match cursor.peek() {
                None => return Some(()),
                Some(' ') => {
                    cursor.skip_blanks();
                    return Some(());
                }
                Some('.') if first.is_none() && cursor.eat("..") => from = Some(day),
                Some('-') if first.is_none() && cursor.eat("-") => from = Some(day),
                Some(',') => cursor.skip(1),
                Some(_) => return None,
            }
            // A comma may end the list, a range may not.
            if matches!(cursor.peek(), None | Some(' ')) {
                cursor.skip_blanks();
                return from.is_none().then_some(());
            }
            is_first = false;
        }
    }

    /// Reads the date; `true` when the time is known with it.
    fn read_date(&mut self, cursor: &mut Cursor<'_>) -> Option<bool> {
        if cursor.peek().is_none() {
            return Some(false);
        }
        if cursor.eat("@") {
            return self.read_epoch(cursor).map(|()| true);
        }
        let start = cursor.rest;
        let first = read_chain(cursor, Scale::Whole)?;
        // That was the hour.
        if matches!(cursor.peek(), None | Some(':')) {
            cursor.rest = start;
            return Some(false);
        }
        let first_from_end = date_separator(cursor)?;
        let second = read_chain(cursor, Scale::Whole)?;
        if matches!(cursor.peek(), None | Some(' ')) {
            cursor.skip_blanks();
            (self.month, self.day, self.from_end) = (first, second, first_from_end);
            return Some(false);
        }
        if first_from_end {
            return None;
        }
        let from_end = date_separator(cursor)?;
        let third = read_chain(cursor, Scale::Whole)?;
        if !matches!(cursor.peek(), None | Some(' ')) {
            return None;
        }
        cursor.skip_blanks();
        (self.year, self.month, self.day, self.from_end) = (first, second, third, from_end);
        Some(false)
    }

    fn read_epoch(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        cursor.rest = cursor.rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        let _ = cursor.eat("+");
        let civil = Civil::from_seconds(cursor.number()?);
        self.place = Place::Utc;
        self.year = numbers(&[civil.year]);
        self.month = numbers(&[civil.month]);
        self.day = numbers(&[civil.day]);
        self.set_time(civil.hour, civil.minute, civil.second);
        Some(())
    }

    fn read_time(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        if cursor.peek().is_none() {
            self.set_time(0, 0, 0);
            return Some(());
        }
        self.hour = read_chain(cursor, Scale::Whole)?;
        if !cursor.eat(":") {
            return None;
        }
        self.minute = read_chain(cursor, Scale::Whole)?;
        self.second = if cursor.peek().is_none() {
            numbers(&[0])
        } else if cursor.eat(":") {
            read_chain(cursor, Scale::Micro)?
        } else {
            return None;
        };
        Some(())
    }

    fn normalize(&mut self) {
        if self.weekdays.is_some_and(|days| days == 0 || days >= ALL_DAYS) {
            self.weekdays = None;
        }
        self.from_end &= !self.day.is_empty();
        for component in &mut self.year {
            component.start = full_year(component.start);
            component.stop = component.stop.map(full_year);
        }
        for chain in
            [&mut self.year, &mut self.month, &mut self.day, &mut self.hour, &mut self.minute, &mut self.second]
        {
            chain.iter_mut().for_each(normalize);
            chain.sort_unstable();
            chain.dedup();
        }
    }

    fn is_valid(&self) -> bool {
        is_valid(&self.year, YEARS, false)
            && is_valid(&self.month, (1, 12), false)
            && is_valid(&self.day, (1, 31), self.from_end)
            && is_valid(&self.hour, (0, 23), false)
            && is_valid(&self.minute, (0, 59), false)
            && is_valid(&self.second, (0, 60 * SECOND_US - 1), false)
    }
}

fn numbers(values: &[i64]) -> Chain {
    values.iter().map(|value| Component::only(*value)).collect()
}

/// The zone at the end of the text, and the rest.
fn split_place<'a>(text: &'a str, zones: &Zones) -> (Place, &'a str) {
    if let Some(rest) = strip_end(text, " UTC") {
        return (Place::Utc, rest);
    }
    for (dst, name) in [false, true].into_iter().zip(zones.local().names()) {
        if let Some(rest) = strip_end(text, name).and_then(|rest| rest.strip_suffix(' '))
            && !name.is_empty()
        {
            return (Place::Pinned { dst, name: name.to_owned() }, rest);
        }
    }
    match text.rsplit_once(' ') {
        Some((rest, "UTC")) => (Place::Utc, rest),
        Some((rest, name)) if zones.named(name).is_some() => (Place::Named(name.to_owned()), rest),
        _ => (Place::Local, text),
    }
}

fn strip_end<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    let (rest, last) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    last.eq_ignore_ascii_case(end).then_some(rest)
}

fn full_year(year: i64) -> i64 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

fn normalize(component: &mut Component) {
    let Component { start, stop: Some(stop), step } = *component else { return };
    let stop = if stop > start && step > 0 { stop - (stop - start) % step } else { stop };
    component.stop = Some(stop);
    // A range that holds its start only.
    if stop == start {
        *component = Component::only(start);
    }
}

fn is_valid(chain: &Chain, (from, to): (i64, i64), from_end: bool) -> bool {
    // From the end, days end at the 28th; systemd takes three days off again for each further component.
    let ends = (1..).map(|number| if from_end { to - 3 * number } else { to });
    chain.iter().zip(ends).all(|(component, to)| {
        let Component { start, stop, step } = *component;
        let room = match stop {
            Some(stop) => (from..=to).contains(&stop) && start + step <= stop,
            None if from_end => start - step >= from,
            None => start + step <= to,
        };
        (from..=to).contains(&start) && step <= to - from && room
    })
}

/// The day of the week that a text begins with, and the length of its name.
fn weekday_at(text: &str) -> Option<(usize, usize)> {
    const NAMES: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let begins = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let (number, name) = NAMES.iter().enumerate().find_map(|(number, name)| {
        let short = WEEKDAYS.get(number).copied().unwrap_or_default();
        [*name, short].into_iter().find(|name| begins(name)).map(|name| (number, name))
    })?;
    Some((number, name.len()))
}

/// Reads `-` or `~`; `true` for the latter.
fn date_separator(cursor: &mut Cursor<'_>) -> Option<bool> {
    if cursor.eat("~") {
        return Some(true);
    }
    cursor.eat("-").then_some(false)
}

/// Whether a field has fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Whole,
    Micro,
}

impl Scale {
    fn one(self) -> i64 {
        match self {
            Scale::Whole => 1,
            Scale::Micro => SECOND_US,
        }
    }
}

fn read_chain(cursor: &mut Cursor<'_>, scale: Scale) -> Option<Chain> {
    if cursor.eat("*") {
        return Some(match scale {
            Scale::Whole => Vec::new(),
            Scale::Micro => vec![Component { start: 0, stop: None, step: SECOND_US }],
        });
    }
    let mut chain = Vec::new();
    loop {
        if chain.len() >= COMPONENTS_MAX {
            return None;
        }
        chain.push(read_component(cursor, scale)?);
        match cursor.peek() {
            Some(',') => cursor.skip(1),
            None | Some(' ' | '-' | '~' | ':') => return Some(chain),
            Some(_) => return None,
        }
    }
}

fn read_component(cursor: &mut Cursor<'_>, scale: Scale) -> Option<Component> {
    let start = read_number(cursor, scale)?;
    let mut stop = None;
    let mut step = 0;
    if cursor.eat("..") {
        stop = Some(read_number(cursor, scale)?);
        step = scale.one();
    }
    if cursor.eat("/") {
        step = read_number(cursor, scale).filter(|step| *step > 0)?;
    } else {
        // The step of a range is one second: a shorter range would hold nothing.
        let too_short = stop.is_some_and(|stop| start + step > stop);
        if start + step > NUMBER_MAX || (scale == Scale::Micro && too_short) {
            return None;
        }
    }
    Some(Component { start, stop, step })
}

fn read_number(cursor: &mut Cursor<'_>, scale: Scale) -> Option<i64> {
    let mut value = cursor.number()?;
    if scale == Scale::Micro {
        value = value.checked_mul(SECOND_US)?;
        // One dot is a fraction, two are a range.
        if cursor.rest.starts_with('.') && !cursor.rest.starts_with("..") {
            cursor.skip(1);
            value = value.checked_add(cursor.fraction()?)?;
        }
    }
    (value <= NUMBER_MAX).then_some(value)
}

/// What is left to read.
struct Cursor<'a> {
    rest: &'a str,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(' ');
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            self.skip(text.len());
        }
        found
    }

    fn digits(&mut self) -> &str {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }

    fn number(&mut self) -> Option<i64> {
        self.digits().parse().ok()
    }

    /// The digits after a point as microseconds; the seventh digit rounds.
    fn fraction(&mut self) -> Option<i64> {
        let digits = self.digits();
        let kept = digits.get(..6).unwrap_or(digits);
        let value: i64 = format!("{kept:0<6}").parse().ok().filter(|_| !kept.is_empty())?;
        let rounds = digits.as_bytes().get(6).is_some_and(|digit| *digit >= b'5');
        Some(value + i64::from(rounds))
    }
}

impl fmt::Display for CalendarSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(days) = self.weekdays {
            write!(f, "{} ", weekday_list(days))?;
        }
        write_chain(f, &self.year, 4, Scale::Whole)?;
        f.write_str("-")?;
        write_chain(f, &self.month, 2, Scale::Whole)?;
        f.write_str(if self.from_end { "~" } else { "-" })?;
        write_chain(f, &self.day, 2, Scale::Whole)?;
        f.write_str(" ")?;
        write_chain(f, &self.hour, 2, Scale::Whole)?;
        f.write_str(":")?;
        write_chain(f, &self.minute, 2, Scale::Whole)?;
        f.write_str(":")?;
        write_chain(f, &self.second, 2, Scale::Micro)?;
        match &self.place {
            Place::Local => Ok(()),
            Place::Utc => f.write_str(" UTC"),
            Place::Pinned { name, .. } | Place::Named(name) => write!(f, " {name}"),
        }
    }
}

/// `Mon..Thu,Sat,Sun`: three days in a row are a range, two are not.
fn weekday_list(days: u8) -> String {
    let set: Vec<usize> = (0..WEEKDAYS.len()).filter(|day| days >> day & 1 == 1).collect();
    let name = |day: usize| WEEKDAYS.get(day).copied().unwrap_or_default();
    let runs = set.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] if run.len() > 2 => format!("{}..{}", name(*first), name(*last)),
        _ => run.iter().map(|day| name(*day)).collect::<Vec<_>>().join(","),
    });
    runs.collect::<Vec<_>>().join(",")
}

fn write_chain(f: &mut fmt::Formatter<'_>, chain: &Chain, width: usize, scale: Scale) -> fmt::Result {
    let one = scale.one();
    let every = |c: &Component| scale == Scale::Micro && *c == Component { start: 0, stop: None, step: SECOND_US };
    if chain.is_empty() || chain.iter().any(every) {
        return f.write_str("*");
    }
    for (number, component) in chain.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(f, "{comma}{:0width$}{}", component.start / one, Fraction(component.start % one))?;
        if let Some(stop) = component.stop {
            write!(f, "..{:0width$}{}", stop / one, Fraction(stop % one))?;
        }
        if component.step > 0 && !(component.stop.is_some() && component.step == one) {
            write!(f, "/{}{}", component.step / one, Fraction(component.step % one))?;
        }
    }
    Ok(())
}

struct Fraction(i64);

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 0 { write!(f, ".{:06}", self.0) } else { Ok(()) }
    }
}
