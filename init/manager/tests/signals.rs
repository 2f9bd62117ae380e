//! The signals of PID 1, in its own namespaces: each asks for what systemd does at the same signal.

use std::fs;
use std::time::Instant;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, PATIENCE};

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";
const TARGET: &str = "[Unit]\nAllowIsolate=yes\n";

/// The signal `SIGRTMIN+offset`.
fn real_time(offset: i32) -> String {
    format!("RTMIN+{offset}")
}

fn signal(machine: &Machine, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &machine.pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until PID 1 has ended, and gives its log.
fn wait_for_end(mut machine: Machine) -> String {
    let deadline = Instant::now() + PATIENCE;
    while machine.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "does not end\n{}", machine.log());
        std::thread::yield_now();
    }
    machine.log()
}

#[test]
fn signals_that_end_the_system_stop_units_in_order() {
    let ends = ["TERM", "INT", "PWR", &real_time(3), &real_time(4), &real_time(5), &real_time(6)];
    for name in ends {
        let machine = Machine::boot(&[("s.service", SLEEPER)]);
        assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
        signal(&machine, name);
        let log = wait_for_end(machine);
        assert!(log.contains("Stopped s.service"), "{name}: {log}");
    }
}

/// A machine on which a service runs that does not stop.
fn with_a_deaf_service() -> Machine {
    let machine = Machine::boot(&[(
        "deaf.service",
        "[Service]\nTimeoutStopSec=infinity\nExecStart=/bin/sh -c 'trap \"\" TERM; touch /run/deaf; \
         while :; do sleep 0.1; done'\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "deaf.service"), JobOutcome::Done);
    machine.wait_for("trap", |machine| machine.output("run/deaf").exists());
    machine
}

#[test]
fn signals_that_end_the_system_at_once_wait_for_no_unit() {
    for offset in [14, 16] {
        let machine = with_a_deaf_service();
        signal(&machine, &real_time(offset));
        let log = wait_for_end(machine);
        assert!(!log.contains("Stopped deaf.service"), "{offset}: {log}");
    }
}

#[test]
fn a_second_wish_to_end_does_not_wait_for_a_unit_that_does_not_stop() {
    let machine = with_a_deaf_service();
    signal(&machine, "TERM");
    machine.wait_for("stop", |machine| machine.state("deaf.service") == "deactivating stop-sigterm");
    // No other job replaces those that end the system.
    let refused = machine.job(JobVerb::Start, "deaf.service");
    assert_eq!(refused, JobOutcome::Refused, "{}", machine.log());
    signal(&machine, "TERM");
    wait_for_end(machine);
}

#[test]
fn a_target_that_ends_the_system_does_so_however_it_was_reached() {
    let machine = Machine::boot(&[
        ("s.service", SLEEPER),
        ("bad.service", "[Unit]\nOnFailure=reboot.target\n[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ("reboot.target", "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target\nAfter=shutdown.target\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "bad.service"), JobOutcome::Failed);
    let log = wait_for_end(machine);
    assert!(log.contains("Stopped s.service"), "{log}");
}

#[test]
fn targets_are_changed_to_by_signal() {
    let machine = Machine::boot(&[
        ("s.service", SLEEPER),
        ("rescue.target", TARGET),
        ("emergency.target", TARGET),
        ("default.target", "[Unit]\nAllowIsolate=yes\nWants=s.service\n"),
    ]);
    for (offset, target, state) in [
        (1, "rescue.target", "inactive dead"),
        (0, "default.target", "active running"),
        (2, "emergency.target", "inactive dead"),
    ] {
        signal(&machine, &real_time(offset));
        machine.wait_for(target, |machine| machine.state(target) == "active active");
        machine.wait_for("service", |machine| machine.state("s.service") == state);
    }
}

#[test]
fn a_reload_a_new_socket_a_dump_and_a_new_image_by_signal() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
    machine.write_unit("s.service", "[Unit]\nDescription=Changed\n[Service]\nExecStart=/bin/sleep 1000\n");
    signal(&machine, "HUP");
    machine.wait_for("reload", |machine| machine.show("s.service").summary.description == "Changed");
    fs::remove_file(machine.output("run/ferrite/init.sock")).unwrap();
    signal(&machine, "USR1");
    machine.wait_for("socket", |machine| machine.output("run/ferrite/init.sock").exists());
    signal(&machine, "USR2");
    machine.wait_for("dump", |machine| machine.log().contains("{\"unit\":{\"name\":\"s.service\""));
    signal(&machine, &real_time(25));
    machine.wait_for("new image", |machine| machine.log().contains("took over"));
    assert_eq!(machine.show("s.service").main_pid, before);
    // Signals without a meaning have none.
    for name in ["ALRM", "WINCH", "URG", &real_time(9), &real_time(30)] {
        signal(&machine, name);
    }
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())]);
}

#[test]
fn user_space_starts_again_below_the_same_kernel() {
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nWants=s.service\n"),
        ("s.service", SLEEPER),
        ("soft-reboot.target", "[Unit]\nDefaultDependencies=no\nRequires=shutdown.target\nAfter=shutdown.target\n"),
    ]);
    let before = machine.show("s.service").main_pid;
    signal(&machine, &real_time(7));
    machine.wait_for("second start", |machine| machine.log().matches("] Ferrite").count() == 2);
    assert!(machine.log().contains("Stopped s.service"));
    let after = machine.show("s.service");
    assert_eq!(after.summary.sub, "running");
    assert_ne!(after.main_pid, before);
    machine.power_off();
}
