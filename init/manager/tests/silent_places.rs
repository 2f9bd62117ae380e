//! A file system that never answers holds up what needs it, and nothing else: PID 1 looks at its files only when a
//! child of it could.

use std::time::{Duration, Instant};

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

#[path = "support/hung.rs"]
mod hung;

/// Of a busy machine; it does not answer for ever.
const ANSWER_MAX: Duration = Duration::from_secs(20);

#[test]
fn process_1_does_not_wait_for_files_that_do_not_come() {
    if !hung::is_possible() {
        return;
    }
    let once = |settings: &str| format!("{settings}[Service]\nType=oneshot\nExecStart=/bin/true\n");
    let env = once("") + "EnvironmentFile=/var/lib/env\n";
    let optional = once("") + "EnvironmentFile=-/var/lib/env\n";
    let pid = "[Service]\nType=forking\nPIDFile=/var/lib/pid\nTimeoutStartSec=2\nExecStart=/bin/sh -c 'sleep 1000 &'\n";
    let machine = Machine::boot_with(
        &[
            ("default.target", "[Unit]\nWants=env.service if.service beside.service p.path\n"),
            ("env.service", &env),
            ("optional.service", &optional),
            ("if.service", &once("[Unit]\nConditionPathExists=/var/lib/x\n")),
            ("not.service", &once("[Unit]\nConditionPathExists=!/var/lib/x\n")),
            ("glob.service", &once("[Unit]\nAssertPathExistsGlob=/var/lib/x*\n")),
            ("pid.service", pid),
            ("p.path", "[Path]\nPathExists=/var/lib/x\nUnit=optional.service\n"),
            ("s.socket", "[Socket]\nListenStream=/var/lib/s\nService=beside.service\n"),
            ("t.timer", "[Timer]\nOnCalendar=yearly\nPersistent=yes\nUnit=not.service\n"),
            ("beside.service", "[Service]\nExecStart=/bin/sleep 1000\n"),
            ("run/hang.py", hung::HANG),
        ],
        &[],
        hung::COMMAND,
    );
    // The boot is over, and only what needs the files failed.
    assert_eq!(machine.state("beside.service"), "active running");
    assert_eq!(machine.show("env.service").result, "resources", "{}", machine.log());
    assert_eq!(machine.state("if.service"), "inactive dead");
    assert_eq!(machine.state("p.path"), "failed failed");
    for (unit, outcome) in [
        ("env.service", JobOutcome::Failed),
        ("optional.service", JobOutcome::Done),
        ("if.service", JobOutcome::Skipped),
        ("not.service", JobOutcome::Done),
        ("glob.service", JobOutcome::Assert),
        ("pid.service", JobOutcome::Failed),
        ("p.path", JobOutcome::Failed),
        ("t.timer", JobOutcome::Done),
    ] {
        let began = Instant::now();
        assert_eq!(machine.job(JobVerb::Start, unit), outcome, "{unit}\n{}", machine.log());
        assert!(began.elapsed() < ANSWER_MAX, "{unit} took {:?}", began.elapsed());
    }
    assert_eq!(machine.job(JobVerb::Stop, "beside.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "s.socket"), JobOutcome::Failed);
    assert_eq!(machine.job(JobVerb::Start, "beside.service"), JobOutcome::Done);
    let log = machine.log();
    assert!(log.contains("the file system at /var/lib does not answer"), "{log}");
    // It is not asked for each of them anew.
    assert!(log.matches("does not answer, going on without it").count() <= 3, "{log}");
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state("beside.service"), "active running");
}
