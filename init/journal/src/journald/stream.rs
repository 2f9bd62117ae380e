//! Standard output and error of a service: seven header lines, then one message a line. Pure: bytes in, lines out.
//!
//! The header is systemd's: identifier, unit, priority, whether `<N>` prefixes count, and three switches that are not
//! used here. A stream holds at most one unfinished line of bounded length.

use ferrite_control::log_line::MAX_MESSAGE_BYTES;

use super::syslog::split_priority;

const HEADER_LINES: usize = 7;
const HEADER_LINE_MAX: usize = 1024;

/// What the header said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The program's name; may be empty.
    pub identifier: String,
    /// The unit; believed only from root.
    pub unit: String,
    /// For lines without a prefix.
    pub priority: u8,
    /// Whether `<N>` at the beginning of a line is its priority.
    pub level_prefix: bool,
}

/// A line of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// 0 to 7.
    pub priority: u8,
    /// Without its newline and prefix.
    pub message: String,
}

/// The header is malformed: the stream is to be closed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("header of a log stream is malformed in line {line}")]
pub struct BadHeader {
    line: usize,
}

/// The state of one stream.
#[derive(Debug, Default)]
pub struct StreamParser {
    header: Header,
    header_lines: usize,
    bytes: Vec<u8>,
}

impl StreamParser {
    /// What the header said so far.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Takes what was read, gives the lines that are complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Line>, BadHeader> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_complete) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.bytes.extend_from_slice(text);
            if self.header_lines < HEADER_LINES {
                if self.bytes.len() > HEADER_LINE_MAX {
                    return Err(BadHeader { line: self.header_lines + 1 });
                }
                if is_complete {
                    self.header_line()?;
                }
                continue;
            }
            self.split_overlong(&mut lines);
            if is_complete {
                let line = std::mem::take(&mut self.bytes);
                lines.extend(self.line(&line));
            }
        }
        Ok(lines)
    }

    /// The stream ended: what is left is a line without its newline.
    pub fn finish(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.bytes);
        if self.header_lines < HEADER_LINES || rest.is_empty() { None } else { self.line(&rest) }
    }

    /// A line longer than a message becomes several.
    fn split_overlong(&mut self, lines: &mut Vec<Line>) {
        while self.bytes.len() > MAX_MESSAGE_BYTES {
            let rest = self.bytes.split_off(MAX_MESSAGE_BYTES);
            let line = std::mem::replace(&mut self.bytes, rest);
            lines.extend(self.line(&line));
        }
    }

    fn header_line(&mut self) -> Result<(), BadHeader> {
        let bytes = std::mem::take(&mut self.bytes);
        let text = String::from_utf8_lossy(&bytes);
        let bad = BadHeader { line: self.header_lines + 1 };
        match self.header_lines {
            0 => self.header.identifier = text.into_owned(),
            1 => self.header.unit = text.into_owned(),
            2 => {
                let number: u16 = text.parse().map_err(|_| bad)?;
                self.header.priority = (number & 7) as u8;
            }
            3 => self.header.level_prefix = matches!(&*text, "1" | "yes" | "true"),
            _ => {}
        }
        self.header_lines += 1;
        Ok(())
    }

    fn line(&self, bytes: &[u8]) -> Option<Line> {
        let text = String::from_utf8_lossy(bytes);
        let text = text.trim_end_matches(['\r', '\0']);
        let (priority, text) = match split_priority(text).filter(|_| self.header.level_prefix) {
            Some((priority, rest)) => (priority, rest),
            None => (self.header.priority, text),
        };
        // Empty lines say nothing and would double the log of some programs.
        (!text.trim().is_empty()).then(|| Line { priority, message: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"sshd\nssh.service\n30\n1\n0\n0\n0\n";

    fn line(priority: u8, message: &str) -> Line {
        Line { priority, message: message.into() }
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(b"one\n<3>bad\n\n  \ntwo\r\n<x>y\nlast");
        let expected = [line(6, "one"), line(3, "bad"), line(6, "two"), line(6, "<x>y")];
        for step in [1, 2, 7, bytes.len()] {
            let mut parser = StreamParser::default();
            let lines: Vec<Line> =
                bytes.chunks(step).flat_map(|chunk| parser.push(chunk).expect("a good header")).collect();
            assert_eq!(lines, expected);
            assert_eq!(parser.header().unit, "ssh.service");
            assert_eq!(parser.finish(), Some(line(6, "last")));
            assert_eq!(parser.finish(), None);
        }
    }

    #[test]
    fn without_level_prefixes_they_are_text() {
        let mut parser = StreamParser::default();
        let lines = parser.push(b"\n\n4\n0\n0\n0\n0\n<3>x\n").expect("a good header");
        assert_eq!(lines, [line(4, "<3>x")]);
    }

    #[test]
    fn an_endless_line_is_cut_into_messages_and_memory_is_bounded() {
        let mut parser = StreamParser::default();
        parser.push(HEADER).expect("a good header");
        let mut count = 0;
        for _ in 0..100 {
            count += parser.push(&[b'x'; 10_000]).expect("a good header").len();
            assert!(parser.bytes.len() <= MAX_MESSAGE_BYTES);
        }
        assert_eq!(count, 1_000_000 / MAX_MESSAGE_BYTES);
    }

    #[test]
    fn a_bad_header_is_an_error() {
        assert_eq!(StreamParser::default().push(b"a\nb\nhigh\n").expect_err("no number"), BadHeader { line: 3 });
        let endless = StreamParser::default().push(&[b'x'; HEADER_LINE_MAX + 1]);
        assert_eq!(endless.expect_err("no end"), BadHeader { line: 1 });
        assert_eq!(StreamParser::default().finish(), None);
    }
}
