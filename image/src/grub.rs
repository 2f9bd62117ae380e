//! The boot loader on the disk: core.img for BIOS, made without grub-install, and the texts that GRUB reads. Mostly
//! pure.
//!
//! BIOS GRUB carries grub.cfg inside core.img (a memory disk), so that a lost ESP does not stop it; UEFI reads the
//! same text from the ESP, where the signed GRUB looks for it (/EFI/debian/grub.cfg).

use std::io;

use thiserror::Error;

use crate::uki::Place;

/// The one grub.cfg, for BIOS and UEFI.
pub const GRUB_CFG: &str = include_str!("../grub/grub.cfg");

/// Read before grub.cfg, by a parser that knows `set` and little else. `root` stays the disk that BIOS started from.
pub const EARLY_CONFIG: &str = "set prefix=(memdisk)/boot/grub\n";

/// What grub.cfg needs on BIOS; all of it is built into the signed UEFI image as well.
const MODULES: [&str; 18] = [
    "biosdisk",
    "part_gpt",
    "fat",
    "memdisk",
    "tar",
    "normal",
    "configfile",
    "test",
    "echo",
    "sleep",
    "reboot",
    "serial",
    "terminal",
    "regexp",
    "loadenv",
    "loopback",
    "probe",
    "linux",
];
/// GRUB itself is not asked for more; `smbios` lets a hypervisor add words to the kernel command line.
const EXTRA_MODULES: [&str; 1] = ["smbios"];

const SECTOR: usize = 512;
/// Bytes of the first sector that are code; behind them lie the disk signature and the partition table.
pub const BOOT_CODE_SIZE: usize = 440;
const KERNEL_SECTOR_AT: usize = 0x5c;
const BOOT_DRIVE_AT: usize = 0x64;
const DRIVE_CHECK_AT: usize = 0x66;
/// The block list of diskboot.img ends its first sector: start (8), length (2), segment (2).
const BLOCK_LIST_AT: usize = SECTOR - 12;
const CORE_SEGMENT: u16 = 0x820;

/// boot.img or core.img is not what GRUB 2.12 makes.
#[derive(Debug, Error)]
pub enum GrubError {
    /// boot.img has one sector.
    #[error("boot.img of the GRUB package has {size} bytes, not 512")]
    BootImage {
        /// Its size.
        size: usize,
    },
    /// core.img does not fit its partition or its own block list.
    #[error("core.img has {size} bytes, the BIOS boot partition {room}")]
    CoreImage {
        /// Its size.
        size: usize,
        /// Size of the partition.
        room: u64,
    },
}

/// The memory disk of core.img: a tar archive with grub.cfg.
pub fn memory_disk(grub_cfg: &str) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(grub_cfg.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, "boot/grub/grub.cfg", grub_cfg.as_bytes())?;
    archive.into_inner()
}

/// The arguments of `grub-mkimage`, but for the directories and files.
pub fn mkimage_arguments() -> Vec<&'static str> {
    let mut arguments = vec!["--format=i386-pc", "--compression=xz", "--prefix=/boot/grub"];
    arguments.extend(MODULES);
    arguments.extend(EXTRA_MODULES);
    arguments
}

/// The code of the first sector of the disk: boot.img told where core.img starts, and to trust the drive BIOS names.
pub fn boot_code(boot_image: &[u8], core_sector: u64) -> Result<[u8; BOOT_CODE_SIZE], GrubError> {
    if boot_image.len() != SECTOR {
        return Err(GrubError::BootImage { size: boot_image.len() });
    }
    let mut code = [0u8; BOOT_CODE_SIZE];
    code.copy_from_slice(&boot_image[..BOOT_CODE_SIZE]);
    code[KERNEL_SECTOR_AT..KERNEL_SECTOR_AT + 8].copy_from_slice(&core_sector.to_le_bytes());
    code[BOOT_DRIVE_AT] = 0xff;
    code[DRIVE_CHECK_AT..DRIVE_CHECK_AT + 2].copy_from_slice(&[0x90, 0x90]);
    Ok(code)
}

/// core.img as it lies in the BIOS boot partition: whole sectors, its block list naming the sectors behind the first.
pub fn core_on_disk(core_image: &[u8], core_sector: u64, room: u64) -> Result<Vec<u8>, GrubError> {
    let too_large = || GrubError::CoreImage { size: core_image.len(), room };
    let mut core = core_image.to_vec();
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let rest = u16::try_from(core.len() / SECTOR - 1).map_err(|_| too_large())?;
    if core.len() as u64 > room || rest == 0 {
        return Err(too_large());
    }
    core[BLOCK_LIST_AT..BLOCK_LIST_AT + 8].copy_from_slice(&(core_sector + 1).to_le_bytes());
    core[BLOCK_LIST_AT + 8..BLOCK_LIST_AT + 10].copy_from_slice(&rest.to_le_bytes());
    core[BLOCK_LIST_AT + 10..SECTOR].copy_from_slice(&CORE_SEGMENT.to_le_bytes());
    Ok(core)
}

/// slot.cfg of a boot partition: what BIOS GRUB loads out of the slot's unified kernel image.
pub fn slot_cfg(linux: Place, initrd: Place, command_line: &str) -> String {
    format!("set lin=(uki){}\nset ini=(uki){}\nset cmd=\"{command_line}\"\n", linux.block_list(), initrd.block_list())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_code_names_the_first_sector_of_core_and_keeps_the_rest() {
        let mut image = vec![0xaa; SECTOR];
        image[440..].fill(0);
        let code = boot_code(&image, 2048).unwrap();
        assert_eq!(code[0x5c..0x64], 2048u64.to_le_bytes());
        assert_eq!((code[0x64], code[0x66], code[0x67]), (0xff, 0x90, 0x90));
        assert_eq!(code[0x65], 0xaa);
        assert!(boot_code(&image[1..], 2048).is_err());
    }

    #[test]
    fn the_block_list_of_core_counts_the_sectors_behind_the_first() {
        let core = core_on_disk(&vec![1; 3 * SECTOR + 5], 2048, 1 << 20).unwrap();
        assert_eq!(core.len(), 4 * SECTOR);
        assert_eq!(core[500..508], 2049u64.to_le_bytes());
        assert_eq!(core[508..512], [3, 0, 0x20, 0x08]);
    }

    #[test]
    fn a_core_that_does_not_fit_is_refused() {
        assert!(core_on_disk(&vec![1; 4 * SECTOR], 2048, 3 * SECTOR as u64).is_err());
        assert!(core_on_disk(&vec![1; SECTOR], 2048, 1 << 20).is_err());
    }

    #[test]
    fn slot_cfg_gives_grub_block_ranges_of_the_image() {
        let linux = Place { offset: 4096, size: 1000 };
        let initrd = Place { offset: 8192, size: 512 };
        assert_eq!(
            slot_cfg(linux, initrd, "quiet ferrite.root=00"),
            "set lin=(uki)8+2\nset ini=(uki)16+1\nset cmd=\"quiet ferrite.root=00\"\n"
        );
    }

    #[test]
    fn grub_cfg_names_the_partitions_by_their_numbers() {
        use ferrite_layout::Part;
        let number = |part: Part| format!("$disk,gpt{}", part.number());
        for (part, context) in [
            (Part::Bootctl, "/boot0.env"),
            (Part::Bootctl, "/boot1.env"),
            (Part::BootA, "; else"),
            (Part::BootB, "; fi"),
        ] {
            let found = GRUB_CFG.lines().any(|line| line.contains(&number(part)) && line.contains(context));
            assert!(found, "{part} as {} with '{context}'", number(part));
        }
    }

    #[test]
    fn grub_cfg_reads_every_key_of_the_flags() {
        let keys: Vec<&str> = ferrite_layout::SlotState::fresh().pairs().map(|(key, _)| key).to_vec();
        let list = format!("{} end;", keys.join(" "));
        assert_eq!(GRUB_CFG.matches(&list).count(), 2, "load_env with '{list}'");
    }

    #[test]
    fn the_memory_disk_is_the_same_every_time() {
        assert_eq!(memory_disk("x").unwrap(), memory_disk("x").unwrap());
    }
}
