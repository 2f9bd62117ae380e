//! The subcommands: each returns its exit code.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ferrite_files::{Durability, Root};

use crate::datasource::{self, Documents};
use crate::fault::{Faults, Severity};
use crate::plan::Plan;
use crate::status::{State, Status, state_of};
use crate::{apply as acting, config, facts, meta, plan};

const STATUS: &str = "run/ferrite/cloudinit/status";

/// Where `apply` works and what it reads.
#[derive(Debug, Clone)]
pub struct ApplyInputs {
    /// `/`, or a folder that stands for it.
    pub root: PathBuf,
    /// A file instead of the datasources.
    pub user_data: Option<PathBuf>,
    /// A file instead of the datasource's.
    pub meta_data: Option<PathBuf>,
}

/// Finds the documents, plans, applies, remembers. 0: done, 2: something was left out, 1: the user-data is unusable.
pub fn apply(inputs: &ApplyInputs) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    let mut problems = Vec::new();
    let documents = match documents(inputs, &root) {
        Ok(documents) => documents,
        Err(error) => {
            problems.push((State::Failed, format!("{error:#}")));
            Documents { origin: "unreadable".into(), ..Documents::default() }
        }
    };
    let (config, faults) = config::read(&documents.user_data);
    let (meta, meta_faults) = meta::read(&documents.meta_data);
    report("user-data", &faults, &documents.user_data, &mut problems);
    report("meta-data", &meta_faults, &documents.meta_data, &mut problems);
    let planned = plan::plan(&config, &meta, &facts::gather(&root)?);
    problems.extend(planned.problems.iter().map(|problem| (State::Degraded, problem.clone())));
    for error in acting::apply(&planned, &root) {
        problems.push((State::Degraded, format!("{error:#}")));
    }
    let state = worst(&problems);
    let status = Status {
        state,
        datasource: documents.origin,
        instance_id: meta.instance_id,
        hostname: planned.hostname.clone(),
        key_count: planned.key_count,
        faults: problems.into_iter().map(|(_, text)| text).collect(),
    };
    print_outcome(&planned, &status);
    write_status(&inputs.root, &status)?;
    Ok(state.exit_code())
}

fn documents(inputs: &ApplyInputs, root: &Root) -> anyhow::Result<Documents> {
    if inputs.user_data.is_none() && inputs.meta_data.is_none() {
        // The datasources of this machine say nothing about another root.
        let found = if root.is_machine() { datasource::find()? } else { None };
        return Ok(found.unwrap_or(Documents { origin: "none".into(), ..Documents::default() }));
    }
    let read = |path: &Option<PathBuf>| -> anyhow::Result<Vec<u8>> {
        match path {
            Some(path) => {
                datasource::read_file(path)?.with_context(|| format!("there is no file '{}'", path.display()))
            }
            None => Ok(Vec::new()),
        }
    };
    Ok(Documents { origin: "file".into(), user_data: read(&inputs.user_data)?, meta_data: read(&inputs.meta_data)? })
}

/// Prints the faults with their lines and remembers those that left something out.
fn report(name: &str, faults: &Faults, source: &[u8], problems: &mut Vec<(State, String)>) {
    eprint!("{}", faults.render(name, &String::from_utf8_lossy(source)));
    for fault in &faults.0 {
        let state = match fault.severity {
            Severity::Broken if name == "user-data" => State::Failed,
            Severity::Broken | Severity::Error => State::Degraded,
            Severity::Warning => State::Ok,
        };
        problems.push((state, fault.line_for(name)));
    }
}

fn worst(problems: &[(State, String)]) -> State {
    let has = |wanted: State| problems.iter().any(|(state, _)| *state == wanted);
    if has(State::Failed) {
        State::Failed
    } else if has(State::Degraded) {
        State::Degraded
    } else {
        State::Ok
    }
}

fn print_outcome(planned: &Plan, status: &Status) {
    print!("{planned}");
    let source = match status.datasource.as_str() {
        "none" => "no datasource".to_string(),
        origin => format!("datasource {origin}"),
    };
    println!("{source}: {}, host name {}, {} keys for core", status.state.word(), status.hostname, status.key_count);
}

fn write_status(root: &Path, status: &Status) -> anyhow::Result<()> {
    let path = root.join(STATUS);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making '{}'", folder.display()))?;
    }
    Ok(ferrite_files::replace(&path, status.render().as_bytes(), 0o644, Durability::Volatile)?)
}

/// Prints what `apply` would do with a document. 1 when the document is broken.
pub fn plan_file(root: &Path, file: &Path) -> anyhow::Result<u8> {
    let source = datasource::read_file(file)?.with_context(|| format!("there is no file '{}'", file.display()))?;
    let (config, faults) = config::read(&source);
    eprint!("{}", faults.render(&file.display().to_string(), &String::from_utf8_lossy(&source)));
    let facts = facts::gather(&Root::open(root)?)?;
    print!("{}", plan::plan(&config, &meta::MetaData::default(), &facts));
    Ok(u8::from(faults.worst() == Some(Severity::Broken)))
}

/// Prints all faults of a document. 0: valid, warnings allowed.
pub fn validate(file: &Path) -> anyhow::Result<u8> {
    let source = datasource::read_file(file)?.with_context(|| format!("there is no file '{}'", file.display()))?;
    let (_, faults) = config::read(&source);
    eprint!("{}", faults.render(&file.display().to_string(), &String::from_utf8_lossy(&source)));
    Ok(match faults.worst() {
        None | Some(Severity::Warning) => 0,
        Some(Severity::Broken | Severity::Error) => 1,
    })
}

/// Prints what happened at this boot. The exit code is that of `apply`; 1 when it did not run.
pub fn show_status(root: &Path) -> anyhow::Result<u8> {
    let path = root.join(STATUS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("state=not-run");
            return Ok(1);
        }
        Err(error) => return Err(error).with_context(|| format!("reading '{}'", path.display())),
    };
    print!("{text}");
    Ok(state_of(&text).map_or(1, State::exit_code))
}
