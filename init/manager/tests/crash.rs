//! PID 1 crashes, in its own namespaces: it goes on with what it had kept ready, and gives up when that does not help.

use std::fs;
use std::time::Instant;

use ferrite_control::{InjectedFault, JobMode, JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, PATIENCE, lines, outcome, start};

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

/// The unit, its main process, and that it runs.
fn runs(machine: &Machine, unit: &str) -> Option<i32> {
    let details = machine.show(unit);
    assert_eq!(details.summary.sub, "running", "{unit}\n{}", machine.log());
    details.main_pid
}

fn wait_for_recovery(machine: &Machine) {
    machine.wait_for("recovery", |machine| machine.log().contains("went on with what it had kept ready"));
}

#[test]
fn services_survive_every_kind_of_crash() {
    use InjectedFault::{Abort, Allocation, Memory, Panic, Stack};
    for fault in [Panic, Memory, Stack, Abort, Allocation] {
        let machine = Machine::boot(&[
            ("s.service", SLEEPER),
            ("f.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
            ("r.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"),
        ]);
        assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
        assert_eq!(machine.job(JobVerb::Start, "f.service"), JobOutcome::Failed);
        assert_eq!(machine.job(JobVerb::Start, "r.service"), JobOutcome::Done);
        let before = machine.show("s.service");
        drop(machine.send(&Request::InjectFault(fault)));
        wait_for_recovery(&machine);
        let after = machine.show("s.service");
        assert_eq!((after.main_pid, after.summary.sub.as_str()), (before.main_pid, "running"), "{fault:?}");
        assert_eq!((after.invocation_id, after.active_enter_us), (before.invocation_id, before.active_enter_us));
        assert_eq!(machine.state("f.service"), "failed failed");
        assert_eq!(machine.state("r.service"), "active exited");
        assert_eq!(machine.job(JobVerb::Stop, "s.service"), JobOutcome::Done);
        assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
        machine.power_off();
    }
}

#[test]
fn a_real_signal_loses_neither_jobs_nor_deadlines_nor_who_waits() {
    let machine = Machine::boot(&[
        ("s.service", SLEEPER),
        (
            "slow.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/sh -c 'echo x >> /run/slow; while [ ! -e /run/gate ]; do sleep 0.05; done'\n",
        ),
        ("after.service", "[Unit]\nAfter=slow.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("late.service", "[Service]\nType=oneshot\nTimeoutStartSec=2\nExecStart=/bin/sleep 1000\n"),
        ("again.service", "[Service]\nExecStart=/bin/sleep 1000\nRestart=always\nRestartSec=100ms\n"),
    ]);
    for unit in ["s.service", "again.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    let (s, again) = (runs(&machine, "s.service"), runs(&machine, "again.service"));
    let slow = machine.send(&start("slow.service"));
    let after = machine.send(&start("after.service"));
    let late = machine.send(&start("late.service"));
    machine.wait_for("start", |machine| lines(&machine.output("run/slow")).len() == 1);
    machine.wait_for("start", |machine| machine.state("late.service") == "activating start");

    let pid = nix::unistd::Pid::from_raw(machine.pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSEGV).unwrap();
    wait_for_recovery(&machine);

    assert_eq!((runs(&machine, "s.service"), runs(&machine, "again.service")), (s, again));
    assert_eq!(machine.state("slow.service"), "activating start");
    assert_eq!(machine.state("after.service"), "inactive dead");
    fs::write(machine.output("run/gate"), "").unwrap();
    assert_eq!(outcome(machine.answer(slow)), JobOutcome::Done);
    assert_eq!(outcome(machine.answer(after)), JobOutcome::Done);
    assert_eq!(outcome(machine.answer(late)), JobOutcome::Failed);
    // Its process was not made a second time.
    assert_eq!(lines(&machine.output("run/slow")).len(), 1);
    // What ends after the crash is seen and restarted.
    let request = Request::KillUnit { unit: "again.service".into(), whom: ferrite_control::KillWhom::Main, signal: 9 };
    assert_eq!(machine.ask(&request), [Reply::Done]);
    machine.wait_for("restart", |machine| machine.show("again.service").main_pid.is_some_and(|pid| Some(pid) != again));
}

#[test]
fn a_second_crash_soon_after_ends_it() {
    let mut machine = Machine::boot(&[("s.service", SLEEPER)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    drop(machine.send(&Request::InjectFault(InjectedFault::Memory)));
    wait_for_recovery(&machine);
    drop(machine.send(&Request::InjectFault(InjectedFault::Panic)));
    let deadline = Instant::now() + PATIENCE;
    while machine.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "does not end\n{}", machine.log());
        std::thread::yield_now();
    }
    assert!(machine.log().contains("crashed twice within a minute"), "{}", machine.log());
}

#[test]
fn a_crash_amid_many_starts_loses_no_unit_and_makes_none_twice() {
    let names: Vec<String> = (0..60).map(|number| format!("n{number}.service")).collect();
    let text = |name: &str| format!("[Service]\nExecStart=/bin/sh -c 'echo {name} >> /run/made; exec sleep 1000'\n");
    let texts: Vec<String> = names.iter().map(|name| text(name)).collect();
    let mut units: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    let all = format!("[Unit]\nWants={}\n", names.join(" "));
    units.push(("all.target", &all));
    let machine = Machine::boot(&units);
    let job = machine.send(&Request::Job {
        verb: JobVerb::Start,
        units: vec!["all.target".into()],
        mode: JobMode::Replace,
        wait: true,
    });
    machine.wait_for("a few starts", |machine| lines(&machine.output("run/made")).len() >= 5);
    let pid = nix::unistd::Pid::from_raw(machine.pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSEGV).unwrap();
    assert_eq!(outcome(machine.answer(job)), JobOutcome::Done);
    for name in &names {
        machine.wait_for(name, |machine| machine.state(name) == "active running");
    }
    // One process a unit, and each of them is the one that PID 1 knows.
    let known: Vec<i32> = names.iter().filter_map(|name| machine.show(name).main_pid).collect();
    assert_eq!(known.len(), names.len());
    let children = format!("/proc/{0}/task/{0}/children", machine.pid);
    machine.wait_for("one process a unit", |_| {
        fs::read_to_string(&children).unwrap().split_whitespace().count() == names.len()
    });
}

#[test]
fn what_cannot_be_read_is_rebuilt_from_what_runs() {
    let machine = Machine::boot(&[
        ("s.service", SLEEPER),
        ("default.target", "[Unit]\nWants=d.service\n"),
        ("d.service", SLEEPER),
    ]);
    let Reply::Properties(properties) = machine.ask(&Request::ShowManager).remove(0) else { panic!("no properties") };
    if properties["ControlGroup"].is_empty() {
        // Without control groups nothing tells what runs.
        return;
    }
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let (s, d) = (runs(&machine, "s.service"), runs(&machine, "d.service"));
    // The memory file of the state is cut: root can do that through /proc.
    for entry in fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap() {
        let path = entry.unwrap().path();
        if fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().contains("ferrite-record")) {
            fs::write(&path, "{\"manager\":{\"version\":999}}\n").unwrap();
        }
    }
    drop(machine.send(&Request::InjectFault(InjectedFault::Memory)));
    machine.wait_for("rebuilding", |machine| machine.log().contains("looking at what runs"));
    machine.wait_for("the second boot", |machine| machine.log().matches("] Ferrite").count() == 2);
    assert_eq!((runs(&machine, "s.service"), runs(&machine, "d.service")), (s, d));
    assert_eq!(machine.job(JobVerb::Stop, "s.service"), JobOutcome::Done);
    assert_eq!(machine.state("default.target"), "active active");
}
