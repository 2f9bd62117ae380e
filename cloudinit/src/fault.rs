//! What is wrong with a document and where: collected, sorted, printed all at once. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// The most faults of one document that are listed; of the others only the worst counts.
pub(crate) const MAX_FAULTS: usize = 1000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// The whole document cannot be used.
    Broken,
    /// This part is left out, the rest applies.
    Error,
    /// An error at the desk and a warning on the machine, where it works all the same: a key that was given twice, a
    /// truth value in quotes, an empty list.
    Desk,
    /// It works, but perhaps not as it was meant.
    Warning,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// From 1; 0 when the fault has no place.
    pub line: u64,
    /// From 1.
    pub column: u64,
    /// What is wrong and what would be right.
    pub message: String,
    /// The line it is in, when that is not a line of the file.
    pub snippet: Option<String>,
}

impl Fault {
    /// The severity as it is printed.
    pub(crate) fn word(&self) -> &'static str {
        match self.severity {
            Severity::Broken | Severity::Error | Severity::Desk => "error",
            Severity::Warning => "warning",
        }
    }

    /// `FILE:LINE:COL: error: text`.
    pub(crate) fn line_for(&self, file: &str) -> String {
        format!("{file}:{}:{}: {}: {}", self.line, self.column, self.word(), self.message)
    }
}

/// The faults of one document: the first [`MAX_FAULTS`], and the worst of those that are not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(pub Vec<Fault>, pub Option<Severity>);

impl Faults {
    /// Adds a fault at a place.
    pub(crate) fn push(&mut self, severity: Severity, (line, column): (u64, u64), message: impl Into<String>) {
        match self.is_full() {
            true => self.leave_out(severity),
            false => self.0.push(Fault { severity, line, column, message: message.into(), snippet: None }),
        }
    }

    /// Takes over those of another.
    pub(crate) fn append(&mut self, more: Self) {
        for fault in more.0 {
            match self.is_full() {
                true => self.leave_out(fault.severity),
                false => self.0.push(fault),
            }
        }
        more.1.into_iter().for_each(|severity| self.leave_out(severity));
    }

    /// Whether no more are listed.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    /// Counts one without listing it.
    pub(crate) fn leave_out(&mut self, severity: Severity) {
        self.1 = Some(self.1.map_or(severity, |worst| worst.min(severity)));
    }

    /// The worst of them.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.0.iter().map(|fault| fault.severity).chain(self.1).min()
    }

    /// In the order of the document.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|fault| (fault.line, fault.column));
    }

    /// Moves the faults of a part to where the part stands in the whole.
    pub(crate) fn shift(&mut self, lines: u64) {
        for fault in &mut self.0 {
            fault.line = fault.line.saturating_add(lines);
        }
    }

    /// Names the part whose lines are not lines of the file, and keeps the lines.
    pub(crate) fn label(&mut self, part: &str, source: &str) {
        let lines = self.lines_of(source);
        for fault in &mut self.0 {
            let line = lines.get(&fault.line).copied().map(shown).unwrap_or_default();
            fault.snippet.get_or_insert(line);
            fault.message = format!("in {part}: {}", fault.message);
        }
    }

    /// The lines that faults are in, by number; a document may have millions of others.
    fn lines_of<'a>(&self, source: &'a str) -> BTreeMap<u64, &'a str> {
        let mut lines: BTreeMap<u64, &str> = self.0.iter().map(|fault| (fault.line, "")).collect();
        let last = lines.last_key_value().map_or(0, |(line, _)| *line);
        for (number, line) in (1..=last).zip(source.lines()) {
            lines.entry(number).and_modify(|known| *known = line);
        }
        lines
    }

    /// Each fault with the line of the document it is in.
    pub(crate) fn render(&self, file: &str, source: &str) -> String {
        let lines = self.lines_of(source);
        let mut text = String::new();
        for fault in &self.0 {
            text.push_str(&fault.line_for(file));
            text.push('\n');
            let of_file = || lines.get(&fault.line).copied();
            if let Some(line) = fault.snippet.as_deref().or_else(of_file).filter(|line| !line.trim().is_empty()) {
                text.push_str(&format!("    {}\n", shown(line)));
            }
        }
        if self.1.is_some() {
            text.push_str(&format!("{file}: more faults than {MAX_FAULTS}; the others are not listed\n"));
        }
        text
    }
}

/// A line fit for a terminal: no control characters, not endless.
fn shown(line: &str) -> String {
    const WIDTH: usize = 120;
    line.chars().take(WIDTH).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render("user-data", ""))
    }
}
