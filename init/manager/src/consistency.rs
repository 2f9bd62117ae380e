//! Making the jobs of a transaction fit together: what does nothing goes, cycles are broken, contradictions settled.
//! Pure; the second half of `transaction`.

use std::collections::{BTreeMap, BTreeSet};

use crate::jobs::{JobKind, Mode, UnitId, waits};
use crate::transaction::{Draft, Graph, Item, Key, PlanError, Relation};

/// The jobs of each unit in a draft.
type ByUnit = BTreeMap<UnitId, Vec<JobKind>>;

impl Draft<'_> {
    /// Makes the jobs fit; the answer has one job a unit.
    pub(crate) fn fit(&mut self) -> Result<BTreeMap<UnitId, JobKind>, PlanError> {
        if self.mode == Mode::Fail {
            self.minimize_impact();
        }
        self.drop_redundant();
        loop {
            self.collect_garbage();
            if !self.break_cycle()? {
                break;
            }
        }
        let mut jobs = loop {
            match self.merge()? {
                Some(jobs) => break jobs,
                None => self.collect_garbage(),
            }
        };
        self.drop_redundant_merged(&mut jobs);
        self.check_queue(&jobs)?;
        Ok(jobs)
    }

    fn by_unit(&self) -> ByUnit {
        let mut units = ByUnit::new();
        for (unit, kind) in self.items.keys() {
            units.entry(*unit).or_default().push(*kind);
        }
        units
    }

    /// Drops what would stop something that runs, or change a queued job, and does not matter.
    fn minimize_impact(&mut self) {
        let matters = self.mattering();
        let victims = |draft: &Self| {
            draft.items.keys().copied().find(|key| {
                let (unit, kind) = *key;
                let active = draft.graph.active(unit);
                let stops = kind == JobKind::Stop && (active.is_up() || active == crate::jobs::Active::Activating);
                !matters.contains(key) && (stops || draft.contradicts_queue(unit, kind))
            })
        };
        while let Some(victim) = victims(self) {
            self.delete(victim);
        }
    }

    fn contradicts_queue(&self, unit: UnitId, kind: JobKind) -> bool {
        self.graph.queued(unit).is_some_and(|(queued, _)| queued.merge(kind).is_none())
    }

    /// Has a job nothing to do?
    fn is_redundant(&self, key: Key) -> bool {
        let (unit, kind) = key;
        key != self.anchor && self.graph.active(unit).satisfies(kind) && !self.contradicts_queue(unit, kind)
    }

    /// Drops units whose jobs all have nothing to do.
    fn drop_redundant(&mut self) {
        for (unit, kinds) in self.by_unit() {
            if kinds.iter().all(|kind| self.is_redundant((unit, *kind))) {
                for kind in kinds {
                    self.unlink((unit, kind));
                }
            }
        }
    }

    fn drop_redundant_merged(&self, jobs: &mut BTreeMap<UnitId, JobKind>) {
        jobs.retain(|unit, kind| {
            *unit == self.anchor.0 || !self.graph.active(*unit).satisfies(*kind) || self.contradicts_queue(*unit, *kind)
        });
    }

    /// Drops jobs that nothing pulls in any more.
    fn collect_garbage(&mut self) {
        if self.mode == Mode::Isolate {
            return;
        }
        let idle = |(key, item): (&Key, &Item)| (item.pulled_by.is_empty()).then_some(*key);
        let mut open: Vec<Key> = self.items.iter().filter_map(idle).filter(|key| *key != self.anchor).collect();
        while let Some(key) = open.pop() {
            let Some(item) = self.items.get(&key).filter(|item| item.pulled_by.is_empty()) else { continue };
            let pulled: Vec<Key> =
                item.pulls.iter().map(|pull| pull.key).filter(|other| *other != self.anchor).collect();
            self.unlink(key);
            open.extend(pulled);
        }
    }

    /// Finds a circle of jobs that wait for each other and drops one of them; `true`: look again.
    fn break_cycle(&mut self) -> Result<bool, PlanError> {
        let units = self.by_unit();
        let Some(cycle) = find_cycle(self.graph, &units) else { return Ok(false) };
        let names = cycle.iter().map(|unit| self.graph.name(*unit)).collect::<Vec<_>>().join(" -> ");
        let matters: BTreeSet<UnitId> = self.mattering().into_iter().map(|(unit, _)| unit).collect();
        let may_go = |unit: &&UnitId| units.contains_key(unit) && !matters.contains(unit);
        // Backwards, from the job that closes the circle.
        let Some(victim) = cycle.iter().rev().find(may_go).copied() else {
            return Err(PlanError::Cycle(names));
        };
        let name = self.graph.name(victim);
        self.notes.push(format!("ordering cycle {names}: dropping the job of {name}, which nothing requires"));
        for kind in units.get(&victim).into_iter().flatten() {
            self.delete((victim, *kind));
        }
        Ok(true)
    }

    /// One job a unit. Of two that contradict each other one goes: `None`, look again.
    fn merge(&mut self) -> Result<Option<BTreeMap<UnitId, JobKind>>, PlanError> {
        let mut jobs = BTreeMap::new();
        for (unit, kinds) in self.by_unit() {
            let mut merged = JobKind::Nop;
            for kind in &kinds {
                match merged.merge(*kind) {
                    Some(kind) => merged = kind,
                    None => {
                        self.settle(unit, &kinds)?;
                        return Ok(None);
                    }
                }
            }
            jobs.insert(unit, merged.collapse(self.graph.active(unit)));
        }
        Ok(Some(jobs))
    }

    /// A unit is to be stopped and started: one of both goes, the one that does not matter.
    fn settle(&mut self, unit: UnitId, kinds: &[JobKind]) -> Result<(), PlanError> {
        let matters = self.mattering();
        let stop = (unit, JobKind::Stop);
        let others: Vec<Key> = kinds.iter().filter(|kind| **kind != JobKind::Stop).map(|kind| (unit, *kind)).collect();
        let start_matters = others.iter().any(|key| matters.contains(key));
        let (victims, word) = match (matters.contains(&stop), start_matters) {
            (true, true) => return Err(PlanError::Contradiction(self.graph.name(unit))),
            (true, false) => (others, "starting"),
            (false, true) => (vec![stop], "stopping"),
            // A unit that another one excludes rather stays down.
            (false, false) if self.is_excluded(stop) => (others, "starting"),
            (false, false) => (vec![stop], "stopping"),
        };
        self.notes.push(format!("{}: not {word} it, another job contradicts", self.graph.name(unit)));
        for victim in victims {
            self.delete(victim);
        }
        Ok(())
    }

    fn is_excluded(&self, stop: Key) -> bool {
        self.items.get(&stop).is_some_and(|item| {
            item.pulled_by.iter().any(|puller| {
                let pulls = self.items.get(puller).map(|item| item.pulls.as_slice()).unwrap_or_default();
                pulls.iter().any(|pull| pull.key == stop && pull.conflicts)
            })
        })
    }

    fn check_queue(&self, jobs: &BTreeMap<UnitId, JobKind>) -> Result<(), PlanError> {
        for (unit, kind) in jobs {
            if let Some((queued, irreversible)) = self.graph.queued(*unit)
                && queued.merge(*kind).is_none()
                && (irreversible || matches!(self.mode, Mode::Fail | Mode::Lenient))
            {
                return Err(PlanError::Destructive(self.graph.name(*unit)));
            }
        }
        Ok(())
    }
}

/// Units whose jobs wait for each other in a circle, queued jobs included. Depth-first with an own stack.
fn find_cycle(graph: &dyn Graph, jobs: &ByUnit) -> Option<Vec<UnitId>> {
    let mut done: BTreeSet<UnitId> = BTreeSet::new();
    for start in jobs.keys() {
        if done.contains(start) {
            continue;
        }
        let mut path: Vec<(UnitId, Vec<UnitId>)> = vec![(*start, followers(graph, jobs, *start))];
        let mut on_path = BTreeSet::from([*start]);
        while let Some((unit, open)) = path.last_mut() {
            let unit = *unit;
            match open.pop() {
                Some(next) if on_path.contains(&next) => {
                    return Some(path.iter().map(|(u, _)| *u).skip_while(|u| *u != next).collect());
                }
                Some(next) if !done.contains(&next) => {
                    on_path.insert(next);
                    path.push((next, followers(graph, jobs, next)));
                }
                Some(_) => {}
                None => {
                    done.insert(unit);
                    on_path.remove(&unit);
                    path.pop();
                }
            }
        }
    }
    None
}

/// The units whose jobs must wait for the job of this one.
fn followers(graph: &dyn Graph, jobs: &ByUnit, unit: UnitId) -> Vec<UnitId> {
    let kind_of =
        |unit: UnitId| jobs.get(&unit).and_then(|kinds| kinds.first()).copied().or_else(|| graph.waiting(unit));
    let Some(kind) = kind_of(unit) else { return Vec::new() };
    let mut out = Vec::new();
    for (relation, other_after) in [(Relation::Before, true), (Relation::After, false)] {
        for other in graph.related(unit, relation) {
            if kind_of(other).is_some_and(|other_kind| waits(other_kind, kind, other_after)) {
                out.push(other);
            }
        }
    }
    out
}
