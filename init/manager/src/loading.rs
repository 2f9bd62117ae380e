//! Loading units into the table, with everything they name; daemon-reload.

use std::collections::{BTreeMap, VecDeque};

use ferrite_unit::load::DeviceUnits;
use ferrite_unit::unit::MountNeed;
use ferrite_unit::{Dependency, LoadState, Loaded, Loader, Unit, UnitKind, UnitName};

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::transaction::Relation;
use crate::units::{Kind, UNITS_MAX};

/// Names that lead to other names.
const ALIASES_MAX: usize = 8;
/// Bytes of a path that can be the place of a mount unit.
const PATH_MAX: usize = 255;

impl Engine {
    /// The number of a unit; it and all that it names are loaded when they are not known yet.
    pub fn load(&mut self, name: &UnitName) -> Option<UnitId> {
        if let Some(id) = self.units.find(name) {
            let found = self.units.get(id).is_some_and(|runtime| runtime.unit.load != LoadState::NotFound);
            if found {
                return Some(id);
            }
            self.disk.forget();
            self.read_again(id);
            return Some(id);
        }
        self.disk.forget();
        let mut open = VecDeque::new();
        let id = self.intern(name, &mut open)?;
        self.link_all(open);
        Some(id)
    }

    /// A unit that was not found may have been written since.
    fn read_again(&mut self, id: UnitId) {
        let Some(name) = self.units.get(id).map(|runtime| runtime.unit.name.clone()) else { return };
        if let Loaded::Unit(unit) = self.loader().load(&name)
            && unit.load != LoadState::NotFound
        {
            self.put(id, *unit);
            self.link_all(VecDeque::from([id]));
        }
    }

    fn loader(&self) -> Loader<'_> {
        Loader { path: &self.settings.load_path, files: &self.disk, host: &self.host, devices: DeviceUnits::Absent }
    }

    /// Puts a fresh unit in the place of an older one; what runs stays as it is.
    fn put(&mut self, id: UnitId, unit: Unit) {
        let changed = unit.fragment.as_deref().and_then(modified);
        let Some(runtime) = self.units.get_mut(id) else { return };
        if matches!(runtime.kind, Kind::Inert) || runtime.active().is_down() && runtime.job.is_none() {
            let fresh = crate::units::Runtime::new(unit.clone());
            let failed = runtime.active() == crate::jobs::Active::Failed;
            if !failed && !matches!(runtime.kind, Kind::Passive(_)) {
                runtime.kind = fresh.kind;
            }
        }
        runtime.unit = unit;
        runtime.fragment_changed = changed;
        self.warn_about(id);
    }

    /// The number of a name, loading its unit but not what it names; that is queued in `open`.
    pub fn intern(&mut self, name: &UnitName, open: &mut VecDeque<UnitId>) -> Option<UnitId> {
        let mut wanted = name.clone();
        let mut aliases = Vec::new();
        for _ in 0..ALIASES_MAX {
            if let Some(id) = self.units.find(&wanted) {
                aliases.into_iter().for_each(|alias| self.units.alias(alias, id));
                return Some(id);
            }
            match self.loader().load(&wanted) {
                Loaded::Alias(other) => aliases.push(std::mem::replace(&mut wanted, other)),
                Loaded::Unit(unit) => {
                    let more = unit.aliases.clone();
                    let changed = unit.fragment.as_deref().and_then(modified);
                    let Some(id) = self.units.add(*unit) else {
                        self.log.error(&format!("more than {UNITS_MAX} units, ignoring {name}"));
                        return None;
                    };
                    if let Some(runtime) = self.units.get_mut(id) {
                        runtime.fragment_changed = changed;
                    }
                    aliases.into_iter().chain(more).for_each(|alias| self.units.alias(alias, id));
                    self.warn_about(id);
                    self.idle_units.insert(id);
                    open.push_back(id);
                    return Some(id);
                }
            }
        }
        self.log.error(&format!("{name} is a link that leads to ever more links, ignoring it"));
        None
    }

    /// Links the units of a queue, and whatever that brings in, to what they name.
    pub fn link_all(&mut self, mut open: VecDeque<UnitId>) {
        let mut mounts: BTreeMap<UnitName, bool> = BTreeMap::new();
        let mut linked = Vec::new();
        while let Some(id) = open.pop_front() {
            let Some(runtime) = self.units.get(id) else { continue };
            let dependencies = runtime.unit.dependencies.clone();
            let needs = runtime.unit.mounts_for.clone();
            let own = runtime.unit.name.clone();
            for (dependency, other, _) in dependencies {
                if let Some(to) = self.intern(&other, &mut open) {
                    self.units.link(id, dependency, to);
                }
            }
            for (need, path, _) in needs {
                let dependency = match need {
                    MountNeed::Requires => Dependency::Requires,
                    MountNeed::Wants => Dependency::Wants,
                };
                self.link_mounts(id, &own, &path, dependency, &mut mounts, &mut open);
            }
            linked.push(id);
        }
        for id in linked {
            self.order_behind_targets(id);
        }
    }

    /// A target comes after what it pulls in, unless one of both says otherwise.
    fn order_behind_targets(&mut self, id: UnitId) {
        let related = |relations: &[Relation]| -> Vec<UnitId> {
            relations.iter().flat_map(|relation| self.units.related(id, *relation)).collect()
        };
        let pulled_by = related(&[
            Relation::RequiredBy,
            Relation::RequisiteOf,
            Relation::WantedBy,
            Relation::BoundBy,
            Relation::UpheldBy,
        ]);
        let pulls = related(&[
            Relation::Requires,
            Relation::Requisite,
            Relation::Wants,
            Relation::BindsTo,
            Relation::Upholds,
            Relation::PartOf,
        ]);
        let pairs = pulled_by.into_iter().map(|target| (target, id)).chain(pulls.into_iter().map(|unit| (id, unit)));
        for (target, unit) in pairs {
            let ordered = |id: UnitId| {
                let unit = self.units.get(id).map(|runtime| &runtime.unit);
                unit.is_some_and(|unit| unit.load == LoadState::Loaded && unit.default_dependencies)
            };
            let is_target = self.units.get(target).is_some_and(|r| r.unit.name.kind() == UnitKind::Target);
            if is_target
                && ordered(target)
                && ordered(unit)
                && !self.units.related(target, Relation::Before).contains(&unit)
            {
                self.units.link(target, Dependency::After, unit);
            }
        }
    }

    /// Links a unit to the mount units of a path and of those above it, as far as there are any.
    fn link_mounts(
        &mut self,
        id: UnitId,
        own: &UnitName,
        path: &str,
        dependency: Dependency,
        known: &mut BTreeMap<UnitName, bool>,
        open: &mut VecDeque<UnitId>,
    ) {
        for (end, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
            if end > PATH_MAX {
                // No unit name is that long, and a path may hold half a million slashes.
                return;
            }
            let prefix = path.get(..end).unwrap_or("");
            let Some(stem) = ferrite_unit::escape::escape_path(prefix) else { continue };
            let Ok(mount) = UnitName::parse(&format!("{stem}.mount")) else { continue };
            if mount == *own || prefix.is_empty() {
                continue;
            }
            let exists = match known.get(&mount) {
                Some(exists) => *exists,
                None => {
                    let exists = match self.units.find(&mount).and_then(|id| self.units.get(id)) {
                        Some(runtime) => runtime.unit.load == LoadState::Loaded,
                        None => {
                            matches!(self.loader().load(&mount), Loaded::Unit(u) if u.load == LoadState::Loaded)
                        }
                    };
                    known.insert(mount.clone(), exists);
                    exists
                }
            };
            if exists && let Some(to) = self.intern(&mount, open) {
                self.units.link(id, dependency, to);
                self.units.link(id, Dependency::After, to);
            }
        }
    }

    /// One line for each fault of a unit's files, one for what this version cannot do. Only once.
    fn warn_about(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get_mut(id) else { return };
        if runtime.warned {
            return;
        }
        runtime.warned = true;
        let mut lines: Vec<String> = runtime.unit.problems.iter().map(ToString::to_string).collect();
        if let LoadState::BadSetting(fault) | LoadState::Error(fault) = &runtime.unit.load {
            lines.push(format!("{}: {fault}", runtime.unit.name));
        }
        if let Some(first) = runtime.unit.unsupported.first() {
            let names: Vec<&str> = runtime.unit.unsupported.iter().map(|u| u.directive.as_str()).collect();
            let text = format!("{}:{}: not done by this version: {}", first.path, first.line, names.join(" "));
            lines.push(text);
        }
        for line in lines {
            self.log.warning(&line);
        }
    }

    /// Reads all unit files again. What runs goes on; a running unit whose file is gone keeps what is known of it.
    pub fn reload(&mut self) {
        self.disk.forget();
        self.host = crate::host::read();
        let mut open = VecDeque::new();
        self.units.unlink_all();
        for id in self.units.ids() {
            let Some(runtime) = self.units.get_mut(id) else { continue };
            runtime.warned = false;
            let name = runtime.unit.name.clone();
            let running = !runtime.active().is_down();
            match self.loader().load(&name) {
                Loaded::Unit(unit) if unit.load == LoadState::NotFound && running => {}
                Loaded::Unit(unit) => {
                    for alias in unit.aliases.clone() {
                        if self.units.find(&alias).is_none() {
                            self.units.alias(alias, id);
                        }
                    }
                    self.put(id, *unit);
                }
                // A unit that became an alias keeps its own entry until it is stopped.
                Loaded::Alias(_) => {}
            }
            open.push_back(id);
        }
        self.link_all(open);
        self.resume_kinds();
        self.log.info("unit files were read again");
    }
}

/// When a file was changed last.
pub fn modified(path: &str) -> Option<std::time::SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
