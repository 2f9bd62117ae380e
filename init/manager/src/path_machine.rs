//! The life of a path unit as a state machine. Pure. States and rules are systemd's.

use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;

/// Where a path unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PathState {
    #[default]
    Dead,
    Waiting,
    Running,
    Failed,
}

/// A path unit: its state, and why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PathMachine {
    /// Where it stands.
    pub state: PathState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
}

impl PathMachine {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            PathState::Dead => "dead",
            PathState::Waiting => "waiting",
            PathState::Running => "running",
            PathState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            PathState::Dead => Active::Inactive,
            PathState::Waiting | PathState::Running => Active::Active,
            PathState::Failed => Active::Failed,
        }
    }
}

/// What happened to a path unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// Something about a path changed, but not what was waited for.
    Stirred,
    /// What was waited for happened.
    Good,
    /// The answer to `PathEffect::Look`: nothing is to be done, and the paths are watched.
    Watched,
    /// The same: the unit runs anyway.
    UnitRuns,
    /// The same: the paths cannot be watched.
    NotWatched,
    /// The unit was started too often.
    TriggerLimitHit,
    /// The unit cannot be started.
    NotStarted,
    /// The state or the job of the unit changed.
    UnitChanged(UnitView),
}

/// What a path unit must know of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnitView {
    /// It was started too often.
    pub limit_hit: bool,
    /// It has a job.
    pub job: bool,
    /// It neither runs nor is about to.
    pub down: bool,
}

/// When paths are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The path unit starts: what changed before does not count.
    Start,
    /// The unit ended: what changed while it ran does not count either.
    UnitEnded,
    /// Something changed.
    Change,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEffect {
    /// Make the directories (`MakeDirectory=`).
    MakeDirectories,
    /// Look at the paths and watch them; the answer is an event.
    Look(Occasion),
    /// Start the unit; a failure is an event.
    Trigger,
    /// Watch nothing.
    Unwatch,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(machine: PathMachine, event: PathEvent) -> Option<(PathMachine, Vec<PathEffect>)> {
    use PathEffect::{Look, MakeDirectories, Trigger, Unwatch};
    use PathState as S;
    let to = |state| PathMachine { state, ..machine };
    let fails = |cause| (PathMachine { state: S::Failed, cause }, vec![Unwatch]);
    Some(match (event, machine.state) {
        (PathEvent::Start, S::Dead | S::Failed) => {
            let begun = PathMachine { state: S::Waiting, cause: Cause::Success };
            (begun, vec![MakeDirectories, Look(Occasion::Start)])
        }
        (PathEvent::Stop, S::Waiting | S::Running) => (to(S::Dead), vec![Unwatch]),
        (PathEvent::StartLimitHit, S::Dead | S::Failed) => {
            (PathMachine { state: S::Failed, cause: Cause::StartLimitHit }, vec![])
        }
        (PathEvent::ResetFailed, S::Failed) => (PathMachine::default(), vec![]),
        (PathEvent::Stirred, S::Waiting | S::Running) => (machine, vec![Look(Occasion::Change)]),
        (PathEvent::Good, S::Waiting | S::Running) => (to(S::Running), vec![Unwatch, Trigger]),
        (PathEvent::Watched, S::Waiting | S::Running) => (to(S::Waiting), vec![]),
        (PathEvent::UnitRuns, S::Waiting | S::Running) => (to(S::Running), vec![Unwatch]),
        (PathEvent::NotWatched | PathEvent::NotStarted, S::Waiting | S::Running) => fails(Cause::Resources),
        (PathEvent::TriggerLimitHit, S::Waiting | S::Running) => fails(Cause::TriggerLimitHit),
        (PathEvent::UnitChanged(unit), S::Waiting | S::Running) if unit.limit_hit => fails(Cause::UnitStartLimitHit),
        (PathEvent::UnitChanged(unit), S::Running) if !unit.job && unit.down => {
            (machine, vec![Look(Occasion::UnitEnded)])
        }
        (PathEvent::UnitChanged(unit), S::Waiting) if !unit.job && !unit.down => {
            (machine, vec![Look(Occasion::UnitEnded)])
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: &[PathEvent]) -> (PathMachine, Vec<PathEffect>) {
        let mut last = Vec::new();
        let machine = events.iter().fold(PathMachine::default(), |machine, event| {
            let (after, effects) = step(machine, *event).unwrap_or_else(|| panic!("{event:?} in {machine:?}"));
            last = effects;
            after
        });
        (machine, last)
    }

    #[test]
    fn a_path_unit_waits_triggers_and_looks_again_when_its_unit_ended() {
        use PathEvent::{Good, Start, Stirred, UnitChanged, UnitRuns, Watched};
        let ended = UnitChanged(UnitView { down: true, ..UnitView::default() });
        assert_eq!(run(&[Start]).1, [PathEffect::MakeDirectories, PathEffect::Look(Occasion::Start)]);
        assert_eq!(run(&[Start, Watched]).0.sub(), "waiting");
        assert_eq!(run(&[Start, Watched, Stirred]).1, [PathEffect::Look(Occasion::Change)]);
        let (machine, effects) = run(&[Start, Watched, Good]);
        assert_eq!((machine.sub(), effects), ("running", vec![PathEffect::Unwatch, PathEffect::Trigger]));
        assert_eq!(run(&[Start, Watched, Good, ended]).1, [PathEffect::Look(Occasion::UnitEnded)]);
        assert_eq!(run(&[Start, Watched, Good, ended, Watched]).0.sub(), "waiting");
        assert_eq!(run(&[Start, UnitRuns]).0.sub(), "running");
    }

    #[test]
    fn limits_end_a_path_unit() {
        use PathEvent::{Good, Start, TriggerLimitHit, UnitChanged, Watched};
        let hit = UnitChanged(UnitView { limit_hit: true, down: true, job: false });
        assert_eq!(run(&[Start, Watched, Good, hit]).0.cause, Cause::UnitStartLimitHit);
        assert_eq!(run(&[Start, Watched, TriggerLimitHit]).0.cause, Cause::TriggerLimitHit);
        let busy = UnitChanged(UnitView { job: true, down: true, limit_hit: false });
        assert!(step(run(&[Start, Watched, Good]).0, busy).is_none());
        assert!(step(PathMachine::default(), hit).is_none());
    }
}
