//! Removes the oldest rotated files of a folder; the file that is written stays.

use std::io;
use std::path::Path;

/// What may stay; `None` is no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files together (`--vacuum-size=`).
    pub max_use: Option<u64>,
    /// Entries older than this microsecond of the real time go, by whole files (`--vacuum-time=`).
    pub oldest_us: Option<u64>,
    /// Rotated files that are kept (`--vacuum-files=`).
    pub max_files: Option<u32>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// How many files.
    pub files: u32,
    /// How many bytes of disk they had.
    pub bytes: u64,
}

/// Removes rotated files of `folder`, the oldest first, until the bounds hold.
pub fn vacuum(folder: &Path, bounds: &Bounds) -> io::Result<Vacuumed> {
    let _ = (folder, bounds);
    Err(io::ErrorKind::Unsupported.into())
}
