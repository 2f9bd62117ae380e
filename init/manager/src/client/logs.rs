//! The last log lines of a unit, as `systemctl status` ends with. Reads the log; the picture is pure.

use std::path::Path;

use ferrite_control::UnitDetails;
use ferrite_control::log_files::{LOG_DIRECTORY, LogFiles};
use ferrite_control::log_line::LogEntry;
use ferrite_unit::timestamp::short_stamp;
use ferrite_unit::zone::Zone;

use super::arguments::Arguments;
use super::style::{Colour, RED, YELLOW, paint, visible};

const DEFAULT_LINES: usize = 10;
/// Entries looked through backwards for the lines of a quiet unit.
const SEARCH_MAX: usize = 200_000;

/// The block of log lines with a blank line in front, or nothing.
pub fn recent(unit: &UnitDetails, arguments: &Arguments, colour: Colour) -> String {
    let wanted = arguments.lines.unwrap_or(DEFAULT_LINES);
    if wanted == 0 {
        return String::new();
    }
    let files = match LogFiles::open(Path::new(LOG_DIRECTORY)) {
        Ok(files) => files,
        Err(error) => return format!("\nWarning: the log cannot be read: {error}\n"),
    };
    let boot_id = boot_id();
    let name = unit.summary.name.as_str();
    let not_before_us = unit.inactive_exit_monotonic_us;
    let in_this_boot = |entry: &LogEntry| boot_id.is_empty() || entry.boot_id == boot_id;
    let mut entries: Vec<LogEntry> = files
        .backward()
        .take(SEARCH_MAX)
        .take_while(|entry| in_this_boot(entry) && entry.monotonic_us >= not_before_us)
        .filter(|entry| entry.unit == name)
        .take(wanted)
        .collect();
    entries.reverse();
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    render(&entries, &host, colour, arguments.zones().local())
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().replace('-', "")
}

/// The lines as `journalctl -o short` has them.
pub fn render(entries: &[LogEntry], host: &str, colour: Colour, zone: &Zone) -> String {
    let mut out = String::new();
    for (number, entry) in entries.iter().enumerate() {
        if number == 0 {
            out.push('\n');
        }
        let pid = if entry.pid > 0 { format!("[{}]", entry.pid) } else { String::new() };
        let prefix = format!("{} {host} {}{pid}: ", short_stamp(entry.realtime_us, zone), visible(&entry.identifier));
        let shade = match entry.priority {
            0..=3 => RED,
            4 => YELLOW,
            _ => "",
        };
        for (position, line) in entry.message.split('\n').enumerate() {
            match position {
                0 => out.push_str(&prefix),
                _ => out.extend(std::iter::repeat_n(' ', prefix.chars().count())),
            }
            out.push_str(&paint(&visible(line), shade, colour));
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_journalctls_and_cannot_fool_a_terminal() {
        let entry = LogEntry {
            realtime_us: 1_795_619_045_000_000,
            identifier: "sshd".into(),
            pid: 7,
            priority: 3,
            message: "one\x1b[2J\ntwo".into(),
            ..LogEntry::default()
        };
        assert_eq!(
            render(&[entry], "box", Colour::Off, &Zone::utc()),
            "\nNov 25 15:04:05 box sshd[7]: one\\x1b[2J\n                             two\n"
        );
        assert_eq!(render(&[], "box", Colour::Off, &Zone::utc()), "");
    }
}
