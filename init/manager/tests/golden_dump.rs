//! Compares `ferrite-init dump` with what systemd 257 says of the units of 208 packages.
//!
//! The golden data lies beside the repository (`shared/data/units`); the root is unpacked with `tar`, the dump with
//! `gzip`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

/// Values that come from the machine of the recording: not compared where the golden dump has exactly these, which are
/// that machine's defaults.
const HOST_DEFAULTS: [(&str, &[&str]); 6] = [
    ("LimitNOFILE", &["20000"]),
    ("LimitNOFILESoft", &["1024"]),
    ("LimitMEMLOCK", &["8388608"]),
    ("LimitMEMLOCKSoft", &["8388608"]),
    ("LimitNPROC", &[]),
    ("LimitNPROCSoft", &[]),
];

/// Names that depend on the machine of the recording alone.
const HOST_NAMES: [&str; 6] = [
    // Which controllers its kernel has.
    "CGroup own mask",
    // Of units that were mounted there.
    "Invocation ID",
    // The job that loaded everything.
    "-> Job 1",
    "Action",
    "State",
    "Irreversible",
];

/// What generators and packages of that machine added; the archive does not hold it.
const NOT_IN_ARCHIVE: [&str; 4] = [
    "dbus.socket",
    "sshd-unix-local.socket",
    "run-ssh\\x2dunix\\x2dlocal.mount",
    // An alias.
    "sshd-unix-local@sshd-keygen.service",
];

/// One more relation of that machine: a generator found that it is a container.
const CONTAINER_GETTY: [(&str, &str); 2] =
    [("getty.target", "console-getty.service"), ("console-getty.service", "getty.target")];

/// What else comes from the machine of the recording: units that were mounted there.
const OF_HOST: [(&str, &[&str]); 2] = [
    ("tmp.mount", &["Mount State", "What", "Options", "From /proc/self/mountinfo", "Source Path"]),
    // It has no unit file: it exists because it was mounted.
    ("sys-fs.mount", &["*"]),
];

/// The target that pulled in all units for the recording; the golden dump leaves it out of the other units.
const EVERYTHING: &str = "oracle.target (";

type Units = BTreeMap<String, Vec<(String, String)>>;

fn data(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/units/golden").join(name);
    assert!(path.exists(), "golden data {} is missing", path.display());
    path
}

fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(tool).args(arguments).output().unwrap_or_else(|error| panic!("running {tool}: {error}"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn units(json_lines: &[u8]) -> Units {
    let text = std::str::from_utf8(json_lines).expect("utf-8");
    let one = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("one JSON object a line");
        let pairs = value["props"].as_array().expect("props").iter();
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        (text(&value["unit"]), pairs.map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
    };
    text.lines().map(one).collect()
}

/// A list of system calls is one of a set, in no order.
fn in_order(name: &str, value: &str) -> String {
    let (sign, words) = match value.strip_prefix('~') {
        Some(words) => ("~", words),
        None => ("", value),
    };
    if name != "SystemCallFilter" {
        return value.to_owned();
    }
    let mut words: Vec<&str> = words.split(' ').collect();
    words.sort();
    format!("{sign}{}", words.join(" "))
}

/// The kernel of the recording stands in paths.
fn without_kernel(value: &str) -> String {
    match value.split_once("/lib/modules/").and_then(|(before, rest)| Some((before, rest.split_once('/')?.1))) {
        Some((before, after)) => format!("{before}/lib/modules/KERNEL/{after}"),
        None => value.to_owned(),
    }
}

/// What is compared of a unit, sorted: the order of relations is by chance in the golden dump.
fn compared(unit: &str, properties: &[(String, String)], left_out: &BTreeSet<&str>) -> Vec<(String, String)> {
    let keep = |(name, value): &&(String, String)| {
        let other = value.split(" (").next().unwrap_or(value);
        let there = value.contains("(destination") || unit == "sockets.target" || name == "Alias";
        let foreign = there && NOT_IN_ARCHIVE.contains(&other);
        let container = CONTAINER_GETTY.contains(&(unit, other))
            && matches!(name.as_str(), "After" | "Before" | "Wants" | "WantedBy");
        !left_out.contains(name.as_str())
            && !foreign
            && !container
            && (unit == "oracle.target" || !value.starts_with(EVERYTHING))
    };
    let mut kept: Vec<_> = properties
        .iter()
        .filter(keep)
        .map(|(name, value)| (name.clone(), in_order(name, &without_kernel(value))))
        .collect();
    kept.sort();
    kept
}

/// Names that the recording's machine decides for this unit.
fn left_out<'a>(unit: &str, golden: &'a [(String, String)]) -> BTreeSet<&'a str> {
    let mut names: BTreeSet<&str> = HOST_NAMES.into_iter().collect();
    for (name, value) in golden {
        if HOST_DEFAULTS.iter().any(|(have, defaults)| have == name && defaults.contains(&value.as_str())) {
            names.insert(name);
        }
    }
    if let Some((_, more)) = OF_HOST.iter().find(|(name, _)| *name == unit) {
        names.extend(more.iter());
    }
    for name in ["LimitNPROC", "LimitNPROCSoft"] {
        if !golden.iter().any(|(have, _)| have == name) {
            names.insert(name);
        }
    }
    names
}

/// What one side has and the other has not.
fn difference(left: &[(String, String)], right: &[(String, String)]) -> Vec<(String, String)> {
    let mut rest = right.to_vec();
    let mut only = Vec::new();
    for pair in left {
        match rest.iter().position(|other| other == pair) {
            Some(place) => {
                rest.swap_remove(place);
            }
            None => only.push(pair.clone()),
        }
    }
    only
}

#[test]
fn the_dump_of_the_corpus_is_that_of_systemd() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let archive = data("corpus_unit_root.tar.zst");
    let place = folder.path().to_str().expect("utf-8");
    run("tar", &["--zstd", "-xf", archive.to_str().expect("utf-8"), "-C", place]);
    let golden = units(&run("gzip", &["-dc", data("units_dump.jsonl.gz").to_str().expect("utf-8")]));
    let root = format!("{place}/corpus_unit_root");
    let ours = units(&run(env!("CARGO_BIN_EXE_ferrite-init"), &["dump", "--root", &root, "--json"]));

    let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut equal = 0;
    for (unit, properties) in &golden {
        let foreign = NOT_IN_ARCHIVE.contains(&unit.as_str());
        if foreign || OF_HOST.iter().any(|(name, names)| name == unit && names.contains(&"*")) {
            equal += 1;
            continue;
        }
        let left_out = left_out(unit, properties);
        let want = compared(unit, properties, &left_out);
        let Some(have) = ours.get(unit).map(|properties| compared(unit, properties, &left_out)) else {
            faults.entry("unit is missing".into()).or_default().push(unit.clone());
            continue;
        };
        let (missing, extra) = (difference(&want, &have), difference(&have, &want));
        equal += usize::from(missing.is_empty() && extra.is_empty());
        for (sign, pairs) in [('-', missing), ('+', extra)] {
            for (name, value) in pairs {
                faults.entry(format!("{sign}{name}")).or_default().push(format!("{unit}: {value}"));
            }
        }
    }
    let mut worst: Vec<_> = faults.iter().collect();
    worst.sort_by_key(|(_, places)| std::cmp::Reverse(places.len()));
    for (name, places) in worst.iter().take(40) {
        eprintln!("{:5} {name}: {}", places.len(), places.iter().take(3).cloned().collect::<Vec<_>>().join(" | "));
    }
    eprintln!("{equal} of {} units are equal", golden.len());
    assert_eq!(equal, golden.len());
}
