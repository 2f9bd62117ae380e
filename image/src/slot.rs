//! The content of one slot: the boot partition (kernel, initrd, command line in one file) and the root with its hash
//! tree.
//!
//! A root is named by its hash on the kernel's command line, so the order is fixed: root file system, hash tree,
//! command line, unified kernel image, boot partition.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, bail};
use ferrite_layout::RootHash;
use ferrite_layout::verity::{BLOCK_BYTES, HashTree};
use uuid::Uuid;

use crate::fat::FatPlan;
use crate::grub;
use crate::uki::{self, Place, Section};

/// Names of the two files of a boot partition.
pub const KERNEL_FILE: &str = "ferrite.efi";
/// What GRUB on BIOS reads beside it.
pub const CONFIG_FILE: &str = "slot.cfg";

/// A root file system with its verity tree behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Hash of the tree's top block.
    pub hash: RootHash,
    /// Blocks of data, 4096 bytes each.
    pub blocks: u64,
    /// Bytes of data and tree together.
    pub size: u64,
}

/// What the command line of a slot says.
#[derive(Clone, Debug)]
pub struct CommandLine<'a> {
    /// The root it boots.
    pub root: Root,
    /// Name of the board.
    pub board: &'a str,
    /// Version of the image.
    pub version: &'a str,
    /// The board's own words.
    pub extra: &'a [String],
}

/// What a unified kernel image is made of.
pub struct Kernel<'a> {
    /// systemd's EFI stub.
    pub stub: &'a [u8],
    /// Text of os-release.
    pub os_release: &'a [u8],
    /// Release, as `uname -r` says it.
    pub release: &'a str,
    /// The compressed kernel image.
    pub image: &'a [u8],
    /// The initrd.
    pub initrd: &'a [u8],
    /// The command line.
    pub command_line: &'a str,
}

/// The files of a boot partition.
pub struct Boot {
    /// The unified kernel image.
    pub image: Vec<u8>,
    /// Where the kernel lies in it.
    pub linux: Place,
    /// Where the initrd lies in it.
    pub initrd: Place,
    /// Text of slot.cfg.
    pub config: String,
}

impl CommandLine<'_> {
    /// The words of the kernel command line. `gpt` makes the kernel believe the backup table when the primary is
    /// damaged.
    pub fn render(&self) -> String {
        let mut words: Vec<String> =
            ["console=tty0", "console=ttyS0,115200", "loglevel=4", "panic=10", "gpt"].map(String::from).to_vec();
        words.extend(self.extra.iter().cloned());
        words.push(format!("ferrite.root={}", self.root.hash));
        words.push(format!("ferrite.blocks={}", self.root.blocks));
        words.push(format!("ferrite.board={}", self.board));
        words.push(format!("ferrite.version={}", self.version));
        words.join(" ")
    }
}

/// Appends superblock and hash tree to a root file system.
pub fn append_tree(path: &Path, uuid: Uuid) -> anyhow::Result<Root> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let data_bytes = file.metadata()?.len().next_multiple_of(BLOCK_BYTES as u64);
    file.set_len(data_bytes)?;
    let blocks = data_bytes / BLOCK_BYTES as u64;
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    // No salt: two equal blocks of two versions then hash alike, which keeps updates small.
    let tree = HashTree::build(&mut reader, blocks, &[], uuid.into_bytes())?;
    file.seek(SeekFrom::Start(data_bytes))?;
    let mut writer = BufWriter::new(&file);
    tree.write_to(&mut writer)?;
    writer.flush()?;
    drop(writer);
    Ok(Root { hash: tree.root, blocks, size: file.metadata()?.len() })
}

/// Makes the files of a boot partition.
pub fn boot_files(kernel: &Kernel) -> anyhow::Result<Boot> {
    let sections = [
        Section { name: ".osrel", data: kernel.os_release },
        Section { name: ".cmdline", data: kernel.command_line.as_bytes() },
        Section { name: ".uname", data: kernel.release.as_bytes() },
        Section { name: ".initrd", data: kernel.initrd },
        Section { name: ".linux", data: kernel.image },
    ];
    let (image, places) = uki::build(kernel.stub, &sections)?;
    let [.., initrd, linux] = places[..] else { bail!("the unified kernel image has too few sections") };
    let config = grub::slot_cfg(linux, initrd, kernel.command_line);
    Ok(Boot { image, linux, initrd, config })
}

/// The file system of a boot partition.
pub fn boot_partition(boot: &Boot, size: u64, volume_id: u32) -> anyhow::Result<FatPlan> {
    let needed = boot.image.len() as u64 + (1 << 20);
    if needed > size {
        bail!("kernel and initrd need {} MiB, the boot partition has {}", needed >> 20, size >> 20);
    }
    let files = vec![
        (CONFIG_FILE.to_string(), boot.config.clone().into_bytes()),
        (KERNEL_FILE.to_string(), boot.image.clone()),
    ];
    Ok(FatPlan { size, label: "FERRITEBOOT", volume_id, bits: 16, cluster_sectors: 8, reserved_sectors: None, files })
}

/// Refuses a root that is larger than its partition.
pub fn check_root(root: &Root, partition_bytes: u64) -> anyhow::Result<()> {
    if root.size > partition_bytes {
        bail!(
            "the root file system needs {} MiB, the root partition has {}: give the board a larger one (disk.root_mib)",
            root.size.div_ceil(1 << 20),
            partition_bytes >> 20
        );
    }
    Ok(())
}

/// Opens a file for a message that names it.
pub fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("opening '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_found_by_its_hash_behind_its_data() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![5u8; 3 * BLOCK_BYTES + 1]).unwrap();
        let root = append_tree(file.path(), Uuid::from_u128(1)).unwrap();
        assert_eq!((root.blocks, root.size), (4, 6 * BLOCK_BYTES as u64));
        let device = open(file.path()).unwrap();
        let found = ferrite_layout::verity::probe(&device, root.blocks, &root.hash).unwrap();
        assert_eq!(found.data_blocks, 4);
        assert!(ferrite_layout::verity::probe(&device, 3, &root.hash).is_err());
    }

    #[test]
    fn the_command_line_is_the_one_that_early_boot_reads() {
        let hash = RootHash::parse(&"ab".repeat(32)).unwrap();
        let extra = ["no_timer_check".to_string()];
        let root = Root { hash, blocks: 7, size: 0 };
        let line = CommandLine { root, board: "qemu", version: "1.2", extra: &extra }.render();
        let expected = format!(
            "console=tty0 console=ttyS0,115200 loglevel=4 panic=10 gpt no_timer_check ferrite.root={hash} \
             ferrite.blocks=7 ferrite.board=qemu ferrite.version=1.2"
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_too_large_for_its_partition_is_refused_with_the_way_out() {
        let hash = RootHash::parse(&"00".repeat(32)).unwrap();
        let error = check_root(&Root { hash, blocks: 2, size: (3 << 20) + 1 }, 3 << 20).unwrap_err();
        let expected = "the root file system needs 4 MiB, the root partition has 3: \
                        give the board a larger one (disk.root_mib)";
        assert_eq!(error.to_string(), expected);
        let place = Place { offset: 0, size: 0 };
        let boot = Boot { image: vec![0; 1 << 20], linux: place, initrd: place, config: String::new() };
        assert!(boot_partition(&boot, 2 << 20, 1).is_ok());
        assert!(boot_partition(&boot, (2 << 20) - 1, 1).is_err());
    }
}
