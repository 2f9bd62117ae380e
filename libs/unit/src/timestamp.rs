//! Moments as people write and read them: `now`, `-5min`, `yesterday`, `@epoch`, `2026-11-25 15:04:05 CET`. Pure.
//!
//! The surprising fact: dates are read as C's `strptime` reads them, so February 30th is the first or second of March.

use crate::civil::{Civil, MONTHS, WEEKDAYS};
use crate::timespan::{self, DAY_US, SECOND_US};
use crate::value::{Parsed, wrong};
use crate::zone::{Zone, Zones};

/// The last moment that has a date: the end of the year 9999, less a day for the zones.
pub const LATEST_US: u64 = 253_402_214_399 * SECOND_US;

/// How much a printed moment tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// `Wed 2026-11-25 15:04:05 CET`
    #[default]
    Pretty,
    /// The same with microseconds.
    Micro,
    /// In universal time.
    Utc,
    /// In universal time with microseconds.
    MicroUtc,
    /// `@1795619045`
    Unix,
    /// `Wed 2026-11-25`
    Date,
}

impl Style {
    /// The style of a `--timestamp=` argument.
    pub fn parse(text: &str) -> Option<Style> {
        match text {
            "pretty" => Some(Style::Pretty),
            "us" | "us+pretty" | "µs" => Some(Style::Micro),
            "utc" => Some(Style::Utc),
            "us+utc" | "µs+utc" => Some(Style::MicroUtc),
            "unix" => Some(Style::Unix),
            _ => None,
        }
    }

    /// Prints a moment; `None` when it is not set.
    pub fn print(self, us: u64, zone: &Zone) -> Option<String> {
        if us == 0 || us == timespan::INFINITE_US {
            return None;
        }
        let utc = Zone::utc();
        let (zone, micro) = match self {
            Style::Unix => return Some(format!("@{}", us / SECOND_US)),
            Style::Pretty => (zone, false),
            Style::Micro => (zone, true),
            Style::Utc | Style::Date => (&utc, false),
            Style::MicroUtc => (&utc, true),
        };
        let seconds = i64::try_from(us / SECOND_US).unwrap_or(i64::MAX);
        let (date, time) = if us > LATEST_US {
            ("--- XXXX-XX-XX".to_owned(), "XX:XX:XX".to_owned())
        } else {
            let civil = zone.civil(seconds);
            let weekday = WEEKDAYS.get(civil.weekday()).copied().unwrap_or("---");
            let Civil { year, month, day, hour, minute, second } = civil;
            (format!("{weekday} {year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
        };
        if self == Style::Date {
            return Some(date);
        }
        let fraction = match (micro, us > LATEST_US) {
            (false, _) => String::new(),
            (true, true) => ".XXXXXX".to_owned(),
            (true, false) => format!(".{:06}", us % SECOND_US),
        };
        Some(format!("{date} {time}{fraction} {}", zone.abbreviation_at(seconds)))
    }
}

/// `Wed 2026-11-25 15:04:05 CET`, as in `systemctl status`.
pub fn weekday_stamp(us: u64, zone: &Zone) -> String {
    Style::Pretty.print(us, zone).unwrap_or_else(|| "n/a".into())
}

fn civil(us: u64, zone: &Zone) -> Civil {
    zone.civil(i64::try_from(us.min(LATEST_US) / SECOND_US).unwrap_or(i64::MAX))
}

/// `Nov 25 15:04:05`, as in `journalctl -o short`.
pub fn short_stamp(us: u64, zone: &Zone) -> String {
    let Civil { month, day, hour, minute, second, .. } = civil(us, zone);
    let name = usize::try_from(month - 1).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or("?");
    format!("{name} {day:02} {hour:02}:{minute:02}:{second:02}")
}

/// `Nov 25 15:04:05.123456`, as in `journalctl -o short-precise`.
pub fn short_precise_stamp(us: u64, zone: &Zone) -> String {
    format!("{}.{:06}", short_stamp(us, zone), us % SECOND_US)
}

/// `2026-11-25T15:04:05+01:00`, as in `journalctl -o short-iso`.
pub fn iso_stamp(us: u64, zone: &Zone) -> String {
    let Civil { year, month, day, hour, minute, second } = civil(us, zone);
    let offset = zone.offset_at(i64::try_from(us / SECOND_US).unwrap_or(i64::MAX)).seconds;
    let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
    let (hours, minutes) = (offset / 3600, offset / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{hours:02}:{minutes:02}")
}

/// The moment a text means, in microseconds since 1970.
pub fn parse(text: &str, now_us: u64, zones: &Zones) -> Parsed<u64> {
    let fault = || wrong(text, "a time such as now, -5min, yesterday, @1795619045 or 2026-11-25 15:04:05");
    let found = match split_zone(text, zones) {
        None => {
            relative(text, now_us).or_else(|| Absolute { zone: zones.local(), dst: None, ahead: 0, now_us }.parse(text))
        }
        Some((rest, zone, dst, ahead)) => Absolute { zone: &zone, dst, ahead, now_us }.parse(rest),
    };
    found.filter(|us| *us <= LATEST_US).ok_or_else(fault)
}

/// The text before a zone, the zone, daylight saving if it tells, and the seconds ahead of it.
type Split<'a> = (&'a str, Zone, Option<bool>, i64);

fn split_zone<'a>(text: &'a str, zones: &Zones) -> Option<Split<'a>> {
    if let Some(rest) = text.strip_suffix('Z')
        && rest.len() > 1
        && !rest.ends_with(' ')
    {
        return Some((rest, Zone::utc(), None, 0));
    }
    // An offset that is welded to the time: +01:00.
    if let Some((rest, last)) = text.len().checked_sub(6).and_then(|at| text.split_at_checked(at))
        && !rest.is_empty()
        && !rest.ends_with(' ')
        && last.starts_with(['+', '-'])
        && let Some(ahead) = offset_of(last)
    {
        return Some((rest, Zone::utc(), None, ahead));
    }
    let (rest, name) = text.rsplit_once(' ')?;
    if name == "UTC" {
        return Some((rest, Zone::utc(), None, 0));
    }
    if let Some(ahead) = offset_of(name) {
        return Some((rest, Zone::utc(), None, ahead));
    }
    let named = zones.named(name);
    let zone = named.as_ref().unwrap_or(zones.local());
    match zone.names().iter().position(|known| *known == name) {
        Some(number) => Some((rest, zone.clone(), Some(number == 1), 0)),
        None => named.map(|zone| (rest, zone, None, 0)),
    }
}

/// `+01`, `-0330`, `+05:45`, `Z` in seconds.
fn offset_of(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let rest = text.get(1..)?;
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if rest.len() == 4 => rest.split_at_checked(2)?,
        None => (rest, "0"),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if hours.len() != 2 || !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn relative(text: &str, now_us: u64) -> Option<u64> {
    let span = |text: &str| timespan::parse(text).ok();
    if let Some(epoch) = text.strip_prefix('@') {
        return span(epoch);
    }
    if text == "now" {
        return Some(now_us);
    }
    if let Some(words) = text.strip_prefix('+').or_else(|| text.strip_suffix(" left")) {
        return Some(now_us.saturating_add(span(words)?));
    }
    now_us.checked_sub(span(text.strip_prefix('-').or_else(|| text.strip_suffix(" ago"))?)?)
}

/// A date or a time of day by the clocks of a place.
struct Absolute<'a> {
    zone: &'a Zone,
    dst: Option<bool>,
    /// Seconds that the clocks are ahead of the zone's.
    ahead: i64,
    now_us: u64,
}

impl Absolute<'_> {
    fn parse(&self, text: &str) -> Option<u64> {
        let now_s = i64::try_from(self.now_us / SECOND_US).ok()?;
        let today = self.zone.civil(now_s);
        let (civil, micro) = match text {
            "today" => (today.midnight(), 0),
            "yesterday" => (Civil { day: today.day - 1, ..today }.midnight(), 0),
            "tomorrow" => (Civil { day: today.day + 1, ..today }.midnight(), 0),
            _ => date_and_time(text, today)?,
        };
        if self.ahead.unsigned_abs() > DAY_US / SECOND_US {
            return None;
        }
        // As at the start of a program of C's: a time that is there twice is looked for from UTC.
        let mut guess = 0;
        let shifted = self.zone.moment(civil, self.dst, &mut guess)? - self.ahead;
        u64::try_from(shifted).ok()?.checked_mul(SECOND_US)?.checked_add(micro)
    }
}

const BOTH: [&str; 4] = ["%y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%b %d %H:%M:%S"];
const WITHOUT_SECONDS: [&str; 3] = ["%y-%m-%d %H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
const DATES: [&str; 2] = ["%y-%m-%d", "%Y-%m-%d"];

/// Reads a date, a time of day or both; what is not said is today's. Also the microseconds.
fn date_and_time(text: &str, today: Civil) -> Option<(Civil, u64)> {
    let (weekday, text) = split_weekday(text);
    let (civil, micro) = BOTH
        .iter()
        .find_map(|format| with_fraction(text, format, today))
        .or_else(|| WITHOUT_SECONDS.iter().find_map(|format| whole(text, format, Civil { second: 0, ..today })))
        .or_else(|| DATES.iter().find_map(|format| whole(text, format, today.midnight())))
        .or_else(|| with_fraction(text, "%H:%M:%S", today))
        .or_else(|| whole(text, "%H:%M", Civil { second: 0, ..today }))?;
    if weekday.is_some_and(|weekday| civil.weekday() != weekday) {
        return None;
    }
    Some((civil, micro))
}

fn split_weekday(text: &str) -> (Option<usize>, &str) {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let Some((first, rest)) = text.split_once(' ') else { return (None, text) };
    let lower = first.to_ascii_lowercase();
    match NAMES.iter().position(|name| *name == lower || name.get(..3) == Some(lower.as_str())) {
        Some(number) => (Some(number), rest),
        None => (None, text),
    }
}

fn whole(text: &str, format: &str, base: Civil) -> Option<(Civil, u64)> {
    match scan(text, format, base)? {
        (civil, "") => Some((civil, 0)),
        _ => None,
    }
}

fn with_fraction(text: &str, format: &str, base: Civil) -> Option<(Civil, u64)> {
    let (civil, rest) = scan(text, format, base)?;
    if rest.is_empty() {
        return Some((civil, 0));
    }
    let digits = rest.strip_prefix('.').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let kept = digits.get(..6).unwrap_or(digits);
    let value: u64 = format!("{kept:0<6}").parse().ok().filter(|_| !kept.is_empty())?;
    let rounds = digits.as_bytes().get(6).is_some_and(|digit| *digit >= b'5');
    Some((civil, value + u64::from(rounds)))
}

/// Reads fields as `strptime` does; a blank of the format stands for any number of blanks.
fn scan<'a>(text: &'a str, format: &str, base: Civil) -> Option<(Civil, &'a str)> {
    let mut civil = base;
    let mut rest = text;
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' => rest = rest.trim_start(),
            '%' => {
                let field = letters.next()?;
                if field == 'b' {
                    (civil.month, rest) = month(rest)?;
                    continue;
                }
                let (target, low, high, width) = match field {
                    'Y' => (&mut civil.year, 0, 9999, 4),
                    'y' => (&mut civil.year, 0, 99, 2),
                    'm' => (&mut civil.month, 1, 12, 2),
                    'd' => (&mut civil.day, 1, 31, 2),
                    'H' => (&mut civil.hour, 0, 23, 2),
                    'M' => (&mut civil.minute, 0, 59, 2),
                    _ => (&mut civil.second, 0, 61, 2),
                };
                (*target, rest) = number(rest, (low, high), width)?;
                if field == 'y' {
                    *target += if *target >= 69 { 1900 } else { 2000 };
                }
            }
            other => rest = rest.strip_prefix(other)?,
        }
    }
    Some((civil, rest))
}

/// Takes digits as long as one more may still be within bounds.
fn number(text: &str, (low, high): (i64, i64), width: usize) -> Option<(i64, &str)> {
    let text = text.trim_start_matches(' ');
    let mut value = 0;
    let mut length = 0;
    for digit in text.bytes().take_while(u8::is_ascii_digit).take(width) {
        if length > 0 && value * 10 > high {
            break;
        }
        value = value * 10 + i64::from(digit - b'0');
        length += 1;
    }
    (length > 0 && (low..=high).contains(&value)).then(|| (value, text.get(length..).unwrap_or_default()))
}

fn month(text: &str) -> Option<(i64, &str)> {
    const LONG: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let begins = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    (1..).zip(LONG.iter().zip(MONTHS)).find_map(|(number, (long, short))| {
        let name = [*long, short].into_iter().find(|name| begins(name))?;
        Some((number, text.get(name.len()..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_619_045_123_456;

    fn zones() -> Zones {
        Zones::new(Some("CET-1CEST,M3.5.0,M10.5.0/3"), |_| None)
    }

    #[test]
    fn moments_print_in_all_forms() {
        let utc = Zone::utc();
        assert_eq!(weekday_stamp(NOW, &utc), "Wed 2026-11-25 15:04:05 UTC");
        assert_eq!(short_stamp(NOW, &utc), "Nov 25 15:04:05");
        assert_eq!(short_precise_stamp(NOW, &utc), "Nov 25 15:04:05.123456");
        assert_eq!(iso_stamp(NOW, &utc), "2026-11-25T15:04:05+00:00");
        assert_eq!(iso_stamp(NOW, zones().local()), "2026-11-25T16:04:05+01:00");
        assert_eq!(weekday_stamp(0, &utc), "n/a");
        assert_eq!(Style::Micro.print(NOW, zones().local()).as_deref(), Some("Wed 2026-11-25 16:04:05.123456 CET"));
        assert_eq!(Style::Unix.print(NOW, &utc).as_deref(), Some("@1795619045"));
        assert_eq!(Style::Utc.print(u64::MAX - 1, &utc).as_deref(), Some("--- XXXX-XX-XX XX:XX:XX UTC"));
    }

    #[test]
    fn all_forms_lead_to_a_moment() {
        let zones = zones();
        for (text, expected) in [
            ("now", "Wed 2026-11-25 15:04:05.123456 UTC"),
            ("today", "Tue 2026-11-24 23:00:00.000000 UTC"),
            ("today UTC", "Wed 2026-11-25 00:00:00.000000 UTC"),
            ("yesterday", "Mon 2026-11-23 23:00:00.000000 UTC"),
            ("-1h", "Wed 2026-11-25 14:04:05.123456 UTC"),
            ("1h 4min ago", "Wed 2026-11-25 14:00:05.123456 UTC"),
            ("5s left", "Wed 2026-11-25 15:04:10.123456 UTC"),
            ("@1.5", "Thu 1970-01-01 00:00:01.500000 UTC"),
            ("2026-07-02", "Wed 2026-07-01 22:00:00.000000 UTC"),
            ("26-01-02 03:04", "Fri 2026-01-02 02:04:00.000000 UTC"),
            ("2026-01-02T03:04:05.25Z", "Fri 2026-01-02 03:04:05.250000 UTC"),
            ("2026-01-02 03:04:05 CET", "Fri 2026-01-02 02:04:05.000000 UTC"),
            ("2026-01-02 03:04:05+01:00", "Fri 2026-01-02 02:04:05.000000 UTC"),
            ("2026-01-02 03:04:05 -0230", "Fri 2026-01-02 05:34:05.000000 UTC"),
            ("Fri 2026-01-02 03:04:05 UTC", "Fri 2026-01-02 03:04:05.000000 UTC"),
            ("Nov 24 10:00:00", "Tue 2026-11-24 09:00:00.000000 UTC"),
            ("15:00", "Wed 2026-11-25 14:00:00.000000 UTC"),
            ("2026-02-30 UTC", "Mon 2026-03-02 00:00:00.000000 UTC"),
        ] {
            let moment = parse(text, NOW, &zones).expect(text);
            assert_eq!(Style::MicroUtc.print(moment, &Zone::utc()).expect("set"), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "soon",
            "2026-01",
            "25:00",
            "1:2:3:4",
            "@x",
            "2026-01-02-03",
            "a ago",
            "now UTC",
            "Mon 2026-01-02",
            "2026-01-02 JST",
            "99999y ago",
            "2026-01-02 +2500",
        ] {
            assert!(parse(text, NOW, &zones()).is_err(), "{text}");
        }
    }
}
