//! What PID 1 tells about all units at once: when they changed, how they are linked, what it leaves undone. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// When a unit last changed, in microseconds since the kernel started (0: never), and what it is linked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitTimes {
    /// Full name.
    pub name: String,
    /// When its start began.
    pub inactive_exit_us: u64,
    /// When it was up.
    pub active_enter_us: u64,
    /// When its stop began.
    pub active_exit_us: u64,
    /// When it was down.
    pub inactive_enter_us: u64,
    /// The names of relations (`After`, `Wants`...) and the places of the other units in the same answer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub relations: BTreeMap<String, Vec<u32>>,
}

/// A unit with files, and the directives in them that have no effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitGaps {
    /// Full name.
    pub unit: String,
    /// Its file and its drop-ins, in the order they were read.
    pub files: Vec<String>,
    /// In the order of the files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A directive that has no effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gap {
    /// The directive, without `=`.
    pub directive: String,
    /// Its file.
    pub path: String,
    /// Its line.
    pub line: u32,
    /// Would it confine the unit, which now runs with more rights than its author meant?
    pub sandbox: bool,
}
