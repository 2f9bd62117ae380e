//! Closes a file that was rotated. Waiting for the disk takes long, so a thread does it; `finish` waits for that.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::JoinHandle;

use crate::format::{self, Header};

/// Files that are being closed.
#[derive(Debug, Default)]
pub(crate) struct Archiver {
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Archiver {
    /// Closes a file, which ends at `end` and has its new name already.
    pub(crate) fn close(&mut self, file: File, mut header: Header, end: u64, folder: &Path) -> io::Result<()> {
        self.finish()?;
        header.state = format::ARCHIVED;
        header.arena_size = end.saturating_sub(header.header_size);
        let folder = File::open(folder)?;
        let work = move || {
            // What the header says must be there before it says so.
            file.sync_all()?;
            file.write_all_at(&header.encode(), 0)?;
            file.set_len(end)?;
            file.sync_all()?;
            folder.sync_all()
        };
        self.thread = Some(std::thread::Builder::new().name("archive".into()).spawn(work)?);
        Ok(())
    }

    /// Waits until the files are closed and on the disk.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let lost = || io::Error::other("the thread that closes rotated files ended early");
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(|_| Err(lost())))
    }
}

/// Writes the state of a file, and waits until it is on the disk with everything before it.
pub(crate) fn set_state(file: &File, header: &mut Header, state: u8) -> io::Result<()> {
    file.sync_data()?;
    let before = std::mem::replace(&mut header.state, state);
    let outcome = file.write_all_at(&header.encode(), 0).and_then(|()| file.sync_data());
    if outcome.is_err() {
        header.state = before;
    }
    outcome
}
