//! Writes one piece while the next one is made. Acts, on a thread of its own that begins with the first piece and ends
//! with the writer: nothing is written behind the back of whoever dropped it.
//!
//! A write that failed is told by whatever is asked next, and by everything after that.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use ferrite_layout::aligned::AlignedBuffer;

use crate::disk::Piece;
use crate::uncached::Uncached;

/// Something to be written.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) file: Arc<Uncached>,
    pub(crate) piece: Piece,
}

/// The writer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    worker: Option<Worker>,
    /// A write is under way.
    is_busy: bool,
    /// A write failed.
    has_failed: bool,
    spare: AlignedBuffer,
}

#[derive(Debug)]
struct Worker {
    jobs: SyncSender<Job>,
    done: Receiver<io::Result<AlignedBuffer>>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Waits for the piece before, begins to write this one, and gives a buffer for the next.
    pub(crate) fn write(&mut self, job: Job) -> io::Result<AlignedBuffer> {
        self.finish()?;
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start()?,
        };
        let sent = self.worker.insert(worker).jobs.send(job);
        sent.map_err(|_| self.fail(io::Error::other("the thread that writes is gone")))?;
        self.is_busy = true;
        Ok(std::mem::take(&mut self.spare))
    }

    /// Waits until nothing is being written.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.has_failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        if let Some(worker) = self.worker.as_ref().filter(|_| self.is_busy) {
            let done = worker.done.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that writes is gone")));
            self.is_busy = false;
            self.spare = done.map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn fail(&mut self, error: io::Error) -> io::Error {
        self.has_failed = true;
        error
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(Worker { jobs, done, thread }) = self.worker.take() {
            drop((jobs, done));
            // It panicked only if the install has failed already.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start() -> io::Result<Worker> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (results, done) = sync_channel(1);
        let work = move || {
            while let Ok(Job { file, piece }) = todo.recv() {
                let written = file.write(piece.bytes(), piece.offset);
                if results.send(written.map(|()| piece.buffer)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("writer".to_string()).spawn(work)?;
        Ok(Worker { jobs, done, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uncached::Access;

    fn job(file: &Arc<Uncached>, offset: u64, bytes: &[u8]) -> Job {
        let piece = Piece { offset, buffer: AlignedBuffer::holding(bytes), from: 1 };
        Job { file: file.clone(), piece }
    }

    #[test]
    fn pieces_are_on_their_way_when_the_next_buffer_is_there_and_written_when_it_is_finished_or_dropped() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let part = Arc::new(Uncached::open(file.path(), Access::Write).expect("it opens"));
        let mut writer = Writer::default();
        writer.finish().expect("there is nothing to wait for");
        for piece in 0..10 {
            writer.write(job(&part, piece * 2, &[0, 1, piece as u8])).expect("it is taken");
        }
        writer.finish().expect("all is written");
        let wanted: Vec<u8> = (0..10).flat_map(|piece| [1, piece]).collect();
        assert_eq!(std::fs::read(file.path()).expect("it can be read"), wanted);
        writer.write(job(&part, 0, &[0, 9])).expect("it is taken");
        drop(writer);
        assert_eq!(std::fs::read(file.path()).expect("it can be read")[0], 9);
    }

    #[test]
    fn a_write_that_failed_is_told_by_the_next_call_and_by_all_after_it() {
        let full = Arc::new(Uncached::open("/dev/full".as_ref(), Access::Write).expect("it opens"));
        let mut writer = Writer::default();
        writer.write(job(&full, 0, &[0, 1])).expect("it is taken");
        let error = writer.write(job(&full, 0, &[0, 1])).expect_err("the one before failed");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(writer.finish().is_err_and(|error| error.to_string().contains("earlier")));
        assert!(writer.write(job(&full, 0, &[0, 1])).is_err());
    }
}
