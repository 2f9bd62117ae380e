//! Ways in which an installed slot can be bad. Each is made offline on slot b, which begins as a copy of slot a.
//!
//! Where a program is replaced, the verity tree is made anew and the root hash in the boot partition is exchanged, so
//! that the slot is intact in every other way.

use anyhow::{Context, ensure};
use ferrite_layout::verity::{BLOCK_BYTES, HashTree, Superblock};
use ferrite_layout::{Part, Slot};

use crate::disk_file::DiskFile;
use crate::erofs::Erofs;
use crate::tiny_elf;

/// What is wrong with the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokenSlot {
    /// The boot partition has no kernel file.
    NoKernel,
    /// The kernel file is full of zeros.
    ZeroKernel,
    /// The command line asks for another root.
    WrongRootHash,
    /// A block of the root that PID 1 needs is corrupt.
    CorruptRoot,
    /// PID 1 exits at once.
    InitExits,
    /// PID 1 does nothing.
    InitHangs,
    /// The ssh server cannot start, so boot-complete.target is never reached.
    NeverComplete,
}

const INIT: &str = "/usr/lib/ferrite/ferrite-init";
const SSHD: &str = "/usr/sbin/sshd";
const KERNEL_NAME: &[u8; 11] = b"FERRITE EFI";

impl BrokenSlot {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoKernel,
        Self::ZeroKernel,
        Self::WrongRootHash,
        Self::CorruptRoot,
        Self::InitExits,
        Self::InitHangs,
        Self::NeverComplete,
    ];

    /// What the console may say because of it.
    pub fn expected_trouble(self) -> &'static [&'static str] {
        match self {
            Self::NoKernel | Self::ZeroKernel | Self::WrongRootHash | Self::InitHangs | Self::NeverComplete => &[],
            Self::CorruptRoot => &["is corrupted", "I/O error", "Kernel panic", "Buffer I/O error", "verity"],
            Self::InitExits => &["Kernel panic"],
        }
    }

    /// Makes slot b a copy of slot a with this fault, and the slot to try next.
    pub fn install(self, disk: &DiskFile) -> anyhow::Result<()> {
        disk.copy_slot_a_to_b()?;
        write_boot(disk, edits_of_boot(self, &boot_of(disk, Slot::B)?)?)?;
        match self {
            Self::NoKernel | Self::ZeroKernel | Self::WrongRootHash => {}
            Self::CorruptRoot => corrupt_root(disk, Slot::B)?,
            Self::InitExits => replace_program(disk, INIT, &tiny_elf::exits())?,
            Self::InitHangs => replace_program(disk, INIT, &tiny_elf::hangs())?,
            Self::NeverComplete => replace_program(disk, SSHD, &tiny_elf::exits())?,
        }
        disk.try_slot_b_next()
    }
}

/// Bytes to be written to a partition, and where.
pub type Edit = (u64, Vec<u8>);

/// What makes a boot partition bad in this way; nothing if the fault is not there.
pub fn edits_of_boot(fault: BrokenSlot, boot: &[u8]) -> anyhow::Result<Vec<Edit>> {
    match fault {
        BrokenSlot::NoKernel => Ok(vec![remove_kernel(boot)?]),
        BrokenSlot::ZeroKernel => Ok(vec![zero_kernel(boot)?]),
        BrokenSlot::WrongRootHash => {
            let digits = command_line_word(boot, "ferrite.root=")?;
            let wrong: String = digits.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
            exchange_root_hash(boot, &digits, &wrong)
        }
        BrokenSlot::CorruptRoot | BrokenSlot::InitExits | BrokenSlot::InitHangs | BrokenSlot::NeverComplete => {
            Ok(Vec::new())
        }
    }
}

/// Where a file of a slot's root begins, in bytes of the partition.
pub fn offset_in_root(disk: &DiskFile, slot: Slot, path: &str) -> anyhow::Result<u64> {
    Erofs::open(&root_data(disk, slot)?)?.offset_of(path)
}

fn remove_kernel(boot: &[u8]) -> anyhow::Result<Edit> {
    let entry = directory_entry(boot)?;
    // A name that begins with 0xe5 is a deleted one.
    Ok((entry as u64, vec![0xe5]))
}

fn zero_kernel(boot: &[u8]) -> anyhow::Result<Edit> {
    // The UKI is the only file of the partition that begins like a program for UEFI.
    let sectors = boot.chunks_exact(512).position(|sector| sector.starts_with(b"MZ"));
    let start = 512 * sectors.context("the slot has no kernel file")? as u64;
    let entry = directory_entry(boot)?;
    let size = boot.get(entry + 28..entry + 32).context("the directory entry is cut off")?;
    let size = u32::from_le_bytes(size.try_into().unwrap_or_default());
    ensure!(size > 1 << 20, "the kernel file has only {size} bytes");
    Ok((start, vec![0; size as usize]))
}

fn directory_entry(partition: &[u8]) -> anyhow::Result<usize> {
    let found = partition.chunks_exact(32).position(|entry| entry.starts_with(KERNEL_NAME));
    Ok(32 * found.context("the slot has no directory entry of the kernel file")?)
}

/// Turns a bit of PID 1's program over.
pub fn corrupt_root(disk: &DiskFile, slot: Slot) -> anyhow::Result<()> {
    let offset = offset_in_root(disk, slot, INIT)?;
    disk.flip_bit(Part::root_of(slot), offset + 64)
}

fn replace_program(disk: &DiskFile, path: &str, program: &[u8]) -> anyhow::Result<()> {
    let boot = boot_of(disk, Slot::B)?;
    let part = Part::root_of(Slot::B);
    let offset = offset_in_root(disk, Slot::B, path)?;
    ensure!(disk.read(part, offset, 4)? == b"\x7fELF", "'{path}' is not a program");
    disk.write(part, offset, program)?;
    let superblock = superblock(disk, Slot::B)?;
    let data = root_data(disk, Slot::B)?;
    let tree = HashTree::build(&mut data.as_slice(), superblock.data_blocks, &superblock.salt, superblock.uuid)?;
    let mut bytes = Vec::new();
    tree.write_to(&mut bytes).context("writing the verity tree")?;
    disk.write(part, superblock.data_blocks * BLOCK_BYTES as u64, &bytes)?;
    let old = command_line_word(&boot, "ferrite.root=")?;
    write_boot(disk, exchange_root_hash(&boot, &old, &tree.root.to_string())?)
}

fn boot_of(disk: &DiskFile, slot: Slot) -> anyhow::Result<Vec<u8>> {
    disk.read_all(Part::boot_of(slot))
}

fn write_boot(disk: &DiskFile, edits: Vec<Edit>) -> anyhow::Result<()> {
    edits.into_iter().try_for_each(|(offset, bytes)| disk.write(Part::boot_of(Slot::B), offset, &bytes))
}

/// Exchanges the root hash wherever a boot partition names it: in the UKI and in GRUB's file.
fn exchange_root_hash(boot: &[u8], old: &str, new: &str) -> anyhow::Result<Vec<Edit>> {
    let places: Vec<usize> = find_all(boot, old.as_bytes());
    ensure!(places.len() >= 2, "the root hash stands only {} times in the boot partition", places.len());
    Ok(places.into_iter().map(|place| (place as u64, new.as_bytes().to_vec())).collect())
}

fn superblock(disk: &DiskFile, slot: Slot) -> anyhow::Result<Superblock> {
    let blocks = command_line_word(&boot_of(disk, slot)?, "ferrite.blocks=")?;
    let blocks: u64 = blocks.parse().context("reading ferrite.blocks")?;
    let block = disk.read(Part::root_of(slot), blocks * BLOCK_BYTES as u64, BLOCK_BYTES)?;
    Ok(Superblock::parse(&block).with_context(|| format!("slot {slot} has no verity superblock"))??)
}

fn root_data(disk: &DiskFile, slot: Slot) -> anyhow::Result<Vec<u8>> {
    disk.read(Part::root_of(slot), 0, superblock(disk, slot)?.data_blocks as usize * BLOCK_BYTES)
}

fn command_line_word(boot: &[u8], key: &str) -> anyhow::Result<String> {
    let place = find_all(boot, key.as_bytes()).into_iter().next();
    let start = place.with_context(|| format!("the boot partition does not name {key}"))? + key.len();
    let word = boot[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric());
    Ok(word.map(|byte| char::from(*byte)).collect())
}

fn find_all(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let first = wanted.first().copied().unwrap_or_default();
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(place, _)| place);
    starts.filter(|place| bytes[*place..].starts_with(wanted)).collect()
}
