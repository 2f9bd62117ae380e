//! The journal of a machine: its cursors hold over restarts of journald and of the machine.

use std::collections::BTreeSet;

use ferrite_tests::{Board, Machine};

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
