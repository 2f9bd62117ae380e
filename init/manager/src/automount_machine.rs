//! The life of an automount as a state machine. Pure. States and rules are systemd's.

use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;
use crate::mount_machine::MountState;

/// Where an automount stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum AutomountState {
    #[default]
    Dead,
    Waiting,
    Running,
    Failed,
}

/// An automount: its state, and why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AutomountMachine {
    /// Where it stands.
    pub state: AutomountState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
}

impl AutomountMachine {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            AutomountState::Dead => "dead",
            AutomountState::Waiting => "waiting",
            AutomountState::Running => "running",
            AutomountState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            AutomountState::Dead => Active::Inactive,
            AutomountState::Waiting | AutomountState::Running => Active::Active,
            AutomountState::Failed => Active::Failed,
        }
    }
}

/// What happened to an automount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutomountEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// The place could not be set up.
    NotSetUp,
    /// Somebody waits for the mount, and it is being started.
    Wanted,
    /// The mount cannot be started or stopped.
    NotQueued,
    /// Somebody took the place away.
    HungUp,
    /// The state or the job of the mount changed.
    MountChanged(MountNews),
}

/// What an automount must know of its mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountNews {
    /// It was started too often.
    pub limit_hit: bool,
    /// It has a job.
    pub job: bool,
    /// Its state.
    pub state: MountState,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutomountEffect {
    /// Set the place up; a failure is an event.
    SetUp,
    /// Take it away; who waits is told that nothing comes.
    TakeAway,
    /// Tell those who wait for the mount; `true`: it is there.
    AnswerWaiting(bool),
    /// Tell the kernel that wants the mount gone; `true`: it is gone.
    AnswerExpired(bool),
    /// Look for idle mounts from time to time.
    WatchIdle,
    /// Do not.
    IgnoreIdle,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(machine: AutomountMachine, event: AutomountEvent) -> Option<(AutomountMachine, Vec<AutomountEffect>)> {
    use AutomountEffect::{IgnoreIdle, SetUp, TakeAway};
    use AutomountState as S;
    let to = |state| AutomountMachine { state, ..machine };
    let fails = |cause| (AutomountMachine { state: S::Failed, cause }, vec![IgnoreIdle, TakeAway]);
    Some(match (event, machine.state) {
        (AutomountEvent::Start, S::Dead | S::Failed) => {
            (AutomountMachine { state: S::Waiting, cause: Cause::Success }, vec![SetUp])
        }
        (AutomountEvent::Stop, S::Waiting | S::Running) => (to(S::Dead), vec![IgnoreIdle, TakeAway]),
        (AutomountEvent::StartLimitHit, S::Dead | S::Failed) => {
            (AutomountMachine { state: S::Failed, cause: Cause::StartLimitHit }, vec![])
        }
        (AutomountEvent::ResetFailed, S::Failed) => (AutomountMachine::default(), vec![]),
        (AutomountEvent::NotSetUp | AutomountEvent::NotQueued, S::Waiting | S::Running) => fails(Cause::Resources),
        (AutomountEvent::HungUp, S::Waiting | S::Running) => fails(Cause::Unmounted),
        (AutomountEvent::Wanted, S::Waiting | S::Running) => (to(S::Running), vec![]),
        (AutomountEvent::MountChanged(mount), S::Waiting | S::Running) => {
            if mount.limit_hit {
                return Some(fails(Cause::MountStartLimitHit));
            }
            if mount.job {
                return None;
            }
            return mount_changed(machine, mount.state);
        }
        _ => return None,
    })
}

fn mount_changed(machine: AutomountMachine, mount: MountState) -> Option<(AutomountMachine, Vec<AutomountEffect>)> {
    use AutomountEffect::{AnswerExpired, AnswerWaiting, IgnoreIdle, WatchIdle};
    use MountState as M;
    let to = |state| AutomountMachine { state, ..machine };
    Some(match mount {
        M::Mounted | M::Remounting => {
            (to(AutomountState::Running), vec![AnswerWaiting(true), AnswerExpired(false), WatchIdle])
        }
        M::Mounting | M::MountingDone => (machine, vec![AnswerExpired(false)]),
        M::Dead => (to(AutomountState::Waiting), vec![IgnoreIdle, AnswerExpired(true), AnswerWaiting(false)]),
        M::Unmounting => (to(AutomountState::Waiting), vec![IgnoreIdle, AnswerWaiting(false)]),
        M::RemountingSigterm | M::RemountingSigkill | M::UnmountingSigterm | M::UnmountingSigkill | M::Failed => {
            (to(AutomountState::Waiting), vec![IgnoreIdle, AnswerExpired(false), AnswerWaiting(false)])
        }
        M::MountingSigterm | M::MountingSigkill => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use AutomountEvent::{HungUp, MountChanged, Start, Stop, Wanted};

    fn run(events: &[AutomountEvent]) -> (AutomountMachine, Vec<AutomountEffect>) {
        let mut last = Vec::new();
        let machine = events.iter().fold(AutomountMachine::default(), |machine, event| {
            let (after, effects) = step(machine, *event).unwrap_or_else(|| panic!("{event:?} in {machine:?}"));
            last = effects;
            after
        });
        (machine, last)
    }

    fn mount(state: MountState) -> AutomountEvent {
        MountChanged(MountNews { limit_hit: false, job: false, state })
    }

    #[test]
    fn who_waits_is_told_when_the_mount_is_there() {
        let (machine, effects) = run(&[Start, Wanted, mount(MountState::Mounted)]);
        assert_eq!((machine.sub(), effects[0]), ("running", AutomountEffect::AnswerWaiting(true)));
        let (machine, effects) = run(&[Start, Wanted, mount(MountState::Failed)]);
        assert_eq!(machine.sub(), "waiting");
        assert!(effects.contains(&AutomountEffect::AnswerWaiting(false)));
        let (machine, effects) = run(&[Start, Wanted, mount(MountState::Mounted), mount(MountState::Dead)]);
        assert_eq!(machine.sub(), "waiting");
        assert!(effects.contains(&AutomountEffect::AnswerExpired(true)));
    }

    #[test]
    fn an_automount_ends_by_a_stop_a_limit_or_a_stranger() {
        assert_eq!(run(&[Start, Stop]).0.sub(), "dead");
        assert_eq!(run(&[Start, HungUp]).0.cause, Cause::Unmounted);
        let hit = MountChanged(MountNews { limit_hit: true, job: false, state: MountState::Dead });
        assert_eq!(run(&[Start, hit]).0.cause, Cause::MountStartLimitHit);
        let busy = MountChanged(MountNews { limit_hit: false, job: true, state: MountState::Dead });
        assert!(step(run(&[Start, Wanted]).0, busy).is_none());
    }
}
