//! Acts: reads the files of early boot that say what this machine runs from.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_layout::BootFacts;
use ferrite_layout::facts::FACTS_PATH;
use ferrite_layout::snapshot::{SLOTS_PATH, Snapshot};

/// Where the files lie; other places in tests.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Facts of this boot.
    pub facts: PathBuf,
    /// Slot flags for everybody.
    pub snapshot: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self { facts: FACTS_PATH.into(), snapshot: SLOTS_PATH.into() }
    }
}

impl Paths {
    /// The facts of this boot.
    pub fn read_facts(&self) -> anyhow::Result<BootFacts> {
        Ok(BootFacts::parse(&read(&self.facts, "early boot left no facts (is this a Ferrite machine?)")?))
    }

    /// The flags as they were when something changed them last.
    pub fn read_snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(Snapshot::parse(&read(&self.snapshot, "this machine has no slots, or early boot could not read them")?))
    }
}

fn read(path: &Path, when_absent: &'static str) -> anyhow::Result<String> {
    let outcome = fs::read_to_string(path);
    let absent = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let outcome = outcome.with_context(|| format!("reading {}", path.display()));
    if absent { outcome.context(when_absent) } else { outcome }
}
