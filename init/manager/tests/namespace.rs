//! PID 1 in its own namespaces with a small set of units: starts, supervises, restarts, stops, reaps.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, PATIENCE, lines};

#[test]
fn units_start_in_order_and_stop_in_reverse() {
    let service = |name: &str, order: &str| {
        format!(
            "[Unit]\n{order}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
             ExecStart=/bin/sh -c 'echo start-{name} >> ${{RUN}}/order'\n\
             ExecStop=/bin/sh -c 'echo stop-{name} >> ${{RUN}}/order'\n\
             Environment=RUN=/run\n"
        )
    };
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nWants=a.service b.service c.service\n"),
        ("a.service", &service("a", "After=b.service")),
        ("b.service", &service("b", "After=c.service")),
        ("c.service", &service("c", "")),
    ]);
    let order = machine.output("run/order");
    assert_eq!(lines(&order), ["start-c", "start-b", "start-a"]);
    let copy = fs::File::open(&order).unwrap();
    machine.power_off();
    let ends: Vec<String> = {
        use std::io::{Read, Seek};
        let mut copy = copy;
        copy.rewind().unwrap();
        let mut text = String::new();
        copy.read_to_string(&mut text).unwrap();
        text.lines().skip(3).map(str::to_owned).collect()
    };
    assert_eq!(ends, ["stop-a", "stop-b", "stop-c"]);
}

#[test]
fn a_service_that_dies_is_restarted_until_the_limit() {
    let machine = Machine::boot(&[(
        "x.service",
        "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=60\n[Service]\nExecStart=/bin/sh -c 'exit 3'\n\
         Restart=on-failure\nRestartSec=0\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "x.service"), JobOutcome::Done);
    machine.wait_for("failure", |machine| machine.state("x.service") == "failed failed");
    let details = machine.show("x.service");
    assert_eq!((details.restarts, details.result.as_str()), (3, "exit-code"));
    assert_eq!(details.properties["ExecMainStatus"], "3");
}

#[test]
fn a_notifying_service_is_up_when_it_says_so() {
    let machine = Machine::boot(&[
        (
            "n.service",
            "[Service]\nType=notify\nNotifyAccess=all\nExecStart=/usr/bin/python3 -c \"import os,socket,time; \
             s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
             s.sendto(b'READY=1\\\\nSTATUS=all well', os.environ['NOTIFY_SOCKET']); time.sleep(1000)\"\n",
        ),
        ("silent.service", "[Service]\nType=notify\nExecStart=/bin/true\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "n.service"), JobOutcome::Done);
    let details = machine.show("n.service");
    assert_eq!((details.summary.sub.as_str(), details.status_text.as_str()), ("running", "all well"));
    assert_eq!(machine.job(JobVerb::Start, "silent.service"), JobOutcome::Failed);
    assert_eq!(machine.show("silent.service").result, "protocol");
}

#[test]
fn a_program_that_does_not_exist_is_status_203_and_a_user_that_does_not_is_217() {
    let machine = Machine::boot(&[
        ("exec.service", "[Service]\nType=exec\nExecStart=/nonexistent\n"),
        ("user.service", "[Service]\nType=exec\nUser=nobody-here\nExecStart=/bin/true\n"),
    ]);
    for (unit, status) in [("exec.service", "203"), ("user.service", "217")] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Failed);
        assert_eq!(machine.show(unit).properties["ExecMainStatus"], status);
    }
    machine.wait_for("reason in the log", |machine| machine.log().contains("executing /nonexistent: No such file"));
}

#[test]
fn a_unit_written_later_is_found_and_reload_reads_changes() {
    let machine = Machine::boot(&[]);
    assert_eq!(machine.show("late.service").summary.load, "not-found");
    machine.write_unit("late.service", "[Service]\nExecStart=/bin/sleep 1000\n");
    assert_eq!(machine.job(JobVerb::Start, "late.service"), JobOutcome::Done);
    let before = machine.show("late.service").main_pid;
    machine.write_unit("late.service", "[Unit]\nDescription=Changed\n[Service]\nExecStart=/bin/sleep 1000\n");
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    let after = machine.show("late.service");
    assert_eq!((after.summary.description.as_str(), after.main_pid), ("Changed", before));
    assert_eq!(after.summary.active, "active");
}

#[test]
fn no_zombie_is_left_of_orphans() {
    let machine = Machine::boot(&[(
        "o.service",
        "[Service]\nType=oneshot\nKillMode=none\nExecStart=/bin/sh -c 'for i in $(seq 300); do (true &) ; done'\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "o.service"), JobOutcome::Done);
    machine.wait_for("reaping", |machine| {
        let children = format!("/proc/{0}/task/{0}/children", machine.pid);
        fs::read_to_string(children).unwrap().trim().is_empty()
    });
}

#[test]
fn a_process_that_ignores_the_stop_is_killed_with_all_its_children() {
    let machine = Machine::boot(&[(
        "deaf.service",
        "[Service]\nTimeoutStopSec=200ms\nExecStart=/bin/sh -c 'trap \"\" TERM; touch /run/deaf; \
         sleep 1000 & sleep 1000 & wait; wait; sleep 1000'\nExecStopPost=/usr/bin/touch /run/post\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "deaf.service"), JobOutcome::Done);
    machine.wait_for("trap", |machine| machine.output("run/deaf").exists());
    assert_eq!(machine.job(JobVerb::Stop, "deaf.service"), JobOutcome::Done);
    assert_eq!(machine.show("deaf.service").result, "timeout");
    // What runs after a kill of the whole group must not be killed with it.
    assert!(machine.output("run/post").exists());
    let children = format!("/proc/{0}/task/{0}/children", machine.pid);
    machine.wait_for("end of all", |_| fs::read_to_string(&children).unwrap().trim().is_empty());
}

#[test]
fn a_missing_default_target_ends_in_a_bounded_emergency() {
    let machine = Machine::boot(&[("default.target", "[Unit]\nRequires=nowhere.service\n")]);
    machine.wait_for("emergency", |machine| machine.log().contains("Emergency mode"));
    let log = machine.log();
    assert!(log.contains("unit nowhere.service not found"), "{log}");
    let mut machine = machine;
    let deadline = Instant::now() + PATIENCE;
    while machine.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "does not end\n{}", machine.log());
        std::thread::yield_now();
    }
}

#[test]
fn garbage_on_the_control_socket_harms_nobody() {
    use std::io::Write;
    let machine = Machine::boot(&[]);
    for bytes in [&b"\n\n{}\n"[..], b"\xff\xfe\n", b"{\"show\":{\"unit\":\"../x\"}}\n", &[b'x'; 300_000]] {
        let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
        // PID 1 may have closed the connection before all was written.
        let _ = stream.write_all(bytes);
    }
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())]);
}

#[test]
fn a_pipe_in_the_place_of_a_file_does_not_hold_process_1_up() {
    let machine = Machine::boot(&[(
        "f.service",
        "[Service]\nType=forking\nPIDFile=/run/f.pid\nTimeoutStartSec=1\n\
         ExecStart=/bin/sh -c 'mkfifo /run/f.pid; sleep 1000 & exit 0'\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "f.service"), JobOutcome::Failed);
    assert_eq!(machine.show("f.service").result, "timeout");
    nix::unistd::mkfifo(&machine.output("units/pipe.service"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    assert_eq!(machine.show("pipe.service").summary.load, "error");
}

#[test]
fn a_client_that_goes_on_after_its_fault_takes_no_memory() {
    use std::io::Write;
    let machine = Machine::boot(&[]);
    let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
    // Answers that are never read, then a line without an end.
    let asked = stream.write_all(&b"\"show_manager\"\n".repeat(7)).and_then(|()| stream.write_all(&[b'x'; 64 << 20]));
    assert!(asked.is_err(), "process 1 takes all of it");
    let status = fs::read_to_string(format!("/proc/{}/status", machine.pid)).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 32 << 10, "{kib} KiB");
}

#[test]
fn a_huge_unit_file_is_loaded_in_a_bounded_time() {
    let machine = Machine::boot(&[
        (
            "path.service",
            &format!("[Unit]\nRequiresMountsFor=/{}\n[Service]\nExecStart=/bin/true\n", "a/".repeat(500_000)),
        ),
        ("lines.service", &format!("[Service]\nExecStart=/bin/true\n{}", "x\n".repeat(400_000))),
    ]);
    for unit in ["path.service", "lines.service"] {
        assert_eq!(machine.show(unit).summary.load, "loaded");
    }
    assert!(machine.log().matches("has no '='").count() < 100);
}

#[test]
fn more_services_start_at_once_than_a_program_may_usually_open_files() {
    let names: Vec<String> = (0..1100).map(|number| format!("m{number}.service")).collect();
    let all = format!("[Unit]\nWants={}\n", names.join(" "));
    let text = "[Service]\nExecStart=/bin/sh -c 'ulimit -Sn > /run/limit; exec sleep 1000'\n";
    let mut units: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), text)).collect();
    units.push(("all.target", &all));
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let machine = Machine::boot(&units);
    assert_eq!(machine.job(JobVerb::Start, "all.target"), JobOutcome::Done);
    let Reply::Units(units) = machine.ask(&Request::ListUnits).remove(0) else { panic!("no units") };
    let failed: Vec<_> = units.iter().filter(|unit| unit.active == "failed").map(|unit| &unit.name).collect();
    assert!(failed.is_empty(), "{} failed", failed.len());
    machine.wait_for("limit", |machine| !lines(&machine.output("run/limit")).is_empty());
    assert_eq!(lines(&machine.output("run/limit")), [hard.min(1024).to_string()]);
}

#[test]
fn what_process_1_makes_is_not_for_everybody_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::boot(&[("s.service", "[Service]\nExecStart=/bin/sleep 1000\n")]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let group = machine.groups().map(|groups| groups.join("system.slice/s.service"));
    for folder in group.into_iter().chain([machine.output("run/ferrite")]) {
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0, "{} has mode {mode:o}", folder.display());
    }
}

#[test]
fn a_service_without_conflict_with_the_shutdown_is_not_stopped_by_its_slice() {
    let machine = Machine::boot(&[
        ("last.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 1000\n"),
        ("first.service", "[Service]\nExecStart=/bin/sleep 1000\n[Unit]\nAfter=last.service\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "last.service"), JobOutcome::Done);
    assert_eq!(machine.job(JobVerb::Start, "first.service"), JobOutcome::Done);
    let log = machine.power_off();
    assert!(log.contains("Stopped first.service") && !log.contains("Stopped last.service"), "{log}");
}

#[test]
fn a_slot_under_test_that_cannot_complete_its_boot_does_not_wait_for_the_deadline() {
    let machine = Machine::boot(&[
        ("default.target", "[Unit]\nWants=boot-complete.target\n"),
        ("boot-complete.target", "[Unit]\nRequires=bad.service\nAfter=bad.service\n"),
        ("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n"),
        ("run/ferrite/boot", "slot-good=no\n"),
    ]);
    machine.wait_for("reason", |machine| {
        machine.log().contains("boot cannot be completed, bad.service is not up: restarting in 30 s")
    });
}
