//! How much of a disk the journal may take.

use std::io;
use std::path::Path;

const MIB: u64 = 1 << 20;
const MOST: u64 = 4096 * MIB;
/// So much the journal may always use, however full the disk is.
pub(crate) const LEAST_USE: u64 = 4 * MIB;
/// A file is no smaller: its hash tables alone take some space.
pub(crate) const LEAST_FILE: u64 = 512 << 10;
const LARGEST_FILE: u64 = 128 * MIB;
/// How many files share the space, so that removing one does not remove much.
const FILES: u64 = 8;

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

/// The space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) total: u64,
    pub(crate) free: u64,
}

impl Limits {
    /// The limits of a folder where nothing is configured: 10 % of its file system, 15 % left free, at most 4 GiB each;
    /// a file is an eighth of that, at most 128 MiB; 100 rotated files.
    pub fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self::of_size(space(folder)?.total))
    }

    /// The limits where the file system has this size.
    pub fn of_size(file_system_bytes: u64) -> Self {
        let max_use = (file_system_bytes / 10).clamp(LEAST_USE, MOST);
        let keep_free = (file_system_bytes / 100 * 15).min(MOST);
        Self { max_use, keep_free, max_file_size: Self::file_size_of(max_use), max_files: 100 }
    }

    /// The size of a file where only the use of all is configured.
    pub fn file_size_of(max_use: u64) -> u64 {
        (max_use / FILES).clamp(LEAST_FILE, LARGEST_FILE)
    }

    /// The bytes that all files together may take, where they take `used` and the disk has `free` left. Removing files
    /// does not change it.
    pub(crate) fn allowed(&self, used: u64, free: u64) -> u64 {
        let shared = used.saturating_add(free).saturating_sub(self.keep_free);
        self.max_use.min(shared.max(LEAST_USE))
    }
}

/// Size of the file system of a folder, and what an unprivileged user may still use of it.
pub(crate) fn space(folder: &Path) -> io::Result<Space> {
    let facts = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(facts.f_frsize);
    Ok(Space { total: bytes(facts.f_blocks), free: bytes(facts.f_bavail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rule_is_systemds() {
        let limits = Limits::of_size(10 << 30);
        assert_eq!((limits.max_use, limits.max_file_size), (1 << 30, 128 << 20));
        assert_eq!(limits.keep_free, (10 << 30) / 100 * 15);
        assert_eq!(Limits::of_size(1 << 44).max_use, 4 << 30);
        assert_eq!(Limits::of_size(1 << 44).keep_free, 4 << 30);
        assert_eq!(Limits::of_size(1 << 20).max_use, LEAST_USE);
    }

    #[test]
    fn a_full_disk_shrinks_the_journal_but_not_to_nothing() {
        let limits = Limits { max_use: 100 * MIB, keep_free: 50 * MIB, max_file_size: MIB, max_files: 1 };
        assert_eq!(limits.allowed(30 * MIB, 1000 * MIB), 100 * MIB);
        assert_eq!(limits.allowed(30 * MIB, 60 * MIB), 40 * MIB);
        assert_eq!(limits.allowed(30 * MIB, 0), LEAST_USE);
    }
}
