//! A6: a bit that turned over in the root of the running slot is found, and what was there is never served.

use ferrite_layout::{Part, Slot};
use ferrite_tests::{Board, Setup, broken_slot};

const FILE: &str = "/usr/bin/curl";

#[test]
fn a_flipped_bit_is_found_and_not_served() -> anyhow::Result<()> {
    let trouble = ["is corrupted", "I/O error", "verity", "Buffer I/O error"];
    let setup = Setup::new(Board::Qemu)?.expecting(&trouble);
    let disk = setup.disk()?;
    // The same bytes lie in slot a; the copy is only there to be searched.
    disk.copy_slot_a_to_b()?;
    let offset = broken_slot::offset_in_root(&disk, FILE)?;
    let mut machine = setup.boot()?;
    let whole = machine.ssh(&format!("sha256sum {FILE}"))?;

    machine.setup().disk()?.flip_bit(Part::root_of(Slot::A), offset + 5000)?;
    machine.sudo("echo 3 > /proc/sys/vm/drop_caches")?;
    let mark = machine.console().mark();
    let said = machine.try_ssh(&format!("sha256sum {FILE}"))?;
    assert_ne!(said.code, 0, "the file was served: {said:?}");
    assert!(!said.out.contains(' ') || said.out == whole, "something else was served: {said:?}");
    machine.wait_for_console_after(mark, "is corrupted", ferrite_tests::machine::BOOT_DEADLINE)?;
    Ok(())
}
