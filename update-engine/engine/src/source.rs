//! Where payloads and documents come from, and reading that goes on where it was cut off.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrite_payload::Hash;
use ferrite_payload::channel::check_path;

/// Bytes that are read at once, between looks at whether to stop.
const PIECE_BYTES: usize = 64 * 1024;

/// A source failed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// It cannot be reached or read.
    #[error("reading '{name}'")]
    Read {
        /// File or address.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A file of this machine cannot be opened; asking again would not help.
    #[error("opening '{name}'")]
    Open {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The server says no.
    #[error("server answers {status} for '{name}'")]
    Status {
        /// Address.
        name: String,
        /// HTTP status.
        status: u16,
    },
    /// It is not there.
    #[error("'{0}' is not there")]
    Missing(String),
    /// More than is read of such a thing.
    #[error("'{name}' has more than {limit} bytes")]
    TooLong {
        /// File or address.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// Another length than was signed.
    #[error("'{name}' has {found} bytes, its manifest says {wanted}")]
    Length {
        /// File or address.
        name: String,
        /// Its length.
        found: u64,
        /// The signed length.
        wanted: u64,
    },
    /// Another payload than the one that was asked for.
    #[error("'{name}' is payload {found}, {expected} was announced")]
    Other {
        /// File or address.
        name: String,
        /// What it is.
        found: Hash,
        /// What it should be.
        expected: Hash,
    },
    /// Other bytes than those of the file.
    #[error("server sends '{name}' compressed ({encoding}), which nobody asked for: switch that off for payloads")]
    Encoded {
        /// Address.
        name: String,
        /// What it did.
        encoding: String,
    },
    /// Hardly anything comes.
    #[error("'{0}' gives less than 256 bytes a second, for minutes: giving up for now")]
    Slow(String),
    /// It ended, again and again.
    #[error("'{name}' ends at byte {at}, its manifest says {wanted}")]
    Short {
        /// File or address.
        name: String,
        /// Where.
        at: u64,
        /// The signed length.
        wanted: u64,
    },
    /// Somebody wants it to stop.
    #[error("cancelled")]
    Cancelled,
}

/// A reader from some byte on, and the length of the whole if that is known.
pub struct Opened {
    /// From the byte that was asked for.
    pub reader: Box<dyn Read>,
    /// Length of the whole file.
    pub total: Option<u64>,
}

/// A file that can be read from any byte on.
pub trait Source {
    /// For messages.
    fn name(&self) -> String;
    /// Opens it at a byte.
    fn open_at(&mut self, offset: u64) -> Result<Opened, SourceError>;
}

/// A published directory.
pub trait Repository {
    /// Reads a small file; `None` if there is none.
    fn small(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError>;
    /// A payload.
    fn payload(&mut self, path: &str) -> Box<dyn Source>;
}

/// A local file.
#[derive(Debug, Clone)]
pub struct FileSource(pub PathBuf);

/// A directory, on a USB stick for example.
#[derive(Debug, Clone)]
pub struct Directory(pub PathBuf);

impl Source for FileSource {
    fn name(&self) -> String {
        self.0.display().to_string()
    }

    fn open_at(&mut self, offset: u64) -> Result<Opened, SourceError> {
        let open = || -> io::Result<Opened> {
            let mut file = File::open(&self.0)?;
            let total = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(Opened { reader: Box::new(file), total: Some(total) })
        };
        open().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing(self.name()),
            _ => SourceError::Open { name: self.name(), source },
        })
    }
}

impl Repository for Directory {
    fn small(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let file = self.0.join(path);
        let name = file.display().to_string();
        match File::open(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SourceError::Read { name, source }),
            Ok(file) => read_limited(file, &name, limit).map(Some),
        }
    }

    fn payload(&mut self, path: &str) -> Box<dyn Source> {
        // Channel documents are checked for this when they are read; here it is used.
        let path = if check_path(path) { Path::new(path) } else { Path::new("") };
        Box::new(FileSource(self.0.join(path)))
    }
}

/// Reads to the end, which must come before the limit.
pub fn read_limited(reader: impl Read, name: &str, limit: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| SourceError::Read { name: name.to_string(), source })?;
    if bytes.len() as u64 > limit {
        return Err(SourceError::TooLong { name: name.to_string(), limit });
    }
    Ok(bytes)
}

/// How often a source that gives nothing is asked again, and after how long.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries without a single new byte before it counts as gone.
    pub attempts: u32,
    /// Before the second try; doubled each time, up to a minute.
    pub wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 8, wait: Duration::from_secs(1) }
    }
}

/// Reads a source in order. What was received is never asked for again.
pub struct Stream<'a> {
    source: &'a mut dyn Source,
    reader: Option<Box<dyn Read>>,
    offset: u64,
    /// The length that the source said when it was opened last.
    total: Option<u64>,
    retry: Retry,
    cancel: &'a AtomicBool,
}

impl SourceError {
    /// Whether it is this file that is wrong, and another one may be right; not the way to it.
    pub fn is_of_file(&self) -> bool {
        match self {
            SourceError::Missing(_)
            | SourceError::Open { .. }
            | SourceError::TooLong { .. }
            | SourceError::Length { .. }
            | SourceError::Short { .. }
            | SourceError::Other { .. }
            | SourceError::Encoded { .. } => true,
            SourceError::Status { status, .. } => (400..500).contains(status) && *status != 429,
            SourceError::Read { .. } | SourceError::Slow(_) | SourceError::Cancelled => false,
        }
    }
}

impl<'a> Stream<'a> {
    /// A stream from the start.
    pub fn new(source: &'a mut dyn Source, retry: Retry, cancel: &'a AtomicBool) -> Stream<'a> {
        Stream { source, reader: None, offset: 0, total: None, retry, cancel }
    }

    /// Goes on elsewhere; no byte in between is read.
    pub fn seek(&mut self, offset: u64) {
        if offset != self.offset {
            self.reader = None;
            self.offset = offset;
        }
    }

    /// For messages.
    pub fn name(&self) -> String {
        self.source.name()
    }

    /// The length that the source says it has; known after the first byte was read.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Fills the buffer, opening the source again as often as it takes.
    pub fn fill(&mut self, buffer: &mut [u8], wanted: u64) -> Result<(), SourceError> {
        let mut filled = 0;
        let mut failures = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(SourceError::Cancelled);
            }
            let length = rest.len().min(PIECE_BYTES);
            match self.read_once(rest.get_mut(..length).unwrap_or_default(), wanted) {
                Ok(read) => {
                    filled += read;
                    self.offset += read as u64;
                    failures = 0;
                }
                Err(error) => {
                    self.reader = None;
                    failures += 1;
                    if failures >= self.retry.attempts || !is_passing(&error) {
                        return Err(error);
                    }
                    self.pause(failures)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the source goes on behind its end.
    pub fn has_more(&mut self) -> bool {
        let mut byte = [0];
        self.reader.as_mut().is_some_and(|reader| matches!(reader.read(&mut byte), Ok(read) if read > 0))
    }

    fn read_once(&mut self, buffer: &mut [u8], wanted: u64) -> Result<usize, SourceError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let opened = self.source.open_at(self.offset)?;
                self.total = opened.total;
                self.reader.insert(opened.reader)
            }
        };
        match reader.read(buffer) {
            Ok(0) => Err(SourceError::Short { name: self.source.name(), at: self.offset, wanted }),
            Ok(read) => Ok(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(source) => Err(SourceError::Read { name: self.source.name(), source }),
        }
    }

    /// A while before the next try; whoever cancels does not wait for it to pass.
    fn pause(&self, failures: u32) -> Result<(), SourceError> {
        let whole = self.retry.wait.saturating_mul(1 << failures.min(6).saturating_sub(1)).min(Duration::from_secs(60));
        let slice = Duration::from_millis(100);
        let mut left = whole;
        while !left.is_zero() {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(SourceError::Cancelled);
            }
            std::thread::sleep(left.min(slice));
            left = left.saturating_sub(slice);
        }
        Ok(())
    }
}

/// Whether trying again may help.
fn is_passing(error: &SourceError) -> bool {
    match error {
        SourceError::Read { .. } | SourceError::Short { .. } => true,
        SourceError::Status { status, .. } => *status >= 500 || *status == 429,
        SourceError::Missing(_)
        | SourceError::Open { .. }
        | SourceError::TooLong { .. }
        | SourceError::Length { .. }
        | SourceError::Other { .. }
        | SourceError::Encoded { .. }
        | SourceError::Slow(_)
        | SourceError::Cancelled => false,
    }
}
