//! Makes the changes of a plan, in order. Safe to repeat: each file is replaced whole or not at all.
//!
//! A step that fails is named and the rest goes on, so that one bad file never costs the keys. What systemd starts is
//! only asked for, never waited on: a unit that wants this program to be done first would wait for ever.

use std::collections::BTreeSet;
use std::process::Command as Process;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ferrite_files::{Attributes, Durability, EntryKind, Root};

use crate::disks;
use crate::plan::{Action, Command, Frequency, Plan, Stage, Step};

/// What the unit of the late commands reads.
pub(crate) const QUEUE: &str = "/run/ferrite/cloudinit/commands.json";
const LATE_UNIT: &str = "ferrite-cloudinit-commands.service";
/// Units that are told of the configuration that is written for them, where the image has them.
const READERS: [&str; 4] =
    ["locksmithd.service", "systemd-networkd.service", "systemd-timesyncd.service", "update-engine.service"];
/// How systemctl ends then.
const NO_SUCH_UNIT: i32 = 5;
const NETWORKD: &str = "ferrite-networkd.service";
const STATE: &str = "/var/lib/ferrite/cloudinit";
/// What all boot commands together may take; the keys come after them.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

/// Applies the steps of a plan.
pub(crate) fn apply(plan: &Plan, root: &Root) -> Vec<anyhow::Error> {
    let done = |step| act(step, root, &plan.instance).with_context(|| format!("applying '{step}'"));
    plan.steps.iter().filter_map(|step| done(step).err()).collect()
}

/// Whether a device may lose its data: once for an instance, remembered before anything is lost.
fn once_for_instance(instance: &str, device: &str) -> anyhow::Result<bool> {
    mark(&format!("{STATE}/overwritten/{}-{}", file_name(instance), file_name(device)))
}

fn act(step: &Step, root: &Root, instance: &str) -> anyhow::Result<()> {
    match step {
        Step::Folder { path, mode, owner } => {
            folders_above(path, None, root)?;
            root.make_folder(path, &Attributes { mode: *mode, owner: Some(*owner) })?;
        }
        Step::MissingFolder { path } => folders_above(&format!("{path}/x"), None, root)?,
        Step::File { path, content, mode, owner, .. } => {
            folders_above(path, Some(*owner), root)?;
            root.replace(path, content, &Attributes { mode: *mode, owner: Some(*owner) })?;
        }
        Step::Link { path, target } => {
            folders_above(path, None, root)?;
            root.replace_link(path, target)?;
        }
        Step::Unlink { path } => root.remove_link(path)?,
        Step::Remove { path } => root.remove_file(path)?,
        // Never the name or the random numbers of the machine that only builds a root.
        Step::Hostname { name } if root.is_machine() => nix::unistd::sethostname(name)?,
        Step::Seed { bytes } if root.is_machine() => {
            std::fs::OpenOptions::new()
                .write(true)
                .open("/dev/urandom")
                .and_then(|mut device| std::io::Write::write_all(&mut device, bytes))?;
        }
        Step::Disk(disk) if root.is_machine() => {
            let done = disks::divide(disk, &|device| once_for_instance(instance, device))?;
            println!("{}: {}", disk.device, if done { "divided" } else { "left as it is" });
        }
        Step::FileSystem(system) if root.is_machine() => {
            let done = disks::format(system, &|device| once_for_instance(instance, device))?;
            println!("{}: {}", system.device, if done { "has a new file system" } else { "left as it is" });
        }
        Step::Console { text, .. } if root.is_machine() => crate::last::to_console(text),
        Step::Hostname { .. } | Step::Seed { .. } | Step::Disk(_) | Step::FileSystem(_) | Step::Console { .. } => {}
    }
    Ok(())
}

/// Makes the folders above a path that are missing, open to all; they belong to the owner of what is made in them.
pub(crate) fn folders_above(path: &str, owner: Option<(u32, u32)>, root: &Root) -> anyhow::Result<()> {
    let mut folder = String::new();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    for part in parts.get(..parts.len().saturating_sub(1)).unwrap_or_default() {
        folder.push('/');
        folder.push_str(part);
        match root.target(&folder)? {
            Some(entry) if entry.kind == EntryKind::Folder => {}
            Some(_) => bail!("'{folder}' is not a folder"),
            None => root.make_folder(&folder, &Attributes { mode: 0o755, owner })?,
        }
    }
    Ok(())
}

/// Runs the boot commands, each with its output in the journal.
pub(crate) fn boot_commands(plan: &Plan) -> Vec<anyhow::Error> {
    let started = Instant::now();
    let mut errors = Vec::new();
    for command in plan.commands.iter().filter(|command| command.stage == Stage::Bootcmd) {
        let left = BOOT_DEADLINE.saturating_sub(started.elapsed()).as_secs();
        if left == 0 {
            errors.push(anyhow::anyhow!(
                "the boot commands took longer than {} s, left out '{command}'",
                BOOT_DEADLINE.as_secs()
            ));
            continue;
        }
        let mut process = Process::new("timeout");
        process.args(["-k", "5", &left.to_string()]).args(words(&command.action));
        errors.extend(finish(&mut process, &command.to_string()).err());
    }
    errors
}

fn words(action: &Action) -> Vec<String> {
    match action {
        Action::Words(words) => words.clone(),
        Action::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
    }
}

fn finish(process: &mut Process, name: &str) -> anyhow::Result<()> {
    let status = process.status().with_context(|| format!("starting '{name}'"))?;
    if !status.success() {
        bail!("'{name}': {status}");
    }
    Ok(())
}

/// Tells systemctl what is planned and hands the late commands to a unit of their own.
pub(crate) fn queue(plan: &Plan, instance: &str) -> Vec<anyhow::Error> {
    let mut errors = Vec::new();
    for command in plan.commands.iter().filter(|command| command.stage == Stage::Units) {
        let Action::Words(words) = &command.action else {
            continue;
        };
        let Some((program, rest)) = words.split_first() else {
            continue;
        };
        if program == "networkctl" {
            errors.extend(reload_network().err());
            continue;
        }
        let waits = !matches!(rest.first().map(String::as_str), Some("enable" | "daemon-reload"));
        let mut process = Process::new(program);
        process.args(waits.then_some("--no-block")).args(rest);
        match process.status().with_context(|| format!("starting '{command}'")) {
            Ok(status) if status.success() => {}
            Ok(status) if status.code() == Some(NO_SUCH_UNIT) && concerns_reader(rest) => {
                println!("'{command}': the image has no such unit, its configuration is written all the same");
            }
            Ok(status) => errors.push(anyhow::anyhow!("'{command}': {status}")),
            Err(error) => errors.push(error),
        }
    }
    let late: Vec<&Command> = plan.commands.iter().filter(|command| command.stage >= Stage::Runcmd).collect();
    if !late.is_empty() {
        errors.extend(hand_over(&late, instance).err());
    }
    errors
}

/// Tells networkd of its new files. At boot it has not been started yet and reads them by itself.
fn reload_network() -> anyhow::Result<()> {
    let is_active = Process::new("systemctl").args(["is-active", "--quiet", NETWORKD]).status();
    if !is_active.context("asking for the state of networkd")?.success() {
        return Ok(());
    }
    let reload = Process::new("networkctl").arg("reload").status();
    if reload.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    finish(Process::new("systemctl").args(["--no-block", "restart", NETWORKD]), "restarting networkd")
}

/// Is it one of the units whose absence only means that nobody reads what was written?
fn concerns_reader(words: &[String]) -> bool {
    let [verb, unit] = words else { return false };
    ["restart", "try-restart", "stop"].contains(&verb.as_str()) && READERS.contains(&unit.as_str())
}

fn hand_over(late: &[&Command], instance: &str) -> anyhow::Result<()> {
    let commands: Vec<serde_json::Value> = late
        .iter()
        .map(|command| {
            let frequency = match command.frequency {
                Frequency::Always => "always",
                Frequency::Instance => "instance",
                Frequency::Once => "once",
            };
            serde_json::json!({ "name": command.to_string(), "frequency": frequency, "words": words(&command.action) })
        })
        .collect();
    let text = serde_json::json!({ "instance": instance, "commands": commands }).to_string();
    if let Some(folder) = std::path::Path::new(QUEUE).parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making '{}'", folder.display()))?;
    }
    ferrite_files::replace(QUEUE.as_ref(), text.as_bytes(), 0o600, Durability::Volatile)?;
    finish(Process::new("systemctl").args(["--no-block", "start", LATE_UNIT]), "starting the late commands")
}

/// Runs the late commands; those of an instance that ran before are left out. The unit's body.
pub(crate) fn late_commands() -> anyhow::Result<Vec<anyhow::Error>> {
    let text = match std::fs::read(QUEUE) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading '{QUEUE}'")),
    };
    let queue: serde_json::Value = serde_json::from_slice(&text).with_context(|| format!("reading '{QUEUE}'"))?;
    let instance = queue.get("instance").and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut allowed = BTreeSet::from(["always"]);
    // The mark is made before the first command: twice is worse than not at all.
    if mark(&format!("{STATE}/instances/{}", file_name(instance)))? {
        allowed.insert("instance");
    }
    let mut errors = Vec::new();
    for command in queue.get("commands").and_then(serde_json::Value::as_array).into_iter().flatten() {
        let text = |key: &str| command.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
        let words: Vec<&str> = command
            .get("words")
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .collect();
        let once = || mark(&format!("{STATE}/once/{}", file_name(words.last().copied().unwrap_or_default())));
        let runs = allowed.contains(text("frequency")) || text("frequency") == "once" && once()?;
        if let Some((program, rest)) = words.split_first().filter(|_| runs) {
            errors.extend(finish(Process::new(program).args(rest), text("name")).err());
        }
    }
    Ok(errors)
}

/// Makes a folder that says that something was done; whether it was not there before.
fn mark(path: &str) -> anyhow::Result<bool> {
    let path = std::path::Path::new(path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("making '{}'", parent.display()))?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("making '{}'", path.display())),
    }
}

fn file_name(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    let name: String = text.chars().take(128).map(|character| if plain(character) { character } else { '_' }).collect();
    if name.is_empty() { "none".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_readers_of_configuration_may_be_missing() {
        let concerns =
            |words: &[&str]| concerns_reader(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(concerns(&["restart", "update-engine.service"]));
        assert!(!concerns(&["restart", "nginx.service"]) && !concerns(&["enable", "locksmithd.service"]));
    }
}
