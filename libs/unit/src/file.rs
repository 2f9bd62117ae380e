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
}

/// Parses the text of a file; faults are collected, never fatal.
pub fn parse(path: &str, bytes: &[u8]) -> ParsedFile {
    let mut reader = Reader { path: Rc::from(path), section: None, out: ParsedFile::default() };
    if bytes.len() > FILE_MAX {
        reader.problem(0, "file is longer than 1 MiB, ignoring it".into());
        return reader.out;
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut joined = String::new();
    let mut first_line = 0;
    let mut continued = false;
    for (number, raw) in (1u32..).zip(lines(text)) {
        let line = raw.trim_start();
        if line.starts_with(['#', ';']) {
            continue;
        }
        if !continued {
            first_line = number;
            joined.clear();
        }
        joined.push_str(line);
        continued = ends_with_escape(&joined);
        if continued {
            joined.pop();
            joined.push(' ');
            if joined.len() > LINE_MAX {
                reader.problem(first_line, "assignment is longer than 1 MiB, ignoring it".into());
                continued = false;
            }
            continue;
        }
        reader.statement(first_line, joined.trim());
    }
    if continued {
        reader.statement(first_line, joined.trim());
    }
    reader.out
}

/// Lines ended by `\n`, `\r\n` or `\r`.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn ends_with_escape(text: &str) -> bool {
    text.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
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

    fn statement(&mut self, line: u32, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(rest) = text.strip_prefix('[') {
            match rest.strip_suffix(']') {
                Some(name) => self.section = Some(Rc::from(name)),
                None => self.problem(line, format!("section header '{text}' does not end with ']', ignoring the line")),
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
    fn continued_lines_join_across_comments() {
        let text = "[S]\nA=one \\\n# inside\n  two \\\n;too\nthree\nB=x\n";
        assert_eq!(pairs(text), [("A".into(), "one  two  three".into(), 2), ("B".into(), "x".into(), 7)]);
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
        let parsed = parse("/u", b"A=1\n[S\n[S]\nnonsense\n=x\nB=2");
        assert_eq!(parsed.entries.len(), 1);
        let lines: Vec<u32> = parsed.problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [1, 2, 4, 5]);
        assert!(parsed.problems[2].to_string().starts_with("/u:4: 'nonsense' has no '='"));
    }

    #[test]
    fn a_continuation_at_the_end_of_the_file_is_kept() {
        assert_eq!(pairs("[S]\nA=x \\"), [("A".into(), "x".into(), 2)]);
    }
}
