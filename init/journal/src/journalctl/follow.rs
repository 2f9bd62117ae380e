//! New entries as they come: waits for the folder of the log to change, goes on in the next file after a rotation.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use ferrite_control::log_files::log_path;
use ferrite_control::log_line::{LogEntry, MAX_LINE_BYTES, parse};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

const CHUNK_BYTES: usize = 64 * 1024;

/// Gives every entry after a position (inode and offset) of the file that grows, until `show` fails.
pub fn follow(
    directory: &Path,
    from: Option<(u64, u64)>,
    mut show: impl FnMut(LogEntry) -> io::Result<()>,
) -> Result<()> {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).context("watching the log")?;
    let events = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch.add_watch(directory, events).with_context(|| format!("watching '{}'", directory.display()))?;
    let mut tail = Tail::new(from);
    loop {
        for entry in tail.fresh(directory).context("reading the log")? {
            show(entry).context("writing to stdout")?;
        }
        watch.read_events().context("watching the log")?;
    }
}

/// The end of the file that grows.
struct Tail {
    file: Option<(File, u64)>,
    from: Option<(u64, u64)>,
    partial: Vec<u8>,
}

impl Tail {
    fn new(from: Option<(u64, u64)>) -> Self {
        Self { file: None, from, partial: Vec::new() }
    }

    /// The entries since the last call. A file that was put aside is read to its end first.
    fn fresh(&mut self, directory: &Path) -> io::Result<Vec<LogEntry>> {
        let mut entries = Vec::new();
        self.read_rest(&mut entries)?;
        let newest = match File::open(log_path(directory, 0)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
            Err(error) => return Err(error),
        };
        let inode = newest.metadata()?.ino();
        if self.file.as_ref().is_some_and(|(_, known)| *known == inode) {
            return Ok(entries);
        }
        if self.file.is_none() {
            self.catch_up(directory, inode, &mut entries)?;
        }
        self.partial.clear();
        let mut newest = newest;
        if let Some((_, offset)) = self.from.take().filter(|(from, _)| *from == inode) {
            newest.seek(SeekFrom::Start(offset))?;
        }
        self.file = Some((newest, inode));
        self.read_rest(&mut entries)?;
        Ok(entries)
    }

    /// The file was put aside between the first look and the first watch: its rest comes first.
    fn catch_up(&mut self, directory: &Path, newest: u64, entries: &mut Vec<LogEntry>) -> io::Result<()> {
        let Some((inode, offset)) = self.from.filter(|(inode, _)| *inode != newest) else { return Ok(()) };
        let Ok(mut old) = File::open(log_path(directory, 1)) else { return Ok(()) };
        if old.metadata()?.ino() == inode {
            old.seek(SeekFrom::Start(offset))?;
            self.file = Some((old, inode));
            self.read_rest(entries)?;
        }
        Ok(())
    }

    fn read_rest(&mut self, entries: &mut Vec<LogEntry>) -> io::Result<()> {
        let Some((file, _)) = self.file.as_mut() else { return Ok(()) };
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = file.read(&mut chunk)?;
            if length == 0 {
                return Ok(());
            }
            for piece in chunk.get(..length).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
                match piece.strip_suffix(b"\n") {
                    Some(end) => {
                        self.partial.extend_from_slice(end);
                        entries.extend(parse(&self.partial));
                        self.partial.clear();
                    }
                    // A foreign line without an end is forgotten; its rest has no checksum.
                    None if self.partial.len() > MAX_LINE_BYTES => self.partial.clear(),
                    None => self.partial.extend_from_slice(piece),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_control::log_files::LogFiles;
    use ferrite_control::log_line::render;
    use std::fs;
    use std::io::Write;

    fn add(directory: &Path, text: &str) {
        let mut file = File::options().append(true).create(true).open(log_path(directory, 0)).expect("opened");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn line(message: &str) -> String {
        render(&LogEntry { message: message.into(), ..LogEntry::default() })
    }

    fn messages(tail: &mut Tail, directory: &Path) -> Vec<String> {
        tail.fresh(directory).expect("readable").into_iter().map(|entry| entry.message).collect()
    }

    #[test]
    fn half_lines_wait_and_rotations_lose_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let (first, second) = (line("one"), line("two"));
        add(path, &first);
        add(path, &second[..10]);
        let files = LogFiles::open(path).expect("readable");
        let mut tail = Tail::new(files.newest());
        assert_eq!(files.forward().count(), 1);
        assert!(messages(&mut tail, path).is_empty());
        add(path, &second[10..]);
        assert_eq!(messages(&mut tail, path), ["two"]);
        add(path, &line("three"));
        fs::rename(log_path(path, 0), log_path(path, 1)).expect("renamed");
        assert_eq!(messages(&mut tail, path), ["three"]);
        add(path, &line("four"));
        assert_eq!(messages(&mut tail, path), ["four"]);
    }

    #[test]
    fn a_rotation_before_the_first_look_loses_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        add(path, &line("seen"));
        let mut tail = Tail::new(LogFiles::open(path).expect("readable").newest());
        add(path, &line("late"));
        fs::rename(log_path(path, 0), log_path(path, 1)).expect("renamed");
        add(path, &line("new"));
        assert_eq!(messages(&mut tail, path), ["late", "new"]);
    }

    #[test]
    fn an_empty_log_is_followed_from_its_first_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut tail = Tail::new(None);
        assert!(messages(&mut tail, directory.path()).is_empty());
        add(directory.path(), &line("first"));
        assert_eq!(messages(&mut tail, directory.path()), ["first"]);
    }
}
