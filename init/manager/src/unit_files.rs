//! Unit files as an administrator installs them: links that start units at boot, aliases, masks, presets. The table of
//! contents. PID 1 asks here for the state of a unit file; `systemctl enable` and its like plan and make the links.
//!
//! Paths are those below the root: `/etc/systemd/system/a.service` whatever root they lie in.

mod add;
mod change;
mod install;
mod lookup;
mod mask;
mod preset;
mod remove;
mod state;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::PathBuf;

use ferrite_unit::LoadPath;
use ferrite_unit::specifier::Host;

pub use add::Manner;
pub use change::{Outcome, Verb};
pub use preset::Mode;
pub use state::{Installed, list, state};

/// Links that are followed from one name to its file.
pub(crate) const LINKS_MAX: usize = 64;
/// Names in one directory that are looked at.
const NAMES_MAX: usize = 20_000;

/// Whether links last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// In /etc.
    Persistent,
    /// In /run: until the next boot.
    Runtime,
}

/// What stands at a path, links not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    Missing,
    /// A file with content.
    File,
    /// An empty file, or the null device: a mask.
    Empty,
    Link(String),
    Directory,
    Other,
}

/// The unit files of a root.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    path: Vec<String>,
    runtime: &'static str,
    host: Host,
    /// Links that a plan makes or removes, before it is carried out.
    planned: BTreeMap<String, Option<String>>,
    /// Directories that were read: hundreds of units do not list them hundreds of times.
    known: RefCell<BTreeMap<String, Listing>>,
    /// Where links lead, as far as somebody asked.
    targets: RefCell<BTreeMap<String, Option<String>>>,
}

/// The names in a directory, sorted, and which of them are links.
#[derive(Debug, Clone, Default)]
struct Listing {
    names: Vec<String>,
    links: BTreeSet<String>,
}

/// Where an administrator's own files are.
const CONFIG: &str = "/etc/systemd/system";

impl Tree {
    /// The unit files of the running system.
    pub fn running(path: &LoadPath, host: Host) -> Tree {
        let root = PathBuf::from("/");
        Tree::new(root, path.0.clone(), "/run/ferrite/system", host)
    }

    /// The unit files of a root that does not run; there everything is as systemd has it.
    pub fn of_root(root: &str, host: Host) -> Tree {
        let path = [
            "/etc/systemd/system.control",
            "/run/systemd/system.control",
            "/run/systemd/transient",
            "/run/systemd/generator.early",
            CONFIG,
            "/etc/systemd/system.attached",
            "/run/systemd/system",
            "/run/systemd/system.attached",
            "/run/systemd/generator",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/run/systemd/generator.late",
        ];
        let path = path.map(str::to_owned).to_vec();
        Tree::new(PathBuf::from(root), path, "/run/systemd/system", host)
    }

    fn new(root: PathBuf, path: Vec<String>, runtime: &'static str, host: Host) -> Tree {
        Tree {
            root,
            path,
            runtime,
            host,
            planned: BTreeMap::new(),
            known: RefCell::default(),
            targets: RefCell::default(),
        }
    }

    /// The path as the caller sees it.
    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The directory of new links.
    fn config(&self, lasting: Lasting) -> &'static str {
        match lasting {
            Lasting::Persistent => CONFIG,
            Lasting::Runtime => self.runtime,
        }
    }

    fn is_config(&self, directory: &str) -> bool {
        directory == CONFIG || directory == self.runtime
    }

    fn is_runtime(directory: &str) -> bool {
        directory.starts_with("/run/")
    }

    /// Made by a generator, or at run time: not an administrator's.
    fn is_generated(path: &str) -> bool {
        directory_of(path).rsplit('/').next().is_some_and(|name| name.starts_with("generator"))
    }

    fn is_transient(path: &str) -> bool {
        directory_of(path).ends_with("/transient")
    }

    fn in_search_path(&self, path: &str) -> bool {
        self.path.iter().any(|directory| directory == directory_of(path))
    }

    fn below_search_path(&self, path: &str) -> bool {
        self.path
            .iter()
            .any(|directory| path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/')))
    }

    fn entry(&self, path: &str) -> Entry {
        match self.planned.get(path) {
            Some(Some(target)) => return Entry::Link(target.clone()),
            Some(None) => return Entry::Missing,
            None => {}
        }
        let real = self.real(path);
        let Ok(metadata) = fs::symlink_metadata(&real) else { return Entry::Missing };
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(&real).ok().and_then(|target| target.into_os_string().into_string().ok());
            target.map_or(Entry::Other, Entry::Link)
        } else if kind.is_dir() {
            Entry::Directory
        } else if kind.is_char_device() || (kind.is_file() && metadata.len() == 0) {
            Entry::Empty
        } else if kind.is_file() {
            Entry::File
        } else {
            Entry::Other
        }
    }

    /// Does a link lead to nothing? `/dev/null` of a root counts wherever it is.
    fn is_null(&self, path: &str) -> bool {
        path == "/dev/null" || self.entry(path) == Entry::Empty
    }

    fn link(&self, path: &str) -> Option<String> {
        let looked_at = || match self.entry(path) {
            Entry::Link(target) => Some(target),
            Entry::Missing | Entry::File | Entry::Empty | Entry::Directory | Entry::Other => None,
        };
        if !self.planned.is_empty() {
            return looked_at();
        }
        // What a directory that was read says of its names is enough for those that are no links.
        let known = self.known.borrow().get(directory_of(path)).map(|listing| listing.links.contains(name_of(path)));
        match known {
            None => looked_at(),
            Some(false) => None,
            Some(true) => self.targets.borrow_mut().entry(path.to_owned()).or_insert_with(looked_at).clone(),
        }
    }

    /// The names in a directory, sorted; what is planned counts.
    fn names(&self, directory: &str) -> Vec<String> {
        let known = self.known.borrow().get(directory).map(|listing| listing.names.clone());
        let mut names = known.unwrap_or_else(|| self.read_names(directory));
        for (path, target) in &self.planned {
            if directory_of(path) == directory {
                names.retain(|name| name != name_of(path));
                if target.is_some() {
                    names.push(name_of(path).to_owned());
                }
            }
        }
        // A directory that only planned links are in is not there yet, but will be.
        let below = format!("{directory}/");
        for path in self.planned.iter().filter(|(_, target)| target.is_some()).map(|(path, _)| path) {
            let child = path.strip_prefix(&below).and_then(|rest| rest.split_once('/')).map(|(child, _)| child);
            if let Some(child) = child.filter(|child| !names.iter().any(|name| name == child)) {
                names.push(child.to_owned());
            }
        }
        names.sort();
        names
    }

    fn read_names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.real(directory)).into_iter().flatten().flatten();
        let mut listing = Listing::default();
        for entry in entries.take(NAMES_MAX) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                listing.links.insert(name.clone());
            }
            listing.names.push(name);
        }
        listing.names.sort();
        let names = listing.names.clone();
        self.known.borrow_mut().insert(directory.to_owned(), listing);
        names
    }

    /// A path with `.`, `..` and links of its directories resolved within the root; the last name is left alone.
    fn resolve(&self, path: &str) -> Option<String> {
        let mut done: Vec<String> = Vec::new();
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut followed = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => {}
                ".." => drop(done.pop()),
                name => {
                    let here = format!("/{}", [done.join("/"), name.to_owned()].join("/").trim_start_matches('/'));
                    match self.link(&here).filter(|_| !left.is_empty()) {
                        None => done.push(name.to_owned()),
                        Some(target) => {
                            followed += 1;
                            if followed > LINKS_MAX {
                                return None;
                            }
                            if target.starts_with('/') {
                                done.clear();
                            }
                            left.extend(target.split('/').rev().map(str::to_owned));
                        }
                    }
                }
            }
        }
        Some(format!("/{}", done.join("/")))
    }

    /// The same, with the last name followed too.
    fn chase(&self, path: &str) -> Option<String> {
        let mut path = self.resolve(path)?;
        for _ in 0..LINKS_MAX {
            match self.link(&path) {
                None => return Some(path),
                Some(target) => path = self.resolve(&absolute(directory_of(&path), &target))?,
            }
        }
        None
    }
}

/// What stands before the last slash.
pub(crate) fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// What stands behind the last slash.
pub(crate) fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// A link's target, seen from the directory of the link.
fn absolute(directory: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { format!("{directory}/{target}") }
}

/// Does a directory hold links that pull units in?
fn is_dependency_directory(name: &str) -> bool {
    [".wants", ".requires", ".upholds"].iter().any(|end| name.ends_with(end))
}
