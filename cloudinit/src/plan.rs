//! What a machine must change to be what its documents say. Pure; a plan prints as text.
//!
//! Keys go to a file of their own, `.ssh/authorized_keys.d/cloud-config`: keys that a person added stay, keys
//! that left the user-data go. A machine that nobody named gets a name from its machine id, but only for this
//! boot, so that DHCP may give a better one.

use std::fmt;

use ferrite_files::{Entry, EntryKind};

use crate::config::Config;
use crate::facts::{Facts, USER, User, key_file, key_folders};
use crate::hostname::HostName;
use crate::keys::PublicKey;
use crate::meta::MetaData;

const KEY_HEADER: &str = "# Written by ferrite-cloudinit at every boot; add keys of your own to ../authorized_keys\n";
/// Names that mean that nobody chose one.
const NO_NAMES: [&str; 4] = ["", "(none)", "localhost", "localhost.localdomain"];

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make a folder, or give the existing one these attributes.
    Folder { path: String, mode: u32, owner: (u32, u32) },
    /// Replace a file.
    File { path: String, content: Vec<u8>, mode: u32, owner: (u32, u32), note: String },
    /// Give the running kernel a name.
    Hostname { name: HostName },
}

/// All changes in order, and what could not be planned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The changes.
    pub steps: Vec<Step>,
    /// What is asked for and cannot be done.
    pub problems: Vec<String>,
    /// How many keys `core` has from the documents.
    pub key_count: usize,
    /// The name of the machine after the plan.
    pub hostname: String,
}

/// Plans. The user-data's name wins over the meta-data's; keys of both are used.
pub(crate) fn plan(config: &Config, meta: &MetaData, facts: &Facts) -> Plan {
    let mut plan = Plan::default();
    plan_hostname(config.hostname.as_ref().or(meta.hostname.as_ref()), facts, &mut plan);
    let mut keys: Vec<&PublicKey> = Vec::new();
    for key in config.ssh_authorized_keys.iter().chain(&meta.public_keys) {
        if !keys.iter().any(|known| known.line() == key.line()) {
            keys.push(key);
        }
    }
    match &facts.user {
        Some(user) => {
            plan_home(user, facts, &mut plan);
            plan_keys(user, &keys, facts, &mut plan);
        }
        None if keys.is_empty() => {}
        None => plan.problems.push(format!("there is no user '{USER}' in /etc/passwd to give {} keys to", keys.len())),
    }
    plan
}

fn plan_hostname(wanted: Option<&HostName>, facts: &Facts, plan: &mut Plan) {
    let kernel_has = |name: &str| facts.kernel_hostname.as_deref().is_none_or(|known| known == name);
    if let Some(name) = wanted {
        if facts.hostname_file.as_deref() != Some(name.as_str()) {
            plan.steps.push(Step::File {
                path: "/etc/hostname".into(),
                content: format!("{}\n", name.as_str()).into_bytes(),
                mode: 0o644,
                owner: (0, 0),
                note: name.as_str().into(),
            });
        }
        if !kernel_has(name.as_str()) {
            plan.steps.push(Step::Hostname { name: name.clone() });
        }
        plan.hostname = name.as_str().to_string();
        return;
    }
    // A name that a person wrote by hand and that we would not accept is theirs to keep.
    let chosen = facts.hostname_file.as_deref().and_then(|text| HostName::parse(text).ok());
    let nameless = facts.kernel_hostname.as_deref().is_some_and(|known| NO_NAMES.contains(&known));
    let name = chosen.unwrap_or_else(|| HostName::default_of(&facts.machine_id));
    if nameless {
        plan.steps.push(Step::Hostname { name: name.clone() });
    }
    let kernel = facts.kernel_hostname.clone().filter(|_| !nameless);
    plan.hostname = kernel.unwrap_or_else(|| name.as_str().to_string());
}

fn plan_home(user: &User, facts: &Facts, plan: &mut Plan) {
    if facts.folder(&user.home).is_some() {
        return;
    }
    plan.steps.push(Step::Folder { path: user.home.clone(), mode: 0o755, owner: user.owner });
    for entry in &facts.skel {
        let path = format!("{}{}", user.home, entry.path);
        plan.steps.push(match &entry.content {
            None => Step::Folder { path, mode: entry.mode, owner: user.owner },
            Some(content) => Step::File {
                path,
                content: content.clone(),
                mode: entry.mode,
                owner: user.owner,
                note: "from /etc/skel".into(),
            },
        });
    }
}

fn plan_keys(user: &User, keys: &[&PublicKey], facts: &Facts, plan: &mut Plan) {
    plan.key_count = keys.len();
    if keys.is_empty() && facts.managed_keys.is_none() {
        return;
    }
    for path in key_folders(&user.home) {
        if !is_private_folder(facts.folder(&path), user.owner) {
            plan.steps.push(Step::Folder { path, mode: 0o700, owner: user.owner });
        }
    }
    let mut content = String::from(KEY_HEADER);
    for key in keys {
        content.push_str(key.line());
        content.push('\n');
    }
    if facts.managed_keys.as_deref() != Some(content.as_bytes()) {
        let summaries: Vec<String> = keys.iter().map(|key| key.summary()).collect();
        let note = if summaries.is_empty() { "no keys".to_string() } else { summaries.join(", ") };
        let (path, content) = (key_file(&user.home), content.into_bytes());
        plan.steps.push(Step::File { path, content, mode: 0o600, owner: user.owner, note });
    }
}

fn is_private_folder(entry: Option<Entry>, owner: (u32, u32)) -> bool {
    entry.is_some_and(|entry| entry.kind == EntryKind::Folder && entry.mode == 0o700 && entry.owner == owner)
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder { path, mode, owner: (uid, gid) } => {
                write!(out, "folder {path} mode {mode:04o} owner {uid}:{gid}")
            }
            Self::File { path, content, mode, owner: (uid, gid), note } => {
                write!(out, "file {path} mode {mode:04o} owner {uid}:{gid} {} bytes ({note})", content.len())
            }
            Self::Hostname { name } => write!(out, "hostname {}", name.as_str()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(out, "{step}")?;
        }
        for problem in &self.problems {
            writeln!(out, "problem {problem}")?;
        }
        if self.steps.is_empty() && self.problems.is_empty() {
            writeln!(out, "nothing to change")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
