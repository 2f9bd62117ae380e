//! Writes the limits of a unit and of the slices above it into the files of their control groups.

use std::io;

use ferrite_unit::resources::{Resources, Totals};
use ferrite_unit::shared::Shared;
use ferrite_unit::{Config, UnitName};

use crate::engine::{Engine, Phase};
use crate::jobs::UnitId;
use crate::sandbox::limits::When;
use crate::sandbox::network::Rules;
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
        self.limit_network(id, group);
    }

    /// Packets and ports are looked at in the groups that hold processes, by the rules of all slices above as well: so
    /// a unit may be allowed what its slice is not.
    fn limit_network(&mut self, id: UnitId, group: &str) {
        let Some(runtime) = self.units.get(id) else { return };
        let title = runtime.unit.name.to_string();
        if title.ends_with(".slice") {
            return;
        }
        let own = &runtime.unit.resources;
        let mut rules = Rules {
            count: own.ip_accounting,
            interfaces: own.interfaces.as_ref().map(|set| (set.allow, numbers_of(&set.names))),
            bind_allow: own.bind_allow.clone(),
            bind_deny: own.bind_deny.clone(),
            ..Rules::default()
        };
        let slices = group.split('/').filter_map(|part| UnitName::parse(part).ok());
        let above = slices.filter_map(|name| self.units.find(&name)).filter(|slice| *slice != id);
        for unit in above.chain([id]) {
            let Some(resources) = self.units.get(unit).map(|runtime| &runtime.unit.resources) else { continue };
            rules.allow.extend(&resources.ip_allow);
            rules.deny.extend(&resources.ip_deny);
        }
        if let Err(error) = self.groups.guard_network(group, rules) {
            let text = "going on without IPAddressAllow=, IPAddressDeny= and what else looks at packets and ports";
            self.log.warning(&format!("{title}: limiting the network: {error}, {text}"));
        }
    }

    /// The settings of a unit, with the protection of memory that its slices have for all that is in them.
    fn with_defaults(&self, id: UnitId, group: &str) -> Shared<Resources> {
        let mut resources = self.units.get(id).map(|runtime| runtime.unit.resources.clone()).unwrap_or_default();
        let parts: Vec<&str> = group.split('/').filter(|part| !part.is_empty()).collect();
        let above = parts.iter().rev().skip(1).filter_map(|part| self.units.find(&UnitName::parse(part).ok()?));
        let above: Vec<&Resources> = above.filter_map(|id| Some(&*self.units.get(id)?.unit.resources)).collect();
        // The nearest slice that says something counts.
        let min = above.iter().find_map(|slice| slice.default_memory_min);
        let low = above.iter().find_map(|slice| slice.default_memory_low);
        let startup = above.iter().find_map(|slice| slice.default_startup_memory_low);
        if min.is_some() || low.is_some() || startup.is_some() {
            resources.memory.min = resources.memory.min.or(min);
            resources.memory.low = resources.memory.low.or(low);
            resources.startup_memory.low = resources.startup_memory.low.or(startup);
        }
        resources
    }

    /// The machine is up, or begins to end: other limits hold for units that say so.
    pub fn limit_anew(&mut self) {
        let concerned = |(id, runtime): (UnitId, &crate::units::Runtime)| {
            let resources = &runtime.unit.resources;
            let says = limits::has_startup(resources) || resources.default_startup_memory_low.is_some();
            runtime.group.clone().filter(|_| says).map(|group| (id, group))
        };
        let units: Vec<(UnitId, String)> = self.units.iter().filter_map(concerned).collect();
        for (id, group) in units {
            self.limit_one(id, &group);
        }
    }

    fn limit_one(&mut self, id: UnitId, group: &str) {
        let Some(runtime) = self.units.get(id) else { return };
        let resources = &runtime.unit.resources;
        let title = runtime.unit.name.to_string();
        let when = if self.phase == Phase::Running { When::Running } else { When::Startup };
        let mut settings = limits::settings(&self.with_defaults(id, group), when);
        if kills_whole_group(&runtime.unit) {
            settings.push(("OOMPolicy=", "memory.oom.group", "1".into()));
        }
        let rules = guard::limits(resources).then(|| guard::rules(resources));
        let written = |setting: &str| setting != "TasksMax=" || is_own_limit(resources, &self.host.totals);
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

/// The numbers of the interfaces that are there.
fn numbers_of(names: &[String]) -> Vec<u32> {
    names.iter().filter_map(|name| nix::net::if_::if_nametoindex(name.as_str()).ok()).collect()
}

/// Is everything in the group killed when the kernel kills one process for want of memory?
fn kills_whole_group(unit: &ferrite_unit::Unit) -> bool {
    match &unit.config {
        Config::Service(service) => service.oom_policy == ferrite_unit::service::OomPolicy::Kill,
        Config::Scope(scope) => scope.oom_policy == ferrite_unit::scope::OomPolicy::Kill,
        _ => false,
    }
}

/// Is the limit of processes another one than what all units have on such a machine?
fn is_own_limit(resources: &Resources, totals: &Totals) -> bool {
    let usual = ferrite_unit::resources::Amount::Share(ferrite_unit::resources::TASKS_SHARE);
    resources.tasks_max.is_some_and(|limit| limit != totals.tasks(usual))
}
