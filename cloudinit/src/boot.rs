//! The datasource during the boot: what is done before the network, with it, and when nobody answers.
//!
//! The boot goes on whatever a service does. A machine that was configured before keeps what it has until its service
//! answers; one that never was becomes reachable with what is known.

use std::io::Write;
use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use anyhow::Context;
use ferrite_files::{Durability, Root};

use crate::command::{ApplyInputs, apply, apply_documents, apply_network, documents_need_network, write_status};
use crate::datasource::{self, Documents, Outcome, Search, Stage};
use crate::memory;
use crate::status::{State, Status};

const LATE_UNIT: &str = "ferrite-cloudinit-network.service";
const BACKGROUND_UNIT: &str = "ferrite-cloudinit-retry.service";
/// Says that this machine was configured by its datasource at some time.
const CONFIGURED: &str = "/var/lib/ferrite/cloudinit/configured";
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Finds the datasource of this machine and applies its documents. The exit code is that of `apply`.
pub fn run(inputs: &ApplyInputs, stage: Stage) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    if !root.is_machine() {
        // The datasources of this machine say nothing about another root.
        return apply(inputs);
    }
    let search = match stage {
        Stage::Background => until_it_answers(),
        Stage::Early | Stage::Late | Stage::ByHand => datasource::find(stage),
    };
    match &search.outcome {
        Outcome::Later { source, ahead } => later(inputs, &root, source, ahead.as_deref(), &search),
        Outcome::Found(documents) if stage == Stage::Early && waits(inputs, documents) => {
            later(inputs, &root, &documents.origin, Some(documents), &search)
        }
        Outcome::Found(documents) => {
            let code = apply_documents(inputs, &root, documents, Vec::new(), &search.rejected)?;
            remember()?;
            memory::keep(documents)?;
            if stage == Stage::Background {
                // The boot was degraded for want of an answer, and here it is.
                tell_systemd(&["reset-failed", LATE_UNIT]);
            }
            Ok(code)
        }
        Outcome::Nothing => {
            let mut documents = Documents { origin: "none".into(), keys: search.keys.clone(), ..Documents::default() };
            if Path::new(CONFIGURED).exists() {
                // The disk that it was configured from was taken out: that costs neither its keys nor its addresses.
                keep(&mut documents, &root)?;
            }
            apply_documents(inputs, &root, &documents, Vec::new(), &search.rejected)
        }
        Outcome::Silent { source, reason, is_remote } => silent(inputs, &root, &search, (source, reason, *is_remote)),
    }
}

/// Adds what the machine has from an earlier boot.
fn keep(documents: &mut Documents, root: &Root) -> anyhow::Result<()> {
    documents.keys.extend(memory::keys(root)?.iter().map(|key| key.line().to_string()));
    if let Some(known) = memory::network() {
        documents.network_config = known.network_config;
        documents.network_format = known.network_format;
    }
    Ok(())
}

/// Asks again and again; the answer, or anything else that is not silence.
fn until_it_answers() -> Search {
    let mut pause = FIRST_PAUSE;
    let mut said = String::new();
    loop {
        std::thread::sleep(pause);
        let search = datasource::find(Stage::Background);
        match &search.outcome {
            Outcome::Silent { source, reason, is_remote: true } => {
                if *reason != said {
                    println!("datasource {source}: {reason}, asking again");
                    said.clone_from(reason);
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            _ => return search,
        }
    }
}

fn waits(inputs: &ApplyInputs, documents: &Documents) -> bool {
    documents.waits_for_network || documents_need_network(inputs, documents)
}

/// Leaves the rest to the unit that runs with the network, which is the one that is known: from documents that are here
/// already, or from what a service said at an earlier boot.
fn later(
    inputs: &ApplyInputs,
    root: &Root,
    source: &str,
    ahead: Option<&Documents>,
    search: &Search,
) -> anyhow::Result<u8> {
    let known = ahead.filter(|documents| !documents.network_config.is_empty()).cloned();
    if let Some(documents) = known.or_else(|| memory::of(source)) {
        // A wrong description is no reason to leave the documents out, which may be right.
        if let Err(error) = apply_network(root, &documents) {
            eprintln!("error: configuring the network for {LATE_UNIT}: {error:#}, going on without it");
        }
    }
    println!("datasource {source}: needs the network, {LATE_UNIT} goes on");
    write_status(&inputs.root, &unanswered(State::Waiting, source, search, Vec::new()))?;
    tell_systemd(&["--no-block", "start", LATE_UNIT]);
    Ok(0)
}

/// Goes on without the documents, and says so.
fn silent(
    inputs: &ApplyInputs,
    root: &Root,
    search: &Search,
    (source, reason, is_remote): (&str, &str, bool),
) -> anyhow::Result<u8> {
    let state = if is_remote { State::Degraded } else { State::Failed };
    let next = if is_remote { "; it is asked again in the background" } else { "" };
    let problem = format!("datasource {source}: {reason}{next}");
    let code = if Path::new(CONFIGURED).exists() {
        eprintln!("error: {problem}; the machine keeps its configuration");
        if let Some(documents) = memory::of(source) {
            apply_network(root, &documents)?;
        }
        write_status(&inputs.root, &unanswered(state, source, search, vec![problem.clone()]))?;
        state.exit_code()
    } else {
        let documents = Documents { origin: source.into(), keys: search.keys.clone(), ..Documents::default() };
        eprintln!("error: {problem}");
        apply_documents(inputs, root, &documents, vec![(state, problem.clone())], &search.rejected)?
    };
    on_console(&format!("cloudinit: the boot goes on without user-data: {problem}"));
    if is_remote {
        tell_systemd(&["--no-block", "start", BACKGROUND_UNIT]);
    }
    Ok(code)
}

fn unanswered(state: State, source: &str, search: &Search, faults: Vec<String>) -> Status {
    Status {
        state,
        datasource: source.into(),
        instance_id: None,
        hostname: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        key_count: 0,
        faults,
        rejected: search.rejected.clone(),
    }
}

fn remember() -> anyhow::Result<()> {
    let path = Path::new(CONFIGURED);
    if path.exists() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making '{}'", folder.display()))?;
    }
    Ok(ferrite_files::replace(path, b"", 0o644, Durability::Durable)?)
}

/// What systemctl cannot do is said and does not stop anything: the documents count more.
fn tell_systemd(words: &[&str]) {
    match Process::new("systemctl").args(words).status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("warning: systemctl {}: {status}, going on", words.join(" ")),
        Err(error) => eprintln!("warning: starting systemctl: {error}, going on"),
    }
}

/// One line for whoever watches the screen. A machine without a console has nobody who does.
fn on_console(line: &str) {
    let written = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/console")
        .and_then(|mut console| writeln!(console, "{line}\r"));
    if let Err(error) = written {
        eprintln!("warning: writing to the console: {error}");
    }
}
