//! Carries out what the machine of scopes decides: moves processes into their group, ends them.

use std::time::{Duration, Instant};

use ferrite_unit::Config;
use ferrite_unit::scope::Scope;

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::kinds::{KindEvent, KindState};
use crate::scope_machine::{ScopeEffect, ScopeEvent, ScopeMachine, step};
use crate::timers::TimerKey;

impl Engine {
    fn scope_settings(&self, id: UnitId) -> Option<&Scope> {
        match &self.units.get(id)?.unit.config {
            Config::Scope(scope) => Some(scope),
            _ => None,
        }
    }

    /// Why a scope cannot be started: it needs processes, which only whoever made it can name.
    pub fn scope_refuses(&self, id: UnitId) -> Option<String> {
        if self.kinds.scope_processes.get(&id).is_none_or(Vec::is_empty) {
            return Some("a scope begins with the processes of whoever makes it, and there are none".into());
        }
        self.groups.root().is_none().then(|| "there are no control groups here".into())
    }

    /// Takes one event of a scope.
    pub fn scope_event(&mut self, id: UnitId, before: ScopeMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => ScopeEvent::Start,
            KindEvent::Stop => ScopeEvent::Stop,
            KindEvent::ResetFailed => ScopeEvent::ResetFailed,
            KindEvent::GroupEmpty => ScopeEvent::GroupEmpty,
            KindEvent::TimedOut => ScopeEvent::TimedOut,
            KindEvent::Scope(event) => event,
            _ => return,
        };
        let Some(runtime) = self.units.get(id) else { return };
        let Config::Scope(scope) = &runtime.unit.config else { return };
        let populated = runtime.group.as_ref().is_some_and(|group| self.groups.populated(group));
        let old = runtime.active();
        let Some((after, effects)) = step(before, own, scope, populated) else {
            return self.kind_meaningless(id, event);
        };
        self.set_kind(id, KindState::Scope(after));
        for effect in effects {
            self.scope_effect(id, effect);
        }
        self.changed(id, old);
    }

    fn scope_effect(&mut self, id: UnitId, effect: ScopeEffect) {
        let after = match effect {
            ScopeEffect::Move => {
                let event = if self.move_processes(id) { ScopeEvent::Moved } else { ScopeEvent::NotMoved };
                return self.kind_happened(id, KindEvent::Scope(event));
            }
            ScopeEffect::Kill(step) => return self.kill(id, step),
            ScopeEffect::ArmRuntime => self.scope_settings(id).and_then(longest_run),
            ScopeEffect::ArmStop => self.scope_settings(id).and_then(|scope| scope.timeout_stop.finite()),
            ScopeEffect::DisarmTimer => None,
            ScopeEffect::Release => return self.drop_group(id),
        };
        match after {
            Some(after) => self.timers.arm(TimerKey::Unit(id), Instant::now(), after),
            None => self.timers.disarm(TimerKey::Unit(id)),
        }
    }

    /// Moves the processes of a scope into its group; `false`: none could be moved.
    fn move_processes(&mut self, id: UnitId) -> bool {
        let processes = self.kinds.scope_processes.remove(&id).unwrap_or_default();
        self.make_group(id);
        let Some(group) = self.units.get(id).and_then(|runtime| runtime.group.clone()) else { return false };
        let mut moved = false;
        for pid in processes {
            match self.groups.set(&group, "cgroup.procs", &pid.to_string()) {
                Ok(()) => moved = true,
                Err(error) => {
                    let title = self.title(id);
                    self.log.warning(&format!("{title}: moving process {pid} into {group}: {error}"));
                }
            }
        }
        // One that ended at once may have left the group empty before anybody watched.
        if moved && !self.groups.populated(&group) {
            self.kind_happened(id, KindEvent::GroupEmpty);
        }
        moved
    }
}

/// `RuntimeMaxSec=` with a random part of `RuntimeRandomizedExtraSec=`.
fn longest_run(scope: &Scope) -> Option<Duration> {
    let extra = scope.runtime_extra.finite().unwrap_or_default();
    let micros = u64::try_from(extra.as_micros()).unwrap_or(u64::MAX);
    let part = if micros == 0 { 0 } else { crate::timer_unit::random_number() % micros };
    scope.runtime_max.finite()?.checked_add(Duration::from_micros(part))
}
