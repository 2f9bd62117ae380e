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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskPlan, Sizes};
    use crate::gpt::{CopyHealth, ENTRY_SECTORS, Sector, read_table};
    use crate::gpt_write::new_disk;
    use std::collections::BTreeSet;
    use std::io;

    const MIB: u64 = 1 << 20;
    const SEED: Uuid = Uuid::from_u128(0x7f1c2a4e_0000_4000_8000_00000000abcd);

    /// A disk in memory of which only written sectors take room.
    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
    struct Disk {
        sectors: BTreeMap<u64, Sector>,
        fill: u8,
        count: u64,
    }

    impl Disk {
        fn write(&mut self, lba: u64, bytes: &[u8]) {
            let mut sector = [0u8; 512];
            sector.copy_from_slice(bytes);
            self.sectors.insert(lba, sector);
        }

        fn apply(&mut self, writes: &[Write]) {
            for (lba, sector) in writes.iter().flat_map(sectors) {
                self.write(lba, &sector);
            }
        }
    }

    impl ReadAt for Disk {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            assert!(offset.is_multiple_of(512) && buffer.len().is_multiple_of(512));
            for (lba, place) in (offset / 512..).zip(buffer.chunks_exact_mut(512)) {
                assert!(lba < self.count, "read past the end of the disk");
                place.copy_from_slice(self.sectors.get(&lba).unwrap_or(&[self.fill; 512]));
            }
            Ok(())
        }
    }

    fn sectors(write: &Write) -> Vec<(u64, Vec<u8>)> {
        (write.offset / 512..).zip(write.bytes.chunks_exact(512).map(<[u8]>::to_vec)).collect()
    }

    /// block/partitions/efi.c of Linux with `gpt` on its command line: what it finds, as raw entries and disk GUID.
    fn linux_reads(disk: &Disk) -> Option<(Vec<u8>, [u8; 16])> {
        let valid = |lba: u64| {
            let word = |s: &[u8], at: usize| u64::from_le_bytes(s[at..at + 8].try_into().expect("eight bytes"));
            let half = |s: &[u8], at: usize| u32::from_le_bytes(s[at..at + 4].try_into().expect("four bytes"));
            let mut sector = [0u8; 512];
            disk.read_exact_at(&mut sector, lba * 512).expect("the header is on the disk");
            let size = half(&sector, 12) as usize;
            if &sector[..8] != b"EFI PART" || !(92..=512).contains(&size) {
                return None;
            }
            let stored = half(&sector, 16);
            let mut zeroed = sector;
            zeroed[16..20].fill(0);
            let last = disk.count - 1;
            let (first_usable, last_usable) = (word(&sector, 40), word(&sector, 48));
            let good = crc32fast::hash(&zeroed[..size]) == stored
                && word(&sector, 24) == lba
                && first_usable <= last
                && last_usable <= last
                && last_usable >= first_usable
                && half(&sector, 84) == 128;
            let mut entries = vec![0u8; half(&sector, 80) as usize * 128];
            if !good || disk.read_exact_at(&mut entries, word(&sector, 72) * 512).is_err() {
                return None;
            }
            let guid = sector[56..72].try_into().expect("sixteen bytes");
            (crc32fast::hash(&entries) == half(&sector, 88)).then_some((entries, guid))
        };
        valid(1).or_else(|| valid(disk.count - 1))
    }

    fn small_sizes() -> Sizes {
        Sizes { esp_bytes: MIB, boot_bytes: MIB, root_bytes: 2 * MIB, oem_bytes: MIB, state_bytes: 4 * MIB }
    }

    /// A fresh image on a disk of this size, the rest of which is full of `fill`.
    fn image_on(count: u64, fill: u8) -> Disk {
        let plan = DiskPlan::new(&small_sizes(), SEED).expect("sizes are right");
        let count = if count == 0 { plan.disk_sectors() } else { count };
        let mut disk = Disk { sectors: BTreeMap::new(), fill, count };
        disk.apply(&new_disk(&[0; 440], &plan.table().bytes(plan.disk_sectors()).expect("it fits")));
        disk
    }

    fn fresh_guids(table: &Table, salt: u8) -> NewGuids {
        let mut next = 0u8;
        NewGuids::generate(table, || {
            next += 1;
            [salt ^ next; 16]
        })
    }

    /// What early boot does: GUIDs are made once.
    fn plan_as_early_boot_does(disk: &Disk, salt: u8) -> GrowPlan {
        let found = read_table(disk, disk.count).expect("a table is always found");
        let guids = found.table.has_image_guids().then(|| fresh_guids(&found.table, salt));
        plan(disk, disk.count, &found, guids.as_ref()).expect("the disk is big enough")
    }

    /// Every state a power cut can leave: whole epochs, then any sectors of the next, each old or new.
    fn states_after_cuts(disk: &Disk, writes: &[Write]) -> Vec<Disk> {
        let mut states = vec![disk.clone()];
        let mut durable = disk.clone();
        let mut epoch: Vec<(u64, Vec<u8>)> = Vec::new();
        for write in writes {
            epoch.extend(sectors(write));
            if write.then == Then::Continue {
                continue;
            }
            let subsets: Vec<u64> = match epoch.len() {
                few @ 0..=8 => (0..1 << few).collect(),
                many => {
                    let all = u64::MAX >> (64 - many);
                    let prefixes = (0..many).map(|n| all >> n);
                    let holes = (0..many).map(|n| all & !(1 << n));
                    let noise = (1..60u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & all);
                    prefixes.chain(holes).chain(noise).collect()
                }
            };
            for subset in subsets {
                let mut state = durable.clone();
                let chosen = epoch.iter().enumerate().filter(|(index, _)| subset >> index & 1 == 1);
                chosen.for_each(|(_, (lba, sector))| state.write(*lba, sector));
                states.push(state);
            }
            epoch.drain(..).for_each(|(lba, sector)| durable.write(lba, &sector));
        }
        assert!(epoch.is_empty(), "the last write is synced");
        states.push(durable);
        states
    }

    /// Cuts the growth at every moment, then the repair of each state at every moment again.
    fn never_lost(disk: &Disk) -> usize {
        let first = plan_as_early_boot_does(disk, 0x10);
        let before = linux_reads(disk).expect("the disk is whole at first");
        let mut after = disk.clone();
        after.apply(&first.writes);
        let after = linux_reads(&after).expect("the disk is whole afterwards");
        let mut checked = 0;
        let states: BTreeSet<Disk> = states_after_cuts(disk, &first.writes).into_iter().collect();
        for state in states {
            let seen = linux_reads(&state).expect("Linux finds a table after the cut");
            assert!(seen == before || seen == after, "a mixture of old and new table was believed");
            let second = plan_as_early_boot_does(&state, 0x40);
            let mut finished = state.clone();
            finished.apply(&second.writes);
            let wanted = linux_reads(&finished).expect("the repaired disk is whole");
            for again in states_after_cuts(&state, &second.writes) {
                let now = linux_reads(&again).expect("Linux finds a table after the second cut");
                assert!(now == seen || now == wanted, "a mixture was believed after the second cut");
                checked += 1;
            }
            let found = read_table(&finished, finished.count).expect("it can be read");
            assert_eq!((found.primary, found.backup), (CopyHealth::Good, CopyHealth::Good));
            assert_eq!(found.table, second.table);
            assert!(!found.table.has_image_guids());
            assert!(plan_as_early_boot_does(&finished, 0x77).writes.is_empty(), "a third boot changes nothing");
        }
        checked
    }

    #[test]
    fn growth_with_new_guids_cut_at_every_sector_twice_always_leaves_a_table() {
        let mut checked = 0;
        for fill in [0x00, 0xff] {
            for more_sectors in [0, 1, 2047, 2048, 40_000_000] {
                let image = image_on(0, fill);
                let mut disk = image_on(image.count + more_sectors, fill);
                disk.count = image.count + more_sectors;
                checked += never_lost(&disk);
            }
        }
        assert!(checked > 1000, "only {checked} states were checked");
    }

    #[test]
    fn a_damaged_primary_is_repaired_before_the_backup_is_touched() {
        for damaged in [1, 2, 4] {
            let mut disk = image_on(0, 0);
            disk.write(damaged, &[0x5a; 512]);
            assert_eq!(read_table(&disk, disk.count).expect("the backup is whole").copy, Copy::Backup);
            assert!(never_lost(&disk) > 10);
        }
    }

    #[test]
    fn a_damaged_backup_is_repaired() {
        let mut disk = image_on(0, 0);
        disk.write(disk.count - 1, &[0; 512]);
        never_lost(&disk);
    }

    #[test]
    fn growth_takes_the_whole_disk_and_moves_nothing_else() {
        let count = 20 * (1 << 30) / 512;
        let disk = image_on(count, 0);
        let old = read_table(&disk, count).expect("it can be read").table;
        let plan = plan_as_early_boot_does(&disk, 1);
        assert!(plan.grows());
        let end = (plan.first_lba + plan.new_sectors) * 512;
        assert!(end.is_multiple_of(MIB) && count * 512 - end <= 2 * MIB && end <= (count - ENTRY_SECTORS - 1) * 512);
        for (number, entry) in &plan.table.entries {
            let before = &old.entries[number];
            assert_eq!((entry.first_lba, &entry.name), (before.first_lba, &before.name));
            assert_eq!(entry.last_lba == before.last_lba, *number != plan.number);
            assert_ne!(entry.guid, before.guid);
            assert_eq!(entry.guid.get_version_num(), 4);
        }
    }

    #[test]
    fn a_disk_that_is_too_small_is_refused_with_both_sizes() {
        let mut disk = image_on(0, 0);
        let needed = disk.count;
        disk.count -= 4096;
        let error = read_table(&disk, disk.count).expect_err("it is too small");
        assert!(matches!(error, GptError::DiskTooSmall { disk_sectors, needed_sectors }
            if disk_sectors == disk.count && needed_sectors == needed));
    }

    #[test]
    fn a_partition_behind_the_state_partition_stops_the_growth() {
        let disk = image_on(1 << 20, 0);
        let mut found = read_table(&disk, disk.count).expect("it can be read");
        let mut foreign = found.table.entries[&9].clone();
        foreign.name = "mine".to_string();
        (foreign.first_lba, foreign.last_lba) = (900_000, 900_100);
        found.table.entries.insert(12, foreign);
        assert!(matches!(plan(&disk, disk.count, &found, None), Err(GptError::NotLast(Part::State))));
        found.table.entries.retain(|_, entry| entry.name != Part::State.name());
        assert!(matches!(plan(&disk, disk.count, &found, None), Err(GptError::Missing(Part::State))));
    }
}
