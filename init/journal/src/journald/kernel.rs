//! Records of /dev/kmsg. Pure: bytes in, records out.
//!
//! What programs wrote to the kernel's log (PID 1 above all) has a facility other than 0 and begins with
//! `identifier[pid]: `. PID 1 names the unit it talks about, so its lines belong to that unit.

use crate::fields::Fields;

/// A record of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number since the kernel started.
    pub sequence: u64,
    /// When, in microseconds since the kernel started.
    pub monotonic_us: u64,
    /// 0 to 7.
    pub priority: u8,
    /// Which part of the system; 0 is the kernel.
    pub facility: u32,
    /// `kernel`, or the program that wrote it.
    pub identifier: Vec<u8>,
    /// The program's process id, empty for the kernel.
    pub pid: Vec<u8>,
    /// The unit that PID 1 talks about; empty otherwise.
    pub unit: String,
    /// The text.
    pub message: Vec<u8>,
    /// The device it is about, in the kernel's form such as `+pci:0000:00:01.0`.
    pub device: String,
    /// The subsystem it is about.
    pub subsystem: String,
}

const UNIT_SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".target",
    ".mount",
    ".automount",
    ".timer",
    ".path",
    ".slice",
    ".scope",
    ".swap",
    ".device",
];

/// The records of one read, which is one record unless the file is not really the kernel's.
pub fn records(bytes: &[u8]) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        match (line.strip_prefix(b" "), all.last_mut()) {
            // A line that begins with a blank is a property of the record above it.
            (Some(property), Some(above)) => above.note(&unescape(property)),
            (Some(_), None) => {}
            (None, _) => all.extend(record(line)),
        }
    }
    all
}

impl Record {
    fn note(&mut self, property: &[u8]) {
        let text = String::from_utf8_lossy(property);
        match text.split_once('=') {
            Some(("DEVICE", device)) => self.device = device.to_owned(),
            Some(("SUBSYSTEM", subsystem)) => self.subsystem = subsystem.to_owned(),
            Some(_) | None => {}
        }
    }

    /// Is it a line of PID 1?
    pub fn is_of_manager(&self) -> bool {
        self.facility != 0 && self.pid == b"1"
    }

    /// The fields that the record itself tells.
    pub fn describe(&self, fields: &mut Fields) {
        fields.text("_SOURCE_MONOTONIC_TIMESTAMP", &self.monotonic_us.to_string());
        fields.known("_KERNEL_DEVICE", &self.device);
        fields.known("_KERNEL_SUBSYSTEM", &self.subsystem);
        fields.text("PRIORITY", &self.priority.to_string());
        fields.text("SYSLOG_FACILITY", &self.facility.to_string());
        if !self.identifier.is_empty() {
            fields.push(b"SYSLOG_IDENTIFIER", &self.identifier);
        }
        if !self.pid.is_empty() {
            fields.push(b"SYSLOG_PID", &self.pid);
        }
        fields.known("UNIT", &self.unit);
        fields.push(b"MESSAGE", &self.message);
    }
}

fn record(line: &[u8]) -> Option<Record> {
    let semicolon = line.iter().position(|byte| *byte == b';')?;
    let (prefix, message) = line.split_at(semicolon);
    let mut fields = std::str::from_utf8(prefix).ok()?.split(',');
    let level: u32 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let monotonic_us = fields.next()?.parse().ok()?;
    let mut record = Record {
        sequence,
        monotonic_us,
        priority: (level & 7) as u8,
        facility: level >> 3,
        identifier: b"kernel".to_vec(),
        pid: Vec::new(),
        unit: String::new(),
        message: unescape(message.get(1..).unwrap_or_default()),
        device: String::new(),
        subsystem: String::new(),
    };
    if record.facility != 0 {
        record.identifier = Vec::new();
        if let Some((identifier, pid, text)) = super::syslog::split_tag(&record.message) {
            let (identifier, text) = (identifier.to_owned(), text.to_owned());
            record.pid = pid.to_owned();
            // PID 1 does not write its number.
            if identifier == b"init" && pid.is_empty() {
                record.pid = b"1".to_vec();
                record.unit = unit_in(&String::from_utf8_lossy(&text)).unwrap_or_default().to_owned();
            }
            record.identifier = identifier;
            record.message = text;
        }
    }
    Some(record)
}

/// The first word that is the name of a unit.
fn unit_in(message: &str) -> Option<&str> {
    let words = message.split([' ', '\'', '"']).map(|word| word.trim_end_matches([':', ',', '.', ';']));
    words.into_iter().find(|word| {
        UNIT_SUFFIXES.iter().any(|suffix| word.len() > suffix.len() && word.ends_with(suffix)) && !word.contains('/')
    })
}

/// The kernel writes `\xNN` for bytes that are no printable ASCII.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(b"\\x").and_then(|after| std::str::from_utf8(after.get(..2)?).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_records_keep_their_text_and_their_device() {
        let bytes = b"6,339,5140900,-;NET: Registered PF_INET6: a\\x0ab\\\n SUBSYSTEM=net\n DEVICE=n2\n";
        let found = records(bytes);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].sequence, found[0].monotonic_us, found[0].priority), (339, 5_140_900, 6));
        assert_eq!((found[0].identifier.as_slice(), found[0].unit.as_str()), (&b"kernel"[..], ""));
        assert_eq!(found[0].message, b"NET: Registered PF_INET6: a\nb\\");
        assert_eq!((found[0].subsystem.as_str(), found[0].device.as_str()), ("net", "n2"));
        let mut fields = Fields::default();
        found[0].describe(&mut fields);
        assert_eq!((fields.str("_KERNEL_DEVICE"), fields.str("SYSLOG_FACILITY")), (Some("n2"), Some("0")));
    }

    #[test]
    fn lines_of_pid_1_belong_to_the_unit_they_name() {
        for (text, unit) in [
            ("Started ssh.service - OpenBSD Secure Shell server.", "ssh.service"),
            ("ssh.service: Main process exited, code=exited", "ssh.service"),
            ("Reached target multi-user.target.", "multi-user.target"),
            ("Mounted 'tmp.mount'", "tmp.mount"),
            ("Reading /usr/lib/systemd/system/a.service", ""),
            ("Loaded 12 units", ""),
        ] {
            let found = records(format!("30,1,2,-;init: {text}\n").as_bytes());
            assert_eq!(found[0].unit, unit, "{text}");
            assert!(found[0].is_of_manager());
            assert_eq!((found[0].identifier.as_slice(), found[0].facility, found[0].priority), (&b"init"[..], 3, 6));
            assert_eq!(found[0].message, text.as_bytes());
        }
        let other = records(b"30,1,2,-;thing[7]: Started ssh.service\n");
        assert_eq!((other[0].unit.as_str(), other[0].pid.as_slice()), ("", &b"7"[..]));
    }

    #[test]
    fn what_is_no_record_is_skipped() {
        for bytes in [&b""[..], b"\n", b"x,1,2,-;a\n", b"6,1\n", b"6,1\n", b"6,1,2,-\n", b" A=B\n"] {
            assert_eq!(records(bytes), []);
        }
        assert_eq!(unescape(b"\\xzz\\x4"), b"\\xzz\\x4");
    }
}
