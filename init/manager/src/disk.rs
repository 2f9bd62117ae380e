//! Reads unit files for the loader. Remembers directories: a thousand units do not list them a thousand times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use ferrite_unit::Files;
use ferrite_unit::file::FILE_MAX;

/// Names in one directory at most.
const NAMES_MAX: usize = 20_000;

/// The file system as the loader sees it.
#[derive(Debug, Default)]
pub struct Disk {
    directories: RefCell<BTreeMap<String, Vec<String>>>,
    links: RefCell<BTreeMap<String, Option<String>>>,
}

impl Disk {
    /// Forgets what was seen; call before loading what may have changed.
    pub fn forget(&self) {
        self.directories.borrow_mut().clear();
        self.links.borrow_mut().clear();
    }

    /// Is this name in its directory? Known directories are not read again.
    fn exists(&self, path: &str) -> bool {
        let Some((directory, name)) = path.rsplit_once('/') else { return false };
        self.list(directory).binary_search_by(|have| have.as_str().cmp(name)).is_ok()
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        if !self.exists(path) && !std::path::Path::new(path).exists() {
            return None;
        }
        let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let read = || {
            let file = File::open(path)?;
            if !file.metadata()?.is_file() {
                return Err(std::io::Error::other("not a regular file"));
            }
            let mut bytes = Vec::new();
            file.take(limit).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
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
        if let Some(known) = self.directories.borrow().get(directory) {
            return known.clone();
        }
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).take(NAMES_MAX).collect();
        names.sort();
        self.directories.borrow_mut().insert(directory.to_owned(), names.clone());
        names
    }
}
