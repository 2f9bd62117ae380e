//! `systemctl freeze`, `thaw` and `clean` with PID 1 in its own namespaces.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use ferrite_control::{InjectedFault, JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, lines};

#[path = "support/hung.rs"]
mod hung;

/// Counts as long as it is not frozen.
const COUNTER: &str = "[Service]\nTimeoutStopSec=20\nExecReload=/bin/true\n\
    ExecStart=/bin/sh -c 'while :; do echo x >> /run/%p; sleep 0.05; done'\n";

fn command(machine: &Machine, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    command.env("FERRITE_INIT_SOCKET", machine.output("run/ferrite/init.sock")).args(line.split(' '));
    command
}

fn systemctl(machine: &Machine, line: &str) -> (i32, String) {
    let output = command(machine, line).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code().unwrap(), text)
}

fn waiting(machine: &Machine, line: &str) -> Child {
    command(machine, line).stderr(Stdio::piped()).spawn().unwrap()
}

fn count(machine: &Machine, unit: &str) -> usize {
    lines(&machine.output(&format!("run/{unit}"))).len()
}

fn freezer(machine: &Machine, unit: &str) -> String {
    machine.show(unit).properties["FreezerState"].clone()
}

/// It counts on.
fn runs(machine: &Machine, unit: &str) {
    let before = count(machine, unit);
    machine.wait_for("counting", |machine| count(machine, unit) > before + 2);
}

/// It does not count while another one does.
fn rests(machine: &Machine, unit: &str, other: &str) {
    let before = count(machine, unit);
    runs(machine, other);
    assert_eq!(count(machine, unit), before);
}

fn has_groups(machine: &Machine) -> bool {
    !machine.show_manager("ControlGroup").is_empty()
}

#[test]
fn a_frozen_unit_rests_until_it_is_thawed() {
    let machine = Machine::boot(&[("a.service", COUNTER), ("b.service", COUNTER), ("t.target", "[Unit]\n")]);
    for unit in ["a.service", "b.service", "t.target"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    if !has_groups(&machine) {
        let words = "Failed to freeze unit a.service: Unit does not support freeze/thaw\n";
        assert_eq!(systemctl(&machine, "freeze a.service"), (1, words.into()));
        return;
    }
    runs(&machine, "a");
    assert_eq!(systemctl(&machine, "thaw a.service"), (0, String::new()));
    assert_eq!(systemctl(&machine, "freeze a"), (0, String::new()));
    assert_eq!(freezer(&machine, "a.service"), "frozen");
    assert!(systemctl(&machine, "status a").1.contains("(frozen)"));
    rests(&machine, "a", "b");
    assert_eq!(systemctl(&machine, "freeze a.service"), (0, String::new()));
    // It can do nothing.
    for verb in ["stop", "restart", "reload"] {
        let (code, words) = systemctl(&machine, &format!("{verb} a.service"));
        assert_eq!((code, words.as_str()), (1, "Cannot perform operation on frozen unit a.service.\n"));
    }
    assert_eq!(systemctl(&machine, "start a.service"), (0, String::new()));
    // Another image of PID 1 knows of it, and so does one after a crash.
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(freezer(&machine, "a.service"), "frozen");
    drop(machine.send(&Request::InjectFault(InjectedFault::Memory)));
    machine.wait_for("recovery", |machine| machine.log().contains("went on with what it had kept ready"));
    assert_eq!(freezer(&machine, "a.service"), "frozen");
    rests(&machine, "a", "b");
    assert_eq!(systemctl(&machine, "thaw a.service"), (0, String::new()));
    assert_eq!(freezer(&machine, "a.service"), "running");
    runs(&machine, "a");
    // Who is killed while it is frozen is not frozen when it starts again.
    assert_eq!(systemctl(&machine, "freeze a.service").0, 0);
    assert_eq!(systemctl(&machine, "kill -s KILL a.service").0, 0);
    machine.wait_for("end", |machine| machine.state("a.service") == "failed failed");
    assert_eq!(machine.job(JobVerb::Start, "a.service"), JobOutcome::Done);
    assert_eq!(freezer(&machine, "a.service"), "running");
    runs(&machine, "a");
    assert_eq!(machine.job(JobVerb::Stop, "a.service"), JobOutcome::Done);
    for (line, words) in [
        ("freeze a.service", "Failed to freeze unit a.service: Unit is not active\n"),
        ("thaw a.service", "Failed to thaw unit a.service: Unit is not active\n"),
        ("freeze t.target", "Failed to freeze unit t.target: Unit does not support freeze/thaw\n"),
        ("freeze nix.service", "Failed to freeze unit nix.service: Unit nix.service not found.\n"),
    ] {
        assert_eq!(systemctl(&machine, line), (1, words.into()));
    }
    // The end of the machine waits for nobody who is frozen.
    assert_eq!(systemctl(&machine, "freeze b.service").0, 0);
    machine.power_off();
}

#[test]
fn a_frozen_slice_holds_what_is_in_it() {
    let inside = format!("[Unit]\n[Service]\nSlice=cold.slice\n{}", COUNTER.trim_start_matches("[Service]\n"));
    let machine = Machine::boot(&[("in.service", &inside), ("out.service", COUNTER), ("cold.slice", "[Slice]\n")]);
    if !has_groups(&machine) {
        return;
    }
    for unit in ["in.service", "out.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    runs(&machine, "in");
    assert_eq!(systemctl(&machine, "freeze cold.slice"), (0, String::new()));
    assert_eq!(freezer(&machine, "cold.slice"), "frozen");
    machine.wait_for("freezing", |machine| freezer(machine, "in.service") == "frozen-by-parent");
    rests(&machine, "in", "out");
    let words = "Failed to thaw unit in.service: Unit is frozen by a parent slice\n";
    assert_eq!(systemctl(&machine, "thaw in.service"), (1, words.into()));
    assert_eq!(systemctl(&machine, "stop in.service").0, 1);
    assert_eq!(systemctl(&machine, "thaw cold.slice"), (0, String::new()));
    machine.wait_for("thawing", |machine| freezer(machine, "in.service") == "running");
    runs(&machine, "in");
    assert_eq!(systemctl(&machine, "stop in.service").0, 0);
}

#[test]
fn directories_of_a_unit_that_is_down_are_removed() {
    let service = "[Service]\nType=oneshot\nRemainAfterExit=yes\nRuntimeDirectory=d/e\nRuntimeDirectoryPreserve=yes\n\
        StateDirectory=d:link\nCacheDirectory=d\nLogsDirectory=d\nConfigurationDirectory=d\nExecStart=/bin/true\n";
    let machine = Machine::boot_with(
        &[
            ("d.service", service),
            ("plain.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
            ("f.service", "[Service]\nType=oneshot\nStateDirectory=d\nExecStart=/bin/false\n"),
            ("t.target", "[Unit]\n"),
            ("p.timer", "[Timer]\nOnCalendar=yearly\nPersistent=yes\nUnit=plain.service\n"),
        ],
        &[],
        "mkdir -p @/var/lib @/var/cache @/var/log @/etc && mount --bind @/var /var && mount --bind @/etc /etc",
    );
    let there = |place: &str| fs::symlink_metadata(machine.output(place)).is_ok();
    assert_eq!(machine.job(JobVerb::Start, "d.service"), JobOutcome::Done, "{}", machine.log());
    let busy = "Failed to clean unit d.service: Unit is not inactive or has pending job.\n";
    assert_eq!(systemctl(&machine, "clean d.service"), (1, busy.into()));
    assert_eq!(machine.job(JobVerb::Stop, "d.service"), JobOutcome::Done);
    fs::create_dir_all(machine.output("var/cache/d/deep/er")).unwrap();
    fs::write(machine.output("var/lib/d/kept"), "").unwrap();
    let all = ["run/d/e", "var/lib/d", "var/lib/link", "var/cache/d", "var/log/d", "etc/d"];
    assert!(all.iter().all(|place| there(place)));
    // Without a word it is what the unit makes again.
    assert_eq!(systemctl(&machine, "clean d.service"), (0, String::new()));
    assert_eq!(all.map(there), [false, true, true, false, true, true]);
    assert!(there("run/d"), "what is above it may belong to others");
    assert_eq!(systemctl(&machine, "clean d.service --what=state,logs"), (0, String::new()));
    assert_eq!(all.map(there), [false, false, false, false, false, true]);
    // A link that stands in the place of a directory goes alone.
    symlink(machine.output("etc"), machine.output("var/lib/d")).unwrap();
    assert_eq!(systemctl(&machine, "clean --what=state d.service"), (0, String::new()));
    assert!(!there("var/lib/d") && there("etc/d"));
    assert_eq!(systemctl(&machine, "clean --what=all d.service"), (0, String::new()));
    assert!(!there("etc/d"));
    assert_eq!(machine.job(JobVerb::Start, "d.service"), JobOutcome::Done);
    assert!(all.iter().all(|place| there(place)));
    assert_eq!(machine.show("d.service").properties["CanClean"], "runtime state cache logs configuration");
    assert_eq!(machine.job(JobVerb::Start, "p.timer"), JobOutcome::Done);
    machine.wait_for("stamp", |_| there("var/lib/systemd/timers/stamp-p.timer"));
    assert_eq!(machine.job(JobVerb::Stop, "p.timer"), JobOutcome::Done);
    assert_eq!(systemctl(&machine, "clean --what=state p.timer"), (0, String::new()));
    assert!(!there("var/lib/systemd/timers/stamp-p.timer"));
    machine.job(JobVerb::Start, "f.service");
    for (line, words) in [
        ("clean plain.service", "Failed to clean unit plain.service: No matching resources found.\n"),
        ("clean p.timer", "Failed to clean unit p.timer: No matching resources found.\n"),
        ("clean f.service", "Failed to clean unit f.service: Unit is not inactive or has pending job.\n"),
        ("clean t.target", "Failed to clean unit t.target: Unit 't.target' does not support cleaning.\n"),
        ("clean --what=x d.service", "Failed to clean unit d.service: Invalid resource type: x\n"),
        ("clean nix.service", "Failed to clean unit nix.service: Unit nix.service not found.\n"),
    ] {
        assert_eq!(systemctl(&machine, line), (1, words.into()), "{line}");
    }
}

#[test]
fn a_start_waits_for_the_end_of_the_cleaning_and_mounts_are_left_alone() {
    let machine = Machine::boot(&[(
        "d.service",
        "[Service]\nType=oneshot\nRuntimeDirectory=d\n\
        RuntimeDirectoryPreserve=yes\nExecStart=/bin/sh -c 'ls /run/d > /run/seen'\n",
    )]);
    let folder = machine.output("run/d");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..20_000 {
        fs::write(folder.join(number.to_string()), "").unwrap();
    }
    let mut cleaning = waiting(&machine, "clean --what=runtime d.service");
    machine.wait_for("cleaning", |machine| machine.log().contains("removing /run/d"));
    assert_eq!(machine.job(JobVerb::Start, "d.service"), JobOutcome::Done, "{}", machine.log());
    assert!(cleaning.wait().unwrap().success());
    assert_eq!(fs::read_to_string(machine.output("run/seen")).unwrap(), "");
    // What is mounted below may be somebody else's.
    let pid = machine.pid.to_string();
    let words = ["-t", &pid, "-m", "sh", "-c", "mkdir /run/d/m && mount -t tmpfs tmpfs /run/d/m && touch /run/d/m/x"];
    assert!(Command::new("nsenter").args(words).status().unwrap().success());
    let (code, words) = systemctl(&machine, "clean --what=runtime d.service");
    assert_eq!((code, words.contains("not everything could be removed")), (1, true), "{words}");
    assert!(machine.log().contains("/run/d/m is mounted, leaving it alone"), "{}", machine.log());
    let words = ["-t", &pid, "-m", "test", "-e", "/run/d/m/x"];
    assert!(Command::new("nsenter").args(words).status().unwrap().success());
}

#[test]
fn files_that_cannot_be_removed_in_time_are_given_up() {
    if !hung::is_possible() {
        return;
    }
    let machine = Machine::boot_with(
        &[
            ("d.service", "[Service]\nType=oneshot\nStateDirectory=d\nTimeoutCleanSec=1\nExecStart=/bin/true\n"),
            ("s.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
            ("late.service", "[Service]\nType=oneshot\nStateDirectory=d\nTimeoutStartSec=1\nExecStart=/bin/true\n"),
            ("run/hang.py", hung::HANG),
        ],
        &[],
        hung::COMMAND,
    );
    let (code, words) = systemctl(&machine, "clean --what=state d.service");
    assert_eq!((code, words.contains("not everything could be removed")), (1, true), "{words}");
    assert!(machine.log().contains("removing its files takes too long"), "{}", machine.log());
    // A service that needs what hangs fails in its time, and all others run.
    assert_eq!(machine.job(JobVerb::Start, "late.service"), JobOutcome::Failed);
    assert_eq!(machine.show("late.service").result, "timeout");
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
}
