//! A5: whenever the plug is pulled, the machine comes up again as the same machine.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use ferrite_layout::facts::StateKind;
use ferrite_qemu::disk;
use ferrite_tests::write_log::WriteLog;
use ferrite_tests::{Board, Chance, Machine, Setup, amount};

/// What must never change once it was used.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    host_keys: String,
    machine_id: String,
}

impl Identity {
    fn of(machine: &mut Machine) -> anyhow::Result<Self> {
        Ok(Self { host_keys: machine.host_keys()?, machine_id: machine.machine_id()? })
    }
}

/// Switches a machine off and on at random and looks at it after each time.
fn cut(rounds: usize, whole_boot: Duration, chance: &mut Chance) -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?;
    let made_by_the_image = setup.disk()?.state_uuid()?;
    let mut machine = setup.power_on()?;
    let mut known: Option<Identity> = None;
    for round in 0..rounds {
        let moment = chance.time_below(whole_boot);
        eprintln!("round {round}: the plug is pulled after {:.1} s of processor time", moment.as_secs_f64());
        machine.power_cut_after(moment)?;
        assert_eq!(machine.disk()?.state_uuid()?, made_by_the_image, "the file system was made again");
        machine.power_on()?;
        machine.wait_until_running()?;
        assert_eq!(machine.facts()?.state, StateKind::Ok);
        let now = Identity::of(&mut machine)?;
        if let Some(known) = &known {
            assert_eq!(&now, known, "the machine has become another one in round {round}");
        }
        known = Some(now);
        // The next round begins with a machine that was cut off while it ran.
        machine.power_cut()?;
        machine.power_on()?;
    }
    Ok(())
}

/// QEMU's own death loses nothing that the guest has written. A real disk may lose what was not flushed, so the first
/// boot is logged and cut at random in the log.
#[test]
fn a_machine_whose_disk_loses_unflushed_writes_stays_itself() -> anyhow::Result<()> {
    let mut chance = Chance::new();
    let mut machine = Setup::new(Board::Qemu)?.write_log().boot()?;
    let identity = Identity::of(&mut machine)?;
    let log_path = machine.setup().write_log_path();
    let used_at = fs::metadata(&log_path).context("asking for the size of the write log")?.len();
    machine.sudo("head -c 3000000 /dev/urandom > /var/lib/more")?;
    machine.reboot()?;
    machine.power_cut()?;

    let log = WriteLog::open(&log_path)?;
    let used_at = log.count_at(used_at);
    let folder = tempfile::tempdir().context("making a folder")?;
    for _ in 0..amount::sample_or_all(2, 40) {
        let count = chance.below(log.writes.len() as u64) as usize;
        eprintln!("cut after write {count} of {}; the machine was used at {used_at}", log.writes.len());
        let path = folder.path().join("cut");
        disk::copy_sparse(&Board::Qemu.image()?, &path)?;
        let file = fs::File::options().write(true).open(&path).context("opening the replayed disk")?;
        log.replay_power_cut(count, &file, &mut chance)?;
        let mut again = Setup::with_image(&path)?.boot().with_context(|| format!("cut after write {count}"))?;
        assert_eq!(again.facts()?.state, StateKind::Ok);
        let now = Identity::of(&mut again)?;
        if count >= used_at {
            assert_eq!(now, identity, "cut after write {count}");
        }
    }
    Ok(())
}

#[test]
fn a_machine_that_is_cut_off_at_random_stays_itself() -> anyhow::Result<()> {
    let mut chance = Chance::new();
    let mut first = Machine::boot(Board::Qemu)?;
    let whole_boot = first.cpu_used()?;
    drop(first);
    // Every series begins with the first boot of a fresh disk.
    let (series, rounds) = if amount::everything() { (10, 5) } else { (1, 2) };
    for _ in 0..series {
        cut(rounds, whole_boot, &mut chance)?;
    }
    Ok(())
}
