//! Answers about all units at once: when they changed, how they are linked, what is left undone. And what is logged.

use std::collections::BTreeMap;

use ferrite_control::{ErrorKind, Gap, Reply, UnitGaps, UnitTimes};
use ferrite_unit::{Unit, UnitName};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::server::error;
use crate::transaction::Relation;

/// Relations that a boot is understood by. `Before` is the other side of `After`.
const RELATIONS: [(&str, Relation); 7] = [
    ("After", Relation::After),
    ("Requires", Relation::Requires),
    ("Requisite", Relation::Requisite),
    ("BindsTo", Relation::BindsTo),
    ("Wants", Relation::Wants),
    ("Conflicts", Relation::Conflicts),
    ("Upholds", Relation::Upholds),
];

impl Engine {
    fn by_name(&self) -> BTreeMap<&UnitName, UnitId> {
        self.units.iter().map(|(id, runtime)| (&runtime.unit.name, id)).collect()
    }

    /// The times and links of all units.
    pub fn unit_times(&self) -> Vec<UnitTimes> {
        let names = self.by_name();
        let places: BTreeMap<UnitId, u32> = names.values().copied().zip(0..).collect();
        let times = |(name, id): (&&UnitName, &UnitId)| {
            let times = self.units.get(*id).map(|runtime| runtime.times).unwrap_or_default();
            let relations = RELATIONS.into_iter().filter_map(|(word, relation)| {
                let others = self.units.related(*id, relation);
                let mut others: Vec<u32> = others.iter().filter_map(|other| places.get(other).copied()).collect();
                others.sort_unstable();
                (!others.is_empty()).then(|| (word.to_owned(), others))
            });
            UnitTimes {
                name: name.to_string(),
                inactive_exit_us: times.inactive_exit.1,
                active_enter_us: times.active_enter.1,
                active_exit_us: times.active_exit.1,
                inactive_enter_us: times.inactive_enter.1,
                relations: relations.collect(),
            }
        };
        names.iter().map(times).collect()
    }

    /// What is left undone of all units that have files.
    pub fn gaps(&self) -> Vec<UnitGaps> {
        let units = self.by_name().into_values().filter_map(|id| self.units.get(id));
        units.map(|runtime| gaps(&runtime.unit)).filter(|unit| !unit.files.is_empty()).collect()
    }

    /// Chooses what is logged, and where to.
    pub fn set_log(&mut self, level: Option<&str>, target: Option<&str>) -> Reply {
        let machine = self.settings.real_boot;
        let refused = level
            .and_then(|level| self.log.set_level(level).err())
            .or_else(|| target.and_then(|target| self.log.set_target(target, machine).err()));
        match refused {
            Some(message) => error(ErrorKind::BadRequest, message),
            None => Reply::Done,
        }
    }

    /// What was chosen, for the next image.
    pub fn save_log(&self) -> Value {
        json!({ "level": self.log.level(), "target": self.log.target() })
    }

    /// The opposite.
    pub fn restore_log(&mut self, saved: Option<&Value>) {
        let word = |name: &str| saved.and_then(|saved| saved.get(name)).and_then(Value::as_str);
        if let Reply::Error { message, .. } = self.set_log(word("level"), word("target")) {
            self.log.warning(&format!("taking the settings of the log over: {message}, logging as usual"));
        }
    }
}

/// The files of a unit, and the directives in them that are left undone.
pub fn gaps(unit: &Unit) -> UnitGaps {
    let gap = |unsupported: &ferrite_unit::unit::Unsupported| Gap {
        directive: unsupported.directive.clone(),
        path: unsupported.path.to_string(),
        line: unsupported.line,
        sandbox: unsupported.sandbox,
    };
    UnitGaps {
        unit: unit.name.to_string(),
        files: unit.fragment.iter().chain(&unit.drop_ins).cloned().collect(),
        gaps: unit.unsupported.iter().map(gap).collect(),
    }
}
