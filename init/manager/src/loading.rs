//! Loading units into the table, with everything they name, and taking over what a draft made of them.

use ferrite_control::ErrorKind;
use ferrite_unit::load::DeviceUnits;
use ferrite_unit::specifier::Host;
use ferrite_unit::{Dependency, LoadPath, LoadState, Loader, UnitKind, UnitName};

use crate::disk::Disk;
use crate::draft::{Changes, Draft};
use crate::engine::Engine;
use crate::jobs::{JobKind, Mode, UnitId};
use crate::server::{Refusal, not_found};
use crate::transaction::{Plan, PlanError, Relation, plan, plan_and_missing};
use crate::units::Runtime;

/// Reading so many units leaves more memory unused than can be left with PID 1.
const MANY: usize = 100;

/// A loader for these files.
pub fn loader<'a>(path: &'a LoadPath, files: &'a Disk, host: &'a Host) -> Loader<'a> {
    Loader { path, files, host, devices: DeviceUnits::Present }
}

impl Engine {
    /// The number of a unit; it and all that it names are loaded when they are not known yet.
    pub fn load(&mut self, name: &UnitName) -> Option<UnitId> {
        let known = self.units.find(name);
        let found = |id| self.units.get(id).is_some_and(|runtime: &Runtime| runtime.unit.load != LoadState::NotFound);
        match known {
            Some(id) if found(id) => Some(id),
            Some(id) => {
                // It may have been written since.
                self.read_again(id);
                self.units.find(name)
            }
            None => self.load_all(std::iter::once(name)).pop().flatten(),
        }
    }

    /// The unit that a client named, if there is one.
    pub fn existing(&mut self, unit: &str) -> Result<(UnitId, UnitName), Refusal> {
        let name = UnitName::parse(unit).map_err(|fault| (ErrorKind::BadRequest, fault.to_string()))?;
        let id = self.load(&name).ok_or_else(|| not_found(&name))?;
        match self.units.get(id) {
            Some(runtime) if runtime.unit.load != LoadState::NotFound => Ok((id, name)),
            Some(_) | None => Err(not_found(&name)),
        }
    }

    /// Plans a wish. The file of a unit that it pulls in may have been written since the unit was looked for.
    pub fn planned(&mut self, unit: UnitId, kind: JobKind, mode: Mode) -> Result<Plan, PlanError> {
        let (planned, missing) = plan_and_missing(self, unit, kind, mode);
        let written: Vec<UnitId> = missing.into_iter().filter(|id| self.has_file(*id)).collect();
        if written.is_empty() {
            return planned;
        }
        for id in written {
            self.read_again(id);
        }
        plan(self, unit, kind, mode)
    }

    fn has_file(&self, id: UnitId) -> bool {
        let Some(name) = self.units.get(id).map(|runtime| &runtime.unit.name) else { return false };
        let directories = &self.settings.load_path.0;
        let mut names = [Some(name.clone()), name.template()].into_iter().flatten();
        names.any(|name| {
            directories.iter().any(|directory| crate::disk::stamp(&format!("{directory}/{name}")).is_some())
        })
    }

    /// Reads the files of a unit anew.
    pub fn read_again(&mut self, id: UnitId) {
        self.load_by(|draft| draft.look_again(id));
    }

    /// The numbers of several units.
    pub fn load_all<'a>(&mut self, names: impl Iterator<Item = &'a UnitName>) -> Vec<Option<UnitId>> {
        self.load_by(|draft| names.map(|name| draft.intern(name)).collect())
    }

    /// Reads units as the disk is now; what was seen of it is forgotten with the draft.
    fn load_by<T>(&mut self, read: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        self.reloads.disturb();
        let disk = Disk::default();
        let mut draft = Draft::adding(loader(&self.settings.load_path, &disk, &self.host), &self.units);
        let found = read(&mut draft);
        let changes = draft.finish();
        drop(disk);
        let many = changes.units.len() >= MANY;
        self.take_over(changes);
        if many {
            // Before they are started: every process that is made costs what the memory of PID 1 holds then.
            self.give_back_memory();
        }
        found
    }

    /// After many units were read: most of what that took is not needed any more.
    pub fn give_back_memory(&mut self) {
        self.units.shrink();
        if let Err(error) = ferrite_sys::memory::give_back() {
            self.log.warning(&format!("keeping PID 1 in memory: {error}, a broken disk may stop it"));
        }
    }

    /// Takes over what was loaded; what runs stays as it is.
    pub fn take_over(&mut self, changes: Changes) {
        for note in &changes.notes {
            self.log.warning(note);
        }
        let mut fresh = Vec::new();
        for (id, (unit, sources)) in changes.units {
            fresh.push((id, self.units.get(id).is_some()));
            match self.units.get_mut(id) {
                Some(runtime) => {
                    if runtime.unit.conditions != unit.conditions {
                        runtime.unmet = None;
                    }
                    runtime.warned = runtime.unit.problems == unit.problems && runtime.unit.load == unit.load;
                    runtime.unit = unit;
                    runtime.sources = sources;
                }
                None => {
                    let mut runtime = Runtime::new(unit);
                    runtime.sources = sources;
                    self.units.put(id, runtime);
                }
            }
        }
        for id in changes.dropped {
            self.forget(id);
        }
        self.units.add_names(changes.names);
        for (from, dependency, to) in changes.links {
            self.units.link(from, dependency, to);
        }
        for id in changes.linked {
            self.order_behind_targets(id);
        }
        for (id, was_known) in fresh {
            self.idle_units.insert(id);
            self.warn_about(id);
            if was_known {
                self.settings_changed(id);
            } else {
                self.kind_added(id);
            }
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

    /// Are the files of a unit not those that were read?
    pub fn needs_reload(&self, runtime: &Runtime) -> bool {
        let paths = runtime.unit.fragment.iter().chain(&runtime.unit.drop_ins);
        let now: Vec<_> = paths.map(|path| crate::disk::stamp(path)).collect();
        now != runtime.sources.stamps
    }

    /// One line for each fault of a unit's files, one for what this version cannot do. Only once.
    fn warn_about(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        if runtime.warned {
            return;
        }
        let mut lines: Vec<String> = runtime.unit.problems.iter().map(ToString::to_string).collect();
        if let LoadState::BadSetting(fault) | LoadState::Error(fault) = &runtime.unit.load {
            lines.push(format!("{}: {fault}", runtime.unit.name));
        }
        if let Some(first) = runtime.unit.unsupported.first() {
            let names: Vec<&str> = runtime.unit.unsupported.iter().map(|u| u.directive.as_str()).collect();
            let text = format!("{}:{}: not done by this version: {}", first.path, first.line, names.join(" "));
            lines.push(text);
        }
        if !lines.is_empty()
            && let Some(runtime) = self.units.get_mut(id)
        {
            runtime.warned = true;
        }
        for line in lines {
            self.log.warning(&line);
        }
    }

    /// The settings of a unit that was known before were read anew: kinds that derive something from them do so again.
    fn settings_changed(&mut self, id: UnitId) {
        self.bound_run_time(id);
    }
}
