//! A1: a fresh machine comes up, runs without a failed unit, and can be logged in to.

use ferrite_tests::{Board, Machine, Setup, Slot};

#[test]
fn a_fresh_machine_runs_and_lets_its_user_in() -> anyhow::Result<()> {
    let mut machine = Machine::boot(Board::Qemu)?;
    assert!(machine.ssh("uname -a")?.contains("Linux"));
    assert_eq!(machine.ssh("systemctl is-system-running")?.trim(), "running");
    assert_eq!(machine.ssh("systemctl list-units --failed --no-legend")?.trim(), "");
    assert_eq!(machine.ssh("id -un")?.trim(), "core");
    assert_eq!(machine.sudo("id -u")?.trim(), "0");
    assert_eq!(machine.booted_slot()?, Slot::A);
    // A shell opens the streams of its own by their names.
    assert_eq!(machine.ssh("cat <(echo one) - < /dev/null > /dev/stdout")?.trim(), "one");
    assert_eq!(machine.ssh("cat /proc/sys/vm/stat_interval")?.trim(), "10");
    // Nothing but ssh listens.
    let listening = machine.ssh("ss -Hltn")?;
    assert!(listening.lines().all(|line| line.contains(":22 ")), "more than ssh listens:\n{listening}");
    machine.power_off()
}

#[test]
fn user_data_on_a_cidata_disk_names_the_machine_and_the_power_button_ends_it() -> anyhow::Result<()> {
    let document = "#cloud-config\nhostname: from-a-disk\nssh_authorized_keys:\n  - KEY\n";
    let mut machine = Setup::new(Board::Qemu)?.user_data(document)?.cidata()?.boot()?;
    assert_eq!(machine.ssh("hostname")?.trim(), "from-a-disk");
    machine.press_power_button()
}

#[test]
fn a_key_that_was_not_given_does_not_open_the_machine() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.user_data("#cloud-config\nhostname: closed\n")?.power_on()?;
    machine.wait_for_ssh()?;
    let said = machine.try_ssh("true")?;
    assert_eq!(said.code, 255, "{said:?}");
    assert!(said.err.contains("Permission denied (publickey)"), "{said:?}");
    Ok(())
}
