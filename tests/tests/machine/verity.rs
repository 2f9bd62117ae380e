//! A6: a bit that turned over in the root of the running slot is found, what was there is never served, and the machine
//! goes to the other slot or, if there is none, comes up again and stays up.

use ferrite_layout::{Part, Slot, SlotFlags};
use ferrite_tests::{Board, Machine, Setup, broken_slot, one_line};

const FILE: &str = "/usr/bin/curl";
const INIT: &str = "/usr/lib/ferrite/ferrite-init";
/// A block of the file that is not its first.
const INSIDE: u64 = 5000;

/// A machine that is off, with the same bytes in both slots; slot b is of use if it is to be. Also where a file begins.
fn two_slots(other: SlotFlags, file: &str) -> anyhow::Result<(Setup, u64)> {
    let setup = Setup::new(Board::Qemu)?.expecting(&["is corrupted", "I/O error", "verity", "Buffer I/O error"]);
    let disk = setup.disk()?;
    // The same bytes lie in slot a; the copy is also there to be searched.
    disk.copy_slot_a_to_b()?;
    disk.set_flags(&disk.flags()?.with(Slot::B, other))?;
    let offset = broken_slot::offset_in_root(&disk, Slot::B, file)?;
    Ok((setup, offset))
}

/// Reads the file past every cache; fails if anything was served that is not the file.
fn read_corrupt(machine: &mut Machine, whole: &str) -> anyhow::Result<()> {
    machine.sudo("echo 3 > /proc/sys/vm/drop_caches")?;
    let mark = machine.console().mark();
    let said = machine.try_ssh(&format!("sha256sum {FILE}"))?;
    assert_ne!(said.code, 0, "the file was served: {said:?}");
    assert!(!said.out.contains(' ') || said.out == whole, "something else was served: {said:?}");
    machine.wait_for_console_after(mark, "is corrupt at data block", ferrite_tests::machine::BOOT_DEADLINE)?;
    Ok(())
}

#[test]
fn a_flipped_bit_is_not_served_and_the_only_slot_comes_up_again() -> anyhow::Result<()> {
    let (setup, offset) = two_slots(SlotFlags::Unusable, FILE)?;
    let mut machine = setup.boot()?;
    let whole = machine.ssh(&format!("sha256sum {FILE}"))?;
    machine.setup().disk()?.flip_bit(Part::root_of(Slot::A), offset + INSIDE)?;
    let block = (offset + INSIDE) / 4096;

    let resets = machine.on()?.qmp().event_count();
    read_corrupt(&mut machine, &whole)?;
    machine.wait_for_reset(resets)?;
    machine.wait_until_running()?;
    let told = format!("the root of slot a is corrupt at data block {block}");
    for place in ["cat /run/motd", "ferrite-slots status"] {
        let text = one_line(&machine.ssh(place)?);
        assert!(text.contains(&told), "`{place}` does not say '{told}':\n{text}");
    }

    // It does not restart for ever: the second time it stays up, and still does not serve the block.
    let start = machine.ssh("cat /proc/sys/kernel/random/boot_id")?;
    read_corrupt(&mut machine, &whole)?;
    machine.wait_for_console("staying up", ferrite_tests::machine::BOOT_DEADLINE)?;
    let said = machine.try_ssh(&format!("sha256sum {FILE}"))?;
    assert_ne!(said.code, 0, "the file was served: {said:?}");
    assert_eq!(machine.ssh("cat /proc/sys/kernel/random/boot_id")?, start);
    Ok(())
}

#[test]
fn a_flipped_bit_of_a_good_slot_sends_the_machine_to_the_other_good_slot() -> anyhow::Result<()> {
    let (setup, offset) = two_slots(SlotFlags::Good, FILE)?;
    let mut machine = setup.boot()?;
    assert_eq!(machine.booted_slot()?, Slot::A);
    let whole = machine.ssh(&format!("sha256sum {FILE}"))?;
    machine.setup().disk()?.flip_bit(Part::root_of(Slot::A), offset + INSIDE)?;

    let resets = machine.on()?.qmp().event_count();
    read_corrupt(&mut machine, &whole)?;
    machine.wait_for_reset(resets)?;
    machine.wait_until_running()?;
    let facts = machine.facts()?;
    let fallback = facts.fallback.expect("early boot says where it comes from");
    assert_eq!((facts.slot, fallback.from), (Some(Slot::B), Slot::A));
    let reason = format!("the root of slot a is corrupt at data block {}", (offset + INSIDE) / 4096);
    assert_eq!(fallback.reason, reason);
    for place in ["cat /run/motd", "ferrite-slots status"] {
        let text = one_line(&machine.ssh(place)?);
        assert!(text.contains(&reason), "`{place}` does not say '{reason}':\n{text}");
    }
    assert_eq!(machine.ssh(&format!("sha256sum {FILE}"))?, whole);
    machine.power_off()?;
    let flags = machine.disk()?.flags()?;
    assert_eq!((flags.flags(Slot::A), flags.flags(Slot::B)), (SlotFlags::Unusable, SlotFlags::Good));
    Ok(())
}

/// What happens if PID 1 could not act, because it was hit itself: the restart finds it.
#[test]
fn a_flipped_bit_in_pid_1_is_found_by_the_next_early_boot() -> anyhow::Result<()> {
    let (setup, offset) = two_slots(SlotFlags::Good, INIT)?;
    let mut machine = setup.boot()?;
    assert_eq!(machine.booted_slot()?, Slot::A);
    let memory = machine.sudo("grep -E ^Vm /proc/1/status")?;
    let locked = memory.lines().find_map(|line| line.strip_prefix("VmLck:")?.split_whitespace().next()?.parse().ok());
    assert!(locked.is_some_and(|kib: u64| kib > 0), "PID 1 is not kept in memory:\n{memory}");
    println!("memory of PID 1:\n{memory}");
    machine.setup().disk()?.flip_bit(Part::root_of(Slot::A), offset + INSIDE)?;
    machine.reset()?;
    machine.wait_until_running()?;
    let facts = machine.facts()?;
    assert_eq!(facts.slot, Some(Slot::B));
    let reason = facts.fallback.map(|fallback| fallback.reason).unwrap_or_default();
    assert!(reason.contains("does not match its hash"), "{reason}");
    Ok(())
}
