//! The worker's side of a server that steers (Omaha): asks where a payload is, reads the signed head of what lies
//! there, and tells what happened. Acts.

use std::fs;

use anyhow::Context;
use ferrite_payload::channel::Payload;

use crate::choose::{Choice, Offer};
use crate::config::{Config, Server as Where};
use crate::http::Server;
use crate::install::read_head;
use crate::machine::Unfit;
use crate::omaha::{self, Answer, Asker, Told};
use crate::source::{Repository, Retry, Stream};
use crate::status;
use crate::worker::{Errand, Worker};

impl Worker {
    /// What the server points at, if it is a release for this machine. The server's word decides over nothing else.
    pub(crate) fn look_where_told(&self, errand: &Errand, url: &str, app: &str) -> anyhow::Result<Choice> {
        let access = self.access(&errand.config);
        let text = omaha::post(url, &omaha::check(&self.asker(&errand.config, app)), &access)?;
        let (codebase, name) = match omaha::parse(&text, app)? {
            Answer::Nothing => return Ok(Choice::UpToDate),
            Answer::Held(word) => return Ok(Choice::Held(word)),
            Answer::Payload { codebase, name } => (codebase, name),
        };
        let mut source = Server::with(&codebase, &access)?.payload(&name);
        let mut stream = Stream::new(source.as_mut(), Retry::default(), &self.cancel);
        let head = read_head(&mut stream, errand.keys.release()).context("reading what the server points at")?;
        let manifest = head.manifest();
        match errand.machine.accepts(manifest.serial) {
            Ok(()) => {}
            Err(Unfit::Blocked(serial)) => return Ok(Choice::Blocked(serial)),
            Err(Unfit::NotNewer { .. } | Unfit::BelowFloor { .. }) => return Ok(Choice::UpToDate),
            Err(unfit) => return Err(unfit.into()),
        }
        let full = Payload { path: name, size_bytes: head.total_bytes(), id: head.id() };
        let (serial, version) = (manifest.serial, manifest.version.clone());
        Ok(Choice::Take(Box::new(Offer { serial, version, delta: None, full, base: Some(codebase) })))
    }

    /// Tells the server what happened. That it does not hear it changes nothing.
    pub(crate) fn report(&self, config: &Config, told: Told) {
        let Some(Where::Omaha { url, app }) = &config.server else { return };
        let asker = self.asker(config, app);
        let previous = match told {
            Told::Running => self.previous_version(),
            Told::DownloadStarted | Told::DownloadFinished | Told::Installed | Told::Failed => None,
        };
        let text = omaha::event(&asker, told, &previous.unwrap_or_default());
        if let Err(error) = omaha::post(url, &text, &self.access(config)) {
            eprintln!("telling the server of {told:?}: {error}, going on");
        }
    }

    /// The version in the slot that was left for the one that runs.
    fn previous_version(&self) -> Option<String> {
        let snapshot = self.places.boot().read_snapshot().ok()?;
        status::version(&snapshot, snapshot.running?.other())
    }

    fn asker(&self, config: &Config, app: &str) -> Asker {
        // What is not known is left empty.
        let facts = self.places.boot().read_facts().unwrap_or_default();
        let boot_id = fs::read_to_string(self.places.path("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
        let oem = fs::read_to_string(self.places.path("/etc/oem-release")).unwrap_or_default();
        let oem = oem.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default();
        Asker {
            app: app.to_string(),
            group: config.group.clone(),
            version: facts.version,
            board: facts.board,
            machine_id: self.machine_id.clone(),
            boot_id: boot_id.trim().to_string(),
            oem: oem.trim_matches('"').to_string(),
        }
    }
}
