//! Whoever waits for PID 1 goes on waiting while it is executed again, and is told in the end.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

/// A service whose start lasts until somebody writes into its pipe, and which then runs until the next word.
const SLOW: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read word < /run/begin'\n";
const LASTING: &str = "[Service]\nExecStart=/bin/sh -c 'read word < /run/end; exit 3'\n";

fn systemctl(machine: &Machine, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    command.args(line.split(' ')).env("FERRITE_INIT_SOCKET", machine.directory.path().join("run/ferrite/init.sock"));
    command
}

fn waiting(machine: &Machine, line: &str) -> Child {
    systemctl(machine, line).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// The exit code and what was said.
fn end(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn write(machine: &Machine, pipe: &str) {
    let path = machine.directory.path().join("run").join(pipe);
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all(b"go\n").unwrap();
}

#[test]
fn clients_that_wait_are_told_after_a_re_execution() {
    let units = [("slow.service", SLOW), ("lasting.service", LASTING), ("other.service", LASTING)];
    let machine = Machine::boot_with(&units, &[], "mkfifo /run/begin /run/end");
    let start = waiting(&machine, "start slow.service");
    let over = waiting(&machine, "start --wait lasting.service");
    machine.wait_for("a start under way", |machine| machine.state("slow.service") == "activating start");
    machine.wait_for("a service that runs", |machine| machine.state("lasting.service") == "active running");
    // The client asks for the end only after it was told of the start.
    let raw = machine.send(&Request::WaitInactive { unit: "lasting.service".into() });

    for _ in 0..2 {
        assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    }
    assert_eq!(machine.state("slow.service"), "activating start");
    write(&machine, "begin");
    assert_eq!(end(start), (0, String::new(), String::new()));
    write(&machine, "end");
    assert_eq!(end(over), (1, String::new(), String::new()), "{}", machine.log());
    match machine.answer(raw) {
        Reply::Unit(details) => assert_eq!(details.summary.active, "failed"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_environment_of_the_manager_reaches_services_and_outlives_a_re_execution() {
    let text = "[Service]\nType=oneshot\nEnvironment=OWN=unit BOTH=unit\nExecStart=/bin/sh -c 'env > /run/seen'\n";
    let machine = Machine::boot(&[("a.service", text)]);
    let run = |line: &str| end(waiting(&machine, line));
    assert_eq!(run("set-environment CHOSEN=by-hand BOTH=manager GONE=1").0, 0);
    assert_eq!(run("unset-environment GONE").0, 0);
    assert_eq!(
        run("set-environment nonsense"),
        (1, String::new(), "Failed to set environment: Invalid environment assignments\n".to_owned())
    );
    assert_eq!(run("service-watchdogs off").0, 0);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(run("service-watchdogs").1, "no\n");
    let shown = run("show-environment").1;
    assert!(shown.contains("CHOSEN=by-hand\n") && !shown.contains("GONE"), "{shown}");
    assert_eq!(machine.job(JobVerb::Start, "a.service"), JobOutcome::Done);
    let seen = std::fs::read_to_string(machine.directory.path().join("run/seen")).unwrap();
    for line in ["CHOSEN=by-hand", "OWN=unit", "BOTH=unit"] {
        assert!(seen.lines().any(|have| have == line), "{line}: {seen}");
    }
}

#[test]
fn verbs_are_counted_refused_and_explained_as_by_systemd() {
    let machine = Machine::boot(&[(
        "a.service",
        "[Unit]\nDocumentation=man:a(8) https://a.example/\n[Service]\nExecStart=/bin/sleep 1000\n",
    )]);
    for (line, code, stdout, stderr) in [
        ("start", 1, "", "Too few arguments.\n"),
        ("frobnicate", 1, "", "Unknown command verb 'frobnicate'.\n"),
        ("start --job-mode=foo a", 1, "", "Failed to start a: Job mode foo invalid\n"),
        ("cancel 999", 1, "", "Failed to cancel job 999, ignoring: Job 999 does not exist.\n"),
        ("cancel x", 1, "", "Failed to parse job id \"x\": Invalid argument\n"),
        ("kill -s FOO a", 1, "", "Failed to parse signal string \"FOO\".\n"),
        ("help a", 0, "Manual page: a(8)\nAdditional documentation: https://a.example/\n", ""),
        ("help gone", 1, "", "Unit gone.service could not be found.\n"),
        ("start --wait --no-block a", 1, "", "--wait may not be combined with --no-block.\n"),
        ("start --dry-run a", 0, "", ""),
        ("is-active a", 3, "inactive\n", ""),
        ("reboot --dry-run", 0, "", ""),
        ("list-unit-files nothing*", 1, "UNIT FILE STATE PRESET\n\n0 unit files listed.\n", ""),
        ("is-active nothing*", 4, "", ""),
    ] {
        let found = end(waiting(&machine, line));
        assert_eq!(found, (code, stdout.to_owned(), stderr.to_owned()), "{line}");
    }
}
