//! A2: one file boots on every firmware, disk bus and network card. A sample by default, all of them in the long run.

use anyhow::Context;
use ferrite_tests::{Board, DiskBus, Firmware, Nic, Setup, amount};

type Hardware = (Board, Firmware, DiskBus, Nic);

fn boots(hardware: Hardware) -> anyhow::Result<()> {
    let (board, firmware, bus, nic) = hardware;
    let mut machine = Setup::new(board)?.firmware(firmware).bus(bus).nic(nic).boot()?;
    let wanted = match firmware {
        Firmware::Bios => "firmware=bios",
        Firmware::Uefi => "firmware=uefi",
    };
    let facts = machine.ssh("cat /run/ferrite/boot")?;
    assert!(facts.contains(wanted), "{hardware:?}:\n{facts}");
    machine.power_off()
}

#[test]
fn the_cloud_kernel_boots_from_nvme_with_uefi() -> anyhow::Result<()> {
    boots((Board::Qemu, Firmware::Uefi, DiskBus::Nvme, Nic::VirtioNet))
}

#[test]
fn the_generic_kernel_boots_from_usb_with_bios_and_an_intel_card() -> anyhow::Result<()> {
    boots((Board::Metal, Firmware::Bios, DiskBus::Usb, Nic::E1000e))
}

#[test]
fn the_generic_kernel_boots_from_ahci_with_uefi_and_an_intel_card() -> anyhow::Result<()> {
    boots((Board::Metal, Firmware::Uefi, DiskBus::Ahci, Nic::E1000e))
}

#[test]
fn the_cloud_kernel_boots_from_virtio_scsi_with_bios() -> anyhow::Result<()> {
    boots((Board::Qemu, Firmware::Bios, DiskBus::VirtioScsi, Nic::VirtioNet))
}

#[test]
fn every_other_combination_boots_too() -> anyhow::Result<()> {
    if !amount::everything() {
        return Ok(());
    }
    let buses = [DiskBus::VirtioBlk, DiskBus::VirtioScsi, DiskBus::Nvme, DiskBus::Ahci, DiskBus::Usb];
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        for bus in buses {
            for (board, nic) in
                [(Board::Qemu, Nic::VirtioNet), (Board::Metal, Nic::VirtioNet), (Board::Metal, Nic::E1000e)]
            {
                // Debian's cloud kernel has no driver for USB storage.
                if (board, bus) != (Board::Qemu, DiskBus::Usb) {
                    let hardware = (board, firmware, bus, nic);
                    boots(hardware).with_context(|| format!("{hardware:?}"))?;
                }
            }
        }
    }
    Ok(())
}
