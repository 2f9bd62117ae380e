//! Device units in PID 1's own namespaces: they come and go with the node, and take along what is bound to them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

/// A link of /dev to a device that is always there.
struct Link(PathBuf);

impl Link {
    fn name(what: &str) -> Link {
        Link(PathBuf::from(format!("/dev/shm/ferrite_test_{}_{what}", std::process::id())))
    }

    fn unit(&self) -> String {
        format!("{}.device", self.0.to_str().unwrap().trim_start_matches('/').replace('/', "-"))
    }

    fn make(&self) {
        symlink("/dev/null", &self.0).unwrap();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // A test that removed it is done.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_unit_bound_to_a_device_waits_for_it_and_goes_with_it() {
    let link = Link::name("bound");
    let device = link.unit();
    let text = format!("[Unit]\nBindsTo={device}\nAfter={device}\n[Service]\nExecStart=/bin/sleep 1000\n");
    let machine = Machine::boot(&[("user.service", &text)]);
    let wish =
        Request::Job { verb: JobVerb::Start, units: vec!["user.service".into()], mode: JobMode::Replace, wait: true };
    let answer = machine.send(&wish);
    machine.wait_for("job", |machine| machine.show(&device).summary.job.is_some());
    assert_eq!(machine.state(&device), "inactive dead");
    link.make();
    assert!(matches!(machine.answer(answer), Reply::Jobs(reports) if reports[0].outcome == JobOutcome::Done));
    assert_eq!(
        (machine.state(&device), machine.state("user.service")),
        ("active plugged".into(), "active running".into())
    );
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state(&device), "active plugged");
    fs::remove_file(&link.0).unwrap();
    machine.wait_for("end", |machine| machine.state("user.service") == "inactive dead");
}

#[test]
fn a_device_that_does_not_come_fails_what_needs_it_in_time() {
    let link = Link::name("late");
    let device = link.unit();
    let drop_in = format!("{device}.d/x.conf");
    let text = format!("[Unit]\nRequires={device}\nAfter={device}\n[Service]\nExecStart=/bin/sleep 1000\n");
    let machine = Machine::boot(&[
        (&drop_in, "[Unit]\nJobTimeoutSec=200ms\n"),
        ("user.service", &text),
        ("net.service", "[Unit]\nBindsTo=sys-subsystem-net-devices-lo.device\n[Service]\nExecStart=/bin/sleep 1000\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "user.service"), JobOutcome::Dependency);
    assert_eq!(machine.job(JobVerb::Start, "net.service"), JobOutcome::Done);
    assert_eq!(machine.state("sys-subsystem-net-devices-lo.device"), "active plugged");
    // A device cannot be stopped.
    assert_ne!(machine.job(JobVerb::Stop, "sys-subsystem-net-devices-lo.device"), JobOutcome::Done);
    assert_eq!(machine.state("net.service"), "active running");
}

#[test]
fn a_device_starts_what_it_wants_when_it_comes_and_nobody_else_names_it() {
    let (late, early) = (Link::name("late_wanted"), Link::name("early_wanted"));
    let bound =
        |link: &Link| format!("[Unit]\nBindsTo={0}\nAfter={0}\n[Service]\nExecStart=/bin/sleep 1000\n", link.unit());
    let wants = |unit: &str| format!("[Unit]\nWants={unit}\n");
    early.make();
    let (late_file, early_file) = (format!("{}.d/x.conf", late.unit()), format!("{}.d/x.conf", early.unit()));
    let machine = Machine::boot(&[
        ("late.service", &bound(&late)),
        ("early.service", &bound(&early)),
        (&late_file, &wants("late.service")),
        (&early_file, &wants("early.service")),
    ]);
    machine.wait_for("the device that was there", |machine| machine.state("early.service") == "active running");
    for _again in 0..2 {
        assert_eq!(machine.state("late.service"), "inactive dead");
        late.make();
        machine.wait_for("the device that comes", |machine| machine.state("late.service") == "active running");
        fs::remove_file(&late.0).unwrap();
        machine.wait_for("its end", |machine| machine.state("late.service") == "inactive dead");
        assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    }
}

#[test]
fn a_device_that_a_reload_makes_known_is_waited_for() {
    let link = Link::name("reloaded");
    let machine = Machine::boot(&[("user.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    let folder = machine.directory.path().join("units").join(format!("{}.wants", link.unit()));
    fs::create_dir(&folder).unwrap();
    symlink("../user.service", folder.join("user.service")).unwrap();
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    link.make();
    machine.wait_for("start", |machine| machine.state("user.service") == "active running");
}
