//! Paths on file systems that may never answer, those of the network and of programs: PID 1 looks at one only after a
//! child of it has, and does not wait for that child for long.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use ferrite_unit::mount::is_network_kind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::engine::Engine;
use crate::mount_table::Mounted;

/// How long PID 1 waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a file system that gave none is left alone.
const REST: Duration = Duration::from_secs(30);

/// Where the file systems are that gave no answer, and until when they are left alone.
#[derive(Debug, Default)]
pub struct Silent(RefCell<BTreeMap<String, Instant>>);

/// The mount that a path lies on, if it may not answer. Pure.
fn slow_place<'a>(mounts: &'a BTreeMap<String, Mounted>, path: &str) -> Option<&'a str> {
    let mut above = path.trim_end_matches('/');
    loop {
        let place = if above.is_empty() { "/" } else { above };
        if let Some((place, mounted)) = mounts.get_key_value(place) {
            return may_be_silent(&mounted.kind).then_some(place.as_str());
        }
        above = above.rsplit_once('/')?.0;
    }
}

fn may_be_silent(kind: &str) -> bool {
    kind == "9p" || kind == "fuse" || kind.starts_with("fuse.") || is_network_kind(kind)
}

/// Looks at a path in a child. `false`: no answer in time; the child is ended.
fn probe(path: &str) -> io::Result<bool> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let child = ferrite_sys::process::fork_into(None, || {
        // That there is an answer counts, not which one.
        let _ = std::fs::metadata(path);
        let _ = rustix::io::write(&writer, b".");
        0
    })?;
    let began = Instant::now();
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&reader, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) if ready > 0 => return Ok(true),
            Err(rustix::io::Errno::INTR) if !left.is_zero() => {}
            Ok(_) | Err(_) => break,
        }
    }
    // It is reaped like any other process when it ends.
    let _ = ferrite_sys::signal::send(child.pid, 9);
    Ok(false)
}

impl Engine {
    /// May PID 1 look at this path? What does not answer is told of, and not asked again for a while.
    pub fn answers(&self, path: &str) -> bool {
        let Some(place) = slow_place(&self.kinds.mounts.seen, path) else { return true };
        let silent = &self.kinds.silent.0;
        let rests = silent.borrow().get(place).is_some_and(|until| Instant::now() < *until);
        if rests {
            return false;
        }
        match probe(path) {
            Ok(true) => drop(silent.borrow_mut().remove(place)),
            Ok(false) => {
                self.log.error(&format!(
                    "the file system at {place} does not answer, going on without it for {} s",
                    REST.as_secs()
                ));
                silent.borrow_mut().insert(place.to_owned(), Instant::now() + REST);
                return false;
            }
            Err(error) => {
                self.log.error(&format!("asking the file system at {place}: {error}, going on without it"));
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_above_a_path_decides() {
        let mounted = |kind: &str| Mounted { kind: kind.to_owned(), ..Mounted::default() };
        let mounts = [("/", "erofs"), ("/mnt", "nfs4"), ("/mnt/in", "ext4"), ("/home", "fuse.sshfs")];
        let mounts: BTreeMap<String, Mounted> =
            mounts.iter().map(|(place, kind)| ((*place).to_owned(), mounted(kind))).collect();
        for (path, wanted) in [
            ("/etc/x", None),
            ("/mnt", Some("/mnt")),
            ("/mnt/a/b", Some("/mnt")),
            ("/mnt/in/x", None),
            ("/mntx", None),
            ("/home/u/.x", Some("/home")),
            ("relative", None),
        ] {
            assert_eq!(slow_place(&mounts, path), wanted, "{path}");
        }
    }
}
