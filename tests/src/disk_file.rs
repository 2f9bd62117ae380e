//! The disk of a machine that is off: partitions read and written in the raw file, by the layout of libs/layout.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_layout::bootctl::{self, Contents};
use ferrite_layout::gpt::{self, FoundTable};
use ferrite_layout::{Part, Record, Slot, SlotState};

/// A raw disk file.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    path: PathBuf,
}

/// Where a partition lies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub offset: u64,
    /// Its size.
    pub length: u64,
}

impl DiskFile {
    /// Opens the file for reading and writing.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        Ok(Self { file: file.with_context(|| format!("opening disk '{}'", path.display()))?, path: path.into() })
    }

    /// The size of the disk.
    pub fn length(&self) -> anyhow::Result<u64> {
        Ok(self.file.metadata().with_context(|| format!("asking for the size of '{}'", self.path.display()))?.len())
    }

    /// The partition table, as the kernel would read it.
    pub fn table(&self) -> anyhow::Result<FoundTable> {
        let sectors = self.length()? / 512;
        gpt::read_table(&self.file, sectors).with_context(|| format!("reading the table of '{}'", self.path.display()))
    }

    /// Where a partition lies.
    pub fn place(&self, part: Part) -> anyhow::Result<Place> {
        let found = self.table()?;
        let (_, entry) = found.table.by_name(part.name()).with_context(|| format!("no partition {}", part.name()))?;
        Ok(Place { offset: entry.first_lba * 512, length: entry.sectors() * 512 })
    }

    /// Bytes of a partition.
    pub fn read(&self, part: Part, offset: u64, length: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let place = self.place(part)?;
        self.file
            .read_exact_at(&mut bytes, place.offset + offset)
            .with_context(|| format!("reading {} at byte {offset}", part.name()))?;
        Ok(bytes)
    }

    /// All bytes of a partition.
    pub fn read_all(&self, part: Part) -> anyhow::Result<Vec<u8>> {
        let place = self.place(part)?;
        self.read(part, 0, place.length as usize)
    }

    /// Overwrites bytes of a partition.
    pub fn write(&self, part: Part, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let place = self.place(part)?;
        self.file
            .write_all_at(bytes, place.offset + offset)
            .with_context(|| format!("writing {} at byte {offset}", part.name()))
    }

    /// Turns one bit over.
    pub fn flip_bit(&self, part: Part, offset: u64) -> anyhow::Result<()> {
        let byte = self.read(part, offset, 1)?;
        self.write(part, offset, &[byte[0] ^ 1])
    }

    /// Makes slot b a copy of slot a. Blocks of zeros stay holes.
    pub fn copy_slot_a_to_b(&self) -> anyhow::Result<()> {
        const STEP: u64 = 1 << 20;
        for (from, to) in
            [(Part::boot_of(Slot::A), Part::boot_of(Slot::B)), (Part::root_of(Slot::A), Part::root_of(Slot::B))]
        {
            let (source, target) = (self.place(from)?, self.place(to)?);
            let mut buffer = vec![0; STEP as usize];
            for step in (0..source.length).step_by(STEP as usize) {
                self.file.read_exact_at(&mut buffer, source.offset + step).context("reading slot a")?;
                if buffer.iter().any(|byte| *byte != 0) {
                    self.file.write_all_at(&buffer, target.offset + step).context("writing slot b")?;
                }
            }
        }
        Ok(())
    }

    /// What the boot control partition says.
    pub fn boot_control(&self) -> anyhow::Result<Contents> {
        Ok(Contents::parse(&self.read_all(Part::Bootctl)?))
    }

    /// The flags of the slots.
    pub fn flags(&self) -> anyhow::Result<SlotState> {
        self.boot_control()?.flags().context("the boot control partition holds no readable flags")
    }

    /// The record of the last boots.
    pub fn record(&self) -> anyhow::Result<Option<Record>> {
        Ok(self.boot_control()?.record)
    }

    /// Writes the flags of the slots, as the update engine would.
    pub fn set_flags(&self, flags: &SlotState) -> anyhow::Result<()> {
        let partition = self.read_all(Part::Bootctl)?;
        for write in bootctl::flag_writes(&partition, &bootctl::locate(&partition), flags) {
            self.write(Part::Bootctl, write.offset, &write.sector)?;
        }
        Ok(())
    }

    /// Marks slot b as freshly installed: it is tried next, three times.
    pub fn try_slot_b_next(&self) -> anyhow::Result<()> {
        self.set_flags(&self.flags()?.install_done(Slot::B))
    }

    /// The identifier of the ext4 file system on the state partition.
    pub fn state_uuid(&self) -> anyhow::Result<[u8; 16]> {
        let superblock = self.read(Part::State, 1024, 1024)?;
        anyhow::ensure!(superblock[0x38..0x3a] == [0x53, 0xef], "the state partition holds no ext4 file system");
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&superblock[0x68..0x78]);
        Ok(uuid)
    }
}
