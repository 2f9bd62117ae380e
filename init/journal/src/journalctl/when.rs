//! Times as people write them after `--since` and `--until`. Pure; UTC.

use anyhow::{Result, anyhow};
use ferrite_control::calendar::CivilTime;

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;

/// The moment a text means, in microseconds since 1970.
pub fn parse(text: &str, now_us: u64) -> Result<u64> {
    let text = text.trim();
    let midnight = now_us - now_us % DAY_US;
    let found = match text {
        "now" => Some(now_us),
        "today" => Some(midnight),
        "yesterday" => Some(midnight.saturating_sub(DAY_US)),
        "tomorrow" => Some(midnight + DAY_US),
        _ => relative(text, now_us).or_else(|| epoch(text)).or_else(|| absolute(text, now_us)),
    };
    found.ok_or_else(|| anyhow!("'{text}' is no time: write '2026-11-25 15:04:05', '15:04', 'today' or '1h ago'"))
}

fn relative(text: &str, now_us: u64) -> Option<u64> {
    let span = |words: &str| {
        let finite = ferrite_unit::value::span(words.trim()).ok()?.finite()?;
        u64::try_from(finite.as_micros()).ok()
    };
    if let Some(words) = text.strip_suffix("ago").or_else(|| text.strip_prefix('-')) {
        return Some(now_us.saturating_sub(span(words)?));
    }
    Some(now_us.saturating_add(span(text.strip_prefix('+')?)?))
}

fn epoch(text: &str) -> Option<u64> {
    text.strip_prefix('@')?.parse::<u64>().ok()?.checked_mul(SECOND_US)
}

fn absolute(text: &str, now_us: u64) -> Option<u64> {
    let text = text.strip_suffix("UTC").or_else(|| text.strip_suffix('Z')).unwrap_or(text).trim();
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (Some(date), Some(time)),
        None if text.contains(':') => (None, Some(text)),
        None => (Some(text), None),
    };
    let mut moment = CivilTime { hour: 0, minute: 0, second: 0, microsecond: 0, ..CivilTime::from_us(now_us) };
    if let Some(date) = date {
        let mut parts = date.split('-');
        moment.year = parts.next()?.parse().ok()?;
        moment.month = parts.next()?.parse().ok()?;
        moment.day = parts.next()?.parse().ok()?;
        if parts.next().is_some() || date.len() > 10 {
            return None;
        }
    }
    if let Some(time) = time {
        let mut parts = time.split(':');
        moment.hour = parts.next()?.parse().ok()?;
        moment.minute = parts.next()?.parse().ok()?;
        moment.second = parts.next().map_or(Some(0), |second| second.parse().ok())?;
        if parts.next().is_some() {
            return None;
        }
    }
    moment.to_us()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_control::calendar::weekday_stamp;

    const NOW: u64 = 1_795_619_045 * SECOND_US;

    #[test]
    fn all_forms_lead_to_a_moment() {
        for (text, expected) in [
            ("now", "Wed 2026-11-25 15:04:05 UTC"),
            ("today", "Wed 2026-11-25 00:00:00 UTC"),
            ("yesterday", "Tue 2026-11-24 00:00:00 UTC"),
            ("-1h", "Wed 2026-11-25 14:04:05 UTC"),
            ("1h 4min ago", "Wed 2026-11-25 14:00:05 UTC"),
            ("+5s", "Wed 2026-11-25 15:04:10 UTC"),
            ("@0", "Thu 1970-01-01 00:00:00 UTC"),
            ("2026-01-02", "Fri 2026-01-02 00:00:00 UTC"),
            ("2026-01-02 03:04", "Fri 2026-01-02 03:04:00 UTC"),
            ("2026-01-02T03:04:05Z", "Fri 2026-01-02 03:04:05 UTC"),
            ("2026-01-02 03:04:05 UTC", "Fri 2026-01-02 03:04:05 UTC"),
            ("15:00", "Wed 2026-11-25 15:00:00 UTC"),
        ] {
            assert_eq!(weekday_stamp(parse(text, NOW).expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "soon", "2026-02-30", "2026-01", "25:00", "1:2:3:4", "@x", "2026-01-02-03", "a ago"] {
            assert!(parse(text, NOW).expect_err(text).to_string().contains("is no time"), "{text}");
        }
    }
}
