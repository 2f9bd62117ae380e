//! Timer units in PID 1's own namespaces: they elapse, catch up, survive a re-execution, and refuse what cannot be.

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, lines};

const COUNT: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo $TRIGGER_UNIT >> /run/%N'\n";

#[test]
fn a_timer_starts_its_unit_and_tells_it_why() {
    let machine = Machine::boot(&[
        ("once.timer", "[Timer]\nOnActiveSec=50ms\n"),
        ("once.service", COUNT),
        ("again.timer", "[Timer]\nOnActiveSec=0\nOnUnitInactiveSec=50ms\nUnit=other.service\n"),
        ("other.service", COUNT),
        ("calendar.timer", "[Timer]\nOnCalendar=*:*:*\n"),
        ("calendar.service", COUNT),
        ("gone.timer", "[Timer]\nOnActiveSec=0\nRemainAfterElapse=no\n"),
        ("gone.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ]);
    for unit in ["once.timer", "again.timer", "calendar.timer", "gone.timer"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    let count = |machine: &Machine, name: &str| lines(&machine.output(&format!("run/{name}"))).len();
    machine.wait_for("first", |machine| count(machine, "once") == 1);
    machine.wait_for("elapsed", |machine| machine.state("once.timer") == "active elapsed");
    assert_eq!(lines(&machine.output("run/once")), ["once.timer"]);
    machine.wait_for("again", |machine| count(machine, "other") >= 3);
    machine.wait_for("calendar", |machine| count(machine, "calendar") >= 2);
    machine.wait_for("end", |machine| machine.state("gone.timer") == "inactive dead");
    assert_eq!(machine.job(JobVerb::Stop, "again.timer"), JobOutcome::Done);
    assert_eq!(machine.state("again.timer"), "inactive dead");
    assert_eq!(count(&machine, "once"), 1);
    // By hand it has no timer to tell of.
    assert_eq!(machine.job(JobVerb::Start, "once.service"), JobOutcome::Done);
    assert_eq!(lines(&machine.output("run/once")), ["once.timer", ""]);
}

#[test]
fn what_was_missed_is_made_up_for_once() {
    let machine = Machine::boot(&[
        (
            "stamps.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'mkdir -p /run/stamps && \
             mount -t tmpfs none /var/lib/systemd && mkdir /var/lib/systemd/timers && \
             touch -d 2020-01-01 /var/lib/systemd/timers/stamp-old.timer && \
             touch -d 2099-01-01 /var/lib/systemd/timers/stamp-odd.timer'\n",
        ),
        ("old.timer", "[Timer]\nOnCalendar=monthly\nPersistent=yes\n"),
        ("old.service", COUNT),
        ("new.timer", "[Timer]\nOnCalendar=monthly\nPersistent=yes\n"),
        ("new.service", COUNT),
        ("odd.timer", "[Timer]\nOnCalendar=monthly\nPersistent=yes\n"),
        ("odd.service", COUNT),
        (
            "look.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'stat -c %%y /var/lib/systemd/timers/stamp-old.timer \
             /var/lib/systemd/timers/stamp-new.timer > /run/seen'\n",
        ),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "stamps.service"), JobOutcome::Done);
    for unit in ["old.timer", "new.timer", "odd.timer"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    machine.wait_for("missed", |machine| lines(&machine.output("run/old")).len() == 1);
    machine.wait_for("waiting", |machine| machine.state("old.timer") == "active waiting");
    assert_eq!(
        (machine.state("new.timer"), machine.state("odd.timer")),
        ("active waiting".into(), "active waiting".into())
    );
    assert!(machine.log().contains("stamp-odd.timer is of the future"), "{}", machine.log());
    // Its stamp tells that it is done.
    assert_eq!(machine.job(JobVerb::Restart, "old.timer"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "look.service"), JobOutcome::Done);
    assert!(lines(&machine.output("run/seen")).iter().all(|line| !line.starts_with("2020")));
    assert_eq!(lines(&machine.output("run/old")).len(), 1);
}

#[test]
fn a_timer_outlives_a_re_execution_and_a_reload() {
    let machine = Machine::boot(&[
        ("t.timer", "[Timer]\nOnActiveSec=700ms\n"),
        ("t.service", COUNT),
        ("far.timer", "[Timer]\nOnActiveSec=1h\n"),
        ("far.service", COUNT),
    ]);
    for unit in ["t.timer", "far.timer"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    machine.wait_for("time", |machine| lines(&machine.output("run/t")).len() == 1);
    machine.wait_for("end", |machine| machine.state("t.timer") == "active elapsed");
    assert_eq!(machine.state("far.timer"), "active waiting");
    machine.write_unit("far.timer", "[Timer]\nOnActiveSec=1ms\n");
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    machine.wait_for("far", |machine| lines(&machine.output("run/far")).len() == 1);
}

#[test]
fn timers_that_cannot_work_say_so() {
    let machine = Machine::boot(&[
        ("none.timer", "[Timer]\nPersistent=yes\n"),
        ("none.service", COUNT),
        ("bad.timer", "[Timer]\nOnCalendar=whenever\n"),
        ("bad.service", COUNT),
        ("alone.timer", "[Timer]\nOnActiveSec=1h\n"),
        ("broken.timer", "[Timer]\nOnActiveSec=0\n"),
        ("broken.service", "[Service]\nType=oneshot\n"),
    ]);
    assert_eq!(machine.show("none.timer").summary.load, "bad-setting");
    assert_eq!(machine.show("bad.timer").summary.load, "bad-setting");
    assert!(machine.log().contains("bad.timer:2: OnCalendar=:"), "{}", machine.log());
    for unit in ["alone.timer", "broken.timer"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Failed);
    }
    assert!(machine.log().contains("alone.service is not-found"), "{}", machine.log());
}
