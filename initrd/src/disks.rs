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
pub fn named(disks: &[FerriteDisk], hint: Hint) -> Option<Place> {
    let guid = hint.boot_partition?;
    let mut hits = disks.iter().enumerate().filter_map(|(at, disk)| Some((at, disk.slot_of_boot_partition(guid)?)));
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
