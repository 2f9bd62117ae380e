//! Standard output and error of a service: seven header lines, then one message a line. Pure: bytes in, lines out.
//!
//! The header is systemd's: identifier, unit, priority, whether `<N>` prefixes count, and three switches that are not
//! used here. A stream holds at most one unfinished line of bounded length.

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
    /// Facility and priority as one number, for lines without a prefix.
    pub priority: u16,
    /// Whether `<N>` at the beginning of a line is its priority.
    pub level_prefix: bool,
}

impl Header {
    /// As lines that `parse` understands, to be kept over a restart of the daemon.
    pub fn render(&self) -> String {
        let Header { identifier, unit, priority, level_prefix } = self;
        format!("{identifier}\n{unit}\n{priority}\n{}\n0\n0\n0\n", u8::from(*level_prefix))
    }
}

/// Why a line ended where it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineBreak {
    /// With a newline.
    Newline,
    /// It was too long.
    Length,
    /// The stream ended.
    End,
}

/// A line of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Facility and priority as one number.
    pub priority: u16,
    /// Without its newline and prefix.
    pub message: Vec<u8>,
    /// Why it ended.
    pub end: LineBreak,
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

    /// Is the header whole?
    pub fn is_open(&self) -> bool {
        self.header_lines == HEADER_LINES
    }

    /// Takes what was read, gives the lines that are complete.
    pub fn push(&mut self, bytes: &[u8], line_max: usize, lines: &mut Vec<Line>) -> Result<(), BadHeader> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_complete) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if !self.is_open() {
                self.bytes.extend_from_slice(text);
                if self.bytes.len() > HEADER_LINE_MAX {
                    return Err(BadHeader { line: self.header_lines + 1 });
                }
                if is_complete {
                    self.header_line()?;
                }
                continue;
            }
            if self.bytes.is_empty() && is_complete && text.len() <= line_max {
                // The usual case copies a line once.
                lines.extend(self.line(text, LineBreak::Newline));
                continue;
            }
            self.bytes.extend_from_slice(text);
            self.split_overlong(line_max, lines);
            if is_complete {
                let line = std::mem::take(&mut self.bytes);
                lines.extend(self.line(&line, LineBreak::Newline));
            }
        }
        Ok(())
    }

    /// The stream ended: what is left is a line without its newline.
    pub fn finish(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.bytes);
        if !self.is_open() || rest.is_empty() { None } else { self.line(&rest, LineBreak::End) }
    }

    /// A line longer than a message becomes several.
    fn split_overlong(&mut self, line_max: usize, lines: &mut Vec<Line>) {
        while self.bytes.len() > line_max {
            let rest = self.bytes.split_off(line_max);
            let line = std::mem::replace(&mut self.bytes, rest);
            lines.extend(self.line(&line, LineBreak::Length));
        }
    }

    fn header_line(&mut self) -> Result<(), BadHeader> {
        let bytes = std::mem::take(&mut self.bytes);
        let text = String::from_utf8_lossy(&bytes);
        let bad = BadHeader { line: self.header_lines + 1 };
        match self.header_lines {
            0 => self.header.identifier = text.into_owned(),
            1 => self.header.unit = text.into_owned(),
            2 => self.header.priority = text.parse().ok().filter(|number| *number < 1024).ok_or(bad)?,
            3 => self.header.level_prefix = matches!(&*text, "1" | "yes" | "true"),
            _ => {}
        }
        self.header_lines += 1;
        Ok(())
    }

    fn line(&self, bytes: &[u8], end: LineBreak) -> Option<Line> {
        let kept = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | 0)).map_or(0, |last| last + 1);
        let text = bytes.get(..kept).unwrap_or_default();
        let prefix = if self.header.level_prefix { split_priority(text) } else { None };
        let (priority, text) = match prefix {
            // A prefix without a facility keeps that of the stream.
            Some((number, rest)) if number < 8 => (self.header.priority & !7 | number, rest),
            Some((number, rest)) => (number, rest),
            None => (self.header.priority, text),
        };
        // Empty lines say nothing and would double the log of some programs.
        (!text.trim_ascii().is_empty()).then(|| Line { priority, message: text.to_owned(), end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"sshd\nssh.service\n30\n1\n0\n0\n0\n";

    fn line(priority: u16, message: &str, end: LineBreak) -> Line {
        Line { priority, message: message.into(), end }
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        let mut bytes = HEADER.to_vec();
        bytes.extend_from_slice(b"one\n<3>bad\n\n  \ntwo\r\n<x>y\n<14>z\nlast");
        let newline = LineBreak::Newline;
        let expected = [
            line(30, "one", newline),
            line(27, "bad", newline),
            line(30, "two", newline),
            line(30, "<x>y", newline),
            line(14, "z", newline),
        ];
        for step in [1, 2, 7, bytes.len()] {
            let mut parser = StreamParser::default();
            let mut lines = Vec::new();
            bytes.chunks(step).for_each(|chunk| parser.push(chunk, 1000, &mut lines).expect("a good header"));
            assert_eq!(lines, expected);
            assert_eq!(parser.header().unit, "ssh.service");
            assert_eq!(parser.header().render().as_bytes(), HEADER);
            assert_eq!(parser.finish(), Some(line(30, "last", LineBreak::End)));
            assert_eq!(parser.finish(), None);
        }
    }

    #[test]
    fn without_level_prefixes_they_are_text() {
        let (mut parser, mut lines) = (StreamParser::default(), Vec::new());
        parser.push(b"\n\n4\n0\n0\n0\n0\n<3>x\n", 1000, &mut lines).expect("a good header");
        assert_eq!(lines, [line(4, "<3>x", LineBreak::Newline)]);
    }

    #[test]
    fn an_endless_line_is_cut_into_messages_and_memory_is_bounded() {
        let (mut parser, mut lines) = (StreamParser::default(), Vec::new());
        parser.push(HEADER, 1000, &mut lines).expect("a good header");
        for _ in 0..100 {
            parser.push(&[b'x'; 777], 1000, &mut lines).expect("a good header");
            assert!(parser.bytes.len() <= 1000);
        }
        assert_eq!(lines.len(), 77);
        assert!(lines.iter().all(|line| line.end == LineBreak::Length));
    }

    #[test]
    fn a_bad_header_is_an_error() {
        let push = |bytes: &[u8]| StreamParser::default().push(bytes, 1000, &mut Vec::new());
        assert_eq!(push(b"a\nb\nhigh\n").expect_err("no number"), BadHeader { line: 3 });
        assert_eq!(push(&[b'x'; HEADER_LINE_MAX + 1]).expect_err("no end"), BadHeader { line: 1 });
        assert_eq!(StreamParser::default().finish(), None);
    }
}
