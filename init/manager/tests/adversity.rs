//! PID 1 under adversity, in its own namespaces: whatever clients, services and the machine do to it, it answers on.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ferrite_control::{
    InjectedFault, JobMode, JobOutcome, JobVerb, Reply, Request, TransientRequest, TransientUnit, encode,
};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::{Machine, outcome, start};

#[allow(dead_code)]
#[path = "../../../tests/src/amount.rs"]
mod amount;

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

fn answers(machine: &Machine) {
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())], "{}", machine.log());
}

/// The processor time of process 1, in milliseconds.
fn processor_ms(machine: &Machine) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", machine.pid)).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10
}

#[test]
fn five_thousand_orphans_leave_no_zombie() {
    let orphans = amount::sample_or_all(2_000, 5_000);
    let text = format!(
        "[Service]\nType=oneshot\nKillMode=none\nTasksMax=infinity\n\
         ExecStart=/bin/sh -c 'i=0; while [ $i -lt {orphans} ]; do (true &) ; i=$((i+1)); done'\n"
    );
    let machine = Machine::boot(&[("o.service", &text), ("s.service", SLEEPER)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = processor_ms(&machine);
    assert_eq!(machine.job(JobVerb::Start, "o.service"), JobOutcome::Done);
    machine.wait_for("reaping", |machine| {
        let children = format!("/proc/{0}/task/{0}/children", machine.pid);
        // The one that runs on.
        fs::read_to_string(children).unwrap().split_whitespace().count() == 1
    });
    let took = processor_ms(&machine) - before;
    println!("{orphans} orphans, process 1 took {took} ms of processor time");
    // Far above what a program without optimisations takes.
    assert!(took < 5_000, "{took} ms");
    answers(&machine);
    assert_eq!(machine.state("s.service"), "active running");
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
         && mount --bind @/run/ferrite /run/ferrite && for place in transient system.control; do \
         mkdir /run/ferrite/$place && mount -t tmpfs -o size=4k tmpfs /run/ferrite/$place; done",
    );
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
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
    // What would have to be written there is refused with the reason, and nothing half-written is left.
    let transient = TransientUnit {
        name: "run-x.service".into(),
        text: format!("[Unit]\nDescription={}\n[Service]\nExecStart=/bin/true\n", "x".repeat(9_000)),
        pids: Vec::new(),
    };
    let request = TransientRequest { units: vec![transient], mode: JobMode::Fail, wait: true, descriptors: false };
    let refusal = machine.ask(&Request::StartTransient(request));
    assert!(matches!(&refusal[..], [Reply::Error { message, .. }] if message.contains("No space left")), "{refusal:?}");
    let settings = vec![format!("TasksMax={}5", "0".repeat(9_000))];
    let request = Request::SetProperty { unit: "s.service".into(), runtime: true, settings };
    let refusal = machine.ask(&request);
    assert!(matches!(&refusal[..], [Reply::Error { message, .. }] if message.contains("No space left")), "{refusal:?}");
    assert_eq!(machine.show("run-x.service").summary.load, "not-found");
    inside("test -z \"$(find /run/ferrite/transient /run/ferrite/system.control -type f)\"");
    // What happens is logged, and a crash loses nothing either.
    assert!(machine.log().contains("d.service"), "{}", machine.log());
    drop(machine.send(&Request::InjectFault(InjectedFault::Memory)));
    machine.wait_for("recovery", |machine| machine.log().contains("went on with what it had kept ready"));
    assert_eq!(machine.show("s.service").main_pid, before);
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
        // It keeps the others loaded: what is missing later is missing for processes, not for unit files.
        ("s.service", "[Unit]\nAfter=t.service again.service\n[Service]\nExecStart=/bin/sleep 1000\n"),
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

/// Limits how many processes there may be: where the controller of processes is depends on the host.
struct Processes {
    limit: std::path::PathBuf,
    folder: Option<std::path::PathBuf>,
}

impl Processes {
    fn of(machine: &Machine) -> Processes {
        let group = machine.show_manager("ControlGroup");
        let ours = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(|root| format!("{root}{group}/pids.max"));
        if let Some(limit) = ours.iter().find(|path| std::path::Path::new(path).exists()) {
            return Processes { limit: limit.into(), folder: None };
        }
        let folder = std::path::PathBuf::from(format!("/sys/fs/cgroup/pids/ferrite-{}", machine.pid));
        fs::create_dir(&folder).expect("a controller of processes, of control groups 1 or 2");
        fs::write(folder.join("cgroup.procs"), machine.pid.to_string()).unwrap();
        Processes { limit: folder.join("pids.max"), folder: Some(folder) }
    }

    fn set(&self, most: &str) {
        fs::write(&self.limit, most).unwrap();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            // Its processes go back to where they came from.
            for pid in machine::lines(&folder.join("cgroup.procs")) {
                let _ = fs::write("/sys/fs/cgroup/pids/cgroup.procs", pid);
            }
            let _ = fs::remove_dir(folder);
        }
    }
}

#[test]
fn a_machine_that_can_make_no_process_stops_what_runs_and_goes_on_later() {
    let machine = Machine::boot(&[
        ("s.service", SLEEPER),
        ("stop.service", "[Service]\nExecStart=/bin/sleep 1000\nExecStop=/bin/sleep 1000\nTimeoutStopSec=60\n"),
        ("load.service", "[Service]\nExecStart=/bin/sleep 1000\nExecReload=/bin/true\n"),
        ("t.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"),
        (
            "again.service",
            "[Service]\nExecStart=/bin/sleep 1000\nRestart=on-failure\nRestartSec=300ms\n\
          StartLimitIntervalSec=0\n",
        ),
        ("run-m.mount", "[Mount]\nWhat=tmpfs\nType=tmpfs\nWhere=/run/m\n"),
        ("l.socket", "[Socket]\nListenStream=/run/l\n"),
        ("l.service", "[Service]\nType=oneshot\nExecStart=/bin/true\nStandardInput=null\n"),
    ]);
    for unit in ["s.service", "stop.service", "load.service", "l.socket"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    let before = machine.show("s.service").main_pid;
    let processes = Processes::of(&machine);
    processes.set("0");
    for (verb, unit, outcome) in [
        (JobVerb::Start, "t.service", JobOutcome::Failed),
        (JobVerb::Start, "run-m.mount", JobOutcome::Failed),
        (JobVerb::Reload, "load.service", JobOutcome::Failed),
        (JobVerb::Stop, "stop.service", JobOutcome::Done),
    ] {
        assert_eq!(machine.job(verb, unit), outcome, "{verb:?} {unit}\n{}", machine.log());
        answers(&machine);
    }
    assert_eq!(machine.show("t.service").result, "resources");
    assert_eq!(machine.state("load.service"), "active running");
    assert!(machine.log().contains("Resource temporarily unavailable"), "{}", machine.log());
    // A reload needs no process where there are no generators; a new image is tried in one, and not entered without.
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert!(matches!(machine.ask(&Request::DaemonReexec)[..], [Reply::Error { .. }]));
    machine.send(&start("again.service"));
    machine.wait_for("failure", |machine| machine.state("again.service") == "activating auto-restart");
    assert_eq!(machine.show("s.service").main_pid, before);
    processes.set("max");
    machine.wait_for("recovery", |machine| machine.state("again.service") == "active running");
    for unit in ["t.service", "run-m.mount", "stop.service"] {
        assert_eq!(machine.job(JobVerb::Start, unit), JobOutcome::Done);
    }
    assert_eq!(machine.job(JobVerb::Reload, "load.service"), JobOutcome::Done);
    assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done]);
    assert_eq!(machine.show("s.service").main_pid, before);
}

/// A mount whose helper never returns, the rest of the boot, and who wants to look into it.
#[test]
fn a_mount_that_hangs_fails_in_time_and_the_boot_goes_on() {
    let machine = Machine::boot_with(
        &[
            ("default.target", "[Unit]\nWants=run-hung.mount after.service beside.service deaf.service\n"),
            ("run-hung.mount", "[Mount]\nWhat=x\nType=hung\nWhere=/run/hung\nTimeoutSec=2\n"),
            ("after.service", "[Unit]\nRequiresMountsFor=/run/hung/x\n[Service]\nExecStart=/bin/sleep 1000\n"),
            ("beside.service", SLEEPER),
            (
                "deaf.service",
                "[Service]\nTimeoutStopSec=1\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\n",
            ),
            ("run-auto.automount", "[Automount]\n"),
            ("run-auto.mount", "[Mount]\nWhat=x\nType=hung\nWhere=/run/auto\nTimeoutSec=2\n"),
        ],
        &[],
        "mkdir @/sbin && printf '#!/bin/sh\\ntrap \"\" TERM\\nwhile :; do sleep 1; done\\n' > @/sbin/mount.hung \
         && chmod +x @/sbin/mount.hung && mount -t overlay -o lowerdir=@/sbin:/usr/sbin overlay /usr/sbin",
    );
    // Machine::boot waits for the end of the boot.
    assert_eq!(machine.state("beside.service"), "active running");
    assert_eq!(machine.state("default.target"), "active active");
    assert_eq!(machine.state("run-hung.mount"), "failed failed", "{}", machine.log());
    assert_eq!(machine.show("run-hung.mount").result, "timeout");
    assert_eq!(machine.state("after.service"), "inactive dead");
    assert!(machine.log().contains("run-hung.mount"), "{}", machine.log());
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", machine.pid)).unwrap();
    assert_eq!(children.split_whitespace().count(), 2, "the helper is gone: {children}");
    // A service that does not listen is killed when its time is over.
    let before = Instant::now();
    assert_eq!(machine.job(JobVerb::Stop, "deaf.service"), JobOutcome::Done);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(machine.show("deaf.service").result, "timeout");
    if std::path::Path::new("/dev/autofs").exists() {
        assert_eq!(machine.job(JobVerb::Start, "run-auto.automount"), JobOutcome::Done);
        let pid = machine.pid.to_string();
        let words = ["-t", &pid, "-m", "-p", "ls", "/run/auto/"];
        assert!(!std::process::Command::new("nsenter").args(words).status().unwrap().success());
        assert_eq!(machine.state("run-auto.automount"), "active waiting");
        answers(&machine);
    }
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
