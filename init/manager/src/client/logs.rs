//! The last log lines of a unit, as `systemctl status` ends with. Reads the journal; the picture is pure.

use std::io;
use std::path::Path;

use ferrite_control::UnitDetails;
use ferrite_journal_file::{Id128, Reader};
use ferrite_unit::timestamp::short_stamp;
use ferrite_unit::zone::Zone;

use super::arguments::Arguments;
use super::style::{Colour, RED, YELLOW, paint, visible};

const DEFAULT_LINES: usize = 10;
/// The journals on the disk and in memory.
const FOLDERS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// One message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// When, in microseconds since 1970.
    pub realtime_us: u64,
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// The name of the machine.
    pub host: String,
    /// The program's name for itself.
    pub identifier: String,
    /// Process id of the sender; empty: unknown.
    pub pid: String,
    /// The text, possibly of several lines.
    pub message: String,
}

/// The block of log lines with a blank line in front, or nothing.
pub fn recent(unit: &UnitDetails, arguments: &Arguments, colour: Colour) -> String {
    let wanted = arguments.lines.unwrap_or(DEFAULT_LINES);
    if wanted == 0 {
        return String::new();
    }
    match read(unit.summary.name.as_str(), unit.inactive_exit_monotonic_us, wanted) {
        Ok(entries) => render(&entries, colour, arguments.zones().local()),
        Err(error) => format!("\nWarning: the log cannot be read: {error}\n"),
    }
}

/// The last entries of a unit in this boot, oldest first, since it began to start.
fn read(name: &str, not_before_us: u64, wanted: usize) -> io::Result<Vec<LogEntry>> {
    let boot = id_in("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // A machine that has no id yet keeps its journal under that of its boot.
    let machine = id_in("/etc/machine-id").unwrap_or(boot);
    let folders = FOLDERS.map(|folder| Path::new(folder).join(machine.to_string()));
    if let Some(denied) = folders.iter().find_map(|folder| folder.read_dir().err()).filter(is_denied) {
        return Err(denied);
    }
    let mut reader = Reader::open_folders(&[&folders[0], &folders[1]])?;
    reader.add_match(b"_BOOT_ID", boot.to_string().as_bytes());
    reader.add_conjunction();
    reader.add_match(b"_SYSTEMD_UNIT", name.as_bytes());
    reader.add_disjunction();
    reader.add_match(b"_PID", b"1");
    reader.add_match(b"UNIT", name.as_bytes());
    reader.add_disjunction();
    reader.add_match(b"_UID", b"0");
    reader.add_match(b"OBJECT_SYSTEMD_UNIT", name.as_bytes());
    reader.seek_tail();
    let mut entries = Vec::new();
    while entries.len() < wanted && reader.previous()? {
        if reader.monotonic().0 < not_before_us {
            break;
        }
        entries.push(entry(&mut reader)?);
    }
    entries.reverse();
    Ok(entries)
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn id_in(path: &str) -> Option<Id128> {
    Id128::parse(&std::fs::read_to_string(path).ok()?)
}

fn entry(reader: &mut Reader) -> io::Result<LogEntry> {
    let mut entry = LogEntry { realtime_us: reader.realtime_us(), priority: 6, ..LogEntry::default() };
    let mut comm = String::new();
    reader.fields(|name, value| {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"MESSAGE" => entry.message = text(),
            b"PRIORITY" => entry.priority = text().parse().unwrap_or(6),
            b"SYSLOG_IDENTIFIER" => entry.identifier = text(),
            b"_COMM" => comm = text(),
            b"_PID" => entry.pid = text(),
            b"_HOSTNAME" => entry.host = text(),
            _ => {}
        }
    })?;
    if entry.identifier.is_empty() {
        entry.identifier = if comm.is_empty() { "unknown".into() } else { comm };
    }
    Ok(entry)
}

/// The lines as `journalctl -o short` has them.
pub fn render(entries: &[LogEntry], colour: Colour, zone: &Zone) -> String {
    let mut out = String::new();
    for (number, entry) in entries.iter().enumerate() {
        if number == 0 {
            out.push('\n');
        }
        let LogEntry { host, identifier, pid, .. } = entry;
        let pid = if pid.is_empty() { String::new() } else { format!("[{pid}]") };
        let stamp = short_stamp(entry.realtime_us, zone);
        let prefix = visible(&format!("{stamp} {host} {identifier}{pid}: "));
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
            host: "box".into(),
            identifier: "sshd".into(),
            pid: "7".into(),
            priority: 3,
            message: "one\x1b[2J\ntwo".into(),
        };
        assert_eq!(
            render(&[entry], Colour::Off, &Zone::utc()),
            "\nNov 25 15:04:05 box sshd[7]: one\\x1b[2J\n                             two\n"
        );
        assert_eq!(render(&[], Colour::Off, &Zone::utc()), "");
    }
}
