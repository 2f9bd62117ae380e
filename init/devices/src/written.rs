//! Disks that a program has written to: a file system or a partition table may be new, and the kernel does not tell.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

const EVENTS_BYTES: usize = 4096;
/// Events taken in one turn.
const MAX_EVENTS: usize = 4096;

/// The watched nodes.
#[derive(Debug)]
pub(crate) struct Written {
    file: OwnedFd,
    nodes: BTreeMap<i32, String>,
}

impl Written {
    /// Watches nothing yet.
    pub(crate) fn open() -> std::io::Result<Self> {
        let file = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { file, nodes: BTreeMap::new() })
    }

    /// Watches a node. Nothing happens when it is watched already.
    pub(crate) fn watch(&mut self, dev: &Path, node: &str) {
        match inotify::add_watch(&self.file, dev.join(node), WatchFlags::CLOSE_WRITE | WatchFlags::DONT_FOLLOW) {
            Ok(watch) => drop(self.nodes.insert(watch, node.to_string())),
            // It is gone again, or there are too many watches: then links follow at its next message.
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => eprintln!("warning: watching '{node}': {error}, its links may be late"),
        }
    }

    /// What is waited for.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The nodes that programs have written to and closed since the last call.
    pub(crate) fn take(&mut self) -> BTreeSet<String> {
        let mut written = BTreeSet::new();
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut reader = inotify::Reader::new(&self.file, &mut buffer);
        for _ in 0..MAX_EVENTS {
            let Ok(event) = reader.next() else { break };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                written.extend(self.nodes.values().cloned());
            } else if event.events().contains(ReadFlags::IGNORED) {
                self.nodes.remove(&event.wd());
            } else {
                written.extend(self.nodes.get(&event.wd()).cloned());
            }
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_was_written_to_is_told_once_and_a_reader_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut written = Written::open().unwrap();
        for name in ["a", "a", "b", "none"] {
            written.watch(folder.path(), name);
        }
        assert_eq!(written.take(), BTreeSet::new());
        for _twice in 0..2 {
            std::fs::write(folder.path().join("a"), "x").unwrap();
        }
        drop(std::fs::read(folder.path().join("b")).unwrap());
        assert_eq!(written.take(), BTreeSet::from(["a".to_string()]));
        std::fs::remove_file(folder.path().join("a")).unwrap();
        assert_eq!(written.take(), BTreeSet::new());
        assert_eq!(written.nodes.values().collect::<Vec<_>>(), ["b"]);
    }
}
