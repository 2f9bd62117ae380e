//! Forgetting units that are down and that nobody names: their files are read anew when they are wanted again.
//!
//! A unit is needed while it is up, has a job or processes, or failed and shall be seen; and a needed unit needs every
//! unit that it names. Everything else goes, as soon as nothing more urgent is to be done.

use std::collections::BTreeSet;

use ferrite_unit::action::CollectMode;

use crate::engine::Engine;
use crate::jobs::{Active, UnitId};
use crate::machine::State;
use crate::timers::TimerKey;
use crate::units::{Kind, Runtime};

/// Units looked at before other work has its turn.
const BATCH_MAX: usize = 1_000;

/// Units that are there as long as the system is.
const PERPETUAL: [&str; 4] = ["-.slice", "system.slice", "init.scope", "-.mount"];

/// Is this unit there as long as the system is?
pub fn is_perpetual(name: &str) -> bool {
    PERPETUAL.contains(&name)
}

impl Engine {
    /// Looks at the units that may not be needed any more, unless something else is to be done.
    pub fn collect(&mut self) {
        for _ in 0..BATCH_MAX {
            if !self.events.is_empty() || !self.ready.is_empty() {
                return;
            }
            let Some(id) = self.idle_units.pop_first() else { return };
            if self.units.get_mut(id).is_some_and(|runtime| std::mem::take(&mut runtime.spared)) {
                continue;
            }
            for id in self.needless(id) {
                self.forget(id);
            }
        }
    }

    /// The unit and those that name it, if none of them is needed.
    fn needless(&self, id: UnitId) -> BTreeSet<UnitId> {
        let mut seen = BTreeSet::from([id]);
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let Some(runtime) = self.units.get(id) else { continue };
            if self.is_needed(runtime) {
                return BTreeSet::new();
            }
            open.extend(runtime.named_by.iter().filter(|other| seen.insert(**other)));
        }
        seen
    }

    /// Is it needed for its own sake?
    fn is_needed(&self, runtime: &Runtime) -> bool {
        let down = match (runtime.active(), runtime.unit.collect_mode) {
            (Active::Inactive, _) | (Active::Failed, CollectMode::InactiveOrFailed) => true,
            (Active::Failed, CollectMode::Inactive) => false,
            (Active::Activating | Active::Active | Active::Reloading | Active::Deactivating, _) => false,
        };
        let settled = match runtime.kind {
            Kind::Service(machine) => matches!(machine.state, State::Dead | State::Failed),
            _ => true,
        };
        let works = runtime.main_pid.is_some() || runtime.control_pid.is_some() || runtime.cleaner.is_some();
        let referred = || self.units.find(&runtime.unit.name).is_some_and(|id| self.kinds.references.contains_key(&id));
        // The kernel is asked last.
        let populated = || runtime.group.as_ref().is_some_and(|group| self.groups.populated(group));
        !down
            || !settled
            || works
            || runtime.job.is_some()
            || is_perpetual(runtime.unit.name.as_str())
            || crate::wanting_devices::pulls(runtime)
            || referred()
            || populated()
    }

    /// Forgets a unit of which nothing runs.
    pub fn forget(&mut self, id: UnitId) {
        self.drop_group(id);
        let keys: [fn(UnitId) -> TimerKey; 6] =
            [TimerKey::Unit, TimerKey::Watchdog, TimerKey::PidFile, TimerKey::Check, TimerKey::Rest, TimerKey::Elapse];
        for key in keys {
            self.timers.disarm(key(id));
        }
        self.forget_kind(id);
        if let Some(runtime) = self.units.get(id) {
            // What it named may have been kept for its sake only.
            self.idle_units.extend(runtime.names.iter().copied().chain(runtime.links.all()));
        }
        self.kinds.forget(id);
        self.forget_invocation(id);
        self.units.remove(id);
        self.idle_units.remove(&id);
    }
}
