//! The datasource during the boot: what is done before the network, with it, and when nobody answers.
//!
//! The boot goes on whatever a service does. A machine that was configured before keeps what it has until its service
//! answers; one that never was becomes reachable with what is known.

use std::path::Path;
use std::process::Command as Process;
use std::time::Duration;

use anyhow::Context;
use ferrite_files::{Durability, Root};

use crate::command::{
    Applied, ApplyInputs, apply, apply_documents, apply_network, documents_need_network, write_status,
};
use crate::datasource::{self, Documents, Missing, Outcome, Search, Stage};
use crate::failure::{self, Policy};
use crate::last;
use crate::memory;
use crate::plan_instance::NO_INSTANCE;
use crate::status::{State, Status, Supply};

const EARLY_UNIT: &str = "ferrite-cloudinit.service";
const LATE_UNIT: &str = "ferrite-cloudinit-network.service";
const BACKGROUND_UNIT: &str = "ferrite-cloudinit-retry.service";
const BANNER_UNIT: &str = "ferrite-banner.service";
/// Says that this machine was configured by its datasource at some time.
const CONFIGURED: &str = "/var/lib/ferrite/cloudinit/configured";
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: Duration = Duration::from_secs(64);

/// Finds the datasource of this machine and applies its documents. The exit code is that of `apply`.
pub fn run(inputs: &ApplyInputs, stage: Stage) -> anyhow::Result<u8> {
    let root = Root::open(&inputs.root)?;
    if !root.is_machine() {
        // The datasources of this machine say nothing about another root.
        return apply(inputs);
    }
    let search = match stage {
        Stage::Background => until_it_answers(),
        Stage::Early | Stage::Late | Stage::ByHand => datasource::find(stage, Duration::ZERO),
    };
    let applied = match &search.outcome {
        Outcome::Later { source, ahead } => return later(&root, source, ahead.as_deref(), &search),
        Outcome::Found(documents) if stage == Stage::Early && waits(inputs, documents) => {
            return later(&root, &documents.origin, Some(documents), &search);
        }
        Outcome::Found(documents) => {
            let applied = apply_documents(inputs, &root, documents, &search.rejected)?;
            remember()?;
            memory::keep(documents)?;
            applied
        }
        Outcome::Nothing => {
            let (origin, instance_id, keys) = ("none".into(), Some(NO_INSTANCE.into()), search.keys.clone());
            let mut documents = Documents { origin, instance_id, keys, ..Documents::default() };
            if Path::new(CONFIGURED).exists() {
                // The disk that it was configured from was taken out: that costs neither its keys nor its addresses.
                keep(&mut documents, &root)?;
            }
            apply_documents(inputs, &root, &documents, &search.rejected)?
        }
        Outcome::Silent { source, reason, is_remote } => {
            let missing = Missing { reason: format!("datasource {source}: {reason}"), is_remote: *is_remote };
            silent(inputs, &root, &search, source, missing)?
        }
    };
    settle(&applied, stage)?;
    Ok(applied.status.state.exit_code())
}

/// Tells who should know of the outcome.
fn settle(applied: &Applied, stage: Stage) -> anyhow::Result<()> {
    let is_here = applied.status.supply == Supply::Here || applied.status.supply == Supply::Lost;
    if !is_here {
        tell_systemd(&["--no-block", "start", BACKGROUND_UNIT]);
    }
    match stage {
        Stage::Early | Stage::Late => failure::act(&applied.status, applied.policy),
        Stage::Background | Stage::ByHand => {
            // The boot was degraded for want of this; what is wrong now fails the unit that asks in the background.
            if is_here && (stage == Stage::Background || applied.status.state == State::Ok) {
                tell_systemd(&["reset-failed", EARLY_UNIT, LATE_UNIT, BACKGROUND_UNIT]);
            }
            tell_systemd(&["--no-block", "try-restart", BANNER_UNIT]);
            if stage == Stage::Background && applied.status.state == State::Ok {
                last::to_console("ferrite-cloudinit: the datasource has answered, its user-data is applied");
            }
            // Nobody halts the machine under who works on it.
            failure::act(&applied.status, if stage == Stage::ByHand { Policy::Continue } else { applied.policy })
        }
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
    let (mut pause, mut answer) = (FIRST_PAUSE, Duration::from_secs(1));
    let mut said = String::new();
    loop {
        std::thread::sleep(pause);
        // A service that is only slow is waited for longer and longer, because nobody waits here.
        answer = (answer * 2).min(LONGEST_ANSWER);
        let search = datasource::find(Stage::Background, answer);
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
fn later(root: &Root, source: &str, ahead: Option<&Documents>, search: &Search) -> anyhow::Result<u8> {
    let known = ahead.filter(|documents| !documents.network_config.is_empty()).cloned();
    if let Some(documents) = known.or_else(|| memory::of(source)) {
        // A wrong description is no reason to leave the documents out, which may be right.
        if let Err(error) = apply_network(root, &documents) {
            eprintln!("error: configuring the network for {LATE_UNIT}: {error:#}, going on without it");
        }
    }
    println!("datasource {source}: needs the network, {LATE_UNIT} goes on");
    write_status(root, &unanswered((State::Waiting, Supply::Awaited), source, search, Vec::new()))?;
    tell_systemd(&["--no-block", "start", LATE_UNIT]);
    Ok(0)
}

/// Goes on without the documents, and says so.
fn silent(
    inputs: &ApplyInputs,
    root: &Root,
    search: &Search,
    source: &str,
    missing: Missing,
) -> anyhow::Result<Applied> {
    eprintln!("error: {}", missing.reason);
    if Path::new(CONFIGURED).exists() {
        if let Some(documents) = memory::of(source) {
            apply_network(root, &documents)?;
        }
        let how = match missing.is_remote {
            true => (State::Degraded, Supply::Kept),
            false => (State::Failed, Supply::Lost),
        };
        let status = unanswered(how, source, search, vec![missing.reason]);
        write_status(root, &status)?;
        return Ok(Applied { status, policy: Policy::Continue });
    }
    let (origin, keys) = (source.to_string(), search.keys.clone());
    let documents = Documents { origin, keys, missing: Some(missing), ..Documents::default() };
    apply_documents(inputs, root, &documents, &search.rejected)
}

fn unanswered((state, supply): (State, Supply), source: &str, search: &Search, faults: Vec<String>) -> Status {
    Status {
        state,
        datasource: source.into(),
        instance_id: None,
        hostname: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        key_count: 0,
        supply,
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
