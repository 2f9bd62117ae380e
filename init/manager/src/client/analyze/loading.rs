//! The unit files that a command line names, and the units they make.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_files::{EntryKind, Root};
use ferrite_unit::graph::{Graph, Node};
use ferrite_unit::{LoadPath, LoadState, UnitName};

use super::Call;
use crate::dump::{Below, load_named};

/// The instance of a template that is named without one.
const INSTANCE: &str = "test_instance";

/// Units that were named, loaded with all they need.
pub struct Units {
    pub graph: Graph,
    pub root: Root,
    /// The named units that can be used.
    pub named: Vec<UnitName>,
    /// What is wrong with the others, a line each.
    pub faults: Vec<String>,
}

/// Where units are searched without files on the command line.
pub fn search_path(call: &Call<'_>) -> LoadPath {
    call.caller.variable("SYSTEMD_UNIT_PATH").map_or_else(LoadPath::default, LoadPath::parse)
}

/// The files below `--root=`.
pub fn open(call: &Call<'_>) -> Result<Below> {
    Below::open(Path::new(call.line.value("root").unwrap_or("/")))
}

/// Loads the units of the files that are named, from the directories of these files before all others.
pub fn load(call: &Call<'_>, files: &[String]) -> Result<Units> {
    let place = call.line.value("root").unwrap_or("/");
    let root = Root::open(Path::new(place))?;
    let instance = call.line.value("instance").unwrap_or(INSTANCE);
    let (mut directories, mut named, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        let path = below(&std::path::absolute(file).context("finding the current directory")?, Path::new(place));
        let Some(name) = name_of(&path, instance) else {
            faults.push(format!("Failed to prepare filename {file}: Invalid argument"));
            continue;
        };
        let directory = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let is_there = |name: &UnitName| root.entry(&format!("{directory}/{name}")).is_ok_and(|entry| entry.is_some());
        if (is_there(&name) || name.template().is_some_and(|name| is_there(&name))) && !directories.contains(&directory)
        {
            directories.push(directory);
        }
        named.push(name);
    }
    let usual = search_path(call).0;
    directories.extend(usual.into_iter().filter(|usual| !directories.contains(usual)).collect::<Vec<_>>());
    let graph = load_named(call.line.value("root"), &LoadPath(directories), &named)?;
    named.retain(|name| match graph.find(name).map_or(Some(not_found(name)), refusal) {
        None => true,
        Some(fault) => {
            faults.push(fault);
            false
        }
    });
    Ok(Units { graph, root, named, faults })
}

/// The path as it is below the root.
fn below(path: &Path, root: &Path) -> PathBuf {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
    match path.strip_prefix(&root) {
        Ok(rest) if root != Path::new("/") => Path::new("/").join(rest),
        Ok(_) | Err(_) => path.to_path_buf(),
    }
}

fn name_of(path: &Path, instance: &str) -> Option<UnitName> {
    let name = UnitName::parse(path.file_name()?.to_str()?).ok()?;
    if name.is_template() { name.with_instance(instance).ok() } else { Some(name) }
}

fn not_found(name: &UnitName) -> String {
    format!("Unit {name} not found.")
}

/// Why a unit cannot be started at all, in systemd's words.
pub fn refusal(node: &Node) -> Option<String> {
    let name = &node.unit.name;
    match &node.unit.load {
        LoadState::Loaded => None,
        LoadState::NotFound => Some(not_found(name)),
        LoadState::Masked => Some(format!("Unit {name} is masked.")),
        LoadState::BadSetting(fault) => {
            Some(format!("{}\nUnit {name} has a bad unit file setting.", told(name, fault)))
        }
        LoadState::Error(fault) => Some(format!("{}\nUnit {name} failed to load properly.", told(name, fault))),
    }
}

fn told(name: &UnitName, fault: &str) -> String {
    // A fault of one line begins with its file.
    if fault.starts_with('/') { fault.to_owned() } else { format!("{name}: {fault}") }
}

/// Why a program cannot be executed, if it cannot.
pub fn not_executable(root: &Root, program: &str) -> Option<&'static str> {
    const PATH: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    if program.starts_with('/') {
        return fault_of(root, program);
    }
    let found = PATH.iter().any(|directory| fault_of(root, &format!("{directory}/{program}")).is_none());
    (!found).then_some("No such file or directory")
}

fn fault_of(root: &Root, path: &str) -> Option<&'static str> {
    match root.target(path) {
        Ok(Some(entry)) if entry.kind == EntryKind::File && entry.mode & 0o111 != 0 => None,
        Ok(Some(entry)) if entry.kind == EntryKind::Folder => Some("Is a directory"),
        Ok(Some(_)) => Some("Permission denied"),
        Ok(None) => Some("No such file or directory"),
        Err(_) => Some("Input/output error"),
    }
}

/// The name of a service that a word means.
pub fn service(word: &str) -> Result<UnitName> {
    use ferrite_unit::escape::{Globs, mangle};
    let mangled = mangle(word.as_bytes(), Globs::Escaped, ferrite_unit::UnitKind::Service);
    let Some(name) = mangled.and_then(|mangled| UnitName::parse(&mangled.name).ok()) else {
        bail!("Failed to mangle unit name '{word}': Invalid argument");
    };
    if name.kind() != ferrite_unit::UnitKind::Service {
        bail!("Unit {name} is not a service unit, refusing.");
    }
    if name.is_template() { Ok(name.with_instance("test-instance")?) } else { Ok(name) }
}
