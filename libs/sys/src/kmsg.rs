//! Lines for the kernel log, which keeps them until journald reads them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

const DEVICE: &str = "/dev/kmsg";
/// The kernel refuses longer records.
const LINE_BYTES: usize = 900;

/// Severity of a line, with the numbers of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// 2: the machine cannot go on.
    Critical = 2,
    /// 3: something failed.
    Error = 3,
    /// 4: something is not as it should be.
    Warning = 4,
    /// 5: worth knowing.
    Notice = 5,
    /// 6: the ordinary course.
    Info = 6,
    /// 7: for the curious.
    Debug = 7,
}

/// The open kernel log.
#[derive(Debug)]
pub struct Kmsg {
    device: File,
}

impl Kmsg {
    /// Opens /dev/kmsg for writing.
    pub fn open() -> io::Result<Kmsg> {
        Ok(Kmsg { device: OpenOptions::new().write(true).open(DEVICE)? })
    }

    /// Writes `text` as `identifier: text`, one record a line.
    pub fn write(&self, priority: Priority, identifier: &str, text: &str) -> io::Result<()> {
        text.lines().try_for_each(|line| (&self.device).write_all(record(priority, identifier, line).as_bytes()))
    }
}

/// Takes away the limit of a few lines a second that the kernel sets for user programs.
pub fn lift_rate_limit() -> io::Result<()> {
    std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n")
}

fn record(priority: Priority, identifier: &str, line: &str) -> String {
    let end = line.floor_char_boundary(LINE_BYTES);
    format!("<{}>{identifier}: {}\n", 3 << 3 | priority as u8, line.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_carries_the_facility_of_daemons_and_the_priority() {
        assert_eq!(record(Priority::Info, "ferrite", "root: ok"), "<30>ferrite: root: ok\n");
        assert_eq!(record(Priority::Error, "ferrite", "no"), "<27>ferrite: no\n");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let text = record(Priority::Info, "x", &"ä".repeat(1000));
        assert!(text.len() < 1000);
        assert!(text.ends_with("ä\n"));
    }
}
