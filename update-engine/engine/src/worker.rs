//! What takes its time: looking at the server, writing a slot, asking for the lock. Acts, one job after the other, on a
//! thread of its own; tells the engine what came of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use ferrite_layout::bootctl::{Access as Open, Bootctl};
use ferrite_payload::channel::{ChannelError, Expected, Payload};
use ferrite_payload::{Hash, KeySet};

use crate::change;
use crate::check::{CheckError, News, look};
use crate::choose::{Choice, Offer};
use crate::config::{Config, Server as Where};
use crate::devices::Devices;
use crate::disk::FileDisk;
use crate::engine::Message;
use crate::fleet_lock::FleetLock;
use crate::host;
use crate::http::{Access, Server, Slowness};
use crate::install::{InstallError, Installer, Manner, Outcome};
use crate::lock::{LockPlace, NoLock, RebootLock, Taken};
use crate::machine::Machine;
use crate::omaha::Told;
use crate::places::Places;
use crate::plan::Decision;
use crate::progress::{Notes, NotesFile, Progress};
use crate::source::{Directory, FileSource, Repository, Source};
use crate::store::{Seen, Staged};

/// News of a running install, at most so often.
const TELL: Duration = Duration::from_millis(250);

/// Something to do.
pub enum Job {
    /// Look at the server.
    Check(Errand),
    /// Install what was offered.
    Install(Errand, Box<Offer>),
    /// Install a file.
    InstallFile(Errand, PathBuf),
    /// Tell the server that steers what happened.
    Report(Config, Told),
    /// Ask for the lock, if there is one.
    TakeLock(Config, Option<LockPlace>),
    /// Give it back.
    ReleaseLock(Config, LockPlace),
}

/// What a job depends on.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The configuration.
    pub config: Config,
    /// The machine.
    pub machine: Machine,
    /// Who is trusted.
    pub keys: KeySet,
    /// The last document of the channel.
    pub seen: Seen,
    /// The time.
    pub now: u64,
}

/// What a look found.
pub struct Looked {
    /// Keys and document, of a published directory.
    pub news: Option<News>,
    /// What there is.
    pub choice: Choice,
}

/// A look that failed.
pub struct LookError {
    /// Why.
    pub error: anyhow::Error,
    /// The document has expired.
    pub stale: bool,
}

/// Notes in a file, and the release in the memory of the engine before it can be started: a power cut behind that start
/// must not make the engine forget which release failed.
struct EngineNotes<'a> {
    file: NotesFile,
    engine: &'a Sender<Message>,
    staged: Option<Staged>,
}

impl Notes for EngineNotes<'_> {
    fn load(&mut self) -> io::Result<Option<Progress>> {
        self.file.load()
    }

    fn store(&mut self, progress: &Progress) -> io::Result<()> {
        self.file.store(progress)
    }

    fn ready(&mut self) -> io::Result<()> {
        let Some(staged) = self.staged.take() else { return Ok(()) };
        let (told, heard) = channel();
        let gone = || io::Error::other("the engine has ended");
        self.engine.send(Message::Ready(Box::new(staged), told)).map_err(|_| gone())?;
        heard.recv().map_err(|_| gone())?.map_err(io::Error::other)
    }
}

/// The worker.
pub struct Worker {
    /// Where things are.
    pub places: Places,
    /// The machine's name for the lock.
    pub machine_id: String,
    /// Progress is noted after so many bytes, if not after the usual number.
    pub note_bytes: Option<u64>,
    /// Set to stop an install.
    pub cancel: Arc<AtomicBool>,
    /// To the engine.
    pub engine: Sender<Message>,
}

impl Worker {
    /// Works until the engine is gone.
    pub fn run(self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let message = match job {
                Job::Check(errand) => Message::Looked(self.look(&errand).map(Box::new)),
                Job::Install(errand, offer) => Message::Installed(self.install_offer(&errand, &offer)),
                Job::InstallFile(errand, path) => Message::Installed(self.install_file(&errand, path)),
                Job::Report(config, told) => {
                    self.report(&config, told);
                    continue;
                }
                Job::TakeLock(config, place) => Message::Lock(match self.lock(&config, place.as_ref()) {
                    Ok(mut lock) => lock.take(&self.machine_id),
                    Err(error) => Taken::No(format!("{error:#}")),
                }),
                Job::ReleaseLock(config, place) => {
                    let lock = self.lock(&config, Some(&place)).map_err(|error| format!("{error:#}"));
                    Message::LockReleased(lock.and_then(|mut lock| lock.release(&self.machine_id)))
                }
            };
            if self.engine.send(message).is_err() {
                return;
            }
        }
    }

    pub(crate) fn access(&self, config: &Config) -> Access {
        // Only https needs them; that they are missing is told there.
        let authorities = std::fs::read(self.places.authorities()).unwrap_or_default();
        let Config { proxy, no_proxy, rate_limit, .. } = config.clone();
        Access { proxy, no_proxy, authorities, rate_limit, slowness: Slowness::default() }
    }

    fn lock(&self, config: &Config, place: Option<&LockPlace>) -> anyhow::Result<Box<dyn RebootLock>> {
        Ok(match place {
            Some(place) => Box::new(FleetLock::new(place, &self.access(config))?),
            None => Box::new(NoLock),
        })
    }

    fn repository(&self, config: &Config) -> anyhow::Result<Box<dyn Repository>> {
        match &config.server {
            Some(Where::Web(base)) => Ok(Box::new(Server::with(base, &self.access(config))?)),
            Some(Where::Folder(path)) => {
                let path = self.places.path(path);
                anyhow::ensure!(path.is_dir(), "'{}' is no directory: is the medium mounted?", path.display());
                Ok(Box::new(Directory(path)))
            }
            Some(Where::Omaha { .. } | Where::Disabled) | None => anyhow::bail!("update.conf names no SERVER"),
        }
    }

    fn look(&self, errand: &Errand) -> Result<Looked, LookError> {
        let Errand { config, machine, keys, seen, now } = errand;
        let fresh = |error| LookError { error, stale: false };
        if let Some(Where::Omaha { url, app }) = &config.server {
            let choice = self.look_where_told(errand, url, app).map_err(fresh)?;
            return Ok(Looked { news: None, choice });
        }
        let mut repository = self.repository(config).map_err(fresh)?;
        let expected = Expected {
            product: keys.product(),
            channel: &config.group,
            seen: seen.number,
            now: *now,
            clock: host::right_clock(),
        };
        match look(repository.as_mut(), keys, &expected, machine) {
            Ok((news, choice)) => Ok(Looked { news: Some(news), choice }),
            Err(error) => {
                let stale = matches!(error, CheckError::Channel(ChannelError::Expired(_)));
                Err(LookError { error: error.into(), stale })
            }
        }
    }

    fn install_offer(&self, errand: &Errand, offer: &Offer) -> anyhow::Result<Staged> {
        self.report(&errand.config, Told::DownloadStarted);
        let outcome = self.take_offer(errand, offer);
        if outcome.is_ok() {
            self.report(&errand.config, Told::DownloadFinished);
            self.report(&errand.config, Told::Installed);
        } else {
            self.report(&errand.config, Told::Failed);
        }
        outcome
    }

    fn take_offer(&self, errand: &Errand, offer: &Offer) -> anyhow::Result<Staged> {
        let mut repository: Box<dyn Repository> = match &offer.base {
            Some(base) => Box::new(Server::with(base, &self.access(&errand.config))?),
            None => self.repository(&errand.config)?,
        };
        let mut install = |payload: &Payload| {
            let mut source = repository.payload(&payload.path);
            self.install(errand, source.as_mut(), Some(payload.id))
        };
        if let Some(delta) = &offer.delta {
            match install(delta) {
                Err(error) if error.downcast_ref::<InstallError>().is_some_and(InstallError::wants_full) => {
                    eprintln!("the delta cannot be used, taking the full payload: {error:#}");
                }
                outcome => return outcome,
            }
        }
        install(&offer.full)
    }

    fn install_file(&self, errand: &Errand, path: PathBuf) -> anyhow::Result<Staged> {
        self.install(errand, &mut FileSource(path), None)
    }

    fn install(&self, errand: &Errand, source: &mut dyn Source, expected: Option<Hash>) -> anyhow::Result<Staged> {
        let machine = &errand.machine;
        let facts = self.places.boot().read_facts()?;
        let devices = Devices::find(&self.places, &facts.disk)?;
        let target = machine.running.other();
        // Devices::find has looked for all four of them.
        let path = |slot, role| devices.path(slot, role).unwrap_or_default();
        let mut disk = FileDisk::open(target, path).context("opening the slots")?;
        let mut flags = Bootctl::open(Path::new(&facts.bootctl_device), Open::Write)?;
        let usual = Manner::default();
        let mut told = Instant::now();
        let mut watch = |done: u64, all: u64| {
            if told.elapsed() >= TELL || done == all {
                told = Instant::now();
                // The engine hears of the end anyway.
                let _ = self.engine.send(Message::Progress(done, all));
            }
        };
        let file = NotesFile(self.places.state("progress"));
        let mut notes = EngineNotes { file, engine: &self.engine, staged: None };
        let mut installer = Installer {
            machine,
            release: errand.keys.release(),
            disk: &mut disk,
            flags: &mut flags,
            notes: &mut notes,
            manner: Manner { note_bytes: self.note_bytes.unwrap_or(usual.note_bytes), ..usual },
            cancel: &self.cancel,
            watch: &mut watch,
        };
        let (payload, mut stream) = installer.open(source, expected)?;
        let manifest = payload.manifest();
        let (version, size_bytes) = (manifest.version.clone(), payload.total_bytes());
        let (serial, floor) = (manifest.serial, manifest.floor);
        // The release is named before its first byte is written; an engine that is gone needs no names.
        let _ = self.engine.send(Message::Opened { serial, version: version.clone(), size_bytes });
        let mut staged =
            Staged { serial, version, slot: target, floor, size_bytes, from: Some(machine.serial), gives_way: false };
        staged.slot = match installer.plan(&payload)? {
            Decision::Staged(slot) => slot,
            Decision::Install(plan) => {
                installer.notes.staged = Some(Staged { gives_way: true, ..staged.clone() });
                if let Some(record) = installer.flags.read()?.record {
                    installer.flags.write_record(&record.forget_other())?;
                }
                match installer.carry_out(&plan, &payload, &mut stream)? {
                    Outcome::Installed { slot, .. } | Outcome::Staged(slot) => slot,
                }
            }
        };
        let contents = installer.flags.read()?;
        change::refresh(&self.places.boot(), &facts, &contents)?;
        Ok(staged)
    }
}
