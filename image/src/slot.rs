//! The content of one slot: the boot partition (kernel, initrd, command line in one file) and the root with its hash tree.
//!
//! A root is named by its hash on the kernel's command line, so the order is fixed: root file system, hash tree, command
//! line, unified kernel image, boot partition.

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
    /// The words of the kernel command line. `gpt` makes the kernel believe the backup table when the primary is damaged.
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
