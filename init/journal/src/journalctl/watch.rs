//! Waits for the folders of the journal to change.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Waits for folders to change.
pub struct Watch {
    inotify: Inotify,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Result<Self> {
        Ok(Self { inotify: Inotify::init(InitFlags::IN_CLOEXEC).context("watching the journal")? })
    }

    /// Watches these folders from now on; those that are watched already stay so.
    pub fn add(&self, folders: &[PathBuf]) -> Result<()> {
        let events =
            AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        let mut is_watched = false;
        for folder in folders {
            // A folder that is not there yet is made in the nearest one that is, maybe while we look.
            let nearest = || folder.ancestors().find(|folder| folder.is_dir());
            let mut there = nearest();
            loop {
                is_watched |= there.is_some_and(|there| self.inotify.add_watch(there, events).is_ok());
                let now = nearest();
                if now == there {
                    break;
                }
                there = now;
            }
        }
        if !is_watched {
            bail!("no folder of the journal can be watched");
        }
        Ok(())
    }

    /// Waits until something changed or the time is over.
    pub fn wait(&self, time: Option<Duration>) -> Result<()> {
        let timeout = match time {
            None => PollTimeout::NONE,
            Some(time) => PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
        };
        let mut waiting = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(()),
            outcome => outcome.context("watching the journal")?,
        };
        self.inotify.read_events().map(|_| ()).context("watching the journal")
    }

    /// Waits so long, whatever changes.
    pub fn pause(time: Duration) -> Result<()> {
        match poll(&mut [], PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context("waiting"),
        }
    }
}
