//! Replacing files so that a power cut leaves the old or the new one, and writing below a root without leaving it.
//!
//! The one surprising fact: a `Root` resolves symbolic links as `chroot` would (openat2, RESOLVE_IN_ROOT), so that an
//! absolute link or `..` below `--root DIR` never reaches the machine that runs the program.

mod root;

pub use root::{Attributes, Entry, EntryKind, Root};

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};

/// Whether a file must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The bytes and the name are on the disk when the function returns.
    Durable,
    /// The file lives on a tmpfs or can be made again: no fsync.
    Volatile,
}

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
#[error("{doing} '{}'", path.display())]
pub struct FileError {
    /// What was being done: `opening`, `writing`...
    pub doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why it failed.
    pub source: std::io::Error,
}

impl FileError {
    fn new(doing: &'static str, path: &Path, source: impl Into<std::io::Error>) -> Self {
        Self { doing, path: path.to_path_buf(), source: source.into() }
    }
}

/// Replaces a file: temporary name, write, fsync, rename, fsync of the folder. The folder must exist.
pub fn replace(path: &Path, content: &[u8], mode: u32, durability: Durability) -> Result<(), FileError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, folder, flags, Mode::empty())
        .map_err(|error| FileError::new("opening folder", folder, error))?;
    let name = path.file_name().ok_or_else(|| FileError::new("naming", path, rustix::io::Errno::INVAL))?;
    let attributes = Attributes { mode, owner: None };
    replace_at(&directory, name, content, &attributes, durability)
        .map_err(|error| FileError::new("writing", path, error))
}

/// The one place where a file is replaced.
fn replace_at(
    directory: &OwnedFd,
    name: &OsStr,
    content: &[u8],
    attributes: &Attributes,
    durability: Durability,
) -> std::io::Result<()> {
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    match rustix::fs::unlinkat(directory, &temporary, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
    let written = fill(&file, content, attributes, durability)
        .and_then(|()| Ok(rustix::fs::renameat(directory, &temporary, directory, name)?));
    if let Err(error) = written {
        // The first error is the one that matters; a temporary file that stays is removed by the next attempt.
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        return Err(error);
    }
    if durability == Durability::Durable {
        rustix::fs::fsync(directory)?;
    }
    Ok(())
}

fn fill(file: &OwnedFd, content: &[u8], attributes: &Attributes, durability: Durability) -> std::io::Result<()> {
    let mut rest = content;
    while !rest.is_empty() {
        let count = rustix::io::retry_on_intr(|| rustix::io::write(file, rest))?;
        rest = rest.get(count..).unwrap_or_default();
    }
    set_attributes(file.as_fd(), attributes)?;
    if durability == Durability::Durable {
        rustix::fs::fsync(file)?;
    }
    Ok(())
}

/// Owner first: chown clears set-id bits that chmod must then set.
fn set_attributes(file: impl AsFd, attributes: &Attributes) -> std::io::Result<()> {
    if let Some((uid, gid)) = attributes.owner {
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(attributes.mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replacing_keeps_no_temporary_file_and_sets_the_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        replace(&path, b"one", 0o640, Durability::Durable).unwrap();
        replace(&path, b"two", 0o600, Durability::Volatile).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_left_over_temporary_file_does_not_stop_the_next_attempt() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".a.new"), "old").unwrap();
        replace(&folder.path().join("a"), b"new", 0o600, Durability::Durable).unwrap();
        assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"new");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = replace(Path::new("/nonexistent/x"), b"", 0o600, Durability::Volatile).unwrap_err();
        assert_eq!(error.to_string(), "opening folder '/nonexistent'");
    }
}
