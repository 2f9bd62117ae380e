//! The boot loader's partitions: BIOS boot, ESP and boot control.

use std::fs;

use anyhow::Context;
use ferrite_layout::{Record, SlotState, envblock};

use crate::fat::FatPlan;
use crate::grub;
use crate::workshop::{self, Workshop};

const GRUB_FOLDER: &str = "usr/lib/grub/i386-pc";
const SIGNED_GRUB: &str = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
const SHIM: &str = "usr/lib/shim/shimx64.efi.signed";
const KEY_MANAGER: &str = "usr/lib/shim/mmx64.efi.signed";
/// A cluster of the boot control partition; each file has its own.
const CONTROL_CLUSTER: usize = 4096;

/// GRUB for BIOS, before it is told where it lies.
pub struct BiosGrub {
    /// boot.img, one sector.
    pub boot_image: Vec<u8>,
    /// core.img with modules and grub.cfg.
    pub core_image: Vec<u8>,
}

/// Makes core.img and reads boot.img.
pub fn bios_grub(shop: &Workshop) -> anyhow::Result<BiosGrub> {
    let folder = shop.tools.path(GRUB_FOLDER);
    let early = shop.scratch.join("early.cfg");
    let memory_disk = shop.scratch.join("memdisk.tar");
    let core = shop.scratch.join("core.img");
    fs::write(&memory_disk, grub::memory_disk(grub::GRUB_CFG)?).context("writing the memory disk of GRUB")?;
    fs::write(&early, grub::EARLY_CONFIG).context("writing the early configuration of GRUB")?;
    let mut command = shop.tools.command("grub-mkimage")?;
    command.arg("--config").arg(&early);
    command.arg("--directory").arg(&folder).arg("--memdisk").arg(&memory_disk).arg("--output").arg(&core);
    workshop::run(command.args(grub::mkimage_arguments()))?;
    let core_image = fs::read(&core).context("reading core.img")?;
    Ok(BiosGrub { boot_image: shop.read(&format!("{GRUB_FOLDER}/boot.img"))?, core_image })
}

/// The EFI system partition. The signed GRUB looks for its configuration in /EFI/debian, whatever started it.
pub fn esp(shop: &Workshop, size: u64, volume_id: u32) -> anyhow::Result<FatPlan> {
    let files = vec![
        ("EFI/BOOT/BOOTX64.EFI".to_string(), shop.read(SHIM)?),
        ("EFI/BOOT/grubx64.efi".to_string(), shop.read(SIGNED_GRUB)?),
        ("EFI/BOOT/mmx64.efi".to_string(), shop.read(KEY_MANAGER)?),
        ("EFI/debian/grub.cfg".to_string(), grub::GRUB_CFG.as_bytes().to_vec()),
    ];
    let reserved_sectors = None;
    Ok(FatPlan { size, label: "FERRITE-ESP", volume_id, bits: 32, cluster_sectors: 1, reserved_sectors, files })
}

/// The boot control partition: the flags twice and the boot record, each in a 4 KiB block of its own.
pub fn boot_control(state: &SlotState, record: &Record, size: u64, volume_id: u32) -> FatPlan {
    let mut record_file = record.render().to_vec();
    record_file.resize(CONTROL_CLUSTER, b'#');
    let files = vec![
        ("boot0.env".to_string(), envblock::render(state).to_vec()),
        ("boot1.env".to_string(), envblock::render(state).to_vec()),
        ("record.bin".to_string(), record_file),
    ];
    FatPlan {
        size,
        label: "FERRITECTL",
        volume_id,
        bits: 12,
        cluster_sectors: 8,
        // 6 reserved sectors, 2 of tables and 32 of the root directory: the data begins at 20480, a multiple of 4096.
        reserved_sectors: Some(6),
        files,
    }
}

/// The oem partition: which board this is; an installer may add a cloud-config.
pub fn oem(board: &str, size: u64, volume_id: u32) -> FatPlan {
    let files = vec![("board".to_string(), format!("{board}\n").into_bytes())];
    let reserved_sectors = None;
    FatPlan { size, label: "FERRITE-OEM", volume_id, bits: 16, cluster_sectors: 4, reserved_sectors, files }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_boot_control_has_a_block_of_its_own() {
        let plan = boot_control(&SlotState::fresh(), &Record::default(), 1 << 20, 1);
        let names: Vec<&str> = plan.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["boot0.env", "boot1.env", "record.bin"]);
        assert_eq!(usize::from(plan.cluster_sectors) * 512, CONTROL_CLUSTER);
        assert!(plan.files.iter().all(|(_, content)| content.len() <= CONTROL_CLUSTER));
        assert_eq!(envblock::parse(&plan.files[0].1), Some(SlotState::fresh()));
        assert_eq!(Record::parse(&plan.files[2].1), Some(Record::default()));
    }

    #[test]
    fn the_data_of_boot_control_begins_at_a_multiple_of_4096() {
        let reserved =
            u64::from(boot_control(&SlotState::fresh(), &Record::default(), 1 << 20, 1).reserved_sectors.unwrap());
        assert_eq!((reserved + 2 + 32) * 512 % 4096, 0);
    }
}
