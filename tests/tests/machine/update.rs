//! D1: a machine updates itself from a plain web server, keeps what is good and leaves what is not, without a hand.

use ferrite_layout::SlotFlags;
use ferrite_tests::machine::BOOT_DEADLINE;
use ferrite_tests::{Firmware, Machine, Publisher, Setup, Slot, amount, one_line};
use serde_json::Value;

/// A check that never passes.
const BAD_CHECK: (&str, &str) =
    ("/usr/lib/ferrite/healthcheck.d/required.d/10-never", "#!/bin/sh\necho this is release 3; exit 7\n");

/// A machine with release 1, told by cloud-config where the releases are.
fn machine_of_release_1(publisher: &Publisher, port: u16, firmware: Firmware) -> anyhow::Result<Machine> {
    let document = format!(
        "#cloud-config\nssh_authorized_keys:\n  - KEY\ncoreos:\n  update:\n    group: stable\n    \
         server: http://10.0.2.2:{port}/\n    reboot_strategy: reboot\n"
    );
    let setup = Setup::with_image(&publisher.build(1, &[])?)?.firmware(firmware).watchdog();
    let setup = setup.kernel_words("ferrite.settle=4 ferrite.confirm-timeout=25").user_data(&document)?;
    setup.power_on()
}

fn status(machine: &mut Machine) -> anyhow::Result<Option<Value>> {
    // The machine may be between two starts.
    let said = machine.try_ssh("ferrite-update status --json")?;
    Ok(Some(said.out).filter(|_| said.code == 0).and_then(|text| serde_json::from_str(&text).ok()))
}

fn wait_for_status(machine: &mut Machine, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    machine.wait_for(what, BOOT_DEADLINE * 2, |machine| Ok(status(machine)?.filter(&wanted)))
}

fn updates_itself(firmware: Firmware) -> anyhow::Result<()> {
    let publisher = Publisher::new()?;
    let server = publisher.serve()?;
    let mut machine = machine_of_release_1(&publisher, server.port, firmware)?;
    publisher.build(2, &[])?;
    publisher.publish(2)?;

    let good = |status: &Value| status["serial"] == 2 && status["slots"][1]["state"] == "good";
    let seen = wait_for_status(&mut machine, "release 2 to run and to be marked good", good)?;
    assert_eq!(seen["version"], Publisher::version(2));
    assert_eq!(machine.booted_slot()?, Slot::B);
    let old = machine.ssh("update_engine_client -status")?;
    assert!(old.contains("CURRENT_OP=UPDATE_STATUS_"), "{old}");

    publisher.build(3, &[BAD_CHECK])?;
    publisher.publish(3)?;
    // The next look of its own comes in three quarters of an hour. The restart may come before the answer.
    machine.try_ssh("sudo ferrite-update update")?;
    let blocked = |status: &Value| status["serial"] == 2 && status["blocked"][0]["serial"] == 3;
    let seen = wait_for_status(&mut machine, "release 3 to be tried and left", blocked)?;
    let reason = seen["blocked"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("health check 10-never: exit status: 7"), "{seen:#}");
    machine.wait_until_running()?;
    assert_eq!(machine.booted_slot()?, Slot::B);
    let shown = one_line(&machine.ssh("ferrite-update status")?);
    assert!(shown.contains("blocked 1.3 (serial 3)") && shown.contains(&one_line(reason)), "{shown}");

    let said = machine.sudo("ferrite-update update")?;
    assert!(said.contains("serial 3 is there and failed here before: it is blocked"), "{said}");
    let refused = machine.try_ssh("ferrite-update update")?;
    assert!(refused.code == 1 && refused.err.contains("only root may change something"), "{refused:?}");
    machine.power_off()?;
    let flags = machine.disk()?.flags()?;
    assert_eq!(flags.flags(Slot::B), SlotFlags::Good);
    assert!(!flags.flags(Slot::A).usable(), "release 3 would be started again");
    Ok(())
}

#[test]
fn a_machine_takes_a_good_release_and_leaves_a_bad_one() -> anyhow::Result<()> {
    updates_itself(Firmware::Bios)
}

#[test]
fn a_machine_with_uefi_does_the_same() -> anyhow::Result<()> {
    if amount::everything() { updates_itself(Firmware::Uefi) } else { Ok(()) }
}
