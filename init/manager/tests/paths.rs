//! Path units in PID 1's own namespaces: they trigger, wait for the end of their unit, and never spin.

use std::fs;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, lines};

fn processor_ticks(machine: &Machine) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", machine.pid)).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn paths_start_their_units_when_they_appear_or_change() {
    let note = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo $TRIGGER_PATH >> /run/%N'\n";
    let machine = Machine::boot(&[
        ("exists.path", "[Path]\nPathExists=/run/deep/down/here\n"),
        (
            "exists.service",
            "[Service]\nExecStart=/bin/sh -c 'echo $TRIGGER_PATH >> /run/exists; rm /run/deep/down/here'\n",
        ),
        ("changed.path", "[Path]\nPathChanged=/run/file\n"),
        ("changed.service", note),
        ("dir.path", "[Path]\nDirectoryNotEmpty=/run/spool\nMakeDirectory=yes\nDirectoryMode=0700\n"),
        ("dir.service", "[Service]\nExecStart=/bin/sh -c 'echo $TRIGGER_UNIT >> /run/dir; rm /run/spool/*'\n"),
        ("glob.path", "[Path]\nPathExistsGlob=/run/g[0-9]/*.conf\nUnit=other.service\n"),
        ("other.service", note),
    ]);
    for unit in ["exists.path", "changed.path", "dir.path", "glob.path"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
        assert_eq!(machine.state(unit), "active waiting");
    }
    let count = |machine: &Machine, name: &str| lines(&machine.output(&format!("run/{name}"))).len();
    fs::create_dir_all(machine.output("run/deep/down")).unwrap();
    for round in 1..=2 {
        fs::write(machine.output("run/deep/down/here"), "").unwrap();
        machine.wait_for("exists", |machine| count(machine, "exists") == round);
        machine.wait_for("waiting", |machine| machine.state("exists.path") == "active waiting");
        fs::write(machine.output("run/file"), format!("{round}")).unwrap();
        machine.wait_for("changed", |machine| count(machine, "changed") == round);
        machine.wait_for("waiting", |machine| machine.state("changed.path") == "active waiting");
        fs::write(machine.output("run/spool/job"), "").unwrap();
        machine.wait_for("dir", |machine| count(machine, "dir") == round);
        machine.wait_for("waiting", |machine| machine.state("dir.path") == "active waiting");
    }
    assert_eq!(lines(&machine.output("run/changed")), ["/run/file", "/run/file"]);
    fs::create_dir_all(machine.output("run/g7")).unwrap();
    fs::write(machine.output("run/g7/x.conf"), "").unwrap();
    // A glob waits for its first directory only; a look at the unit tells of the rest.
    assert_eq!(machine.job(JobVerb::Restart, "glob.path"), JobOutcome::Done);
    machine.wait_for("glob", |machine| count(machine, "other") >= 1);
    assert_eq!(lines(&machine.output("run/other"))[0], "/run/g7/x.conf");
    assert_eq!(machine.job(JobVerb::Stop, "changed.path"), JobOutcome::Done);
    assert_eq!(machine.state("changed.path"), "inactive dead");
}

#[test]
fn a_directory_that_stays_full_ends_in_the_start_limit_and_not_in_a_spin() {
    let machine = Machine::boot(&[
        ("full.path", "[Path]\nDirectoryNotEmpty=/run/full\n"),
        (
            "full.service",
            "[Unit]\nStartLimitBurst=3\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /run/n'\n",
        ),
        ("busy.path", "[Path]\nPathExists=/run/full/x\n"),
        ("busy.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("run/full/x", ""),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "full.path"), JobOutcome::Done);
    machine.wait_for("limit", |machine| machine.state("full.path") == "failed failed");
    assert_eq!(machine.show("full.path").result, "unit-start-limit-hit");
    assert_eq!(lines(&machine.output("run/n")).len(), 3);
    assert_eq!(machine.job(JobVerb::Start, "busy.path"), JobOutcome::Done);
    machine.wait_for("unit", |machine| machine.state("busy.service") == "active running");
    assert_eq!(machine.state("busy.path"), "active running");
    let before = processor_ticks(&machine);
    for number in 0..2_000 {
        fs::write(machine.output("run/full/x"), format!("{number}")).unwrap();
    }
    assert_eq!(machine.state("busy.path"), "active running");
    assert!(processor_ticks(&machine) - before < 50, "process 1 was busy");
}

#[test]
fn a_path_unit_outlives_a_re_execution_and_refuses_what_cannot_be() {
    let machine = Machine::boot(&[
        ("p.path", "[Path]\nPathModified=/run/p\n"),
        ("p.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /run/n'\n"),
        ("none.path", "[Path]\nMakeDirectory=yes\n"),
        ("none.service", "[Service]\nExecStart=/bin/true\n"),
        ("alone.path", "[Path]\nPathExists=/run/p\n"),
        ("run/p", ""),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "p.path"), JobOutcome::Done);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state("p.path"), "active waiting");
    fs::write(machine.output("run/p"), "x").unwrap();
    machine.wait_for("change", |machine| !lines(&machine.output("run/n")).is_empty());
    assert_eq!(machine.show("none.path").summary.load, "bad-setting");
    assert_eq!(machine.job(JobVerb::Start, "alone.path"), JobOutcome::Failed);
}
