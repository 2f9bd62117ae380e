//! A folder that stands for `/`: every path given is resolved inside it and cannot leave it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};

use crate::{Durability, FileError, replace_at, set_attributes};

/// Mode and owner of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// The permission bits.
    pub mode: u32,
    /// User and group; `None`: whoever runs the program.
    pub owner: Option<(u32, u32)>,
}

/// What an existing path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Folder,
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// An existing path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What it is; a link in the last place is not followed.
    pub kind: EntryKind,
    /// The permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

fn entry_of(stat: &rustix::fs::Stat) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => EntryKind::Folder,
        FileType::RegularFile => EntryKind::File,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    };
    Entry { kind, mode: stat.st_mode & 0o7777, owner: (stat.st_uid, stat.st_gid) }
}

/// An open folder that stands for `/`.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
}

impl Root {
    /// Opens the folder.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(|error| FileError::new("opening folder", path, error))?;
        Ok(Self { directory, path: path.to_path_buf() })
    }

    /// The folder as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the running machine and not a folder somewhere.
    pub fn is_machine(&self) -> bool {
        self.path == Path::new("/")
    }

    /// Reads at most `limit` bytes; `None` when there is no such file. A longer file is an error.
    pub fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
        let fail = |error: std::io::Error| FileError::new("reading", Path::new(path), error);
        let file = match self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(fail(error.into())),
        };
        let mut content = Vec::new();
        let reach = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(reach).read_to_end(&mut content).map_err(fail)?;
        if content.len() > limit {
            return Err(fail(std::io::Error::other(format!("it is larger than the limit of {limit} bytes"))));
        }
        Ok(Some(content))
    }

    /// What is at `path`, or nothing.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>, FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("looking at", Path::new(path), error);
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        Ok(Some(entry_of(&stat)))
    }

    /// What is at `path` after all links, or nothing.
    pub fn target(&self, path: &str) -> Result<Option<Entry>, FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("looking at", Path::new(path), error);
        let stat = match self.resolve(path, OFlags::PATH) {
            Ok(file) => rustix::fs::fstat(&file).map_err(fail)?,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(fail(error)),
        };
        Ok(Some(entry_of(&stat)))
    }

    /// Where the symbolic link at `path` leads, as it is written; `None` when there is none.
    pub fn link(&self, path: &str) -> Result<Option<String>, FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("reading link", Path::new(path), error);
        let target = match self.parent(path) {
            Ok((parent, name)) => rustix::fs::readlinkat(&parent, name, Vec::new()),
            Err(error) => Err(error),
        };
        match target {
            Ok(target) => Ok(target.into_string().ok()),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::INVAL) => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// The names in a folder, sorted; empty when there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>, FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("listing", Path::new(path), error);
        let folder = match self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => folder,
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_string()),
            }
        }
        names.sort();
        Ok(names)
    }

    /// Replaces a file durably; its folder must exist.
    pub fn replace(&self, path: &str, content: &[u8], attributes: &Attributes) -> Result<(), FileError> {
        let fail = |error: std::io::Error| FileError::new("writing", Path::new(path), error);
        let (parent, name) = self.parent(path).map_err(|error| fail(error.into()))?;
        replace_at(&parent, name, content, attributes, Durability::Durable).map_err(fail)
    }

    /// Replaces a path by a symbolic link, in one step; its folder must exist.
    pub fn replace_link(&self, path: &str, target: &str) -> Result<(), FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("linking", Path::new(path), error);
        let (parent, name) = self.parent(path).map_err(fail)?;
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(".new");
        match rustix::fs::unlinkat(&parent, &temporary, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(fail(error)),
        }
        rustix::fs::symlinkat(target, &parent, &temporary).map_err(fail)?;
        rustix::fs::renameat(&parent, &temporary, &parent, name).map_err(fail)?;
        rustix::fs::fsync(&parent).map_err(fail)
    }

    /// Removes a symbolic link; anything else at the path is an error, nothing is none.
    pub fn remove_link(&self, path: &str) -> Result<(), FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("removing link", Path::new(path), error);
        match self.entry(path)? {
            None => Ok(()),
            Some(entry) if entry.kind == EntryKind::Link => {
                let (parent, name) = self.parent(path).map_err(fail)?;
                rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(fail)
            }
            Some(_) => Err(fail(rustix::io::Errno::EXIST)),
        }
    }

    /// Removes a file; anything else at the path is an error, nothing is none.
    pub fn remove_file(&self, path: &str) -> Result<(), FileError> {
        let fail = |error: rustix::io::Errno| FileError::new("removing", Path::new(path), error);
        match self.entry(path)? {
            None => Ok(()),
            Some(entry) if entry.kind == EntryKind::File => {
                let (parent, name) = self.parent(path).map_err(fail)?;
                rustix::fs::unlinkat(&parent, name, AtFlags::empty()).map_err(fail)
            }
            Some(_) => Err(fail(rustix::io::Errno::EXIST)),
        }
    }

    /// Makes a folder or gives the existing one these attributes; its parent must exist.
    pub fn make_folder(&self, path: &str, attributes: &Attributes) -> Result<(), FileError> {
        let fail = |error: std::io::Error| FileError::new("making folder", Path::new(path), error);
        let (parent, name) = self.parent(path).map_err(|error| fail(error.into()))?;
        match rustix::fs::mkdirat(&parent, name, Mode::RWXU) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(fail(error.into())),
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(|error| fail(error.into()))?;
        set_attributes(&folder, attributes).map_err(fail)?;
        rustix::fs::fsync(&parent).map_err(|error| fail(error.into()))
    }

    fn resolve(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let inside = path.trim_start_matches('/');
        let inside = if inside.is_empty() { "." } else { inside };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.directory, inside, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    fn parent<'a>(&self, path: &'a str) -> rustix::io::Result<(OwnedFd, &'a OsStr)> {
        let path = path.trim_end_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Err(rustix::io::Errno::INVAL);
        }
        Ok((self.resolve(folder, OFlags::RDONLY | OFlags::DIRECTORY)?, OsStr::new(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn an_absolute_link_stays_inside_the_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("etc")).unwrap();
        symlink("/etc", folder.path().join("link")).unwrap();
        symlink("../../../../..", folder.path().join("up")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let attributes = Attributes { mode: 0o644, owner: None };
        root.replace("/link/a", b"x", &attributes).unwrap();
        root.replace("/up/b", b"y", &attributes).unwrap();
        assert!(folder.path().join("etc/a").exists());
        assert!(folder.path().join("b").exists());
    }

    #[test]
    fn a_link_replaces_a_file_and_only_a_link_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "x").unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(root.remove_link("/a").is_err());
        root.replace_link("/a", "/dev/null").unwrap();
        root.replace_link("/a", "/dev/zero").unwrap();
        assert_eq!(root.link("/a").unwrap().as_deref(), Some("/dev/zero"));
        root.remove_link("/a").unwrap();
        root.remove_link("/a").unwrap();
        root.remove_file("/nothing").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_over_the_limit_is_refused_and_a_missing_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("big"), [0; 100]).unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(root.read("/big", 99).is_err());
        assert_eq!(root.read("/big", 100).unwrap().unwrap().len(), 100);
        assert_eq!(root.read("/none", 1).unwrap(), None);
    }

    #[test]
    fn a_folder_is_not_made_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        symlink("real", folder.path().join(".ssh")).unwrap();
        let root = Root::open(folder.path()).unwrap();
        assert!(root.make_folder("/.ssh", &Attributes { mode: 0o700, owner: None }).is_err());
    }
}
