//! The two clocks of an entry, and the boot they belong to.

use rustix::time::{ClockId, clock_gettime};

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since 1970.
    pub realtime_us: u64,
    /// Microseconds since the kernel started.
    pub monotonic_us: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let read = |clock| {
            let time = clock_gettime(clock);
            let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
            seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1000)
        };
        Self { realtime_us: read(ClockId::Realtime), monotonic_us: read(ClockId::Monotonic) }
    }

    /// The moment of the same boot with this monotonic time.
    pub fn at_monotonic(self, monotonic_us: u64) -> Self {
        let realtime_us = self.realtime_us.saturating_sub(self.monotonic_us).saturating_add(monotonic_us);
        Self { realtime_us, monotonic_us }
    }
}

/// The id of this start of the machine, without dashes; empty if the kernel does not tell.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().replace('-', "")
}
