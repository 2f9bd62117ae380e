//! Random unit files before a running process 1: real ones with bytes, lines and assignments exchanged, and plain
//! noise. It loads, shows, starts and forgets them, and answers on.

use std::fs;
use std::time::{Duration, Instant};

use ferrite_control::{JobMode, JobOutcome, JobVerb, Reply, Request};

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

#[path = "../../../libs/unit/tests/support/unit_texts.rs"]
mod unit_texts;
use unit_texts::{change, data, directives, seeds};

#[allow(dead_code)]
#[path = "../../../tests/src/amount.rs"]
mod amount;

/// Files that are there at once.
const BATCH: usize = 250;
/// How long an answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What it may have grown by when all files are gone again, and between.
const GROWTH_MAX_KIB: u64 = 48 * 1024;

/// Units that end the machine, as they should: these are not started.
fn ends_the_machine(texts: &[Vec<u8>]) -> bool {
    let words = ["Action", "poweroff", "reboot", "halt", "kexec", "exit.target", "isolate"];
    texts.iter().any(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        words.iter().any(|word| text.contains(word))
    })
}

struct Sources {
    seeds: Vec<(String, Vec<u8>)>,
    directives: Vec<(String, String)>,
}

impl Sources {
    /// The name of a unit, the text of its file and that of a drop-in.
    fn case(&self, number: usize) -> (String, [Vec<u8>; 2]) {
        let mut numbers = Numbers((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (name, seed) = numbers.of(&self.seeds).clone();
        let suffix = name.rsplit('.').next().unwrap();
        let mut files = [seed, Vec::new()];
        if number % 10 == 9 {
            // Nothing but noise.
            files = files.map(|_| (0..numbers.below(3000)).map(|_| numbers.next().to_le_bytes()[0]).collect());
        }
        for bytes in &mut files {
            for _ in 0..numbers.below(12) {
                change(bytes, &mut numbers, &self.seeds, &self.directives);
            }
        }
        (format!("c{number}.{suffix}"), files)
    }
}

fn answers(machine: &Machine) -> Duration {
    let began = Instant::now();
    assert_eq!(machine.ask(&Request::GetDefault), [Reply::Text("default.target".into())], "{}", machine.log());
    began.elapsed()
}

/// Writes, shows and starts some files, reloads, stops and forgets them again. The longest answer, and how many were
/// usable and how many were started.
fn batch(machine: &Machine, sources: &Sources, numbers: std::ops::Range<usize>) -> (Duration, usize, usize) {
    let units = machine.output("units");
    let (mut slowest, mut usable, mut started) = (Duration::ZERO, 0, Vec::new());
    let mut names = Vec::new();
    for number in numbers {
        let (name, files) = sources.case(number);
        let kind = name.rsplit('.').next().unwrap();
        fs::create_dir(units.join(format!("{name}.d"))).unwrap();
        fs::write(units.join(format!("{name}.d/x.conf")), &files[1]).unwrap();
        fs::write(units.join(&name), &files[0]).unwrap();
        let began = Instant::now();
        let load = machine.show(&name).summary.load;
        slowest = slowest.max(began.elapsed());
        assert!(["loaded", "bad-setting", "error", "masked"].contains(&load.as_str()), "case {number}: {load}");
        usable += usize::from(load == "loaded");
        let harmless = !matches!(kind, "mount" | "swap" | "automount" | "slice") && !ends_the_machine(&files);
        if load == "loaded" && number % 4 == 0 && harmless {
            started.push(name.clone());
        }
        names.push(name);
    }
    let all = |verb, units: &[String]| Request::Job { verb, units: units.into(), mode: JobMode::Replace, wait: false };
    let Reply::Jobs(_) = machine.ask(&all(JobVerb::Start, &started)).remove(0) else { panic!("{}", machine.log()) };
    slowest = slowest.max(answers(machine));
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    slowest = slowest.max(answers(machine));
    let Reply::Units(listed) = machine.ask(&Request::ListUnits).remove(0) else { panic!("{}", machine.log()) };
    assert!(listed.iter().any(|unit| unit.name == "s.service"));
    let Reply::Jobs(_) = machine.ask(&all(JobVerb::Stop, &started)).remove(0) else { panic!("{}", machine.log()) };
    for name in &names {
        fs::remove_file(units.join(name)).unwrap();
        fs::remove_dir_all(units.join(format!("{name}.d"))).unwrap();
    }
    assert_eq!(machine.ask(&Request::DaemonReload), [Reply::Done]);
    assert_eq!(machine.ask(&Request::ResetFailed { units: Vec::new() }), [Reply::Done]);
    slowest = slowest.max(answers(machine));
    (slowest, usable, started.len())
}

#[test]
fn process_1_answers_on_whatever_unit_files_say() {
    let cases = amount::sample_or_all(1_000, 10_000);
    let mut sources = Sources { seeds: Vec::new(), directives: directives() };
    seeds(&data("corpus"), &mut sources.seeds);
    assert!(sources.seeds.len() > 300 && sources.directives.len() > 1000);
    let sleeper = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n";
    let machine = boot(&[("s.service", sleeper)]);
    assert_eq!(machine.job(JobVerb::Start, "s.service"), JobOutcome::Done, "{}", machine.log());
    let before = machine.show("s.service").main_pid;
    let size = status_kib(&machine, "VmRSS");
    let (mut slowest, mut usable, mut started) = (Duration::ZERO, 0, 0);
    for first in (0..cases).step_by(BATCH) {
        let (slow, good, begun) = batch(&machine, &sources, first..(first + BATCH).min(cases));
        (slowest, usable, started) = (slowest.max(slow), usable + good, started + begun);
        let now = status_kib(&machine, "VmRSS");
        assert!(now < size + GROWTH_MAX_KIB, "{first}: grew from {size} to {now} KiB");
    }
    let (now, most) = (status_kib(&machine, "VmRSS"), status_kib(&machine, "VmHWM"));
    println!("{cases} files, {usable} usable, {started} started; the slowest answer took {slowest:?}");
    println!("{size} to {now} KiB, at most {most} KiB");
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    // Otherwise little was tried.
    assert!(usable > cases / 4 && started > cases / 40, "{usable} usable, {started} started");
    assert_eq!(machine.show("s.service").main_pid, before, "{}", machine.log());
    let log = machine.log();
    assert!(!log.contains("PID 1 crashed") && !log.contains("has a bug"), "{log}");
    // What it was asked to forget is forgotten.
    machine.wait_for("few units", |machine| match machine.ask(&Request::ListUnits).remove(0) {
        Reply::Units(units) => units.iter().filter(|unit| unit.name.starts_with('c')).count() < 50,
        other => panic!("{other:?}"),
    });
}
