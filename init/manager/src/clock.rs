//! The clocks, in microseconds.

use rustix::time::{ClockId, clock_gettime};

fn microseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0) / 1000)
}

/// Since 1970.
pub fn wall_us() -> u64 {
    microseconds(ClockId::Realtime)
}

/// Since the kernel started.
pub fn boot_us() -> u64 {
    microseconds(ClockId::Monotonic)
}
