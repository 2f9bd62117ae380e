//! What PID 1 adds to a process beside the settings of its context: its own variables, groups, credentials.

use ferrite_sys::process::Birth;
use ferrite_unit::resources::PressureWatch;
use ferrite_unit::service::ServiceType;
use ferrite_unit::value::Span;

use crate::child::{Pressure, Surroundings};
use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::machine::ControlKind;
use crate::spawn::Place;
use crate::transaction::Relation;

impl Engine {
    /// What a process of a unit gets; `kind` is `None` for the main process.
    pub fn surroundings(&self, id: UnitId, kind: Option<ControlKind>) -> Surroundings {
        let Some(runtime) = self.units.get(id) else { return Surroundings::default() };
        let folder = self.groups.root().zip(runtime.group.as_ref()).map(|(root, group)| format!("{root}{group}"));
        let wanted = runtime.unit.exec().map(|exec| exec.pass_environment.as_slice()).unwrap_or_default();
        let passed = self.settings.environment.iter().filter(|(name, _)| wanted.contains(name));
        let takes_files = matches!(kind, None | Some(ControlKind::Start));
        let open_files = runtime.unit.service().filter(|_| takes_files).map(|service| service.open_files.clone());
        let early = [ControlKind::Condition, ControlKind::StartPre, ControlKind::Start];
        Surroundings {
            passed: passed.cloned().collect(),
            open_files: open_files.unwrap_or_default(),
            delegated: folder.clone().filter(|_| runtime.unit.resources.delegate),
            pressure: self.pressure(id, folder),
            joined: runtime.joined.clone(),
            makes_credentials: kind.is_none_or(|kind| early.contains(&kind)),
        }
    }

    /// The unit whose /tmp and namespaces a starting one finds there (`JoinsNamespaceOf=`): one that is up.
    pub fn joined_unit(&self, id: UnitId) -> Option<String> {
        use crate::sandbox::shared::shares;
        let shares = |id: UnitId| self.units.get(id).and_then(|runtime| runtime.unit.exec()).is_some_and(shares);
        if !shares(id) {
            return None;
        }
        let others = self.joining(id).into_iter().filter(|other| shares(*other));
        let mut up = others.filter_map(|other| self.units.get(other)).filter(|other| !other.active().is_down());
        up.next().map(|other| self.sharer(other).to_owned())
    }

    /// The units that join a unit, or that it joins, and those that join these: who joins one of them joins all.
    fn joining(&self, id: UnitId) -> Vec<UnitId> {
        let mut found = self.units.related(id, Relation::JoinsNamespaceOf);
        let mut next = 0;
        while let Some(other) = found.get(next).copied() {
            for further in self.units.related(other, Relation::JoinsNamespaceOf) {
                if further != id && !found.contains(&further) {
                    found.push(further);
                }
            }
            next += 1;
        }
        found
    }

    /// The unit whose /tmp and namespaces a unit has.
    pub fn sharer<'a>(&self, runtime: &'a crate::units::Runtime) -> &'a str {
        runtime.joined.as_deref().unwrap_or(runtime.unit.name.as_str())
    }

    /// Does another unit that is up have the /tmp and the namespaces of this one?
    pub fn is_shared(&self, id: UnitId, sharer: &str) -> bool {
        let mut others = self.units.related(id, Relation::JoinsNamespaceOf).into_iter();
        let mut all = self.units.iter().filter(|(other, runtime)| *other != id && !runtime.active().is_down());
        // Without the relation nobody can: the usual case costs nothing.
        others.next().is_some() && all.any(|(_, runtime)| self.sharer(runtime) == sharer)
    }

    fn pressure(&self, id: UnitId, folder: Option<String>) -> Pressure {
        let Some(resources) = self.units.get(id).map(|runtime| &runtime.unit.resources) else {
            return Pressure::Untold;
        };
        let counted = resources.memory_accounting;
        match (resources.pressure_watch, folder, resources.pressure_threshold) {
            (PressureWatch::No, ..) => Pressure::Off,
            (PressureWatch::Auto, ..) if !counted => Pressure::Untold,
            (PressureWatch::Yes | PressureWatch::Auto, Some(folder), Some(Span::Finite(threshold))) => {
                let threshold_us = u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX);
                Pressure::Watch { file: format!("{folder}/memory.pressure"), threshold_us }
            }
            (PressureWatch::Yes | PressureWatch::Auto | PressureWatch::Skip, ..) => Pressure::Untold,
        }
    }

    /// Where a process of a service is born: `PrivatePIDs=` makes it the first of its own namespace.
    pub fn birth<'a>(&self, id: UnitId, kind: Option<ControlKind>, privileged: bool, place: &'a Place) -> Birth<'a> {
        let service = self.units.get(id).and_then(|runtime| runtime.unit.service());
        let own_pids =
            service.is_some_and(|service| service.exec.sandbox.private_pids && service.kind != ServiceType::Forking);
        Birth { group: place.group(), own_pids: own_pids && kind.is_none() && !privileged }
    }
}
