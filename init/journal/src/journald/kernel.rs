//! Records of /dev/kmsg. Pure: bytes in, records out.
//!
//! What programs wrote to the kernel's log (PID 1 above all) has a facility other than 0 and begins with
//! `identifier[pid]: `. PID 1 names the unit it talks about, so its lines belong to that unit.

/// A record of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number since the kernel started.
    pub sequence: u64,
    /// When, in microseconds since the kernel started.
    pub monotonic_us: u64,
    /// 0 to 7.
    pub priority: u8,
    /// `kernel`, or the program that wrote it.
    pub identifier: String,
    /// The program's process id, 0 for the kernel.
    pub pid: i32,
    /// The unit that PID 1 talks about; empty otherwise.
    pub unit: String,
    /// The text.
    pub message: String,
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
    // A line that begins with a blank is a property of the record above it (SUBSYSTEM=...).
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(b" ")).filter_map(record).collect()
}

fn record(line: &[u8]) -> Option<Record> {
    let text = String::from_utf8_lossy(line);
    let (prefix, message) = text.split_once(';')?;
    let mut fields = prefix.split(',');
    let level: u32 = fields.next()?.parse().ok()?;
    let sequence = fields.next()?.parse().ok()?;
    let monotonic_us = fields.next()?.parse().ok()?;
    let message = unescape(message);
    let mut record = Record {
        sequence,
        monotonic_us,
        priority: (level & 7) as u8,
        identifier: "kernel".into(),
        pid: 0,
        unit: String::new(),
        message,
    };
    let by_a_program = level >> 3 != 0;
    if by_a_program && let Some((identifier, pid, text)) = super::syslog::split_tag(&record.message) {
        let (identifier, text) = (identifier.to_owned(), text.to_owned());
        // PID 1 does not write its number.
        record.pid = pid.unwrap_or(i32::from(identifier == "init"));
        if record.pid == 1 {
            record.unit = unit_in(&text).unwrap_or_default().to_owned();
        }
        record.identifier = identifier;
        record.message = text;
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
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(position) = rest.find("\\x") {
        let (before, escape) = rest.split_at(position);
        bytes.extend_from_slice(before.as_bytes());
        match escape.get(2..4).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = escape.get(2..).unwrap_or_default();
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_records_keep_their_text() {
        let bytes = b"6,339,5140900,-;NET: Registered PF_INET6: a\\x0ab\\\n SUBSYSTEM=net\n DEVICE=n2\n";
        let found = records(bytes);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].sequence, found[0].monotonic_us, found[0].priority), (339, 5_140_900, 6));
        assert_eq!((found[0].identifier.as_str(), found[0].pid, found[0].unit.as_str()), ("kernel", 0, ""));
        assert_eq!(found[0].message, "NET: Registered PF_INET6: a\nb\\");
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
            assert_eq!((found[0].identifier.as_str(), found[0].pid, found[0].priority), ("init", 1, 6));
            assert_eq!(found[0].message, text);
        }
        let other = records(b"30,1,2,-;thing[7]: Started ssh.service\n");
        assert_eq!(other[0].unit, "");
    }

    #[test]
    fn what_is_no_record_is_skipped() {
        for bytes in [&b""[..], b"\n", b"x,1,2,-;a\n", b"6,1\n", b"6,1,2,-\n", b" A=B\n"] {
            assert_eq!(records(bytes), []);
        }
        assert_eq!(unescape("\\xzz\\x4"), "\\xzz\\x4");
    }
}
