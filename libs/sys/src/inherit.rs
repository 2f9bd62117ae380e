//! Open files that outlive `execve`: what a program hands to its own next image.
//!
//! The next image takes each file once, by its number, and closes all that nobody asked for.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::libc;
use rustix::io::FdFlags;

/// Standard streams; they are nobody's to take.
const FIRST: RawFd = 3;

/// Keeps a file open across `execve`, or no longer.
pub fn keep_open(file: impl AsFd, keep: bool) -> io::Result<()> {
    let flags = if keep { FdFlags::empty() } else { FdFlags::CLOEXEC };
    Ok(rustix::io::fcntl_setfd(file, flags)?)
}

/// The same for files of these numbers, which must be open.
pub fn keep_all(numbers: &[RawFd], keep: bool) -> io::Result<()> {
    let flags = if keep { 0 } else { libc::FD_CLOEXEC };
    for number in numbers {
        // SAFETY: F_SETFD takes integers only; who owns the file does not change.
        if unsafe { libc::fcntl(*number, libc::F_SETFD, flags) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The number of the object behind a file: it tells one socket or pipe from another.
pub fn inode(file: impl AsFd) -> u64 {
    rustix::fs::fstat(file).map_or(0, |stat| stat.st_ino)
}

/// Do both numbers lead to the same object?
pub fn same_file(a: impl AsFd, b: impl AsFd) -> bool {
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

/// The files that were open when this program began.
#[derive(Debug)]
pub struct Inherited {
    open: BTreeSet<RawFd>,
}

impl Inherited {
    /// Finds them. To be called before anything else opens files, and once: they all belong to the result.
    pub fn find() -> Inherited {
        let names = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let listed: BTreeSet<RawFd> =
            names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd >= FIRST).collect();
        // The listing names its own descriptor, which is closed by now; without /proc each number is tried.
        let numbers: Vec<RawFd> =
            if listed.is_empty() { (FIRST..4096).collect() } else { listed.into_iter().collect() };
        Inherited { open: numbers.into_iter().filter(|fd| is_open(*fd)).collect() }
    }

    /// Takes the file of this number if it is the object that is wanted (`None`: any); another one stays for others.
    pub fn take(&mut self, number: RawFd, wanted: Option<u64>) -> Option<OwnedFd> {
        if !self.open.remove(&number) {
            return None;
        }
        // SAFETY: the number was open when the program began and was just taken out of the set: nobody else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(number) };
        if wanted.is_some_and(|wanted| inode(&file) != wanted) {
            self.open.insert(file.into_raw_fd());
            return None;
        }
        keep_open(&file, false).is_ok().then_some(file)
    }

    /// Takes the file that was opened by this path, if there is one.
    pub fn take_path(&mut self, path: &Path) -> Option<OwnedFd> {
        let leads_there =
            |number: &&RawFd| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|target| target == path);
        let number = self.open.iter().find(leads_there).copied()?;
        self.take(number, None)
    }

    /// Closes what was not taken.
    pub fn close_rest(self) {
        for number in self.open {
            // SAFETY: as above; the set is gone afterwards.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: F_GETFD takes integers only.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Becomes this program, with the environment of this one. Returns only what went wrong.
pub fn execute(program: &CStr, arguments: &[CString]) -> io::Error {
    match nix::unistd::execv(program, arguments) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_file_is_taken_once_and_only_if_it_is_the_same() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let wanted = inode(&reader);
        let other =
            inode(rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap());
        assert_ne!(wanted, other);
        let (reader, writer) = (reader.into_raw_fd(), writer.into_raw_fd());
        let mut inherited = Inherited { open: [reader, writer].into() };
        assert_eq!(inherited.take(reader, Some(wanted)).unwrap().as_raw_fd(), reader);
        assert!(inherited.take(reader, Some(wanted)).is_none());
        // A wrong guess harms nobody: the file is still there for whoever it belongs to, or closed at last.
        assert!(inherited.take(writer, Some(other)).is_none());
        assert!(is_open(writer));
        inherited.close_rest();
        assert!(!is_open(writer));
    }

    #[test]
    fn a_file_is_found_by_the_path_it_was_opened_by() {
        let path = std::fs::canonicalize("Cargo.toml").unwrap();
        let number = std::fs::File::open(&path).unwrap().into_raw_fd();
        let mut inherited = Inherited { open: [number].into() };
        assert!(inherited.take_path(Path::new("/dev/watchdog0")).is_none());
        assert_eq!(inherited.take_path(&path).unwrap().as_raw_fd(), number);
        assert!(inherited.take_path(&path).is_none());
    }

    #[test]
    fn execution_of_what_is_not_there_is_an_error() {
        let error = execute(c"/nonexistent/program", &[c"x".to_owned()]);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
