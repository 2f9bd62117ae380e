//! Acts: puts planned sectors on a disk in their order, with a sync wherever the plan says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::direct::{Access, DirectFile};
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

/// Carries the plan out on a machine: past the page cache, so that nothing but the planned sectors is written. What
/// was read of those sectors through the page cache is out of date afterwards, as the kernel drops it.
pub fn apply_direct(writes: &[Write], path: &Path) -> io::Result<()> {
    let mut disk = DirectFile::open(path, Access::Write)?;
    writes.iter().try_for_each(|write| disk.write(write.offset, &write.bytes))
}

/// Carries the plan out on an image file.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskPlan, Sizes};
    use std::io::Read;
    use uuid::Uuid;

    #[test]
    fn past_the_page_cache_the_same_bytes_are_written() {
        let plan = DiskPlan::new(&Sizes::default(), Uuid::nil()).expect("default sizes are right");
        let writes = new_disk(&[7; 440], &plan.table().bytes(plan.disk_sectors()).expect("it fits"));
        let mut heads = Vec::new();
        for direct in [false, true] {
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            file.as_file().set_len(plan.disk_bytes()).expect("a sparse file");
            let outcome = if direct { apply_direct(&writes, file.path()) } else { apply(&writes, file.as_file()) };
            outcome.expect("it is written");
            let mut head = vec![0u8; 1 << 16];
            file.read_exact(&mut head).expect("it can be read");
            assert!(crate::gpt::read_table(file.as_file(), plan.disk_sectors()).is_ok());
            heads.push(head);
        }
        assert!(heads[0] == heads[1]);
    }
}
