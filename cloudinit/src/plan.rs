//! What a machine must change to be what its documents say. Pure; a plan prints as text and as JSON.
//!
//! The order: name, users and their keys, files, settings, units, commands. A file that is written twice is written
//! once, as the last one says; what is already so is left out by `settle`. Contents, hashes and keys are never printed.

use std::collections::BTreeMap;
use std::fmt;

use ferrite_files::EntryKind;

use crate::accounts::Accounts;
use crate::config::Config;
use crate::facts::{Facts, Seen};
use crate::meta::MetaData;
use crate::plan_disks::{Disk, FileSystem};
use crate::{
    plan_commands, plan_coreos, plan_disks, plan_files, plan_instance, plan_late, plan_network, plan_system, plan_users,
};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make a folder, or give the existing one these attributes.
    Folder { path: String, mode: u32, owner: (u32, u32) },
    /// Make a folder when there is none.
    MissingFolder { path: String },
    /// Replace a file; missing folders above it are made.
    File { path: String, content: Vec<u8>, mode: u32, owner: (u32, u32), note: String },
    /// Replace a path by a symbolic link.
    Link { path: String, target: String },
    /// Remove a link.
    Unlink { path: String },
    /// Remove a file.
    Remove { path: String },
    /// Give the running kernel a name.
    Hostname { name: String },
    /// Feed the random number generator.
    Seed { bytes: Vec<u8> },
    /// Divide a disk.
    Disk(Disk),
    /// Make a file system.
    FileSystem(FileSystem),
    /// Tell who stands before the machine something that is written nowhere else.
    Console { text: String, note: String },
}

impl Step {
    /// The path it changes.
    pub(crate) fn path(&self) -> Option<&str> {
        match self {
            Self::Folder { path, .. }
            | Self::MissingFolder { path }
            | Self::File { path, .. }
            | Self::Link { path, .. }
            | Self::Unlink { path }
            | Self::Remove { path } => Some(path),
            Self::Hostname { .. } | Self::Seed { .. } | Self::Disk(_) | Self::FileSystem(_) | Self::Console { .. } => {
                None
            }
        }
    }
}

/// When a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Before everything else.
    Bootcmd,
    /// After the files: what systemctl is told.
    Units,
    /// The commands of the document.
    Runcmd,
    /// The scripts.
    Script,
    /// The end.
    Power,
}

/// How often a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frequency {
    /// At every boot.
    Always,
    /// Once for an instance.
    Instance,
    /// Once for the life of the machine.
    Once,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// A program and its arguments.
    Words(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// When.
    pub stage: Stage,
    /// How often.
    pub frequency: Frequency,
    /// What.
    pub action: Action,
}

/// A user, for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserSummary {
    /// The login name.
    pub name: String,
    /// User and group number.
    pub owner: (u32, u32),
    /// The home folder.
    pub home: String,
    /// Whether the plan makes the user.
    pub is_new: bool,
    /// How many keys may log in.
    pub keys: usize,
}

/// All changes in order, and what could not be planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The changes.
    pub steps: Vec<Step>,
    /// What is run, in order.
    pub commands: Vec<Command>,
    /// The users of the documents.
    pub users: Vec<UserSummary>,
    /// Keys that are accepted and only recorded here.
    pub unsupported: Vec<String>,
    /// What an administrator should know.
    pub warnings: Vec<String>,
    /// What is asked for and cannot be done.
    pub problems: Vec<String>,
    /// How many keys the default user has from the documents.
    pub key_count: usize,
    /// The name of the machine after the plan.
    pub hostname: String,
    /// Whose plan it is, for what is done once for an instance.
    pub instance: String,
}

/// What the parts of the planner share.
pub(crate) struct Planner<'a> {
    /// The documents.
    pub config: &'a Config,
    /// The meta-data.
    pub meta: &'a MetaData,
    /// The machine.
    pub facts: &'a Facts,
    /// Users and groups as they will be.
    pub accounts: Accounts,
    /// The plan so far.
    pub plan: Plan,
    /// Bytes of `write_files` so far.
    pub written_bytes: usize,
    /// Passwords that were hashed so far.
    pub hashed: usize,
}

impl Planner<'_> {
    /// Plans a file of root.
    pub(crate) fn file(&mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32, note: &str) {
        self.owned_file(path, content, mode, (0, 0), note);
    }

    /// Plans a file of somebody.
    pub(crate) fn owned_file(
        &mut self,
        path: &str,
        content: impl Into<Vec<u8>>,
        mode: u32,
        owner: (u32, u32),
        note: &str,
    ) {
        let (path, content, note) = (path.to_string(), content.into(), note.to_string());
        self.plan.steps.push(Step::File { path, content, mode, owner, note });
    }

    /// The bytes of a file as the plan so far leaves them.
    pub(crate) fn content(&self, path: &str) -> Option<&[u8]> {
        let planned = self.plan.steps.iter().rev().find_map(|step| match step {
            Step::File { path: known, content, .. } if known == path => Some(content.as_slice()),
            _ => None,
        });
        planned.or_else(|| self.facts.at(path).and_then(|seen| seen.content.as_deref()))
    }

    /// Plans a command of systemctl.
    pub(crate) fn systemctl(&mut self, words: &[&str]) {
        let words: Vec<&str> = std::iter::once("systemctl").chain(words.iter().copied()).collect();
        self.command(&words);
    }

    /// Plans a command that tells a service what changed.
    pub(crate) fn command(&mut self, words: &[&str]) {
        let words = words.iter().map(ToString::to_string).collect();
        let action = Action::Words(words);
        self.plan.commands.push(Command { stage: Stage::Units, frequency: Frequency::Always, action });
    }
}

/// Plans. The user-data's name wins over the meta-data's; keys of both are used.
pub(crate) fn plan(config: &Config, meta: &MetaData, facts: &Facts) -> Plan {
    let accounts = facts.accounts();
    let mut planner = Planner { config, meta, facts, accounts, plan: Plan::default(), written_bytes: 0, hashed: 0 };
    plan_commands::boot(&mut planner);
    plan_network::network(&mut planner);
    plan_instance::instance(&mut planner);
    plan_system::hostname(&mut planner);
    plan_users::users(&mut planner);
    plan_files::files(&mut planner, plan_files::Turn::First);
    plan_disks::disks(&mut planner);
    plan_system::settings(&mut planner);
    plan_coreos::coreos(&mut planner);
    plan_files::files(&mut planner, plan_files::Turn::Deferred);
    plan_commands::late(&mut planner);
    plan_late::end(&mut planner);
    let mut plan = planner.plan;
    plan.instance = meta.instance_id.clone().unwrap_or_default();
    plan.commands.sort_by_key(|command| command.stage);
    plan.steps = last_of_each(plan.steps);
    plan
}

/// Plans the network alone.
pub(crate) fn network(config: &Config, facts: &Facts) -> Plan {
    let meta = &MetaData::default();
    let accounts = facts.accounts();
    let mut planner = Planner { config, meta, facts, accounts, plan: Plan::default(), written_bytes: 0, hashed: 0 };
    plan_network::network(&mut planner);
    planner.plan
}

/// Of several files at one path the last one is written, where the first one stood.
fn last_of_each(steps: Vec<Step>) -> Vec<Step> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Step> = Vec::new();
    for step in steps {
        let key = match &step {
            Step::File { path, .. } | Step::Link { path, .. } | Step::Unlink { path } | Step::Remove { path } => {
                Some(path.clone())
            }
            Step::Folder { .. }
            | Step::MissingFolder { .. }
            | Step::Hostname { .. }
            | Step::Seed { .. }
            | Step::Disk(_)
            | Step::FileSystem(_)
            | Step::Console { .. } => None,
        };
        match key.as_ref().and_then(|key| places.get(key)).and_then(|index| kept.get_mut(*index)) {
            Some(slot) => *slot = step,
            None => {
                if let Some(key) = key {
                    places.insert(key, kept.len());
                }
                kept.push(step);
            }
        }
    }
    kept
}

impl Plan {
    /// The paths it is about.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> + '_ {
        self.steps.iter().filter_map(Step::path).map(str::to_string)
    }

    /// Leaves out what is already so.
    pub(crate) fn settle(&mut self, facts: &Facts) {
        self.steps.retain(|step| !is_done(step, facts));
    }
}

fn is_done(step: &Step, facts: &Facts) -> bool {
    let seen = step.path().and_then(|path| facts.at(path));
    match step {
        Step::Folder { mode, owner, .. } => seen.is_some_and(|seen| {
            seen.entry.kind == EntryKind::Folder && seen.entry.mode == *mode && seen.entry.owner == *owner
        }),
        Step::MissingFolder { .. } => seen.is_some(),
        Step::File { content, mode, owner, .. } => seen.is_some_and(|seen| same_file(seen, content, *mode, *owner)),
        Step::Link { target, .. } => seen.is_some_and(|seen| seen.target.as_ref() == Some(target)),
        Step::Unlink { .. } | Step::Remove { .. } => seen.is_none(),
        Step::Hostname { name } => facts.kernel_hostname.as_ref().is_none_or(|known| known == name),
        Step::Seed { .. } | Step::Disk(_) | Step::FileSystem(_) | Step::Console { .. } => false,
    }
}

fn same_file(seen: &Seen, content: &[u8], mode: u32, owner: (u32, u32)) -> bool {
    seen.content.as_deref() == Some(content) && seen.entry.mode == mode && seen.entry.owner == owner
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, mode, owner: (uid, gid) } => {
                write!(out, "folder {path} mode {mode:04o} owner {uid}:{gid}")
            }
            Self::MissingFolder { path } => write!(out, "folder {path} when it is missing"),
            Self::File { path, content, mode, owner: (uid, gid), note } => {
                write!(out, "file {path} mode {mode:04o} owner {uid}:{gid} {} bytes ({note})", content.len())
            }
            Self::Link { path, target } => write!(out, "link {path} to {target}"),
            Self::Unlink { path } => write!(out, "remove link {path}"),
            Self::Remove { path } => write!(out, "remove file {path}"),
            Self::Hostname { name } => write!(out, "hostname {name}"),
            Self::Seed { bytes } => write!(out, "random seed of {} bytes", bytes.len()),
            Self::Disk(disk) => {
                let (count, overwrite) = (disk.shares.len(), overwrite(disk.overwrite));
                write!(out, "{count} partitions on {} when it is blank{overwrite}", disk.device)
            }
            Self::FileSystem(system) => {
                let (program, overwrite) = (system.command.first(), overwrite(system.overwrite));
                let program = program.map_or("", String::as_str);
                write!(out, "{program} on {} ({:?}) when it is blank{overwrite}", system.device, system.partition)
            }
            Self::Console { note, .. } => write!(out, "tell the console {note}"),
        }
    }
}

fn overwrite(may: bool) -> &'static str {
    if may { ", or once for an instance" } else { "" }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let often = match self.frequency {
            Frequency::Always => "at every boot",
            Frequency::Instance => "once an instance",
            Frequency::Once => "once",
        };
        match &self.action {
            // A command may hold a password; its first word says enough.
            Action::Words(words) if self.stage == Stage::Units => write!(out, "run {} ({often})", words.join(" ")),
            Action::Words(words) => {
                let more = if words.len() > 1 { " ..." } else { "" };
                write!(out, "run {}{more} ({often})", words.first().map_or("", String::as_str))
            }
            Action::Shell(line) => {
                let first = line.split_whitespace().next().unwrap_or_default();
                write!(out, "run the shell: {first} ... ({often})")
            }
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(out, "{step}")?;
        }
        for command in &self.commands {
            writeln!(out, "{command}")?;
        }
        for key in &self.unsupported {
            writeln!(out, "only recorded {key}")?;
        }
        for problem in &self.problems {
            writeln!(out, "problem {problem}")?;
        }
        if self.steps.is_empty() && self.commands.is_empty() && self.problems.is_empty() {
            writeln!(out, "nothing to change")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
