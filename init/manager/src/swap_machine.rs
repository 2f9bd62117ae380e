//! The life of swap space as a state machine. Pure. States and rules are systemd's.

use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;
use crate::machine::{Exit, KillStep};

/// Where swap space stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SwapState {
    #[default]
    Dead,
    Activating,
    ActivatingDone,
    Active,
    Deactivating,
    DeactivatingSigterm,
    DeactivatingSigkill,
    Failed,
}

/// Swap space: its state, and why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SwapMachine {
    /// Where it stands.
    pub state: SwapState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
}

impl SwapMachine {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            SwapState::Dead => "dead",
            SwapState::Activating => "activating",
            SwapState::ActivatingDone => "activating-done",
            SwapState::Active => "active",
            SwapState::Deactivating => "deactivating",
            SwapState::DeactivatingSigterm => "deactivating-sigterm",
            SwapState::DeactivatingSigkill => "deactivating-sigkill",
            SwapState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            SwapState::Dead => Active::Inactive,
            SwapState::Activating => Active::Activating,
            SwapState::ActivatingDone | SwapState::Active => Active::Active,
            SwapState::Deactivating | SwapState::DeactivatingSigterm | SwapState::DeactivatingSigkill => {
                Active::Deactivating
            }
            SwapState::Failed => Active::Failed,
        }
    }
}

/// What happened to swap space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// The helper process ended.
    Exited(Exit),
    /// The helper process could not be made.
    NotMade,
    /// The timer ran out.
    TimedOut,
    /// The kernel's list of swap space changed.
    TableChanged,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapEffect {
    /// Make the process that turns it on.
    On,
    /// Make the process that turns it off.
    Off,
    /// Signal the process.
    Kill(KillStep),
    /// Ask for `TimedOut` after the unit's time.
    ArmTimer,
    /// Do not.
    DisarmTimer,
    /// It is over.
    Release,
}

/// Takes one step; `used`: does the kernel use it? `None`: the event means nothing in this state.
pub fn step(machine: SwapMachine, event: SwapEvent, used: bool, kills: bool) -> Option<(SwapMachine, Vec<SwapEffect>)> {
    use SwapEffect::{ArmTimer, DisarmTimer, Kill, Off, On, Release};
    use SwapState as S;
    let noted = |cause| if machine.cause == Cause::Success { cause } else { machine.cause };
    let to = |state| SwapMachine { state, ..machine };
    let over = |cause: Cause| {
        let cause = noted(cause);
        let state = if cause == Cause::Success { S::Dead } else { S::Failed };
        (SwapMachine { state, cause }, vec![DisarmTimer, Release])
    };
    let active = |cause| (SwapMachine { state: S::Active, cause: noted(cause) }, vec![DisarmTimer]);
    let over_or_active = |cause| if used { active(cause) } else { over(cause) };
    let signal = |state, step, cause| (SwapMachine { state, cause: noted(cause) }, vec![Kill(step), ArmTimer]);
    Some(match (event, machine.state) {
        (SwapEvent::Start, S::Dead | S::Failed) if used => {
            (SwapMachine { state: S::Active, cause: Cause::Success }, vec![])
        }
        (SwapEvent::Start, S::Dead | S::Failed) => {
            (SwapMachine { state: S::Activating, cause: Cause::Success }, vec![ArmTimer, On])
        }
        (SwapEvent::Stop, S::Activating | S::ActivatingDone) => {
            signal(S::DeactivatingSigterm, KillStep::Terminate, Cause::Success)
        }
        (SwapEvent::Stop, S::Active) => (to(S::Deactivating), vec![ArmTimer, Off]),
        (SwapEvent::StartLimitHit, S::Dead | S::Failed) => {
            (SwapMachine { state: S::Failed, cause: Cause::StartLimitHit }, vec![])
        }
        (SwapEvent::ResetFailed, S::Failed) => (SwapMachine::default(), vec![]),
        (SwapEvent::Exited(exit), S::Activating | S::ActivatingDone) => {
            let cause = Cause::of(exit);
            if cause == Cause::Success || used { active(cause) } else { over(cause) }
        }
        (SwapEvent::Exited(exit), S::Deactivating | S::DeactivatingSigterm | S::DeactivatingSigkill) => {
            over_or_active(Cause::of(exit))
        }
        (SwapEvent::NotMade, S::Activating | S::Deactivating) => over_or_active(Cause::Resources),
        (SwapEvent::TimedOut, S::Activating | S::ActivatingDone | S::Deactivating) => {
            signal(S::DeactivatingSigterm, KillStep::Terminate, Cause::Timeout)
        }
        (SwapEvent::TimedOut, S::DeactivatingSigterm) if kills => {
            signal(S::DeactivatingSigkill, KillStep::Kill, Cause::Timeout)
        }
        (SwapEvent::TimedOut, S::DeactivatingSigterm | S::DeactivatingSigkill) => over_or_active(Cause::Timeout),
        (SwapEvent::TableChanged, S::Dead | S::Failed) if used => {
            (SwapMachine { state: S::Active, cause: Cause::Success }, vec![])
        }
        (SwapEvent::TableChanged, S::Activating) if used => (to(S::ActivatingDone), vec![]),
        (SwapEvent::TableChanged, S::Active) if !used => over(Cause::Success),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use SwapEvent::{Exited, Start, Stop, TableChanged, TimedOut};

    fn run(events: &[(SwapEvent, bool)]) -> SwapMachine {
        events.iter().fold(SwapMachine::default(), |machine, (event, used)| {
            step(machine, *event, *used, true).unwrap_or_else(|| panic!("{event:?} in {machine:?}")).0
        })
    }

    #[test]
    fn swap_space_goes_on_and_off() {
        let good = Exited(Exit::Code(0));
        assert_eq!(run(&[(Start, true)]).sub(), "active");
        assert_eq!(run(&[(Start, false), (TableChanged, true)]).sub(), "activating-done");
        let on = [(Start, false), (good, true)];
        assert_eq!(run(&on).sub(), "active");
        assert_eq!(run(&[&on[..], &[(Stop, true)]].concat()).sub(), "deactivating");
        assert_eq!(run(&[&on[..], &[(Stop, true), (good, false)]].concat()).sub(), "dead");
        assert_eq!(run(&[&on[..], &[(Stop, true), (Exited(Exit::Code(1)), true)]].concat()).sub(), "active");
        assert_eq!(run(&[&on[..], &[(TableChanged, false)]].concat()).sub(), "dead");
    }

    #[test]
    fn swap_space_that_cannot_be_used_or_takes_too_long_fails() {
        assert_eq!(run(&[(Start, false), (Exited(Exit::Code(1)), false)]).cause, Cause::ExitCode);
        let late = [(Start, false), (TimedOut, false), (TimedOut, false)];
        assert_eq!(run(&late).sub(), "deactivating-sigkill");
        assert_eq!(run(&[&late[..], &[(Exited(Exit::Signal(9)), false)]].concat()).cause, Cause::Timeout);
    }
}
