//! daemon-reload: beside what is in use, in one step, and nothing is lost.

use std::fs;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, outcome, start};

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

#[test]
fn a_reload_takes_nothing_away_from_what_runs() {
    let names = ["gone", "bad", "second", "masked", "kind", "alias"].map(|name| format!("{name}.service"));
    let units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), SLEEPER)).collect();
    let machine = Machine::boot(&units);
    for name in &names {
        assert_eq!(machine.job(JobVerb::Start, name), JobOutcome::Done);
    }
    let before: Vec<_> = names.iter().map(|name| machine.show(name).main_pid).collect();
    let path = |name: &str| machine.output("units").join(name);
    fs::remove_file(path("gone.service")).unwrap();
    machine.write_unit("bad.service", "[Unit]\nDescription=Without a program\n[Service]\nType=simple\n");
    machine.write_unit("second.service", "[Service]\nExecStart=/bin/sleep 1000\nExecStart=/bin/sleep 2000\n");
    fs::remove_file(path("masked.service")).unwrap();
    std::os::unix::fs::symlink("/dev/null", path("masked.service")).unwrap();
    machine.write_unit("kind.service", "[Service]\nType=oneshot\nExecStart=/bin/true\nExecStart=/bin/true\n");
    fs::remove_file(path("alias.service")).unwrap();
    std::os::unix::fs::symlink("gone.service", path("alias.service")).unwrap();

    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);

    let load = |name: &str| machine.show(name).summary.load;
    for (name, pid) in names.iter().zip(before) {
        assert_eq!((machine.show(name).main_pid, machine.state(name)), (pid, "active running".to_owned()), "{name}");
    }
    assert_eq!(load("gone.service"), "not-found");
    assert_eq!(load("bad.service"), "bad-setting");
    assert_eq!(load("second.service"), "bad-setting");
    assert_eq!(load("masked.service"), "masked");
    let log = machine.log();
    for words in
        ["gone.service: its file is gone", "second.service: its new file is bad", "masked.service: it is masked"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
    // A second time changes nothing, and each of them can still be stopped; then nothing is left of what has no file.
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    for name in &names {
        assert_eq!(machine.job(JobVerb::Stop, name), JobOutcome::Done, "{name}");
        // For a service of type oneshot, as it is by now, the signal is a failure.
        let state = if name == "kind.service" { "failed failed" } else { "inactive dead" };
        assert_eq!(machine.state(name), state, "{name}");
    }
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    let Reply::Units(left) = machine.ask(&Request::ListUnits).remove(0) else { panic!("no units") };
    assert!(!left.iter().any(|unit| unit.name == "gone.service" || unit.name == "alias.service"), "{left:?}");
    assert_eq!(machine.job(JobVerb::Start, "kind.service"), JobOutcome::Done);
}

#[test]
fn jobs_and_their_ends_survive_reloads_under_load() {
    let machine = Machine::boot(&[
        ("r@.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 0.0%i\nExecStart=/bin/true\n"),
        ("s.service", SLEEPER),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
    let mut waiting = Vec::new();
    let mut reloads = Vec::new();
    for number in 0..100 {
        waiting.push(machine.send(&start(&format!("r@{number}.service"))));
        if number % 4 == 0 {
            machine.write_unit(&format!("extra{number}.service"), SLEEPER);
            reloads.push(machine.send(&Request::DaemonReload));
        }
    }
    for stream in waiting {
        assert_eq!(outcome(machine.answer(stream)), JobOutcome::Done);
    }
    for stream in reloads {
        assert_eq!(machine.answer(stream), Reply::Done);
    }
    assert_eq!(machine.show("s.service").main_pid, before);
    let count = machine.log().matches("unit files were read again").count();
    assert!((1..=25).contains(&count), "{count}");
}

#[test]
fn a_reload_of_many_units_does_not_keep_clients_waiting() {
    let names: Vec<String> = (0..1000).map(|number| format!("m{number}.service")).collect();
    let mut units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), SLEEPER)).collect();
    let all = format!("[Unit]\nWants={}\n", names.join(" "));
    units.push(("all.target", &all));
    let machine = Machine::boot(&units);
    assert_eq!(machine.show("all.target").summary.load, "loaded");
    machine.write_unit("m5.service", "[Unit]\nDescription=Changed\n[Service]\nExecStart=/bin/sleep 1000\n");
    let reload = machine.send(&Request::DaemonReload);
    let mut answers = 0;
    reload.set_nonblocking(true).unwrap();
    let mut byte = [0];
    while rustix::net::recv(&reload, &mut byte, rustix::net::RecvFlags::PEEK).is_err() {
        assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())]);
        answers += 1;
    }
    assert_eq!(machine.show("m5.service").summary.description, "Changed");
    assert!(answers > 0);
}
