//! How an entry looks. Pure but for remembering the boot of the entry before.

use ferrite_control::log_line::{LogEntry, LogSource};
use ferrite_unit::timestamp::{iso_stamp, short_precise_stamp, short_stamp};
use ferrite_unit::zone::Zone;

use super::options::Output;

const RED: &str = "\x1b[0;1;31m";
const YELLOW: &str = "\x1b[0;1;38;5;185m";
const BOLD: &str = "\x1b[0;1;39m";
const GREY: &str = "\x1b[0;38;5;245m";
const RESET: &str = "\x1b[0m";

/// Whether output goes to a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// To a terminal: colours by priority.
    On,
    /// To a file or pipe.
    Off,
}

/// Prints entries one after the other.
#[derive(Debug)]
pub struct Picture {
    output: Output,
    colour: Colour,
    host: String,
    zone: Zone,
    boot_id: Option<String>,
}

impl Picture {
    /// A picture of entries of this host, with times of this zone.
    pub fn new(output: Output, colour: Colour, host: String, zone: Zone) -> Self {
        Self { output, colour, host, zone, boot_id: None }
    }

    /// The text of an entry with its newline; a line above it when another boot begins.
    pub fn entry(&mut self, entry: &LogEntry) -> String {
        let stamp = match self.output {
            Output::Cat => return format!("{}\n", self.paint(&self.body(entry), entry.priority)),
            Output::Json => return json(entry, &self.host),
            Output::Short => short_stamp(entry.realtime_us, &self.zone),
            Output::ShortIso => iso_stamp(entry.realtime_us, &self.zone),
            Output::ShortPrecise => short_precise_stamp(entry.realtime_us, &self.zone),
            Output::ShortMonotonic => {
                format!("[{:>5}.{:06}]", entry.monotonic_us / 1_000_000, entry.monotonic_us % 1_000_000)
            }
            Output::ShortUnix => format!("{}.{:06}", entry.realtime_us / 1_000_000, entry.realtime_us % 1_000_000),
        };
        let mut out = self.boot_line(entry);
        let identifier = match entry.identifier.as_str() {
            "" => "unknown".to_owned(),
            name => visible(name),
        };
        let pid = if entry.pid > 0 { format!("[{}]", entry.pid) } else { String::new() };
        let prefix = format!("{stamp} {} {identifier}{pid}: ", self.host);
        for (number, line) in entry.message.split('\n').enumerate() {
            match number {
                0 => out.push_str(&prefix),
                _ => out.extend(std::iter::repeat_n(' ', prefix.chars().count())),
            }
            out.push_str(&self.paint(&visible(line), entry.priority));
            out.push('\n');
        }
        out
    }

    fn boot_line(&mut self, entry: &LogEntry) -> String {
        let before = self.boot_id.replace(entry.boot_id.clone());
        match before {
            Some(id) if id != entry.boot_id => format!("-- Boot {} --\n", entry.boot_id),
            Some(_) | None => String::new(),
        }
    }

    /// The text alone: raw for a program that reads it, harmless for a terminal.
    fn body(&self, entry: &LogEntry) -> String {
        match self.colour {
            Colour::Off => entry.message.clone(),
            Colour::On => entry.message.split('\n').map(visible).collect::<Vec<_>>().join("\n"),
        }
    }

    fn paint(&self, text: &str, priority: u8) -> String {
        let shade = match priority {
            0..=3 => RED,
            4 => YELLOW,
            5 => BOLD,
            7.. => GREY,
            6 => "",
        };
        match self.colour {
            Colour::On if !shade.is_empty() => format!("{shade}{text}{RESET}"),
            Colour::On | Colour::Off => text.to_owned(),
        }
    }
}

/// Control characters of a message could play tricks with a terminal.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push('\t'),
            control if control.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out
}

fn json(entry: &LogEntry, host: &str) -> String {
    let mut object = serde_json::Map::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            object.insert(name.to_owned(), value.into());
        }
    };
    put("__REALTIME_TIMESTAMP", &entry.realtime_us.to_string());
    put("__MONOTONIC_TIMESTAMP", &entry.monotonic_us.to_string());
    put("_BOOT_ID", &entry.boot_id);
    put("_HOSTNAME", host);
    put("_TRANSPORT", entry.source.as_str());
    put("PRIORITY", &entry.priority.to_string());
    put("SYSLOG_IDENTIFIER", &entry.identifier);
    if entry.source != LogSource::Kernel && entry.pid > 0 {
        put("_PID", &entry.pid.to_string());
    }
    put("_SYSTEMD_UNIT", &entry.unit);
    put("MESSAGE", &entry.message);
    format!("{}\n", serde_json::Value::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            realtime_us: 1_795_619_045_123_456,
            monotonic_us: 5_000_001,
            boot_id: "a".repeat(32),
            priority: 6,
            pid: 812,
            unit: "ssh.service".into(),
            identifier: "sshd".into(),
            message: "one\n\ttwo\x1b[2J".into(),
            ..LogEntry::default()
        }
    }

    fn shown(output: Output, entry: &LogEntry) -> String {
        Picture::new(output, Colour::Off, "box".into(), Zone::utc()).entry(entry)
    }

    #[test]
    fn the_forms_are_those_of_systemd() {
        let rest = "box sshd[812]: one\n";
        for (output, stamp) in [
            (Output::Short, "Nov 25 15:04:05"),
            (Output::ShortIso, "2026-11-25T15:04:05+00:00"),
            (Output::ShortPrecise, "Nov 25 15:04:05.123456"),
            (Output::ShortMonotonic, "[    5.000001]"),
            (Output::ShortUnix, "1795619045.123456"),
        ] {
            let indent = " ".repeat(format!("{stamp} box sshd[812]: ").len());
            assert_eq!(shown(output, &entry()), format!("{stamp} {rest}{indent}\ttwo\\x1b[2J\n"));
        }
        assert_eq!(shown(Output::Cat, &entry()), "one\n\ttwo\x1b[2J\n");
        let kernel = LogEntry { pid: 0, identifier: "kernel".into(), message: "x".into(), ..entry() };
        assert_eq!(shown(Output::Short, &kernel), "Nov 25 15:04:05 box kernel: x\n");
    }

    #[test]
    fn json_has_systemds_field_names() {
        let value: serde_json::Value = serde_json::from_str(&shown(Output::Json, &entry())).expect("json");
        for (name, text) in [
            ("__REALTIME_TIMESTAMP", "1795619045123456"),
            ("_SYSTEMD_UNIT", "ssh.service"),
            ("MESSAGE", "one\n\ttwo\u{1b}[2J"),
            ("_PID", "812"),
            ("PRIORITY", "6"),
        ] {
            assert_eq!(value[name], text);
        }
    }

    #[test]
    fn another_boot_has_a_line_above_it() {
        let mut picture = Picture::new(Output::Short, Colour::Off, "box".into(), Zone::utc());
        assert!(!picture.entry(&entry()).contains("-- Boot"));
        let next = LogEntry { boot_id: "b".repeat(32), ..entry() };
        assert!(picture.entry(&next).starts_with(&format!("-- Boot {} --\nNov 25", "b".repeat(32))));
        assert!(!picture.entry(&next).contains("-- Boot"));
    }

    #[test]
    fn priorities_have_colours_on_a_terminal() {
        let mut picture = Picture::new(Output::Cat, Colour::On, String::new(), Zone::utc());
        let text = picture.entry(&LogEntry { priority: 3, message: "bad".into(), ..entry() });
        assert_eq!(text, format!("{RED}bad{RESET}\n"));
    }
}
