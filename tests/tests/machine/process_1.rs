//! B3: process 1 of a real machine: it crashes, is executed again, closes its root, and does not wait for ever.

use std::time::Duration;

use anyhow::ensure;
use ferrite_tests::machine::BOOT_DEADLINE;
use ferrite_tests::{Board, Machine, Setup};

/// A process that must be the same one afterwards.
const SSH: &str = "systemctl show -p MainPID --value ssh.service";

#[test]
fn a_crash_of_process_1_and_a_new_image_of_it_leave_services_alone() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.expecting(&["PID 1 crashed"]).boot()?;
    let before = machine.ssh(SSH)?;
    machine.sudo("systemctl daemon-reexec")?;
    assert_eq!(machine.ssh(SSH)?, before);
    // The watchdog goes from image to image as an open file; one that is closed while it ticks is a critical event.
    let left = machine.try_ssh("sudo journalctl -b -k -o cat --grep 'watchdog did not stop'")?.out;
    ensure!(left.is_empty() && machine.ssh("cat /sys/class/watchdog/watchdog0/state")?.trim() == "active", "{left}");
    // Whoever waits for an answer of PID 1 in this moment loses it.
    machine.try_ssh("sudo kill -SEGV 1")?;
    let log = "sudo journalctl -b | grep -c 'PID 1 crashed and went on'";
    machine.wait_for("recovery", Duration::from_secs(60), |machine| {
        Ok((machine.try_ssh(log)?.out.trim() == "1").then_some(()))
    })?;
    assert_eq!(machine.ssh(SSH)?, before);
    let failed = machine.ssh("systemctl list-units --state=failed --no-legend")?;
    ensure!(failed.trim().is_empty(), "units failed:\n{failed}");
    machine.sudo("systemctl daemon-reload")?;
    machine.reboot()
}

#[test]
fn the_root_itself_is_closed_at_the_end() -> anyhow::Result<()> {
    let mut machine = Machine::boot(Board::Qemu)?;
    machine.power_off()?;
    let text = machine.console().plain_text();
    ensure!(text.contains("All file systems and devices are closed."), "the root was not closed:\n{text}");
    Ok(())
}

#[test]
fn emergency_mode_on_a_machine_without_a_person_ends_in_a_restart() -> anyhow::Result<()> {
    let words = "systemd.unit=emergency.target ferrite.emergency-time=20";
    let mut machine = Setup::new(Board::Qemu)?.kernel_words(words).expecting(&["mergency"]).power_on()?;
    let resets = machine.on()?.qmp().event_count();
    machine.wait_for_console("This is emergency mode: press Enter for a shell", BOOT_DEADLINE)?;
    machine.wait_for_reset(resets)
}
