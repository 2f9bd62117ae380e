//! Every directive of every section, made from the tables that the parser itself looks into, and what becomes of it.
//! Pure. Documentation, completion and the search for misspelled names are made from this list.

use crate::condition::SUBJECTS;
use crate::dependency::Dependency;
use crate::directive::{Known, Table, known};
use crate::value::boolean;
use crate::{
    automount, exec, install, kill, mount, mounts_table, path, resources_table, sandbox_table, scope, section, service,
    socket_table, swap, timer,
};

/// What this version makes of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As systemd 257 does.
    Done,
    /// With a difference: the text says which.
    Partly(&'static str),
    /// Read and checked, but not carried out; each use is reported with its file and line.
    Refused,
    /// Read and ignored, as by systemd 257 itself.
    WithoutEffect,
}

/// A directive of a section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Directive {
    /// The section, without brackets.
    pub section: &'static str,
    /// What stands before `=`.
    pub name: String,
    /// What becomes of it.
    pub state: State,
}

/// The sections of unit files.
pub const SECTIONS: [&str; 11] =
    ["Unit", "Install", "Service", "Socket", "Mount", "Automount", "Swap", "Path", "Timer", "Slice", "Scope"];

/// Names that systemd 257 reads and ignores.
const OBSOLETE: [&str; 5] = ["BusPolicy", "Capabilities", "IgnoreOnSnapshot", "NetClass", "SysVStartPriority"];

/// Directives of which a part is not as in systemd 257, and which part.
const PARTLY: [(&str, &str); 19] = [
    ("AccuracySec", "timers are exact; elapses are not put together"),
    ("BlockIOAccounting", "always on"),
    ("CPUAccounting", "always on"),
    ("ConditionCredential", "there are no credentials: never holds"),
    ("ConditionEnvironment", "PID 1 keeps no environment: never holds"),
    ("ConditionFirmware", "knows uefi and device-tree, no fields of SMBIOS"),
    ("ConditionHost", "patterns know * and ? only"),
    ("ConditionNeedsUpdate", "never holds: /usr changes with the image only"),
    ("ConditionPathIsEncrypted", "never holds: no storage of the machine is encrypted"),
    ("ConditionSecurity", "knows apparmor, ima, tpm2 and uefi-secureboot; what else is asked for does not hold"),
    ("ImportCredential", "not for the programs that mount and unmount"),
    ("LoadCredential", "not for the programs that mount and unmount"),
    ("MemoryAccounting", "always on"),
    ("SetCredential", "not for the programs that mount and unmount"),
    ("SourcePath", "shown; a change of the file is not told of"),
    ("StandardError", "journal+console and kmsg+console write nothing to the console themselves"),
    ("StandardOutput", "journal+console and kmsg+console write nothing to the console themselves"),
    ("TasksAccounting", "always on"),
    ("Type", "dbus: on a machine without a message bus the service counts as started once it is executed"),
];

/// The directives of a section, by name, each once.
pub fn of_section(section: &str) -> Vec<Directive> {
    let Some(section) = SECTIONS.into_iter().find(|known| *known == section) else { return Vec::new() };
    let mut names = names_of(section);
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| Directive { section, state: state(section, &name), name }).collect()
}

/// All directives, section by section.
pub fn all() -> Vec<Directive> {
    SECTIONS.into_iter().flat_map(of_section).collect()
}

/// What may have been meant by a name that is none: the nearest ones of the section, and sections that have the name.
pub fn suggestion(section: &str, name: &str) -> Option<String> {
    let elsewhere: Vec<&str> = SECTIONS
        .into_iter()
        .filter(|other| *other != section && names_of(other).iter().any(|known| known == name))
        .collect();
    if let Some(first) = elsewhere.first() {
        return Some(format!("[{first}]"));
    }
    let names = names_of(section);
    nearest(name, names.iter().map(String::as_str)).map(|nearest| format!("{nearest}="))
}

/// The name that was meant by one that is none of them, if one is near.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = names.map(|known| (distance(name, known), known)).min()?;
    // A third of the letters may be wrong.
    (distance * 3 <= name.len().max(3)).then_some(nearest)
}

/// What becomes of a directive with this value: the part that is not done may not concern it.
pub fn of_use(section: &str, name: &str, value: &str) -> State {
    match state(section, name) {
        State::Partly(_) if value.is_empty() || !is_concerned(section, name, value) => State::Done,
        state => state,
    }
}

/// Is this a value with which a directive that is done in part is not as in systemd 257?
fn is_concerned(section: &str, name: &str, value: &str) -> bool {
    let asked = value.trim_start_matches(['|', '!', ' ']);
    let check = name.strip_prefix("Condition").or_else(|| name.strip_prefix("Assert"));
    match check.unwrap_or(name) {
        "BlockIOAccounting" | "CPUAccounting" | "MemoryAccounting" | "TasksAccounting" => boolean(value) == Ok(false),
        "Firmware" => !matches!(asked, "uefi" | "device-tree"),
        "Host" => asked.contains('['),
        "ImportCredential" | "LoadCredential" | "SetCredential" => matches!(section, "Mount" | "Swap"),
        "Security" => !matches!(asked, "apparmor" | "ima" | "tpm2" | "uefi-secureboot"),
        "StandardError" | "StandardOutput" => matches!(value, "journal+console" | "kmsg+console"),
        "Type" => value == "dbus",
        _ => true,
    }
}

fn state(section: &str, name: &str) -> State {
    if OBSOLETE.contains(&name) {
        return State::WithoutEffect;
    }
    let asked = name.strip_prefix("Assert").map(|rest| format!("Condition{rest}"));
    let asked = asked.as_deref().unwrap_or(name);
    let partly = PARTLY.iter().find(|(known, _)| *known == asked).map(|(_, note)| State::Partly(note));
    match known(name) {
        Known::Sandbox | Known::Refused | Known::Other => State::Refused,
        // A mount of any kind is one.
        Known::Unknown if name == "Type" && section == "Mount" => State::Done,
        Known::Unknown => partly.unwrap_or(State::Done),
    }
}

fn keys<T>(table: Table<T>) -> impl Iterator<Item = &'static str> {
    table.iter().map(|(name, _)| *name)
}

/// What all sections of units with processes have.
fn contexts() -> impl Iterator<Item = &'static str> {
    let exec = keys(exec::TABLE).filter(|name| *name != "NonBlocking").chain(["Capabilities"]);
    exec.chain(keys(sandbox_table::TABLE)).chain(keys(mounts_table::TABLE)).chain(keys(kill::TABLE))
}

fn resources() -> impl Iterator<Item = &'static str> {
    keys(resources_table::TABLE).chain(["NetClass"])
}

fn names_of(section: &str) -> Vec<String> {
    let names: Vec<&'static str> = match section {
        "Unit" => keys(section::TABLE).chain(Dependency::directives()).collect(),
        "Install" => keys(install::TABLE).collect(),
        "Service" => {
            let own = keys(service::TABLE).chain(section::MOVED).chain(["NonBlocking", "Sockets"]);
            own.chain(contexts()).chain(resources()).collect()
        }
        "Socket" => keys(socket_table::TABLE).chain(contexts()).chain(resources()).collect(),
        "Mount" => keys(mount::TABLE).chain(contexts()).chain(resources()).collect(),
        "Swap" => keys(swap::TABLE).chain(contexts()).chain(resources()).collect(),
        "Automount" => keys(automount::TABLE).collect(),
        "Path" => keys(path::TABLE).collect(),
        "Timer" => keys(timer::TABLE).collect(),
        "Slice" => resources().collect(),
        "Scope" => keys(scope::TABLE).chain(keys(kill::TABLE)).chain(resources()).collect(),
        _ => Vec::new(),
    };
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    if section == "Unit" {
        for (subject, _) in SUBJECTS {
            names.extend([format!("Condition{subject}"), format!("Assert{subject}")]);
        }
        names.extend(["ConditionNull", "AssertNull"].map(str::to_owned));
    }
    names
}

/// How many letters must be changed, added or taken away to make one word of the other; case counts nothing.
fn distance(from: &str, to: &str) -> usize {
    let lower = |word: &str| word.bytes().map(|byte| byte.to_ascii_lowercase()).collect::<Vec<_>>();
    slips(&lower(from), &lower(to))
}

/// The same for any two rows of letters, as Levenshtein counts.
pub fn slips<T: PartialEq>(from: &[T], to: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (number, letter) in from.iter().enumerate() {
        let mut next = vec![number + 1];
        for ((other, changed), removed) in to.iter().zip(&row).zip(row.iter().skip(1)) {
            let added = next.last().copied().unwrap_or(0);
            let changed = changed + usize::from(other != letter);
            next.push(changed.min(removed + 1).min(added + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_name_is_found_and_one_of_another_section_too() {
        assert_eq!(suggestion("Service", "ExecStrat").as_deref(), Some("ExecStart="));
        assert_eq!(suggestion("Service", "restart").as_deref(), Some("Restart="));
        assert_eq!(suggestion("Service", "After").as_deref(), Some("[Unit]"));
        assert_eq!(suggestion("Unit", "Requirs").as_deref(), Some("Requires="));
        assert_eq!(suggestion("Unit", "Zzzzzzzz"), None);
        assert_eq!(suggestion("X-Fleet", "Global"), None);
    }

    #[test]
    fn a_value_may_have_nothing_to_do_with_what_is_not_done() {
        let is_partly = |name: &str, value: &str| matches!(of_use("Service", name, value), State::Partly(_));
        for (name, good, bad) in [
            ("Type", "notify", "dbus"),
            ("MemoryAccounting", "yes", "no"),
            ("StandardOutput", "journal", "journal+console"),
        ] {
            assert!(!is_partly(name, good) && is_partly(name, bad) && !is_partly(name, ""), "{name}");
        }
        let is_partly = |name: &str, value: &str| matches!(of_use("Unit", name, value), State::Partly(_));
        assert!(!is_partly("ConditionVirtualization", "kvm"));
        assert!(is_partly("ConditionNeedsUpdate", "/etc") && !is_partly("ConditionHost", "a"));
        assert_eq!(of_use("Service", "RootImage", "/x"), State::Refused);
        assert_eq!(of_use("Service", "Restart", "always"), State::Done);
    }

    #[test]
    fn every_note_is_about_a_directive() {
        let all = all();
        for name in PARTLY.iter().map(|(name, _)| *name).chain(OBSOLETE) {
            assert!(all.iter().any(|directive| directive.name == name), "{name}");
        }
        for name in section::MOVED {
            assert!(all.iter().any(|directive| directive.name == name && directive.section == "Unit"), "{name}");
        }
    }
}
