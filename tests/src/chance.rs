//! Random choices that can be repeated: the seed is printed, and `FERRITE_SEED` sets it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A generator of random numbers (splitmix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator with the seed of `FERRITE_SEED`, else with one from the clock, which is printed.
    pub fn new() -> Self {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let seed = std::env::var("FERRITE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(clock);
        eprintln!("random choices of this run: FERRITE_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// A time below `limit`.
    pub fn time_below(&mut self, limit: Duration) -> Duration {
        Duration::from_millis(self.below(limit.as_millis() as u64))
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}
