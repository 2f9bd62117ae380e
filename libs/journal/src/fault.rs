//! Damage in a journal file. Pure.

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct Fault {
    /// The place in the file.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl Fault {
    pub(crate) fn new(offset: u64, what: impl Into<String>) -> Self {
        Self { offset, what: what.into() }
    }
}
