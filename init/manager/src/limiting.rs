//! Writes the limits of a unit and of the slices above it into the files of their control groups.

use std::io;

use ferrite_unit::UnitName;
use ferrite_unit::resources::Resources;

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::sandbox::{guard, limits};

impl Engine {
    /// Limits the group of a unit, and those of its slices; what cannot be limited is told.
    pub fn limit_group(&mut self, id: UnitId, group: &str) {
        let mut place = String::new();
        for part in group.split('/').filter(|part| part.ends_with(".slice")) {
            place = format!("{place}/{part}");
            let slice = UnitName::parse(part).ok().and_then(|name| self.units.find(&name));
            if let Some(slice) = slice.filter(|slice| *slice != id) {
                self.limit_one(slice, &place);
            }
        }
        self.limit_one(id, group);
    }

    fn limit_one(&mut self, id: UnitId, group: &str) {
        let Some(runtime) = self.units.get(id) else { return };
        let resources = &runtime.unit.resources;
        let title = runtime.unit.name.to_string();
        let settings = limits::settings(resources);
        let rules = guard::limits(resources).then(|| guard::rules(resources));
        let written = |setting: &str| setting != "TasksMax=" || is_own_limit(resources);
        let mut told = Vec::new();
        for (setting, file, value) in &settings {
            match self.groups.set(group, file, value) {
                Ok(()) => {}
                // Every unit has this limit; where the kernel cannot count processes, none of them is told of.
                Err(_) if !written(setting) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if self.groups.tell_missing(file) {
                        told.push(format!("no control group has {file} here, {setting} has no effect"));
                    }
                }
                Err(error) => told.push(format!("setting {setting} to '{value}': {error}, going on without it")),
            }
        }
        if let Some(rules) = rules
            && let Err(error) = self.groups.guard(group, &guard::program(&rules))
        {
            told.push(format!("limiting devices: {error}, going on without DevicePolicy= and DeviceAllow="));
        }
        for text in told {
            self.log.warning(&format!("{title}: {text}"));
        }
    }
}

/// Is the limit of processes another one than what all units have?
fn is_own_limit(resources: &Resources) -> bool {
    let usual = ferrite_unit::resources::Amount::Share(ferrite_unit::resources::TASKS_SHARE);
    resources.tasks_max.is_some_and(|limit| limit != crate::totals::read().tasks(usual))
}
