//! How many messages a unit may send: a burst each while, the rest is dropped and counted. Pure.
//!
//! As in systemd the burst grows with the space that the disk has left.

use std::collections::BTreeMap;

use super::wishes::Wishes;

/// Units that are counted; more share one count.
const UNITS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Window {
    start_us: u64,
    length_us: u64,
    count: u32,
    suppressed: u64,
}

/// The counts of all units.
#[derive(Debug)]
pub struct RateLimit {
    interval_us: u64,
    burst: u32,
    factor: u32,
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
    /// Nothing counted yet. An interval or a burst of 0 switches the limit off.
    pub fn new(interval_us: u64, burst: u32) -> Self {
        Self { interval_us, burst, factor: 1, windows: BTreeMap::new() }
    }

    /// Tells how many bytes the log may still take: the more, the larger are the bursts.
    pub fn set_free_bytes(&mut self, free: u64) {
        const MIB: u64 = 1 << 20;
        self.factor = match free / MIB {
            0 => 1,
            1..16 => 2,
            16..256 => 3,
            256..4096 => 4,
            4096..65_536 => 5,
            65_536.. => 6,
        };
    }

    /// Counts a message of a unit at a monotonic time; the unit may want other limits than usual.
    pub fn count(&mut self, unit: &str, now_us: u64, wishes: &Wishes) -> Verdict {
        let (burst, length_us) = (wishes.burst.unwrap_or(self.burst), wishes.window_us.unwrap_or(self.interval_us));
        if burst == 0 || length_us == 0 {
            return Verdict::Keep;
        }
        let burst = burst.saturating_mul(self.factor);
        if self.windows.len() >= UNITS_MAX && !self.windows.contains_key(unit) {
            self.windows.retain(|_, window| window.suppressed > 0 || now_us < window.start_us + window.length_us);
        }
        let key = if self.windows.len() >= UNITS_MAX && !self.windows.contains_key(unit) { "" } else { unit };
        if !self.windows.contains_key(key) {
            self.windows.insert(key.to_owned(), Window::default());
        }
        let Some(window) = self.windows.get_mut(key) else { return Verdict::Keep };
        if window.count == 0 || now_us >= window.start_us.saturating_add(length_us) {
            let suppressed = window.suppressed;
            *window = Window { start_us: now_us, length_us, count: 1, suppressed: 0 };
            return if suppressed > 0 { Verdict::KeepAfter(suppressed) } else { Verdict::Keep };
        }
        if window.count >= burst {
            window.suppressed += 1;
            return Verdict::Drop;
        }
        window.count += 1;
        Verdict::Keep
    }

    /// What was dropped and not told of yet, by unit; counts from zero again.
    pub fn take_suppressed(&mut self) -> Vec<(String, u64)> {
        let told = |(unit, window): (&String, &mut Window)| {
            let count = std::mem::take(&mut window.suppressed);
            (count > 0).then(|| (unit.clone(), count))
        };
        self.windows.iter_mut().filter_map(told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_US: u64 = 30_000_000;

    #[test]
    fn a_flood_is_cut_and_told_of_later() {
        let mut limit = RateLimit::new(WINDOW_US, 3);
        let verdicts: Vec<Verdict> =
            (0..5).map(|second| limit.count("a.service", second, &Wishes::default())).collect();
        assert_eq!(verdicts, [Verdict::Keep, Verdict::Keep, Verdict::Keep, Verdict::Drop, Verdict::Drop]);
        assert_eq!(limit.count("b.service", 5, &Wishes::default()), Verdict::Keep);
        assert_eq!(limit.count("a.service", WINDOW_US, &Wishes::default()), Verdict::KeepAfter(2));
        assert_eq!(limit.count("a.service", WINDOW_US, &Wishes::default()), Verdict::Keep);
        assert_eq!(limit.take_suppressed(), []);
    }

    #[test]
    fn what_was_dropped_is_told_at_the_end() {
        let mut limit = RateLimit::new(WINDOW_US, 1);
        (0..5).for_each(|second| {
            let _ = limit.count("a.service", second, &Wishes::default());
        });
        assert_eq!(limit.take_suppressed(), [("a.service".to_owned(), 4)]);
        assert_eq!(limit.take_suppressed(), []);
    }

    #[test]
    fn a_unit_may_want_other_limits() {
        let mut limit = RateLimit::new(WINDOW_US, 3);
        let wishes = Wishes { burst: Some(1), window_us: Some(10), ..Wishes::default() };
        let verdicts: Vec<Verdict> = [0, 9, 10].map(|now| limit.count("a.service", now, &wishes)).into();
        assert_eq!(verdicts, [Verdict::Keep, Verdict::Drop, Verdict::KeepAfter(1)]);
    }

    #[test]
    fn an_empty_disk_allows_more_and_zero_allows_all() {
        let mut limit = RateLimit::new(WINDOW_US, 1);
        limit.set_free_bytes(20 << 20);
        let kept = (0..10).filter(|now| limit.count("a", *now, &Wishes::default()) == Verdict::Keep).count();
        assert_eq!(kept, 3);
        let mut limit = RateLimit::new(0, 1);
        assert!((0..10).all(|now| limit.count("a", now, &Wishes::default()) == Verdict::Keep));
    }

    #[test]
    fn the_number_of_counted_units_is_bounded() {
        let mut limit = RateLimit::new(WINDOW_US, 3);
        for unit in 0..3 * UNITS_MAX {
            limit.count(&unit.to_string(), 1, &Wishes::default());
        }
        assert!(limit.windows.len() <= UNITS_MAX + 1);
    }
}
