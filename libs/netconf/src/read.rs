//! From the files of all folders to what counts: precedence, masks, drop-ins, then every line through the tables. Pure.
//!
//! A wrong value costs its line, or its whole section where sections repeat; a file that is no text or has a broken
//! header costs the links that it matches. Nothing else suffers.

use std::collections::BTreeMap;
use std::rc::Rc;

use ferrite_unit::file::{self, Entry};

use crate::fault::{Fault, Severity};
use crate::key::{Effect, Section};
use crate::link::Link;
use crate::matching::LinkFacts;
use crate::netdev::Netdev;
use crate::network::Network;
use crate::{netdev_table, sections};

/// The folders, the strongest first.
pub const FOLDERS: [&str; 4] =
    ["/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network"];
/// Files of one machine at most.
pub const FILES_MAX: usize = 4096;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// It leads to /dev/null.
    Masked,
    /// It could not be read, for this reason.
    Unreadable(String),
}

/// A file of one of the folders, or of a `NAME.network.d` folder in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The whole path, below one of [`FOLDERS`].
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// Everything that counts, in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// `.network` files.
    pub networks: Vec<Network>,
    /// `.netdev` files.
    pub netdevs: Vec<Netdev>,
    /// `.link` files.
    pub links: Vec<Link>,
    /// What is wrong with any of them.
    pub faults: Vec<Fault>,
}

impl Config {
    /// The file that a link gets: the first that matches.
    pub fn network_for(&self, link: &LinkFacts) -> Option<&Network> {
        self.networks.iter().find(|network| network.matching.matches(link))
    }

    /// The `.link` file that a link gets.
    pub fn link_for(&self, link: &LinkFacts) -> Option<&Link> {
        self.links.iter().find(|file| file.matching.matches(link))
    }

    /// The file that makes the link with this name.
    pub fn netdev(&self, name: &str) -> Option<&Netdev> {
        self.netdevs.iter().find(|netdev| netdev.name.as_deref() == Some(name))
    }
}

/// The main file of a name, and its drop-ins in order.
#[derive(Default)]
struct Parts<'a> {
    main: Option<(usize, &'a SourceFile)>,
    drop_ins: BTreeMap<&'a str, (usize, &'a SourceFile)>,
}

/// Reads all files.
pub fn read(files: &[SourceFile]) -> Config {
    let mut by_name: BTreeMap<&str, Parts<'_>> = BTreeMap::new();
    for file in files.iter().take(FILES_MAX) {
        let Some((rank, inner)) = place(&file.path) else { continue };
        match inner.split_once('/') {
            None => keep(&mut by_name.entry(inner).or_default().main, rank, file),
            Some((folder, name)) => {
                let (Some(main), true) = (folder.strip_suffix(".d"), name.ends_with(".conf")) else { continue };
                let known = &mut by_name.entry(main).or_default().drop_ins;
                let mut place = known.get(name).copied();
                keep(&mut place, rank, file);
                known.extend(place.map(|place| (name, place)));
            }
        }
    }
    let mut config = Config::default();
    for (name, parts) in by_name {
        let Some((_, main)) = parts.main else { continue };
        // An empty file hides the others of its name, too.
        if main.content == Content::Masked || main.content == Content::Bytes(Vec::new()) {
            continue;
        }
        let drop_ins: Vec<&SourceFile> = parts.drop_ins.into_values().map(|(_, file)| file).collect();
        take(name, main, &drop_ins, &mut config);
    }
    config.same_names();
    config
}

/// The rank of the folder and the path in it.
fn place(path: &str) -> Option<(usize, &str)> {
    FOLDERS.iter().enumerate().find_map(|(rank, folder)| Some((rank, path.strip_prefix(folder)?.strip_prefix('/')?)))
}

fn keep<'a>(place: &mut Option<(usize, &'a SourceFile)>, rank: usize, file: &'a SourceFile) {
    if place.is_none_or(|(known, _)| rank < known) {
        *place = Some((rank, file));
    }
}

fn take(name: &str, main: &SourceFile, drop_ins: &[&SourceFile], config: &mut Config) {
    let (file, path) = (name.to_owned(), main.path.clone());
    match name.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("network") => {
            let mut network = Network { file, path, ..Network::default() };
            let mut reader = Reader::new(&sections::NETWORK, &mut config.faults);
            network.broken = reader.files(main, drop_ins, &mut network);
            network.drop_ins = std::mem::take(&mut reader.used);
            if !network.matching.is_given() {
                let message = "no [Match] says for which links it is (Name=* means all), ignoring the file";
                reader.error(&main.path, 0, message.to_owned());
            }
            network.errors = reader.errors;
            config.networks.push(network);
        }
        Some("netdev") => {
            let mut netdev = Netdev { file, path, ..Netdev::default() };
            let mut reader = Reader::new(&sections::NETDEV, &mut config.faults);
            netdev.broken = reader.files(main, drop_ins, &mut netdev);
            netdev.errors = reader.errors;
            if let (Err(fault), false) = (netdev_table::whole(&netdev), netdev.broken) {
                netdev.broken = true;
                netdev.errors += 1;
                config.faults.push(error(&main.path, 0, format!("{fault}, the link is not made")));
            }
            config.netdevs.push(netdev);
        }
        Some("link") => {
            let mut link = Link { file, path, ..Link::default() };
            let mut reader = Reader::new(&sections::LINK, &mut config.faults);
            link.broken = reader.files(main, drop_ins, &mut link);
            link.errors = reader.errors;
            config.links.push(link);
        }
        Some(_) | None => {}
    }
}

fn error(path: &str, line: u32, message: String) -> Fault {
    Fault { path: path.to_owned(), line, severity: Severity::Error, message }
}

impl Config {
    /// Two files that make the same link: the first one counts.
    fn same_names(&mut self) {
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        for netdev in &mut self.netdevs {
            let Some(name) = netdev.name.clone().filter(|_| !netdev.broken) else { continue };
            if let Some(first) = known.get(&name) {
                netdev.broken = true;
                let message = format!("{first} makes a link {name}, too, ignoring this file");
                self.faults.push(error(&netdev.path, 0, message));
            } else {
                known.insert(name, netdev.file.clone());
            }
        }
    }
}

/// Passes the assignments of a file and its drop-ins through the tables.
struct Reader<'a, T: 'static> {
    sections: &'static [Section<T>],
    faults: &'a mut Vec<Fault>,
    errors: usize,
    used: Vec<String>,
}

/// The header that the last assignment stood below.
struct Current<T: 'static> {
    header: Rc<str>,
    path: Rc<str>,
    line: u32,
    section: Option<&'static Section<T>>,
    spoilt: bool,
}

impl<'a, T: 'static> Reader<'a, T> {
    fn new(sections: &'static [Section<T>], faults: &'a mut Vec<Fault>) -> Self {
        Self { sections, faults, errors: 0, used: Vec::new() }
    }

    /// Reads all; `true` when the main file or a drop-in cannot be used.
    fn files(&mut self, main: &SourceFile, drop_ins: &[&SourceFile], typed: &mut T) -> bool {
        let mut broken = self.file(main, typed);
        for drop_in in drop_ins {
            if drop_in.content != Content::Masked {
                self.used.push(drop_in.path.clone());
                broken |= self.file(drop_in, typed);
            }
        }
        broken
    }

    fn file(&mut self, file: &SourceFile, typed: &mut T) -> bool {
        let bytes = match &file.content {
            Content::Bytes(bytes) => bytes,
            Content::Masked => return false,
            Content::Unreadable(reason) => {
                self.error(&file.path, 0, format!("it cannot be read ({reason}), refusing the file"));
                return true;
            }
        };
        let parsed = file::parse(&file.path, bytes);
        for problem in parsed.problems {
            self.error(&problem.path, problem.line, problem.message);
        }
        let mut current: Option<Current<T>> = None;
        for entry in &parsed.entries {
            if current.as_ref().is_none_or(|current| !Rc::ptr_eq(&current.header, &entry.section)) {
                self.end(current.take(), typed);
                current = Some(self.begin(entry, typed));
            }
            if let Some(current) = &mut current {
                self.assign(entry, current, typed);
            }
        }
        self.end(current, typed);
        match parsed.fatal {
            Some(problem) => {
                self.error(&problem.path, problem.line, problem.message);
                true
            }
            None => false,
        }
    }

    fn begin(&mut self, entry: &Entry, typed: &mut T) -> Current<T> {
        let section = self.sections.iter().find(|section| section.name == &*entry.section);
        if section.is_none() && !entry.section.starts_with("X-") {
            let message = format!("unknown section [{}], ignoring it", entry.section);
            self.warn(entry, message);
        }
        if let Some(repeated) = section.and_then(|section| section.repeated.as_ref()) {
            (repeated.begin)(typed);
        }
        let (header, path) = (Rc::clone(&entry.section), Rc::clone(&entry.path));
        Current { header, path, line: entry.line, section, spoilt: false }
    }

    fn assign(&mut self, entry: &Entry, current: &mut Current<T>, typed: &mut T) {
        let Some(section) = current.section else { return };
        let Some(key) = section.find(&entry.key) else {
            if !entry.key.starts_with("X-") {
                self.warn(entry, format!("unknown key {}= in [{}], ignoring it", entry.key, section.name));
            }
            return;
        };
        match key.effect {
            Effect::None => self.warn(entry, format!("{}= has no effect: {}", key.name, key.does)),
            Effect::Set(set) => {
                if let Err(fault) = set(typed, &entry.value) {
                    current.spoilt = true;
                    let what = if section.repeated.is_some() { "the section" } else { "the line" };
                    self.error(&entry.path, entry.line, format!("{}=: {fault}, ignoring {what}", entry.key));
                }
            }
        }
    }

    /// A repeated section that is not whole or has a wrong value is taken back.
    fn end(&mut self, current: Option<Current<T>>, typed: &mut T) {
        let Some(current) = current else { return };
        let Some(repeated) = current.section.and_then(|section| section.repeated.as_ref()) else { return };
        let check = (repeated.check)(typed);
        if let (Err(fault), false) = (&check, current.spoilt) {
            self.error(&current.path, current.line, format!("{fault}, ignoring the section"));
        }
        if current.spoilt || check.is_err() {
            (repeated.drop)(typed);
        }
    }

    fn error(&mut self, path: &str, line: u32, message: String) {
        self.errors += 1;
        self.faults.push(error(path, line, message));
    }

    fn warn(&mut self, entry: &Entry, message: String) {
        let path = entry.path.to_string();
        self.faults.push(Fault { path, line: entry.line, severity: Severity::Warning, message });
    }
}
