//! Which disk and which slot this start is about. Pure.
//!
//! The boot loader names the partition it read the kernel from; that alone decides. Only without its word is
//! the root searched for by its content. Everything else comes from the same disk as the root.

use ferrite_layout::gpt::FoundTable;
use ferrite_layout::{Part, Slot};
use uuid::Uuid;

use crate::block_devices::BlockDisk;
use crate::command_line::Hint;

/// A disk with Ferrite's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FerriteDisk {
    /// What the kernel shows.
    pub block: BlockDisk,
    /// What its partition table says.
    pub found: FoundTable,
    /// Numbers of the entries in the damaged primary copy that carry the GUID of the hint.
    ///
    /// The boot loader does not check the table's checksum, so it may have read a GUID from a copy that the
    /// kernel does not believe: that is the state in which a power cut leaves the first boot's change.
    pub damaged_matches: Vec<u32>,
}

/// Where this start takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Position in the list of disks.
    pub disk: usize,
    /// The slot.
    pub slot: Slot,
    /// How it was found.
    pub how: How,
    /// Other disks that cannot be told apart from this one.
    pub twins: Vec<String>,
}

/// How the place was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The boot loader named its partition.
    Named,
    /// The boot loader said nothing, or nothing that is there: by the content of the root.
    Searched,
}

impl FerriteDisk {
    /// Path of the device of a partition, if the kernel has found it.
    pub fn device(&self, part: Part) -> Option<String> {
        let (number, _) = self.found.table.by_name(part.name())?;
        self.block.partitions.get(&number).map(|partition| format!("/dev/{}", partition.name))
    }

    /// Path of the whole disk.
    pub fn path(&self) -> String {
        format!("/dev/{}", self.block.name)
    }

    fn slot_of_boot_partition(&self, guid: Uuid) -> Option<Slot> {
        let by_table = self.found.table.by_guid(guid).map(|(number, _)| number);
        let numbers = by_table.into_iter().chain(self.damaged_matches.iter().copied());
        numbers.filter_map(|number| self.found.table.entries.get(&number)).find_map(|entry| {
            let part = Part::from_name(&entry.name)?;
            Slot::BOTH.into_iter().find(|&slot| Part::boot_of(slot) == part)
        })
    }
}

/// The disk that holds the partition the boot loader named. `None`: it is not there (yet).
///
/// The kernel shows a disk before it has read its table; such a disk is not there yet.
pub fn named(disks: &[FerriteDisk], hint: Hint) -> Option<Place> {
    let guid = hint.boot_partition?;
    let mut hits = disks.iter().enumerate().filter_map(|(at, disk)| {
        let slot = disk.slot_of_boot_partition(guid)?;
        disk.device(Part::root_of(slot)).is_some().then_some((at, slot))
    });
    let (disk, slot) = hits.next()?;
    let twins = hits.filter_map(|(at, _)| disks.get(at)).map(FerriteDisk::path).collect();
    Some(Place { disk, slot, how: How::Named, twins })
}

/// Every root partition that may carry the root, in the order in which to look: the named slot first.
pub fn candidates(disks: &[FerriteDisk], hint: Hint) -> Vec<(usize, Slot)> {
    let first = hint.slot.unwrap_or(Slot::A);
    let slots = [first, first.other()];
    let pairs = slots.into_iter().flat_map(|slot| (0..disks.len()).map(move |at| (at, slot)));
    pairs.filter(|&(at, slot)| disks.get(at).is_some_and(|disk| disk.device(Part::root_of(slot)).is_some())).collect()
}

/// The place that a search has found, from all that matched in the order of `candidates`.
pub fn searched(disks: &[FerriteDisk], matching: &[(usize, Slot)]) -> Option<Place> {
    let &(disk, slot) = matching.first()?;
    let guid = disks.get(disk)?.found.table.disk_guid;
    let twins = matching.iter().filter(|&&(other, other_slot)| other != disk && other_slot == slot);
    let twins = twins.filter_map(|&(other, _)| disks.get(other)).filter(|other| other.found.table.disk_guid == guid);
    let twins = twins.map(FerriteDisk::path).collect();
    Some(Place { disk, slot, how: How::Searched, twins })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ferrite_layout::disk::{DiskPlan, Sizes};
    use ferrite_layout::gpt::{Copy, CopyHealth};

    use super::*;
    use crate::block_devices::Partition;

    fn disk(name: &str, seed: u128) -> FerriteDisk {
        let table = DiskPlan::new(&Sizes::default(), Uuid::from_u128(seed)).unwrap().table();
        let partitions: BTreeMap<u32, Partition> = table
            .entries
            .iter()
            .map(|(&number, entry)| (number, Partition { name: format!("{name}{number}"), label: entry.name.clone() }))
            .collect();
        FerriteDisk {
            block: BlockDisk { name: name.to_owned(), sectors: 1 << 23, partitions },
            found: FoundTable { table, copy: Copy::Primary, primary: CopyHealth::Good, backup: CopyHealth::Good },
            damaged_matches: Vec::new(),
        }
    }

    fn guid(disk: &FerriteDisk, part: Part) -> Option<Uuid> {
        disk.found.table.by_name(part.name()).map(|(_, entry)| entry.guid)
    }

    fn hint(boot_partition: Option<Uuid>) -> Hint {
        Hint { boot_partition, slot: None }
    }

    fn place(disk: usize, slot: Slot, how: How, twins: &[&str]) -> Option<Place> {
        Some(Place { disk, slot, how, twins: twins.iter().map(|&name| name.to_owned()).collect() })
    }

    #[test]
    fn the_named_partition_decides_disk_and_slot() {
        let disks = [disk("vda", 1), disk("vdb", 2)];
        for (at, slot) in [(0, Slot::A), (0, Slot::B), (1, Slot::A), (1, Slot::B)] {
            let hint = hint(guid(&disks[at], Part::boot_of(slot)));
            assert_eq!(named(&disks, hint), place(at, slot, How::Named, &[]));
        }
    }

    #[test]
    fn a_name_that_is_not_there_or_is_no_boot_partition_decides_nothing() {
        let disks = [disk("vda", 1)];
        assert_eq!(named(&disks, hint(None)), None);
        assert_eq!(named(&disks, hint(Some(Uuid::from_u128(9)))), None);
        assert_eq!(named(&disks, hint(guid(&disks[0], Part::Esp))), None);
    }

    #[test]
    fn a_disk_whose_partitions_the_kernel_has_not_found_yet_is_not_there() {
        let mut disks = [disk("vda", 1), disk("vdb", 1)];
        let hint = hint(guid(&disks[0], Part::BootB));
        disks[0].block.partitions.clear();
        assert_eq!(named(&disks[..1], hint), None);
        assert_eq!(named(&disks, hint), place(1, Slot::B, How::Named, &[]));
    }

    #[test]
    fn of_two_copies_the_first_is_taken_and_the_other_named() {
        let disks = [disk("vda", 1), disk("vdb", 1)];
        let hint = hint(guid(&disks[0], Part::BootA));
        assert_eq!(named(&disks, hint), place(0, Slot::A, How::Named, &["/dev/vdb"]));
        let matching = [(0, Slot::A), (1, Slot::A), (0, Slot::B)];
        assert_eq!(searched(&disks, &matching), place(0, Slot::A, How::Searched, &["/dev/vdb"]));
    }

    #[test]
    fn the_same_root_on_disks_with_their_own_guids_makes_no_twins() {
        let disks = [disk("vda", 1), disk("vdb", 2)];
        let matching = [(0, Slot::A), (1, Slot::A)];
        assert_eq!(searched(&disks, &matching), place(0, Slot::A, How::Searched, &[]));
        assert_eq!(searched(&disks, &[]), None);
    }

    #[test]
    fn the_named_slot_is_looked_at_first_on_every_disk() {
        let mut disks = [disk("vda", 1), disk("vdb", 2)];
        let hint = Hint { boot_partition: None, slot: Some(Slot::B) };
        let expected = [(0, Slot::B), (1, Slot::B), (0, Slot::A), (1, Slot::A)];
        assert_eq!(candidates(&disks, hint), expected);
        disks[0].block.partitions.clear();
        assert_eq!(candidates(&disks, hint), [(1, Slot::B), (1, Slot::A)]);
    }

    #[test]
    fn a_guid_in_a_half_written_table_still_names_its_disk() {
        let mut disks = [disk("vda", 1), disk("vdb", 2)];
        let (number, _) = disks[1].found.table.by_name(Part::BootB.name()).unwrap();
        disks[1].damaged_matches = vec![number];
        assert_eq!(named(&disks, hint(Some(Uuid::from_u128(9)))), place(1, Slot::B, How::Named, &[]));
    }
}
