//! PID 1 under adversity, in its own namespaces: it executes itself, crashes, is flooded, and loses nothing.

use std::fs;
use std::time::{Duration, Instant};

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, outcome, start};

/// A service that starts when its gate file appears.
fn gated(gate: &str) -> String {
    format!(
        "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/sh -c 'while [ ! -e /run/{gate} ]; do sleep 0.05; done'\n"
    )
}

#[test]
fn an_execution_in_place_keeps_services_jobs_deadlines_and_clients() {
    let machine = Machine::boot(&[
        ("s.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("slow.service", &gated("gate")),
        ("after.service", "[Unit]\nAfter=slow.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("late.service", "[Service]\nType=oneshot\nTimeoutStartSec=2\nExecStart=/bin/sleep 1000\n"),
        (
            "again.service",
            "[Service]\nExecStart=/bin/sh -c 'echo x >> /run/again; \
             [ $(wc -l < /run/again) -ge 2 ] && exec sleep 1000'\n\
             Restart=always\nRestartSec=1500ms\n",
        ),
        ("gone.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("failed.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "gone.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "failed.service"), JobOutcome::Failed);
    assert_eq!(machine.job(JobVerb::Start, "again.service"), JobOutcome::Done);
    machine.wait_for("auto restart", |machine| machine.state("again.service") == "activating auto-restart");
    let slow = machine.send(&start("slow.service"));
    machine.wait_for("start", |machine| machine.state("slow.service") == "activating start");
    let after = machine.send(&start("after.service"));
    let late = machine.send(&start("late.service"));
    machine.wait_for("start", |machine| machine.state("late.service") == "activating start");
    fs::remove_file(machine.output("units/gone.service")).unwrap();
    let (before, gone) = (machine.show("s.service"), machine.show("gone.service").main_pid);

    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);

    assert!(machine.log().contains("took over"), "{}", machine.log());
    let now = machine.show("s.service");
    assert_eq!((now.main_pid, now.summary.active.as_str()), (before.main_pid, "active"));
    assert_eq!((&now.invocation_id, now.active_enter_us), (&before.invocation_id, before.active_enter_us));
    assert_eq!(now.commands, before.commands);
    assert_eq!(machine.state("failed.service"), "failed failed");
    assert_eq!(machine.show("failed.service").result, "exit-code");
    assert_eq!(machine.show("gone.service").main_pid, gone);
    assert_eq!(machine.state("slow.service"), "activating start");
    assert_eq!(machine.state("after.service"), "inactive dead");

    fs::write(machine.output("run/gate"), "").unwrap();
    assert_eq!(outcome(machine.answer(slow)), JobOutcome::Done);
    assert_eq!(outcome(machine.answer(after)), JobOutcome::Done);
    assert_eq!(outcome(machine.answer(late)), JobOutcome::Failed);
    assert_eq!(machine.show("late.service").result, "timeout");
    machine.wait_for("restart", |machine| machine.state("again.service") == "active running");
    assert_eq!(machine.show("again.service").restarts, 1);
    // Its end is noticed by the image that did not make it.
    assert_eq!(machine.job(JobVerb::Stop, "s.service"), JobOutcome::Done);
    assert_eq!(machine.state("s.service"), "inactive dead");
    assert_eq!(machine.job(JobVerb::Stop, "gone.service"), JobOutcome::Done);
}

#[test]
fn a_program_that_cannot_take_the_state_over_is_not_executed() {
    let machine = Machine::boot(&[("s.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
    // In the namespace of process 1 its program is another one from now on.
    let status = std::process::Command::new("nsenter")
        .args(["--mount", "--target", &machine.pid.to_string(), "mount", "--bind", "/bin/false"])
        .arg(env!("CARGO_BIN_EXE_ferrite-init"))
        .status()
        .unwrap();
    assert!(status.success());
    assert!(matches!(machine.ask(&Request::DaemonReexec).remove(0), Reply::Error { .. }));
    assert_eq!(machine.show("s.service").main_pid, before);
    assert!(machine.log().contains("going on as before"));
    assert_eq!(machine.job(JobVerb::Stop, "s.service"), JobOutcome::Done);
}

#[test]
fn many_executions_in_a_row_lose_nothing() {
    let machine = Machine::boot(&[
        ("s.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
        ("x@.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 0.0%i\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
    let open = |machine: &Machine| fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap().count();
    let began = Instant::now();
    let files = open(&machine);
    let mut asked = 0;
    for number in 0..10 {
        let waiting: Vec<_> = (0..5).map(|place| machine.send(&start(&format!("x@{number}{place}.service")))).collect();
        assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
        for stream in waiting {
            assert_eq!(outcome(machine.answer(stream)), JobOutcome::Done, "{}", machine.log());
            asked += 1;
        }
    }
    assert_eq!((asked, machine.show("s.service").main_pid), (50, before));
    machine.wait_for("closed files", |machine| open(machine) <= files + 1);
    assert!(began.elapsed() < Duration::from_secs(60));
    machine.power_off();
}

/// A unit that the end of the boot needs fails at its first start and restarts by itself.
#[test]
fn a_boot_is_complete_once_what_it_needs_has_recovered() {
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nWants=mark.service\nAfter=mark.service\n"),
        ("boot-complete.target", "[Unit]\nRequires=check.service flaky.service\nAfter=check.service flaky.service\n"),
        ("check.service", "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo x >> /run/checks'\n"),
        (
            "flaky.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nRestart=on-failure\nRestartSec=300ms\n\
             ExecStart=/bin/sh -c 'echo x >> /run/tries; [ $(wc -l < /run/tries) -ge 3 ]'\n",
        ),
        (
            "mark.service",
            "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\nStartLimitIntervalSec=0\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nRestart=on-failure\nRestartSec=100ms\n\
             ExecStart=/bin/sh -c 'echo x >> /run/marks; [ $(wc -l < /run/marks) -ge 3 ]'\n",
        ),
    ]);
    machine.wait_for("mark", |machine| machine.state("mark.service") == "active exited");
    assert_eq!(machine.state("boot-complete.target"), "active active");
    assert_eq!(machine::lines(&machine.output("run/tries")).len(), 3);
    assert_eq!(machine::lines(&machine.output("run/marks")).len(), 3);
    // A check that does not remain is made again.
    assert!(machine::lines(&machine.output("run/checks")).len() >= 2);
}

/// The end of the boot is not tried again for a unit that nobody restarts.
#[test]
fn a_boot_with_a_failed_unit_stays_incomplete_until_somebody_starts_it() {
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nWants=mark.service\nAfter=mark.service\n"),
        ("boot-complete.target", "[Unit]\nRequires=broken.service\nAfter=broken.service\n"),
        (
            "broken.service",
            "[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/sh -c 'echo x >> /run/tries; test -e /run/repaired'\n",
        ),
        (
            "mark.service",
            "[Unit]\nRequires=boot-complete.target\nAfter=boot-complete.target\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n",
        ),
    ]);
    assert_eq!(machine.state("broken.service"), "failed failed");
    assert_eq!(machine.state("mark.service"), "inactive dead");
    fs::write(machine.output("run/repaired"), "").unwrap();
    assert_eq!(machine.job(JobVerb::Start, "broken.service"), JobOutcome::Done);
    machine.wait_for("mark", |machine| machine.state("mark.service") == "active exited");
    assert_eq!(machine::lines(&machine.output("run/tries")).len(), 2);
}

#[test]
fn a_unit_that_refuses_is_started_by_others_only() {
    let machine = Machine::boot(&[
        ("shy.service", "[Unit]\nRefuseManualStart=yes\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("user.service", "[Unit]\nWants=shy.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
    ]);
    for verb in [JobVerb::Start, JobVerb::Restart] {
        let request = Request::Job { verb, units: vec!["shy.service".into()], mode: JobMode::Replace, wait: true };
        let Reply::Jobs(reports) = machine.ask(&request).remove(0) else { panic!("no answer about jobs") };
        assert_eq!(reports[0].refusal, Some(ferrite_control::ErrorKind::OnlyByDependency));
    }
    assert_eq!(machine.state("shy.service"), "inactive dead");
    assert_eq!(machine.job(JobVerb::Start, "user.service"), JobOutcome::Done);
    machine.wait_for("start", |machine| machine.state("shy.service") == "active running");
}

#[test]
fn a_machine_without_its_base_says_why_and_goes_through_emergency_mode() {
    let mut machine = Machine::boot(&[
        ("basic.target", "[Unit]\nDefaultDependencies=no\nRequires=base.service\nAfter=base.service\n"),
        ("base.service", "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ("default.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\n"),
        ("emergency.target", "[Unit]\nDefaultDependencies=no\n"),
        ("reboot.target", "[Unit]\nDefaultDependencies=no\n"),
    ]);
    machine.wait_for("emergency mode", |machine| machine.state("emergency.target") == "active active");
    assert!(machine.log().contains("basic.target is not up: base.service failed"), "{}", machine.log());
    // In a namespace it ends after five seconds.
    assert!(machine.child.wait().is_ok());
    assert!(machine.log().contains("emergency mode lasted long enough"), "{}", machine.log());
}

#[test]
fn a_process_belongs_to_its_unit_and_not_to_the_slice_above_it() {
    // The PID file of another user than root is believed only about the unit's own processes.
    let service = "[Service]\nType=forking\nSlice=above.slice\nUser=65534\nRuntimeDirectory=below\n\
                   PIDFile=/run/below/pid\nTimeoutStartSec=10\n\
                   ExecStart=/bin/sh -c 'sleep 1000 & echo $! > /run/below/pid'\n";
    let machine = Machine::boot(&[("above.slice", "[Slice]\n"), ("below.service", service)]);
    assert_eq!(machine.job(JobVerb::Start, "above.slice"), JobOutcome::Done, "{}", machine.log());
    assert_eq!(machine.job(JobVerb::Start, "below.service"), JobOutcome::Done, "{}", machine.log());
    let main = machine.show("below.service").properties["MainPID"].clone();
    assert_eq!(fs::read_to_string(machine.output("run/below/pid")).unwrap().trim(), main);
}
