//! The journal files of one folder, written: `system.journal`, and `system@....journal` for those that were rotated.

use std::io;
use std::path::{Path, PathBuf};

use crate::id::{Id128, Stamp};
use crate::limits::Limits;
use crate::vacuum::Vacuumed;

/// Something an administrator wants to know about the folder that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The file was not closed (crash, power cut) or is damaged: it was renamed and is only read from now on.
    SetAside {
        /// Its new name.
        file: PathBuf,
        /// Entries that can be read from it.
        entries: u64,
        /// Why it is not written on.
        why: String,
    },
    /// The file ended before its time (another machine's, or full) and was rotated.
    Rotated {
        /// Its new name.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// Writes the journal of one folder. Dropping it flushes and closes the file cleanly.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// Opens the folder (made where it is missing) and its `system.journal`, or begins a new one.
    pub fn open(folder: &Path, machine: Id128, limits: Limits) -> io::Result<(Self, Vec<Note>)> {
        let _ = (folder, machine, limits);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes an entry and makes it visible to readers; gives its sequence number. An error means that the entry is not
    /// in the journal; the file is still sound, and the next entry may succeed.
    ///
    /// Rotates and vacuums by itself where a limit demands it.
    pub fn append(&mut self, stamp: &Stamp, fields: &[(&[u8], &[u8])]) -> io::Result<u64> {
        let number = self.stage(stamp, fields)?;
        self.flush()?;
        Ok(number)
    }

    /// Like `append`, but readers see the entry, and it survives the end of this process, only after `flush` or `sync`
    /// (or when some 256 KiB are staged). For bursts: three times as fast.
    pub fn stage(&mut self, stamp: &Stamp, fields: &[(&[u8], &[u8])]) -> io::Result<u64> {
        let _ = (stamp, fields);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes all staged entries visible to readers.
    pub fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Flushes, and waits until everything is on the disk: entries before it survive a power cut.
    pub fn sync(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Closes `system.journal` under an archive name and begins a new one; nothing where it has no entry.
    pub fn rotate(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes the oldest rotated files until the limits hold.
    pub fn vacuum(&mut self) -> io::Result<Vacuumed> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes of disk that all files of the folder take.
    pub fn usage(&self) -> u64 {
        0
    }

    /// New limits from now on (after a reload of the configuration).
    pub fn set_limits(&mut self, limits: Limits) {
        let _ = limits;
    }

    /// The id of the row of sequence numbers, and the number of the last entry; 0 before the first.
    pub fn position(&self) -> (Id128, u64) {
        (Id128::default(), 0)
    }
}
