//! The recorded cases of the real tools, with their own runner, and every example of the tools' documentation.
//!
//! The cases lie beside the repository (`shared/data/cloud-config`). Applying them needs root. docs/verdicts.md is made
//! here: the examples whose verdict is another one than that of the tool whose documentation they are from.

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

/// The head of docs/verdicts.md.
const HEAD: &str = "# Verdicts that differ

The documentation of cloud-init and of CoreOS has 282 examples. `ferrite-cloudinit validate` gives each a verdict; these
are the ones on which it differs from the tool that the example was written for (cloud-init 25.1.4, coreos-cloudinit
f1f0405), with the reason. All others are as there. Made by `cargo test -p ferrite-cloudinit --test corpus`.

";

/// An example, and what three tools make of it.
struct Example {
    name: String,
    is_of_coreos: bool,
    is_network: bool,
    cloudinit: bool,
    coreos: bool,
    message: String,
    ferrite: bool,
    errors: String,
}

fn examples() -> Vec<Example> {
    let folder = data().join("doc-examples");
    let table = std::fs::read_to_string(folder.join("verdicts.tsv")).expect("verdicts.tsv is missing");
    let user_data = data().join("003-hostname/user-data");
    let example = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let path = folder.join(fields[0]).join(fields[1]);
        let (is_of_coreos, is_network) = (fields[0] == "coreos-docs", fields[1].starts_with("network-config"));
        let mut command = Command::new(BINARY);
        match is_network {
            true => command.arg("validate").arg(&user_data).arg("--network-config").arg(&path),
            false => command.arg("validate").arg(&path),
        };
        let output = command.output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {output:?}", path.display());
        let ferrite = output.status.code() == Some(0);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(ferrite || errors.contains(": error: "), "{}: {errors}", path.display());
        Example {
            name: fields[1].to_string(),
            is_of_coreos,
            is_network,
            cloudinit: fields[3] == "0",
            coreos: fields[4] == "0",
            message: fields[if is_of_coreos { 6 } else { 5 }].to_string(),
            ferrite,
            errors,
        }
    };
    table.lines().skip(1).map(example).collect()
}

/// Why Ferrite's verdict is another one.
fn reason(example: &Example) -> String {
    if !example.ferrite {
        let first = example.errors.lines().find_map(|line| line.split_once(": error: ")).expect("there is an error").1;
        return first.to_string();
    }
    let message = &example.message;
    let known = [
        (
            "deprecated key",
            "`etcd2`, `etcd` and `fleet` are not deprecated here, they are options of services of today",
        ),
        ("best-effort", "`best-effort` was the default of CoreOS for years"),
        ("unrecognized key", "a key of the other tool, which works here"),
        ("datasource", "clouds and their tools write `datasource`; it is accepted and does nothing"),
        ("Deprecated", "deprecated there, a warning here"),
        ("Additional properties", "no meaning on an image, a warning; what is in it is not looked at"),
        ("ansible", "no meaning on an image, a warning; what is in it is not looked at"),
    ];
    let found = known.iter().find(|(word, _)| message.contains(word)).map(|(_, reason)| (*reason).to_string());
    found.unwrap_or_else(|| panic!("{}: there is no reason for the difference: {message}", example.name))
}

#[test]
fn every_example_of_the_documentation_gets_a_verdict_and_what_differs_is_explained() {
    let examples = examples();
    assert_eq!(examples.len(), 282);
    let mut text = String::from(HEAD);
    text.push_str("| example | of | there | here | why |\n|---|---|---|---|---|\n");
    let word = |valid: bool| if valid { "valid" } else { "refused" };
    let mut refused = 0;
    for example in &examples {
        let own = if example.is_of_coreos { example.coreos } else { example.cloudinit };
        refused += usize::from((example.cloudinit || example.coreos) && !example.ferrite);
        if own != example.ferrite {
            let of = if example.is_of_coreos { "CoreOS" } else { "cloud-init" };
            let (there, here, why) = (word(own), word(example.ferrite), reason(example).replace('|', "\\|"));
            text.push_str(&format!("| {} | {of} | {there} | {here} | {why} |\n", example.name));
        }
    }
    // Keys and certificates that were cut short, contents that are not base64, duplicate keys, Python, doas and snap,
    // and files below /usr.
    assert!(refused <= 24, "{refused} documents are refused that a tool accepts");
    assert_eq!(examples.iter().filter(|example| example.is_network).count(), 13);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verdicts.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/verdicts.md is stale: UPDATE_GOLDEN=1 cargo test -p ferrite-cloudinit --test corpus");
}
