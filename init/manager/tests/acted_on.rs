//! What docs/units.md calls done is acted on: every setting that the parser keeps is looked at by PID 1, or its
//! directive says that it is not carried out.
//!
//! A search through the sources, by the names of the fields. It cannot tell that something is done rightly, other tests
//! do; it tells when nothing is done at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ferrite_unit::directives::{State, all};

/// Files whose structures hold settings.
const SETTINGS: [&str; 15] = [
    "automount",
    "exec",
    "install",
    "kill",
    "mount",
    "path",
    "resources",
    "sandbox",
    "scope",
    "service",
    "slice",
    "socket",
    "swap",
    "timer",
    "unit",
];

/// Fields that PID 1 does not name because the library answers for them, or that are no settings.
const ANSWERED: [&str; 8] = [
    "allowed_namespaces",
    "api_vfs",
    "bind_log_sockets",
    "configuration",
    "kind_written",
    "oom_policy_written",
    "private_mounts",
    "timeout_start_written",
];

/// Fields that nobody looks at, and their directives, some in one section only.
const IDLE: [(&str, &[&str]); 33] = [
    ("accuracy", &["AccuracySec"]),
    ("block_io_accounting", &["BlockIOAccounting"]),
    ("bpf_programs", &["BPFProgram"]),
    ("coredump_receive", &["CoredumpReceive"]),
    ("cpu_accounting", &["CPUAccounting"]),
    ("extra_fields", &["LogExtraFields"]),
    ("failure_action_exit_status", &["FailureActionExitStatus"]),
    ("file_systems", &["RestrictFileSystems"]),
    ("filter_patterns", &["LogFilterPatterns"]),
    ("image_policies", &["ExtensionImagePolicy", "MountImagePolicy", "RootImagePolicy"]),
    ("ip_egress_filters", &["IPEgressFilterPath"]),
    ("ip_ingress_filters", &["IPIngressFilterPath"]),
    ("managed_oom_preference", &["ManagedOOMPreference"]),
    ("managed_oom_pressure", &["ManagedOOMMemoryPressure"]),
    ("managed_oom_pressure_duration", &["ManagedOOMMemoryPressureDurationSec"]),
    ("managed_oom_pressure_limit", &["ManagedOOMMemoryPressureLimit"]),
    ("managed_oom_swap", &["ManagedOOMSwap"]),
    ("nft_sets", &["NFTSet"]),
    ("root_hash_signature", &["RootHashSignature"]),
    ("root_image_options", &["RootImageOptions"]),
    ("root_verity", &["RootVerity"]),
    ("selinux_context_from_net", &["SELinuxContextFromNet"]),
    ("sloppy_options", &["SloppyOptions"]),
    ("smack_label_in", &["SmackLabelIPIn"]),
    ("smack_label_out", &["SmackLabelIPOut"]),
    ("source_path", &["SourcePath"]),
    ("success_action_exit_status", &["SuccessActionExitStatus"]),
    ("survive_final_kill_signal", &["SurviveFinalKillSignal"]),
    ("tasks_accounting", &["TasksAccounting"]),
    ("usb_descriptors", &["USBFunctionDescriptors"]),
    ("usb_strings", &["USBFunctionStrings"]),
    ("utmp_identifier", &["UtmpIdentifier"]),
    ("utmp_mode", &["UtmpMode"]),
];

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    found
}

/// The words of a source, without its tests and comments.
fn words(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_end = |c: char| !c.is_alphanumeric() && c != '_';
    lines.flat_map(|line| line.split(is_end)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The public fields of the structures in a file.
fn fields(text: &str) -> BTreeSet<String> {
    let field = |line: &str| line.strip_prefix("    pub ")?.split_once(": ").map(|(name, _)| name.to_owned());
    text.lines().filter_map(field).filter(|name| !name.contains(['(', ' ', '<'])).collect()
}

#[test]
fn every_setting_is_acted_on_or_called_idle() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut used = BTreeSet::new();
    for (path, text) in sources(&manifest.join("src")) {
        let name = path.to_string_lossy();
        // What is only shown is not acted on.
        let shows = ["/client/", "/dump.rs", "/properties.rs", "/kind_properties.rs"];
        if !shows.iter().any(|part| name.contains(part)) {
            used.extend(words(&text));
        }
    }
    let mut idle = BTreeMap::new();
    for name in SETTINGS {
        let path = manifest.join("../../libs/unit/src").join(format!("{name}.rs"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for field in fields(&text).difference(&used).filter(|field| !ANSWERED.contains(&field.as_str())) {
            idle.insert(field.clone(), name);
        }
    }
    let known: BTreeSet<&str> = IDLE.iter().map(|(field, _)| *field).collect();
    let new: Vec<_> = idle.iter().filter(|(field, _)| !known.contains(field.as_str())).collect();
    let done: Vec<_> = known.iter().filter(|field| !idle.contains_key(**field)).collect();
    assert!(new.is_empty(), "PID 1 does nothing with these settings; put them among IDLE: {new:?}");
    assert!(done.is_empty(), "PID 1 looks at these now; take them off IDLE, KNOWN and PARTLY: {done:?}");
    let all = all();
    for (field, directives) in IDLE {
        for name in directives {
            let (section, name) = name.split_once(':').map_or((None, *name), |(section, name)| (Some(section), name));
            let fits = |section: Option<&str>, in_section: &str| section.is_none_or(|section| section == in_section);
            let named = all.iter().filter(|directive| directive.name == name && fits(section, directive.section));
            let states: Vec<_> = named.collect();
            assert!(!states.is_empty(), "{field}: {name}= is no directive");
            for directive in states {
                let place = format!("[{}] {name}=", directive.section);
                assert_ne!(directive.state, State::Done, "nobody looks at {field}, and {place} is called done");
            }
        }
    }
}
