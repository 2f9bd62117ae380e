//! Sends the journal to another machine: syslog (RFC 5424) or JSON lines over TCP, or JSON lines by HTTP POST.
//!
//! A program of its own that reads the journal as journalctl does: journald never waits for it. What was not sent yet
//! is the journal itself, behind the cursor of the last entry that the other side took; the limits of the journal bound
//! it.

mod config;
mod form;
mod wire;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use ferrite_files::Durability;
use ferrite_journal_file::Reader;

use crate::journalctl::place::Place;
use crate::journalctl::record::Record;
use crate::journalctl::watch::Watch;
use config::Config;
use wire::Wire;

/// Entries and bytes that are sent before the other side is waited for.
const BATCH_ENTRIES: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
/// From one try to the next; it doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Sends the journal to another machine.
#[derive(Debug, Parser)]
#[command(name = "ferrite-journal-ship", version)]
struct Options {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/ferrite/journal-ship.conf")]
    config: PathBuf,
    /// The root whose journal is sent.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Where the cursor of the last entry that was taken is kept.
    #[arg(long, value_name = "FILE", default_value = "/var/lib/ferrite-journal-ship/cursor")]
    cursor: PathBuf,
}

/// The program: sends until it is ended.
pub fn main() -> ExitCode {
    ferrite_cli::exit_with(run())
}

fn run() -> Result<()> {
    let options = Options::parse();
    let config = config::read(&options.config)?;
    let notify = std::env::var_os("NOTIFY_SOCKET");
    let notifier = ferrite_notify::Notifier::new(notify.as_deref())?;
    notifier.ready(&format!("Sending to {}", config.target)).context("telling PID 1 that we are ready")?;
    Shipper::new(&options, config)?.run()
}

struct Shipper {
    wire: Wire,
    place: Place,
    cursor_path: PathBuf,
    /// Nothing in it yet: the journal as it is.
    reader: Reader,
    record: Record,
    config: Config,
}

impl Shipper {
    fn new(options: &Options, config: Config) -> Result<Self> {
        let place = Place::of_root(&options.root);
        let mut reader = place.open()?;
        let cursor = read_cursor(&options.cursor)?;
        position(&mut reader, cursor.as_deref(), &config)?;
        let wire = Wire::new(config.target.clone());
        let cursor_path = options.cursor.clone();
        Ok(Self { wire, place, cursor_path, reader, record: Record::default(), config })
    }

    fn run(mut self) -> Result<()> {
        let watch = Watch::new()?;
        loop {
            self.place.catch_up(&watch, &mut self.reader)?;
            while let Some((batch, cursor)) = self.next_batch()? {
                self.deliver(&batch)?;
                save_cursor(&self.cursor_path, &cursor)?;
            }
            watch.wait(None)?;
        }
    }

    /// The next entries as bytes, and the cursor of the last one; `None`: there is nothing new.
    fn next_batch(&mut self) -> Result<Option<(Vec<u8>, String)>> {
        let mut batch = Vec::new();
        let mut count = 0;
        while count < BATCH_ENTRIES && batch.len() < BATCH_BYTES {
            if !self.reader.next().context("reading the journal")? {
                break;
            }
            self.record.read(&mut self.reader).context("reading the journal")?;
            form::add(&self.record, self.config.target.form, &mut batch);
            count += 1;
        }
        Ok((count > 0).then(|| (batch, self.record.cursor.clone())))
    }

    /// Tries until the other side took the batch. Each kind of failure is told once.
    fn deliver(&mut self, batch: &[u8]) -> Result<()> {
        let mut pause = RETRY_FIRST;
        let mut told = String::new();
        while let Err(error) = self.wire.send(batch) {
            let text = error.to_string();
            if text != told {
                // Nobody to tell when standard error is gone.
                let _ = writeln!(std::io::stderr(), "sending to {}: {text}, trying again", self.config.target);
                told = text;
            }
            Watch::pause(pause)?;
            pause = (pause * 2).min(RETRY_MAX);
        }
        Ok(())
    }
}

/// Goes behind the entry that was taken last, or to where the configuration begins.
fn position(reader: &mut Reader, cursor: Option<&str>, config: &Config) -> Result<()> {
    match cursor {
        Some(cursor) => {
            reader.seek_cursor(cursor).with_context(|| format!("looking for the entry '{cursor}'"))?;
            let is_there = reader.next().context("reading the journal")?;
            if is_there && !reader.at_cursor(cursor) {
                // That entry is gone: what comes after it is still to be sent.
                reader.seek_cursor(cursor).with_context(|| format!("looking for the entry '{cursor}'"))?;
            }
        }
        None if config.from_start => reader.seek_head(),
        None => reader.seek_tail(),
    }
    Ok(())
}

fn read_cursor(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading '{}'", path.display())),
    }
}

fn save_cursor(path: &Path, cursor: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making '{}'", folder.display()))?;
    }
    ferrite_files::replace(path, format!("{cursor}\n").as_bytes(), 0o600, Durability::Durable)?;
    Ok(())
}
