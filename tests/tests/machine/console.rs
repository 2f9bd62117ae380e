//! A11: the serial console tells the story of the boot, and ends with a banner that is worth reading.

use ferrite_tests::{Board, Setup, one_line};

#[test]
fn the_console_tells_what_was_found_and_who_one_is_talking_to() -> anyhow::Result<()> {
    let document = "#cloud-config\nhostname: talkative\nssh_authorized_keys:\n  - KEY\n";
    let mut machine = Setup::new(Board::Qemu)?.user_data(document)?.boot()?;
    let fingerprint = machine.ssh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")?;
    let fingerprint = fingerprint.split_whitespace().nth(1).expect("a fingerprint").to_string();
    let facts = machine.facts()?;
    machine.wait_for_console("login:", ferrite_tests::machine::BOOT_DEADLINE)?;
    let text = machine.console().plain_text();
    for (what, wanted) in [
        ("the boot loader names the slot", "slot a"),
        ("early boot names the disk", facts.disk.as_str()),
        ("early boot names the root", facts.root_device.as_str()),
        ("PID 1 names its target", "boot-complete.target"),
        ("the banner has the version", facts.version.as_str()),
        ("the banner has the name", "talkative"),
        ("the banner has the address", "10.0.2.15"),
        ("the banner has the host key", fingerprint.as_str()),
    ] {
        assert!(text.contains(wanted), "{what}: '{wanted}' is not on the console:\n{text}");
    }
    let lines = text.lines().count();
    assert!(lines < 200, "{lines} lines are too many to read");
    // The banner is a table: labels, blanks, values.
    let banner = one_line(&machine.ssh("cat /run/motd")?);
    for wanted in [facts.version.as_str(), "slot a", "10.0.2.15"] {
        assert!(banner.contains(wanted), "'{wanted}' is not in the banner at login:\n{banner}");
    }
    Ok(())
}
