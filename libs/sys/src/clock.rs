//! What the kernel knows of how right its clock is, and the clock that runs without power.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;

/// A clock that may be off by more is not right (16 s, as the kernel has it).
const ERROR_MAX_US: libc::c_long = 16_000_000;
const RTC: &str = "/dev/rtc0";

mod raw {
    nix::ioctl_write_ptr!(set_time, b'p', 0x0a, super::RtcTime);
}

/// `struct rtc_time` of linux/rtc.h.
#[repr(C)]
#[doc(hidden)]
#[derive(Default)]
pub struct RtcTime {
    second: libc::c_int,
    minute: libc::c_int,
    hour: libc::c_int,
    day: libc::c_int,
    month: libc::c_int,
    year: libc::c_int,
    week_day: libc::c_int,
    year_day: libc::c_int,
    daylight: libc::c_int,
}

/// Whether somebody keeps the clock of the kernel right.
pub fn is_synchronized() -> bool {
    // SAFETY: all bytes zero are a timex, which asks for nothing to be changed.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one timex into `timex`, which outlives the call.
    let state = unsafe { libc::adjtimex(&mut timex) };
    state >= 0 && timex.maxerror < ERROR_MAX_US
}

/// Sets the clock that runs without power, in UTC.
pub fn set_rtc(seconds: u64) -> io::Result<()> {
    let device = OpenOptions::new().read(true).open(RTC)?;
    let time = civil(seconds);
    // SAFETY: the kernel reads one rtc_time from `time`, which outlives the call.
    unsafe { raw::set_time(device.as_raw_fd(), &time) }?;
    Ok(())
}

fn civil(seconds: u64) -> RtcTime {
    let seconds = libc::time_t::try_from(seconds).unwrap_or(libc::time_t::MAX);
    // SAFETY: all bytes zero are a tm.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads one time_t and writes one tm, both of which outlive the call.
    unsafe { libc::gmtime_r(&seconds, &mut tm) };
    RtcTime {
        second: tm.tm_sec,
        minute: tm.tm_min,
        hour: tm.tm_hour,
        day: tm.tm_mday,
        month: tm.tm_mon,
        year: tm.tm_year,
        ..RtcTime::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_becomes_a_date() {
        let time = civil(1_795_672_245);
        assert_eq!((time.year, time.month, time.day), (126, 10, 26));
        assert_eq!((time.hour, time.minute, time.second), (5, 50, 45));
        assert_eq!(size_of::<RtcTime>(), 36);
    }
}
