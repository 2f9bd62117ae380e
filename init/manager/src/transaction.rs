//! Planning: which jobs one wish needs, whether they fit together, and in what order they can run. Pure.
//!
//! Works on a [`Graph`], so that it can be tested without any unit file. No recursion: no file exhausts the stack.
//! This half finds the jobs; `consistency` makes them fit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::jobs::{Active, JobKind, Mode, UnitId};

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
    /// The same on both sides.
    JoinsNamespaceOf,
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

/// Why a unit cannot take a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Fault {
    NotFound,
    BadSetting,
    Unreadable,
    Masked,
    /// This version, or this kind of unit, cannot do it.
    NotSupported,
    /// Anything else.
    Other,
}

/// What the planner asks about units.
pub trait Graph {
    /// The units that stand in this relation to a unit.
    fn related(&self, unit: UnitId, relation: Relation) -> Vec<UnitId>;
    /// The active state.
    fn active(&self, unit: UnitId) -> Active;
    /// Why the unit cannot take any job but a stop, if so.
    fn refuses_start(&self, unit: UnitId) -> Option<(Fault, String)>;
    /// Can a unit of this kind do this at all?
    fn applies(&self, unit: UnitId, kind: JobKind) -> bool;
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
    /// A unit that is needed cannot take its job.
    #[error("{1}")]
    Refused(Fault, String),
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

/// A job in the making.
pub(crate) type Key = (UnitId, JobKind);

/// Why a job pulls another one in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pull {
    pub key: Key,
    /// It cannot do without.
    pub matters: bool,
    /// The other unit is stopped because it conflicts.
    pub conflicts: bool,
}

#[derive(Default)]
pub(crate) struct Item {
    pub pulls: Vec<Pull>,
    /// Who pulls it in.
    pub pulled_by: Vec<Key>,
    broken: Option<(Fault, String)>,
}

/// Plans one wish.
pub fn plan(graph: &dyn Graph, unit: UnitId, kind: JobKind, mode: Mode) -> Result<Plan, PlanError> {
    plan_and_missing(graph, unit, kind, mode).0
}

/// The same, and the units that it wants to start and that have no file.
pub fn plan_and_missing(
    graph: &dyn Graph,
    unit: UnitId,
    kind: JobKind,
    mode: Mode,
) -> (Result<Plan, PlanError>, Vec<UnitId>) {
    let kind = kind.collapse(graph.active(unit));
    if let Err(error) = check_mode(graph, unit, kind, mode) {
        return (Err(error), Vec::new());
    }
    let anchor = (unit, kind);
    let mut draft = Draft { graph, anchor, mode, items: BTreeMap::new(), notes: Vec::new() };
    draft.add(anchor);
    draft.expand(VecDeque::from([anchor]));
    let has_no_file = |item: &Item| matches!(item.broken, Some((Fault::NotFound, _)));
    let missing = draft.items.iter().filter(|(_, item)| has_no_file(item)).map(|(key, _)| key.0).collect();
    (fitted(draft, mode), missing)
}

/// Makes jobs of what was drawn in.
fn fitted(mut draft: Draft<'_>, mode: Mode) -> Result<Plan, PlanError> {
    draft.drop_broken()?;
    match mode {
        Mode::Isolate => draft.isolate(),
        Mode::Triggering => draft.stop_triggers(),
        _ => {}
    }
    let jobs = draft.fit()?;
    Ok(Plan { jobs, notes: draft.notes })
}

fn check_mode(graph: &dyn Graph, unit: UnitId, kind: JobKind, mode: Mode) -> Result<(), PlanError> {
    let refuse = |text: String| Err(PlanError::Refused(Fault::Other, text));
    match (mode, kind) {
        (Mode::Isolate | Mode::RestartDependencies, kind) if kind != JobKind::Start => {
            refuse("this job mode goes with a start only".into())
        }
        (Mode::Triggering, kind) if kind != JobKind::Stop => refuse("this job mode goes with a stop only".into()),
        _ if kind != JobKind::Nop && !graph.applies(unit, kind) => {
            let text = format!("job type {} is not applicable for unit {}", kind.as_str(), graph.name(unit));
            Err(PlanError::Refused(Fault::NotSupported, text))
        }
        _ => Ok(()),
    }
}

pub(crate) struct Draft<'a> {
    pub graph: &'a dyn Graph,
    pub anchor: Key,
    pub mode: Mode,
    pub items: BTreeMap<Key, Item>,
    pub notes: Vec<String>,
}

/// What becomes of a pull that is impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// The puller is impossible, too.
    Must,
    /// It goes on without.
    May,
    /// The same, and the other is stopped because it conflicts.
    Conflict,
}

const STARTS: [(Relation, JobKind, Need); 7] = [
    (Relation::Requires, JobKind::Start, Need::Must),
    (Relation::BindsTo, JobKind::Start, Need::Must),
    (Relation::Requisite, JobKind::VerifyActive, Need::Must),
    (Relation::Wants, JobKind::Start, Need::May),
    (Relation::Upholds, JobKind::Start, Need::May),
    (Relation::Conflicts, JobKind::Stop, Need::Conflict),
    (Relation::ConflictedBy, JobKind::Stop, Need::May),
];
const STOPS: [(Relation, JobKind, Need); 5] = [
    (Relation::RequiredBy, JobKind::Stop, Need::Must),
    (Relation::RequisiteOf, JobKind::Stop, Need::Must),
    (Relation::BoundBy, JobKind::Stop, Need::Must),
    (Relation::ConsistsOf, JobKind::Stop, Need::Must),
    (Relation::PropagatesStopTo, JobKind::Stop, Need::Must),
];
/// Dependents are restarted only if they run.
const RESTARTS: [(Relation, JobKind, Need); 4] = [
    (Relation::RequiredBy, JobKind::TryRestart, Need::Must),
    (Relation::RequisiteOf, JobKind::TryRestart, Need::Must),
    (Relation::BoundBy, JobKind::TryRestart, Need::Must),
    (Relation::ConsistsOf, JobKind::TryRestart, Need::Must),
];
/// What stops with a unit stops when it restarts, unless it is started anew with it.
const RESTART_STOPS: [(Relation, JobKind, Need); 1] = [(Relation::PropagatesStopTo, JobKind::Stop, Need::Must)];
const RELOADS: [(Relation, JobKind, Need); 1] = [(Relation::PropagatesReloadTo, JobKind::TryReload, Need::May)];

impl Draft<'_> {
    /// Adds everything that these jobs pull in.
    fn expand(&mut self, mut open: VecDeque<Key>) {
        let alone = matches!(self.mode, Mode::IgnoreDependencies | Mode::IgnoreRequirements);
        while let Some(key) = open.pop_front().filter(|_| !alone) {
            if self.items.get(&key).is_none_or(|item| item.broken.is_some()) {
                continue;
            }
            for (relation, wanted, need) in self.tables(key).iter().copied().flatten() {
                for other in self.graph.related(key.0, *relation) {
                    // Whether a unit is up matters when the job runs, not now.
                    let kind = match wanted {
                        JobKind::VerifyActive => *wanted,
                        _ => wanted.collapse(self.graph.active(other)),
                    };
                    let graceful = *relation == Relation::PropagatesStopTo;
                    if kind == JobKind::Nop || graceful && self.is_started(other) {
                        continue;
                    }
                    // A unit that cannot do this at all does not count.
                    if self.graph.applies(other, kind) && self.pull(key, (other, kind), *need) {
                        open.push_back((other, kind));
                    }
                }
            }
        }
    }

    fn is_started(&self, unit: UnitId) -> bool {
        [JobKind::Start, JobKind::Restart].iter().any(|kind| self.items.contains_key(&(unit, *kind)))
    }

    /// What a job pulls in.
    fn tables(&self, key: Key) -> &'static [&'static [(Relation, JobKind, Need)]] {
        match key.1 {
            JobKind::Start if self.mode == Mode::RestartDependencies && key == self.anchor => &[&STARTS, &RESTARTS],
            JobKind::Start => &[&STARTS],
            JobKind::Stop => &[&STOPS],
            JobKind::Restart => &[&STARTS, &RESTARTS, &RESTART_STOPS],
            JobKind::Reload => &[&RELOADS],
            _ => &[],
        }
    }

    fn add(&mut self, key: Key) {
        let (unit, kind) = key;
        let broken = if kind == JobKind::Stop { None } else { self.graph.refuses_start(unit) };
        self.items.insert(key, Item { broken, ..Item::default() });
    }

    /// Links two jobs; `true`: the second one is new.
    fn pull(&mut self, from: Key, to: Key, need: Need) -> bool {
        let fresh = !self.items.contains_key(&to);
        if fresh {
            self.add(to);
        }
        let pull = Pull { key: to, matters: need != Need::May, conflicts: need == Need::Conflict };
        if let Some(item) = self.items.get_mut(&from) {
            item.pulls.push(pull);
        }
        if let Some(item) = self.items.get_mut(&to) {
            item.pulled_by.push(from);
        }
        fresh
    }

    /// Drops jobs that cannot work, and what needs them; the wish itself may not be among them.
    fn drop_broken(&mut self) -> Result<(), PlanError> {
        let broken = |(key, item): (&Key, &Item)| Some((*key, item.broken.clone()?));
        let mut open: VecDeque<(Key, (Fault, String))> = self.items.iter().filter_map(broken).collect();
        while let Some((key, reason)) = open.pop_front() {
            let needing: Vec<Key> = self.needing(key);
            for other in needing {
                if let Some(item) = self.items.get_mut(&other).filter(|item| item.broken.is_none()) {
                    item.broken = Some(reason.clone());
                    open.push_back((other, reason.clone()));
                }
            }
        }
        if let Some((fault, text)) = self.items.get(&self.anchor).and_then(|item| item.broken.clone()) {
            return Err(PlanError::Refused(fault, text));
        }
        let gone: Vec<Key> = self.items.iter().filter(|(_, item)| item.broken.is_some()).map(|(key, _)| *key).collect();
        for key in gone {
            self.unlink(key);
        }
        Ok(())
    }

    /// The jobs that cannot do without this one.
    fn needing(&self, key: Key) -> Vec<Key> {
        let Some(item) = self.items.get(&key) else { return Vec::new() };
        let needs = |other: &&Key| {
            self.items.get(*other).is_some_and(|item| item.pulls.iter().any(|pull| pull.key == key && pull.matters))
        };
        item.pulled_by.iter().filter(needs).copied().collect()
    }

    /// Takes one job out.
    pub(crate) fn unlink(&mut self, key: Key) {
        let Some(item) = self.items.remove(&key) else { return };
        for pull in item.pulls {
            if let Some(other) = self.items.get_mut(&pull.key) {
                other.pulled_by.retain(|other| *other != key);
            }
        }
        for puller in item.pulled_by {
            if let Some(other) = self.items.get_mut(&puller) {
                other.pulls.retain(|pull| pull.key != key);
            }
        }
    }

    /// Takes one job out, and those that cannot do without it.
    pub(crate) fn delete(&mut self, key: Key) {
        let mut open = vec![key];
        while let Some(key) = open.pop() {
            open.extend(self.needing(key));
            self.unlink(key);
        }
    }

    /// The jobs that the wish cannot do without, itself among them.
    pub(crate) fn mattering(&self) -> BTreeSet<Key> {
        let mut seen = BTreeSet::from([self.anchor]);
        let mut open = VecDeque::from([self.anchor]);
        while let Some(item) = open.pop_front().and_then(|key| self.items.get(&key)) {
            for pull in item.pulls.iter().filter(|pull| pull.matters) {
                if seen.insert(pull.key) {
                    open.push_back(pull.key);
                }
            }
        }
        seen
    }

    fn has(&self, unit: UnitId) -> bool {
        self.items.range((unit, JobKind::Start)..=(unit, JobKind::Nop)).next().is_some()
    }

    fn isolate(&mut self) {
        let kept: BTreeSet<UnitId> = self.items.keys().map(|(unit, _)| *unit).collect();
        let mut open = VecDeque::new();
        for unit in self.graph.isolated() {
            // What is started by a unit that stays may stay as well.
            let triggers = self.graph.related(unit, Relation::TriggeredBy);
            let stays = triggers.iter().any(|trigger| kept.contains(trigger));
            if !self.has(unit) && !stays && self.graph.applies(unit, JobKind::Stop) {
                self.pull(self.anchor, (unit, JobKind::Stop), Need::May);
                open.push_back((unit, JobKind::Stop));
            }
        }
        self.expand(open);
    }

    fn stop_triggers(&mut self) {
        for trigger in self.graph.related(self.anchor.0, Relation::TriggeredBy) {
            if !self.graph.active(trigger).is_down() && !self.has(trigger) {
                self.pull(self.anchor, (trigger, JobKind::Stop), Need::May);
                self.expand(VecDeque::from([(trigger, JobKind::Stop)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fake {
        links: Vec<(UnitId, Relation, UnitId)>,
        active: BTreeSet<UnitId>,
        missing: BTreeSet<UnitId>,
        perpetual: BTreeSet<UnitId>,
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
        fn refuses_start(&self, unit: UnitId) -> Option<(Fault, String)> {
            self.missing.contains(&unit).then(|| (Fault::NotFound, format!("u{} not found", unit.0)))
        }
        fn applies(&self, unit: UnitId, kind: JobKind) -> bool {
            !(kind == JobKind::Stop && self.perpetual.contains(&unit))
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
        assert_eq!(fake.jobs(1, Start), Err(PlanError::Refused(Fault::NotFound, "u3 not found".into())));
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
    fn two_units_that_want_and_follow_each_other_lose_the_second() {
        let fake = Fake::default().wants(1, 2).wants(2, 1).after(1, 2).after(2, 1);
        assert_eq!(fake.jobs(1, Start), Ok(vec![(1, Start)]));
    }

    #[test]
    fn of_a_wanted_unit_and_one_that_excludes_it_neither_may_win_by_chance() {
        // Both are only wanted: what is excluded stays down.
        let fake = Fake::default().wants(1, 2).wants(1, 3).conflicts(3, 2);
        assert_eq!(fake.jobs(1, Start), Ok(vec![(1, Start), (3, Start)]));
        // What merely happens to be stopped is started.
        let fake = Fake::default().wants(1, 2).wants(1, 3).link(2, Relation::Conflicts, Relation::ConflictedBy, 3);
        assert_eq!(fake.jobs(1, Start), Ok(vec![(1, Start), (2, Start)]));
    }

    #[test]
    fn a_unit_that_cannot_be_stopped_is_none_of_the_stops() {
        let mut fake = Fake::default().requires(1, 2).requires(3, 2);
        fake.active.extend([unit(1), unit(2), unit(3)]);
        fake.perpetual.insert(unit(3));
        assert_eq!(fake.jobs(2, Stop), Ok(vec![(1, Stop), (2, Stop)]));
        assert!(matches!(fake.jobs(3, Stop), Err(PlanError::Refused(Fault::NotSupported, _))));
    }

    #[test]
    fn a_start_may_restart_what_depends_on_it() {
        let mut fake = Fake::default().requires(1, 2).requires(3, 2);
        fake.active.extend([unit(1)]);
        let plan = plan(&fake, unit(2), Start, Mode::RestartDependencies).unwrap();
        assert_eq!(plan.jobs.into_iter().collect::<Vec<_>>(), [(unit(1), Restart), (unit(2), Start)]);
    }

    #[test]
    fn a_wish_that_must_not_hurt_stops_nothing_that_only_happens_to_be_in_the_way() {
        let mut fake = Fake::default().link(1, Relation::ConflictedBy, Relation::Conflicts, 2);
        fake.active.insert(unit(2));
        let jobs = |mode| plan(&fake, unit(1), Start, mode).unwrap().jobs.into_iter().collect::<Vec<_>>();
        assert_eq!(jobs(Mode::Replace), [(unit(1), Start), (unit(2), Stop)]);
        assert_eq!(jobs(Mode::Fail), [(unit(1), Start)]);
        assert_eq!(jobs(Mode::IgnoreRequirements), [(unit(1), Start)]);
    }

    #[test]
    fn isolate_stops_what_is_not_needed() {
        let mut fake = Fake::default().requires(1, 2);
        fake.active.extend([unit(2), unit(9)]);
        let plan = plan(&fake, unit(1), Start, Mode::Isolate).unwrap();
        assert_eq!(plan.jobs.into_iter().collect::<Vec<_>>(), [(unit(1), Start), (unit(9), Stop)]);
    }
}
