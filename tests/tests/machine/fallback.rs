//! A4: a bad slot b is left by the machine itself, and the person who logs in is told.

use ferrite_layout::SlotFlags;
use ferrite_tests::{Board, BrokenSlot, Firmware, Setup, Slot, amount, one_line};

/// Boots with a bad slot b that is tried next, and looks at what came of it.
fn returns_to_slot_a(fault: BrokenSlot, firmware: Firmware) -> anyhow::Result<()> {
    // A hung PID 1 is ended by the watchdog, a boot that never completes by its deadline.
    let setup = Setup::new(Board::Qemu)?.firmware(firmware).watchdog().kernel_words("ferrite.boot-deadline=60");
    let setup = setup.expecting(fault.expected_trouble());
    let disk = setup.disk()?;
    fault.install(&disk)?;
    if !amount::everything() {
        // One try instead of three: the same way back, shorter.
        let flags = disk.flags()?;
        disk.set_flags(&flags.with(Slot::B, SlotFlags::Trying(1)))?;
    }
    let mut machine = setup.power_on()?;
    machine.wait_for("slot a to run", ferrite_tests::machine::BOOT_DEADLINE * 4, |machine| {
        let said = machine.try_ssh("cat /run/ferrite/boot")?;
        Ok(said.out.lines().any(|line| line == "slot=a").then_some(()))
    })?;
    machine.wait_until_running()?;

    let facts = machine.facts()?;
    let fallback = facts.fallback.expect("early boot says where it comes from");
    assert_eq!(fallback.from, Slot::B);
    assert!(!fallback.reason.is_empty());
    for place in ["cat /run/motd", "ferrite-slots status"] {
        // The banner breaks long lines.
        let text = one_line(&machine.ssh(place)?);
        assert!(text.contains(&one_line(&fallback.reason)), "`{place}` does not say '{}':\n{text}", fallback.reason);
    }
    machine.power_off()?;
    assert!(!machine.disk()?.flags()?.flags(Slot::B).usable(), "slot b would be tried again");
    Ok(())
}

#[test]
fn a_slot_without_a_kernel() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::NoKernel, Firmware::Bios)
}

#[test]
fn a_slot_with_a_kernel_of_zeros() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::ZeroKernel, Firmware::Bios)
}

#[test]
fn a_slot_with_a_kernel_of_zeros_on_uefi() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::ZeroKernel, Firmware::Uefi)
}

#[test]
fn a_slot_with_the_wrong_root_hash() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::WrongRootHash, Firmware::Bios)
}

#[test]
fn a_slot_with_a_corrupt_root() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::CorruptRoot, Firmware::Bios)
}

#[test]
fn a_slot_whose_init_exits() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::InitExits, Firmware::Bios)
}

#[test]
fn a_slot_whose_init_hangs() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::InitHangs, Firmware::Bios)
}

#[test]
fn a_slot_that_never_completes_its_boot() -> anyhow::Result<()> {
    returns_to_slot_a(BrokenSlot::NeverComplete, Firmware::Bios)
}

#[test]
fn every_fault_on_uefi() -> anyhow::Result<()> {
    if amount::everything() {
        for fault in BrokenSlot::ALL {
            returns_to_slot_a(fault, Firmware::Uefi)?;
        }
    }
    Ok(())
}

#[test]
fn a_good_new_slot_is_kept() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?;
    let disk = setup.disk()?;
    disk.copy_slot_a_to_b()?;
    disk.try_slot_b_next()?;
    let mut machine = setup.boot()?;
    assert_eq!(machine.booted_slot()?, Slot::B);
    machine.wait_for("slot b to be marked good", ferrite_tests::machine::BOOT_DEADLINE, |machine| {
        Ok(machine.ssh("systemctl is-active ferrite-mark-good.service")?.starts_with("active").then_some(()))
    })?;
    machine.power_off()?;
    let flags = machine.disk()?.flags()?;
    assert_eq!(flags.flags(Slot::B), SlotFlags::Good);
    assert_eq!(flags.flags(Slot::A), SlotFlags::Good, "the way back must stay open");
    machine.power_on()?;
    machine.wait_until_running()?;
    assert_eq!(machine.booted_slot()?, Slot::B);
    Ok(())
}

#[test]
fn a_new_slot_whose_ssh_server_fails_once_is_kept() -> anyhow::Result<()> {
    // How long a slot is watched is shown by another test.
    let mut machine = Setup::new(Board::Qemu)?.kernel_words("ferrite.settle=5").boot()?;
    machine.sudo(
        "mkdir -p /etc/systemd/system/ssh.service.d; cd /etc/systemd/system/ssh.service.d; \
         echo \"[Service]\" > once.conf; \
         echo \"ExecStartPre=/bin/sh -c \\\"! mkdir /run/failed-once\\\"\" >> once.conf; sync; cat once.conf",
    )?;
    machine.power_off()?;
    let disk = machine.disk()?;
    disk.copy_slot_a_to_b()?;
    disk.try_slot_b_next()?;
    machine.power_on()?;
    machine.wait_for_ssh()?;
    assert_eq!(machine.booted_slot()?, Slot::B);
    machine.wait_for("slot b to be marked good", ferrite_tests::machine::BOOT_DEADLINE, |machine| {
        Ok(machine.ssh("systemctl is-active ferrite-mark-good.service || true")?.starts_with("active").then_some(()))
    })?;
    assert_eq!(machine.try_ssh("test -d /run/failed-once")?.code, 0, "the server did not fail");
    machine.power_off()?;
    assert_eq!(machine.disk()?.flags()?.flags(Slot::B), SlotFlags::Good);
    Ok(())
}
