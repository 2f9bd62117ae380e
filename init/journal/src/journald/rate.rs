//! How many messages a unit may send: a burst each half minute, the rest is dropped and counted. Pure.

use std::collections::BTreeMap;

use super::settings::Wishes;

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

    /// Counts a message of a unit at a monotonic time; the unit may want other limits than usual.
    pub fn count(&mut self, unit: &str, now_us: u64, wishes: &Wishes) -> Verdict {
        let (burst, length_us) = (wishes.burst.unwrap_or(self.burst), wishes.window_us.unwrap_or(WINDOW_US));
        if self.windows.len() >= UNITS_MAX && !self.windows.contains_key(unit) {
            self.windows.retain(|_, window| window.suppressed > 0 || now_us < window.start_us + WINDOW_US);
        }
        let key = if self.windows.len() >= UNITS_MAX && !self.windows.contains_key(unit) { "" } else { unit };
        let window = self.windows.entry(key.to_owned()).or_default();
        if window.count == 0 || now_us >= window.start_us.saturating_add(length_us) {
            let suppressed = window.suppressed;
            *window = Window { start_us: now_us, count: 1, suppressed: 0 };
            return if suppressed > 0 { Verdict::KeepAfter(suppressed) } else { Verdict::Keep };
        }
        if window.count >= burst {
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
        let verdicts: Vec<Verdict> =
            (0..5).map(|second| limit.count("a.service", second, &Wishes::default())).collect();
        assert_eq!(verdicts, [Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Drop, Verdict::Drop]);
        assert_eq!(limit.count("b.service", 5, &Wishes::default()), Verdict::Keep);
        assert_eq!(limit.count("a.service", WINDOW_US, &Wishes::default()), Verdict::KeepAfter(2));
        assert_eq!(limit.count("a.service", WINDOW_US, &Wishes::default()), Verdict::Keep);
    }

    #[test]
    fn a_unit_may_want_other_limits() {
        let mut limit = RateLimit::new(3);
        let wishes = Wishes { burst: Some(1), window_us: Some(10), ..Wishes::default() };
        let verdicts: Vec<Verdict> = [0, 9, 10].map(|now| limit.count("a.service", now, &wishes)).into();
        assert_eq!(verdicts, [Verdict::Keep, Verdict::Drop, Verdict::KeepAfter(1)]);
    }

    #[test]
    fn the_number_of_counted_units_is_bounded() {
        let mut limit = RateLimit::new(3);
        for unit in 0..3 * UNITS_MAX {
            limit.count(&unit.to_string(), 1, &Wishes::default());
        }
        assert!(limit.windows.len() <= UNITS_MAX + 1);
    }
}
