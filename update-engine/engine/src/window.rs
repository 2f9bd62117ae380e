//! The reboot window: a weekly or daily span of local time, in locksmith's words. Pure.

use ferrite_unit::civil::{Civil, WEEKDAYS};
use ferrite_unit::timespan;
use ferrite_unit::zone::Zone;

const DAY_SECONDS: i64 = 86_400;

/// `Thu 23:00` or `23:00`, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// 0 for Monday; `None` is every day.
    weekday: Option<usize>,
    /// Seconds after midnight.
    start: i64,
    length: i64,
}

/// The window is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Only a start, or only a length.
    #[error("the reboot window is half given: {0} is missing")]
    Half(&'static str),
    /// No such time.
    #[error("REBOOT_WINDOW_START '{0}' is not like 'Thu 23:00' or '23:00'")]
    Start(String),
    /// No such length.
    #[error("REBOOT_WINDOW_LENGTH '{0}' is not like '1h30m', at most the time to the next window")]
    Length(String),
}

impl Window {
    /// Reads the two settings.
    pub fn parse(start: &str, text: &str) -> Result<Window, WindowError> {
        let wrong = || WindowError::Start(start.to_string());
        let (day, time) = match start.split_once(' ') {
            Some((day, time)) => (Some(day), time.trim()),
            None => (None, start),
        };
        let weekday = day.map(|day| weekday(day).ok_or_else(wrong)).transpose()?;
        let (hour, minute) = time.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str, limit: i64| {
            let short = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>().ok().filter(|number| short && *number < limit).ok_or_else(wrong)
        };
        let seconds = number(hour, 24)? * 3600 + number(minute, 60)? * 60;
        let period = if weekday.is_some() { 7 * DAY_SECONDS } else { DAY_SECONDS };
        let span = timespan::parse(text).ok().and_then(|us| i64::try_from(us / 1_000_000).ok());
        let length = span.filter(|span| (1..=period).contains(span));
        let length = length.ok_or_else(|| WindowError::Length(text.to_string()))?;
        Ok(Window { weekday, start: seconds, length })
    }

    /// Seconds from `now` until the machine may restart; 0 inside of the window.
    pub fn wait(&self, zone: &Zone, now: u64) -> u64 {
        let now = i64::try_from(now).unwrap_or(i64::MAX / 2);
        let today = zone.civil(now).midnight();
        // A window of a week ago may still be open; one begins within the next eight days.
        let mut waits = (-8i64..=8).filter_map(|day| {
            let midnight = Civil { day: today.day + day, ..today };
            if self.weekday.is_some_and(|weekday| weekday != midnight.weekday()) {
                return None;
            }
            let begin =
                zone.moment(Civil { second: self.start, ..midnight }, None, &mut zone.offset_at(now).seconds)?;
            (begin.saturating_add(self.length) > now).then_some((begin - now).max(0))
        });
        let first = waits.next().unwrap_or(DAY_SECONDS);
        u64::try_from(waits.fold(first, i64::min)).unwrap_or(0)
    }
}

fn weekday(text: &str) -> Option<usize> {
    let short = text.get(..3)?;
    let found = WEEKDAYS.iter().position(|name| name.eq_ignore_ascii_case(short))?;
    let long = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let known = text.len() == 3 || long.get(found).is_some_and(|name| name.eq_ignore_ascii_case(text));
    known.then_some(found)
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let day = self.weekday.and_then(|day| WEEKDAYS.get(day)).map(|day| format!("{day} ")).unwrap_or_default();
        let (hours, minutes) = (self.start / 3600, self.start / 60 % 60);
        let length = timespan::text(u64::try_from(self.length).unwrap_or(0) * 1_000_000, 1_000_000);
        write!(f, "{day}{hours:02}:{minutes:02} for {length}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Thursday, 1 January 2026, 00:00 in UTC.
    const THURSDAY: u64 = 1_767_225_600;

    fn wait(start: &str, length: &str, at: u64) -> u64 {
        Window::parse(start, length).expect("it is one").wait(&Zone::utc(), THURSDAY + at)
    }

    #[test]
    fn inside_there_is_no_wait_and_outside_it_is_until_the_next_start() {
        const H: u64 = 3600;
        for (start, length, at, wanted) in [
            ("14:00", "1h", 14 * H, 0),
            ("14:00", "1h", 15 * H - 1, 0),
            ("14:00", "1h", 15 * H, 23 * H),
            ("14:00", "1h", 0, 14 * H),
            ("23:30", "1h", 15 * 60, 0),
            ("Thu 23:00", "1h30m", 0, 23 * H),
            ("Thu 23:00", "1h30m", 24 * H, 0),
            ("Thu 23:00", "1h30m", 25 * H, 7 * 24 * H - 2 * H),
            ("thursday 00:00", "5min", 1, 0),
            ("Wed 00:00", "7d", 0, 0),
            ("00:00", "24h", 12 * H, 0),
        ] {
            assert_eq!(wait(start, length, at), wanted, "{start} {length} at {at}");
        }
    }

    #[test]
    fn the_window_is_one_of_local_time() {
        let zone = Zone::from_rule("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let window = Window::parse("02:30", "1h").expect("it is one");
        assert_eq!(window.wait(&zone, THURSDAY), 5400);
        // 29 March 2026: 02:30 does not exist, the window begins all the same.
        let spring = 1_774_738_800;
        assert!(window.wait(&zone, spring) <= 4 * 3600, "{}", window.wait(&zone, spring));
    }

    #[test]
    fn what_is_no_window_is_refused() {
        for start in ["", "24:00", "12:60", "12", "Foo 12:00", "Thu", "Thurs 12:00", "+1:00", "123:00"] {
            assert!(matches!(Window::parse(start, "1h"), Err(WindowError::Start(_))), "{start}");
        }
        for length in ["", "0", "25h", "x", "-1h"] {
            assert!(matches!(Window::parse("12:00", length), Err(WindowError::Length(_))), "{length}");
        }
        let text = |start, length| Window::parse(start, length).expect("it is one").to_string();
        assert_eq!(text("Thu 23:00", "1h30m"), "Thu 23:00 for 1h 30min");
    }
}
