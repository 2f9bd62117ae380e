//! The state kept ready for a crash: a memory file to which each change is added, and which the next image reads.
//!
//! What changed is written once a turn of the loop. When most of the file is old, everything is written to another one.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::engine::Engine;
use crate::server::ClientId;
use crate::state::{self, Record, SavedFile};

/// Files below this size are never written anew.
const SMALL: usize = 1 << 20;

/// The state as the next image would find it.
#[derive(Debug, Default)]
pub struct Recorder {
    file: Option<File>,
    /// The one before, to be written when this one is full.
    spare: Option<File>,
    written: usize,
    /// How much of it was written at once.
    whole: usize,
    /// What the last record of the manager was about.
    manager: Option<(crate::engine::Phase, crate::jobs::JobId)>,
    /// Clients that wait, with how many answers each still lacks.
    clients: Vec<(ClientId, usize)>,
    /// Times of crashes, in microseconds of the monotonic clock.
    crashes: Vec<u64>,
    /// Was a process made since the last time?
    urgent: bool,
    /// Was a failure told already?
    failed: bool,
    /// Room for a record, used again: memory that is asked for anew lies elsewhere, in pages shared with children.
    room: Vec<u8>,
}

/// Room that is kept for the next record.
const ROOM_MAX: usize = 16 << 10;

/// A new memory file for states.
fn memory_file() -> std::io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create("ferrite-record", rustix::fs::MemfdFlags::CLOEXEC)?))
}

impl Recorder {
    /// Notes the crash that led to this image, in the file that it was given, before anything else is done.
    pub fn note_crash(file: &OwnedFd, at_us: u64) -> std::io::Result<()> {
        let mut file = File::from(file.try_clone()?);
        file.seek(SeekFrom::End(0))?;
        // The last record may have been cut short.
        let mut text = b"\n".to_vec();
        state::write(&mut text, &Record::Crash(at_us));
        file.write_all(&text)
    }

    /// A process was made: the state is written before anything else is done.
    pub fn hurry(&mut self) {
        self.urgent = true;
    }

    /// Must the state be written at once? What else happens in a turn of the loop is written at its end: after a crash
    /// it is as if it had not happened.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Remembers earlier crashes.
    pub fn remember(&mut self, crashes: &[u64]) {
        self.crashes = crashes.to_vec();
    }

    fn add(&mut self, text: &[u8]) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(text)?;
            self.written += text.len();
        }
        Ok(())
    }
}

impl Engine {
    /// Begins to keep the state ready, with all of it.
    pub fn begin_recording(&mut self) {
        // The changes so far are part of it.
        drop(self.units.take_changed());
        let outcome = self.record_everything();
        self.recording_ended(outcome);
    }

    /// Adds what changed since the last time.
    pub fn record_changes(&mut self) {
        self.recorder.urgent = false;
        let (gone, changed) = self.units.take_changed();
        let manager = (self.phase, self.next_job);
        if self.recorder.file.is_none()
            || gone.is_empty() && changed.is_empty() && self.recorder.manager == Some(manager)
        {
            return;
        }
        if self.recorder.written > SMALL.max(self.recorder.whole.saturating_mul(4)) {
            let outcome = self.record_everything();
            return self.recording_ended(outcome);
        }
        let mut text = std::mem::take(&mut self.recorder.room);
        let mut last = 0;
        for name in &gone {
            state::write(&mut text, &Record::Gone(name.as_str()));
        }
        for unit in changed.into_iter().filter_map(|id| self.save_unit(id)) {
            last = last.max(greatest(&unit.files));
            state::write(&mut text, &Record::Unit(&unit));
        }
        if self.recorder.manager != Some(manager) {
            let manager = self.save_manager();
            last = last.max(greatest(&manager.files));
            state::write(&mut text, &Record::Manager(&manager));
        }
        self.recorder.manager = Some(manager);
        last = last.max(self.add_waiting_clients(&mut text));
        ferrite_sys::crash::keep_files_up_to(last);
        let outcome = self.recorder.add(&text);
        if text.capacity() <= ROOM_MAX {
            text.clear();
            self.recorder.room = text;
        }
        self.recording_ended(outcome);
    }

    /// Clients that wait for something go on waiting at the next image; others ask again.
    fn add_waiting_clients(&mut self, text: &mut Vec<u8>) -> i32 {
        let mut waiting = self.server.waiting();
        waiting.extend(self.kinds.waiting.iter().map(|(client, _)| (*client, usize::MAX)));
        if waiting == self.recorder.clients {
            return 0;
        }
        self.recorder.clients = waiting;
        let mut last = 0;
        for client in self.save_clients().iter().filter(|client| client.is_waiting()) {
            last = last.max(greatest(&client.files));
            state::write(text, &Record::Client(client));
        }
        last
    }

    fn record_everything(&mut self) -> std::io::Result<()> {
        let mut text = self.snapshot();
        for crash in &self.recorder.crashes {
            state::write(&mut text, &Record::Crash(*crash));
        }
        let mut file = match self.recorder.spare.take() {
            Some(file) => {
                file.set_len(0)?;
                file
            }
            None => memory_file()?,
        };
        file.rewind()?;
        file.write_all(&text)?;
        let number = file.as_raw_fd();
        let (program, arguments) = self.image("--recover", number)?;
        let last = self.saved_files().iter().map(|saved| saved.fd).max().unwrap_or(0);
        ferrite_sys::crash::keep_files_up_to(last.max(number));
        ferrite_sys::crash::choose_next(program, arguments);
        self.recorder.spare = self.recorder.file.replace(file);
        self.recorder.written = text.len();
        self.recorder.whole = text.len();
        self.recorder.manager = Some((self.phase, self.next_job));
        self.recorder.clients = self.server.waiting();
        Ok(())
    }

    fn recording_ended(&mut self, outcome: std::io::Result<()>) {
        if let Err(error) = outcome
            && !std::mem::replace(&mut self.recorder.failed, true)
        {
            self.log.error(&format!("keeping the state ready for a crash: {error}, going on without"));
        }
    }
}

fn greatest(files: &[SavedFile]) -> i32 {
    files.iter().map(|file| file.fd).max().unwrap_or(0)
}
