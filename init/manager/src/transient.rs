//! Units that a client describes (`systemd-run`), and settings that it changes (`systemctl set-property`).
//!
//! A transient unit is a file in a directory of its own, so that everything that is true of units is true of it too.

use std::fs;
use std::os::fd::OwnedFd;

use ferrite_control::{
    ErrorKind, JobMode, JobOutcome, JobReport, RUN_DESCRIPTORS, Reply, TransientRequest, TransientUnit,
};
use ferrite_layout::durable::replace_file;
use ferrite_unit::{LoadState, UnitKind, UnitName};

use crate::engine::Engine;
use crate::jobs::{JobKind, Mode, UnitId};
use crate::server::{ClientId, Pending, error};
use crate::transaction::Graph;

/// Where the files of transient units are.
pub const TRANSIENT: &str = "/run/ferrite/transient";
/// Where settings that end with the machine's run are.
pub const RUNTIME_CONTROL: &str = "/run/ferrite/system.control";
/// Where settings for good are.
pub const CONTROL: &str = "/etc/systemd/system.control";
/// Units of one request at most.
const UNITS_MAX: usize = 16;
/// Settings of one request at most.
const SETTINGS_MAX: usize = 256;

/// The mode of a job as the queue knows it.
pub fn mode_of(mode: JobMode) -> Mode {
    match mode {
        JobMode::Fail => Mode::Fail,
        JobMode::Replace => Mode::Replace,
        JobMode::ReplaceIrreversibly => Mode::ReplaceIrreversibly,
        JobMode::Isolate => Mode::Isolate,
        JobMode::IgnoreDependencies => Mode::IgnoreDependencies,
        JobMode::Lenient => Mode::Lenient,
        JobMode::Flush => Mode::Flush,
        JobMode::IgnoreRequirements => Mode::IgnoreRequirements,
        JobMode::Triggering => Mode::Triggering,
        JobMode::RestartDependencies => Mode::RestartDependencies,
    }
}

fn may_be_transient(kind: UnitKind) -> bool {
    match kind {
        UnitKind::Service
        | UnitKind::Socket
        | UnitKind::Mount
        | UnitKind::Automount
        | UnitKind::Timer
        | UnitKind::Path
        | UnitKind::Slice
        | UnitKind::Scope => true,
        UnitKind::Target | UnitKind::Device | UnitKind::Swap => false,
    }
}

impl Engine {
    /// Makes the units of a request and starts the first.
    pub fn start_transient(&mut self, client: ClientId, request: &TransientRequest) -> Option<Reply> {
        let streams = match self.take_streams(client, request.descriptors) {
            Ok(streams) => streams,
            Err(fault) => return Some(error(ErrorKind::BadRequest, fault)),
        };
        let names = match self.check_transient(&request.units) {
            Ok(names) => names,
            Err((kind, fault)) => return Some(error(kind, fault)),
        };
        if let Err(fault) = write_units(&names, &request.units) {
            names.iter().for_each(remove_file);
            return Some(error(ErrorKind::Failed, fault));
        }
        let ids: Vec<Option<UnitId>> = names.iter().map(|name| self.load(name)).collect();
        let Some(first) = ids.first().copied().flatten() else {
            names.iter().for_each(remove_file);
            return Some(error(ErrorKind::LimitExceeded, "too many units".into()));
        };
        for (id, unit) in ids.into_iter().flatten().zip(&request.units) {
            if let Some(runtime) = self.units.get_mut(id) {
                runtime.transient = true;
            }
            self.idle_units.insert(id);
            self.kinds.scope_processes.insert(id, unit.pids.clone());
            self.kinds.references.entry(id).or_default().insert(client);
        }
        if let Some(streams) = streams {
            self.kinds.streams.insert(first, streams);
        }
        self.start_first(client, first, request)
    }

    fn start_first(&mut self, client: ClientId, id: UnitId, request: &TransientRequest) -> Option<Reply> {
        let name = self.units.get(id).map(|runtime| runtime.unit.name.to_string()).unwrap_or_default();
        let fault = self.units.get(id).and_then(|runtime| match &runtime.unit.load {
            LoadState::Loaded => None,
            LoadState::BadSetting(fault) | LoadState::Error(fault) => Some(fault.clone()),
            other => Some(other.as_str().to_owned()),
        });
        let job = match fault {
            Some(fault) => Err(fault),
            None => self.enqueue(id, JobKind::Start, mode_of(request.mode)).map_err(|error| error.to_string()),
        };
        let report = JobReport {
            unit: name,
            outcome: JobOutcome::Queued,
            unit_result: String::new(),
            refusal: None,
            message: String::new(),
        };
        match job {
            Err(message) => {
                self.kinds.streams.remove(&id);
                Some(error(ErrorKind::UnitRefuses, message))
            }
            Ok(job) if request.wait => {
                self.jobs.get_mut(&job)?.waiters.push((client, 0));
                self.server.clients.get_mut(&client)?.pending = Some(Pending { reports: vec![report], open: 1 });
                None
            }
            Ok(_) => Some(Reply::Jobs(vec![report])),
        }
    }

    fn take_streams(&mut self, client: ClientId, wanted: bool) -> Result<Option<[OwnedFd; 3]>, String> {
        let Some(client) = self.server.clients.get_mut(&client) else { return Ok(None) };
        let files = std::mem::take(&mut client.descriptors);
        match (wanted, <[OwnedFd; RUN_DESCRIPTORS]>::try_from(files)) {
            (false, _) => Ok(None),
            (true, Ok(streams)) => Ok(Some(streams)),
            (true, Err(files)) => {
                Err(format!("{} files came with the request, {RUN_DESCRIPTORS} are needed", files.len()))
            }
        }
    }

    /// The names of the units, all of them free.
    fn check_transient(&self, units: &[TransientUnit]) -> Result<Vec<UnitName>, (ErrorKind, String)> {
        if units.is_empty() || units.len() > UNITS_MAX {
            return Err((ErrorKind::BadRequest, format!("a request makes 1 to {UNITS_MAX} units")));
        }
        let mut names: Vec<UnitName> = Vec::new();
        for unit in units {
            let name = UnitName::parse(&unit.name).map_err(|fault| (ErrorKind::BadRequest, fault.to_string()))?;
            if name.is_template() || !may_be_transient(name.kind()) || names.contains(&name) {
                return Err((ErrorKind::BadRequest, format!("{name} cannot be made by a request")));
            }
            let known = self.units.find(&name).and_then(|id| self.units.get(id));
            let free = known.is_none_or(|runtime| {
                runtime.unit.load == LoadState::NotFound && runtime.active().is_down() && runtime.job.is_none()
            });
            let on_disk =
                self.settings.load_path.0.iter().any(|dir| fs::symlink_metadata(format!("{dir}/{name}")).is_ok());
            if !free || on_disk {
                return Err((ErrorKind::TransactionFailed, format!("{name} is there already")));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Changes settings of a unit, for good or until the next boot.
    pub fn set_property(&mut self, unit: &str, runtime: bool, settings: &[String]) -> Reply {
        let name = match UnitName::parse(unit) {
            Ok(name) if !name.is_template() => name,
            Ok(name) => return error(ErrorKind::BadRequest, format!("{name} is a template")),
            Err(fault) => return error(ErrorKind::BadRequest, fault.to_string()),
        };
        let Some(id) = self.load(&name) else { return error(ErrorKind::LimitExceeded, "too many units".into()) };
        if self.units.get(id).is_none_or(|runtime| runtime.unit.load != LoadState::Loaded) {
            return error(ErrorKind::NoSuchUnit, format!("unit {name} not found"));
        }
        let files = match self.drop_ins_of(id, settings) {
            Ok(files) => files,
            Err(fault) => return error(ErrorKind::BadRequest, fault),
        };
        let directory = format!("{}/{name}.d", if runtime { RUNTIME_CONTROL } else { CONTROL });
        if let Err(fault) = write_drop_ins(&directory, &files) {
            return error(ErrorKind::Failed, format!("writing below {directory}: {fault:#}"));
        }
        self.read_again(id);
        Reply::Done
    }

    /// One drop-in a setting, each of them checked.
    fn drop_ins_of(&self, id: UnitId, settings: &[String]) -> Result<Vec<(String, String)>, String> {
        let Some(runtime) = self.units.get(id) else { return Err("no such unit".into()) };
        if settings.is_empty() || settings.len() > SETTINGS_MAX {
            return Err(format!("1 to {SETTINGS_MAX} settings are needed"));
        }
        let mut files: Vec<(String, String)> = Vec::new();
        for setting in settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| format!("'{setting}' has no '='"))?;
            let section = runtime.unit.section_of(key, value, &self.host)?;
            match files.iter_mut().find(|(have, _)| have == key) {
                Some((_, text)) => text.push_str(&format!("{key}={value}\n")),
                None => {
                    let head = "# Written for `systemctl set-property`; a later call replaces it.\n";
                    files.push((key.to_owned(), format!("{head}[{section}]\n{key}={value}\n")));
                }
            }
        }
        Ok(files)
    }

    /// A client is gone: units that were kept for it may go too.
    pub fn drop_references(&mut self, client: ClientId) {
        for (id, clients) in &mut self.kinds.references {
            if clients.remove(&client) && clients.is_empty() {
                self.idle_units.insert(*id);
            }
        }
        self.kinds.references.retain(|_, clients| !clients.is_empty());
        for waiting in [&mut self.kinds.waiting, &mut self.kinds.freezing, &mut self.kinds.cleaning] {
            waiting.retain(|(waiting, _)| *waiting != client);
        }
    }

    /// Tells a client as soon as a unit is down and has no job.
    pub fn wait_inactive(&mut self, client: ClientId, unit: &str) -> Option<Reply> {
        let name = match UnitName::parse(unit) {
            Ok(name) => name,
            Err(fault) => return Some(error(ErrorKind::BadRequest, fault.to_string())),
        };
        match self.units.find(&name) {
            Some(id) if !self.is_settled(id) => {
                self.kinds.waiting.push((client, id));
                None
            }
            _ => Some(self.details(&name)),
        }
    }

    fn is_settled(&self, id: UnitId) -> bool {
        self.units.get(id).is_none_or(|runtime| runtime.active().is_down() && runtime.job.is_none())
    }

    /// Clients that wait for the end of a unit are told if this was it.
    pub fn answer_waiting(&mut self, id: UnitId) {
        if !self.kinds.waiting.iter().any(|(_, waited)| *waited == id) || !self.is_settled(id) {
            return;
        }
        let Some(name) = self.units.get(id).map(|runtime| runtime.unit.name.clone()) else { return };
        let reply = self.details(&name);
        let (told, rest) = std::mem::take(&mut self.kinds.waiting).into_iter().partition(|(_, waited)| *waited == id);
        self.kinds.waiting = rest;
        let told: Vec<(ClientId, UnitId)> = told;
        for (client, _) in told {
            self.send(client, &reply);
        }
    }

    /// The units whose end a client waits for.
    pub fn units_waited_for(&self, client: ClientId) -> Vec<String> {
        let of_client = self.kinds.waiting.iter().filter(|(waiting, _)| *waiting == client);
        of_client.map(|(_, unit)| self.name(*unit)).collect()
    }

    /// The units that are kept for a client.
    pub fn units_referred_to(&self, client: ClientId) -> Vec<String> {
        let of_client = self.kinds.references.iter().filter(|(_, clients)| clients.contains(&client));
        of_client.map(|(unit, _)| self.name(*unit)).collect()
    }

    /// Takes over what a client of the image before this one waits for. A unit that is gone is over.
    pub fn restore_waits(&mut self, saved: &crate::state::SavedClient) {
        let client = ClientId(saved.id);
        if !self.server.clients.contains_key(&client) {
            return;
        }
        let find =
            |engine: &Engine, name: &String| UnitName::parse(name).ok().and_then(|name| engine.units.find(&name));
        for name in &saved.refers_to {
            if let Some(unit) = find(self, name) {
                self.kinds.references.entry(unit).or_default().insert(client);
            }
        }
        for name in &saved.waits_for {
            match (find(self, name), UnitName::parse(name)) {
                (Some(unit), _) => self.kinds.waiting.push((client, unit)),
                (None, Ok(name)) => {
                    let reply = self.details(&name);
                    self.send(client, &reply);
                }
                (None, Err(_)) => {}
            }
        }
    }

    /// Takes jobs out of the queue.
    pub fn cancel_jobs(&mut self, jobs: &[u32]) -> Reply {
        let wanted: Vec<u32> = if jobs.is_empty() { self.jobs.keys().copied().collect() } else { jobs.to_vec() };
        if let Some(unknown) = wanted.iter().find(|job| !self.jobs.contains_key(job)) {
            return error(ErrorKind::NoSuchUnit, format!("there is no job {unknown}"));
        }
        for job in wanted {
            self.finish_job(job, crate::jobs::JobResult::Canceled);
        }
        Reply::Done
    }
}

fn write_units(names: &[UnitName], units: &[TransientUnit]) -> Result<(), String> {
    fs::create_dir_all(TRANSIENT).map_err(|error| format!("making {TRANSIENT}: {error}"))?;
    for (name, unit) in names.iter().zip(units) {
        let path = format!("{TRANSIENT}/{name}");
        fs::write(&path, &unit.text).map_err(|error| format!("writing {path}: {error}"))?;
    }
    Ok(())
}

fn write_drop_ins(directory: &str, files: &[(String, String)]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    for (key, text) in files {
        replace_file(format!("{directory}/50-{key}.conf").as_ref(), text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Removes the files of a transient unit that is gone.
pub fn remove_file(name: &UnitName) {
    let path = format!("{TRANSIENT}/{name}");
    // What is left over there is below /run and ends with it.
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir_all(format!("{path}.d"));
}
