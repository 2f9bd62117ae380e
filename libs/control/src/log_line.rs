//! The log on disk: one line of text a message. Pure.
//!
//! `CRC32 REALTIME_US MONOTONIC_US BOOT PRIORITY SOURCE PID UNIT IDENTIFIER MESSAGE`, blanks between the fields, `-`
//! for an empty one. The checksum covers the rest of the line, so a line torn by a power cut is skipped, never shown.

use std::fmt::Write as _;

/// The longest message that is kept; the rest is cut off.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024;
/// The longest unit name or identifier that is kept.
pub const MAX_FIELD_BYTES: usize = 256;
/// No line is longer than this: every byte may become four.
pub const MAX_LINE_BYTES: usize = 4 * (MAX_MESSAGE_BYTES + 2 * MAX_FIELD_BYTES) + 256;

/// How a message came to the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogSource {
    /// The kernel log, PID 1 included.
    Kernel,
    /// Standard output or error of a service.
    #[default]
    Stdout,
    /// `/dev/log`.
    Syslog,
    /// The native socket.
    Journal,
    /// journald itself.
    Driver,
}

impl LogSource {
    /// systemd's word for `_TRANSPORT`.
    pub fn as_str(self) -> &'static str {
        match self {
            LogSource::Kernel => "kernel",
            LogSource::Stdout => "stdout",
            LogSource::Syslog => "syslog",
            LogSource::Journal => "journal",
            LogSource::Driver => "driver",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [LogSource::Kernel, LogSource::Stdout, LogSource::Syslog, LogSource::Journal, LogSource::Driver]
            .into_iter()
            .find(|source| source.as_str() == text)
    }
}

/// One message of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogEntry {
    /// When, by the wall clock, in microseconds since 1970.
    pub realtime_us: u64,
    /// When, in microseconds since the kernel started.
    pub monotonic_us: u64,
    /// Which start of the machine (32 hexadecimal digits).
    pub boot_id: String,
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// How it came.
    pub source: LogSource,
    /// Process id of the sender; 0: unknown.
    pub pid: i32,
    /// The unit; empty: none.
    pub unit: String,
    /// The program's name for itself.
    pub identifier: String,
    /// The text, possibly of several lines.
    pub message: String,
}

/// The entry as a line with its newline.
pub fn render(entry: &LogEntry) -> String {
    let mut body = format!(
        "{} {} {} {} {} {}",
        entry.realtime_us,
        entry.monotonic_us,
        if entry.boot_id.is_empty() { "-" } else { &entry.boot_id },
        entry.priority,
        entry.source.as_str(),
        entry.pid
    );
    for field in [&entry.unit, &entry.identifier] {
        body.push(' ');
        match field.as_str() {
            "" => body.push('-'),
            "-" => body.push_str("\\x2d"),
            text => escape(cut(text, MAX_FIELD_BYTES), &mut body, Blanks::Escaped),
        }
    }
    body.push(' ');
    escape(cut(&entry.message, MAX_MESSAGE_BYTES), &mut body, Blanks::Kept);
    format!("{:08x} {body}\n", crc32fast::hash(body.as_bytes()))
}

/// The entry of a line without its newline; `None` for anything that `render` did not write.
pub fn parse(line: &[u8]) -> Option<LogEntry> {
    let (checksum, body) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if checksum.len() != 8 || u32::from_str_radix(checksum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
        return None;
    }
    let mut fields = body.splitn(9, ' ');
    let mut next = || fields.next();
    Some(LogEntry {
        realtime_us: next()?.parse().ok()?,
        monotonic_us: next()?.parse().ok()?,
        boot_id: next().filter(|id| *id != "-").unwrap_or_default().to_owned(),
        priority: next()?.parse().ok().filter(|priority| *priority <= 7)?,
        source: LogSource::parse(next()?)?,
        pid: next()?.parse().ok()?,
        unit: field(next()?)?,
        identifier: field(next()?)?,
        message: unescape(next()?)?,
    })
}

fn field(text: &str) -> Option<String> {
    if text == "-" { Some(String::new()) } else { unescape(text) }
}

/// The longest beginning of at most `limit` bytes that ends between characters.
pub fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[derive(Clone, Copy, PartialEq)]
enum Blanks {
    Kept,
    Escaped,
}

fn escape(text: &str, out: &mut String, blanks: Blanks) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            ' ' if blanks == Blanks::Escaped => out.push_str("\\x20"),
            // Control characters are below U+00A0: two digits are enough, in this code of characters, not of bytes.
            control if control.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(control)); // writing to a String cannot fail
            }
            other => out.push(other),
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next()? {
            '\\' => out.push('\\'),
            'n' => out.push('\n'),
            'x' => {
                let code = characters.next()?.to_digit(16)? * 16 + characters.next()?.to_digit(16)?;
                out.push(char::from_u32(code)?);
            }
            _ => return None,
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry {
            realtime_us: 1_795_619_045_123_456,
            monotonic_us: 5_000_000,
            boot_id: "0123456789abcdef0123456789abcdef".into(),
            priority: 6,
            source: LogSource::Syslog,
            pid: 812,
            unit: "ssh.service".into(),
            identifier: "sshd".into(),
            message: "Server listening on 0.0.0.0 port 22.".into(),
        }
    }

    #[test]
    fn a_line_is_readable_text() {
        assert_eq!(
            render(&entry()),
            "9065e99a 1795619045123456 5000000 0123456789abcdef0123456789abcdef 6 syslog 812 ssh.service sshd \
             Server listening on 0.0.0.0 port 22.\n"
        );
    }

    #[test]
    fn a_line_that_lost_or_changed_a_byte_is_skipped() {
        let line = render(&entry());
        let whole = line.trim_end().as_bytes();
        assert_eq!(parse(whole), Some(entry()));
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "torn after {end} bytes");
        }
        for position in 0..whole.len() {
            let mut bad = whole.to_vec();
            bad[position] ^= 1;
            assert_ne!(parse(&bad), Some(entry()), "changed at {position}");
        }
        assert_eq!(parse(&[0; 64]), None);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = LogEntry { message: "\u{e9}".repeat(MAX_MESSAGE_BYTES), unit: "\u{1}".repeat(1000), ..entry() };
        let line = render(&long);
        assert!(line.len() <= MAX_LINE_BYTES);
        let back = parse(line.trim_end().as_bytes()).expect("a whole line");
        assert_eq!(back.message.len(), MAX_MESSAGE_BYTES);
        assert_eq!(back.unit.len(), MAX_FIELD_BYTES);
        assert_eq!(cut("\u{e9}\u{e9}", 3), "\u{e9}");
    }

    proptest::proptest! {
        #[test]
        fn every_entry_is_one_line_and_comes_back(
            message: String, unit in ".{0,60}", identifier in ".{0,60}", pid: i32
        ) {
            let entry = LogEntry { message, unit, identifier, pid, ..entry() };
            let line = render(&entry);
            proptest::prop_assert_eq!(line.matches('\n').count(), 1);
            proptest::prop_assert_eq!(parse(&line.as_bytes()[..line.len() - 1]), Some(entry));
        }

        #[test]
        fn no_line_makes_the_reader_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }
    }
}
