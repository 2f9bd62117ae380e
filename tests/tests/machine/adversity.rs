//! A8: disks and memories that are not as they should be. The behaviour is the one that docs/failures.md describes.

use ferrite_layout::facts::StateKind;
use ferrite_tests::{Board, Machine, Part, Setup, Slot, one_line};

#[test]
fn a_machine_with_a_full_state_partition_still_lets_its_user_in() -> anyhow::Result<()> {
    let mut machine = Machine::boot(Board::Qemu)?;
    let keys = machine.host_keys()?;
    machine.sudo("head -c 20G /dev/zero > /var/lib/filler 2>/dev/null; sync; df /var | tail -1")?;
    machine.reboot()?;
    assert_eq!(machine.host_keys()?, keys);
    machine.sudo("rm /var/lib/filler")?;
    machine.reboot()
}

#[test]
fn a_destroyed_state_partition_is_left_alone_and_the_machine_runs_without_it() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?;
    let disk = setup.disk()?;
    // Every superblock copy that a repair could use is destroyed too.
    let length = disk.place(Part::State)?.length;
    let garbage = vec![0xa5; 1 << 20];
    for offset in (0..length).step_by(1 << 20) {
        disk.write(Part::State, offset, &garbage)?;
    }
    let mut machine = setup.boot()?;
    let facts = machine.facts()?;
    assert_eq!(facts.state, StateKind::Volatile);
    assert!(!facts.state_reason.is_empty());
    let banner = one_line(&machine.ssh("cat /run/motd")?);
    assert!(banner.contains(&one_line(&facts.state_reason)), "the login does not say it:\n{banner}");
    machine.power_off()?;
    assert!(machine.disk()?.read(Part::State, 0, 1 << 20)? == garbage, "the state partition was written to");
    Ok(())
}

#[test]
fn a_slot_under_test_does_not_become_good_on_a_destroyed_state_partition() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?.kernel_words("ferrite.boot-deadline=60");
    let disk = setup.disk()?;
    disk.copy_slot_a_to_b()?;
    disk.try_slot_b_next()?;
    disk.write(Part::State, 0, &vec![0xa5; 64 << 20])?;
    let mut machine = setup.power_on()?;
    machine.wait_for("slot a to run", ferrite_tests::machine::BOOT_DEADLINE * 4, |machine| {
        Ok(machine.try_ssh("cat /run/ferrite/boot")?.out.lines().any(|line| line == "slot=a").then_some(()))
    })?;
    machine.power_off()?;
    assert!(!machine.disk()?.flags()?.flags(Slot::B).good());
    Ok(())
}

#[test]
fn an_erased_state_partition_gets_a_new_file_system() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?;
    let disk = setup.disk()?;
    disk.write(Part::State, 0, &vec![0; 8 << 20])?;
    let mut machine = setup.boot()?;
    assert_eq!(machine.facts()?.state, StateKind::Created);
    let id = machine.machine_id()?;
    machine.reboot()?;
    assert_eq!(machine.facts()?.state, StateKind::Ok);
    assert_eq!(machine.machine_id()?, id);
    Ok(())
}

#[test]
fn a_disk_that_is_smaller_than_the_image_is_named_and_does_not_hang_silently() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?;
    let length = setup.disk()?.length()? - (128 << 20);
    let setup = setup.disk_bytes(length)?;
    let mut machine = setup.power_on()?;
    let line = machine.wait_for_console("too small", ferrite_tests::machine::BOOT_DEADLINE)?;
    assert!(line.contains("disk"), "{line}");
    Ok(())
}

#[test]
fn of_two_machines_in_one_the_boot_disk_is_used() -> anyhow::Result<()> {
    // The second disk has a life of its own: its GUIDs are not those of the image any more.
    let mut other = Machine::boot(Board::Qemu)?;
    other.sudo("echo other > /var/lib/whose; sync")?;
    other.power_off()?;
    let mut machine = Setup::new(Board::Qemu)?.second_disk(other.setup().disk_path())?.boot()?;
    drop(other);
    assert_eq!(machine.facts()?.disk, "/dev/vda");
    assert_ne!(machine.try_ssh("cat /var/lib/whose")?.code, 0, "the state of the other disk was mounted");
    Ok(())
}

#[test]
fn two_untouched_copies_of_an_image_are_told_apart_by_order_with_a_warning() -> anyhow::Result<()> {
    let image = Board::Qemu.image()?;
    let mut machine = Setup::new(Board::Qemu)?.second_disk(&image)?.boot()?;
    let facts = machine.facts()?;
    assert_eq!(facts.disk, "/dev/vda");
    assert!(facts.warnings.iter().any(|warning| warning.contains("vdb")), "{:?}", facts.warnings);
    Ok(())
}

#[test]
fn half_a_gigabyte_of_memory_is_enough() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.memory_mib(512).boot()?;
    machine.power_off()
}

/// What docs/failures.md promises to services on the smallest machine.
const LEFT_OF_256_MIB_KIB: u64 = 140 << 10;

#[test]
fn a_quarter_of_a_gigabyte_of_memory_is_enough() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.memory_mib(256).boot()?;
    let memory = machine.ssh("cat /proc/meminfo")?;
    let kib = |key: &str| -> Option<u64> {
        memory.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok())
    };
    let (total, left) = (kib("MemTotal:"), kib("MemAvailable:"));
    println!("memory: {total:?} KiB in all, {left:?} KiB left for services");
    // docs/failures.md says how much is left.
    assert!(left.is_some_and(|left| left >= LEFT_OF_256_MIB_KIB), "{memory}");
    machine.power_off()
}
