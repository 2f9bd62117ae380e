//! How an entry looks to a person: the short forms, `verbose` and `cat`. Pure.

use std::collections::BTreeSet;

use ferrite_unit::timestamp::{iso_stamp, short_precise_stamp, short_stamp, weekday_stamp};
use ferrite_unit::zone::Zone;

use super::machine_form;
use super::options::Output;
use super::record::Record;
use super::text::{bytes, plain, printable};

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

/// How entries are to look.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The form.
    pub output: Output,
    /// Colours.
    pub colour: Colour,
    /// The zone of times.
    pub zone: Zone,
    /// Everything, unprintable and long values too.
    pub all: bool,
    /// Without the name of the machine.
    pub no_hostname: bool,
    /// Only these fields; empty: all.
    pub fields: BTreeSet<String>,
    /// The same in the order they were asked for.
    pub field_order: Vec<String>,
}

impl Picture {
    /// Adds an entry to the output; one that has nothing to show adds nothing.
    pub fn add(&self, record: &Record, out: &mut Vec<u8>) {
        match self.output {
            Output::Cat => self.cat(record, out),
            Output::Verbose => self.verbose(record, out),
            Output::Export => machine_form::export(record, &self.fields, out),
            Output::Json | Output::JsonPretty | Output::JsonSse | Output::JsonSeq => {
                machine_form::json(record, self.output, &self.fields, self.all, out);
            }
            Output::Short
            | Output::ShortFull
            | Output::ShortIso
            | Output::ShortIsoPrecise
            | Output::ShortPrecise
            | Output::ShortMonotonic
            | Output::ShortUnix
            | Output::WithUnit => self.short(record, out),
        }
    }

    fn stamp(&self, record: &Record) -> String {
        let us = record.shown_realtime_us();
        match self.output {
            Output::ShortFull | Output::WithUnit => weekday_stamp(us, &self.zone),
            Output::ShortIso => iso_stamp(us, &self.zone),
            Output::ShortIsoPrecise => {
                let stamp = iso_stamp(us, &self.zone);
                // The microseconds stand between the seconds and the zone.
                let (time, zone) = stamp.split_at(stamp.len().min(19));
                format!("{time}.{:06}{zone}", us % 1_000_000)
            }
            Output::ShortPrecise => short_precise_stamp(us, &self.zone),
            Output::ShortMonotonic => {
                let us = record.shown_monotonic_us();
                format!("[{:>5}.{:06}]", us / 1_000_000, us % 1_000_000)
            }
            Output::ShortUnix => format!("{:>10}.{:06}", us / 1_000_000, us % 1_000_000),
            _ => short_stamp(us, &self.zone),
        }
    }

    fn short(&self, record: &Record, out: &mut Vec<u8>) {
        let Some(message) = record.fields.get("MESSAGE") else { return };
        let shown = |name: &str| record.fields.get(name).filter(|value| self.all || printable(value, true).is_some());
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let mut prefix = self.stamp(record);
        if let Some(host) = shown("_HOSTNAME").filter(|_| !self.no_hostname) {
            prefix.push(' ');
            prefix.push_str(&text(host));
        }
        let unit = if self.output == Output::WithUnit { shown("_SYSTEMD_UNIT") } else { None };
        let name = unit.or_else(|| shown("SYSLOG_IDENTIFIER")).or_else(|| shown("_COMM"));
        prefix.push(' ');
        prefix.push_str(&name.map_or_else(|| "unknown".to_owned(), text));
        if let Some(pid) = shown("_PID").or_else(|| shown("SYSLOG_PID")) {
            prefix.push_str(&format!("[{}]", text(pid)));
        }
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(b": ");
        let message = if self.all { message.to_vec() } else { plain(message) };
        if !self.all && printable(&message, true).is_none() {
            out.extend_from_slice(format!("[{} blob data]\n", bytes(message.len() as u64)).as_bytes());
            return;
        }
        let width = prefix.chars().count() + 2;
        self.lines(&message, width, priority(record), out);
    }

    /// The lines of a value, all but the first one indented.
    fn lines(&self, value: &[u8], width: usize, priority: u8, out: &mut Vec<u8>) {
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let shade = match (self.colour, priority) {
            (Colour::Off, _) | (Colour::On, 6) => "",
            (Colour::On, 0..=3) => RED,
            (Colour::On, 4) => YELLOW,
            (Colour::On, 5) => BOLD,
            (Colour::On, 7..) => GREY,
        };
        for (number, line) in value.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                out.extend(std::iter::repeat_n(b' ', width));
            }
            out.extend_from_slice(shade.as_bytes());
            out.extend_from_slice(line);
            out.extend_from_slice(if shade.is_empty() { b"" } else { RESET.as_bytes() });
            out.push(b'\n');
        }
    }

    fn cat(&self, record: &Record, out: &mut Vec<u8>) {
        let usual = ["MESSAGE".to_owned()];
        let names = if self.field_order.is_empty() { &usual[..] } else { &self.field_order[..] };
        for name in names {
            let Some(value) = record.fields.get(name) else { continue };
            let shade = if self.colour == Colour::On { priority(record) } else { 6 };
            match self.colour {
                Colour::Off => {
                    out.extend_from_slice(value);
                    out.push(b'\n');
                }
                Colour::On => self.lines(value, 0, shade, out),
            }
        }
    }

    fn verbose(&self, record: &Record, out: &mut Vec<u8>) {
        let us = record.shown_realtime_us();
        let stamp = weekday_stamp(us, &self.zone);
        // The microseconds stand before the zone.
        let (time, zone) = stamp.rsplit_once(' ').unwrap_or((&stamp, ""));
        let head = format!("{time}.{:06} {zone} [{}]\n", us % 1_000_000, record.cursor);
        out.extend_from_slice(head.as_bytes());
        for (name, value) in record.fields.iter() {
            let name = String::from_utf8_lossy(name);
            if !self.fields.is_empty() && !self.fields.contains(&*name) {
                continue;
            }
            out.extend_from_slice(format!("    {name}=").as_bytes());
            if self.all || printable(value, true).is_some() {
                self.lines(value, 4 + name.len() + 1, 6, out);
            } else {
                // The name and its sign are told with the value.
                out.extend_from_slice(format!("[{} blob data]\n", bytes(value.len() as u64)).as_bytes());
            }
        }
    }
}

fn priority(record: &Record) -> u8 {
    record.fields.number("PRIORITY").unwrap_or(6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        let mut record = Record {
            realtime_us: 1_795_619_045_123_456,
            monotonic_us: 5_000_001,
            cursor: "s=1".into(),
            ..Record::default()
        };
        for (name, value) in [
            ("PRIORITY", "3"),
            ("_PID", "812"),
            ("_HOSTNAME", "box"),
            ("_SYSTEMD_UNIT", "ssh.service"),
            ("SYSLOG_IDENTIFIER", "sshd"),
            ("MESSAGE", "one\n\ttwo"),
        ] {
            record.fields.text(name, value);
        }
        record.fields.push(b"BLOB", &[0, 255]);
        record
    }

    fn picture(output: Output) -> Picture {
        Picture {
            output,
            colour: Colour::Off,
            zone: Zone::utc(),
            all: false,
            no_hostname: false,
            fields: BTreeSet::new(),
            field_order: Vec::new(),
        }
    }

    fn shown(picture: &Picture, record: &Record) -> String {
        let mut out = Vec::new();
        picture.add(record, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn the_short_forms_differ_in_their_time() {
        for (output, stamp) in [
            (Output::Short, "Nov 25 15:04:05"),
            (Output::ShortFull, "Wed 2026-11-25 15:04:05 UTC"),
            (Output::ShortIso, "2026-11-25T15:04:05+00:00"),
            (Output::ShortIsoPrecise, "2026-11-25T15:04:05.123456+00:00"),
            (Output::ShortPrecise, "Nov 25 15:04:05.123456"),
            (Output::ShortMonotonic, "[    5.000001]"),
            (Output::ShortUnix, "1795619045.123456"),
        ] {
            let prefix = format!("{stamp} box sshd[812]: ");
            let indent = " ".repeat(prefix.len() + 8);
            assert_eq!(shown(&picture(output), &record()), format!("{prefix}one\n{indent}two\n"));
        }
        let with_unit = shown(&picture(Output::WithUnit), &record());
        assert!(with_unit.starts_with("Wed 2026-11-25 15:04:05 UTC box ssh.service[812]: one\n"), "{with_unit}");
        let bare = Picture { no_hostname: true, ..picture(Output::Short) };
        assert!(shown(&bare, &record()).starts_with("Nov 25 15:04:05 sshd[812]: one\n"));
    }

    #[test]
    fn what_cannot_be_printed_is_counted_unless_all_is_wanted() {
        let mut odd = Record { realtime_us: 0, ..Record::default() };
        odd.fields.push(b"MESSAGE", b"a\x1b[2Jb");
        assert_eq!(shown(&picture(Output::Short), &odd), "Jan 01 00:00:00 unknown: [6B blob data]\n");
        let all = Picture { all: true, ..picture(Output::Short) };
        assert!(shown(&all, &odd).ends_with("unknown: a\x1b[2Jb\n"));
        assert_eq!(shown(&picture(Output::Short), &Record::default()), "");
    }

    #[test]
    fn verbose_shows_every_field_and_cat_the_text() {
        let text = shown(&picture(Output::Verbose), &record());
        assert!(text.starts_with("Wed 2026-11-25 15:04:05.123456 UTC [s=1]\n    PRIORITY=3\n"), "{text}");
        assert!(text.ends_with("    MESSAGE=one\n            \ttwo\n    BLOB=[2B blob data]\n"), "{text}");
        assert_eq!(shown(&picture(Output::Cat), &record()), "one\n\ttwo\n");
        let order = Picture { field_order: vec!["_PID".into(), "NO".into()], ..picture(Output::Cat) };
        assert_eq!(shown(&order, &record()), "812\n");
    }

    #[test]
    fn priorities_have_colours_on_a_terminal() {
        let on = Picture { colour: Colour::On, ..picture(Output::Cat) };
        assert_eq!(shown(&on, &record()), format!("{RED}one{RESET}\n{RED}\ttwo{RESET}\n"));
    }
}
