//! The journal files of one folder, written: `system.journal`, and `system@....journal` for those that were rotated.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::appender::{Appender, Refused};
use crate::archive::Archiver;
use crate::begin::{Finished, Origin, allocate, begin, grown, random, resume};
use crate::blocks::Blocks;
use crate::file::JournalFile;
use crate::format;
use crate::id::{Id128, Stamp};
use crate::limits::{LEAST_FILE, Limits, space};
use crate::name::{self, Name};
use crate::vacuum::{self, Bounds, Vacuumed, vacuum};

/// Rotations for one entry: the first makes room in the folder, after the second there is no more to gain.
const MAX_ATTEMPTS: u32 = 4;

/// Something an administrator wants to know about the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The file was not closed (crash, power cut) or is damaged: it was renamed and is only read from now on.
    SetAside {
        /// Its new name.
        file: PathBuf,
        /// Entries that can be read from it.
        entries: u64,
        /// Why it is not written on.
        why: String,
    },
    /// The file was closed, but is not ours to go on with (another machine's), and was rotated.
    Rotated {
        /// Its new name.
        file: PathBuf,
        /// Why.
        why: String,
    },
}

/// Writes the journal of one folder. Dropping it flushes and closes the file cleanly.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    machine: Id128,
    limits: Limits,
    appender: Appender,
    archiver: Archiver,
    seqnum_id: Id128,
    tail_seqnum: u64,
    notes: Vec<Note>,
}

impl Writer {
    /// Opens the folder (made where it is missing) and its `system.journal`, or begins a new one.
    pub fn open(folder: &Path, machine: Id128, limits: Limits) -> io::Result<(Self, Vec<Note>)> {
        let naming = |error: io::Error| io::Error::new(error.kind(), format!("'{}': {error}", folder.display()));
        let mut writer = Self::open_unnamed(folder, machine, limits).map_err(naming)?;
        let notes = writer.take_notes();
        Ok((writer, notes))
    }

    fn open_unnamed(folder: &Path, machine: Id128, limits: Limits) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        match fs::remove_file(folder.join(name::BEGUN)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut notes = Vec::new();
        let current = folder.join(name::CURRENT);
        let resumed = match resume(&current, machine) {
            Ok(Ok(appender)) => Some(appender),
            Ok(Err(Finished::Cleanly(why))) => {
                notes.push(Note::Rotated { file: put_away(folder)?, why });
                None
            }
            Ok(Err(Finished::Uncleanly(why))) => {
                notes.push(set_aside(folder, why)?);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                notes.push(set_aside(folder, "it ends before its content".into())?);
                None
            }
            Err(error) => return Err(error),
        };
        let (seqnum_id, tail_seqnum, appender) = match resumed {
            Some(appender) => (appender.header.seqnum_id, appender.header.tail_seqnum, appender),
            None => {
                let (seqnum_id, tail) = last_position(folder)?;
                let origin = Origin { machine, seqnum_id, max_file_size: limits.max_file_size };
                (seqnum_id, tail, begin(folder, &origin)?)
            }
        };
        // An empty file after rotated ones does not know their numbers.
        let tail_seqnum = if tail_seqnum == 0 {
            last_position(folder).ok().filter(|(id, _)| *id == seqnum_id).map_or(0, |(_, tail)| tail)
        } else {
            tail_seqnum
        };
        let folder = folder.to_path_buf();
        let archiver = Archiver::default();
        Ok(Self { folder, machine, limits, appender, archiver, seqnum_id, tail_seqnum, notes })
    }

    /// What happened since the last call that an administrator wants to know.
    pub fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// Writes an entry and makes it visible to readers; gives its sequence number. After an error the file is still
    /// sound, and the next entry may succeed.
    ///
    /// Rotates and vacuums by itself where a limit demands it, and begins a new file where the real time jumps back:
    /// the entries of a file are searched by their time.
    pub fn append(&mut self, stamp: &Stamp, fields: &[(&[u8], &[u8])]) -> io::Result<u64> {
        let number = self.stage(stamp, fields)?;
        self.flush()?;
        Ok(number)
    }

    /// Like `append`, but readers see the entry, and it survives the end of this process, only after `flush` or `sync`
    /// (or when some 256 KiB are staged). For bursts: several times as fast.
    pub fn stage(&mut self, stamp: &Stamp, fields: &[(&[u8], &[u8])]) -> io::Result<u64> {
        let seqnum = self.tail_seqnum + 1;
        if self.appender.header.entries > 0 && stamp.realtime_us < self.appender.header.tail_realtime {
            self.follow_clock()?;
        }
        for _ in 0..MAX_ATTEMPTS {
            self.set_online()?;
            match self.appender.append(stamp, seqnum, fields) {
                Ok(()) => {
                    self.tail_seqnum = seqnum;
                    return Ok(seqnum);
                }
                Err(Refused::Full) => self.rotate_and_vacuum()?,
                Err(Refused::NeedsBytes(bytes)) => self.grow(bytes)?,
                Err(Refused::Damaged(why)) => self.abandon(why)?,
                Err(Refused::Invalid(why)) => return Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
                Err(Refused::Io(error)) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, "the limits of the journal leave no room for the entry"))
    }

    /// The clock was set back. Without room for a new file the old one goes on, and a search by time may miss some.
    fn follow_clock(&mut self) -> io::Result<()> {
        match self.rotate_and_vacuum() {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            outcome => outcome,
        }
    }

    fn set_online(&mut self) -> io::Result<()> {
        let appender = &mut self.appender;
        if appender.header.state == format::ONLINE {
            return Ok(());
        }
        appender.set_state(format::ONLINE)
    }

    /// Gives the file its next step of space, or begins a new one where the limits say so.
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let most = self.limits.max_file_size.max(LEAST_FILE);
        let has_entries = self.appender.header.entries > 0;
        let size = grown(bytes, most).min(most.max(bytes));
        if bytes > most {
            let why = || format!("the entry does not fit into a file of {most} bytes");
            return match has_entries {
                true => self.rotate_and_vacuum(),
                false => Err(io::Error::new(io::ErrorKind::InvalidInput, why())),
            };
        }
        let from = self.appender.header.header_size + self.appender.header.arena_size;
        let missing = size.saturating_sub(from);
        if !self.has_room(missing)? {
            vacuum(&self.folder, &self.bounds(missing)?)?;
            if !self.has_room(missing)? {
                if has_entries {
                    return self.rotate_and_vacuum();
                }
                return Err(io::Error::new(io::ErrorKind::StorageFull, "the limits of the journal are reached"));
            }
        }
        match allocate(self.appender.file(), from, size) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && has_entries => self.rotate_and_vacuum()?,
            outcome => {
                outcome?;
                self.appender.grow(size);
            }
        }
        Ok(())
    }

    fn has_room(&self, bytes: u64) -> io::Result<bool> {
        let (used, free) = (self.usage(), space(&self.folder)?.free);
        // A file that filled the disk could not be rotated.
        Ok(used + bytes <= self.limits.allowed(used, free) && bytes + self.first_bytes() <= free)
    }

    /// Flushes what is staged to readers: it survives the end of this process.
    pub fn flush(&mut self) -> io::Result<()> {
        self.appender.flush()
    }

    /// Flushes, and waits until everything is on the disk: entries before it survive a power cut.
    pub fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.archiver.finish()?;
        self.appender.file().sync_data()
    }

    /// Like `sync`, and marks the file as closed until the next entry: a power cut in a quiet time leaves a clean file.
    pub fn rest(&mut self) -> io::Result<()> {
        self.sync()?;
        self.appender.release();
        if self.appender.header.state == format::OFFLINE { Ok(()) } else { self.appender.set_state(format::OFFLINE) }
    }

    /// Closes `system.journal` under an archive name and begins a new one; nothing where it has no entry.
    pub fn rotate(&mut self) -> io::Result<()> {
        if self.appender.header.entries == 0 {
            return Ok(());
        }
        if let Err(error) = self.flush() {
            return self.abandon(format!("writing failed ({error})"));
        }
        let origin = self.origin();
        let header = self.appender.header.clone();
        let archived = name::archived(header.seqnum_id, header.head_seqnum, header.head_realtime);
        let current = self.folder.join(name::CURRENT);
        let file = self.appender.file().try_clone()?;
        let archived = self.folder.join(archived);
        fs::rename(&current, &archived)?;
        match begin(&self.folder, &origin) {
            Ok(mut appender) => {
                appender.threshold = self.appender.threshold;
                let old = std::mem::replace(&mut self.appender, appender);
                self.archiver.close(file, header, old.end(), &self.folder)
            }
            Err(error) => {
                // Without a new file the old one goes on.
                fs::rename(&archived, &current)?;
                Err(error)
            }
        }
    }

    fn rotate_and_vacuum(&mut self) -> io::Result<()> {
        // Room for the new file comes first; what is being written counts as rotated already.
        vacuum(&self.folder, &self.bounds(self.first_bytes())?)?;
        match self.rotate() {
            // The largest of the rotated files is the one that was just full.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // One that is still being closed keeps its room, though it may be removed already.
                self.archiver.finish()?;
                vacuum(&self.folder, &Bounds { max_files: Some(1), ..Bounds::default() })?;
                self.rotate()?;
            }
            outcome => outcome?,
        }
        self.vacuum()?;
        Ok(())
    }

    /// Bytes that a new file takes at once.
    fn first_bytes(&self) -> u64 {
        grown(self.limits.max_file_size.max(LEAST_FILE) / 16, self.limits.max_file_size)
    }

    /// Leaves a damaged file, and goes on in a new one.
    fn abandon(&mut self, why: String) -> io::Result<()> {
        let origin = self.origin();
        self.notes.push(set_aside(&self.folder, why)?);
        let threshold = self.appender.threshold;
        self.appender = begin(&self.folder, &origin)?;
        self.appender.threshold = threshold;
        Ok(())
    }

    fn origin(&self) -> Origin {
        let max_file_size = self.limits.max_file_size;
        Origin { machine: self.machine, seqnum_id: self.seqnum_id, max_file_size }
    }

    /// The bounds of the limits, with so many bytes more.
    fn bounds(&self, more: u64) -> io::Result<Bounds> {
        let (used, free) = (self.usage(), space(&self.folder)?.free);
        let allowed = self.limits.allowed(used, free).min((used + free).saturating_sub(self.first_bytes()));
        let max_files = Some(self.limits.max_files.saturating_add(1));
        Ok(Bounds { max_use: Some(allowed.saturating_sub(more)), oldest_us: None, max_files })
    }

    /// Removes the oldest rotated files until the limits hold.
    pub fn vacuum(&mut self) -> io::Result<Vacuumed> {
        vacuum(&self.folder, &self.bounds(0)?)
    }

    /// Microseconds from the first entry of the file that is written to a real time; 0 where that is not before it.
    pub fn age_us(&self, realtime_us: u64) -> u64 {
        let header = &self.appender.header;
        if header.entries == 0 { 0 } else { realtime_us.saturating_sub(header.head_realtime) }
    }

    /// Bytes of disk that all files of the folder take.
    pub fn usage(&self) -> u64 {
        // A folder that cannot be listed has other errors to tell.
        vacuum::list(&self.folder).map_or(0, |files| files.iter().map(|file| file.bytes).sum())
    }

    /// Whether the file system has become read-only. Linux then takes writes to pages that are in memory, and calls
    /// them durable, without any of them reaching the disk.
    pub fn is_read_only(&self) -> bool {
        let facts = rustix::fs::fstatvfs(self.appender.file());
        facts.is_ok_and(|facts| facts.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
    }

    /// Fields of so many bytes and more are compressed from now on; `None`: none is.
    pub fn set_compression(&mut self, from_bytes: Option<u64>) {
        self.appender.threshold = from_bytes.unwrap_or(u64::MAX);
    }

    /// New limits from now on (after a reload of the configuration).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The id of the row of sequence numbers, and the number of the last entry; 0 before the first.
    pub fn position(&self) -> (Id128, u64) {
        (self.seqnum_id, self.tail_seqnum)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Who wants to know calls `rest` first.
        let _ = self.rest();
    }
}

/// Renames a file that was not closed; what can be read of it.
fn set_aside(folder: &Path, why: String) -> io::Result<Note> {
    let current = folder.join(name::CURRENT);
    let mut blocks = Blocks::default();
    let readable = JournalFile::open(&current, 0, &mut blocks)?.ok();
    let entries = readable.as_ref().map_or(0, |file| file.entries.len());
    let last = readable.and_then(|file| file.last(&mut blocks));
    let mut random_bytes = [0; 8];
    random(&mut random_bytes)?;
    let realtime_us = last.map_or(0, |entry| entry.realtime_us);
    let file = folder.join(name::unclean(realtime_us, u64::from_le_bytes(random_bytes)));
    fs::rename(&current, &file)?;
    File::open(folder)?.sync_all()?;
    Ok(Note::SetAside { file, entries, why })
}

/// Gives a file that was closed its archive name.
fn put_away(folder: &Path) -> io::Result<PathBuf> {
    let current = folder.join(name::CURRENT);
    let opened = JournalFile::open(&current, 0, &mut Blocks::default())?;
    let header = opened.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?.header;
    let file = folder.join(name::archived(header.seqnum_id, header.head_seqnum, header.head_realtime));
    fs::rename(&current, &file)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// The row of numbers of the newest file, and its last number; a new row where there is no file.
fn last_position(folder: &Path) -> io::Result<(Id128, u64)> {
    let mut blocks = Blocks::default();
    let files = vacuum::list(folder)?;
    let mut newest: Option<(Id128, u64)> = None;
    for (key, file) in (0..).zip(files.iter().rev().filter(|file| file.name != Name::Active)) {
        let Ok(Ok(opened)) = JournalFile::open(&file.path, key, &mut blocks) else { continue };
        let id = opened.header.seqnum_id;
        if id.is_null() || newest.is_some_and(|(newest, _)| newest != id) {
            continue;
        }
        let last = opened.last(&mut blocks).map_or(0, |entry| entry.seqnum);
        newest = Some((id, newest.map_or(last, |(_, seqnum)| seqnum.max(last))));
    }
    if let Some(newest) = newest {
        return Ok(newest);
    }
    let mut id = [0; 16];
    random(&mut id)?;
    Ok((Id128(id), 0))
}
