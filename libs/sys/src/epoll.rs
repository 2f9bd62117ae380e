//! Waiting for several files: a thin wrapper of epoll with a key of the caller for each file.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Events taken at once.
const BATCH: usize = 64;

/// A set of watched files.
#[derive(Debug)]
pub struct Epoll {
    file: OwnedFd,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Epoll> {
        Ok(Epoll { file: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches for something to read (or an end, or an urgent condition).
    pub fn add(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.file, file, EventData::new_u64(key), EventFlags::IN)?)
    }

    /// Watches for the other side to hang up, and for nothing else.
    pub fn add_hang_up(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.file, file, EventData::new_u64(key), EventFlags::empty())?)
    }

    /// Watches a file that signals by an exceptional condition, such as /proc/self/mountinfo.
    pub fn add_urgent(&self, file: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.file, file, EventData::new_u64(key), EventFlags::PRI)?)
    }

    /// Changes whether room for writing is waited for as well.
    pub fn set_writing(&self, file: impl AsFd, key: u64, writing: bool) -> io::Result<()> {
        let flags = if writing { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.file, file, EventData::new_u64(key), flags)?)
    }

    /// Stops watching.
    pub fn remove(&self, file: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.file, file)?)
    }

    /// Waits until a file is ready, or for so long; returns the keys.
    pub fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<u64>> {
        let mut events: Vec<Event> = Vec::with_capacity(BATCH);
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        match epoll::wait(&self.file, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) => Ok(events.iter().map(|event| event.data.u64()).collect()),
            Err(rustix::io::Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_file_is_told_by_its_key() {
        let set = Epoll::new().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        set.add(&reader, 42).unwrap();
        assert!(set.wait(Some(Duration::ZERO)).unwrap().is_empty());
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(set.wait(Some(Duration::from_secs(5))).unwrap(), [42]);
    }
}
