//! The recorded cases of the real tools, with their own runner, and every example of the tools' documentation.
//!
//! The cases lie beside the repository (`shared/data/cloud-config`). Applying them needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_ferrite-cloudinit");

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/cloud-config")
}

#[test]
fn every_recorded_case_passes_the_strict_ones_too() {
    let runner = data().join("check.py");
    assert!(runner.exists(), "the cases are missing: '{}'", runner.display());
    // Files cannot be given to root by anybody else, so that others only check the verdicts.
    let more = if nix::unistd::geteuid().is_root() { "--strict" } else { "--no-apply" };
    let arguments = [BINARY, "--strict", more];
    let output = Command::new("python3").arg(&runner).args(arguments).output().expect("python3 is missing");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    assert!(last.ends_with(" passed, 0 failed") && !last.starts_with("0 "), "{text}\n{output:?}");
}

#[test]
fn every_example_of_the_documentation_gets_a_verdict_and_most_are_those_of_the_tools() {
    let folder = data().join("doc-examples");
    let table = std::fs::read_to_string(folder.join("verdicts.tsv")).expect("verdicts.tsv is missing");
    let mut counts = [0usize; 3];
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let path = folder.join(fields[0]).join(fields[1]);
        let output = Command::new(BINARY).arg("validate").arg(&path).output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{}: {output:?}", path.display());
        let errors = String::from_utf8_lossy(&output.stderr);
        if code == Some(1) {
            assert!(errors.contains(": error: "), "{}: {errors}", path.display());
        }
        let either = fields[3] == "0" || fields[4] == "0";
        counts[0] += 1;
        counts[usize::from(either && code == Some(1)) + 1] += 1;
    }
    // What the tools accept and this one refuses: 13 network configurations, keys and certificates that were cut short,
    // contents that are not base64, duplicate keys, Python, doas and snap.
    assert_eq!(counts[0], 282);
    assert!(counts[2] <= 32, "{} documents are refused that a tool accepts", counts[2]);
}
