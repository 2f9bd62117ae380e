//! Units on their way into the table: everything is found, read and linked here first, then taken over in one step.
//!
//! Touches no unit that is in use. The only thing asked of the world is the files, through the loader.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ferrite_unit::unit::MountNeed;
use ferrite_unit::{Dependency, LoadState, Loaded, Loader, Stamp, Unit, UnitKind, UnitName};

use crate::jobs::UnitId;
use crate::units::{Runtime, Table, UNITS_MAX};

/// Names that lead to other names.
const ALIASES_MAX: usize = 8;
/// Bytes of a path that can be the place of a mount unit.
const PATH_MAX: usize = 4095;

/// The files of a unit as they were when it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Everything about where the unit is found and which versions its files have.
    pub fingerprint: u64,
    /// Its file and its drop-ins.
    pub stamps: Vec<Option<Stamp>>,
}

/// What was found under a name.
#[derive(Debug)]
pub enum Read {
    /// Nothing changed since the unit of this name was read.
    Same,
    /// The name is another one of this unit.
    Alias(UnitName),
    /// A unit.
    Unit(Box<Unit>, Sources),
}

/// Reads the unit of a name, unless it is known with these sources.
pub fn read(loader: &Loader<'_>, name: &UnitName, known: Option<&Sources>) -> Read {
    let resolution = loader.resolve(name);
    let fingerprint = resolution.fingerprint();
    if known.is_some_and(|known| known.fingerprint == fingerprint) {
        return Read::Same;
    }
    match loader.load_resolved(name, &resolution) {
        Loaded::Alias(other) => Read::Alias(other),
        Loaded::Unit(unit) => {
            let stamps = unit.fragment.iter().chain(&unit.drop_ins).map(|path| loader.files.stamp(path)).collect();
            Read::Unit(unit, Sources { fingerprint, stamps })
        }
    }
}

/// What is to be taken over.
#[derive(Debug, Default)]
pub struct Changes {
    /// Names that are new, or all of them.
    pub names: BTreeMap<UnitName, UnitId>,
    /// Units that are new, or whose settings are.
    pub units: BTreeMap<UnitId, (Box<Unit>, Sources)>,
    /// Links that are new, or all of them.
    pub links: Vec<(UnitId, Dependency, UnitId)>,
    /// The units from which they lead.
    pub linked: Vec<UnitId>,
    /// Units that nobody needs any more.
    pub dropped: Vec<UnitId>,
    /// For the log.
    pub notes: Vec<String>,
}

/// The work in progress.
pub struct Draft<'a> {
    loader: Loader<'a>,
    table: &'a Table,
    /// Are names looked up in the table? Not while all are made anew.
    adds: bool,
    /// What was read ahead.
    ahead: BTreeMap<UnitName, Read>,
    changes: Changes,
    /// Numbers for new units: these, then those from the second one on.
    free: (Vec<usize>, usize),
    /// How many of them were given out.
    added: usize,
    open: VecDeque<UnitId>,
    /// Which mount units there are.
    mounts: BTreeMap<UnitName, bool>,
    full: bool,
}

impl<'a> Draft<'a> {
    /// Adds to a table.
    pub fn adding(loader: Loader<'a>, table: &'a Table) -> Draft<'a> {
        Draft {
            loader,
            table,
            adds: true,
            ahead: BTreeMap::new(),
            changes: Changes::default(),
            free: table.free_numbers(),
            added: 0,
            open: VecDeque::new(),
            mounts: BTreeMap::new(),
            full: false,
        }
    }

    /// Makes everything anew; `ahead` is what was read already with the same loader.
    pub fn renewing(loader: Loader<'a>, table: &'a Table, ahead: BTreeMap<UnitName, Read>) -> Draft<'a> {
        Draft { adds: false, ahead, ..Draft::adding(loader, table) }
    }

    fn unit(&self, id: UnitId) -> Option<&Unit> {
        match self.changes.units.get(&id) {
            Some((unit, _)) => Some(unit),
            None => self.table.get(id).map(|runtime| &*runtime.unit),
        }
    }

    fn find(&self, name: &UnitName) -> Option<UnitId> {
        let fresh = self.changes.names.get(name).copied();
        if self.adds { fresh.or_else(|| self.table.find(name)) } else { fresh }
    }

    /// The number of a name; its unit is read if it is not known, and linked later.
    pub fn intern(&mut self, name: &UnitName) -> Option<UnitId> {
        let mut wanted = name.clone();
        let mut aliases = Vec::new();
        for _ in 0..ALIASES_MAX {
            if let Some(id) = self.find(&wanted) {
                self.changes.names.extend(aliases.into_iter().map(|alias| (alias, id)));
                return Some(id);
            }
            match self.take_ahead(&wanted) {
                Read::Alias(other) => aliases.push(std::mem::replace(&mut wanted, other)),
                Read::Unit(unit, sources) => {
                    let id = self.number(&unit.name)?;
                    self.changes.names.extend(aliases.into_iter().map(|alias| (alias, id)));
                    self.add(id, unit, sources);
                    return Some(id);
                }
                // Only a unit of the table can be the same as before.
                Read::Same => return self.table.find(&wanted),
            }
        }
        self.changes.notes.push(format!("{name} is a link that leads to ever more links, ignoring it"));
        None
    }

    fn add(&mut self, id: UnitId, unit: Box<Unit>, sources: Sources) {
        self.add_names(id, &unit);
        self.changes.units.insert(id, (unit, sources));
        self.open.push_back(id);
    }

    /// Another name does not take the place of a unit that has it as its own.
    fn add_names(&mut self, id: UnitId, unit: &Unit) {
        self.changes.names.insert(unit.name.clone(), id);
        for alias in &unit.aliases {
            if self.find(alias).is_none() {
                self.changes.names.insert(alias.clone(), id);
            }
        }
    }

    fn take_ahead(&mut self, name: &UnitName) -> Read {
        match self.ahead.remove(name) {
            Some(Read::Same) | None => read(&self.loader, name, None),
            Some(known) => known,
        }
    }

    /// The number for a unit: its old one, else a new one.
    fn number(&mut self, name: &UnitName) -> Option<UnitId> {
        let old = self.table.find(name).filter(|id| self.table.get(*id).is_some_and(|r| r.unit.name == *name));
        if let Some(id) = old {
            return Some(id);
        }
        if self.table.count() + self.added >= UNITS_MAX {
            if !std::mem::replace(&mut self.full, true) {
                self.changes.notes.push(format!("more than {UNITS_MAX} units, ignoring {name} and others"));
            }
            return None;
        }
        self.added += 1;
        if let Some(place) = self.free.0.pop() {
            return Some(UnitId(place));
        }
        self.free.1 += 1;
        Some(UnitId(self.free.1 - 1))
    }

    /// Takes a fresh look at a unit of the table that was not found when it was read.
    pub fn look_again(&mut self, id: UnitId) {
        let Some(runtime) = self.table.get(id) else { return };
        let name = &runtime.unit.name;
        match read(&self.loader, name, None) {
            Read::Unit(unit, sources) if unit.load != LoadState::NotFound => self.add(id, unit, sources),
            Read::Alias(other) if !is_kept(runtime) => {
                if let Some(to) = self.intern(&other) {
                    self.changes.names.insert(name.clone(), to);
                    self.changes.dropped.push(id);
                    // Whoever named it means the other one from now on.
                    self.open.extend(runtime.named_by.iter().copied());
                }
            }
            Read::Unit(..) | Read::Alias(_) | Read::Same => {}
        }
    }

    /// Makes all units of the table anew.
    pub fn renew(&mut self) {
        let mut unknown = Vec::new();
        for (id, runtime) in self.table.iter() {
            let name = &runtime.unit.name;
            let read = match self.ahead.remove(name) {
                Some(known) => known,
                None => read(&self.loader, name, Some(&runtime.sources)),
            };
            match read {
                Read::Alias(_) if is_busy(runtime) => {
                    self.changes.notes.push(format!("{name} is another name now, keeping its unit while it runs"));
                    self.keep(id, runtime);
                }
                Read::Unit(unit, sources) if is_bad(&unit.load) && is_busy(runtime) => {
                    self.keep_settings(id, runtime, &unit.load, sources);
                }
                Read::Same if runtime.unit.load == LoadState::NotFound && !is_kept(runtime) => unknown.push(id),
                Read::Unit(unit, _) if unit.load == LoadState::NotFound && !is_kept(runtime) => unknown.push(id),
                Read::Same => self.keep(id, runtime),
                Read::Unit(unit, sources) => self.add(id, unit, sources),
                Read::Alias(_) => unknown.push(id),
            }
        }
        self.link();
        let used: BTreeSet<UnitId> = self.changes.names.values().copied().collect();
        self.changes.dropped = unknown.into_iter().filter(|id| !used.contains(id)).collect();
    }

    fn keep(&mut self, id: UnitId, runtime: &Runtime) {
        self.add_names(id, &runtime.unit);
        self.open.push_back(id);
    }

    /// What runs goes on with the settings it was started with; only its load state tells of the change.
    fn keep_settings(&mut self, id: UnitId, runtime: &Runtime, load: &LoadState, sources: Sources) {
        let name = &runtime.unit.name;
        let why = match load {
            LoadState::BadSetting(fault) | LoadState::Error(fault) => format!("its new file is bad ({fault})"),
            LoadState::Masked => "it is masked now".to_owned(),
            LoadState::NotFound => "its file is gone".to_owned(),
            LoadState::Loaded => return,
        };
        self.changes.notes.push(format!("{name}: {why}, keeping its old settings while it runs"));
        self.keep(id, runtime);
        let mut unit = runtime.unit.clone();
        unit.load = load.clone();
        self.changes.units.insert(id, (unit, sources));
    }

    /// Links what is not linked yet, and whatever that brings in, to what it names.
    pub fn link(&mut self) {
        while let Some(id) = self.open.pop_front() {
            let Some(unit) = self.unit(id) else { continue };
            let (own, dependencies, needs) = (unit.name.clone(), unit.dependencies.clone(), unit.mounts_for.clone());
            for (dependency, other, _) in dependencies {
                if let Some(to) = self.intern(&other) {
                    self.changes.links.push((id, dependency, to));
                }
            }
            self.changes.linked.push(id);
            for (need, path, _) in needs {
                let dependency = match need {
                    MountNeed::Requires => Dependency::Requires,
                    MountNeed::Wants => Dependency::Wants,
                };
                self.link_mounts(id, &own, &path, dependency);
            }
        }
    }

    /// Links a unit to the mount units of a path and of those above it, as far as there are any.
    fn link_mounts(&mut self, id: UnitId, own: &UnitName, path: &str, dependency: Dependency) {
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            if end > PATH_MAX {
                // No path is that long, and a value may hold half a million slashes.
                return;
            }
            let prefix = path.get(..end).unwrap_or("");
            let Some(mount) = ferrite_unit::escape::unit_of_path(prefix, UnitKind::Mount) else { continue };
            if mount == *own || prefix.is_empty() || !self.is_mount(&mount) {
                continue;
            }
            if let Some(to) = self.intern(&mount) {
                self.changes.links.push((id, dependency, to));
                self.changes.links.push((id, Dependency::After, to));
            }
        }
    }

    fn is_mount(&mut self, mount: &UnitName) -> bool {
        if let Some(known) = self.mounts.get(mount) {
            return *known;
        }
        let exists = match self.find(mount).and_then(|id| self.unit(id)) {
            Some(unit) => unit.load == LoadState::Loaded,
            None => matches!(self.loader.load(mount), Loaded::Unit(unit) if unit.load == LoadState::Loaded),
        };
        self.mounts.insert(mount.clone(), exists);
        exists
    }

    /// The result.
    pub fn finish(mut self) -> Changes {
        self.link();
        self.changes
    }
}

/// Would it be missed if its settings were taken away?
fn is_busy(runtime: &Runtime) -> bool {
    !runtime.active().is_down() || runtime.job.is_some()
}

/// Is there anything to remember of it although it has no file?
fn is_kept(runtime: &Runtime) -> bool {
    is_busy(runtime) || runtime.active() == crate::jobs::Active::Failed || runtime.group.is_some()
}

fn is_bad(load: &LoadState) -> bool {
    *load != LoadState::Loaded
}
