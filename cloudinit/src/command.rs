//! The subcommands: each returns its exit code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use ferrite_files::{Attributes, Root};

use crate::config::{Config, Sources};
use crate::datasource::{self, Documents, Missing, Outcome, Stage};
use crate::facts::Facts;
use crate::failure::Policy;
use crate::fault::{Faults, Severity};
use crate::fetch::Fetcher;
use crate::meta::MetaData;
use crate::network::Format;
use crate::plan::{Plan, Step};
use crate::status::{State, Status, Supply};
use crate::{
    apply as acting, config, explain, facts, failure, fetch, memory, meta, network, plan, render, report, schema,
};

pub(crate) const STATUS: &str = "/run/ferrite/cloudinit/status";
const PLAN: &str = "/run/ferrite/cloudinit/plan.json";
/// Files of the cloud are for root and its group, as OpenStack's own agent makes them.
const INJECTED_MODE: u32 = 0o660;
/// Links that lead to paths that must be looked at, too.
const ROUNDS: usize = 8;

/// Where `apply` and `plan` work and what they read.
#[derive(Debug, Clone, Default)]
pub struct ApplyInputs {
    /// `/`, or a folder that stands for it.
    pub root: PathBuf,
    /// A file instead of the datasources.
    pub user_data: Option<PathBuf>,
    /// A file instead of the datasource's.
    pub meta_data: Option<PathBuf>,
    /// A file instead of the datasource's.
    pub vendor_data: Option<PathBuf>,
    /// A file instead of the datasource's.
    pub network_config: Option<PathBuf>,
    /// Whose language that file is in; cloud-init's without it.
    pub network_format: Option<String>,
    /// Variables of the environment, for addresses.
    pub environment: BTreeMap<String, String>,
}

/// How a command answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Whether warnings are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Warnings are allowed.
    Usual,
    /// They are not.
    Strict,
}

/// What was read and planned.
struct Work {
    meta: MetaData,
    facts: Facts,
    plan: Plan,
    faults: [Faults; 4],
    problems: Vec<(State, String)>,
    policy: Policy,
}

/// Plans, applies, remembers. 0: done, 2: something was left out, 1: the user-data is unusable.
///
/// Without files it asks the datasource of this machine; below another root there is none.
pub fn apply(inputs: &ApplyInputs) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    if root.is_machine() && names_no_file(inputs) {
        return crate::boot::run(inputs, Stage::ByHand);
    }
    let documents = documents(inputs, &root).unwrap_or_else(|error| {
        let missing = Missing { reason: format!("{error:#}"), is_remote: false };
        Documents { origin: "unreadable".into(), missing: Some(missing), ..Documents::default() }
    });
    Ok(apply_documents(inputs, &root, &documents, &[])?.status.state.exit_code())
}

/// What came of it.
pub(crate) struct Applied {
    /// What is remembered.
    pub status: Status,
    /// What the documents want when not all could be applied.
    pub policy: Policy,
}

/// Applies these documents.
pub(crate) fn apply_documents(
    inputs: &ApplyInputs,
    root: &Root,
    documents: &Documents,
    rejected: &[String],
) -> anyhow::Result<Applied> {
    let mut work = work(inputs, root, documents)?;
    let mut errors = Vec::new();
    if root.is_machine() {
        errors.extend(acting::boot_commands(&work.plan));
    }
    let mut settled = work.plan.clone();
    settled.settle(&work.facts);
    errors.extend(acting::apply(&settled, root));
    if root.is_machine() {
        errors.extend(acting::queue(&work.plan, work.meta.instance_id.as_deref().unwrap_or_default()));
    }
    work.problems.extend(errors.iter().map(|error| (State::Degraded, format!("{error:#}"))));
    let state = worst(&work.problems);
    let faults: Vec<&Faults> = work.faults.iter().collect();
    let json = format!("{:#}\n", report::json(&work.plan, &faults));
    write_below(root, PLAN, json.as_bytes(), 0o600)?;
    let status = Status {
        state,
        datasource: documents.origin.clone(),
        instance_id: work.meta.instance_id,
        hostname: work.plan.hostname.clone(),
        key_count: work.plan.key_count,
        supply: match &documents.missing {
            Some(missing) if missing.is_remote => Supply::Awaited,
            Some(_) | None => Supply::Here,
        },
        faults: work.problems.into_iter().map(|(_, text)| text).collect(),
        rejected: rejected.to_vec(),
    };
    for warning in &work.plan.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in errors.iter().map(|error| format!("{error:#}")).chain(work.plan.problems.iter().cloned()) {
        eprintln!("error: {problem}");
    }
    print_outcome(&settled, &status);
    write_status(root, &status)?;
    Ok(Applied { status, policy: work.policy })
}

/// Reads and plans; changes nothing.
fn work(inputs: &ApplyInputs, root: &Root, documents: &Documents) -> anyhow::Result<Work> {
    let missing = documents.missing.iter();
    let mut problems: Vec<(State, String)> = missing
        .map(|missing| (if missing.is_remote { State::Degraded } else { State::Failed }, missing.reason.clone()))
        .collect();
    let (mut meta, mut meta_faults) = meta::read(&documents.meta_data);
    meta::complete(&mut meta, documents, &mut meta_faults);
    let sources = Sources {
        user_data: &documents.user_data,
        vendor_data: &documents.vendor_data,
        meta: &meta,
        environment: &inputs.environment,
    };
    let fetcher = Fetcher::new();
    let (mut config, user_faults, vendor_faults) = config::read(&sources, Some(&|url| fetcher.get(url)));
    let network = network::read(&documents.network_config, documents.network_format);
    let policy = failure::policy(&config.root, &documents.user_data);
    if user_faults.worst() == Some(Severity::Broken) {
        // Nothing of a broken document applies; the name and the keys of the meta-data do, and the keys that were good
        // before stay good.
        config = Config::default();
        meta.public_keys.extend(memory::keys(root)?);
    }
    config.network = network.files;
    let mut left = crate::plan_files::MAX_ALL_BYTES;
    for url in config::wanted_urls(&config) {
        let fetched = fetcher.get(&url).and_then(|bytes| {
            left = left.checked_sub(bytes.len()).ok_or("all files together are too large")?;
            Ok(bytes)
        });
        config.fetched.insert(url, fetched);
    }
    let faults = [user_faults, meta_faults, vendor_faults, network.faults];
    for (name, faults) in ["user-data", "meta-data", "vendor-data", "network-config"].into_iter().zip(&faults) {
        note(name, faults, &mut problems);
    }
    for problem in &documents.problems {
        eprintln!("error: {problem}");
        problems.push((State::Degraded, problem.clone()));
    }
    let (facts, plan) = informed(root, |facts| planned(&config, &meta, documents, facts))?;
    problems.extend(plan.problems.iter().map(|problem| (State::Degraded, problem.clone())));
    Ok(Work { meta, facts, plan, faults, problems, policy })
}

/// A plan that knows everything it is about: it is made again as long as it names paths that were not looked at.
fn informed(root: &Root, make: impl Fn(&Facts) -> Plan) -> anyhow::Result<(Facts, Plan)> {
    let mut facts = facts::gather(root)?;
    let mut plan = make(&facts);
    for _ in 0..ROUNDS {
        if !facts::look(root, plan.paths(), &mut facts) {
            break;
        }
        plan = make(&facts);
    }
    Ok((facts, plan))
}

/// Applies what documents say about the network, and nothing else of them.
pub(crate) fn apply_network(root: &Root, documents: &Documents) -> anyhow::Result<()> {
    let network = network::read(&documents.network_config, documents.network_format);
    let config = Config { network: network.files, ..Config::default() };
    let (facts, mut plan) = informed(root, |facts| plan::network(&config, facts))?;
    plan.settle(&facts);
    acting::apply(&plan, root).into_iter().next().map_or(Ok(()), Err)
}

/// The plan of the documents, with what the cloud wants beside them. A file that the user-data writes is the user's.
fn planned(config: &Config, meta: &MetaData, documents: &Documents, facts: &Facts) -> Plan {
    let mut plan = plan::plan(config, meta, facts);
    for file in &documents.files {
        let path = crate::plan_files::clean(&file.path);
        if plan.steps.iter().all(|step| step.path() != Some(&path)) {
            let (content, note) = (file.content.clone(), "a file of the cloud".to_string());
            plan.steps.push(Step::File { path, content, mode: INJECTED_MODE, owner: (0, 0), note });
        }
    }
    if !documents.random_seed.is_empty() {
        plan.steps.push(Step::Seed { bytes: documents.random_seed.clone() });
    }
    plan
}

/// Whether the documents include others, which can only be fetched with a network.
pub(crate) fn documents_need_network(inputs: &ApplyInputs, documents: &Documents) -> bool {
    let (meta, _) = meta::read(&documents.meta_data);
    let sources = Sources {
        user_data: &documents.user_data,
        vendor_data: &documents.vendor_data,
        meta: &meta,
        environment: &inputs.environment,
    };
    let (config, user_faults, vendor_faults) = config::read(&sources, Some(&fetch::not_yet));
    let is_missing = |faults: &Faults| faults.0.iter().any(|fault| fault.message.contains(fetch::NOT_YET));
    !config::wanted_urls(&config).is_empty() || is_missing(&user_faults) || is_missing(&vendor_faults)
}

fn names_no_file(inputs: &ApplyInputs) -> bool {
    let files = [&inputs.user_data, &inputs.meta_data, &inputs.vendor_data, &inputs.network_config];
    files.iter().all(|file| file.is_none())
}

/// The documents that are named, or those of the datasource of this machine.
fn documents(inputs: &ApplyInputs, root: &Root) -> anyhow::Result<Documents> {
    if names_no_file(inputs) {
        let none = Documents { origin: "none".into(), ..Documents::default() };
        // The datasources of this machine say nothing about another root.
        if !root.is_machine() {
            return Ok(none);
        }
        return match datasource::find(Stage::ByHand, Duration::ZERO).outcome {
            Outcome::Found(documents) => Ok(*documents),
            Outcome::Nothing => Ok(none),
            Outcome::Later { source, .. } => anyhow::bail!("datasource {source}: there is no network"),
            Outcome::Silent { source, reason, .. } => anyhow::bail!("datasource {source}: {reason}"),
        };
    }
    let read = |path: &Option<PathBuf>| match path {
        Some(path) => read(path),
        None => Ok(Vec::new()),
    };
    Ok(Documents {
        origin: "file".into(),
        user_data: read(&inputs.user_data)?,
        meta_data: read(&inputs.meta_data)?,
        vendor_data: read(&inputs.vendor_data)?,
        network_config: read(&inputs.network_config)?,
        network_format: format(inputs.network_format.as_deref())?,
        ..Documents::default()
    })
}

fn format(name: Option<&str>) -> anyhow::Result<Format> {
    let Some(name) = name else {
        return Ok(Format::default());
    };
    let known = Format::NAMES.map(|(name, _)| name).join(", ");
    Format::parse(name).with_context(|| format!("'{name}' is not a format of a network; it is one of {known}"))
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    datasource::read_file(path)?.with_context(|| format!("there is no file '{}'", path.display()))
}

/// Remembers the faults that left something out. The lines they are in stay out of the log: they may hold secrets.
fn note(name: &str, faults: &Faults, problems: &mut Vec<(State, String)>) {
    for fault in &faults.0 {
        let line = fault.line_for(name);
        eprintln!("{line}");
        problems.push((state_of(name, fault.severity), line));
    }
    if let Some(severity) = faults.1 {
        problems.push((state_of(name, severity), format!("{name}: more faults, which are not listed")));
    }
}

fn state_of(name: &str, severity: Severity) -> State {
    match severity {
        Severity::Broken if name == "user-data" => State::Failed,
        Severity::Broken | Severity::Error => State::Degraded,
        Severity::Desk | Severity::Warning => State::Ok,
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

/// Leaves what happened for `status`, the console and tests.
pub(crate) fn write_status(root: &Root, status: &Status) -> anyhow::Result<()> {
    write_below(root, STATUS, status.render().as_bytes(), 0o644)
}

fn write_below(root: &Root, path: &str, content: &[u8], mode: u32) -> anyhow::Result<()> {
    acting::folders_above(path, None, root)?;
    Ok(root.replace(path, content, &Attributes { mode, owner: None })?)
}

/// Prints what `apply` would do. 1 when the user-data is broken, 2 when something would be left out.
pub fn show_plan(inputs: &ApplyInputs, output: Output) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    let mut work = work(inputs, &root, &documents(inputs, &root)?)?;
    let state = worst(&work.problems);
    match output {
        Output::Json => {
            let faults: Vec<&Faults> = work.faults.iter().collect();
            println!("{:#}", report::json(&work.plan, &faults));
        }
        Output::Text => {
            work.plan.settle(&work.facts);
            print!("{}", work.plan);
        }
    }
    Ok(state.exit_code())
}

/// Prints all faults of a document. 0: valid, warnings allowed unless they count as errors.
pub fn validate(
    file: &Path,
    network_config: Option<&Path>,
    strictness: Strictness,
    output: Output,
) -> anyhow::Result<u8> {
    let source = read(file)?;
    let mut all = vec![(file, config::validate(&source), source)];
    if let Some(path) = network_config {
        let source = read(path)?;
        all.push((path, network::read(&source, Format::CloudInit).faults, source));
    }
    let worst = all.iter().filter_map(|(_, faults, _)| faults.worst()).min();
    let valid = match worst {
        None => true,
        Some(Severity::Warning) => strictness == Strictness::Usual,
        Some(Severity::Broken | Severity::Error | Severity::Desk) => false,
    };
    match output {
        Output::Json => {
            let list: Vec<serde_json::Value> = all
                .iter()
                .flat_map(|(path, faults, _)| faults.0.iter().map(move |fault| (path, fault)))
                .map(|(path, fault)| {
                    serde_json::json!({
                        "file": path.display().to_string(), "line": fault.line, "column": fault.column,
                        "severity": fault.word(), "message": fault.message,
                    })
                })
                .collect();
            println!("{:#}", serde_json::json!({ "valid": valid, "faults": list }));
        }
        Output::Text => {
            for (path, faults, source) in &all {
                eprint!("{}", faults.render(&path.display().to_string(), &String::from_utf8_lossy(source)));
            }
        }
    }
    Ok(u8::from(!valid))
}

/// Prints the joined document without its secrets.
pub fn show_merged(inputs: &ApplyInputs) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    let documents = documents(inputs, &root)?;
    let (mut meta, mut meta_faults) = meta::read(&documents.meta_data);
    meta::complete(&mut meta, &documents, &mut meta_faults);
    let sources = Sources {
        user_data: &documents.user_data,
        vendor_data: &documents.vendor_data,
        meta: &meta,
        environment: &inputs.environment,
    };
    let fetcher = Fetcher::new();
    let (config, faults, vendor_faults) = config::read(&sources, Some(&|url| fetcher.get(url)));
    eprint!("{}{}", faults.render("user-data", ""), vendor_faults.render("vendor-data", ""));
    print!("#cloud-config\n{}", render::yaml(&render::redacted(&config.root)));
    Ok(u8::from(faults.worst() == Some(Severity::Broken)))
}

/// Prints the files of networkd, without keys. 2 when something of the description is left out.
pub fn show_network(inputs: &ApplyInputs) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    let documents = documents(inputs, &root)?;
    let network = network::read(&documents.network_config, documents.network_format);
    eprint!("{}", network.faults.render("network-config", &String::from_utf8_lossy(&documents.network_config)));
    for file in &network.files {
        println!("# {}/{}\n{}", network::device::FOLDER, file.name, file.shown());
    }
    let is_whole = network.faults.worst().is_none_or(|worst| worst == Severity::Warning);
    Ok(if is_whole { 0 } else { 2 })
}

/// Prints what a key does; without one, all keys. 1 when there is no such key.
pub fn show_key(key: Option<&str>) -> u8 {
    match explain::explain(key) {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err(message) => {
            eprintln!("error: {message}");
            1
        }
    }
}

/// Prints the JSON schema of the language.
pub fn show_schema() -> u8 {
    println!("{:#}", schema::schema());
    0
}

/// Runs the late commands of the plan that was applied. 2 when one failed.
pub fn run_commands() -> anyhow::Result<u8> {
    let errors = acting::late_commands()?;
    for error in &errors {
        eprintln!("error: {error:#}");
    }
    Ok(if errors.is_empty() { 0 } else { 2 })
}
