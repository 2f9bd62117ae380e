//! Plans the one change that a machine makes to its table: the state partition grows to the end of the disk and the
//! GUIDs of the image become this machine's own. Pure.
//!
//! The copy that was read stays whole until the other one is whole on the disk: then a cut at any moment leaves a
//! table that Linux finds (with `gpt` on its command line). Several entry sectors may change, because the header of
//! a copy holds the checksum of its entries: a half-written copy is never believed.

use std::collections::BTreeMap;

use uuid::{Builder, Uuid};

use crate::disk::{ALIGN_SECTORS, Part, SECTOR_BYTES};
use crate::gpt::{Copy, FoundTable, GptError, Table, TableBytes};
use crate::gpt_write::{Then, Write};
use crate::read_at::ReadAt;

/// GUIDs for a disk that still has those of its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGuids {
    disk: Uuid,
    partitions: BTreeMap<u32, Uuid>,
}

impl NewGuids {
    /// Makes one GUID for the disk and one for each partition; `random` gives 16 random bytes a call.
    pub fn generate(table: &Table, mut random: impl FnMut() -> [u8; 16]) -> Self {
        let mut next = || Builder::from_random_bytes(random()).into_uuid();
        let disk = next();
        Self { disk, partitions: table.entries.keys().map(|number| (*number, next())).collect() }
    }
}

/// What will change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrowPlan {
    /// The table afterwards.
    pub table: Table,
    /// The writes in order; empty when the disk already says so.
    pub writes: Vec<Write>,
    /// Number of the state partition.
    pub number: u32,
    /// Its first sector.
    pub first_lba: u64,
    /// Its sectors before.
    pub old_sectors: u64,
    /// Its sectors afterwards.
    pub new_sectors: u64,
}

impl GrowPlan {
    /// Whether the partition grows, or only GUIDs or a damaged copy change.
    pub fn grows(&self) -> bool {
        self.new_sectors > self.old_sectors
    }
}

/// Plans the growth of the state partition, fresh GUIDs if given, and the repair of a damaged or misplaced copy.
/// Never shrinks anything. The disk is read, not written.
pub fn plan(
    disk: &(impl ReadAt + ?Sized),
    disk_sectors: u64,
    found: &FoundTable,
    guids: Option<&NewGuids>,
) -> Result<GrowPlan, GptError> {
    let mut table = found.table.clone();
    let needed_sectors = table.needed_sectors();
    if disk_sectors < needed_sectors {
        return Err(GptError::DiskTooSmall { disk_sectors, needed_sectors });
    }
    let (number, state) = table.by_name(Part::State.name()).ok_or(GptError::Missing(Part::State))?;
    if table.entries.values().any(|entry| entry.last_lba > state.last_lba) {
        return Err(GptError::NotLast(Part::State));
    }
    let (first_lba, old_sectors) = (state.first_lba, state.sectors());
    // What follows the last usable sector is the backup table: 32 sectors of entries and a header.
    let end_lba = (disk_sectors - 33) / ALIGN_SECTORS * ALIGN_SECTORS;
    let new_sectors = end_lba.saturating_sub(first_lba).max(old_sectors);
    for (entry_number, entry) in &mut table.entries {
        if *entry_number == number {
            entry.last_lba = first_lba + new_sectors - 1;
        }
        if let Some(guid) = guids.and_then(|guids| guids.partitions.get(entry_number)) {
            entry.guid = *guid;
        }
    }
    if let Some(guids) = guids {
        table.disk_guid = guids.disk;
    }
    let bytes = table.bytes(disk_sectors)?;
    let mut writes = Vec::new();
    let order = match found.copy {
        Copy::Primary => [Copy::Backup, Copy::Primary],
        Copy::Backup => [Copy::Primary, Copy::Backup],
    };
    for copy in order {
        writes.extend(copy_writes(disk, &bytes, copy)?);
    }
    Ok(GrowPlan { table, writes, number, first_lba, old_sectors, new_sectors })
}

/// The sectors of one copy that differ: entries, sync, header, sync.
fn copy_writes(disk: &(impl ReadAt + ?Sized), bytes: &TableBytes, copy: Copy) -> Result<Vec<Write>, GptError> {
    let (entries_lba, header_lba, header) = match copy {
        Copy::Primary => (2, 1, &bytes.primary_header),
        Copy::Backup => (bytes.backup_entries_lba, bytes.backup_header_lba, &bytes.backup_header),
    };
    let mut writes: Vec<Write> = Vec::new();
    let mut present = vec![0u8; bytes.entries.len()];
    disk.read_exact_at(&mut present, entries_lba * SECTOR_BYTES)?;
    let sector = SECTOR_BYTES as usize;
    for (index, (wanted, present)) in (0u64..).zip(bytes.entries.chunks(sector).zip(present.chunks(sector))) {
        if wanted == present {
            continue;
        }
        let offset = (entries_lba + index) * SECTOR_BYTES;
        match writes.last_mut() {
            Some(last) if last.offset + last.bytes.len() as u64 == offset => last.bytes.extend_from_slice(wanted),
            Some(_) | None => writes.push(Write { offset, bytes: wanted.to_vec(), then: Then::Continue }),
        }
    }
    if let Some(last) = writes.last_mut() {
        last.then = Then::Sync;
    }
    let mut present = [0u8; SECTOR_BYTES as usize];
    disk.read_exact_at(&mut present, header_lba * SECTOR_BYTES)?;
    if present != *header {
        writes.push(Write { offset: header_lba * SECTOR_BYTES, bytes: header.to_vec(), then: Then::Sync });
    }
    Ok(writes)
}
