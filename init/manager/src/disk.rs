//! Reads unit files for the loader. Remembers directories: a thousand units do not list them a thousand times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use ferrite_unit::Files;
use ferrite_unit::file::FILE_MAX;

/// Names in one directory at most.
const NAMES_MAX: usize = 20_000;

/// The file system as the loader sees it.
#[derive(Debug, Default)]
pub struct Disk {
    directories: RefCell<BTreeMap<String, Vec<String>>>,
    link_names: RefCell<BTreeMap<String, Vec<String>>>,
    links: RefCell<BTreeMap<String, Option<String>>>,
}

impl Disk {
    /// Forgets what was seen; call before loading what may have changed.
    pub fn forget(&self) {
        self.directories.borrow_mut().clear();
        self.link_names.borrow_mut().clear();
        self.links.borrow_mut().clear();
    }

    /// Is this name in its directory? Known directories are not read again.
    fn exists(&self, path: &str) -> bool {
        let Some((directory, name)) = path.rsplit_once('/') else { return false };
        self.names(directory, |names| names.binary_search_by(|have| have.as_str().cmp(name)).is_ok())
    }

    /// Looks at the names in a directory, which is read if it is not known yet.
    fn names<T>(&self, directory: &str, look: impl FnOnce(&[String]) -> T) -> T {
        if let Some(known) = self.directories.borrow().get(directory) {
            return look(known);
        }
        if self.is_missing(directory) {
            return look(&[]);
        }
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES_MAX).collect();
        names.sort();
        let seen = look(&names);
        self.directories.borrow_mut().insert(directory.to_owned(), names);
        seen
    }

    /// Does the directory above, which is known, not hold this one? Most units have none of their own.
    fn is_missing(&self, directory: &str) -> bool {
        let Some((above, name)) = directory.rsplit_once('/') else { return false };
        let known = self.directories.borrow();
        known.get(above).is_some_and(|names| names.binary_search_by(|have| have.as_str().cmp(name)).is_err())
    }
}

/// Reads a plain file, so many bytes at most. A pipe or a device that somebody put in its place is an error: it is not
/// opened, or at least not waited for.
pub fn read_plain(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let plain = |metadata: std::fs::Metadata| match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("not a regular file")),
    };
    plain(std::fs::metadata(path)?)?;
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    plain(file.metadata()?)?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        if !self.exists(path) && !std::path::Path::new(path).exists() {
            return None;
        }
        let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
        match read_plain(path, limit) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            outcome => Some(outcome.map_err(|error| error.to_string())),
        }
    }

    fn link(&self, path: &str) -> Option<String> {
        if !self.exists(path) {
            return None;
        }
        if let Some(known) = self.links.borrow().get(path) {
            return known.clone();
        }
        let target = std::fs::read_link(path).ok().and_then(|target| target.into_os_string().into_string().ok());
        self.links.borrow_mut().insert(path.to_owned(), target.clone());
        target
    }

    fn list(&self, directory: &str) -> Vec<String> {
        self.names(directory, <[String]>::to_vec)
    }

    fn links(&self, directory: &str) -> Vec<String> {
        if let Some(known) = self.link_names.borrow().get(directory) {
            return known.clone();
        }
        let mut names = self.list(directory);
        names.retain(|name| self.link(&format!("{directory}/{name}")).is_some());
        self.link_names.borrow_mut().insert(directory.to_owned(), names.clone());
        names
    }
}
