//! The lives of services as systemd 257 was seen to lead them: every recorded case is led again under PID 1.
//!
//! Needs root, `unshare`, `nsenter` and a C compiler, and the recorded data in `../shared/data/units`.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/units/golden");
const PATIENCE: Duration = Duration::from_secs(40);
/// Cases that are led at once.
const THREADS: usize = 12;
/// Recorded on a machine of this name.
const HOST_NAME: &str = "fx";
const PROPERTIES: [&str; 9] = [
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainCode",
    "ExecMainStatus",
    "NRestarts",
    "ConditionResult",
    "AssertResult",
];

/// PID 1 of its own namespaces, with the recorded units and `/fx`.
struct Machine {
    child: Child,
    pid: String,
    directory: tempfile::TempDir,
}

impl Machine {
    fn boot() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        for folder in ["run", "units", "fx/out"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        compile(&place.join("fx/beh"));
        copy(Path::new(&format!("{DATA}/lifecycle/units")), &place.join("units"));
        for name in ["sysinit", "basic", "shutdown", "default"] {
            fs::write(place.join(format!("units/{name}.target")), "[Unit]\nDefaultDependencies=no\n").unwrap();
        }
        // Only a place to mount at; what lies there is seen in the namespace alone.
        fs::create_dir_all("/fx").unwrap();
        let script = format!(
            "mount --bind {0}/run /run && mount --bind {0}/fx /fx && echo {HOST_NAME} > /proc/sys/kernel/hostname && \
             exec {1}",
            place.display(),
            env!("CARGO_BIN_EXE_ferrite-init"),
        );
        let log = fs::File::create(place.join("log")).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--mount", "--uts", "--fork", "--mount-proc", "--kill-child=KILL", "sh", "-c", &script])
            .env("SYSTEMD_UNIT_PATH", place.join("units"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unshare runs as root");
        let mut machine = Machine { child, pid: String::new(), directory };
        let socket = machine.directory.path().join("run/ferrite/init.sock");
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "no control socket\n{}", machine.log());
            pause();
        }
        let children = format!("/proc/{0}/task/{0}/children", machine.child.id());
        fs::read_to_string(children).unwrap().trim().clone_into(&mut machine.pid);
        machine
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Runs our systemctl beside this PID 1.
    fn systemctl(&self, arguments: &[&str]) -> (i64, String) {
        let output = Command::new("nsenter")
            .args(["--mount", "--pid", "--target", &self.pid, env!("CARGO_BIN_EXE_systemctl")])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .expect("nsenter runs as root");
        (output.status.code().map_or(-1, i64::from), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn show(&self, unit: &str) -> BTreeMap<String, String> {
        let mut arguments = vec!["show", unit];
        arguments.extend(PROPERTIES.iter().flat_map(|name| ["-p", name]));
        let (_, text) = self.systemctl(&arguments);
        text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// Waits until the unit is as it should be; if it never is, tells how it is.
    fn settle(&self, unit: &str, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let deadline = Instant::now() + Duration::from_secs(14);
        loop {
            let have = self.show(unit);
            if have == *wanted || Instant::now() > deadline {
                return have;
            }
            pause();
        }
    }

    /// The lines that the processes of a unit wrote. Of two that run at once either may be first.
    fn trace(&self, name: &str) -> Vec<String> {
        let text = fs::read(self.directory.path().join("fx/out").join(format!("trace.{name}"))).unwrap_or_default();
        let mut lines: Vec<String> = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Between two looks at a state that is waited for; there is no event to wait for from outside.
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}

/// The program that the units run, from its source beside the recorded data.
fn compile(to: &Path) {
    let source = format!("{DATA}/lifecycle/beh.c");
    assert!(Path::new(&source).exists(), "the recorded data is not at {DATA}");
    let status = Command::new("gcc").args(["-static", "-O1", "-w", "-o"]).arg(to).arg(&source).status();
    assert!(status.expect("gcc is installed").success(), "compiling {source}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

fn state(value: &Value) -> BTreeMap<String, String> {
    let object = value.as_object().expect("a recorded state");
    object.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

/// How two states differ.
fn difference(wanted: &BTreeMap<String, String>, have: &BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<String> = wanted
        .iter()
        .filter(|(name, value)| have.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}={} not {value}", have.get(name).map_or("", String::as_str)))
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Leads one case; the answer is how it differs from what was recorded.
fn lead(machine: &Machine, case: &Value) -> Vec<String> {
    let unit = case["unit"].as_str().unwrap();
    let mut faults = Vec::new();
    for (verb, code, after) in [
        ("start", "start_rc", "after_start"),
        ("reload", "reload_rc", "after_reload"),
        ("stop", "stop_rc", "after_stop"),
    ] {
        let Some(wanted_code) = case.get(code).and_then(Value::as_i64) else { continue };
        let (have_code, _) = machine.systemctl(&[verb, unit]);
        if have_code != wanted_code {
            faults.push(format!("{verb} ends with {have_code} not {wanted_code}"));
        }
        let wanted = state(&case[after]);
        faults.extend(difference(&wanted, &machine.settle(unit, &wanted)).map(|text| format!("after {verb}: {text}")));
    }
    faults
}

/// What holds at the very end: nothing moved on after it was as recorded.
fn check_end(machine: &Machine, case: &Value) -> Vec<String> {
    let unit = case["unit"].as_str().unwrap();
    let stem = unit.trim_end_matches(".service");
    let mut faults = Vec::new();
    if case["act"] == "start" && !stem.starts_with("argv") {
        let wanted = state(&case["after_start"]);
        faults.extend(difference(&wanted, &machine.show(unit)).map(|text| format!("at the end: {text}")));
    }
    let name = stem.split_once('@').map_or(stem, |(name, _)| name);
    let mut wanted: Vec<&str> = case["trace"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    wanted.sort_unstable();
    let have = machine.trace(name);
    if have != wanted {
        faults.push(format!("trace\n    {}\n  not\n    {}", have.join("\n    "), wanted.join("\n    ")));
    }
    faults
}

/// Does something for every case, on several threads; the answers by unit.
fn each(cases: &[Value], threads: usize, work: impl Fn(&Value) -> Vec<String> + Sync) -> BTreeMap<String, Vec<String>> {
    let queue: Mutex<VecDeque<&Value>> = Mutex::new(cases.iter().collect());
    let answers = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().pop_front() else { return };
                    let answer = work(case);
                    answers.lock().unwrap().insert(case["unit"].as_str().unwrap().to_owned(), answer);
                }
            });
        }
    });
    answers.into_inner().unwrap()
}

fn report(faults: BTreeMap<String, Vec<String>>, log: &str, at_most: usize) {
    let bad: Vec<String> = faults
        .into_iter()
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(unit, faults)| format!("{unit}: {}", faults.join("\n  ")))
        .collect();
    assert!(bad.len() <= at_most, "{} cases differ:\n{}\n\n{log}", bad.len(), bad.join("\n"));
}

/// Leads cases on a fresh machine, so many at once: what differs, and what PID 1 wrote.
fn lead_all(cases: &[Value], threads: usize) -> (BTreeMap<String, Vec<String>>, String) {
    let machine = Machine::boot();
    let mut faults = each(cases, threads, |case| lead(&machine, case));
    for (unit, more) in each(cases, threads, |case| check_end(&machine, case)) {
        faults.entry(unit).or_default().extend(more);
    }
    (faults, machine.log())
}

#[test]
fn services_live_as_they_were_seen_to_live() {
    let text = fs::read_to_string(format!("{DATA}/lifecycle/expected.jsonl")).expect("recorded cases");
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut faults, mut log) = lead_all(&cases, THREADS);
    // The recorded daemons end by the clock: on a machine that is busy enough they end before anybody could look. What
    // differs is led again alone, and has to be as recorded then.
    for _ in 0..2 {
        let differs = |case: &&Value| faults.get(case["unit"].as_str().unwrap()).is_some_and(|list| !list.is_empty());
        let again: Vec<Value> = cases.iter().filter(differs).cloned().collect();
        if again.is_empty() || again.len() > cases.len() / 10 {
            break;
        }
        let (once_more, its_log) = lead_all(&again, 1);
        faults.extend(once_more);
        log = its_log;
    }
    report(faults, &log, 0);
}

#[test]
fn exec_lines_become_the_words_that_were_recorded() {
    let text = fs::read_to_string(format!("{DATA}/exec_argv.tsv")).expect("recorded exec lines");
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or("").to_owned();
        let (unit, exec, load, argv) = (next(), next(), next(), next());
        cases.push(serde_json::json!({ "unit": unit, "exec": exec, "load": load, "argv": argv }));
    }
    let machine = Machine::boot();
    let faults = each(&cases, THREADS, |case| {
        let name = case["unit"].as_str().unwrap();
        let unit = format!("{name}.service");
        let mut faults = Vec::new();
        let (code, _) = machine.systemctl(&["start", &unit]);
        if (code == 0) != (case["load"] == "loaded") {
            faults.push(format!("start ends with {code}"));
        }
        let load = machine.show(&unit).remove("LoadState").unwrap_or_default();
        if load != case["load"].as_str().unwrap() {
            faults.push(format!("is {load} not {}", case["load"]));
        }
        let path: PathBuf = machine.directory.path().join(format!("fx/out/trace.{name}"));
        let have = fs::read_to_string(path).unwrap_or_default().lines().collect::<Vec<_>>().join(" // ");
        if have != case["argv"].as_str().unwrap() {
            faults.push(format!("{} becomes {have} not {}", case["exec"], case["argv"]));
        }
        faults
    });
    report(faults, &machine.log(), 0);
}
