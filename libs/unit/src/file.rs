//! The grammar of a unit file: sections, assignments, continuation lines, comments. Pure.
//!
//! A comment line inside a continued value is skipped and the value goes on, as in systemd.

use std::rc::Rc;

/// Bytes of a unit file that are read at most.
pub const FILE_MAX: usize = 1024 * 1024;
/// Bytes of one assignment after joining its lines.
pub const LINE_MAX: usize = 1024 * 1024;

/// Faults that are told of at most, of a file and of a unit.
pub const PROBLEMS_MAX: usize = 64;

/// One assignment and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the section, without brackets.
    pub section: Rc<str>,
    /// What stands before `=`.
    pub key: String,
    /// What stands after `=`, trimmed, lines joined.
    pub value: String,
    /// The file.
    pub path: Rc<str>,
    /// The line where the assignment begins, from 1.
    pub line: u32,
}

/// A fault of a file which does not keep the rest from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: Rc<str>,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What is wrong and what happens instead.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Everything a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedFile {
    /// The assignments in order.
    pub entries: Vec<Entry>,
    /// The faults in order.
    pub problems: Vec<Problem>,
    /// The fault that ended the reading, if one did: the file as a whole is unusable.
    pub fatal: Option<Problem>,
}

/// Parses the text of a file; faults are collected. Only a few end the reading.
pub fn parse(path: &str, bytes: &[u8]) -> ParsedFile {
    let mut reader = Reader { path: Rc::from(path), section: None, out: ParsedFile::default() };
    if bytes.len() > FILE_MAX {
        reader.fatal(0, "file is longer than 1 MiB".into());
        return reader.out;
    }
    let mut joined: Vec<u8> = Vec::new();
    let mut first_line = 0;
    let mut continued = false;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (number, line) in (1u32..).zip(lines(bytes)) {
        if matches!(line.trim_ascii_start().first(), Some(b'#' | b';')) {
            continue;
        }
        if !continued {
            first_line = number;
            joined.clear();
        }
        joined.extend_from_slice(line);
        continued = ends_with_escape(&joined);
        if joined.len() > LINE_MAX {
            reader.fatal(first_line, "line is longer than 1 MiB".into());
        } else if continued {
            // What follows is set off by a blank, and keeps its own.
            joined.pop();
            joined.push(b' ');
            continue;
        } else {
            reader.statement(first_line, &joined);
        }
        if reader.out.fatal.is_some() {
            return reader.out;
        }
    }
    if continued {
        reader.statement(first_line, &joined);
    }
    reader.out
}

/// Lines ended by `\n`, `\r\n`, `\r` or a NUL byte.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n');
    lines.flat_map(|line| line.strip_suffix(b"\r").unwrap_or(line).split(|byte| matches!(byte, b'\r' | 0)))
}

fn ends_with_escape(text: &[u8]) -> bool {
    text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// May this be the name of a section?
fn is_safe(name: &str) -> bool {
    !name.chars().any(|c| c.is_ascii_control() || matches!(c, '"' | '\'' | '\\'))
}

struct Reader {
    path: Rc<str>,
    section: Option<Rc<str>>,
    out: ParsedFile,
}

impl Reader {
    fn problem(&mut self, line: u32, message: String) {
        if self.out.problems.len() >= PROBLEMS_MAX {
            return;
        }
        self.out.problems.push(Problem { path: self.path.clone(), line, message });
    }

    fn fatal(&mut self, line: u32, message: String) {
        self.out.fatal =
            Some(Problem { path: self.path.clone(), line, message: format!("{message}, refusing the file") });
    }

    fn statement(&mut self, line: u32, bytes: &[u8]) {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() {
            return;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.fatal(line, "line is not UTF-8".into());
            return;
        };
        if let Some(rest) = text.strip_prefix('[') {
            match rest.strip_suffix(']') {
                Some(name) if is_safe(name) => self.section = Some(Rc::from(name)),
                Some(_) => self.fatal(line, "section header has characters that are not allowed".into()),
                None => self.fatal(line, format!("section header '{text}' does not end with ']'")),
            }
            return;
        }
        let Some((key, value)) = text.split_once('=') else {
            self.problem(line, format!("'{text}' has no '=', ignoring the line"));
            return;
        };
        let key = key.trim_end();
        if key.is_empty() {
            self.problem(line, "nothing stands before '=', ignoring the line".into());
            return;
        }
        let Some(section) = self.section.clone() else {
            self.problem(line, format!("{key}= stands outside of any section, ignoring it"));
            return;
        };
        let value = value.trim().to_owned();
        self.out.entries.push(Entry { section, key: key.to_owned(), value, path: self.path.clone(), line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, u32)> {
        parse("x", text.as_bytes()).entries.into_iter().map(|e| (e.key, e.value, e.line)).collect()
    }

    #[test]
    fn continued_lines_join_across_comments_and_keep_their_blanks() {
        let text = "[S]\nA=one \\\n# inside\n\ttwo \\\n;too\nthree\nB=x\n";
        assert_eq!(pairs(text), [("A".into(), "one  \ttwo  three".into(), 2), ("B".into(), "x".into(), 7)]);
    }

    #[test]
    fn a_double_backslash_does_not_continue() {
        assert_eq!(pairs("[S]\nA=x\\\\\nB=y"), [("A".into(), "x\\\\".into(), 2), ("B".into(), "y".into(), 3)]);
    }

    #[test]
    fn a_bom_crlf_and_a_missing_last_newline_are_fine() {
        assert_eq!(pairs("\u{feff}[S]\r\nA = b \r\n C=d"), [("A".into(), "b".into(), 2), ("C".into(), "d".into(), 3)]);
    }

    #[test]
    fn faults_are_reported_with_their_line_and_the_rest_is_used() {
        let parsed = parse("/u", b"A=1\n[S]\nnonsense\n=x\nB=2");
        assert_eq!(parsed.entries.len(), 1);
        let lines: Vec<u32> = parsed.problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 3, 4]);
        assert!(parsed.problems[1].to_string().starts_with("/u:3: 'nonsense' has no '='"));
        assert_eq!(parsed.fatal, None);
    }

    #[test]
    fn a_broken_header_or_a_line_that_is_not_text_ends_the_file() {
        for text in [&b"[S]\nA=1\n[T\nB=2"[..], b"[S]\nA=1\nB=\xff\nC=3", b"[S]\nA=1\n[T\\]"] {
            let parsed = parse("/u", text);
            assert_eq!(parsed.entries.len(), 1);
            assert_eq!(parsed.fatal.unwrap().line, 3);
        }
    }

    #[test]
    fn every_end_of_line_counts() {
        assert_eq!(pairs("[S]\rA=1\r\nB=2\0C=3\n").len(), 3);
    }

    #[test]
    fn an_overlong_line_ends_the_file() {
        let mut text = b"[S]\n".to_vec();
        while text.len() < LINE_MAX + 100 {
            text.extend_from_slice(b"a = b\\\n");
        }
        // Files are not that long, so only the length of the whole is met.
        assert!(parse("/u", &text).fatal.is_some());
    }

    #[test]
    fn a_continuation_at_the_end_of_the_file_is_kept() {
        assert_eq!(pairs("[S]\nA=x \\"), [("A".into(), "x".into(), 2)]);
    }
}
