//! PID 1 under adversity, in its own namespaces: whatever clients, services and the machine do to it, it answers on.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;

use ferrite_control::{JobOutcome, JobVerb, Reply, Request, encode};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, outcome, start};

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

fn answers(machine: &Machine) {
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())], "{}", machine.log());
}

#[test]
fn five_thousand_orphans_leave_no_zombie() {
    let machine = Machine::boot(&[(
        "o.service",
        "[Service]\nType=oneshot\nKillMode=none\nTasksMax=infinity\n\
         ExecStart=/bin/sh -c 'i=0; while [ $i -lt 5000 ]; do (true &) ; i=$((i+1)); done'\n",
    )]);
    assert_eq!(machine.job(JobVerb::Start, "o.service"), JobOutcome::Done);
    machine.wait_for("reaping", |machine| {
        let children = format!("/proc/{0}/task/{0}/children", machine.pid);
        fs::read_to_string(children).unwrap().trim().is_empty()
    });
    answers(&machine);
}

#[test]
fn a_full_run_stops_neither_services_nor_clients() {
    let machine = Machine::boot_with(
        &[
            ("s.service", SLEEPER),
            ("d.service", "[Service]\nRuntimeDirectory=d\nExecStart=/bin/sleep 1000\n"),
            ("t.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ],
        &[],
        // The control socket lies where the test can reach it as well.
        "mount -t tmpfs -o size=64k,nr_inodes=64 tmpfs /run && mkdir -p /run/ferrite @/run/ferrite \
         && mount --bind @/run/ferrite /run/ferrite",
    );
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let fill = "i=0; while [ $i -lt 100 ]; do head -c 4096 /dev/zero > /run/fill$i; i=$((i+1)); done 2>/dev/null; true";
    let pid = machine.pid.to_string();
    let inside = |command: &str| {
        let words = ["--mount", "--target", &pid, "sh", "-c", command];
        assert!(std::process::Command::new("nsenter").args(words).status().unwrap().success());
    };
    inside(fill);
    answers(&machine);
    // What needs room in it fails with the code for that; everything else goes on.
    assert_eq!(machine.job(JobVerb::Start, "t.service"), JobOutcome::Done);
    machine.job(JobVerb::Start, "d.service");
    machine.wait_for("failure", |machine| machine.state("d.service").starts_with("failed"));
    assert_eq!(machine.show("d.service").properties["ExecMainStatus"], "233");
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.state("s.service"), "active running");
    inside("rm /run/fill*");
    assert_eq!(machine.job(JobVerb::Start, "d.service"), JobOutcome::Done);
}

#[test]
fn a_flood_of_words_holds_nobody_up() {
    let machine = Machine::boot(&[
        ("f.service", "[Service]\nExecStart=/bin/sh -c 'yes flood'\nStandardOutput=null\n"),
        (
            "p.service",
            "[Service]\nNotifyAccess=all\nExecStart=/usr/bin/python3 -c \"import os,socket\\n\
             s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])\\n\
             while True: s.send(b'STATUS=' + b'x'*1000)\"\n",
        ),
        ("t.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
    ]);
    for unit in ["f.service", "p.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    machine.wait_for("messages", |machine| machine.show("p.service").status_text.len() > 100);
    for _ in 0..20 {
        assert_eq!(machine.job(JobVerb::Start, "t.service"), JobOutcome::Done);
    }
    for unit in ["f.service", "p.service"] {
        assert_eq!(machine.job(JobVerb::Stop, unit), JobOutcome::Done);
    }
}

#[test]
fn a_process_that_cannot_be_made_fails_its_unit_only() {
    let machine = Machine::boot(&[
        ("s.service", SLEEPER),
        ("t.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        ("again.service", "[Service]\nExecStart=/bin/sleep 1000\nRestart=on-failure\nRestartSec=300ms\n"),
    ]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    // The limit of processes does not count for root, so that of open files stands in: each start needs some.
    let limit = |what: &str, value: &str| {
        let words = [format!("--pid={}", machine.pid), format!("--{what}={value}")];
        assert!(std::process::Command::new("prlimit").args(words).status().unwrap().success());
    };
    let open = fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap().count();
    // One file for the client; a start needs a pipe and more.
    let soft = fs::read_to_string(format!("/proc/{}/limits", machine.pid)).unwrap();
    let soft = soft.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft = soft.split_whitespace().next().unwrap().to_owned();
    limit("nofile", &format!("{}:", open + 1));
    assert_eq!(machine.job(JobVerb::Start, "t.service"), JobOutcome::Failed, "{}", machine.log());
    assert_eq!(machine.show("t.service").result, "resources");
    answers(&machine);
    machine.job(JobVerb::Start, "again.service");
    limit("nofile", &format!("{soft}:"));
    machine.wait_for("recovery", |machine| machine.state("again.service") == "active running");
    assert_eq!(machine.job(JobVerb::Start, "t.service"), JobOutcome::Done);
    assert_eq!(machine.state("s.service"), "active running");
}

#[test]
fn silent_clients_do_not_keep_others_out_and_those_that_wait_stay() {
    let gated = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'while [ ! -e /run/gate ]; do sleep 0.05; done'\n";
    let machine = Machine::boot(&[("s.service", SLEEPER), ("slow.service", gated)]);
    let waiting = machine.send(&start("slow.service"));
    machine.wait_for("start", |machine| machine.state("slow.service") == "activating start");
    let mut silent = Vec::new();
    for number in 0..300 {
        let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
        if number % 2 == 0 {
            // It was sent away already when there are many.
            let _ = stream.write_all(&encode(&Request::ListUnits, 1 << 20).unwrap());
        }
        silent.push(stream);
    }
    answers(&machine);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    fs::write(machine.output("run/gate"), "").unwrap();
    assert_eq!(outcome(machine.answer(waiting)), JobOutcome::Done);
    drop(silent);
    answers(&machine);
}
