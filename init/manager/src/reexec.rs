//! Executing PID 1 again in place: the whole state goes through a memory file into the next image, processes stay.
//!
//! First a child of the new image tries to read the state: a program that cannot run is found out before it is PID 1.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ferrite_control::{ErrorKind, Reply};
use ferrite_sys::inherit::{Inherited, execute, keep_open};

use crate::engine::{Engine, Process, Role};
use crate::jobs::UnitId;
use crate::keeping::{self, saved_file};
use crate::server::{ClientId, error};
use crate::state::{self, Record, Saved, SavedFile, SavedJob, SavedManager, SavedProcess, SavedUnit};
use crate::timers::TimerKey;

/// How long the trial of the new image may take.
const TRIAL: Duration = Duration::from_secs(10);

/// A wish to execute PID 1 again.
#[derive(Debug, Default)]
pub struct Reexec {
    /// Who wishes it; they are answered by the next image.
    pub clients: Vec<ClientId>,
    /// The child that tries the new image.
    trial: Option<i32>,
    /// The trial went well: it is to happen as soon as no event waits.
    tried: bool,
}

impl Engine {
    /// Asks for the next image; `client` is answered by it.
    pub fn request_reexec(&mut self, client: Option<ClientId>) {
        let wish = self.reexec.get_or_insert_with(Reexec::default);
        wish.clients.extend(client);
        if wish.trial.is_some() || wish.tried {
            return;
        }
        self.log.info("trying whether this program can take the state over");
        match self.start_trial() {
            Ok(pid) => {
                self.processes.insert(pid, Process { unit: None, role: Role::Trial });
                self.timers.arm(TimerKey::Trial, Instant::now(), TRIAL);
                if let Some(wish) = &mut self.reexec {
                    wish.trial = Some(pid);
                }
            }
            Err(fault) => self.refuse_reexec(&format!("trying the program: {fault}")),
        }
    }

    fn start_trial(&self) -> std::io::Result<i32> {
        let file = memory_file(&self.snapshot())?;
        let (program, arguments) = self.image("--try-state", file.as_raw_fd())?;
        let child = ferrite_sys::process::fork_into(None, || {
            let ready = keep_open(&file, true).and_then(|()| ferrite_sys::signal::reset_for_program(true));
            if ready.is_ok() {
                // Only its exit status tells PID 1 what went wrong.
                let _ = execute(&program, &arguments);
            }
            1
        })?;
        Ok(child.pid)
    }

    /// The trial takes too long.
    pub fn trial_timed_out(&mut self) {
        if let Some(pid) = self.reexec.as_ref().and_then(|wish| wish.trial) {
            // Its end is taken as that of a trial that failed.
            let _ = ferrite_sys::signal::send(pid, 9);
        }
    }

    /// The trial ended.
    pub fn trial_ended(&mut self, well: bool) {
        self.timers.disarm(TimerKey::Trial);
        match &mut self.reexec {
            Some(wish) if well => {
                wish.trial = None;
                wish.tried = true;
            }
            Some(_) => self.refuse_reexec("the program on the disk cannot take the state over"),
            None => {}
        }
    }

    fn refuse_reexec(&mut self, why: &str) {
        self.log.error(&format!("executing PID 1 again: {why}, going on as before"));
        for client in self.reexec.take().unwrap_or_default().clients {
            self.send(client, &error(ErrorKind::Failed, why.to_owned()));
        }
    }

    /// Executes PID 1 again if that is wished and nothing is under way that only this image knows of.
    pub fn reexec_if_wished(&mut self) {
        if !self.reexec.as_ref().is_some_and(|wish| wish.tried) || !self.events.is_empty() {
            return;
        }
        self.log.info("executing PID 1 again");
        self.give_up_freezers();
        self.give_up_cleaning();
        let fault = match memory_file(&self.snapshot()) {
            Ok(file) => self.execute_with(&file),
            Err(fault) => fault,
        };
        self.refuse_reexec(&fault.to_string());
    }

    fn execute_with(&self, file: &OwnedFd) -> std::io::Error {
        let files: Vec<i32> = self.saved_files().into_iter().map(|saved| saved.fd).collect();
        let (program, arguments) = match self.image("--state", file.as_raw_fd()) {
            Ok(image) => image,
            Err(fault) => return fault,
        };
        let kept = keep_open(file, true).and_then(|()| ferrite_sys::inherit::keep_all(&files, true));
        self.watch.hand_over(true);
        let fault = match kept {
            Ok(()) => execute(&program, &arguments),
            Err(fault) => fault,
        };
        self.watch.hand_over(false);
        // We are still here: our children must not get these files.
        let _ = ferrite_sys::inherit::keep_all(&files, false);
        fault
    }

    /// Program and arguments of the next image.
    pub fn image(&self, option: &str, file: i32) -> std::io::Result<(CString, Vec<CString>)> {
        image_words(&self.settings.program, option, file, &self.settings.arguments)
    }

    /// The whole state.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        state::write(&mut out, &Record::Manager(&self.save_manager()));
        for id in self.units.ids() {
            if let Some(unit) = self.save_unit(id) {
                state::write(&mut out, &Record::Unit(&unit));
            }
        }
        for process in self.save_processes() {
            state::write(&mut out, &Record::Process(&process));
        }
        for client in self.save_clients() {
            state::write(&mut out, &Record::Client(&client));
        }
        out
    }

    /// All open files of the state.
    pub fn saved_files(&self) -> Vec<SavedFile> {
        let units = self.units.ids().into_iter().filter_map(|id| self.save_unit(id)).flat_map(|unit| unit.files);
        let processes = self.save_processes().into_iter().flat_map(|process| process.report);
        let clients = self.save_clients().into_iter().flat_map(|client| client.files);
        self.save_manager().files.into_iter().chain(units).chain(processes).chain(clients).collect()
    }

    /// What belongs to no unit.
    pub fn save_manager(&self) -> SavedManager {
        let (phase, end) = keeping::phase_words(self.phase);
        let mut files = Vec::new();
        files.extend(self.notify.as_ref().map(|socket| saved_file("notify", socket)));
        files.extend(self.server.saved_listener());
        if let Some((reader, writer)) = &self.idle {
            files.extend([saved_file("idle-reader", reader), saved_file("idle-writer", writer)]);
        }
        SavedManager {
            version: state::VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            phase: phase.to_owned(),
            end: end.to_owned(),
            next_job: self.next_job,
            next_client: self.server.next_number(),
            began_us: self.moments.userspace.1,
            booted_us: Some(self.moments.finish.1).filter(|finish| *finish > 0),
            timers: self.save_manager_timers(),
            files,
            // Who waits for a reload gets it as well: the next image reads all files.
            reexec_clients: (self.reexec.iter().flat_map(|wish| &wish.clients).copied())
                .chain(self.reloads.clients())
                .map(|client| client.0)
                .collect(),
            parts: [
                (crate::manager_state::PART.to_owned(), serde_json::to_value(&self.manager).unwrap_or_default()),
                ("moments".to_owned(), serde_json::to_value(self.moments).unwrap_or_default()),
                ("log".to_owned(), self.save_log()),
            ]
            .into(),
        }
    }

    /// One unit.
    pub fn save_unit(&self, id: UnitId) -> Option<SavedUnit> {
        let runtime = self.units.get(id)?;
        let mut saved = SavedUnit {
            name: runtime.unit.name.to_string(),
            active: runtime.active().as_str().to_owned(),
            job: runtime.job.and_then(|job| self.save_job(job)),
            times: runtime.times.list().to_vec(),
            condition_us: runtime.times.condition.0,
            group: runtime.group.clone(),
            group_killed: runtime.group_killed,
            main_pid: runtime.main_pid,
            control_pid: runtime.control_pid,
            status_text: runtime.status_text.clone(),
            starts: runtime.starts.iter().map(|start| keeping::monotonic_us(*start)).collect(),
            invocation: runtime.invocation.clone(),
            commands: runtime.commands.iter().map(keeping::save_command).collect(),
            assert_failed: runtime.assert_failed,
            unmet: runtime.unmet,
            ..SavedUnit::default()
        };
        self.save_kind(id, &mut saved);
        self.save_timers(id, &mut saved);
        Some(saved)
    }

    fn save_job(&self, id: crate::jobs::JobId) -> Option<SavedJob> {
        let job = self.jobs.get(&id)?;
        Some(SavedJob {
            id,
            kind: serde_json::to_value(job.kind).unwrap_or_default(),
            running: job.running,
            irreversible: job.irreversible,
            ignore_order: job.ignore_order,
            queued_us: job.queued_us,
            began_us: job.began_us,
            timeout_us: self.timers.at(TimerKey::Job(id)).map(keeping::monotonic_us),
            waiters: job.waiters.iter().map(|(client, place)| (client.0, *place)).collect(),
        })
    }

    /// Children that are not told by their units.
    fn save_processes(&self) -> Vec<SavedProcess> {
        let mut saved: std::collections::BTreeMap<i32, SavedProcess> = std::collections::BTreeMap::new();
        for (pid, process) in self.processes.iter().filter(|(_, process)| process.unit.is_none()) {
            let client = match process.role {
                Role::Command(client) => Some(client.0),
                Role::Main | Role::Control | Role::Helper | Role::Trial | Role::Generators | Role::Cleaner(_) => None,
            };
            let helper = client.is_none();
            saved.insert(*pid, SavedProcess { pid: *pid, client, helper, report: Vec::new() });
        }
        for (pid, report) in &self.reports {
            let entry = saved.entry(*pid).or_insert_with(|| SavedProcess { pid: *pid, ..SavedProcess::default() });
            entry.report.push(saved_file("report", report));
        }
        saved.into_values().collect()
    }

    /// The next image is here: whoever wished it is told.
    pub fn answer_reexec(&mut self, clients: &[u64]) {
        for client in clients {
            self.send(ClientId(*client), &Reply::Done);
        }
    }
}

/// Program and arguments of an image that finds its state in a file.
pub fn image_words(
    program: &str,
    option: &str,
    file: i32,
    arguments: &[String],
) -> std::io::Result<(CString, Vec<CString>)> {
    let number = file.to_string();
    let words = [program, option, number.as_str()].into_iter().chain(arguments.iter().map(String::as_str));
    let text = |word: &str| CString::new(word).map_err(std::io::Error::other);
    Ok((text(program)?, words.map(text).collect::<Result<Vec<_>, _>>()?))
}

/// A memory file that holds these bytes and cannot be changed any more.
fn memory_file(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("ferrite-state", flags)?);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

/// Takes the file of this number, which holds a state.
pub fn state_file(inherited: &mut Inherited, number: i32) -> Result<OwnedFd, String> {
    inherited.take(number, None).ok_or_else(|| format!("file {number} is not open"))
}

/// Reads a state.
pub fn read_state(file: &OwnedFd) -> Result<Saved, String> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(file.try_clone().map_err(|error| error.to_string())?);
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut bytes = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
    // Its position is that of the writer.
    file.read_exact_at(&mut bytes, 0).map_err(|error| error.to_string())?;
    state::read(&bytes)
}
