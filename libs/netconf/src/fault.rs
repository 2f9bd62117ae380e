//! What is wrong with a line of a file, and how bad it is. Pure.

use std::fmt;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The line has no effect; nothing that was asked for in earnest is missing.
    Warning,
    /// A wrong value, or a file that cannot be used.
    Error,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// How bad.
    pub severity: Severity,
    /// What, and what happens instead.
    pub message: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(out, "{}: {}: {}", self.path, self.severity, self.message);
        }
        write!(out, "{}:{}: {}: {}", self.path, self.line, self.severity, self.message)
    }
}
