//! The state of PID 1 as text, for its next image: written before it executes itself, and while it runs. Pure.
//!
//! One record a line: `{"unit":{...}}`. A later record of the same thing replaces an older one. The reader skips what
//! it does not know, and takes the default for what is not there, so that an older and a newer version understand each
//! other: names of fields and variants are never reused for something else.

use std::collections::BTreeMap;

use ferrite_control::JobReport;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the format; a reader refuses only a greater one.
pub const VERSION: u32 = 1;
/// Longest record.
const RECORD_MAX: usize = 4 << 20;

/// An open file that the next image is to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFile {
    /// What it is to its owner.
    pub name: String,
    /// Its number.
    pub fd: i32,
    /// The number of the object behind it.
    pub inode: u64,
}

/// PID 1 itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SavedManager {
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
    /// `starting`, `running`, `stopping`.
    pub phase: String,
    /// How the system ends, if it does.
    pub end: String,
    pub next_job: u32,
    pub next_client: u64,
    pub began_us: u64,
    pub booted_us: Option<u64>,
    /// Deadlines that belong to no unit: microseconds of the monotonic clock.
    pub timers: BTreeMap<String, u64>,
    pub files: Vec<SavedFile>,
    /// Clients that asked for this.
    pub reexec_clients: Vec<u64>,
    /// What parts of the manager keep for themselves, by the name of the part.
    pub parts: BTreeMap<String, Value>,
}

/// The job of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SavedJob {
    pub id: u32,
    /// `jobs::JobKind`.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub kind: Value,
    pub running: bool,
    pub irreversible: bool,
    pub ignore_order: bool,
    /// Monotonic microseconds.
    pub queued_us: u64,
    pub began_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_us: Option<u64>,
    /// Clients that wait for it, and the place of this job in their answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiters: Vec<(u64, usize)>,
}

/// A command that ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SavedCommand {
    pub main: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directive: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    pub pid: i32,
    pub start_us: u64,
    pub exit_us: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    pub status: i32,
}

/// A unit; what its files say is not part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SavedUnit {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The word of systemd, for readers that do not understand `state`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub active: String,
    /// What the kind of the unit saves.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub state: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<SavedJob>,
    /// Deadlines by what they are for: microseconds of the monotonic clock.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timers: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SavedFile>,
    /// Wall clock and monotonic clock, in the order of `units::Times`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<(u64, u64)>,
    pub condition_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub group_killed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub main_pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_pid: Option<i32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_text: String,
    /// Monotonic microseconds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub invocation: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<SavedCommand>,
    pub assert_failed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmet: Option<usize>,
    /// What else is kept with the unit, by the name of the part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Value>,
}

/// A client of the control socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SavedClient {
    pub id: u64,
    pub uid: u32,
    pub privileged: bool,
    pub closing: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SavedFile>,
    /// Bytes of a request that is not complete, and of answers that are not sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input: Vec<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<i32>,
    pub waits_for_boot: bool,
    /// Units whose end it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
    /// Units that are kept for it although they are over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refers_to: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reports: Option<Vec<JobReport>>,
    pub open_reports: usize,
}

impl SavedClient {
    /// Does it wait for something that cannot be asked for again?
    pub fn is_waiting(&self) -> bool {
        self.command.is_some()
            || self.waits_for_boot
            || !self.waits_for.is_empty()
            || !self.refers_to.is_empty()
            || self.reports.is_some()
    }
}

/// A child that belongs to no unit, or one that has not executed its program yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SavedProcess {
    pub pid: i32,
    pub client: Option<u64>,
    pub helper: bool,
    /// The pipe for its report.
    pub report: Vec<SavedFile>,
}

/// Everything that was read.
#[derive(Debug, Default)]
pub struct Saved {
    /// PID 1 itself.
    pub manager: SavedManager,
    /// Units by name.
    pub units: BTreeMap<String, SavedUnit>,
    /// Clients by number.
    pub clients: BTreeMap<u64, SavedClient>,
    /// Children by number.
    pub processes: BTreeMap<i32, SavedProcess>,
    /// When PID 1 crashed: monotonic microseconds.
    pub crashes: Vec<u64>,
    /// What could not be read, for the log.
    pub faults: Vec<String>,
}

/// One record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Record<'a> {
    Manager(&'a SavedManager),
    Unit(&'a SavedUnit),
    Client(&'a SavedClient),
    Process(&'a SavedProcess),
    /// A unit of which nothing is left.
    Gone(&'a str),
    /// A crash of PID 1, in microseconds of the monotonic clock.
    Crash(u64),
}

/// Adds a record to a text; one that cannot be written is left out.
pub fn write(out: &mut Vec<u8>, record: &Record<'_>) {
    let before = out.len();
    match serde_json::to_writer(&mut *out, record) {
        Ok(()) if out.len() - before <= RECORD_MAX => out.push(b'\n'),
        _ => out.truncate(before),
    }
}

/// Reads a text. Fails only if a newer format is known to differ.
pub fn read(bytes: &[u8]) -> Result<Saved, String> {
    let mut saved = Saved::default();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        if let Err(fault) = take(&mut saved, line) {
            saved.faults.push(format!("record {}: {fault}", number + 1));
        }
    }
    match saved.manager.version {
        version if version > VERSION => Err(format!("state is of version {version}, this program knows {VERSION}")),
        _ => Ok(saved),
    }
}

fn take(saved: &mut Saved, line: &[u8]) -> Result<(), String> {
    let record: serde_json::Map<String, Value> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let (kind, body) = record.into_iter().next().ok_or("empty")?;
    let text = |error: serde_json::Error| format!("{kind}: {error}");
    match kind.as_str() {
        "manager" => saved.manager = serde_json::from_value(body).map_err(text)?,
        "unit" => {
            let unit: SavedUnit = serde_json::from_value(body).map_err(text)?;
            saved.units.insert(unit.name.clone(), unit);
        }
        "client" => {
            let client: SavedClient = serde_json::from_value(body).map_err(text)?;
            saved.clients.insert(client.id, client);
        }
        "process" => {
            let process: SavedProcess = serde_json::from_value(body).map_err(text)?;
            saved.processes.insert(process.pid, process);
        }
        "crash" => saved.crashes.push(serde_json::from_value(body).map_err(text)?),
        "gone" => {
            let name: String = serde_json::from_value(body).map_err(text)?;
            saved.units.remove(&name);
        }
        // A newer version wrote it.
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_record_replaces_an_older_one_and_strange_ones_are_skipped() {
        let mut text = Vec::new();
        write(&mut text, &Record::Manager(&SavedManager { version: VERSION, next_job: 7, ..Default::default() }));
        let mut unit = SavedUnit { name: "a.service".into(), main_pid: Some(5), ..Default::default() };
        write(&mut text, &Record::Unit(&unit));
        unit.main_pid = None;
        unit.timers.insert("unit".into(), 9);
        write(&mut text, &Record::Unit(&unit));
        text.extend_from_slice(b"{\"hologram\":{\"x\":1}}\n{\"unit\":{\"name\":\"b.service\",\"aura\":[1]}}\n{\"uni");
        let saved = read(&text).unwrap();
        assert_eq!((saved.manager.next_job, saved.units.len()), (7, 2));
        assert_eq!(saved.units["a.service"], unit);
        assert_eq!(saved.units["b.service"].main_pid, None);
        assert_eq!(saved.faults.len(), 1);
    }

    #[test]
    fn a_newer_format_is_refused() {
        assert!(read(format!("{{\"manager\":{{\"version\":{}}}}}\n", VERSION + 1).as_bytes()).is_err());
    }
}
