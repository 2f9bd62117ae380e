//! `systemd-analyze verify`: every fault of unit files and of the units they need.
//!
//! As in systemd, a setting that is wrong and ignored changes the exit code only when `--recursive-errors=` asks for
//! it; whatever keeps a unit from starting always does.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use ferrite_unit::file::Problem;
use ferrite_unit::graph::Node;
use ferrite_unit::{Config, LoadState, Unit, UnitName, command, directives};

use super::Call;
use super::loading::{Units, load, not_executable};
use crate::client::options::boolean;
use crate::plan::start;

/// Bytes of a unit file that are looked through for a line.
const FILE_MAX: usize = ferrite_unit::file::FILE_MAX;

/// Whose ignored settings change the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// Nobody's.
    Unasked,
    /// Those of every unit that was loaded.
    All,
    /// Those of the named units; what they need is not looked at.
    No,
    /// Those of the named units.
    Own,
}

/// Checks the files and gives the exit code.
pub fn run(call: &Call<'_>) -> Result<u8> {
    if call.operands().is_empty() {
        bail!("Too few arguments.");
    }
    let errors = match call.line.value("recursive-errors") {
        None => Errors::Unasked,
        Some("yes") => Errors::All,
        Some("no") => Errors::No,
        Some("one") => Errors::Own,
        Some(other) => bail!("Unknown mode passed to --recursive-errors='{other}'."),
    };
    let man = !call.line.has("man") || boolean("man", call.line.value("man"))?;
    let units = load(call, call.operands())?;
    let mut warned = BTreeSet::new();
    for node in units.graph.iter().filter(|node| errors != Errors::No || units.named.contains(&node.unit.name)) {
        for line in warnings(&node.unit) {
            eprintln!("{line}");
            warned.insert(node.unit.name.clone());
        }
    }
    let mut faults = units.faults.clone();
    for node in units.named.iter().filter_map(|name| units.graph.find(name)) {
        if errors != Errors::No {
            faults.extend(job_faults(&units, &node.unit.name));
        }
        faults.extend(socket_fault(call, node)?);
        faults.extend(command_faults(&units, &node.unit));
        if man {
            faults.extend(node.unit.documentation.iter().filter_map(|page| page_fault(&node.unit.name, page)));
        }
    }
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    let counts = match errors {
        Errors::Unasked => false,
        Errors::All => !warned.is_empty(),
        Errors::No | Errors::Own => units.named.iter().any(|name| warned.contains(name)),
    };
    Ok(u8::from(counts || !faults.is_empty()))
}

/// The ignored settings of a unit, and what may have been meant.
fn warnings(unit: &Unit) -> Vec<String> {
    unit.problems.iter().map(|problem| format!("{problem}{}", meant(problem).unwrap_or_default())).collect()
}

fn meant(problem: &Problem) -> Option<String> {
    let (key, rest) = problem.message.strip_prefix("unknown key ")?.split_once("= in section [")?;
    let (section, _) = rest.split_once(']')?;
    Some(format!(" (did you mean {}?)", directives::suggestion(section, key)?))
}

/// What keeps a start of the unit from being queued, and cycles that had to be broken.
fn job_faults(units: &Units, name: &UnitName) -> Vec<String> {
    match start(&units.graph, name) {
        Ok(planned) => {
            planned.notes.into_iter().filter(|note| note.contains("cycle")).map(|n| format!("{name}: {n}")).collect()
        }
        Err(fault) => vec![format!("{name}: Failed to create {name}/start: {fault:#}")],
    }
}

/// The service of a socket must be there.
fn socket_fault(call: &Call<'_>, node: &Node) -> Result<Option<String>> {
    let Config::Socket(socket) = &node.unit.config else { return Ok(None) };
    let service = match socket.accept {
        true => UnitName::parse(&format!("{}@internal.service", node.unit.name.prefix())).ok(),
        false => node.unit.activates(),
    };
    let Some(service) = service else { return Ok(None) };
    let directory = node.unit.fragment.as_deref().and_then(|path| path.rsplit_once('/')).map_or("", |(place, _)| place);
    let root = call.line.value("root").unwrap_or("");
    let loaded = load(call, &[format!("{root}{directory}/{service}")])?;
    let is_loaded = loaded.graph.find(&service).is_some_and(|node| node.unit.load == LoadState::Loaded);
    Ok((!is_loaded).then(|| format!("{}: service {service} not loaded, socket cannot be started.", node.unit.name)))
}

fn commands(unit: &Unit) -> Vec<&command::Command> {
    let lists: Vec<&Vec<command::Command>> = match &unit.config {
        Config::Service(service) => vec![
            &service.condition,
            &service.start_pre,
            &service.start,
            &service.start_post,
            &service.reload,
            &service.stop,
            &service.stop_post,
        ],
        Config::Socket(socket) => vec![&socket.start_pre, &socket.start_post, &socket.stop_pre, &socket.stop_post],
        Config::Mount(_)
        | Config::Target
        | Config::Slice(_)
        | Config::Timer(_)
        | Config::Path(_)
        | Config::Swap(_)
        | Config::Automount(_)
        | Config::Scope(_)
        | Config::Device => Vec::new(),
    };
    lists.into_iter().flatten().collect()
}

/// Programs that are not there, each once.
fn command_faults(units: &Units, unit: &Unit) -> Vec<String> {
    let mut faults = Vec::new();
    for command in commands(unit).into_iter().filter(|command| !command.ignore_failure) {
        let Some(reason) = not_executable(&units.root, &command.path) else { continue };
        let place = place_of(units, unit, &command.path).unwrap_or_else(|| unit.name.to_string());
        let fault = format!("{place}: Command {} is not executable: {reason}", command.path);
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    faults
}

/// The file and line that name a program.
fn place_of(units: &Units, unit: &Unit, program: &str) -> Option<String> {
    for path in unit.drop_ins.iter().rev().chain(&unit.fragment) {
        let Ok(Some(bytes)) = units.root.read(path, FILE_MAX) else { continue };
        let entries = ferrite_unit::file::parse(path, &bytes).entries;
        let names = |entry: &&ferrite_unit::file::Entry| {
            let mut words = entry.value.split(|c: char| c.is_whitespace() || c == '"' || c == '\'');
            entry.key.starts_with("Exec")
                && words.any(|word| word.trim_start_matches(['@', '-', ':', '+', '!']) == program)
        };
        if let Some(entry) = entries.iter().rev().find(names) {
            return Some(format!("{path}:{}", entry.line));
        }
    }
    unit.fragment.clone()
}

/// Is the manual page there? On a machine without `man` nobody can tell.
fn page_fault(name: &UnitName, page: &str) -> Option<String> {
    let page = page.strip_prefix("man:")?;
    let (topic, section) = match page.strip_suffix(')').and_then(|page| page.split_once('(')) {
        Some((topic, section)) => (topic, Some(section)),
        None => (page, None),
    };
    let mut man = Command::new("man");
    man.args(section).arg(topic).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match man.status() {
        Ok(status) if status.success() => None,
        Ok(status) => {
            Some(format!("{name}: Command 'man {page}' failed with code {}", status.code().unwrap_or_default()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("{name}: Can't show {page}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_stands_behind_the_fault() {
        let problem = |message: &str| Problem { path: "/u/a.service".into(), line: 3, message: message.to_owned() };
        let found = meant(&problem("unknown key ExecStrat= in section [Service], ignoring it"));
        assert_eq!(found.as_deref(), Some(" (did you mean ExecStart=?)"));
        let found = meant(&problem("unknown key Wants= in section [Service], ignoring it"));
        assert_eq!(found.as_deref(), Some(" (did you mean [Unit]?)"));
        assert_eq!(meant(&problem("'x' has no '=', ignoring the line")), None);
    }
}
