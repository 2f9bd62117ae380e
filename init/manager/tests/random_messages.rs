//! Random messages on the control socket of a running process 1: noise, damaged, truncated and huge requests, requests
//! with other values in their fields, clients that stay half open and clients that never read. A good client is
//! answered all the time.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ferrite_control::{
    JobMode, JobOutcome, JobVerb, KillWhom, Reply, Request, TransientRequest, TransientUnit, encode,
    send_with_descriptors,
};
use serde_json::Value;

#[allow(dead_code)]
#[path = "support/machine.rs"]
mod machine;
use machine::Machine;

#[allow(dead_code)]
#[path = "support/harmless.rs"]
mod harmless;
use harmless::{boot, status_kib};

#[allow(dead_code)]
#[path = "../../../libs/unit/tests/support/numbers.rs"]
mod numbers;
use numbers::Numbers;

#[allow(dead_code)]
#[path = "../../../tests/src/amount.rs"]
mod amount;

/// How long the good client may wait for an answer on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What process 1 may have grown by.
const GROWTH_MAX_KIB: u64 = 64 * 1024;
/// Connections that are held open: more than it lets in.
const HELD: usize = 300;
/// The unit that nobody may stop: no change of a byte makes its name of another.
const KEPT: &str = "the-kept-one.service";

fn seeds() -> Vec<Request> {
    let job = |verb, mode| Request::Job { verb, units: vec!["x.service".into(), "y.target".into()], mode, wait: true };
    let transient = TransientUnit {
        name: "run-1.service".into(),
        text: "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n".into(),
        pids: Vec::new(),
    };
    let transient = TransientRequest { units: vec![transient], mode: JobMode::Fail, wait: true, descriptors: false };
    vec![
        Request::ListUnits,
        Request::ListUnitFiles,
        Request::ListJobs,
        Request::Show { unit: KEPT.into() },
        Request::ShowSome { units: vec![KEPT.into(), "x.service".into(), "y@.service".into()] },
        Request::SetFrozen { unit: "x.service".into(), frozen: true },
        Request::Clean { unit: "x.service".into(), what: vec!["runtime".into()] },
        Request::ShowManager,
        Request::Times,
        Request::Gaps,
        job(JobVerb::Start, JobMode::Replace),
        job(JobVerb::ReloadOrRestart, JobMode::IgnoreDependencies),
        Request::KillUnit { unit: "y.service".into(), whom: KillWhom::All, signal: 15 },
        Request::ResetFailed { units: vec!["x.service".into()] },
        Request::DaemonReload,
        Request::IsSystemRunning { wait: true },
        Request::SetEnvironment { set: vec!["A=b".into()], unset: vec!["C".into()] },
        Request::StartTransient(transient),
        Request::SetProperty { unit: "x.service".into(), runtime: true, settings: vec!["TasksMax=5".into()] },
        Request::WaitInactive { unit: "x.service".into() },
        Request::CancelJobs { jobs: vec![7] },
    ]
}

/// Another value for a field.
fn strange(numbers: &mut Numbers) -> Value {
    let long = |text: &str, times: usize| Value::String(text.repeat(times));
    match numbers.below(14) {
        0 => Value::Null,
        1 => Value::Bool(numbers.below(2) == 0),
        2 => Value::from(u64::MAX),
        3 => Value::from(i64::MIN),
        4 => Value::from(1e300),
        5 => long("x", 200_000),
        6 => long("a-", 120),
        7 => Value::from("../../etc/x.service"),
        8 => Value::from("@.service"),
        9 => Value::from("a\0b\n\u{202e}.service"),
        10 => Value::from("%n%i.mount"),
        11 => Value::Array((0..numbers.below(6000)).map(|number| Value::from(format!("u{number}.service"))).collect()),
        12 => (0..100).fold(Value::Null, |inner, _| Value::Array(vec![inner])),
        _ => Value::from("/bin/true;\" \\ ${A} "),
    }
}

/// Puts another value somewhere into a request.
fn mutate(value: &mut Value, numbers: &mut Numbers) {
    let deeper = numbers.below(4) > 0;
    match value {
        Value::Object(fields) if deeper && !fields.is_empty() => {
            let place = numbers.below(fields.len());
            fields.values_mut().nth(place).into_iter().for_each(|field| mutate(field, numbers));
        }
        Value::Array(list) if deeper && !list.is_empty() => {
            let place = numbers.below(list.len());
            mutate(&mut list[place], numbers);
        }
        other => *other = strange(numbers),
    }
}

fn noise(numbers: &mut Numbers, length: usize) -> Vec<u8> {
    (0..numbers.below(length)).map(|_| numbers.next().to_le_bytes()[0]).collect()
}

/// Damages a message in one of several ways.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let place = numbers.below(bytes.len());
        match numbers.below(6) {
            0 => bytes[place] = numbers.next().to_le_bytes()[0],
            1 => bytes.truncate(place.max(1)),
            2 => bytes.insert(place, numbers.next().to_le_bytes()[0]),
            3 => bytes.extend_from_within(..place),
            4 => bytes[place] ^= 1 << numbers.below(8),
            _ => bytes.splice(place..place, *b"99999999999999999999").for_each(drop),
        }
    }
}

/// The bytes that a bad client sends.
fn message(numbers: &mut Numbers, seeds: &[Request]) -> Vec<u8> {
    let mut valid = encode(numbers.of(seeds), 1 << 20).unwrap();
    match numbers.below(9) {
        0 => noise(numbers, 4096),
        1 => [noise(numbers, 400), b"\n".to_vec()].concat(),
        2 | 3 => {
            damage(&mut valid, numbers);
            valid
        }
        4 => {
            valid.truncate(numbers.below(valid.len()));
            valid
        }
        5 => match numbers.below(3) {
            0 => vec![b'x'; 300 * 1024],
            1 => [vec![b'['; 100_000], b"\n".to_vec()].concat(),
            _ => [format!("{{\"kill\":{}", "9".repeat(250_000)).into_bytes(), b"}\n".to_vec()].concat(),
        },
        6 | 7 => {
            let mut value = serde_json::to_value(numbers.of(seeds)).unwrap();
            mutate(&mut value, numbers);
            [serde_json::to_vec(&value).unwrap(), b"\n".to_vec()].concat()
        }
        _ => valid.repeat(1 + numbers.below(20)),
    }
}

/// A bad client says something, and what becomes of its connection.
fn disturb(machine: &Machine, numbers: &mut Numbers, seeds: &[Request], held: &mut VecDeque<UnixStream>) {
    let bytes = message(numbers, seeds);
    let mut stream = UnixStream::connect(machine.output("run/ferrite/init.sock")).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    // It may close the connection before all is written or read.
    let _ = match numbers.below(10) {
        0 => {
            let files = [stream.as_fd(), stream.as_fd(), stream.as_fd()];
            send_with_descriptors(&stream, &bytes, &files)
        }
        _ => stream.write_all(&bytes),
    };
    match numbers.below(8) {
        0 => drop(stream),
        1 => drop(stream.read(&mut [0; 64])),
        2 => {
            let _ = stream.shutdown(Shutdown::Write);
            held.push_back(stream);
        }
        3 => {
            let _ = stream.shutdown(Shutdown::Read);
            held.push_back(stream);
        }
        _ => held.push_back(stream),
    }
    if held.len() > HELD {
        held.pop_front();
    }
}

/// The slowest answer that the good client got, and how many it got.
fn ask_all_the_time(machine: &Machine, done: &AtomicBool) -> (Duration, usize) {
    let (mut slowest, mut count) = (Duration::ZERO, 0);
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())], "{}", machine.log());
        assert_eq!(machine.state(KEPT), "active running");
        slowest = slowest.max(began.elapsed());
        count += 1;
    }
    (slowest, count)
}

#[test]
fn a_good_client_is_answered_whatever_others_send() {
    let rounds = amount::sample_or_all(2_000, 10_000);
    let sleeper = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n";
    let machine = boot(&[(KEPT, sleeper)]);
    assert_eq!(machine.job(JobVerb::Start, KEPT), JobOutcome::Done, "{}", machine.log());
    let before = machine.show(KEPT).main_pid;
    let size = status_kib(&machine, "VmRSS");
    let open = || std::fs::read_dir(format!("/proc/{}/fd", machine.pid)).unwrap().count();
    let files = open();
    let done = AtomicBool::new(false);
    let (slowest, count) = std::thread::scope(|scope| {
        let good = scope.spawn(|| ask_all_the_time(&machine, &done));
        let (mut numbers, seeds, mut held) = (Numbers(0x5eed_0004), seeds(), VecDeque::new());
        for round in 0..rounds {
            disturb(&machine, &mut numbers, &seeds, &mut held);
            if round % 1_000 == 999 {
                // What was said so far must outlive the image.
                assert_eq!(machine.ask(&Request::DaemonReexec), [Reply::Done], "{}", machine.log());
            }
        }
        done.store(true, Ordering::Relaxed);
        good.join().unwrap()
    });
    let (now, most) = (status_kib(&machine, "VmRSS"), status_kib(&machine, "VmHWM"));
    println!(
        "{rounds} messages; {count} good answers, the slowest {slowest:?}; {size} to {now} KiB, at most {most} KiB"
    );
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    assert!(now < size + GROWTH_MAX_KIB, "grew from {size} to {now} KiB");
    assert_eq!(machine.show(KEPT).main_pid, before, "{}", machine.log());
    // Who sent it its own end of the connection stays connected until others want the place.
    let newer: Vec<_> = (0..HELD).map(|_| UnixStream::connect(machine.output("run/ferrite/init.sock"))).collect();
    machine.wait_for("closed files", |machine| machine.ask(&Request::GetDefault).len() == 1 && open() <= files + HELD);
    drop(newer);
    machine.wait_for("closed files", |_| open() <= files + 2);
    let log = machine.log();
    assert!(!log.contains("PID 1 crashed") && !log.contains("has a bug"), "{log}");
}
