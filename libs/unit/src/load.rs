//! Loading: which files make a unit (search path, drop-ins, aliases, masks, links of `.wants`), and the unit they make.
//!
//! Pure: files are read by whoever implements [`Files`]. Links are followed by name only.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::action::{EmergencyAction, JobMode};
use crate::dependency::{Dependency, Origin};
use crate::exec::Stream;
use crate::file::{ParsedFile, Problem, parse};
use crate::name::{UnitKind, UnitName};
use crate::names::{NameMap, family, is_masked};
use crate::specifier::Host;
use crate::unit::{Config, LoadState, Unit};
use crate::{defaults, implied};

/// Drop-ins of one unit at most.
pub const DROP_INS_MAX: usize = 512;
/// Bytes of all drop-ins of a unit together.
const DROP_INS_BYTES_MAX: usize = 4 * crate::file::FILE_MAX;

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
    /// All names of the search path. Asked for each unit as well.
    fn names(&self, path: &LoadPath) -> Rc<NameMap> {
        Rc::new(NameMap::build(path, self))
    }
}

/// Directories that are searched, most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadPath(pub Vec<String>);

impl Default for LoadPath {
    fn default() -> Self {
        let directories = [
            "/etc/systemd/system.control",
            "/run/ferrite/system.control",
            "/run/ferrite/transient",
            "/run/ferrite/generator.early",
            "/etc/systemd/system",
            "/run/ferrite/system",
            "/run/systemd/system",
            "/run/ferrite/generator",
            "/usr/local/lib/systemd/system",
            "/usr/lib/systemd/system",
            "/run/ferrite/generator.late",
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

/// Where a unit is found: all that it is made of but the content of its files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// The name is another one of this unit; then nothing else is here.
    alias: Option<UnitName>,
    fragment: Option<String>,
    masked: bool,
    aliases: Vec<UnitName>,
    drop_ins: Vec<String>,
    linked: Vec<(Dependency, UnitName)>,
    /// Links that mean nothing: where they are and what is wrong.
    faults: Vec<(String, String)>,
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
        let names = self.files.names(self.path);
        let found = names.find(name);
        if found.id != *name {
            return Resolution { alias: Some(found.id), ..Resolution::default() };
        }
        let mut out = Resolution { aliases: found.aliases.into_iter().collect(), ..Resolution::default() };
        if let Some(path) = found.fragment {
            out.masked = is_masked(self.files, &path);
            out.stamps.push(self.files.stamp(&path));
            out.fragment = Some(path);
        } else if !exists_without_file(name) {
            // A unit that is not there has no drop-ins either.
            return out;
        }
        self.find_links(name, &names, &mut out);
        out.drop_ins = self.drop_ins(name, &out.aliases, &names);
        out.stamps.extend(out.drop_ins.iter().map(|path| self.files.stamp(path)));
        out
    }

    /// Loads a unit that was found.
    pub fn load_resolved(&self, name: &UnitName, resolution: &Resolution) -> Loaded {
        if let Some(other) = &resolution.alias {
            return Loaded::Alias(other.clone());
        }
        let mut unit = Unit::new(name.clone());
        make_perpetual(&mut unit);
        unit.aliases.clone_from(&resolution.aliases);
        // What stands in the file may ask for its own path.
        unit.fragment.clone_from(&resolution.fragment);
        unit.load = match &resolution.fragment {
            Some(_) if resolution.masked && !unit.perpetual => LoadState::Masked,
            Some(path) if !resolution.masked => self.read_fragment(&mut unit, path),
            None if !exists_without_file(name) => LoadState::NotFound,
            Some(_) | None => LoadState::Loaded,
        };
        // A masked unit is not used, and has its drop-ins all the same.
        if matches!(unit.load, LoadState::Loaded | LoadState::Masked) {
            for (dependency, other) in &resolution.linked {
                unit.add(*dependency, other.clone(), Origin::File);
            }
            for (path, message) in &resolution.faults {
                unit.problems.push(Problem { path: path.as_str().into(), line: 0, message: message.clone() });
            }
            if let Some(fault) = self.read_drop_ins(&mut unit, &resolution.drop_ins) {
                unit.load = fault;
            }
        }
        if unit.load == LoadState::Loaded {
            self.complete(&mut unit);
        }
        Loaded::Unit(Box::new(unit))
    }

    fn read_fragment(&self, unit: &mut Unit, path: &str) -> LoadState {
        match self.files.read(path) {
            Some(Ok(bytes)) => self.take(unit, parse(path, &bytes)).unwrap_or(LoadState::Loaded),
            Some(Err(error)) => LoadState::Error(format!("reading {path}: {error}")),
            None => LoadState::NotFound,
        }
    }

    /// What makes the unit unusable as a whole.
    fn read_drop_ins(&self, unit: &mut Unit, paths: &[String]) -> Option<LoadState> {
        let mut room = DROP_INS_BYTES_MAX;
        for path in paths {
            let fault = match self.files.read(path) {
                _ if is_masked(self.files, path) => None,
                Some(Ok(bytes)) if bytes.len() > room => {
                    let text = format!("the drop-ins up to {path} are longer than {DROP_INS_BYTES_MAX} bytes together");
                    return Some(LoadState::Error(text));
                }
                // A fault ends the drop-in, not the unit.
                Some(Ok(bytes)) => {
                    room -= bytes.len();
                    self.take(unit, parse(path, &bytes))
                }
                Some(Err(error)) => Some(LoadState::Error(format!("{error}, ignoring it"))),
                None => continue,
            };
            if let Some(LoadState::Error(message) | LoadState::BadSetting(message)) = fault {
                unit.problems.push(Problem { path: path.as_str().into(), line: 0, message });
            }
            unit.drop_ins.push(path.clone());
        }
        None
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
        match verify(unit).and_then(|()| implied::verify(unit)).and_then(|()| verify_job_modes(unit)) {
            Ok(()) => defaults::slice(unit),
            Err(fault) => unit.load = LoadState::BadSetting(fault),
        }
        unit.settle();
    }

    /// The drop-ins of a unit in the order of their names. Of the same name the first counts: directories go before
    /// names, names before prefixes, and what is for all units of the kind comes last.
    fn drop_ins(&self, unit: &UnitName, aliases: &[UnitName], names: &NameMap) -> Vec<String> {
        let mut chosen = self.entries(unit, aliases, names, "d");
        chosen.retain(|(file, _)| file.ends_with(".conf"));
        chosen.truncate(DROP_INS_MAX);
        chosen.into_iter().map(|(_, path)| path).collect()
    }

    /// The entries of all directories that a unit has with this suffix: names and paths, each name once, sorted.
    fn entries(&self, unit: &UnitName, aliases: &[UnitName], names: &NameMap, suffix: &str) -> Vec<(String, String)> {
        let mut chosen: BTreeMap<String, String> = BTreeMap::new();
        let mut look = |family: &[String]| {
            let mut places: Vec<(usize, usize, String)> = Vec::new();
            for (order, name) in family.iter().enumerate() {
                let folder = format!("{name}.{suffix}");
                places.extend(names.folders(&folder).map(|directory| (directory, order, folder.clone())));
            }
            places.sort();
            for (directory, _, folder) in places {
                let Some(directory) = self.path.0.get(directory) else { continue };
                let place = format!("{directory}/{folder}");
                for file in self.files.list(&place) {
                    let path = format!("{place}/{file}");
                    chosen.entry(file).or_insert(path);
                }
            }
        };
        for name in std::iter::once(unit).chain(aliases) {
            look(&family(name));
        }
        look(&[unit.kind().suffix().to_owned()]);
        chosen.into_iter().collect()
    }

    /// Finds the links in `.wants`, `.requires` and `.upholds` directories.
    fn find_links(&self, unit: &UnitName, names: &NameMap, out: &mut Resolution) {
        let kinds =
            [("wants", Dependency::Wants), ("requires", Dependency::Requires), ("upholds", Dependency::Upholds)];
        for (suffix, dependency) in kinds {
            for (entry, path) in self.entries(unit, &out.aliases, names, suffix) {
                let fault = match self.files.link(&path) {
                    None => "is no symbolic link",
                    Some(_) if is_masked(self.files, &path) => continue,
                    Some(_) => match UnitName::parse(&entry).ok().and_then(|other| unit.resolve(other)) {
                        Some(other) => {
                            out.linked.push((dependency, other));
                            continue;
                        }
                        None => "is not named as a unit",
                    },
                };
                out.faults.push((path, format!("{entry} {fault}, ignoring it")));
            }
        }
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

/// With isolate, whatever follows the end of a unit is one unit.
fn verify_job_modes(unit: &Unit) -> Result<(), String> {
    for (dependency, mode) in
        [(Dependency::OnSuccess, unit.on_success_job_mode), (Dependency::OnFailure, unit.on_failure_job_mode)]
    {
        let others = unit.dependencies.iter().filter(|(kind, ..)| *kind == dependency).count();
        if mode == JobMode::Isolate && others > 1 {
            let name = dependency.as_str();
            return Err(format!("{name}= names several units, but {name}JobMode=isolate goes with one, refusing"));
        }
    }
    Ok(())
}

/// Is there such a unit even if no file is?
fn exists_without_file(name: &UnitName) -> bool {
    matches!(name.kind(), UnitKind::Slice | UnitKind::Device) || matches!(name.as_str(), "init.scope" | "-.mount")
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
    if let Config::Mount(mount) = &mut unit.config {
        // The journal's socket lies on it.
        mount.exec.output = Some(Stream::Null);
    }
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
