//! Acts: puts planned sectors on a disk in their order, with a sync wherever the plan says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::disk::SECTOR_BYTES;
use crate::gpt::{TableBytes, protective_mbr};

/// One write of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where on the disk, in bytes.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
    /// What follows it.
    pub then: Then,
}

/// What follows a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next write, which may reach the disk before this one.
    Continue,
    /// A sync: nothing later reaches the disk before this.
    Sync,
}

/// Carries the plan out.
pub fn apply(writes: &[Write], disk: &File) -> io::Result<()> {
    for write in writes {
        disk.write_all_at(&write.bytes, write.offset)?;
        match write.then {
            Then::Continue => {}
            Then::Sync => disk.sync_all()?,
        }
    }
    Ok(())
}

/// The writes that make a new disk: protective record, then both copies of the table.
pub fn new_disk(boot_code: &[u8; 440], table: &TableBytes) -> Vec<Write> {
    let mbr = protective_mbr(boot_code, table.backup_header_lba + 1);
    let write = |lba: u64, bytes: &[u8], then| Write { offset: lba * SECTOR_BYTES, bytes: bytes.to_vec(), then };
    vec![
        write(0, &mbr, Then::Continue),
        write(table.backup_entries_lba, &table.entries, Then::Sync),
        write(table.backup_header_lba, &table.backup_header, Then::Sync),
        write(2, &table.entries, Then::Sync),
        write(1, &table.primary_header, Then::Sync),
    ]
}
