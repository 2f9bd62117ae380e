//! What takes its time: looking at the server, writing a slot, asking for the lock. Acts, one job after the other, on a
//! thread of its own; tells the engine what came of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender};
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
use crate::http::{Access, Server};
use crate::install::{InstallError, Installer, Manner, Outcome};
use crate::lock::{RebootLock, Taken};
use crate::machine::Machine;
use crate::places::Places;
use crate::plan::Decision;
use crate::progress::NotesFile;
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
    /// Ask for the lock.
    TakeLock,
    /// Give it back.
    ReleaseLock,
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
    /// Keys and document.
    pub news: News,
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

/// The worker.
pub struct Worker {
    /// Where things are.
    pub places: Places,
    /// The machine's name for the lock.
    pub machine_id: String,
    /// The lock.
    pub lock: Box<dyn RebootLock>,
    /// Set to stop an install.
    pub cancel: Arc<AtomicBool>,
    /// To the engine.
    pub engine: Sender<Message>,
}

impl Worker {
    /// Works until the engine is gone.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            let message = match job {
                Job::Check(errand) => Message::Looked(self.look(&errand).map(Box::new)),
                Job::Install(errand, offer) => Message::Installed(self.install_offer(&errand, &offer)),
                Job::InstallFile(errand, path) => Message::Installed(self.install_file(&errand, path)),
                Job::TakeLock => Message::Lock(self.lock.take(&self.machine_id)),
                Job::ReleaseLock => match self.lock.release(&self.machine_id) {
                    Ok(()) => continue,
                    Err(text) => Message::Lock(Taken::No(text)),
                },
            };
            if self.engine.send(message).is_err() {
                return;
            }
        }
    }

    fn repository(&self, config: &Config) -> anyhow::Result<Box<dyn Repository>> {
        match &config.server {
            Some(Where::Web(base)) => {
                // Only https needs them; that they are missing is told there.
                let authorities = std::fs::read(self.places.authorities()).unwrap_or_default();
                let access = Access { proxy: config.proxy.clone(), authorities, rate_limit: config.rate_limit };
                Ok(Box::new(Server::with(base, &access)?))
            }
            Some(Where::Folder(path)) => {
                let path = self.places.path(path);
                anyhow::ensure!(path.is_dir(), "'{}' is no directory: is the medium mounted?", path.display());
                Ok(Box::new(Directory(path)))
            }
            Some(Where::Disabled) | None => anyhow::bail!("update.conf names no SERVER"),
        }
    }

    fn look(&self, errand: &Errand) -> Result<Looked, LookError> {
        let Errand { config, machine, keys, seen, now } = errand;
        let fresh = |error| LookError { error, stale: false };
        let mut repository = self.repository(config).map_err(fresh)?;
        let expected = Expected { product: keys.product(), channel: &config.group, seen: seen.number, now: *now };
        match look(repository.as_mut(), keys, &expected, machine) {
            Ok((news, choice)) => Ok(Looked { news, choice }),
            Err(error) => {
                let stale = matches!(error, CheckError::Channel(ChannelError::Expired(_)));
                Err(LookError { error: error.into(), stale })
            }
        }
    }

    fn install_offer(&self, errand: &Errand, offer: &Offer) -> anyhow::Result<Staged> {
        let mut repository = self.repository(&errand.config)?;
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
        let mut told = Instant::now();
        let mut watch = |done: u64, all: u64| {
            if told.elapsed() >= TELL || done == all {
                told = Instant::now();
                // The engine hears of the end anyway.
                let _ = self.engine.send(Message::Progress(done, all));
            }
        };
        let mut installer = Installer {
            machine,
            release: errand.keys.release(),
            disk: &mut disk,
            flags: &mut flags,
            notes: &mut NotesFile(self.places.state("progress")),
            manner: Manner::default(),
            cancel: &self.cancel,
            watch: &mut watch,
        };
        let (payload, mut stream) = installer.open(source, expected)?;
        let manifest = payload.manifest();
        let (version, size_bytes) = (manifest.version.clone(), payload.total_bytes());
        let (serial, floor) = (manifest.serial, manifest.floor);
        // The release is named before its first byte is written; an engine that is gone needs no names.
        let _ = self.engine.send(Message::Opened { serial, version: version.clone(), size_bytes });
        let slot = match installer.plan(&payload)? {
            Decision::Staged(slot) => slot,
            Decision::Install(plan) => {
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
        Ok(Staged { serial, version, slot, floor, size_bytes, gives_way: false })
    }
}
