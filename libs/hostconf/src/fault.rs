//! What is wrong with a line of a file, and how bad it is. Pure.

use std::fmt;

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Worth a word; the line is followed.
    Notice,
    /// The line is not followed for a reason that lies outside the file.
    Failure,
    /// The line is wrong: the command ends with the exit code for bad configuration.
    Invalid,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// How bad.
    pub weight: Weight,
    /// What.
    pub message: String,
}

impl Fault {
    /// A line that is wrong.
    pub fn invalid(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), weight: Weight::Invalid, message: message.into() }
    }

    /// A line that cannot be followed.
    pub fn failure(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), weight: Weight::Failure, message: message.into() }
    }

    /// A remark.
    pub fn notice(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), weight: Weight::Notice, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}: {}", self.place.file, self.place.line, self.message)
    }
}
