//! Reads unit files for the loader. Remembers directories: a thousand units do not list them a thousand times.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::rc::Rc;

use ferrite_unit::file::FILE_MAX;
use ferrite_unit::names::NameMap;
use ferrite_unit::{Files, LoadPath, Stamp};

/// Names in one directory at most.
const NAMES_MAX: usize = 20_000;
/// Bytes of a file of the machine's configuration.
const TEXT_MAX: u64 = 16 * 1024 * 1024;

/// The file system as the loader sees it.
#[derive(Debug, Default)]
pub struct Disk {
    directories: RefCell<BTreeMap<String, Listing>>,
    links: RefCell<BTreeMap<String, Option<String>>>,
    names: RefCell<Option<Rc<NameMap>>>,
    stamps: RefCell<BTreeMap<String, Option<Stamp>>>,
}

/// The names in a directory, sorted.
#[derive(Debug, Default)]
struct Listing {
    names: Vec<String>,
    /// Those that are symbolic links.
    links: Vec<String>,
    /// A name that is not here is not there either.
    whole: bool,
}

impl Listing {
    fn read(directory: &str) -> Listing {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => {
                let whole = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
                return Listing { names: Vec::new(), links: Vec::new(), whole };
            }
        };
        let mut listing = Listing { names: Vec::new(), links: Vec::new(), whole: true };
        for entry in entries {
            // The kind of an entry comes along with its name.
            let linked = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_symlink());
            match entry.map(|entry| (linked(&entry), entry.file_name().into_string())) {
                Ok((link, Ok(name))) if listing.names.len() < NAMES_MAX => {
                    if link {
                        listing.links.push(name.clone());
                    }
                    listing.names.push(name);
                }
                // No unit has a name that is no text.
                Ok((_, Err(_))) => {}
                Ok((_, Ok(_))) | Err(_) => listing.whole = false,
            }
        }
        listing.names.sort();
        listing.links.sort();
        listing
    }

    fn is_link(&self, name: &str) -> bool {
        self.links.binary_search_by(|have| have.as_str().cmp(name)).is_ok()
    }

    /// `None`: nobody knows.
    fn has(&self, name: &str) -> Option<bool> {
        let found = self.names.binary_search_by(|have| have.as_str().cmp(name)).is_ok();
        (found || self.whole).then_some(found)
    }
}

impl Disk {
    /// Is this name in its directory? Known directories are not read again.
    fn exists(&self, path: &str) -> bool {
        let Some((directory, name)) = path.rsplit_once('/') else { return false };
        self.listing(directory, |listing| listing.has(name)).unwrap_or_else(|| std::path::Path::new(path).exists())
    }

    /// Looks at a directory, which is read if it is not known yet.
    fn listing<T>(&self, directory: &str, look: impl FnOnce(&Listing) -> T) -> T {
        if let Some(known) = self.directories.borrow().get(directory) {
            return look(known);
        }
        if self.is_missing(directory) {
            return look(&Listing { names: Vec::new(), links: Vec::new(), whole: true });
        }
        let listing = Listing::read(directory);
        let seen = look(&listing);
        self.directories.borrow_mut().insert(directory.to_owned(), listing);
        seen
    }

    /// Does the directory above, which is known, not hold this one? Most units have none of their own.
    fn is_missing(&self, directory: &str) -> bool {
        let Some((above, name)) = directory.rsplit_once('/') else { return false };
        self.directories.borrow().get(above).is_some_and(|listing| listing.has(name) == Some(false))
    }
}

/// Reads a plain file, so many bytes at most. A pipe or a device that somebody put in its place is an error: it is not
/// opened, or at least not waited for.
pub fn read_plain(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    check_plain(&std::fs::metadata(path)?)?;
    read_opened(path, limit)
}

fn check_plain(metadata: &std::fs::Metadata) -> io::Result<()> {
    if metadata.is_file() { Ok(()) } else { Err(io::Error::other("not a regular file")) }
}

/// The same, when a plain file was there a moment ago.
fn read_opened(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    let size = usize::try_from(metadata.len().min(limit)).unwrap_or(0);
    check_plain(&metadata)?;
    // One byte more: the read that finds the end needs room.
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same, where a longer file is an error.
pub fn read_whole(path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let bytes = read_plain(path, limit.saturating_add(1))?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length <= limit => Ok(bytes),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {limit} bytes"))),
    }
}

/// The text of a small file of the machine's configuration. One that is not there or is no text says nothing.
pub fn read_text(path: &str) -> String {
    read_whole(path, TEXT_MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Which version of a file is there, following links.
pub fn stamp(path: &str) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    let nanoseconds = u64::try_from(metadata.mtime_nsec()).unwrap_or(0);
    let seconds = metadata.mtime().unsigned_abs();
    let version = [metadata.ino(), metadata.dev(), seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds)];
    Some(Stamp { plain: metadata.is_file(), size: metadata.size(), version })
}

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>> {
        if !self.exists(path) {
            return None;
        }
        let limit = u64::try_from(FILE_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let known_plain = matches!(self.stamps.borrow().get(path), Some(Some(stamp)) if stamp.plain);
        match if known_plain { read_opened(path, limit) } else { read_plain(path, limit) } {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            outcome => Some(outcome.map_err(|error| error.to_string())),
        }
    }

    fn stamp(&self, path: &str) -> Option<Stamp> {
        if !self.exists(path) {
            return None;
        }
        if let Some(known) = self.stamps.borrow().get(path) {
            return *known;
        }
        let stamp = stamp(path);
        self.stamps.borrow_mut().insert(path.to_owned(), stamp);
        stamp
    }

    fn link(&self, path: &str) -> Option<String> {
        if !self.exists(path) {
            return None;
        }
        let (directory, name) = path.rsplit_once('/')?;
        // Which names are links came along with the names.
        if self.listing(directory, |listing| listing.has(name) == Some(true) && !listing.is_link(name)) {
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
        self.listing(directory, |listing| listing.names.clone())
    }

    fn links(&self, directory: &str) -> Vec<String> {
        self.listing(directory, |listing| listing.links.clone())
    }

    fn names(&self, path: &LoadPath) -> Rc<NameMap> {
        if let Some(known) = &*self.names.borrow() {
            return known.clone();
        }
        let names = Rc::new(NameMap::build(path, self));
        *self.names.borrow_mut() = Some(names.clone());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_its_parent_does_not_name_is_not_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("a.service.d")).unwrap();
        std::fs::write(at("a.service.d/x.conf"), "").unwrap();
        let disk = Disk::default();
        assert!(!disk.is_missing(&at("b.service.d")), "nothing is known yet");
        assert_eq!(disk.read(&at("a.service")), None);
        assert!(disk.is_missing(&at("b.service.d")));
        assert_eq!(disk.list(&at("b.service.d")), Vec::<String>::new());
        assert_eq!(disk.list(&at("a.service.d")), ["x.conf"]);
        std::fs::create_dir(at("b.service.d")).unwrap();
        let disk = Disk::default();
        assert_eq!(disk.list(&at("b.service.d")), Vec::<String>::new());
        assert!(!disk.is_missing(&at("b.service.d")));
    }
}
