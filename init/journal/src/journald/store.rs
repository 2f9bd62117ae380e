//! Where entries go: the journal on the disk, the one in memory before the disk is there, and a queue for bad times.
//!
//! Entries are staged as they come and flushed once a turn. While nothing can be written they wait, at most
//! `PENDING_MAX` bytes; what does not fit is counted and told of later.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ferrite_journal_file::{Bounds, Id128, Limits, Note, Reader, Stamp, Writer};

use super::clock::Moment;
use super::config::{Config, Storage};
use crate::fields::Fields;

/// Bytes that wait in memory.
const PENDING_MAX: usize = 512 * 1024;
/// How long until a file system that refused is tried again.
const RETRY_AFTER_US: u64 = 1_000_000;
/// How long until the disk is tried again while the journal in memory takes the entries.
const RETURN_AFTER_US: u64 = 10_000_000;
/// Critical messages and worse are made durable at once, but not more often than this.
const SYNC_PAUSE_US: u64 = 250_000;
const URGENT_PRIORITY: u8 = 2;
/// The journal in memory takes no more than this unless it is configured.
const RUNTIME_MAX_USE: u64 = 64 << 20;
/// Who may read the log besides root.
const READERS: [&str; 2] = ["adm", "systemd-journal"];

/// The two journals of a machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// On the disk, without the folder of the machine.
    pub disk: PathBuf,
    /// In memory, without the folder of the machine.
    pub memory: PathBuf,
    /// Whose journal it is.
    pub machine: Id128,
}

impl Places {
    fn folder(&self, place: Place) -> PathBuf {
        let above = match place {
            Place::Disk => &self.disk,
            Place::Memory => &self.memory,
        };
        above.join(self.machine.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Disk,
    Memory,
}

/// The journal being written.
#[derive(Debug)]
pub struct Store {
    places: Places,
    config: Config,
    writer: Option<(Place, Writer)>,
    /// `journalctl --relinquish-var`: the disk is left alone until it is flushed again.
    relinquished: bool,
    pending: VecDeque<(Stamp, Fields)>,
    pending_bytes: usize,
    /// Entries that the writer has taken and not flushed.
    staged: u64,
    dropped: u64,
    urgent: bool,
    unsynced_since_us: Option<u64>,
    synced_at_us: u64,
    retry_at_us: u64,
    return_at_us: u64,
    trouble: Option<String>,
    reports: Vec<String>,
    free_bytes: u64,
}

impl Store {
    /// A store that opens its journal with the first entry.
    pub fn new(places: Places, config: Config) -> Self {
        Self {
            places,
            config,
            writer: None,
            relinquished: false,
            pending: VecDeque::new(),
            pending_bytes: 0,
            staged: 0,
            dropped: 0,
            urgent: false,
            unsynced_since_us: None,
            synced_at_us: 0,
            retry_at_us: 0,
            return_at_us: 0,
            trouble: None,
            reports: Vec::new(),
            free_bytes: 0,
        }
    }

    /// Adds an entry; readers see it after the next `flush`.
    pub fn append(&mut self, stamp: Stamp, priority: u8, fields: &Fields) {
        if self.config.storage == Storage::None {
            return;
        }
        self.urgent |= priority <= URGENT_PRIORITY;
        self.leave_read_only_disk();
        if self.writer.is_none() && self.pending.is_empty() && stamp.monotonic_us >= self.retry_at_us {
            // A large first entry has no place in the queue.
            let now = Moment { realtime_us: stamp.realtime_us, monotonic_us: stamp.monotonic_us };
            if let Err(error) = self.open(now) {
                self.failed(&error, stamp.monotonic_us);
            }
        }
        if self.pending.is_empty()
            && let Some((_, writer)) = self.writer.as_mut()
        {
            match stage(writer, &stamp, fields) {
                Ok(()) => {
                    self.staged += 1;
                    self.unsynced_since_us.get_or_insert(stamp.monotonic_us);
                    return;
                }
                Err(error) => self.failed(&error, stamp.monotonic_us),
            }
        }
        if self.pending_bytes + fields.size() > PENDING_MAX {
            self.dropped += 1;
            return;
        }
        self.pending_bytes += fields.size();
        self.pending.push_back((stamp, fields.clone()));
    }

    /// Before the first entry of a turn: no error would tell that the disk takes nothing any more.
    fn leave_read_only_disk(&mut self) {
        if self.staged == 0
            && let Some((Place::Disk, writer)) = &self.writer
            && writer.is_read_only()
        {
            self.writer = None;
        }
    }

    /// Writes what waits and makes durable what is due.
    pub fn flush(&mut self, now: Moment) {
        if self.config.storage == Storage::None {
            return;
        }
        if !self.pending.is_empty() && (self.trouble.is_none() || now.monotonic_us >= self.retry_at_us) {
            match self.write_pending(now) {
                Ok(()) => self.recovered(),
                Err(error) => self.failed(&error, now.monotonic_us),
            }
        }
        self.return_to_disk(now);
        if let Some((_, writer)) = self.writer.as_mut()
            && self.unsynced_since_us.is_some()
        {
            match writer.flush() {
                Ok(()) => self.staged = 0,
                Err(error) => self.failed(&error, now.monotonic_us),
            }
        }
        if self.dropped > 0 && self.pending.is_empty() && self.staged == 0 {
            self.recovered();
        }
        if self.sync_at_us().is_some_and(|at| now.monotonic_us >= at) {
            self.sync(now);
        }
    }

    /// When written entries are to be made durable: critical ones at once, the rest later.
    fn sync_at_us(&self) -> Option<u64> {
        let since = self.unsynced_since_us?;
        self.writer.as_ref()?;
        let delay = if self.urgent { 0 } else { self.config.sync_interval_us };
        Some((since + delay).max(self.synced_at_us + SYNC_PAUSE_US))
    }

    /// Microseconds until `flush` has something to do by itself.
    pub fn due_in_us(&self, now: Moment) -> Option<u64> {
        let sync = self.sync_at_us().map(|at| at.saturating_sub(now.monotonic_us));
        let retry = (!self.pending.is_empty()).then(|| self.retry_at_us.saturating_sub(now.monotonic_us));
        sync.into_iter().chain(retry).min()
    }

    /// Makes everything durable; `false`: it is not.
    pub fn sync(&mut self, now: Moment) -> bool {
        self.synced_at_us = now.monotonic_us;
        self.unsynced_since_us = None;
        let is_urgent = std::mem::take(&mut self.urgent);
        let Some((place, writer)) = self.writer.as_mut() else { return self.pending.is_empty() };
        // In a quiet time the file is closed, too: a power cut leaves a clean one.
        let outcome = match *place == Place::Disk && writer.is_read_only() {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false if is_urgent => writer.sync(),
            false => writer.rest(),
        };
        let is_durable = outcome.is_ok();
        if let Err(error) = outcome {
            self.reports.push(format!("making the journal durable: {error}, going on"));
        }
        if self.config.max_file_us > 0 && writer.age_us(now.realtime_us) > self.config.max_file_us {
            rotate(writer, &mut self.reports);
        }
        if self.config.max_retention_us > 0 {
            let oldest_us = Some(now.realtime_us.saturating_sub(self.config.max_retention_us));
            let folder = self.places.folder(*place);
            // What cannot be removed now is old enough at the next time, too.
            let _ = ferrite_journal_file::vacuum(&folder, &Bounds { oldest_us, ..Bounds::default() });
        }
        self.measure();
        is_durable && self.pending.is_empty()
    }

    /// Closes the file and begins a new one.
    pub fn rotate(&mut self, now: Moment) {
        self.flush(now);
        let Some((_, writer)) = self.writer.as_mut() else { return };
        rotate(writer, &mut self.reports);
    }

    /// From now on the disk is wanted: what the journal in memory holds goes there.
    pub fn flush_to_disk(&mut self, now: Moment) {
        self.relinquished = false;
        self.return_at_us = 0;
        if self.writer.is_none() {
            // Without an entry there is nothing to write yet, but there may be a journal in memory of an earlier run.
            self.retry_at_us = 0;
            if let Err(error) = self.open(now) {
                self.failed(&error, now.monotonic_us);
            }
        }
        self.return_to_disk(now);
        self.flush(now);
    }

    /// The disk is about to go away: entries go to the journal in memory.
    pub fn relinquish(&mut self, now: Moment) {
        self.relinquished = true;
        if matches!(self.writer, Some((Place::Disk, _))) {
            self.sync(now);
            self.writer = None;
        }
    }

    /// Things that an administrator wants to know, each once.
    pub fn take_reports(&mut self) -> Vec<String> {
        if let Some((_, writer)) = self.writer.as_mut() {
            self.reports.extend(writer.take_notes().iter().map(note_text));
        }
        std::mem::take(&mut self.reports)
    }

    /// Bytes that the journal may still take.
    pub fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    fn wants_disk(&self) -> bool {
        match self.config.storage {
            Storage::Auto => !self.relinquished && self.places.disk.is_dir(),
            Storage::Persistent => !self.relinquished,
            Storage::Volatile | Storage::None => false,
        }
    }

    fn write_pending(&mut self, now: Moment) -> io::Result<()> {
        if self.writer.is_none() {
            self.open(now)?;
        }
        let Some((_, writer)) = self.writer.as_mut() else { return Ok(()) };
        while let Some((stamp, fields)) = self.pending.front() {
            stage(writer, stamp, fields)?;
            self.staged += 1;
            self.unsynced_since_us.get_or_insert(now.monotonic_us);
            self.pending_bytes -= fields.size();
            self.pending.pop_front();
        }
        writer.flush()
    }

    /// Opens the journal on the disk or, if that cannot be, the one in memory.
    fn open(&mut self, now: Moment) -> io::Result<()> {
        if self.wants_disk() {
            match self.open_at(Place::Disk) {
                Ok(()) => {
                    self.move_from_memory();
                    return Ok(());
                }
                Err(error) => {
                    let folder = self.places.folder(Place::Disk);
                    self.reports.push(format!(
                        "opening the journal in '{}': {error}, going on with the journal in memory",
                        folder.display()
                    ));
                    self.return_at_us = now.monotonic_us + RETURN_AFTER_US;
                }
            }
        }
        self.open_at(Place::Memory)
    }

    fn open_at(&mut self, place: Place) -> io::Result<()> {
        let folder = self.places.folder(place);
        make_folder(&folder)?;
        let usual = Limits::of(&folder)?;
        let limits = match place {
            Place::Disk => self.config.system.limits(usual),
            Place::Memory => {
                let max_use = usual.max_use.min(RUNTIME_MAX_USE);
                self.config.runtime.limits(Limits { max_use, max_file_size: max_use / 8, ..usual })
            }
        };
        let (mut writer, notes) = Writer::open(&folder, self.places.machine, limits)?;
        self.reports.extend(notes.iter().map(note_text));
        writer.set_compression(self.config.compress_bytes);
        self.writer = Some((place, writer));
        self.measure();
        Ok(())
    }

    /// While the journal in memory is only a substitute, the disk is tried again now and then.
    fn return_to_disk(&mut self, now: Moment) {
        let is_substitute = matches!(self.writer, Some((Place::Memory, _))) && now.monotonic_us >= self.return_at_us;
        if !is_substitute || !self.wants_disk() {
            return;
        }
        self.return_at_us = now.monotonic_us + RETURN_AFTER_US;
        let memory = self.writer.take();
        match self.open_at(Place::Disk) {
            Ok(()) => {
                drop(memory);
                self.move_from_memory();
                self.unsynced_since_us = Some(now.monotonic_us);
            }
            // It was told of when it was opened first.
            Err(_) => self.writer = memory,
        }
    }

    /// Copies the entries of the journal in memory, then removes its files.
    fn move_from_memory(&mut self) {
        let folder = self.places.folder(Place::Memory);
        if !folder.is_dir() {
            return;
        }
        let Some((_, writer)) = self.writer.as_mut() else { return };
        match copy(&folder, writer).and_then(|count| writer.sync().map(|()| count)) {
            Ok(count) => {
                if let Err(error) = fs::remove_dir_all(&folder) {
                    self.reports.push(format!("removing '{}': {error}, its entries are kept twice", folder.display()));
                } else if count > 0 {
                    self.reports.push(format!("{count} entries of the journal in memory are on the disk now"));
                }
            }
            Err(error) => self.reports.push(format!(
                "copying the journal in '{}' to the disk: {error}, keeping it where it is",
                folder.display()
            )),
        }
    }

    fn measure(&mut self) {
        let Some((place, writer)) = &self.writer else { return };
        let free = rustix::fs::statvfs(self.places.folder(*place))
            .map_or(0, |statistics| statistics.f_bavail.saturating_mul(statistics.f_frsize));
        self.free_bytes = free.min(u64::MAX - writer.usage());
    }

    fn failed(&mut self, error: &io::Error, now_us: u64) {
        self.retry_at_us = now_us + RETRY_AFTER_US;
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            eprintln!("writing the journal: {text}, keeping messages in memory");
            self.trouble = Some(text);
        }
        // A read-only or vanished file system needs a fresh file; a full one does not.
        if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.writer = None;
            self.dropped += std::mem::take(&mut self.staged);
        }
    }

    fn recovered(&mut self) {
        let trouble = self.trouble.take();
        if self.dropped > 0 {
            let reason = trouble.unwrap_or_else(|| "more came than could be written".into());
            self.reports.push(format!("{} messages were dropped: {reason}", std::mem::take(&mut self.dropped)));
        }
    }
}

fn rotate(writer: &mut Writer, reports: &mut Vec<String>) {
    if let Err(error) = writer.rotate().and_then(|()| writer.vacuum().map(|_| ())) {
        reports.push(format!("rotating the journal: {error}, going on with the old file"));
    }
}

/// Stages an entry; when the disk is full, old files make room once.
fn stage(writer: &mut Writer, stamp: &Stamp, fields: &Fields) -> io::Result<()> {
    let parts: Vec<(&[u8], &[u8])> = fields.iter().collect();
    match writer.stage(stamp, &parts) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            if writer.vacuum()?.files == 0 {
                return Err(error);
            }
            writer.stage(stamp, &parts).map(|_| ())
        }
        result => result.map(|_| ()),
    }
}

fn copy(folder: &Path, writer: &mut Writer) -> io::Result<u64> {
    let mut reader = Reader::open_folders(&[folder])?;
    reader.seek_head();
    let mut fields = Fields::default();
    let mut count = 0;
    while reader.next()? {
        fields.clear();
        reader.fields(|name, value| fields.push(name, value))?;
        let (monotonic_us, boot) = reader.monotonic();
        stage(writer, &Stamp { realtime_us: reader.realtime_us(), monotonic_us, boot }, &fields)?;
        count += 1;
    }
    Ok(count)
}

fn note_text(note: &Note) -> String {
    match note {
        Note::SetAside { file, entries, why } => {
            format!("'{}' was not closed ({why}), keeping its {entries} entries in a file of its own", file.display())
        }
        Note::Rotated { file, why } => format!("'{}' is put aside ({why}), beginning a new file", file.display()),
    }
}

/// The folder of a machine; what is made in it belongs to its group.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    if let Some(group) = readers_group() {
        // Without the right to do so (a test, not root) the folder stays with our own group.
        let _ = std::os::unix::fs::chown(folder, None, Some(group));
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o2755))
}

fn readers_group() -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    READERS.iter().find_map(|group| {
        let line = text.lines().find(|line| line.split(':').next() == Some(group))?;
        line.split(':').nth(2)?.parse().ok()
    })
}
