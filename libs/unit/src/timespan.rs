//! Time spans as systemd reads and prints them: `1min 30s`, `2.5h`, `infinity`. Pure.

use crate::value::{Parsed, ValueError, wrong};

/// No limit.
pub const INFINITE_US: u64 = u64::MAX;
/// Microseconds of a second.
pub const SECOND_US: u64 = 1_000_000;
/// Microseconds of a minute.
pub const MINUTE_US: u64 = 60 * SECOND_US;
/// Microseconds of an hour.
pub const HOUR_US: u64 = 60 * MINUTE_US;
/// Microseconds of a day.
pub const DAY_US: u64 = 24 * HOUR_US;
/// Microseconds of a week.
pub const WEEK_US: u64 = 7 * DAY_US;
/// Microseconds of a month of 30.44 days.
pub const MONTH_US: u64 = 2_629_800 * SECOND_US;
/// Microseconds of a year of 365.25 days.
pub const YEAR_US: u64 = 31_557_600 * SECOND_US;

/// Names of units with their nanoseconds. The longest name that fits counts, so longer ones stand first.
const UNITS: [(&str, u64); 32] = [
    ("seconds", SECOND_US * 1000),
    ("second", SECOND_US * 1000),
    ("sec", SECOND_US * 1000),
    ("s", SECOND_US * 1000),
    ("minutes", MINUTE_US * 1000),
    ("minute", MINUTE_US * 1000),
    ("min", MINUTE_US * 1000),
    ("months", MONTH_US * 1000),
    ("month", MONTH_US * 1000),
    ("M", MONTH_US * 1000),
    ("msec", 1_000_000),
    ("ms", 1_000_000),
    ("m", MINUTE_US * 1000),
    ("hours", HOUR_US * 1000),
    ("hour", HOUR_US * 1000),
    ("hr", HOUR_US * 1000),
    ("h", HOUR_US * 1000),
    ("days", DAY_US * 1000),
    ("day", DAY_US * 1000),
    ("d", DAY_US * 1000),
    ("weeks", WEEK_US * 1000),
    ("week", WEEK_US * 1000),
    ("w", WEEK_US * 1000),
    ("years", YEAR_US * 1000),
    ("year", YEAR_US * 1000),
    ("y", YEAR_US * 1000),
    ("usec", 1000),
    ("us", 1000),
    ("μs", 1000),
    ("µs", 1000),
    ("nsec", 1),
    ("ns", 1),
];

const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// A span in microseconds; a number without a unit is in seconds.
pub fn parse(text: &str) -> Parsed<u64> {
    parse_in(text, SECOND_US)
}

/// A span in microseconds; a number without a unit counts so many of them.
pub fn parse_in(text: &str, default_us: u64) -> Parsed<u64> {
    let unit = |name: &str| UNITS.iter().find(|(unit, ns)| name.starts_with(unit) && *ns >= 1000);
    sum(text, default_us, |name| unit(name).map(|(unit, ns)| (unit.len(), ns / 1000)))
}

/// A span in nanoseconds (`TimerSlackNSec=`); a number without a unit is in nanoseconds.
pub fn parse_nanoseconds(text: &str) -> Parsed<u64> {
    let unit = |name: &str| UNITS.iter().find(|(unit, _)| name.starts_with(unit));
    sum(text, 1, |name| unit(name).map(|(unit, ns)| (unit.len(), *ns)))
}

fn fault(text: &str) -> ValueError {
    wrong(text, "a time span such as 90, 1min 30s or infinity")
}

/// Adds up numbers and units. `unit` finds the length and the size of the unit that a text begins with.
fn sum(text: &str, default: u64, unit: impl Fn(&str) -> Option<(usize, u64)>) -> Parsed<u64> {
    let mut rest = text.trim_start_matches(BLANKS);
    if let Some(after) = rest.strip_prefix("infinity") {
        return if after.trim_start_matches(BLANKS).is_empty() { Ok(INFINITE_US) } else { Err(fault(text)) };
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (digits, after) = split_digits(rest.strip_prefix('+').unwrap_or(rest));
        let (fraction, after_number) = match after.strip_prefix('.') {
            Some(tail) => split_digits(tail),
            None => ("", after),
        };
        let has_point = after.starts_with('.');
        // A sign belongs to digits, a point as well.
        if (digits.is_empty() && (!has_point || rest.starts_with('+'))) || (has_point && fraction.is_empty()) {
            return Err(fault(text));
        }
        let name = after_number.trim_start_matches(BLANKS);
        let (length, scale) = unit(name).unwrap_or((0, default));
        if length == 0 && name.len() == after_number.len() && !name.is_empty() {
            return Err(fault(text));
        }
        let whole = if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() };
        // As many units as would just fit are too many.
        let fits = |whole: &u64| *whole <= i64::MAX as u64 && *whole < INFINITE_US / scale.max(1);
        let whole = whole.filter(fits).and_then(|whole| whole.checked_mul(scale));
        total = whole
            .and_then(|whole| total.checked_add(whole))
            .and_then(|total| total.checked_add(part(fraction, scale)))
            .filter(|total| *total < INFINITE_US)
            .ok_or_else(|| fault(text))?;
        rest = name.get(length..).unwrap_or_default().trim_start_matches(BLANKS);
        if rest.is_empty() {
            return Ok(total);
        }
    }
    Err(fault(text))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The fraction of a unit; digits below the smallest part are dropped.
fn part(digits: &str, scale: u64) -> u64 {
    let mut place = scale;
    let mut sum = 0_u64;
    for digit in digits.bytes() {
        place /= 10;
        sum = sum.saturating_add(place.saturating_mul(u64::from(digit - b'0')));
    }
    sum
}

/// A span as systemd prints it; parts below `accuracy_us` are dropped.
pub fn text(span_us: u64, accuracy_us: u64) -> String {
    const TABLE: [(&str, u64); 9] = [
        ("y", YEAR_US),
        ("month", MONTH_US),
        ("w", WEEK_US),
        ("d", DAY_US),
        ("h", HOUR_US),
        ("min", MINUTE_US),
        ("s", SECOND_US),
        ("ms", 1000),
        ("us", 1),
    ];
    match span_us {
        INFINITE_US => return "infinity".into(),
        0 => return "0".into(),
        _ => {}
    }
    let mut left = span_us;
    let mut parts: Vec<String> = Vec::new();
    for (name, scale) in TABLE {
        if left == 0 || (left < accuracy_us && !parts.is_empty()) {
            break;
        }
        if left < scale {
            continue;
        }
        let (whole, rest) = (left / scale, left % scale);
        // Below a minute the rest is a fraction of this unit, as far as the accuracy goes.
        let width = tens(scale).saturating_sub(tens(accuracy_us));
        if left < MINUTE_US && rest > 0 && width > 0 {
            let fraction = (0..tens(accuracy_us)).fold(rest, |rest, _| rest / 10);
            parts.push(format!("{whole}.{fraction:0width$}{name}"));
            left = 0;
        } else {
            parts.push(format!("{whole}{name}"));
            left = rest;
        }
    }
    parts.join(" ")
}

/// How often a number can be divided by ten before it is no more than one.
fn tens(number: u64) -> usize {
    std::iter::successors(Some(number), |number| Some(number / 10)).take_while(|number| *number > 1).count()
}

/// `5s ago`, `2 days left`: how far away a moment is.
pub fn distance(then_us: u64, now_us: u64) -> String {
    let suffix = if now_us > then_us { " ago" } else { " left" };
    let distance = now_us.abs_diff(then_us);
    if distance == 0 { "now".into() } else { format!("{}{suffix}", distance_text(distance)) }
}

/// How long until a moment, without a word after it (`list-timers`).
pub fn until(then_us: u64, now_us: u64) -> String {
    match then_us.checked_sub(now_us) {
        None => distance(then_us, now_us),
        Some(0) => "now".into(),
        Some(left) => distance_text(left),
    }
}

fn distance_text(d: u64) -> String {
    let two = |big: u64, big_word: &str, small: u64, small_word: &str| {
        let plural = |count: u64, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        format!("{} {}", plural(d / big, big_word), plural(d % big / small, small_word))
    };
    match d {
        YEAR_US.. => two(YEAR_US, "year", MONTH_US, "month"),
        MONTH_US.. => two(MONTH_US, "month", DAY_US, "day"),
        WEEK_US.. => two(WEEK_US, "week", DAY_US, "day"),
        _ if d >= 2 * DAY_US => format!("{} days", d / DAY_US),
        _ if d >= 25 * HOUR_US => format!("1 day {}h", (d - DAY_US) / HOUR_US),
        _ if d >= 6 * HOUR_US => format!("{}h", d / HOUR_US),
        HOUR_US.. => format!("{}h {}min", d / HOUR_US, d % HOUR_US / MINUTE_US),
        _ if d >= 5 * MINUTE_US => format!("{}min", d / MINUTE_US),
        MINUTE_US.. => format!("{}min {}s", d / MINUTE_US, d % MINUTE_US / SECOND_US),
        SECOND_US.. => format!("{}s", d / SECOND_US),
        1000.. => format!("{}ms", d / 1000),
        _ => format!("{d}us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_all_their_units() {
        for (text, micros) in [
            ("90", 90_000_000),
            ("1min30", 90_000_000),
            ("+5s", 5_000_000),
            ("2.5h", 9_000_000_000),
            ("1y 1M 1w 1d", YEAR_US + MONTH_US + WEEK_US + DAY_US),
            ("1month1ms", MONTH_US + 1000),
            ("3µs 4μs", 7),
            ("0.0000001s", 0),
            (" 1 s\t2 ", 3_000_000),
        ] {
            assert_eq!(parse(text), Ok(micros), "{text}");
        }
        assert_eq!(parse_in("5", 1000), Ok(5000));
        assert_eq!(parse_nanoseconds("1us 5"), Ok(1005));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in
            ["", " . ", "5.", "-1", "x", "1 parsec", "12.34.56", "3. 1", "+.5", "3.+1s", "infinity 1", "1\u{a0}s"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse("18446744073709s").is_err() && parse("18446744073708s").is_ok());
        assert!(parse("584543y").is_err() && parse("9223372036854775808us").is_err());
        assert!(parse("18446744073709551614us").is_err());
    }

    #[test]
    fn spans_are_printed_to_their_accuracy() {
        for (span, accuracy, expected) in [
            (INFINITE_US, 1, "infinity"),
            (0, 1, "0"),
            (90_061_000_000, 1, "1d 1h 1min 1s"),
            (1_500, 1, "1.500ms"),
            (1_234_567, 1000, "1.234s"),
            (1_234_567, 1_000_000, "1s"),
            (62_345_000, 1000, "1min 2.345s"),
            (3 * MONTH_US, 1, "3month"),
            (999, 1000, "999us"),
            (60_000_001, 1000, "1min"),
        ] {
            assert_eq!(text(span, accuracy), expected);
        }
    }

    #[test]
    fn distances_are_worded_as_by_systemd() {
        for (seconds, expected) in [
            (0, "now"),
            (5, "5s ago"),
            (65, "1min 5s ago"),
            (400, "6min ago"),
            (3700, "1h 1min ago"),
            (7 * 3600 + 60, "7h ago"),
            (25 * 3600, "1 day 1h ago"),
            (3 * 86400, "3 days ago"),
            (7 * 86400, "1 week 0 days ago"),
            (40 * 86400, "1 month 9 days ago"),
            (400 * 86400, "1 year 1 month ago"),
        ] {
            assert_eq!(distance(1, 1 + seconds * SECOND_US), expected);
        }
        assert_eq!(distance(1 + 5 * SECOND_US, 1), "5s left");
        assert_eq!(until(1 + 5 * SECOND_US, 1), "5s");
    }
}
