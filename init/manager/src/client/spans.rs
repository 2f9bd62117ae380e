//! Times and sizes as systemctl prints them. Pure.

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
const MONTH: u64 = 2_629_800 * SECOND;
const YEAR: u64 = 31_557_600 * SECOND;

/// `5s ago`, `3min 2s ago`, `2 days ago`: as systemd words the distance of two moments.
pub fn relative(then_us: u64, now_us: u64) -> String {
    let (distance, suffix) = if now_us >= then_us { (now_us - then_us, "ago") } else { (then_us - now_us, "left") };
    let two = |big: u64, big_word: &str, small: u64, small_word: &str| {
        let (first, second) = (distance / big, distance % big / small);
        let plural = |count: u64, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        match second {
            0 => format!("{} {suffix}", plural(first, big_word)),
            _ => format!("{} {} {suffix}", plural(first, big_word), plural(second, small_word)),
        }
    };
    match distance {
        d if d >= YEAR => two(YEAR, "year", MONTH, "month"),
        d if d >= MONTH => two(MONTH, "month", DAY, "day"),
        d if d >= WEEK => two(WEEK, "week", DAY, "day"),
        d if d >= 2 * DAY => format!("{} days {suffix}", d / DAY),
        d if d >= 25 * HOUR => format!("1 day {}h {suffix}", (d - DAY) / HOUR),
        d if d >= 6 * HOUR => format!("{}h {suffix}", d / HOUR),
        d if d >= HOUR => format!("{}h {}min {suffix}", d / HOUR, d % HOUR / MINUTE),
        d if d >= 5 * MINUTE => format!("{}min {suffix}", d / MINUTE),
        d if d >= MINUTE => format!("{}min {}s {suffix}", d / MINUTE, d % MINUTE / SECOND),
        d if d >= SECOND => format!("{}s {suffix}", d / SECOND),
        d if d >= 1000 => format!("{}ms {suffix}", d / 1000),
        d if d > 0 => format!("{d}us {suffix}"),
        _ => "now".to_owned(),
    }
}

/// A length of time with milliseconds, `1min 2.345s`, `45ms`.
pub fn span(us: u64) -> String {
    match us {
        0 => "0".to_owned(),
        us if us < 1000 => format!("{us}us"),
        us if us < SECOND => format!("{}ms", us / 1000),
        us => {
            let mut parts = Vec::new();
            for (size, word) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "min")] {
                let count = if size == DAY { us / size } else { us % next_bigger(size) / size };
                if count > 0 {
                    parts.push(format!("{count}{word}"));
                }
            }
            let millis = us % MINUTE / 1000;
            match (millis / 1000, millis % 1000) {
                (0, 0) => {}
                (seconds, 0) => parts.push(format!("{seconds}s")),
                (seconds, rest) => parts.push(format!("{seconds}.{rest:03}s")),
            }
            parts.join(" ")
        }
    }
}

fn next_bigger(size: u64) -> u64 {
    if size == HOUR { DAY } else { HOUR }
}

/// A number of bytes, `3.2M`.
pub fn bytes(count: u64) -> String {
    for (shift, letter) in [(60, 'E'), (50, 'P'), (40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')] {
        if count >= 1 << shift {
            let whole = count >> shift;
            let tenth = (count - (whole << shift)) / 1024_u64.pow(shift / 10 - 1) * 10 / 1024;
            return if tenth > 0 { format!("{whole}.{tenth}{letter}") } else { format!("{whole}{letter}") };
        }
    }
    format!("{count}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_worded_as_by_systemd() {
        for (seconds, text) in [
            (0, "now"),
            (5, "5s ago"),
            (65, "1min 5s ago"),
            (400, "6min ago"),
            (3700, "1h 1min ago"),
            (7 * 3600 + 60, "7h ago"),
            (25 * 3600, "1 day 1h ago"),
            (3 * 86400, "3 days ago"),
            (8 * 86400, "1 week 1 day ago"),
            (40 * 86400, "1 month 9 days ago"),
            (400 * 86400, "1 year 1 month ago"),
        ] {
            assert_eq!(relative(1, 1 + seconds * SECOND), text);
        }
        assert_eq!(relative(1 + 5 * SECOND, 1), "5s left");
    }

    #[test]
    fn lengths_and_sizes_are_short() {
        assert_eq!(span(45_678), "45ms");
        assert_eq!(span(62_345_000), "1min 2.345s");
        assert_eq!(span(HOUR), "1h");
        assert_eq!(span(DAY + 2 * HOUR + SECOND), "1d 2h 1s");
        assert_eq!(bytes(512), "512B");
        assert_eq!(bytes(3_355_443), "3.1M");
        assert_eq!(bytes(1 << 30), "1G");
        assert_eq!(bytes(u64::MAX), "15.9E");
    }
}
