//! Ways in which an installed slot can be bad. Each is made offline on slot b, which begins as a copy of slot a.
//!
//! Where a program is replaced, the verity tree is made anew and the root hash in the boot partition is exchanged, so
//! that the slot is intact in every other way.

use anyhow::{Context, ensure};
use ferrite_layout::verity::{BLOCK_BYTES, HashTree, RootHash, Superblock};
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
        match self {
            Self::NoKernel => remove_kernel(disk)?,
            Self::ZeroKernel => zero_kernel(disk)?,
            Self::WrongRootHash => {
                let hash = root_hash(disk)?;
                let digits = hash.to_string();
                let wrong: String = digits.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect();
                exchange_root_hash(disk, &digits, &wrong)?;
            }
            Self::CorruptRoot => {
                let offset = offset_in_root(disk, INIT)?;
                disk.flip_bit(Part::root_of(Slot::B), offset + 64)?;
            }
            Self::InitExits => replace_program(disk, INIT, &tiny_elf::exits())?,
            Self::InitHangs => replace_program(disk, INIT, &tiny_elf::hangs())?,
            Self::NeverComplete => replace_program(disk, SSHD, &tiny_elf::exits())?,
        }
        disk.try_slot_b_next()
    }
}

/// Where a file of slot b's root begins, in bytes of the partition.
pub fn offset_in_root(disk: &DiskFile, path: &str) -> anyhow::Result<u64> {
    Erofs::open(&root_data(disk)?)?.offset_of(path)
}

fn remove_kernel(disk: &DiskFile) -> anyhow::Result<()> {
    let part = Part::boot_of(Slot::B);
    let bytes = disk.read_all(part)?;
    let entry = directory_entry(&bytes)?;
    // A name that begins with 0xe5 is a deleted one.
    disk.write(part, entry as u64, &[0xe5])
}

fn zero_kernel(disk: &DiskFile) -> anyhow::Result<()> {
    let part = Part::boot_of(Slot::B);
    let bytes = disk.read_all(part)?;
    // The UKI is the only file of the partition that begins like a program for UEFI.
    let sectors = bytes.chunks_exact(512).position(|sector| sector.starts_with(b"MZ"));
    let start = 512 * sectors.context("slot b has no kernel file")? as u64;
    let entry = directory_entry(&bytes)?;
    let size = bytes.get(entry + 28..entry + 32).context("the directory entry is cut off")?;
    let size = u32::from_le_bytes(size.try_into().unwrap_or_default());
    ensure!(size > 1 << 20, "the kernel file has only {size} bytes");
    disk.write(part, start, &vec![0; size as usize])
}

fn directory_entry(partition: &[u8]) -> anyhow::Result<usize> {
    let found = partition.chunks_exact(32).position(|entry| entry.starts_with(KERNEL_NAME));
    Ok(32 * found.context("slot b has no directory entry of the kernel file")?)
}

fn replace_program(disk: &DiskFile, path: &str, program: &[u8]) -> anyhow::Result<()> {
    let old = root_hash(disk)?;
    let part = Part::root_of(Slot::B);
    let offset = offset_in_root(disk, path)?;
    ensure!(disk.read(part, offset, 4)? == b"\x7fELF", "'{path}' is not a program");
    disk.write(part, offset, program)?;
    let superblock = superblock(disk)?;
    let data = root_data(disk)?;
    let tree = HashTree::build(&mut data.as_slice(), superblock.data_blocks, &superblock.salt, superblock.uuid)?;
    let mut bytes = Vec::new();
    tree.write_to(&mut bytes).context("writing the verity tree")?;
    disk.write(part, superblock.data_blocks * BLOCK_BYTES as u64, &bytes)?;
    exchange_root_hash(disk, &old.to_string(), &tree.root.to_string())
}

/// Exchanges the root hash wherever the boot partition of slot b names it: in the UKI and in GRUB's file.
fn exchange_root_hash(disk: &DiskFile, old: &str, new: &str) -> anyhow::Result<()> {
    let part = Part::boot_of(Slot::B);
    let bytes = disk.read_all(part)?;
    let places: Vec<usize> = find_all(&bytes, old.as_bytes());
    ensure!(places.len() >= 2, "the root hash stands only {} times in the boot partition", places.len());
    places.into_iter().try_for_each(|place| disk.write(part, place as u64, new.as_bytes()))
}

/// The root hash that the command line of slot b names.
fn root_hash(disk: &DiskFile) -> anyhow::Result<RootHash> {
    let digits = command_line_word(disk, "ferrite.root=")?;
    RootHash::parse(&digits).context("reading the root hash of slot b")
}

fn superblock(disk: &DiskFile) -> anyhow::Result<Superblock> {
    let blocks: u64 = command_line_word(disk, "ferrite.blocks=")?.parse().context("reading ferrite.blocks")?;
    let block = disk.read(Part::root_of(Slot::B), blocks * BLOCK_BYTES as u64, BLOCK_BYTES)?;
    Ok(Superblock::parse(&block).context("slot b has no verity superblock")??)
}

fn root_data(disk: &DiskFile) -> anyhow::Result<Vec<u8>> {
    disk.read(Part::root_of(Slot::B), 0, superblock(disk)?.data_blocks as usize * BLOCK_BYTES)
}

fn command_line_word(disk: &DiskFile, key: &str) -> anyhow::Result<String> {
    let bytes = disk.read_all(Part::boot_of(Slot::B))?;
    let place = find_all(&bytes, key.as_bytes()).into_iter().next();
    let start = place.with_context(|| format!("the boot partition of slot b does not name {key}"))? + key.len();
    let word = bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric());
    Ok(word.map(|byte| char::from(*byte)).collect())
}

fn find_all(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let first = wanted.first().copied().unwrap_or_default();
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first).map(|(place, _)| place);
    starts.filter(|place| bytes[*place..].starts_with(wanted)).collect()
}
