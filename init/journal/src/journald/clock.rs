//! The two clocks of an entry, and the boot they belong to.

use ferrite_journal_file::Id128;
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
}

/// The id of this start of the machine; all zeros if the kernel does not tell.
pub fn boot_id() -> Id128 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Id128::parse(&text).unwrap_or_default()
}
