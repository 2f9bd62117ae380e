//! What a person at the console and the kernel log get to read.
//!
//! A line of ours goes to the consoles by ourselves, with our own time stamp, and to the kernel log with a
//! priority that the kernel does not print again.

use std::time::Duration;

use ferrite_sys::console::Consoles;
use ferrite_sys::kmsg::{Kmsg, Priority};
use rustix::time::{ClockId, clock_gettime};

use crate::stage::Stage;

const IDENTIFIER: &str = "ferrite";

/// Writes lines and remembers the warnings.
#[derive(Debug)]
pub struct Reporter {
    consoles: Consoles,
    kmsg: Option<Kmsg>,
    warnings: Vec<String>,
    verbose: bool,
}

/// Time since the kernel started.
pub fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.try_into().unwrap_or(0), now.tv_nsec.try_into().unwrap_or(0))
}

impl Reporter {
    /// Opens consoles and kernel log; /dev, /proc and /sys must be there.
    pub fn open() -> Reporter {
        // Without it a few lines may be missing from the log; the console has them all.
        let _ = ferrite_sys::kmsg::lift_rate_limit();
        Reporter { consoles: Consoles::open(), kmsg: Kmsg::open().ok(), warnings: Vec::new(), verbose: false }
    }

    /// From now on `debug` lines are shown.
    pub fn be_verbose(&mut self) {
        self.verbose = true;
    }

    /// The ordinary course.
    pub fn say(&self, stage: Stage, text: &str) {
        self.write(Priority::Info, &format!("{stage}: {text}"));
    }

    /// For the curious.
    pub fn debug(&self, stage: Stage, text: &str) {
        if self.verbose {
            self.write(Priority::Debug, &format!("{stage}: {text}"));
        }
    }

    /// Something is not as it should be, and the boot goes on.
    pub fn warn(&mut self, stage: Stage, text: &str) {
        self.write(Priority::Warning, &format!("{stage}: warning: {text}"));
        // The facts join the warnings with semicolons.
        self.warnings.push(without_numbers(&format!("{stage}: {text}")).replace("; ", ", "));
    }

    /// The boot does not go on.
    pub fn fail(&self, text: &str) {
        self.write(Priority::Warning, text);
    }

    /// Everything that was warned of.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn write(&self, priority: Priority, text: &str) {
        let text = without_numbers(text);
        self.consoles.write_line(&line(uptime(), &text));
        if let Some(kmsg) = &self.kmsg {
            // The console has the line; the log is a copy.
            let _ = kmsg.write(priority, IDENTIFIER, &text);
        }
    }
}

fn line(uptime: Duration, text: &str) -> String {
    format!("[{:7.2}] {IDENTIFIER}: {text}", uptime.as_secs_f64())
}

/// An error text without the number that Rust adds to the system's words: `(os error 5)`.
pub fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or("", |(_, rest)| rest))
}

/// A size as a person reads it.
pub fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")];
    match UNITS.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(*unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{} KiB", bytes / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_the_seconds_since_the_kernel_started() {
        assert_eq!(line(Duration::from_millis(2314), "root: ok"), "[   2.31] ferrite: root: ok");
    }

    #[test]
    fn the_numbers_of_errors_are_left_out() {
        let text = "root: a: Input/output error (os error 5), b (os error 22)";
        assert_eq!(without_numbers(text), "root: a: Input/output error, b");
        assert_eq!(without_numbers("plain (text)"), "plain (text)");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (4096, "4 KiB"),
            (256 << 20, "256 MiB"),
            (20_000_000_000, "18.6 GiB"),
            (1 << 30, "1 GiB"),
            (3 << 40, "3 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
