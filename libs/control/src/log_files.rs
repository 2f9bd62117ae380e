//! Reads the log directory: `messages` is the newest file, `messages.1`, `messages.2`... are older. Thin I/O.
//!
//! Files are opened newest first and told apart by inode, so that a rotation in between loses and repeats nothing.
//! Lines that are no entries (torn by a power cut, zeros, foreign) are skipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::log_line::{LogEntry, MAX_LINE_BYTES, parse};

/// Where journald writes.
pub const LOG_DIRECTORY: &str = "/var/log/journal";
/// The file that grows.
pub const LOG_FILE: &str = "messages";
/// How many older files are kept.
pub const OLD_FILES: usize = 3;

const CHUNK_BYTES: u64 = 64 * 1024;

/// The path of a log file; age 0 is the one that grows.
pub fn log_path(directory: &Path, age: usize) -> PathBuf {
    if age == 0 { directory.join(LOG_FILE) } else { directory.join(format!("{LOG_FILE}.{age}")) }
}

/// The log as it was when it was opened.
#[derive(Debug)]
pub struct LogFiles {
    /// Oldest first.
    files: Vec<Part>,
}

/// A file, up to the end of the last line that was whole when it was opened.
#[derive(Debug)]
struct Part {
    file: File,
    inode: u64,
    length: u64,
}

impl LogFiles {
    /// Opens all files that exist. An error other than "not found" (such as no permission) is returned.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let mut files: Vec<Part> = Vec::new();
        for age in 0..=OLD_FILES {
            match File::open(log_path(directory, age)) {
                Ok(file) => {
                    let inode = file.metadata()?.ino();
                    if !files.iter().any(|part| part.inode == inode) {
                        let length = whole_length(&file)?;
                        files.push(Part { file, inode, length });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.reverse();
        Ok(Self { files })
    }

    /// All entries, oldest first. Read errors end a file.
    pub fn forward(self) -> impl Iterator<Item = LogEntry> {
        self.files.into_iter().flat_map(|part| Forward {
            reader: BufReader::with_capacity(CHUNK_BYTES as usize, part.file.take(part.length)),
        })
    }

    /// All entries, newest first. Read errors end a file.
    pub fn backward(self) -> impl Iterator<Item = LogEntry> {
        self.files.into_iter().rev().flat_map(Backward::new)
    }

    /// The inode of the file that grows, and where entries begin that were not whole when it was opened.
    pub fn newest(&self) -> Option<(u64, u64)> {
        self.files.last().map(|part| (part.inode, part.length))
    }
}

/// The position behind the last newline.
fn whole_length(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(end - start).unwrap_or(0)];
        file.read_exact_at(&mut chunk, start)?;
        if let Some(newline) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

struct Forward {
    reader: BufReader<io::Take<File>>,
}

impl Iterator for Forward {
    type Item = LogEntry;

    fn next(&mut self) -> Option<LogEntry> {
        loop {
            let mut line = Vec::new();
            let limit = MAX_LINE_BYTES as u64;
            let length = self.reader.by_ref().take(limit).read_until(b'\n', &mut line).ok()?;
            if length == 0 {
                return None;
            }
            // Pieces of an overlong foreign line and a last line without its end have no newline or a wrong checksum.
            if line.pop() == Some(b'\n')
                && let Some(entry) = parse(&line)
            {
                return Some(entry);
            }
        }
    }
}

struct Backward {
    file: File,
    /// Bytes before this position are still unread.
    position: u64,
    /// Read and not given out; begins at `position`.
    bytes: Vec<u8>,
}

impl Backward {
    fn new(part: Part) -> Self {
        let mut backward = Self { file: part.file, position: part.length, bytes: Vec::new() };
        // Nothing stands behind the last newline.
        backward.take_line();
        backward
    }

    /// The last line in front of the ones given out; `None` at the beginning of the file.
    fn take_line(&mut self) -> Option<Vec<u8>> {
        let mut searched = 0;
        loop {
            let end = self.bytes.len().saturating_sub(searched);
            let fresh = self.bytes.get(..end).unwrap_or_default();
            if let Some(newline) = fresh.iter().rposition(|byte| *byte == b'\n') {
                let mut line = self.bytes.split_off(newline);
                line.remove(0);
                return Some(line);
            }
            searched = self.bytes.len();
            if self.position == 0 {
                return (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes));
            }
            if searched > MAX_LINE_BYTES {
                // A foreign line without an end: forget what was read of it.
                self.bytes.clear();
                searched = 0;
            }
            self.read_chunk()?;
        }
    }

    fn read_chunk(&mut self) -> Option<()> {
        let start = self.position.saturating_sub(CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(self.position - start).ok()?];
        self.file.read_exact_at(&mut chunk, start).ok()?;
        chunk.append(&mut self.bytes);
        self.bytes = chunk;
        self.position = start;
        Some(())
    }
}

impl Iterator for Backward {
    type Item = LogEntry;

    fn next(&mut self) -> Option<LogEntry> {
        loop {
            if let Some(entry) = parse(&self.take_line()?) {
                return Some(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_line::render;

    fn entry(number: u64) -> LogEntry {
        LogEntry {
            realtime_us: number,
            message: format!("{number} {}", "x".repeat(number as usize % 700)),
            ..LogEntry::default()
        }
    }

    fn lines(numbers: std::ops::Range<u64>) -> String {
        numbers.map(|number| render(&entry(number))).collect()
    }

    fn numbers(entries: impl Iterator<Item = LogEntry>) -> Vec<u64> {
        entries.map(|entry| entry.realtime_us).collect()
    }

    #[test]
    fn both_directions_go_through_all_files() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(log_path(directory.path(), 2), lines(0..500)).expect("written");
        std::fs::write(log_path(directory.path(), 1), lines(500..501)).expect("written");
        std::fs::write(log_path(directory.path(), 0), lines(501..900)).expect("written");
        let open = || LogFiles::open(directory.path()).expect("readable");
        assert_eq!(numbers(open().forward()), (0..900).collect::<Vec<_>>());
        assert_eq!(numbers(open().backward()), (0..900).rev().collect::<Vec<_>>());
    }

    #[test]
    fn torn_and_foreign_lines_are_skipped() {
        let directory = tempfile::tempdir().expect("a directory");
        let torn = render(&entry(9));
        let mut text = lines(1..3).into_bytes();
        text.extend_from_slice(&torn.as_bytes()[..20]);
        text.push(b'\n');
        text.extend_from_slice(&[0; 4096]);
        text.push(b'\n');
        text.extend(std::iter::repeat_n(b'z', 3 * MAX_LINE_BYTES));
        text.push(b'\n');
        text.extend_from_slice(lines(3..5).as_bytes());
        text.extend_from_slice(torn.trim_end().as_bytes());
        std::fs::write(log_path(directory.path(), 0), text).expect("written");
        let open = || LogFiles::open(directory.path()).expect("readable");
        assert_eq!(numbers(open().forward()), [1, 2, 3, 4]);
        assert_eq!(numbers(open().backward()), [4, 3, 2, 1]);
    }

    #[test]
    fn no_directory_is_an_empty_log() {
        let files = LogFiles::open(Path::new("/nonexistent-log-directory")).expect("empty");
        assert_eq!(files.newest(), None);
        assert_eq!(files.forward().count(), 0);
    }
}
