//! The partition table of a Ferrite disk: numbers, names, types, sizes and where each partition lies. Pure.
//!
//! The numbers are fixed for ever, as the boot loader finds its files by them (`gpt3` is the boot control partition).

use std::fmt;

use ::gpt::partition_types;
use uuid::Uuid;

use crate::gpt::{ENTRY_SECTORS, Entry, Table};
use crate::slots::Slot;

/// Bytes of a sector; disks with bigger logical sectors are not supported.
pub const SECTOR_BYTES: u64 = 512;
/// Every partition starts at a multiple of this.
pub const ALIGN_BYTES: u64 = MIB;
/// Sectors in [`ALIGN_BYTES`].
pub const ALIGN_SECTORS: u64 = ALIGN_BYTES / SECTOR_BYTES;
/// Partition type of the boot control partition; our own, so that no other system touches it.
pub const BOOTCTL_TYPE: Uuid = Uuid::from_u128(0xc95dc21a_df0e_4340_8d7b_26cbfa9a03e0);

/// Partition type of the state partition: "var" of the Discoverable Partitions Specification.
pub const STATE_TYPE: Uuid = Uuid::from_u128(0x4d21b016_b534_45c2_a9fb_5c16e091fd2d);

const MIB: u64 = 1024 * 1024;
/// Read-only and no automatic mount, as the Discoverable Partitions Specification numbers them.
const ROOT_ATTRIBUTES: u64 = (1 << 60) | (1 << 63);

/// A partition of the disk; the discriminant is its number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// GRUB's core image for BIOS.
    Bios = 1,
    /// EFI system partition: shim, GRUB, grub.cfg.
    Esp = 2,
    /// Slot flags and the boot record; FAT12, never mounted.
    Bootctl = 3,
    /// Kernel of slot a.
    BootA = 4,
    /// Root of slot a with its verity tree.
    RootA = 5,
    /// Kernel of slot b.
    BootB = 6,
    /// Root of slot b with its verity tree.
    RootB = 7,
    /// Board id and a baked cloud-config.
    Oem = 8,
    /// Everything writable; last, grows to the end of the disk.
    State = 9,
}

impl Part {
    /// All partitions by number.
    pub const ALL: [Part; 9] = [
        Part::Bios,
        Part::Esp,
        Part::Bootctl,
        Part::BootA,
        Part::RootA,
        Part::BootB,
        Part::RootB,
        Part::Oem,
        Part::State,
    ];

    /// The number in the partition table, from 1.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The partition name (`PARTLABEL`).
    pub fn name(self) -> &'static str {
        match self {
            Part::Bios => "ferrite-bios",
            Part::Esp => "ferrite-esp",
            Part::Bootctl => "ferrite-bootctl",
            Part::BootA => "ferrite-boot-a",
            Part::RootA => "ferrite-root-a",
            Part::BootB => "ferrite-boot-b",
            Part::RootB => "ferrite-root-b",
            Part::Oem => "ferrite-oem",
            Part::State => "ferrite-state",
        }
    }

    /// The partition with this name.
    pub fn from_name(name: &str) -> Option<Part> {
        Part::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The partition type.
    pub fn type_guid(self) -> Uuid {
        match self {
            Part::Bios => partition_types::BIOS.guid,
            Part::Esp => partition_types::EFI.guid,
            Part::Bootctl => BOOTCTL_TYPE,
            Part::BootA | Part::BootB | Part::Oem => partition_types::LINUX_FS.guid,
            Part::RootA | Part::RootB => partition_types::LINUX_ROOT_X64.guid,
            Part::State => STATE_TYPE,
        }
    }

    /// The attribute bits of the table entry.
    pub fn attributes(self) -> u64 {
        match self {
            Part::RootA | Part::RootB => ROOT_ATTRIBUTES,
            Part::Bios | Part::Esp | Part::Bootctl | Part::BootA | Part::BootB | Part::Oem | Part::State => 0,
        }
    }

    /// The boot partition of a slot.
    pub fn boot_of(slot: Slot) -> Part {
        match slot {
            Slot::A => Part::BootA,
            Slot::B => Part::BootB,
        }
    }

    /// The root partition of a slot.
    pub fn root_of(slot: Slot) -> Part {
        match slot {
            Slot::A => Part::RootA,
            Slot::B => Part::RootB,
        }
    }

    /// The slot a boot or root partition belongs to.
    pub fn slot(self) -> Option<Slot> {
        match self {
            Part::BootA | Part::RootA => Some(Slot::A),
            Part::BootB | Part::RootB => Some(Slot::B),
            Part::Bios | Part::Esp | Part::Bootctl | Part::Oem | Part::State => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Sizes that a board may choose; each a multiple of 1 MiB. BIOS boot and boot control are always 1 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// EFI system partition.
    pub esp_bytes: u64,
    /// Each boot partition.
    pub boot_bytes: u64,
    /// Each root partition.
    pub root_bytes: u64,
    /// OEM partition.
    pub oem_bytes: u64,
    /// State partition as built; it grows on first boot.
    pub state_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            esp_bytes: 64 * MIB,
            boot_bytes: 128 * MIB,
            root_bytes: 1024 * MIB,
            oem_bytes: 16 * MIB,
            state_bytes: 256 * MIB,
        }
    }
}

impl Sizes {
    /// The size of one partition.
    pub fn of(&self, part: Part) -> u64 {
        match part {
            Part::Bios | Part::Bootctl => MIB,
            Part::Esp => self.esp_bytes,
            Part::BootA | Part::BootB => self.boot_bytes,
            Part::RootA | Part::RootB => self.root_bytes,
            Part::Oem => self.oem_bytes,
            Part::State => self.state_bytes,
        }
    }
}

/// A size that no table can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("size of partition {part} is {bytes} bytes, it must be a positive multiple of 1 MiB below 1 PiB")]
pub struct SizeError {
    part: Part,
    bytes: u64,
}

/// Where one partition lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Which one.
    pub part: Part,
    /// Its own GUID.
    pub guid: Uuid,
    /// First sector.
    pub first_lba: u64,
    /// Last sector, inclusive.
    pub last_lba: u64,
}

impl Extent {
    /// Offset of the first byte on the disk.
    pub fn offset_bytes(&self) -> u64 {
        self.first_lba * SECTOR_BYTES
    }

    /// Length in bytes.
    pub fn size_bytes(&self) -> u64 {
        (self.last_lba - self.first_lba + 1) * SECTOR_BYTES
    }
}

/// A whole disk as the image builder makes it. Prints as the table of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    disk_guid: Uuid,
    disk_sectors: u64,
    extents: Vec<Extent>,
}

impl DiskPlan {
    /// Lays the partitions out in order. GUIDs are uuid5(seed, name): the same seed gives the same disk.
    pub fn new(sizes: &Sizes, seed: Uuid) -> Result<Self, SizeError> {
        let mut extents = Vec::with_capacity(Part::ALL.len());
        let mut next_lba = ALIGN_SECTORS;
        for part in Part::ALL {
            let bytes = sizes.of(part);
            if bytes == 0 || !bytes.is_multiple_of(ALIGN_BYTES) || bytes >= 1 << 50 {
                return Err(SizeError { part, bytes });
            }
            let last_lba = next_lba + bytes / SECTOR_BYTES - 1;
            extents.push(Extent { part, guid: guid(seed, part.name()), first_lba: next_lba, last_lba });
            next_lba = last_lba + 1;
        }
        // The backup table takes 33 sectors; one alignment unit keeps the disk a whole number of MiB.
        let disk_sectors = next_lba + ALIGN_SECTORS.max(ENTRY_SECTORS + 1);
        Ok(Self { disk_guid: guid(seed, "ferrite-disk"), disk_sectors, extents })
    }

    /// The GUID of the disk.
    pub fn disk_guid(&self) -> Uuid {
        self.disk_guid
    }

    /// Length of the disk in sectors.
    pub fn disk_sectors(&self) -> u64 {
        self.disk_sectors
    }

    /// Length of the disk in bytes.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_sectors * SECTOR_BYTES
    }

    /// All partitions by number.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Where a partition lies.
    pub fn extent(&self, part: Part) -> &Extent {
        &self.extents[part as usize - 1]
    }

    /// The partition table of this disk.
    pub fn table(&self) -> Table {
        let entries = self.extents.iter().map(|extent| {
            let entry = Entry {
                type_guid: extent.part.type_guid(),
                guid: extent.guid,
                first_lba: extent.first_lba,
                last_lba: extent.last_lba,
                attributes: extent.part.attributes(),
                name: extent.part.name().to_string(),
            };
            (extent.part.number(), entry)
        });
        Table { disk_guid: self.disk_guid, entries: entries.collect() }
    }
}

/// The GUID that the image builder gives to the thing with this name.
pub fn guid(seed: Uuid, name: &str) -> Uuid {
    Uuid::new_v5(&seed, name.as_bytes())
}

impl fmt::Display for DiskPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "disk {} {} sectors, {} MiB", self.disk_guid, self.disk_sectors, self.disk_bytes() / MIB)?;
        for extent in &self.extents {
            writeln!(
                f,
                "{} {:<15} {:>9}..{:<9} {:>5} MiB  {}  type {}  attributes {:#x}",
                extent.part.number(),
                extent.part.name(),
                extent.first_lba,
                extent.last_lba,
                extent.size_bytes() / MIB,
                extent.guid,
                extent.part.type_guid(),
                extent.part.attributes(),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_disk_is_in_the_golden_file() {
        let plan = DiskPlan::new(&Sizes::default(), Uuid::from_u128(1)).expect("default sizes are right");
        crate::golden::check("disk.txt", &plan.to_string());
    }

    #[test]
    fn partitions_are_aligned_and_do_not_overlap() {
        let plan = DiskPlan::new(&Sizes::default(), Uuid::nil()).expect("default sizes are right");
        let mut free = FIRST_FREE;
        for (number, extent) in (1..).zip(plan.extents()) {
            assert_eq!(extent.part.number(), number);
            assert_eq!(plan.extent(extent.part), extent);
            assert!(extent.first_lba >= free && extent.offset_bytes().is_multiple_of(ALIGN_BYTES));
            assert_eq!(extent.size_bytes(), Sizes::default().of(extent.part));
            free = extent.last_lba + 1;
        }
        assert!(plan.disk_sectors() >= plan.table().needed_sectors());
        assert!(plan.disk_bytes().is_multiple_of(ALIGN_BYTES));
    }

    const FIRST_FREE: u64 = crate::gpt::FIRST_USABLE_LBA;

    #[test]
    fn the_same_seed_gives_the_same_disk_and_another_seed_other_guids() {
        let disk = |seed| DiskPlan::new(&Sizes::default(), Uuid::from_u128(seed)).expect("default sizes are right");
        assert_eq!(disk(1), disk(1));
        assert_ne!(disk(1).disk_guid(), disk(2).disk_guid());
        assert_ne!(disk(1).extent(Part::BootA).guid, disk(1).extent(Part::BootB).guid);
    }

    #[test]
    fn a_size_that_is_no_whole_mib_is_refused_by_name() {
        for bytes in [0, 1, MIB + 512, 1 << 50] {
            let error = DiskPlan::new(&Sizes { oem_bytes: bytes, ..Sizes::default() }, Uuid::nil());
            let text = error.expect_err("it is wrong").to_string();
            assert!(text.starts_with(&format!("size of partition ferrite-oem is {bytes} bytes")), "{text}");
        }
    }

    #[test]
    fn names_slots_and_parts_belong_together() {
        for part in Part::ALL {
            assert_eq!(Part::from_name(part.name()), Some(part));
        }
        for slot in Slot::BOTH {
            assert_eq!(Part::boot_of(slot).slot(), Some(slot));
            assert_eq!(Part::root_of(slot).slot(), Some(slot));
        }
        assert_eq!((Part::from_name("x"), Part::State.slot()), (None, None));
    }
}
