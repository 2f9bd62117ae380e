//! Looking at the paths of a path unit, and watching them with inotify: the path itself and every directory above it.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use ferrite_unit::path::Watch;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// Bytes of events read at once.
const EVENTS_BYTES: usize = 4096;
/// Reads until nothing is left, at most.
const READS_MAX: usize = 64;

/// A watched path.
#[derive(Debug)]
pub struct PathWatch {
    /// The file that tells of changes.
    pub file: OwnedFd,
    /// The watch of the whole path, if it is there.
    primary: Option<i32>,
}

fn flags_of(kind: Watch) -> WatchFlags {
    let always = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ATTRIB;
    let content = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO;
    match kind {
        Watch::Exists | Watch::ExistsGlob => always,
        Watch::Changed => always | content,
        Watch::Modified => always | content | WatchFlags::MODIFY,
        Watch::DirectoryNotEmpty => always | WatchFlags::CREATE | WatchFlags::MOVED_TO,
    }
}

/// The path and every directory above it, from the root on.
fn places(path: &str) -> Vec<&str> {
    let ends = path.match_indices('/').skip(1).map(|(end, _)| end).chain([path.len()]);
    std::iter::once("/").chain(ends.filter_map(|end| path.get(..end)).filter(|place| *place != "/")).collect()
}

impl PathWatch {
    /// Watches a path. What is not there yet is waited for in the directory above it.
    pub fn new(kind: Watch, path: &str) -> io::Result<PathWatch> {
        let file = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let places = places(path);
        let above = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let mut primary = None;
        for (depth, place) in places.iter().enumerate() {
            let last = depth + 1 == places.len();
            let flags = if last { flags_of(kind) } else { above };
            // A link and what it leads to may both change.
            let itself = inotify::add_watch(&file, *place, flags | WatchFlags::DONT_FOLLOW);
            let watch = itself.and_then(|_| inotify::add_watch(&file, *place, flags));
            match watch {
                Ok(watch) if last => primary = Some(watch),
                Ok(_) => {}
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::ACCESS | rustix::io::Errno::NOTDIR) if depth > 0 => {
                    break;
                }
                Err(error) => return Err(error.into()),
            }
            // As this one is there, what else appears beside it does not matter.
            if let Some(parent) = depth.checked_sub(1).and_then(|depth| places.get(depth)) {
                let _ = inotify::add_watch(&file, *parent, WatchFlags::MOVE_SELF);
            }
        }
        Ok(PathWatch { file, primary })
    }

    /// Takes what changed; `true`: the path itself did, and the unit waits for just that.
    pub fn take(&self, kind: Watch) -> bool {
        let mut changed = false;
        for _ in 0..READS_MAX {
            let mut space = [MaybeUninit::uninit(); EVENTS_BYTES];
            let mut reader = inotify::Reader::new(&self.file, &mut space);
            let Ok(event) = reader.next() else { break };
            changed |= self.primary == Some(event.wd());
            while !reader.is_buffer_empty() {
                let Ok(event) = reader.next() else { break };
                changed |= self.primary == Some(event.wd());
            }
        }
        changed && matches!(kind, Watch::Changed | Watch::Modified)
    }
}

/// Does a path fit already? `seen`: was it there when it was looked at last; `counts`: does a difference count?
pub fn is_good(kind: Watch, path: &str, seen: &mut bool, counts: bool) -> Option<String> {
    let there = || fs::symlink_metadata(path).is_ok() && fs::metadata(path).is_ok();
    match kind {
        Watch::Exists => there().then(|| path.to_owned()),
        Watch::ExistsGlob => crate::glob::first(path),
        Watch::DirectoryNotEmpty => is_not_empty(path).then(|| path.to_owned()),
        Watch::Changed | Watch::Modified => {
            let now = there();
            let differs = std::mem::replace(seen, now) != now;
            (counts && differs).then(|| path.to_owned())
        }
    }
}

/// Something is in the directory that is neither hidden nor a copy that an editor or a package manager left.
fn is_not_empty(path: &str) -> bool {
    let names = match fs::read_dir(path) {
        Ok(names) => names,
        // What cannot be read may hold anything; what is not a directory holds nothing.
        Err(error) => return !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    };
    names.flatten().any(|entry| !is_hidden_or_copy(&entry.file_name().to_string_lossy()))
}

fn is_hidden_or_copy(name: &str) -> bool {
    const COPIES: [&str; 17] = [
        "rpmnew",
        "rpmsave",
        "rpmorig",
        "dpkg-old",
        "dpkg-new",
        "dpkg-tmp",
        "dpkg-dist",
        "dpkg-bak",
        "dpkg-backup",
        "dpkg-remove",
        "ucf-new",
        "ucf-old",
        "ucf-dist",
        "swp",
        "bak",
        "old",
        "new",
    ];
    name.starts_with('.')
        || name.ends_with('~')
        || matches!(name, "lost+found" | "aquota.user" | "aquota.group")
        || name.rsplit_once('.').is_some_and(|(_, suffix)| COPIES.contains(&suffix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_appears_and_changes_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b").display().to_string();
        let epoll = ferrite_sys::epoll::Epoll::new().unwrap();
        let waits = |watch: &PathWatch| {
            epoll.add(&watch.file, 1).unwrap();
            let woken = !epoll.wait(Some(Duration::from_millis(20))).unwrap().is_empty();
            epoll.remove(&watch.file).unwrap();
            woken
        };
        let watch = PathWatch::new(Watch::Changed, &path).unwrap();
        assert!(!waits(&watch));
        fs::create_dir(directory.path().join("a")).unwrap();
        assert!(waits(&watch) && !watch.take(Watch::Changed));
        fs::write(&path, "x").unwrap();
        let watch = PathWatch::new(Watch::Changed, &path).unwrap();
        fs::write(&path, "y").unwrap();
        assert!(waits(&watch) && watch.take(Watch::Changed) && !waits(&watch));
        // Something beside it does not matter.
        fs::write(directory.path().join("a/c"), "").unwrap();
        assert!(!waits(&watch));
    }

    #[test]
    fn paths_are_good_when_they_fit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display().to_string();
        let mut seen = false;
        assert!(is_good(Watch::Exists, &path, &mut seen, false).is_some());
        assert!(is_good(Watch::DirectoryNotEmpty, &path, &mut seen, false).is_none());
        fs::write(directory.path().join("x.dpkg-old"), "").unwrap();
        assert!(is_good(Watch::DirectoryNotEmpty, &path, &mut seen, false).is_none());
        fs::write(directory.path().join("x"), "").unwrap();
        assert!(is_good(Watch::DirectoryNotEmpty, &path, &mut seen, false).is_some());
        assert_eq!(is_good(Watch::ExistsGlob, &format!("{path}/?"), &mut seen, false), Some(format!("{path}/x")));
        assert!(is_good(Watch::Changed, &path, &mut seen, false).is_none() && seen);
        assert!(is_good(Watch::Changed, &path, &mut seen, true).is_none());
        assert!(is_good(Watch::Changed, "/nonexistent", &mut seen, true).is_some());
    }
}
