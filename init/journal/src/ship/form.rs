//! Entries for other machines: RFC 5424 and JSON lines. Pure.

use std::collections::BTreeSet;

use ferrite_unit::timestamp::iso_stamp;
use ferrite_unit::zone::Zone;

use super::config::Form;
use crate::journalctl::machine_form;
use crate::journalctl::options::Output;
use crate::journalctl::record::Record;

/// The facility of messages that say none.
const USER: u16 = 1;

/// Adds an entry to a batch.
pub fn add(record: &Record, form: Form, out: &mut Vec<u8>) {
    match form {
        Form::Json => machine_form::json(record, Output::Json, &BTreeSet::new(), true, out),
        Form::Syslog => {
            let message = syslog(record);
            out.extend_from_slice(format!("{} ", message.len()).as_bytes());
            out.extend_from_slice(&message);
        }
    }
}

/// `<PRI>1 TIME HOST APP PID - [journal@... cursor unit] MESSAGE`.
fn syslog(record: &Record) -> Vec<u8> {
    let fields = &record.fields;
    let priority: u16 = fields.number("PRIORITY").filter(|number| *number <= 7).unwrap_or(6);
    let facility: u16 = fields.number("SYSLOG_FACILITY").filter(|number| *number <= 127).unwrap_or(USER);
    let us = record.shown_realtime_us();
    let stamp = iso_stamp(us, &Zone::utc());
    // The microseconds stand between the seconds and the zone.
    let time = stamp.get(..19).unwrap_or(&stamp);
    let word = |names: &[&str], longest: usize| {
        let value = names.iter().find_map(|name| fields.str(name)).unwrap_or_default();
        let plain: String = value.chars().filter(char::is_ascii_graphic).take(longest).collect();
        if plain.is_empty() { "-".to_owned() } else { plain }
    };
    let mut out = format!(
        "<{}>1 {time}.{:06}Z {} {} {} - ",
        facility * 8 + priority,
        us % 1_000_000,
        word(&["_HOSTNAME"], 255),
        word(&["SYSLOG_IDENTIFIER", "_COMM"], 48),
        word(&["_PID", "SYSLOG_PID"], 128),
    );
    out.push_str(&format!("[journal@32473 cursor=\"{}\"", quoted(&record.cursor)));
    if let Some(unit) = fields.str("_SYSTEMD_UNIT").or_else(|| fields.str("UNIT")) {
        out.push_str(&format!(" unit=\"{}\"", quoted(unit)));
    }
    out.push_str("] ");
    let mut out = out.into_bytes();
    out.extend_from_slice(fields.get("MESSAGE").unwrap_or_default());
    out
}

/// A value of structured data.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_rfc_5424_has_its_length_in_front() {
        let mut record = Record { realtime_us: 1_795_619_045_123_456, cursor: "s=1".into(), ..Record::default() };
        for (name, value) in [
            ("MESSAGE", "two\nlines"),
            ("PRIORITY", "3"),
            ("SYSLOG_FACILITY", "3"),
            ("_HOSTNAME", "box"),
            ("SYSLOG_IDENTIFIER", "my tool"),
            ("_PID", "7"),
            ("_SYSTEMD_UNIT", "a\"]b.service"),
        ] {
            record.fields.text(name, value);
        }
        let mut out = Vec::new();
        add(&record, Form::Syslog, &mut out);
        let text = String::from_utf8(out).expect("text");
        let (length, message) = text.split_once(' ').expect("a length");
        assert_eq!(length.parse(), Ok(message.len()));
        assert_eq!(
            message,
            "<27>1 2026-11-25T15:04:05.123456Z box mytool 7 - \
             [journal@32473 cursor=\"s=1\" unit=\"a\\\"\\]b.service\"] two\nlines"
        );
        let mut bare = Vec::new();
        add(&Record::default(), Form::Syslog, &mut bare);
        assert!(String::from_utf8_lossy(&bare).contains("<14>1 1970-01-01T00:00:00.000000Z - - - - ["));
    }
}
