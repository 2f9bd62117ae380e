//! The files of the log: appending, rotation by size, durability, a full disk.
//!
//! Lines wait in memory, at most `PENDING_MAX` bytes, until they are written; while /var cannot be written they stay
//! there, and what does not fit is counted and told of later. Bytes are written strictly in order and never taken back,
//! so a short write on a full disk is completed later and tears no line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ferrite_control::log_files::{OLD_FILES, log_path};
use ferrite_control::log_line::{LogEntry, LogSource, render};

use super::clock::Moment;

/// Size of a log file unless the file system is small.
pub const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// No log file is kept smaller than this.
const FILE_BYTES_MIN: u64 = 64 * 1024;
/// The log takes at most this part of its file system.
const FILESYSTEM_PART: u64 = 10;
/// Bytes that wait in memory.
const PENDING_MAX: usize = 512 * 1024;
/// How long written lines may be lost by a power cut.
const SYNC_AFTER_US: u64 = 5_000_000;
/// Errors cannot make the disk busier than this.
const SYNC_PAUSE_US: u64 = 250_000;
/// How long until a file system that refused is tried again.
const RETRY_AFTER_US: u64 = 1_000_000;
/// Errors and worse are made durable at once.
const URGENT_PRIORITY: u8 = 3;
/// Who may read the log besides root.
const READERS: [&str; 2] = ["adm", "systemd-journal"];

/// The log being written.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    file_bytes: u64,
    boot_id: String,
    file: Option<File>,
    /// Bytes in the file, and the size at which it is put aside.
    length: u64,
    limit: u64,
    /// The last write was cut short by a full disk.
    inside_line: bool,
    pending: Vec<u8>,
    dropped: u64,
    urgent: bool,
    unsynced_since_us: Option<u64>,
    synced_at_us: u64,
    retry_at_us: u64,
    trouble: Option<String>,
}

impl Store {
    /// A store that opens its file at the first flush.
    pub fn new(directory: &Path, file_bytes: u64, boot_id: String) -> Self {
        Self {
            directory: directory.to_path_buf(),
            file_bytes,
            boot_id,
            file: None,
            length: 0,
            limit: file_bytes,
            inside_line: false,
            pending: Vec::new(),
            dropped: 0,
            urgent: false,
            unsynced_since_us: None,
            synced_at_us: 0,
            retry_at_us: 0,
            trouble: None,
        }
    }

    /// Adds an entry of this boot; it is on its way to the disk after the next `flush`.
    pub fn append(&mut self, mut entry: LogEntry) {
        entry.boot_id.clone_from(&self.boot_id);
        let line = render(&entry);
        if self.pending.len() + line.len() > PENDING_MAX {
            self.dropped += 1;
            return;
        }
        self.urgent |= entry.priority <= URGENT_PRIORITY;
        self.pending.extend_from_slice(line.as_bytes());
    }

    /// Writes what waits, puts a full file aside, and makes durable what is due.
    pub fn flush(&mut self, now: Moment) {
        if !self.pending.is_empty() && (self.trouble.is_none() || now.monotonic_us >= self.retry_at_us) {
            match self.write_pending(now) {
                Ok(()) => self.recovered(now),
                Err(error) => self.failed(&error, now),
            }
        }
        if self.sync_at_us().is_some_and(|at| now.monotonic_us >= at) {
            self.synced_at_us = now.monotonic_us;
            self.sync();
        }
    }

    /// When written lines are to be made durable: errors at once, the rest soon.
    fn sync_at_us(&self) -> Option<u64> {
        let since = self.unsynced_since_us?;
        let delay = if self.urgent { 0 } else { SYNC_AFTER_US };
        Some((since + delay).max(self.synced_at_us + SYNC_PAUSE_US))
    }

    /// Microseconds until `flush` has something to do by itself.
    pub fn due_in_us(&self, now: Moment) -> Option<u64> {
        let sync = self.sync_at_us().map(|at| at.saturating_sub(now.monotonic_us));
        let retry = (!self.pending.is_empty()).then(|| self.retry_at_us.saturating_sub(now.monotonic_us));
        sync.into_iter().chain(retry).min()
    }

    /// Makes everything durable.
    pub fn sync(&mut self) {
        self.urgent = false;
        self.unsynced_since_us = None;
        if let Some(file) = &self.file
            && let Err(error) = file.sync_data()
        {
            eprintln!("making the log durable: {error}, going on");
        }
    }

    fn write_pending(&mut self, now: Moment) -> io::Result<()> {
        if self.file.is_none() {
            self.open()?;
        }
        while let Some(end) = self.next_slice() {
            if end == 0 {
                self.rotate()?;
                continue;
            }
            let Some(file) = self.file.as_mut() else { return Ok(()) };
            let slice = self.pending.get(..end).unwrap_or_default();
            let written = match file.write(slice) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.inside_line = slice.get(written - 1) != Some(&b'\n');
            self.pending.drain(..written);
            self.length += written as u64;
            self.unsynced_since_us.get_or_insert(now.monotonic_us);
        }
        Ok(())
    }

    /// How much of what waits goes into this file: whole lines as far as it has room. 0: the file is full.
    fn next_slice(&self) -> Option<usize> {
        let first_line = self.pending.iter().position(|byte| *byte == b'\n')? + 1;
        let room = usize::try_from(self.limit.saturating_sub(self.length)).unwrap_or(usize::MAX);
        if first_line > room && self.length > 0 && !self.inside_line {
            return Some(0);
        }
        let fitting = self.pending.get(..room.min(self.pending.len())).unwrap_or_default();
        let last_line = fitting.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Some(last_line.max(first_line))
    }

    fn open(&mut self) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let path = log_path(&self.directory, 0);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(&path)?;
        file.set_permissions(fs::Permissions::from_mode(0o640))?;
        if let Some(group) = readers_group() {
            // Without the right to do so (a test, not root) the file stays with our own group.
            let _ = std::os::unix::fs::fchown(&file, None, Some(group));
        }
        self.length = file.metadata()?.len();
        self.inside_line = false;
        self.limit = size_limit(&self.directory, self.file_bytes);
        if ends_inside_a_line(&mut file, self.length)? {
            // The torn line of a power cut ends here; its checksum is wrong, so readers skip it.
            self.pending.insert(0, b'\n');
        }
        self.file = Some(file);
        File::open(&self.directory)?.sync_all()
    }

    /// `messages` becomes `messages.1` and so on; the oldest is replaced.
    fn rotate(&mut self) -> io::Result<()> {
        self.sync();
        for age in (0..OLD_FILES).rev() {
            match fs::rename(log_path(&self.directory, age), log_path(&self.directory, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.file = None;
        self.open()
    }

    fn failed(&mut self, error: &io::Error, now: Moment) {
        self.retry_at_us = now.monotonic_us + RETRY_AFTER_US;
        let text = error.to_string();
        if self.trouble.as_ref() != Some(&text) {
            eprintln!("writing the log in '{}': {text}, keeping messages in memory", self.directory.display());
            self.trouble = Some(text);
        }
        // A read-only or vanished file system needs a fresh file; a full one does not, and keeps its torn line.
        if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            self.file = None;
        }
    }

    fn recovered(&mut self, now: Moment) {
        let trouble = self.trouble.take();
        if self.dropped > 0 {
            let reason = trouble.unwrap_or_else(|| "more came than could be written".into());
            let message = format!("{} messages were dropped: {reason}", std::mem::take(&mut self.dropped));
            self.append(own_entry(message, 4, now));
        }
    }
}

/// A message of journald itself.
pub fn own_entry(message: String, priority: u8, now: Moment) -> LogEntry {
    LogEntry {
        realtime_us: now.realtime_us,
        monotonic_us: now.monotonic_us,
        priority,
        source: LogSource::Driver,
        pid: i32::try_from(std::process::id()).unwrap_or(0),
        identifier: "ferrite-journald".into(),
        message,
        ..LogEntry::default()
    }
}

fn ends_inside_a_line(file: &mut File, length: u64) -> io::Result<bool> {
    if length == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// A quarter of a tenth of the file system, between the least useful size and what was asked for.
fn size_limit(directory: &Path, file_bytes: u64) -> u64 {
    let Ok(statistics) = rustix::fs::statvfs(directory) else { return file_bytes };
    let total = statistics.f_blocks.saturating_mul(statistics.f_frsize);
    let part = total / FILESYSTEM_PART / (OLD_FILES as u64 + 1);
    part.max(FILE_BYTES_MIN).min(file_bytes)
}

fn readers_group() -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    READERS.iter().find_map(|group| {
        let line = text.lines().find(|line| line.split(':').next() == Some(group))?;
        line.split(':').nth(2)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_control::log_files::LogFiles;

    fn at(second: u64) -> Moment {
        Moment { realtime_us: second * 1_000_000, monotonic_us: second * 1_000_000 }
    }

    fn entry(number: usize) -> LogEntry {
        LogEntry { message: format!("message {number:>100}"), priority: 6, ..LogEntry::default() }
    }

    fn messages(directory: &Path) -> Vec<String> {
        let files = LogFiles::open(directory).expect("readable");
        files.forward().map(|entry| entry.message).collect()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = Store::new(directory.path(), 4096, "b".repeat(32));
        for number in 0..1000 {
            store.append(entry(number));
            store.flush(at(1));
        }
        let sizes: Vec<u64> = (0..=OLD_FILES + 1)
            .filter_map(|age| Some(fs::metadata(log_path(directory.path(), age)).ok()?.len()))
            .collect();
        assert_eq!(sizes.len(), OLD_FILES + 1);
        assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
        let kept = messages(directory.path());
        assert_eq!(kept.last(), Some(&entry(999).message));
        assert!(kept.len() > 50 && kept.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_backlog_is_spread_over_the_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = Store::new(directory.path(), 4096, String::new());
        (0..60).for_each(|number| store.append(entry(number)));
        store.flush(at(1));
        for age in 0..=OLD_FILES {
            let Ok(bytes) = fs::read(log_path(directory.path(), age)) else { continue };
            assert!(bytes.len() <= 4096 && bytes.last() == Some(&b'\n'), "file {age}: {} bytes", bytes.len());
        }
        assert_eq!(messages(directory.path()), (0..60).map(|number| entry(number).message).collect::<Vec<_>>());
    }

    #[test]
    fn a_torn_line_is_closed_and_the_next_one_is_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut line = render(&entry(1));
        line.truncate(40);
        fs::write(log_path(directory.path(), 0), line).expect("written");
        let mut store = Store::new(directory.path(), FILE_BYTES, String::new());
        store.append(entry(2));
        store.flush(at(1));
        assert_eq!(messages(directory.path()), [entry(2).message]);
        let mode = fs::metadata(log_path(directory.path(), 0)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn without_a_disk_messages_wait_in_memory_and_the_lost_are_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let blocked = directory.path().join("file");
        fs::write(&blocked, "not a directory").expect("written");
        let mut store = Store::new(&blocked, FILE_BYTES, String::new());
        for number in 0..10_000 {
            store.append(entry(number));
            store.flush(at(1));
        }
        assert!(store.pending.len() <= PENDING_MAX && store.dropped > 0);
        assert_eq!(store.due_in_us(at(1)), Some(RETRY_AFTER_US));
        let dropped = store.dropped;
        fs::remove_file(&blocked).expect("removed");
        store.flush(at(3));
        store.flush(at(3));
        let found = messages(&blocked);
        assert_eq!(found.first(), Some(&entry(0).message));
        let last = found.last().expect("a message");
        assert!(last.starts_with(&format!("{dropped} messages were dropped: ")), "{last}");
        assert_eq!(found.len() as u64 + dropped, 10_001);
    }

    #[test]
    fn a_full_disk_tears_no_line() {
        // /dev/full refuses every write as a full disk does.
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = Store::new(directory.path(), FILE_BYTES, String::new());
        store.file = Some(OpenOptions::new().append(true).open("/dev/full").expect("a full device"));
        store.append(entry(1));
        store.flush(at(1));
        assert!(store.trouble.is_some() && store.file.is_some());
        store.file = None;
        store.flush(at(1));
        assert!(messages(directory.path()).is_empty(), "not tried again at once");
        store.flush(at(2));
        assert_eq!(messages(directory.path()), [entry(1).message]);
    }

    #[test]
    fn errors_are_durable_at_once_and_the_rest_soon() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = Store::new(directory.path(), FILE_BYTES, String::new());
        store.append(entry(1));
        store.flush(at(1));
        assert_eq!(store.due_in_us(at(2)), Some(4_000_000));
        store.append(LogEntry { priority: 3, ..entry(2) });
        store.flush(at(2));
        assert_eq!(store.due_in_us(at(2)), None);
    }
}
