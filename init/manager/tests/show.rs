//! `systemctl show` of units that never started, beside what systemd 257.13 printed for the same files, line by line.
//!
//! `golden/show/NAME` is a unit file, `golden/show/NAME.show` what systemd says of it. Left out is only what depends on
//! the machine: places, clocks, process ids, memory, and the other units that a whole system has.

mod support {
    #![allow(dead_code)]
    pub mod machine;
}

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use ferrite_control::JobVerb;
use support::machine::Machine;

/// Properties that differ from machine to machine.
const MACHINE: [&str; 27] = [
    "FragmentPath",
    "UnitFileState",
    "InvocationID",
    "ControlGroup",
    "ControlGroupId",
    "MemoryAvailable",
    "EffectiveMemoryMax",
    "EffectiveMemoryHigh",
    "EffectiveTasksMax",
    "MemoryHigh",
    "MemoryMax",
    "TasksMax",
    "CPUUsageNSec",
    "LimitNPROC",
    "LimitNPROCSoft",
    "LimitSIGPENDING",
    "LimitSIGPENDINGSoft",
    "LimitNOFILE",
    "LimitNOFILESoft",
    "LimitCORESoft",
    "OOMScoreAdjust",
    "Result",
    "ActiveState",
    "SubState",
    "ConditionResult",
    "AssertResult",
    "UnitFilePreset",
];
/// Properties that hold units and paths in an order that means nothing, and units that only a whole system has.
const SETS: [&str; 12] = [
    "Requires",
    "Wants",
    "WantedBy",
    "RequiredBy",
    "Before",
    "After",
    "RequiresMountsFor",
    "WantsMountsFor",
    "TriggeredBy",
    "ReloadPropagatedFrom",
    "StopPropagatedFrom",
    "SliceOf",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/show")
}

fn unit_files() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files = entries.filter(|name| !name.ends_with(".show") && !name.ends_with(".names"));
    let mut files: Vec<(String, String)> =
        files.map(|name| (name.clone(), fs::read_to_string(folder().join(name)).unwrap())).collect();
    files.sort();
    files
}

fn boot() -> Machine {
    let files = unit_files();
    let units: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Machine::boot(&units)
}

fn systemctl(machine: &Machine, arguments: &[&str]) -> (i32, String, String) {
    let socket = machine.directory.path().join("run/ferrite/init.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_systemctl"))
        .args(arguments)
        .envs([("FERRITE_INIT_SOCKET", socket.as_os_str()), ("TZ", "UTC".as_ref())])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The lines that say the same on every machine.
fn comparable(text: &str) -> Vec<&str> {
    let differs = |name: &str| {
        MACHINE.contains(&name) || SETS.contains(&name) || name.contains("Timestamp") || name.starts_with("NextElapse")
    };
    text.lines().filter(|line| line.split_once('=').is_none_or(|(name, _)| !differs(name))).collect()
}

#[test]
fn units_that_never_started_are_shown_line_by_line_as_by_systemd() {
    let machine = boot();
    let mut names: Vec<String> = unit_files().into_iter().map(|(name, _)| name).collect();
    names.push("gone.service".into());
    let mut faults = Vec::new();
    for name in &names {
        let golden = fs::read_to_string(folder().join(format!("{name}.show"))).unwrap();
        let (code, ours, words) = systemctl(&machine, &["show", "--", name]);
        assert_eq!((code, words.as_str()), (0, ""), "{name}");
        // Where systemd was asked, the kernel had no swap space.
        let swap =
            |line: &&str| name.ends_with(".swap") && (line.starts_with("CanStart=") || line.starts_with("CanStop="));
        let of = |text| comparable(text).into_iter().filter(|line| !swap(line)).collect::<Vec<_>>();
        let (want, have) = (of(&golden), of(&ours));
        let missing = want.iter().filter(|line| !have.contains(line)).map(|line| format!("{name} lacks {line}"));
        let more = have.iter().filter(|line| !want.contains(line)).map(|line| format!("{name} has {line}"));
        faults.extend(missing.chain(more));
        if want.len() == have.len() && want != have {
            faults.push(format!("{name}: in another order"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_manager_has_all_properties_of_systemds_in_its_order() {
    let machine = boot();
    let (code, text, _) = systemctl(&machine, &["show", "--all"]);
    assert_eq!(code, 0);
    let ours: Vec<&str> = text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    let golden = fs::read_to_string(folder().join("manager.names")).unwrap();
    assert_eq!(ours, golden.lines().collect::<Vec<_>>());
    let value = |name: &str| systemctl(&machine, &["show", "-P", name]).1.trim_end().to_owned();
    assert_eq!(value("SystemState"), "running");
    assert_eq!((value("DefaultTimeoutStartUSec").as_str(), value("Progress").as_str()), ("1min 30s", "1"));
    assert!(value("UserspaceTimestamp").ends_with(" UTC"), "{}", value("UserspaceTimestamp"));
}

#[test]
fn what_runs_is_shown_with_its_processes_and_its_past() {
    let machine = boot();
    assert_eq!(format!("{:?}", machine.job(JobVerb::Start, "one.service")), "Done");
    assert_eq!(format!("{:?}", machine.job(JobVerb::Start, "plain.service")), "Done");
    let (_, text, _) = systemctl(&machine, &["show", "one", "plain", "-p", "Id,ExecStart,ExecMainCode,MainPID,Job"]);
    let (one, plain) = text.split_once("\n\n").expect("two units with an empty line between them");
    let lines: Vec<&str> = one.lines().collect();
    assert_eq!((lines[0], lines[1]), ("MainPID=0", "ExecMainCode=1"));
    let begin = "ExecStart={ path=/usr/bin/true ; argv[]=/usr/bin/true a ; ignore_errors=no ; start_time=[";
    assert!(lines[2].starts_with(begin) && lines[2].ends_with(" ; code=exited ; status=0 }"), "{text}");
    assert!(lines[3].contains("argv[]=/usr/bin/echo two words it's ;") && !lines[3].contains("pid=0 "), "{text}");
    assert_eq!((lines[4], lines[5]), ("Id=one.service", "Job="));
    let pid = machine.show("plain.service").main_pid.expect("it runs");
    assert!(plain.starts_with(&format!("MainPID={pid}\nExecMainCode=0\nExecStart={{ path=/usr/bin/sleep ;")), "{text}");
    assert!(plain.contains(&format!("stop_time=[n/a] ; pid={pid} ; code=(null) ; status=0/0 }}")), "{text}");
}

#[test]
fn questions_about_what_is_not_there_are_answered_as_by_systemd() {
    let machine = boot();
    for (line, code, stdout) in [
        (
            "show gone -p LoadState -p LoadError",
            0,
            "LoadState=not-found\n\
          LoadError=org.freedesktop.systemd1.NoSuchUnit \"Unit gone.service not found.\"\n",
        ),
        ("show plain -p Nonsense", 0, ""),
        ("show nothing* -p Id", 0, ""),
        ("show plain -P MainPID -P Id", 0, "0\nplain.service\n"),
        ("show other.target plain -P Id", 0, "other.target\n\nplain.service\n"),
        (
            "show plain -p Job,SystemCallFilter,FailureActionExitStatus",
            0,
            "SystemCallFilter=~\nJob=\nFailureActionExitStatus=[not set]\n",
        ),
        ("show acc@.service", 1, ""),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let (found, text, complaint) = systemctl(&machine, &words);
        assert_eq!((found, text.as_str()), (code, stdout), "{line}: {complaint}");
    }
}
