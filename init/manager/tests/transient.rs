//! Units that clients make, scopes, and settings that they change, in PID 1's own namespaces.

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request, TransientRequest, TransientUnit, encode};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, PATIENCE, lines};

fn request(units: &[(&str, &str, &[i32])], wait: bool) -> TransientRequest {
    let unit = |(name, text, pids): &(&str, &str, &[i32])| TransientUnit {
        name: (*name).into(),
        text: (*text).into(),
        pids: pids.to_vec(),
    };
    TransientRequest { units: units.iter().map(unit).collect(), mode: JobMode::Replace, wait, descriptors: false }
}

fn outcome(reply: Reply) -> JobOutcome {
    match reply {
        Reply::Jobs(reports) => reports[0].outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_of_a_client_runs_and_is_forgotten_with_its_file() {
    let machine = Machine::boot(&[]);
    let text = "[Unit]\nDescription=Made\n[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo %N >> /run/seen'\n";
    let units: &[(&str, &str, &[i32])] = &[("made.service", text, &[])];
    assert_eq!(outcome(machine.ask(&Request::StartTransient(request(units, true))).remove(0)), JobOutcome::Done);
    assert_eq!(lines(&machine.output("run/seen")), ["made"]);
    machine.wait_for("end", |machine| !machine.output("run/ferrite/transient/made.service").exists());
    assert_eq!(machine.show("made.service").summary.load, "not-found");
    // A failure is kept until somebody forgives it.
    let bad: &[(&str, &str, &[i32])] = &[("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n", &[])];
    assert_eq!(outcome(machine.ask(&Request::StartTransient(request(bad, true))).remove(0)), JobOutcome::Failed);
    assert_eq!(machine.state("bad.service"), "failed failed");
    assert!(matches!(machine.ask(&Request::StartTransient(request(bad, true))).remove(0), Reply::Error { .. }));
    assert_eq!(machine.ask(&Request::ResetFailed { units: vec!["bad.service".into()] }), [Reply::Done]);
    machine.wait_for("reset", |machine| !machine.output("run/ferrite/transient/bad.service").exists());
}

#[test]
fn a_timer_of_a_client_starts_its_service() {
    let machine = Machine::boot(&[]);
    let units: &[(&str, &str, &[i32])] = &[
        ("later.timer", "[Timer]\nOnActiveSec=50ms\nRemainAfterElapse=no\n", &[]),
        ("later.service", "[Service]\nType=oneshot\nExecStart=/bin/touch /run/later\n", &[]),
    ];
    assert_eq!(outcome(machine.ask(&Request::StartTransient(request(units, false))).remove(0)), JobOutcome::Queued);
    machine.wait_for("time", |machine| machine.output("run/later").exists());
    machine.wait_for("end", |machine| !machine.output("run/ferrite/transient/later.timer").exists());
}

#[test]
fn bad_wishes_are_refused_and_leave_nothing_behind() {
    let machine = Machine::boot(&[("taken.service", "[Service]\nExecStart=/bin/true\n")]);
    let wishes: [&[(&str, &str, &[i32])]; 6] = [
        &[],
        &[("taken.service", "[Service]\nExecStart=/bin/true\n", &[])],
        &[("a@.service", "[Service]\nExecStart=/bin/true\n", &[])],
        &[("a.target", "[Unit]\n", &[])],
        &[("../a.service", "", &[])],
        &[("empty.service", "[Service]\nType=simple\n", &[])],
    ];
    for wish in wishes {
        let reply = machine.ask(&Request::StartTransient(request(wish, false))).remove(0);
        assert!(matches!(reply, Reply::Error { .. }), "{wish:?}: {reply:?}");
    }
    machine.wait_for("clean directory", |machine| {
        fs::read_dir(machine.output("run/ferrite/transient")).map_or(0, Iterator::count) == 0
    });
}

#[test]
fn the_streams_of_a_client_are_those_of_its_service_and_it_learns_of_the_end() {
    let machine = Machine::boot(&[]);
    let mut output = tempfile::tempfile().unwrap();
    let input = tempfile::tempfile().unwrap();
    fs::write(format!("/proc/self/fd/{}", input.as_raw_fd()), "hello\n").unwrap();
    let text = "[Service]\nExecStart=/bin/sh -c 'read x; echo got $x; exit 7'\n";
    let mut wish = request(&[("piped.service", text, &[])], false);
    wish.descriptors = true;
    let stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let files: [OwnedFd; 3] = [input.into(), output.try_clone().unwrap().into(), output.try_clone().unwrap().into()];
    let borrowed: Vec<_> = files.iter().map(std::os::fd::AsFd::as_fd).collect();
    let bytes = encode(&Request::StartTransient(wish), 1 << 20).unwrap();
    ferrite_control::send_with_descriptors(&stream, &bytes, &borrowed).unwrap();
    assert_eq!(outcome(machine.answer(stream.try_clone().unwrap())), JobOutcome::Queued);
    // As long as the client is there, the unit is too.
    use std::io::Write;
    let wait = Request::WaitInactive { unit: "piped.service".into() };
    (&stream).write_all(&encode(&wait, 1 << 20).unwrap()).unwrap();
    let Reply::Unit(details) = machine.answer(stream.try_clone().unwrap()) else { panic!("no unit") };
    assert_eq!((details.result.as_str(), details.properties["ExecMainStatus"].as_str()), ("exit-code", "7"));
    output.rewind().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "got hello\n");
}

#[test]
fn a_scope_holds_processes_that_it_did_not_start() {
    let machine = Machine::boot(&[(
        "host.service",
        "[Service]\nExecStart=/bin/sh -c 'sleep 1000 & echo $! > /run/pid; wait'\nKillMode=process\n",
    )]);
    if machine.show("host.service").control_group.is_none() && machine.log().contains("no writable cgroup2") {
        return;
    }
    assert_eq!(machine.job(JobVerb::Start, "host.service"), JobOutcome::Done);
    machine.wait_for("process", |machine| !lines(&machine.output("run/pid")).is_empty());
    let pid: i32 = lines(&machine.output("run/pid"))[0].parse().unwrap();
    let empty = machine.ask(&Request::StartTransient(request(&[("empty.scope", "[Scope]\n", &[])], true))).remove(0);
    assert_eq!(outcome(empty), JobOutcome::Failed);
    let wish = request(&[("some.scope", "[Unit]\nDescription=Some\n[Scope]\nSlice=test.slice\n", &[pid])], true);
    assert_eq!(outcome(machine.ask(&Request::StartTransient(wish)).remove(0)), JobOutcome::Done);
    assert_eq!(machine.state("some.scope"), "active running");
    // Its first home may go without it.
    assert_eq!(machine.job(JobVerb::Stop, "host.service"), JobOutcome::Done);
    assert_eq!(machine.state("some.scope"), "active running");
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state("some.scope"), "active running");
    assert_eq!(machine.job(JobVerb::Stop, "some.scope"), JobOutcome::Done);
    machine.wait_for("end", |machine| machine.show("some.scope").summary.load == "not-found");
    assert_eq!(machine.job(JobVerb::Start, "some.scope"), JobOutcome::Refused);
}

#[test]
fn settings_change_at_run_time_if_they_are_settings_of_resources() {
    let machine = Machine::boot(&[("s.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let set = |settings: &[&str]| {
        let settings = settings.iter().map(|s| (*s).to_owned()).collect();
        machine.ask(&Request::SetProperty { unit: "s.service".into(), runtime: true, settings }).remove(0)
    };
    assert_eq!(set(&["TasksMax=17", "CPUWeight=50"]), Reply::Done);
    let details = machine.show("s.service");
    assert_eq!(details.drop_in_paths.len(), 2, "{:?}", details.drop_in_paths);
    assert_eq!((details.summary.active.as_str(), details.need_daemon_reload), ("active", false));
    let text = fs::read_to_string(machine.output("run/ferrite/system.control/s.service.d/50-TasksMax.conf")).unwrap();
    assert!(text.ends_with("[Service]\nTasksMax=17\n"), "{text}");
    for bad in [&["ExecStart=/bin/false"][..], &["TasksMax=many"], &["TasksMax"], &[], &["CPUWeight=5\nUser=x"]] {
        assert!(matches!(set(bad), Reply::Error { .. }), "{bad:?}");
    }
}
