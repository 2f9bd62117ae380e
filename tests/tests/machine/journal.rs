//! The journal of a machine: its cursors hold over restarts of journald and of the machine, and what was acknowledged
//! survives power cuts; a clock that jumps and a disk that becomes read-only cost no message.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::Context;
use ferrite_qemu::disk;
use ferrite_tests::machine::BOOT_DEADLINE;
use ferrite_tests::write_log::WriteLog;
use ferrite_tests::{Board, Chance, Machine, Setup, amount};

/// The numbers that `logger` was given, in the order in which an export names them, and the cursor of the last one.
fn numbers(export: &str) -> (Vec<u32>, Option<String>) {
    let (mut seen, mut cursor, mut last) = (Vec::new(), None, None);
    for line in export.lines() {
        if let Some(value) = line.strip_prefix("__CURSOR=") {
            cursor = Some(value.to_owned());
        }
        if let Some(number) = line.strip_prefix("MESSAGE=number ").and_then(|text| text.parse().ok()) {
            seen.push(number);
            last.clone_from(&cursor);
        }
    }
    (seen, last)
}

fn write(machine: &mut Machine, from: u32, to: u32) -> anyhow::Result<()> {
    let script = format!("for i in $(seq {from} {to}); do echo number $i; done | systemd-cat -t numbers");
    machine.ssh(&script)?;
    machine.sudo("journalctl --sync").map(drop)
}

#[test]
fn reading_goes_on_where_it_ended_over_restarts() -> anyhow::Result<()> {
    let mut machine = Machine::boot(Board::Qemu)?;
    machine.wait_until_running()?;
    write(&mut machine, 1, 50)?;
    let (mut all, cursor) = numbers(&machine.sudo("journalctl -t numbers -o export")?);
    let mut cursor = cursor.expect("a cursor");
    let mut from = 51;
    for disturbance in ["systemctl restart systemd-journald", "systemctl kill -s KILL systemd-journald", "", "reboot"] {
        match disturbance {
            "reboot" => {
                machine.reboot()?;
                machine.wait_until_running()?;
            }
            "" => {}
            other => machine.sudo(other).map(drop)?,
        }
        write(&mut machine, from, from + 49)?;
        from += 50;
        let export = machine.sudo(&format!("journalctl -t numbers -o export --after-cursor '{cursor}'"))?;
        let (more, next) = numbers(&export);
        all.extend(more);
        cursor = next.expect("a cursor");
    }
    assert_eq!(all, (1..from).collect::<Vec<_>>(), "each message once, in order");
    let boots = machine.sudo("journalctl --list-boots --no-pager")?;
    let offsets: BTreeSet<&str> = boots.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(offsets.contains("0") && offsets.contains("-1"), "{boots}");
    // What ran before journald was killed still has its stream.
    assert!(machine.sudo("journalctl -b -u ssh -n 1 -o cat")?.trim() != "");
    assert!(machine.sudo("journalctl --verify 2>&1")?.contains("PASS"));
    machine.power_off()
}

/// Entries between two acknowledgements.
const BATCH: u32 = 200;
/// Acknowledgements before the plug is pulled.
const BATCHES: u32 = 8;

/// Logs for ever, and says on the console what `journalctl --sync` has acknowledged.
const LOAD: &str = "systemd-run --unit load -p SyslogIdentifier=numbers -p LogRateLimitIntervalSec=0 bash -c '\
    end=0; while :; do begin=$((end + 1)); end=$((end + BATCH)); \
    for number in $(seq $begin $end); do echo number $number; done; \
    journalctl --sync && echo acknowledged $end entries > /dev/console; done'";

/// The highest number that a line of the console acknowledges.
fn acknowledged(line: &str) -> Option<u32> {
    line.split_once("acknowledged ")?.1.strip_suffix(" entries")?.parse().ok()
}

/// After a power cut everything that was acknowledged is there, in order, each once, and every file is sound.
fn check(machine: &mut Machine, safe: u32) -> anyhow::Result<()> {
    machine.wait_until_running()?;
    let text = machine.sudo("journalctl -q -t numbers -o cat")?;
    let found: Vec<u32> = text.lines().filter_map(|line| line.strip_prefix("number ")?.parse().ok()).collect();
    assert!(found.is_sorted_by(|one, next| one < next), "out of order or twice");
    let safe: Vec<u32> = (1..=safe).collect();
    assert_eq!(found.get(..safe.len()), Some(&safe[..]), "acknowledged and lost");
    let said = machine.sudo("journalctl --verify 2>&1 || true")?;
    assert!(said.contains("PASS") && !said.contains("FAIL"), "{said}");
    Ok(())
}

/// QEMU's own death loses nothing that the guest gave to its disk; a disk may lose what was not flushed. So the machine
/// is cut off while it logs, and what its disk was given is cut at random once more and loses unflushed writes.
#[test]
fn what_was_acknowledged_survives_a_plug_that_is_pulled_under_load() -> anyhow::Result<()> {
    let mut chance = Chance::new();
    let mut machine = Setup::new(Board::Qemu)?.write_log().boot()?;
    let log_path = machine.setup().write_log_path();
    let log_bytes = || fs::metadata(&log_path).map(|metadata| metadata.len()).context("asking for the write log");
    let mark = machine.console().mark();
    machine.sudo(&LOAD.replace("BATCH", &BATCH.to_string()))?;
    // What was acknowledged, and how long the log was when that was seen.
    let mut acknowledgements = Vec::new();
    for batch in 1..=BATCHES {
        machine.wait_for_console_after(mark, &format!("acknowledged {} entries", batch * BATCH), BOOT_DEADLINE)?;
        acknowledgements.push((batch * BATCH, log_bytes()?));
    }
    let moment = machine.cpu_used()? + chance.time_below(Duration::from_secs(5));
    machine.power_cut_after(moment)?;
    let lines = machine.console().lines_since(mark);
    let last = lines.iter().filter_map(|line| acknowledged(&line.text)).max().context("no acknowledgement")?;
    let given = log_bytes()?;
    let log = WriteLog::open(&log_path)?;
    let (first, end) = (log.count_at(acknowledgements[0].1), log.count_at(given));
    let folder = tempfile::tempdir().context("making a folder")?;
    for _ in 0..amount::sample_or_all(1, 20) {
        let count = first + chance.below((end - first) as u64) as usize;
        let reached = acknowledgements.iter().filter(|(_, bytes)| log.count_at(*bytes) <= count);
        let safe = reached.map(|(number, _)| *number).max().unwrap_or(0);
        eprintln!("cut after write {count} of {end}: {safe} entries were acknowledged");
        let path = folder.path().join("cut");
        disk::copy_sparse(&Board::Qemu.image()?, &path)?;
        let file = fs::File::options().write(true).open(&path).context("opening the replayed disk")?;
        log.replay_power_cut(count, &file, &mut chance)?;
        let mut again = Setup::with_image(&path)?.power_on()?;
        check(&mut again, safe).with_context(|| format!("cut after write {count}"))?;
    }
    // Switching on begins the log anew.
    machine.power_on()?;
    check(&mut machine, last).context("after the plug was pulled")
}

#[test]
fn a_clock_that_is_set_back_and_a_disk_that_becomes_read_only_cost_no_message() -> anyhow::Result<()> {
    let mut machine = Setup::new(Board::Qemu)?.boot()?;
    let say = |machine: &mut Machine, text: &str| machine.ssh(&format!("echo {text} | systemd-cat -t probe"));
    let shown = |machine: &mut Machine, words: &str| machine.sudo(&format!("journalctl -q -t probe -o cat {words}"));
    say(&mut machine, "one")?;
    machine.sudo("journalctl --sync; date -s @$(($(date +%s) - 31536000))")?;
    say(&mut machine, "two")?;
    machine.sudo("journalctl --sync; date -s @$(($(date +%s) + 31536000))")?;
    say(&mut machine, "three")?;
    machine.sudo("journalctl --sync")?;
    assert_eq!(shown(&mut machine, "")?, "one\ntwo\nthree\n");
    assert_eq!(shown(&mut machine, "-b -n 2")?, "two\nthree\n");
    assert_eq!(machine.sudo("journalctl --list-boots --no-pager | grep -c .")?.trim(), "2", "a heading and one boot");

    // The kernel does the same when the disk fails.
    machine.sudo("echo u > /proc/sysrq-trigger")?;
    machine.wait_for("a read-only disk", BOOT_DEADLINE, |machine| {
        Ok((machine.try_ssh("sudo touch /var/lib/probe")?.code != 0).then_some(()))
    })?;
    say(&mut machine, "four")?;
    machine.wait_for("a message that is kept in memory", BOOT_DEADLINE, |machine| {
        Ok(shown(machine, "-n 1")?.contains("four").then_some(()))
    })?;
    assert_eq!(machine.sudo("systemd-run --wait --pipe -q echo works")?, "works\n");
    let own = machine.sudo("journalctl -q -t ferrite-journald -o cat")?;
    assert!(own.contains("going on with the journal in memory"), "{own}");
    machine.power_cut()?;
    machine.power_on()?;
    machine.wait_until_running()?;
    assert_eq!(shown(&mut machine, "")?, "one\ntwo\nthree\n", "what was in memory is gone, the rest is not");
    Ok(())
}
