//! D1: a machine updates itself from a plain web server, keeps what is good and leaves what is not, without a hand.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use ferrite_layout::SlotFlags;
use ferrite_tests::machine::BOOT_DEADLINE;
use ferrite_tests::replay::Replay;
use ferrite_tests::write_log::WriteLog;
use ferrite_tests::{BrokenRelease, Chance, Firmware, Machine, Publisher, Setup, Slot, amount, broken_slot, one_line};
use serde_json::Value;

/// A machine with release 1, told by cloud-config where the releases are. Its writes are logged.
fn machine_of_release_1(
    image: &Path,
    port: u16,
    firmware: Firmware,
    trouble: &[&'static str],
) -> anyhow::Result<Machine> {
    let document = format!(
        "#cloud-config\nssh_authorized_keys:\n  - KEY\ncoreos:\n  update:\n    group: stable\n    \
         server: http://10.0.2.2:{port}/\n    reboot_strategy: reboot\n"
    );
    let setup = Setup::with_image(image)?.firmware(firmware).watchdog().write_log().expecting(trouble);
    let words = "ferrite.settle=4 ferrite.confirm-timeout=25 ferrite.boot-deadline=60";
    setup.kernel_words(words).user_data(&document)?.power_on()
}

fn status(machine: &mut Machine) -> anyhow::Result<Option<Value>> {
    // The machine may be between two starts.
    let said = machine.try_ssh("ferrite-update status --json")?;
    Ok(Some(said.out).filter(|_| said.code == 0).and_then(|text| serde_json::from_str(&text).ok()))
}

fn wait_for_status(machine: &mut Machine, what: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    machine.wait_for(what, BOOT_DEADLINE * 3, |machine| Ok(status(machine)?.filter(&wanted)))
}

fn takes_release_2(machine: &mut Machine) -> anyhow::Result<()> {
    let good = |status: &Value| status["serial"] == 2 && status["slots"][1]["state"] == "good";
    let seen = wait_for_status(machine, "release 2 to run and to be marked good", good)?;
    assert_eq!(seen["version"], Publisher::version(2));
    assert_eq!(machine.booted_slot()?, Slot::B);
    // The severe settings of a start under test are gone.
    let settings = machine.ssh("cd /proc/sys/kernel && cat panic_on_oops softlockup_panic hung_task_panic")?;
    assert_eq!(settings.split_whitespace().collect::<Vec<_>>(), ["1", "0", "0"]);
    Ok(())
}

/// The machine tells the engine to look now: the next look of its own comes in three quarters of an hour.
fn takes(machine: &mut Machine, fault: BrokenRelease) -> anyhow::Result<()> {
    if fault != BrokenRelease::CorruptRoot {
        // The restart may come before the answer.
        machine.try_ssh("sudo ferrite-update update")?;
        return Ok(());
    }
    let strategy = |word: &str| format!("sed -i s/^REBOOT_STRATEGY=.*/REBOOT_STRATEGY={word}/ /etc/coreos/update.conf");
    machine.sudo(&strategy("off"))?;
    // On a busy host the install may take longer than a command may.
    machine.try_ssh("sudo ferrite-update update")?;
    wait_for_status(machine, "the release to wait", |status| status["reboot_pending"] == true)?;
    broken_slot::corrupt_root(&machine.setup().disk()?, Slot::A)?;
    machine.sudo(&format!("{}; sync", strategy("reboot")))?;
    machine.try_ssh("sudo ferrite-update reboot")?;
    Ok(())
}

/// Release 3 and on were tried: the machine runs release 2, says why, and does not take that one again.
fn has_left(machine: &mut Machine, serial: u64, fault: BrokenRelease) -> anyhow::Result<()> {
    let entry = |status: &Value| {
        let blocked = status["blocked"].as_array().cloned().unwrap_or_default();
        blocked.into_iter().find(|blocked| blocked["serial"] == serial)
    };
    let back = |status: &Value| status["serial"] == 2 && entry(status).is_some();
    let seen = wait_for_status(machine, &format!("release {serial} to be tried and left"), back)?;
    let reason = entry(&seen).and_then(|entry| Some(entry["reason"].as_str()?.to_string())).unwrap_or_default();
    assert!(reason.contains(fault.reason()), "{fault:?} is told as '{reason}'");
    assert!(seen["fallback"].as_str().is_some_and(|text| text.contains("from slot a")), "{seen:#}");
    machine.wait_until_running()?;
    assert_eq!(machine.booted_slot()?, Slot::B);
    let shown = one_line(&machine.ssh("ferrite-update status")?);
    let told = format!("blocked {} (serial {serial})", Publisher::version(serial));
    assert!(shown.contains(&told) && shown.contains(&one_line(&reason)), "{shown}");
    let said = machine.sudo("ferrite-update update")?;
    assert!(said.contains(&format!("serial {serial} is there and failed here before: it is blocked")), "{said}");
    Ok(())
}

fn is_off_in_release_2(machine: &mut Machine) -> anyhow::Result<()> {
    machine.power_off()?;
    let flags = machine.disk()?.flags()?;
    assert_eq!(flags.flags(Slot::B), SlotFlags::Good);
    assert!(!flags.flags(Slot::A).usable(), "a bad release would be started again");
    Ok(())
}

fn updates_itself(firmware: Firmware) -> anyhow::Result<()> {
    let publisher = Publisher::new()?;
    let server = publisher.serve()?;
    let image = publisher.build(1, &[])?;
    let mut machine = machine_of_release_1(&image, server.port, firmware, &[])?;
    publisher.build(2, &[])?;
    publisher.publish(2)?;
    takes_release_2(&mut machine)?;
    let old = machine.ssh("update_engine_client -status")?;
    assert!(old.contains("CURRENT_OP=UPDATE_STATUS_"), "{old}");

    BrokenRelease::CheckFails.publish(&publisher, 3)?;
    takes(&mut machine, BrokenRelease::CheckFails)?;
    has_left(&mut machine, 3, BrokenRelease::CheckFails)?;
    let refused = machine.try_ssh("ferrite-update update")?;
    assert!(refused.code == 1 && refused.err.contains("only root may change something"), "{refused:?}");
    is_off_in_release_2(&mut machine)?;

    if !amount::everything() {
        return Ok(());
    }
    // All that the machine wrote in its life, cut everywhere.
    let log = WriteLog::open(&machine.setup().write_log_path())?;
    let releases = [1, 2, 3].map(|serial| publisher.slot(serial));
    let folder = tempfile::tempdir().context("making a folder")?;
    let mut replay = Replay::new(&image, &folder.path().join("disk"), &releases)?;
    let tally = replay.cut_everywhere(&log, &mut Chance::new())?;
    println!("the log of two installs, cut everywhere: {tally:?}");
    assert!(tally.writes > 500 && tally.mixtures > 100 && tally.trials > 2, "{tally:?}");
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

/// A machine is given one bad release after the other.
fn leaves_every_bad_release(firmware: Firmware) -> anyhow::Result<()> {
    let publisher = Publisher::new()?;
    let server = publisher.serve()?;
    let image = publisher.build(1, &[])?;
    let trouble: Vec<&str> = BrokenRelease::ALL.iter().flat_map(|fault| fault.expected_trouble()).copied().collect();
    let mut machine = machine_of_release_1(&image, server.port, firmware, &trouble)?;
    publisher.build(2, &[])?;
    publisher.publish(2)?;
    takes_release_2(&mut machine)?;
    for (serial, fault) in (3..).zip(BrokenRelease::ALL) {
        fault.publish(&publisher, serial)?;
        let begin = Instant::now();
        takes(&mut machine, fault)?;
        has_left(&mut machine, serial, fault).with_context(|| format!("{fault:?}"))?;
        eprintln!("{fault:?} on {firmware:?}: left after {:.0} s", begin.elapsed().as_secs_f64());
    }
    is_off_in_release_2(&mut machine)
}

// One of them is in every run, above, on BIOS; that each fault of a slot is survived is shown by `fallback`.

#[test]
fn every_bad_release_is_left_for_the_one_before() -> anyhow::Result<()> {
    if amount::everything() { leaves_every_bad_release(Firmware::Bios) } else { Ok(()) }
}

#[test]
fn every_bad_release_is_left_on_uefi_too() -> anyhow::Result<()> {
    if amount::everything() { leaves_every_bad_release(Firmware::Uefi) } else { Ok(()) }
}
