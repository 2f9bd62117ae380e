//! Planning: which jobs one wish needs, whether they fit together, and in what order they can run. Pure.
//!
//! Works on a [`Graph`], so that it can be tested without any unit file. No recursion: no file exhausts the stack.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::jobs::{Active, JobKind, Mode, UnitId, waits};

/// Relations as the planner follows them, inverse ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Relation {
    Requires,
    RequiredBy,
    Requisite,
    RequisiteOf,
    Wants,
    WantedBy,
    BindsTo,
    BoundBy,
    PartOf,
    ConsistsOf,
    Upholds,
    UpheldBy,
    Conflicts,
    ConflictedBy,
    Before,
    After,
    OnFailure,
    OnFailureOf,
    OnSuccess,
    OnSuccessOf,
    PropagatesReloadTo,
    ReloadPropagatedFrom,
    PropagatesStopTo,
    StopPropagatedFrom,
    Triggers,
    TriggeredBy,
}

impl Relation {
    /// What the other unit has.
    pub fn inverse(self) -> Relation {
        use Relation as R;
        const PAIRS: [(Relation, Relation); 13] = [
            (R::Requires, R::RequiredBy),
            (R::Requisite, R::RequisiteOf),
            (R::Wants, R::WantedBy),
            (R::BindsTo, R::BoundBy),
            (R::PartOf, R::ConsistsOf),
            (R::Upholds, R::UpheldBy),
            (R::Conflicts, R::ConflictedBy),
            (R::Before, R::After),
            (R::OnFailure, R::OnFailureOf),
            (R::OnSuccess, R::OnSuccessOf),
            (R::PropagatesReloadTo, R::ReloadPropagatedFrom),
            (R::PropagatesStopTo, R::StopPropagatedFrom),
            (R::Triggers, R::TriggeredBy),
        ];
        let other = |(a, b): &(Relation, Relation)| (*a == self).then_some(*b).or((*b == self).then_some(*a));
        PAIRS.iter().find_map(other).unwrap_or(self)
    }
}

/// What the planner asks about units.
pub trait Graph {
    /// The units that stand in this relation to a unit.
    fn related(&self, unit: UnitId, relation: Relation) -> Vec<UnitId>;
    /// The active state.
    fn active(&self, unit: UnitId) -> Active;
    /// Why the unit cannot be started, if so.
    fn refuses_start(&self, unit: UnitId) -> Option<String>;
    /// The queued job, and whether it may not be replaced.
    fn queued(&self, unit: UnitId) -> Option<(JobKind, bool)>;
    /// The queued job, if it has not begun.
    fn waiting(&self, unit: UnitId) -> Option<JobKind>;
    /// The name, for messages.
    fn name(&self, unit: UnitId) -> String;
    /// Every unit that `isolate` stops when it is not part of the transaction.
    fn isolated(&self) -> Vec<UnitId>;
}

/// Why a wish cannot be queued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A unit that is needed cannot be started.
    #[error("{0}")]
    Refused(String),
    /// Two jobs that both matter contradict each other.
    #[error("transaction needs {0} both started and stopped")]
    Contradiction(String),
    /// Jobs that all matter wait for each other.
    #[error("ordering cycle without a job that could be dropped: {0}")]
    Cycle(String),
    /// A queued job is in the way.
    #[error("a queued job of {0} is in the way")]
    Destructive(String),
}

/// Jobs that fit together, each unit once, and what was dropped on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The jobs.
    pub jobs: BTreeMap<UnitId, JobKind>,
    /// One line for each thing that was dropped.
    pub notes: Vec<String>,
}

type Key = (UnitId, JobKind);

#[derive(Default)]
struct Item {
    /// What it pulls in; `true`: it cannot do without.
    pulls: Vec<(Key, bool)>,
    broken: Option<String>,
}

/// Plans one wish.
pub fn plan(graph: &dyn Graph, unit: UnitId, kind: JobKind, mode: Mode) -> Result<Plan, PlanError> {
    if matches!(kind, JobKind::Start | JobKind::Restart | JobKind::Reload)
        && let Some(reason) = graph.refuses_start(unit)
    {
        return Err(PlanError::Refused(reason));
    }
    let anchor = (unit, kind);
    let mut draft = Draft { graph, anchor, items: BTreeMap::new(), notes: Vec::new() };
    draft.expand(mode);
    draft.drop_broken()?;
    if mode == Mode::Isolate {
        draft.isolate();
    }
    let mut jobs = draft.merge()?;
    draft.break_cycles(&mut jobs)?;
    draft.drop_redundant(&mut jobs);
    draft.check_queue(&jobs, mode)?;
    Ok(Plan { jobs, notes: draft.notes })
}

struct Draft<'a> {
    graph: &'a dyn Graph,
    anchor: Key,
    items: BTreeMap<Key, Item>,
    notes: Vec<String>,
}

/// What a job of a kind pulls in: relation, kind of job, and whether it matters.
fn pulls(kind: JobKind) -> &'static [(Relation, JobKind, bool)] {
    match kind {
        JobKind::Start => &[
            (Relation::Requires, JobKind::Start, true),
            (Relation::BindsTo, JobKind::Start, true),
            (Relation::Requisite, JobKind::VerifyActive, true),
            (Relation::Wants, JobKind::Start, false),
            (Relation::Upholds, JobKind::Start, false),
            (Relation::Conflicts, JobKind::Stop, true),
            (Relation::ConflictedBy, JobKind::Stop, false),
        ],
        JobKind::Stop => &[
            (Relation::RequiredBy, JobKind::Stop, true),
            (Relation::RequisiteOf, JobKind::Stop, true),
            (Relation::BoundBy, JobKind::Stop, true),
            (Relation::ConsistsOf, JobKind::Stop, true),
            (Relation::PropagatesStopTo, JobKind::Stop, true),
        ],
        JobKind::Restart => &[
            (Relation::Requires, JobKind::Start, true),
            (Relation::BindsTo, JobKind::Start, true),
            (Relation::Requisite, JobKind::VerifyActive, true),
            (Relation::Wants, JobKind::Start, false),
            (Relation::Conflicts, JobKind::Stop, true),
            (Relation::ConflictedBy, JobKind::Stop, false),
            (Relation::RequiredBy, JobKind::Restart, true),
            (Relation::BoundBy, JobKind::Restart, true),
            (Relation::ConsistsOf, JobKind::Restart, true),
        ],
        JobKind::Reload => &[(Relation::PropagatesReloadTo, JobKind::Reload, false)],
        JobKind::VerifyActive => &[],
    }
}

impl Draft<'_> {
    fn expand(&mut self, mode: Mode) {
        let mut open = VecDeque::from([self.anchor]);
        while let Some(key) = open.pop_front() {
            if self.items.contains_key(&key) {
                continue;
            }
            let mut item = Item::default();
            let (unit, kind) = key;
            let starts = matches!(kind, JobKind::Start | JobKind::Restart);
            item.broken = if starts { self.graph.refuses_start(unit) } else { None };
            if item.broken.is_none() && mode != Mode::IgnoreDependencies {
                for (relation, wanted, matters) in pulls(kind) {
                    for other in self.graph.related(unit, *relation) {
                        // Dependents are restarted or reloaded only if they run.
                        let only_running = matches!(wanted, JobKind::Restart | JobKind::Reload);
                        if only_running && self.graph.active(other).is_down() {
                            continue;
                        }
                        item.pulls.push(((other, *wanted), *matters));
                        open.push_back((other, *wanted));
                    }
                }
            }
            self.items.insert(key, item);
        }
    }

    /// Drops jobs that cannot work, and what needs them; the wish itself may not be among them.
    fn drop_broken(&mut self) -> Result<(), PlanError> {
        let mut needing: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
        for (key, item) in &self.items {
            for (needed, _) in item.pulls.iter().filter(|(_, matters)| *matters) {
                needing.entry(*needed).or_default().push(*key);
            }
        }
        let broken = |(key, item): (&Key, &Item)| Some((*key, item.broken.clone()?));
        let mut open: VecDeque<(Key, String)> = self.items.iter().filter_map(broken).collect();
        while let Some((key, reason)) = open.pop_front() {
            for other in needing.get(&key).into_iter().flatten() {
                if let Some(item) = self.items.get_mut(other).filter(|item| item.broken.is_none()) {
                    item.broken = Some(reason.clone());
                    open.push_back((*other, reason.clone()));
                }
            }
        }
        if let Some(reason) = self.items.get(&self.anchor).and_then(|item| item.broken.clone()) {
            return Err(PlanError::Refused(reason));
        }
        self.items.retain(|_, item| item.broken.is_none());
        self.drop_unreachable();
        Ok(())
    }

    fn reachable(&self, only_mattering: bool) -> BTreeSet<Key> {
        let mut seen = BTreeSet::from([self.anchor]);
        let mut open = VecDeque::from([self.anchor]);
        while let Some(key) = open.pop_front() {
            let Some(item) = self.items.get(&key) else { continue };
            for (other, matters) in &item.pulls {
                if (*matters || !only_mattering) && self.items.contains_key(other) && seen.insert(*other) {
                    open.push_back(*other);
                }
            }
        }
        seen
    }

    fn drop_unreachable(&mut self) {
        let seen = self.reachable(false);
        self.items.retain(|key, _| seen.contains(key));
    }

    fn isolate(&mut self) {
        let kept: BTreeSet<UnitId> = self.items.keys().map(|(unit, _)| *unit).collect();
        let anchor = self.anchor;
        for unit in self.graph.isolated() {
            if !kept.contains(&unit) {
                self.items.insert((unit, JobKind::Stop), Item::default());
                if let Some(item) = self.items.get_mut(&anchor) {
                    item.pulls.push(((unit, JobKind::Stop), false));
                }
            }
        }
    }

    /// Deletes a job and, as far as it mattered to them, those that pulled it in.
    fn delete(&mut self, key: Key) {
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            if self.items.remove(&key).is_none() {
                continue;
            }
            let needing = |item: &Item| item.pulls.iter().any(|(other, matters)| *other == key && *matters);
            open.extend(self.items.iter().filter(|(_, item)| needing(item)).map(|(key, _)| *key));
        }
    }

    /// One job a unit. Of two that contradict each other the one goes that does not matter.
    fn merge(&mut self) -> Result<BTreeMap<UnitId, JobKind>, PlanError> {
        loop {
            let matters = self.reachable(true);
            let mut jobs: BTreeMap<UnitId, JobKind> = BTreeMap::new();
            let mut clash = None;
            for (unit, kind) in self.items.keys() {
                match jobs.get(unit).map(|have| have.merge(*kind)) {
                    None => {
                        jobs.insert(*unit, *kind);
                    }
                    Some(Some(merged)) => {
                        jobs.insert(*unit, merged);
                    }
                    Some(None) => {
                        clash = Some(*unit);
                        break;
                    }
                }
            }
            let Some(unit) = clash else { return Ok(jobs) };
            let stop = (unit, JobKind::Stop);
            let others: Vec<Key> =
                self.items.keys().filter(|(u, k)| *u == unit && *k != JobKind::Stop).copied().collect();
            let start_matters = others.iter().any(|key| matters.contains(key));
            if matters.contains(&stop) && start_matters {
                return Err(PlanError::Contradiction(self.graph.name(unit)));
            }
            let (victims, word) = if matters.contains(&stop) { (others, "starting") } else { (vec![stop], "stopping") };
            self.notes.push(format!("{}: not {word} it, another job contradicts", self.graph.name(unit)));
            for victim in victims {
                self.delete(victim);
            }
            self.drop_unreachable();
        }
    }

    fn break_cycles(&mut self, jobs: &mut BTreeMap<UnitId, JobKind>) -> Result<(), PlanError> {
        while let Some(cycle) = find_cycle(self.graph, jobs) {
            let names = cycle.iter().map(|unit| self.graph.name(*unit)).collect::<Vec<_>>().join(" -> ");
            let matters: BTreeSet<UnitId> = self.reachable(true).into_iter().map(|(unit, _)| unit).collect();
            let may_go = |unit: &&UnitId| jobs.contains_key(unit) && !matters.contains(unit);
            let Some(victim) = cycle.iter().find(may_go).copied() else {
                return Err(PlanError::Cycle(names));
            };
            let name = self.graph.name(victim);
            self.notes.push(format!("ordering cycle {names}: dropping the job of {name}, which nothing requires"));
            let keys: Vec<Key> = self.items.keys().filter(|(unit, _)| *unit == victim).copied().collect();
            for key in keys {
                self.delete(key);
            }
            self.drop_unreachable();
            *jobs = self.merge()?;
        }
        Ok(())
    }

    fn drop_redundant(&self, jobs: &mut BTreeMap<UnitId, JobKind>) {
        jobs.retain(|unit, kind| {
            let nothing_to_do = self.graph.active(*unit).satisfies(*kind);
            *unit == self.anchor.0
                || !nothing_to_do
                || self.graph.queued(*unit).is_some_and(|(k, _)| k.merge(*kind).is_none())
        });
    }

    fn check_queue(&self, jobs: &BTreeMap<UnitId, JobKind>, mode: Mode) -> Result<(), PlanError> {
        for (unit, kind) in jobs {
            if let Some((queued, irreversible)) = self.graph.queued(*unit)
                && queued.merge(*kind).is_none()
                && (irreversible && mode != Mode::ReplaceIrreversibly || mode == Mode::Fail)
            {
                return Err(PlanError::Destructive(self.graph.name(*unit)));
            }
        }
        Ok(())
    }
}

/// Units whose jobs wait for each other in a circle, queued jobs included. Depth-first with an own stack.
fn find_cycle(graph: &dyn Graph, jobs: &BTreeMap<UnitId, JobKind>) -> Option<Vec<UnitId>> {
    let mut done: BTreeSet<UnitId> = BTreeSet::new();
    for start in jobs.keys() {
        let mut path: Vec<(UnitId, Vec<UnitId>)> = vec![(*start, waits_for(graph, jobs, *start))];
        let mut on_path = BTreeSet::from([*start]);
        if done.contains(start) {
            continue;
        }
        while let Some((unit, open)) = path.last_mut() {
            let unit = *unit;
            match open.pop() {
                Some(next) if on_path.contains(&next) => {
                    return Some(path.iter().map(|(u, _)| *u).skip_while(|u| *u != next).collect());
                }
                Some(next) if !done.contains(&next) => {
                    on_path.insert(next);
                    path.push((next, waits_for(graph, jobs, next)));
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

fn waits_for(graph: &dyn Graph, jobs: &BTreeMap<UnitId, JobKind>, unit: UnitId) -> Vec<UnitId> {
    let kind_of = |unit: UnitId| jobs.get(&unit).copied().or_else(|| graph.waiting(unit));
    let Some(kind) = kind_of(unit) else { return Vec::new() };
    let mut out = Vec::new();
    for (relation, after) in [(Relation::After, true), (Relation::Before, false)] {
        for other in graph.related(unit, relation) {
            if kind_of(other).is_some_and(|other_kind| waits(kind, other_kind, after)) {
                out.push(other);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        links: Vec<(UnitId, Relation, UnitId)>,
        active: BTreeSet<UnitId>,
        missing: BTreeSet<UnitId>,
        queued: BTreeMap<UnitId, (JobKind, bool)>,
    }

    const fn unit(number: usize) -> UnitId {
        UnitId(number)
    }

    impl Fake {
        fn link(mut self, a: usize, relation: Relation, inverse: Relation, b: usize) -> Self {
            self.links.push((unit(a), relation, unit(b)));
            self.links.push((unit(b), inverse, unit(a)));
            self
        }
        fn requires(self, a: usize, b: usize) -> Self {
            self.link(a, Relation::Requires, Relation::RequiredBy, b)
        }
        fn wants(self, a: usize, b: usize) -> Self {
            self.link(a, Relation::Wants, Relation::WantedBy, b)
        }
        fn after(self, a: usize, b: usize) -> Self {
            self.link(a, Relation::After, Relation::Before, b)
        }
        fn conflicts(self, a: usize, b: usize) -> Self {
            self.link(a, Relation::Conflicts, Relation::ConflictedBy, b)
        }
        fn jobs(&self, of: usize, kind: JobKind) -> Result<Vec<(usize, JobKind)>, PlanError> {
            plan(self, unit(of), kind, Mode::Replace).map(|p| p.jobs.into_iter().map(|(u, k)| (u.0, k)).collect())
        }
    }

    impl Graph for Fake {
        fn related(&self, unit: UnitId, relation: Relation) -> Vec<UnitId> {
            self.links.iter().filter(|(a, r, _)| *a == unit && *r == relation).map(|(_, _, b)| *b).collect()
        }
        fn active(&self, unit: UnitId) -> Active {
            if self.active.contains(&unit) { Active::Active } else { Active::Inactive }
        }
        fn refuses_start(&self, unit: UnitId) -> Option<String> {
            self.missing.contains(&unit).then(|| format!("u{} not found", unit.0))
        }
        fn queued(&self, unit: UnitId) -> Option<(JobKind, bool)> {
            self.queued.get(&unit).copied()
        }
        fn waiting(&self, unit: UnitId) -> Option<JobKind> {
            self.queued.get(&unit).map(|(kind, _)| *kind)
        }
        fn name(&self, unit: UnitId) -> String {
            format!("u{}", unit.0)
        }
        fn isolated(&self) -> Vec<UnitId> {
            self.active.iter().copied().collect()
        }
    }

    use JobKind::{Restart, Start, Stop};

    #[test]
    fn a_start_pulls_in_what_is_required_and_wanted() {
        let fake = Fake::default().requires(1, 2).wants(2, 3);
        assert_eq!(fake.jobs(1, Start), Ok(vec![(1, Start), (2, Start), (3, Start)]));
    }

    #[test]
    fn a_wanted_unit_that_needs_a_missing_one_is_left_out() {
        let mut fake = Fake::default().wants(1, 2).requires(2, 3).wants(1, 4);
        fake.missing.insert(unit(3));
        assert_eq!(fake.jobs(1, Start), Ok(vec![(1, Start), (4, Start)]));
    }

    #[test]
    fn a_required_unit_that_is_missing_refuses_the_start() {
        let mut fake = Fake::default().requires(1, 2).requires(2, 3);
        fake.missing.insert(unit(3));
        assert_eq!(fake.jobs(1, Start), Err(PlanError::Refused("u3 not found".into())));
    }

    #[test]
    fn a_stop_takes_its_dependents_along() {
        let mut fake = Fake::default().requires(1, 2).wants(3, 2);
        fake.active.extend([unit(1), unit(2), unit(3)]);
        assert_eq!(fake.jobs(2, Stop), Ok(vec![(1, Stop), (2, Stop)]));
    }

    #[test]
    fn a_restart_restarts_running_dependents_only() {
        let mut fake = Fake::default().requires(1, 2).requires(3, 2);
        fake.active.extend([unit(1), unit(2)]);
        assert_eq!(fake.jobs(2, Restart), Ok(vec![(1, Restart), (2, Restart)]));
    }

    #[test]
    fn a_conflict_that_does_not_matter_loses() {
        let fake = Fake::default().requires(1, 2).wants(1, 3).conflicts(3, 2);
        assert_eq!(fake.jobs(1, Start), Ok(vec![(1, Start), (2, Start)]));
    }

    #[test]
    fn a_conflict_between_required_units_refuses() {
        let fake = Fake::default().requires(1, 2).requires(1, 3).conflicts(3, 2);
        assert!(matches!(fake.jobs(1, Start), Err(PlanError::Contradiction(_))));
    }

    #[test]
    fn a_cycle_is_broken_at_a_unit_that_nothing_requires() {
        let fake = Fake::default().requires(1, 2).wants(1, 3).after(2, 3).after(3, 2);
        let plan = plan(&fake, unit(1), Start, Mode::Replace).unwrap();
        assert_eq!(plan.jobs.keys().copied().collect::<Vec<_>>(), [unit(1), unit(2)]);
        assert!(plan.notes[0].contains("dropping the job of u3"), "{:?}", plan.notes);
    }

    #[test]
    fn a_cycle_through_a_queued_job_is_found() {
        let mut graph = Fake::default().link(1, Relation::After, Relation::Before, 2);
        graph = graph.link(2, Relation::After, Relation::Before, 1);
        graph.queued.insert(unit(1), (JobKind::Start, false));
        let planned = plan(&graph, unit(2), JobKind::Start, Mode::Replace);
        assert!(matches!(planned, Err(PlanError::Cycle(_))), "both jobs would wait for ever");
    }

    #[test]
    fn a_cycle_of_required_units_is_named_and_refused() {
        let fake = Fake::default().requires(1, 2).requires(1, 3).after(2, 3).after(3, 2);
        assert!(
            matches!(fake.jobs(1, Start), Err(PlanError::Cycle(names)) if names.contains("u2") && names.contains("u3"))
        );
    }

    #[test]
    fn an_irreversible_stop_cannot_be_undone() {
        let mut fake = Fake::default();
        fake.queued.insert(unit(1), (Stop, true));
        assert_eq!(fake.jobs(1, Start), Err(PlanError::Destructive("u1".into())));
        fake.queued.insert(unit(1), (Stop, false));
        assert!(fake.jobs(1, Start).is_ok());
    }

    #[test]
    fn isolate_stops_what_is_not_needed() {
        let mut fake = Fake::default().requires(1, 2);
        fake.active.extend([unit(2), unit(9)]);
        let plan = plan(&fake, unit(1), Start, Mode::Isolate).unwrap();
        assert_eq!(plan.jobs.into_iter().collect::<Vec<_>>(), [(unit(1), Start), (unit(9), Stop)]);
    }
}
