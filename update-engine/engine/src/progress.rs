//! How far an install got: a small file on the state partition. A wrong one costs time and nothing else, as a slot is
//! read back before it is started.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use ferrite_layout::Slot;
use ferrite_layout::durable::replace_file;
use ferrite_layout::verity::hex;
use ferrite_payload::Hash;
use serde::{Deserialize, Serialize};

/// Bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// What was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The payload.
    pub payload: Hash,
    /// The slot.
    pub slot: Slot,
    /// How far.
    pub step: Step,
}

/// How far an install got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The outcome of so many operations is on the disk.
    Writing {
        /// How many.
        ops: usize,
        /// The first bytes of the boot partition, which are written last, once their operation is done.
        held: Option<Vec<u8>>,
    },
    /// It waits to be started.
    Installed,
}

/// Where progress is noted.
pub trait Notes {
    /// The last note; `None` where there is none, or one that cannot be understood.
    fn load(&mut self) -> io::Result<Option<Progress>>;
    /// Replaces the note; it is on the disk when this returns.
    fn store(&mut self, progress: &Progress) -> io::Result<()>;
    /// The slot was read back, its flags come next: whoever has to know the release, should it fail, notes it now.
    fn ready(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file.
#[derive(Debug)]
pub struct NotesFile(pub PathBuf);

#[derive(Serialize, Deserialize)]
struct Raw {
    payload: Hash,
    slot: String,
    ops: Option<usize>,
    held: Option<Vec<String>>,
}

impl Progress {
    /// The text of the file.
    pub fn render(&self) -> Vec<u8> {
        let (ops, held) = match &self.step {
            Step::Writing { ops, held } => (Some(*ops), held.as_ref()),
            Step::Installed => (None, None),
        };
        let lines = |bytes: &Vec<u8>| bytes.chunks(32).map(hex).collect();
        let raw = Raw { payload: self.payload, slot: self.slot.to_string(), ops, held: held.map(lines) };
        serde_json::to_vec(&raw).unwrap_or_default()
    }

    /// Reads the text of the file.
    pub fn parse(bytes: &[u8]) -> Option<Progress> {
        let raw: Raw = serde_json::from_slice(bytes).ok()?;
        let held = match raw.held {
            Some(lines) => Some(lines.iter().map(|line| unhex(line)).collect::<Option<Vec<_>>>()?.concat()),
            None => None,
        };
        let step = raw.ops.map_or(Step::Installed, |ops| Step::Writing { ops, held });
        Some(Progress { payload: raw.payload, slot: Slot::parse(&raw.slot)?, step })
    }
}

impl Notes for NotesFile {
    fn load(&mut self) -> io::Result<Option<Progress>> {
        let mut bytes = Vec::new();
        match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?,
        };
        Ok(Progress::parse(&bytes))
    }

    fn store(&mut self, progress: &Progress) -> io::Result<()> {
        replace_file(&self.0, &progress.render(), 0o600).map_err(io::Error::other)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks(2).map(pair).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut notes = NotesFile(folder.path().join("progress"));
        assert_eq!(notes.load().expect("there is none"), None);
        let held = Some((0..4096u32).map(|at| at as u8).collect());
        for step in [Step::Writing { ops: 7, held: None }, Step::Writing { ops: 9, held }, Step::Installed] {
            let progress = Progress { payload: Hash::of(b"x"), slot: Slot::B, step };
            notes.store(&progress).expect("it is stored");
            assert_eq!(notes.load().expect("it can be read"), Some(progress.clone()));
            let text = progress.render();
            assert!(text.len() as u64 <= FILE_BYTES_MAX);
            assert!((0..text.len()).all(|length| Progress::parse(&text[..length]).is_none()));
        }
    }
}
