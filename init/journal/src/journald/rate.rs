//! How many messages a unit may send: a burst each half minute, the rest is dropped and counted. Pure.

use std::collections::BTreeMap;

/// Messages of one unit in one window.
pub const BURST: u32 = 10_000;
const WINDOW_US: u64 = 30_000_000;
/// Units that are counted; more share one count.
const UNITS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Window {
    start_us: u64,
    count: u32,
    suppressed: u64,
}

/// The counts of all units.
#[derive(Debug)]
pub struct RateLimit {
    burst: u32,
    windows: BTreeMap<String, Window>,
}

/// What to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Keep,
    /// Keep it, and say first how many were dropped.
    KeepAfter(u64),
    /// Drop it.
    Drop,
}

impl RateLimit {
    /// Nothing counted yet.
    pub fn new(burst: u32) -> Self {
        Self { burst, windows: BTreeMap::new() }
    }

    /// Counts a message of a unit at a monotonic time.
    pub fn count(&mut self, unit: &str, now_us: u64) -> Verdict {
        if self.windows.len() >= UNITS_MAX && !self.windows.contains_key(unit) {
            self.windows.retain(|_, window| window.suppressed > 0 || now_us < window.start_us + WINDOW_US);
        }
        let key = if self.windows.len() >= UNITS_MAX && !self.windows.contains_key(unit) { "" } else { unit };
        let window = self.windows.entry(key.to_owned()).or_default();
        if window.count == 0 || now_us >= window.start_us + WINDOW_US {
            let suppressed = window.suppressed;
            *window = Window { start_us: now_us, count: 1, suppressed: 0 };
            return if suppressed > 0 { Verdict::KeepAfter(suppressed) } else { Verdict::Keep };
        }
        if window.count >= self.burst {
            window.suppressed += 1;
            return Verdict::Drop;
        }
        window.count += 1;
        Verdict::Keep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_told_of_later() {
        let mut limit = RateLimit::new(3);
        let verdicts: Vec<Verdict> = (0..5).map(|second| limit.count("a.service", second)).collect();
        assert_eq!(verdicts, [Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Drop, Verdict::Drop]);
        assert_eq!(limit.count("b.service", 5), Verdict::Keep);
        assert_eq!(limit.count("a.service", WINDOW_US), Verdict::KeepAfter(2));
        assert_eq!(limit.count("a.service", WINDOW_US), Verdict::Keep);
    }

    #[test]
    fn the_number_of_counted_units_is_bounded() {
        let mut limit = RateLimit::new(3);
        for unit in 0..3 * UNITS_MAX {
            limit.count(&unit.to_string(), 1);
        }
        assert!(limit.windows.len() <= UNITS_MAX + 1);
    }
}
