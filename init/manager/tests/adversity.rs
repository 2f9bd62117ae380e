//! PID 1 under adversity, in its own namespaces: whatever clients, services and the machine do to it, it answers on.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ferrite_control::{JobMode, JobOutcome, JobVerb, KillWhom, Reply, Request, encode};

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

#[allow(dead_code)]
#[path = "../../../libs/unit/tests/support/numbers.rs"]
mod numbers;
use numbers::Numbers;

const SLEEPER: &str = "[Service]\nExecStart=/bin/sleep 1000\n";

/// Damages a message in one of several ways.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(bytes.len());
        match numbers.below(6) {
            0 => bytes[place] = u8::try_from(numbers.next() % 256).unwrap(),
            1 => bytes.truncate(place.max(1)),
            2 => bytes.insert(place, u8::try_from(numbers.next() % 256).unwrap()),
            3 => bytes.extend_from_within(..place),
            4 => bytes[place] ^= 1 << numbers.below(8),
            _ => bytes.splice(place..place, *b"99999999999999999999").for_each(drop),
        }
    }
}

fn answers(machine: &Machine) {
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())], "{}", machine.log());
}

#[test]
fn ten_thousand_damaged_messages_harm_nobody() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
    let job = |verb, mode| Request::Job { verb, units: vec!["x.service".into(), "y.target".into()], mode, wait: true };
    let seeds = [
        Request::ListUnits,
        Request::Show { unit: "s.service".into() },
        Request::ShowManager,
        job(JobVerb::Start, JobMode::Replace),
        job(JobVerb::ReloadOrRestart, JobMode::IgnoreDependencies),
        Request::KillUnit { unit: "y.service".into(), whom: KillWhom::All, signal: 15 },
        Request::ResetFailed { units: vec!["x.service".into()] },
        Request::DaemonReload,
        Request::IsSystemRunning { wait: true },
        Request::Kill(1),
    ];
    let mut numbers = Numbers(0x5eed_0001);
    for round in 0..10_000 {
        let mut bytes = encode(&seeds[numbers.below(seeds.len())], 1 << 20).unwrap();
        damage(&mut bytes, &mut numbers);
        let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
        // It may close the connection before all is written or read.
        let _ = stream.write_all(&bytes);
        if round % 100 == 0 {
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _ = stream.read(&mut [0; 4096]);
            answers(&machine);
        }
    }
    answers(&machine);
    assert_eq!(machine.show("s.service").main_pid, before, "{}", machine.log());
    assert!(!machine.log().contains("PID 1 crashed") && !machine.log().contains("has a bug"), "{}", machine.log());
}

#[test]
fn random_unit_files_make_their_own_units_fail_at_most() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    let before = machine.show("s.service").main_pid;
    let seed = b"[Unit]\nDescription=%n x\nAfter=a.target b@%i.service\nWants=c.target\nConditionPathExists=|!/x\n\
        [Service]\nType=notify\nExecStart=-/bin/sh -c 'x $A ${B} \"%%\"'\nExecStop=/bin/true ; /bin/false\n\
        Environment=\"A=b c\" D=\nRestart=on-failure\nTimeoutSec=1min 5s\nLimitNOFILE=1:2\nUMask=0022\n\
        [Install]\nWantedBy=multi-user.target\nAlias=z.service\n";
    let mut numbers = Numbers(0x5eed_0002);
    let suffixes = ["service", "socket", "timer", "path", "mount", "target", "slice", "swap"];
    for number in 0..1_000 {
        let mut text = seed.to_vec();
        for _ in 0..=numbers.below(8) {
            damage(&mut text, &mut numbers);
        }
        let name = format!("r{number}.{}", suffixes[numbers.below(suffixes.len())]);
        fs::write(machine.output("units").join(&name), &text).unwrap();
        let load = machine.show(&name).summary.load;
        assert!(["loaded", "bad-setting", "error", "masked"].contains(&load.as_str()), "{name}: {load}");
    }
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.show("s.service").main_pid, before);
    assert!(!machine.log().contains("PID 1 crashed") && !machine.log().contains("has a bug"), "{}", machine.log());
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
fn clients_that_never_read_do_not_keep_others_out() {
    let machine = Machine::boot(&[("s.service", SLEEPER)]);
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
        let _ = stream.write_all(&encode(&Request::ListUnits, 1 << 20).unwrap());
        silent.push(stream);
    }
    answers(&machine);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done);
    drop(silent);
    answers(&machine);
}
