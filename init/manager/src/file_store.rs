//! The open files that services store with PID 1 (`FDSTORE=1`), to get them back at their next start.

use std::os::fd::{AsFd, OwnedFd};

use ferrite_unit::exec::Preserve;

use crate::engine::{Engine, keys};
use crate::jobs::{JobKind, UnitId};
use crate::machine::State;
use crate::notifications::Notification;

/// Files of one service at most, whatever it asks for.
const STORED_MAX: usize = 4096;
/// Longest name of a file.
const NAME_MAX: usize = 255;

/// One stored file.
#[derive(Debug)]
pub struct Stored {
    /// Its name, which is not unique.
    pub name: String,
    /// The file.
    pub file: OwnedFd,
    /// The key under which its hang-up is waited for.
    pub key: Option<u64>,
}

/// Names go into a list with colons between.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(|b| (32..127).contains(&b) && b != b':')
}

impl Engine {
    /// Stores, names and removes files as a message asks for.
    pub fn take_files(&mut self, id: UnitId, message: &Notification, files: Vec<OwnedFd>) {
        let name = message.file_name.as_deref().filter(|name| is_name(name));
        if message.unstore {
            if let Some(name) = name {
                self.drop_files(id, |stored| stored.name == name);
            }
        } else if message.store {
            for file in files {
                self.store_file(id, name.unwrap_or("stored"), file, !message.unwatched);
            }
        }
    }

    /// Puts one file into the store of a service.
    pub fn store_file(&mut self, id: UnitId, name: &str, file: OwnedFd, watch: bool) {
        let title = self.title(id);
        let Some(runtime) = self.units.get(id) else { return };
        let limit = runtime.unit.service().map_or(0, |service| service.fd_store_max);
        let limit = usize::try_from(limit).unwrap_or(STORED_MAX).min(STORED_MAX);
        if runtime.stored.iter().any(|stored| ferrite_sys::inherit::same_file(&stored.file, &file)) {
            return;
        }
        if runtime.stored.len() >= limit {
            return self.log.warning(&format!("{title}: more than {limit} stored files, closing the one named {name}"));
        }
        let key = watch.then(|| self.watch_stored(id, &file)).flatten();
        if let Some(runtime) = self.units.get_mut(id) {
            runtime.stored.push(Stored { name: name.to_owned(), file, key });
        }
    }

    /// Waits for the other side of a file to hang up; plain files cannot.
    fn watch_stored(&mut self, id: UnitId, file: &OwnedFd) -> Option<u64> {
        let key = keys::STORED + self.next_stored;
        self.epoll.add_hang_up(file, key).ok()?;
        self.next_stored += 1;
        self.stored_keys.insert(key, id);
        Some(key)
    }

    /// The other side of a stored file hung up: it is of no use any more.
    pub fn stored_hung_up(&mut self, key: u64) {
        if let Some(id) = self.stored_keys.get(&key).copied() {
            self.drop_files(id, |stored| stored.key == Some(key));
        }
    }

    /// Closes stored files.
    fn drop_files(&mut self, id: UnitId, which: impl Fn(&Stored) -> bool) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        let (gone, kept) = std::mem::take(&mut runtime.stored).into_iter().partition(which);
        runtime.stored = kept;
        let gone: Vec<Stored> = gone;
        for stored in gone {
            if let Some(key) = stored.key {
                let _ = self.epoll.remove(stored.file.as_fd());
                self.stored_keys.remove(&key);
            }
        }
        if let Some(runtime) = self.units.get_mut(id)
            && runtime.stored.is_empty()
            && let crate::units::Kind::Service(machine) = &mut runtime.kind
            && machine.state == State::DeadResourcesPinned
        {
            machine.state = State::Dead;
            self.idle_units.insert(id);
        }
    }

    /// Closes all that a service stored.
    pub fn close_stored(&mut self, id: UnitId) {
        self.drop_files(id, |_| true);
    }

    /// Are files kept for a service that is down?
    pub fn keeps_files(&self, id: UnitId) -> bool {
        let Some(runtime) = self.units.get(id) else { return false };
        let preserve = runtime.unit.service().map(|service| service.fd_store_preserve);
        !runtime.stored.is_empty() && preserve == Some(Preserve::Yes)
    }

    /// A service is over: its files go, unless they are kept or it starts again.
    pub fn release_files(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        let Some(service) = runtime.unit.service() else { return };
        let restarts = runtime.machine().is_some_and(|machine| machine.state == State::AutoRestart)
            || runtime.job.and_then(|job| self.jobs.get(&job)).is_some_and(|job| job.kind == JobKind::Restart);
        let kept = match service.fd_store_preserve {
            Preserve::Yes => true,
            Preserve::Restart => restarts,
            Preserve::No => false,
        };
        if !kept {
            self.drop_files(id, |_| true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_the_list_are_none() {
        assert!(is_name("db-1") && !is_name("a:b") && !is_name("") && !is_name("a\nb") && !is_name(&"x".repeat(256)));
    }
}
