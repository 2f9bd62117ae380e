//! What is wrong with a document and where: collected, sorted, printed all at once. Pure.

use std::fmt;

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

/// The faults of one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds a fault at a place.
    pub(crate) fn push(&mut self, severity: Severity, (line, column): (u64, u64), message: impl Into<String>) {
        self.0.push(Fault { severity, line, column, message: message.into(), snippet: None });
    }

    /// The worst of them.
    pub(crate) fn worst(&self) -> Option<Severity> {
        self.0.iter().map(|fault| fault.severity).min()
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
        for fault in &mut self.0 {
            let index = usize::try_from(fault.line).unwrap_or(0).checked_sub(1);
            let line = index.and_then(|index| source.lines().nth(index)).unwrap_or_default();
            fault.snippet.get_or_insert_with(|| line.to_string());
            fault.message = format!("in {part}: {}", fault.message);
        }
    }

    /// Each fault with the line of the document it is in.
    pub(crate) fn render(&self, file: &str, source: &str) -> String {
        let lines: Vec<&str> = if self.0.is_empty() { Vec::new() } else { source.lines().collect() };
        let mut text = String::new();
        for fault in &self.0 {
            text.push_str(&fault.line_for(file));
            text.push('\n');
            let index = usize::try_from(fault.line).unwrap_or(0).checked_sub(1);
            let of_file = || index.and_then(|index| lines.get(index).copied());
            if let Some(line) = fault.snippet.as_deref().or_else(of_file).filter(|line| !line.trim().is_empty()) {
                text.push_str(&format!("    {}\n", shown(line)));
            }
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
