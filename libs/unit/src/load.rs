//! Loading: which files make a unit (search path, drop-ins, aliases, masks, links of `.wants`), and the unit they make.
//!
//! Pure: files are read by whoever implements [`Files`]. Links are followed by name only.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::action::EmergencyAction;
use crate::dependency::{Dependency, Origin};
use crate::file::{ParsedFile, Problem, parse};
use crate::name::{UnitKind, UnitName};
use crate::specifier::Host;
use crate::unit::{Config, LoadState, Unit};
use crate::{defaults, implied};

/// Drop-ins of one unit at most.
pub const DROP_INS_MAX: usize = 512;
/// Links followed from one name to its file.
pub(crate) const LINKS_MAX: usize = 8;

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Is it a plain file?
    pub plain: bool,
    /// Bytes in it.
    pub size: u64,
    /// Whatever changes with it: times, numbers, or a hash.
    pub version: [u64; 3],
}

/// Reads files for the loader.
pub trait Files {
    /// The content of a file, following links; `None` if there is none. At most [`crate::file::FILE_MAX`] + 1 bytes.
    fn read(&self, path: &str) -> Option<Result<Vec<u8>, String>>;
    /// Which version of a file is there, following links; `None` if there is none.
    fn stamp(&self, path: &str) -> Option<Stamp> {
        let content = self.read(path)?;
        let size = content.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Some(Stamp { plain: content.is_ok(), size, version: [hash(&content), 0, 0] })
    }
    /// The target of a symbolic link.
    fn link(&self, path: &str) -> Option<String>;
    /// The names in a directory, sorted; empty when there is none.
    fn list(&self, directory: &str) -> Vec<String>;
    /// Those of them that are symbolic links. Asked for each unit: whoever reads many units remembers the answer.
    fn links(&self, directory: &str) -> Vec<String> {
        let mut names = self.list(directory);
        names.retain(|name| self.link(&format!("{directory}/{name}")).is_some());
        names
    }
}

/// Directories that are searched, most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPath(pub Vec<String>);

impl Default for LoadPath {
    fn default() -> Self {
        let directories = [
            "/etc/systemd/system.control",
            "/run/ferrite/transient",
            "/etc/systemd/system",
            "/run/ferrite/system",
            "/run/systemd/system",
            "/run/ferrite/generator",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
        ];
        LoadPath(directories.map(str::to_owned).to_vec())
    }
}

impl LoadPath {
    /// A path from `SYSTEMD_UNIT_PATH`: directories with colons between; an empty end appends the default ones.
    pub fn parse(text: &str) -> LoadPath {
        let mut directories: Vec<String> = text.split(':').filter(|d| d.starts_with('/')).map(str::to_owned).collect();
        if text.is_empty() || text.ends_with(':') {
            directories.extend(LoadPath::default().0);
        }
        LoadPath(directories)
    }
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// The unit of this name.
    Unit(Box<Unit>),
    /// The name is another one of this unit.
    Alias(UnitName),
}

/// Are there units for devices, which mounts can wait for?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceUnits {
    /// Yes.
    Present,
    /// No: nothing tells of devices.
    Absent,
}

/// Loads units.
pub struct Loader<'a> {
    /// Where units are searched.
    pub path: &'a LoadPath,
    /// Reads the files.
    pub files: &'a dyn Files,
    /// What specifiers say about the machine.
    pub host: &'a Host,
    /// Whether mounts are linked to devices.
    pub devices: DeviceUnits,
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Found {
    File(String),
    Alias(UnitName),
    Masked(String),
    None,
}

/// Where a unit is found: all that it is made of but the content of its files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resolution {
    found: Found,
    aliases: Vec<UnitName>,
    drop_ins: Vec<String>,
    linked: Vec<(Dependency, UnitName)>,
    /// Of the file and the drop-ins.
    stamps: Vec<Option<Stamp>>,
}

impl Resolution {
    /// A number that stays the same as long as nothing of it changes, the content of files included.
    pub fn fingerprint(&self) -> u64 {
        hash(self)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Loader<'_> {
    /// Loads the unit of a name.
    pub fn load(&self, name: &UnitName) -> Loaded {
        self.load_resolved(name, &self.resolve(name))
    }

    /// Finds what a unit is made of, without reading it.
    pub fn resolve(&self, name: &UnitName) -> Resolution {
        let found = self.find(name);
        let mut out = Resolution { found, aliases: vec![], drop_ins: vec![], linked: vec![], stamps: vec![] };
        match &out.found {
            Found::Alias(_) => return out,
            Found::File(path) => out.stamps.push(self.files.stamp(path)),
            Found::Masked(_) | Found::None => {}
        }
        out.aliases = self.aliases(name);
        out.linked = self.linked(name, &out.aliases);
        out.drop_ins = self.drop_ins(name, &out.aliases);
        out.stamps.extend(out.drop_ins.iter().map(|path| self.files.stamp(path)));
        out
    }

    /// Loads a unit that was found.
    pub fn load_resolved(&self, name: &UnitName, resolution: &Resolution) -> Loaded {
        let mut unit = Unit::new(name.clone());
        make_perpetual(&mut unit);
        let mut fragment = None;
        match resolution.found.clone() {
            Found::Alias(other) => return Loaded::Alias(other),
            Found::Masked(path) => {
                unit.load = if unit.perpetual { LoadState::Loaded } else { LoadState::Masked };
                unit.fragment = Some(path);
            }
            Found::File(path) => {
                match self.files.read(&path) {
                    Some(Ok(bytes)) => fragment = Some(parse(&path, &bytes)),
                    Some(Err(error)) => unit.load = LoadState::Error(format!("reading {path}: {error}")),
                    None => {}
                }
                unit.fragment = Some(path);
                if fragment.is_some() {
                    unit.load = LoadState::Loaded;
                }
            }
            Found::None if unit.perpetual || matches!(name.kind(), UnitKind::Slice | UnitKind::Device) => {
                unit.load = LoadState::Loaded;
            }
            Found::None => {}
        }
        unit.aliases.clone_from(&resolution.aliases);
        if let Some(file) = fragment
            && let Some(fault) = self.take(&mut unit, file)
        {
            unit.load = fault;
        }
        // A unit that is not there has no drop-ins either; a masked one has its links, but says nothing.
        if unit.load == LoadState::Loaded {
            for (dependency, other) in &resolution.linked {
                unit.add(*dependency, other.clone(), Origin::File);
            }
            for path in &resolution.drop_ins {
                if let Some(Ok(bytes)) = self.files.read(path) {
                    // A fault ends the drop-in, not the unit.
                    let fault = self.take(&mut unit, parse(path, &bytes));
                    if let Some(LoadState::Error(message) | LoadState::BadSetting(message)) = fault {
                        unit.problems.push(Problem { path: path.as_str().into(), line: 0, message });
                    }
                    unit.drop_ins.push(path.clone());
                }
            }
            self.complete(&mut unit);
        }
        Loaded::Unit(Box::new(unit))
    }

    /// Takes the entries of a file up to the first one that makes the unit unusable.
    fn take(&self, unit: &mut Unit, file: ParsedFile) -> Option<LoadState> {
        unit.problems.extend(file.problems);
        for entry in &file.entries {
            if let Err(fault) = unit.apply(entry, self.host) {
                return Some(LoadState::BadSetting(fault.to_string()));
            }
        }
        file.fatal.map(|fault| LoadState::Error(fault.to_string()))
    }

    fn complete(&self, unit: &mut Unit) {
        let name = unit.name.clone();
        match &mut unit.config {
            Config::Service(service) => service.complete(unit.resources.delegate),
            Config::Mount(mount) => mount.complete(&name),
            Config::Swap(swap) => swap.complete(&name),
            Config::Automount(automount) => automount.complete(&name),
            Config::Socket(_)
            | Config::Timer(_)
            | Config::Path(_)
            | Config::Slice(_)
            | Config::Scope(_)
            | Config::Target
            | Config::Device => {}
        }
        if unit.description.is_none() {
            unit.description = own_description(unit);
        }
        implied::complete(unit, &self.host.totals);
        defaults::extras(unit, self.devices);
        match verify(unit).and_then(|()| implied::verify(unit)) {
            Ok(()) => defaults::slice(unit),
            Err(fault) => unit.load = LoadState::BadSetting(fault),
        }
    }

    /// Finds the file of a name; the first directory that knows it decides.
    fn find(&self, name: &UnitName) -> Found {
        let template = name.template();
        for candidate in std::iter::once(name).chain(template.as_ref()) {
            for directory in &self.path.0 {
                match self.look_at(name, &format!("{directory}/{candidate}")) {
                    Found::None => {}
                    found => return found,
                }
            }
        }
        Found::None
    }

    fn look_at(&self, name: &UnitName, path: &str) -> Found {
        let mut place = path.to_owned();
        let mut target_name = None;
        for _ in 0..LINKS_MAX {
            let Some(target) = self.files.link(&place) else { break };
            if target == "/dev/null" {
                return Found::Masked(path.to_owned());
            }
            place = resolve(&place, &target);
            let base = place.rsplit_once('/').map_or(place.as_str(), |(_, base)| base);
            target_name = UnitName::parse(base).ok();
        }
        if let Some(target) = target_name.filter(|target| target.kind() == name.kind()) {
            let instantiated = match name.instance() {
                Some(instance) if target.is_template() => target.with_instance(instance).ok(),
                _ => Some(target),
            };
            if let Some(other) = instantiated.filter(|other| other != name && !other.is_template()) {
                return Found::Alias(other);
            }
        }
        match self.files.stamp(path) {
            None => Found::None,
            Some(stamp) if stamp.plain && stamp.size == 0 => Found::Masked(path.to_owned()),
            Some(_) => Found::File(place),
        }
    }

    /// Names in the search path that are links to this unit.
    fn aliases(&self, name: &UnitName) -> Vec<UnitName> {
        let mut aliases = Vec::new();
        for directory in &self.path.0 {
            for entry in self.files.links(directory) {
                if !entry.ends_with(name.kind().suffix()) {
                    continue;
                }
                let Ok(alias) = UnitName::parse(&entry) else { continue };
                if alias.kind() != name.kind() || alias == *name || alias.is_template() || aliases.contains(&alias) {
                    continue;
                }
                if matches!(self.find(&alias), Found::Alias(target) if target == *name) {
                    aliases.push(alias);
                }
            }
        }
        aliases
    }

    /// The names under which drop-ins and links of a unit are kept: itself, its template, prefixes, its kind.
    fn family(&self, name: &UnitName, aliases: &[UnitName]) -> Vec<String> {
        let mut names = vec![name.as_str().to_owned()];
        names.extend(name.template().map(|t| t.as_str().to_owned()));
        names.extend(aliases.iter().map(|alias| alias.as_str().to_owned()));
        names
    }

    fn drop_ins(&self, unit: &UnitName, aliases: &[UnitName]) -> Vec<String> {
        let mut names = self.family(unit, aliases);
        let suffix = unit.kind().suffix();
        let at = if unit.at().is_some() { "@" } else { "" };
        let mut prefix = unit.prefix();
        while let Some((shorter, _)) = prefix.rsplit_once('-') {
            names.push(format!("{shorter}-{at}.{suffix}"));
            prefix = shorter;
        }
        names.push(suffix.to_owned());
        // The first directory that has a file name wins; files are read in the order of their names.
        let mut chosen: Vec<(String, String)> = Vec::new();
        for name in &names {
            for directory in &self.path.0 {
                let place = format!("{directory}/{name}.d");
                for file in self.files.list(&place) {
                    if file.ends_with(".conf") && !chosen.iter().any(|(have, _)| *have == file) {
                        let path = format!("{place}/{file}");
                        chosen.push((file, path));
                    }
                }
            }
        }
        chosen.sort();
        chosen.truncate(DROP_INS_MAX);
        chosen
            .into_iter()
            .map(|(_, path)| path)
            .filter(|p| self.files.link(p).as_deref() != Some("/dev/null"))
            .collect()
    }

    /// The links in `.wants`, `.requires` and `.upholds` directories.
    fn linked(&self, unit: &UnitName, aliases: &[UnitName]) -> Vec<(Dependency, UnitName)> {
        let mut links = Vec::new();
        let kinds =
            [("wants", Dependency::Wants), ("requires", Dependency::Requires), ("upholds", Dependency::Upholds)];
        for name in self.family(unit, aliases) {
            for directory in &self.path.0 {
                for (suffix, dependency) in kinds {
                    let place = format!("{directory}/{name}.{suffix}");
                    for entry in self.files.list(&place) {
                        if self.files.link(&format!("{place}/{entry}")).as_deref() == Some("/dev/null") {
                            continue;
                        }
                        let Ok(other) = UnitName::parse(&entry) else { continue };
                        let other = match (other.is_template(), unit.instance()) {
                            (true, Some(instance)) => other.with_instance(instance).ok(),
                            (true, None) => None,
                            (false, _) => Some(other),
                        };
                        links.extend(other.map(|other| (dependency, other)));
                    }
                }
            }
        }
        links
    }
}

/// Why a unit cannot be used, if it cannot.
fn verify(unit: &Unit) -> Result<(), String> {
    let name = &unit.name;
    match &unit.config {
        Config::Service(service) => service.verify(unit.success_action != EmergencyAction::None),
        Config::Mount(mount) => mount.verify(name, unit.fragment.is_some() && !unit.perpetual),
        Config::Socket(socket) => socket.verify(),
        Config::Timer(timer) => timer.verify(),
        Config::Path(path) => path.verify(),
        Config::Swap(swap) => swap.verify(name),
        Config::Automount(automount) => automount.verify(name),
        Config::Slice(slice) => slice.verify(name, defaults::parent_slice(name).as_ref()),
        Config::Target | Config::Scope(_) | Config::Device => Ok(()),
    }
}

/// The units that are there as long as the machine runs, with or without a file.
fn make_perpetual(unit: &mut Unit) {
    let (description, page) = match unit.name.as_str() {
        "-.slice" => ("Root Slice", Some("man:systemd.special(7)")),
        "system.slice" => ("System Slice", Some("man:systemd.special(7)")),
        "init.scope" => ("System and Service Manager", Some("man:systemd(1)")),
        "-.mount" => ("Root Mount", None),
        _ => return,
    };
    unit.perpetual = true;
    unit.default_dependencies = false;
    unit.description = Some(description.into());
    unit.documentation.extend(page.map(str::to_owned));
}

/// What a unit without `Description=` is called.
fn own_description(unit: &Unit) -> Option<String> {
    match &unit.config {
        Config::Mount(mount) => Some(mount.where_.clone()),
        Config::Swap(swap) => Some(swap.what.clone()),
        Config::Slice(_) => Some(format!("Slice {}", crate::escape::unescape_path(unit.name.stem())?)),
        Config::Device => crate::escape::unescape_path(unit.name.prefix()),
        Config::Service(_)
        | Config::Socket(_)
        | Config::Timer(_)
        | Config::Path(_)
        | Config::Automount(_)
        | Config::Scope(_)
        | Config::Target => None,
    }
}

/// The path a link leads to, without asking the file system.
fn resolve(link: &str, target: &str) -> String {
    let base = if target.starts_with('/') { "" } else { link.rsplit_once('/').map_or("", |(dir, _)| dir) };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}
