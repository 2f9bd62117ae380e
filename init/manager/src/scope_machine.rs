//! The life of a scope as a state machine: processes that somebody else started, kept together in a group. Pure.

use ferrite_unit::kill::KillMode;
use ferrite_unit::scope::{OomPolicy, Scope};
use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;
use crate::machine::KillStep;

/// Where a scope stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ScopeState {
    #[default]
    Dead,
    Running,
    StopSigterm,
    StopSigkill,
    Failed,
}

/// A scope: its state, and why it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScopeMachine {
    /// Where it stands.
    pub state: ScopeState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
}

impl ScopeMachine {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            ScopeState::Dead => "dead",
            ScopeState::Running => "running",
            ScopeState::StopSigterm => "stop-sigterm",
            ScopeState::StopSigkill => "stop-sigkill",
            ScopeState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            ScopeState::Dead => Active::Inactive,
            ScopeState::Running => Active::Active,
            ScopeState::StopSigterm | ScopeState::StopSigkill => Active::Deactivating,
            ScopeState::Failed => Active::Failed,
        }
    }
}

/// What happened to a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// An administrator forgives the failure.
    ResetFailed,
    /// The processes are in their group.
    Moved,
    /// None of them is.
    NotMoved,
    /// The last process of the group ended.
    GroupEmpty,
    /// The timer ran out.
    TimedOut,
    /// The kernel killed a process of the group for want of memory.
    OutOfMemory,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeEffect {
    /// Move the processes into the group; the answer is an event.
    Move,
    /// Signal the processes.
    Kill(KillStep),
    /// Ask for `TimedOut` after the longest run.
    ArmRuntime,
    /// Ask for `TimedOut` after the time that a stop may take.
    ArmStop,
    /// Do not.
    DisarmTimer,
    /// The scope is over.
    Release,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(
    machine: ScopeMachine,
    event: ScopeEvent,
    scope: &Scope,
    populated: bool,
) -> Option<(ScopeMachine, Vec<ScopeEffect>)> {
    use ScopeEffect::{ArmRuntime, DisarmTimer, Kill, Move, Release};
    use ScopeState as S;
    let noted = |cause| if machine.cause == Cause::Success { cause } else { machine.cause };
    let over = |cause: Cause| {
        let cause = noted(cause);
        let state = if cause == Cause::Success { S::Dead } else { S::Failed };
        (ScopeMachine { state, cause }, vec![DisarmTimer, Release])
    };
    let signal = |state, cause| {
        let step = if state == S::StopSigterm { KillStep::Terminate } else { KillStep::Kill };
        let covers = match scope.kill.mode {
            KillMode::ControlGroup | KillMode::Mixed => true,
            KillMode::Process | KillMode::None => false,
        };
        if populated && covers {
            let next = ScopeMachine { state, cause: noted(cause) };
            (next, vec![Kill(step), ScopeEffect::ArmStop])
        } else {
            over(cause)
        }
    };
    Some(match (event, machine.state) {
        (ScopeEvent::Start, S::Dead) => (ScopeMachine { state: S::Running, cause: Cause::Success }, vec![Move]),
        (ScopeEvent::Moved, S::Running) => (machine, vec![ArmRuntime]),
        (ScopeEvent::NotMoved, S::Running) => over(Cause::Resources),
        (ScopeEvent::Stop, S::Running) => signal(S::StopSigterm, Cause::Success),
        (ScopeEvent::OutOfMemory, S::Running) => match scope.oom_policy {
            OomPolicy::Continue => return None,
            OomPolicy::Stop => signal(S::StopSigterm, Cause::OomKill),
            OomPolicy::Kill => signal(S::StopSigkill, Cause::OomKill),
        },
        (ScopeEvent::TimedOut, S::Running) => signal(S::StopSigterm, Cause::Timeout),
        (ScopeEvent::TimedOut, S::StopSigterm) if scope.kill.send_sigkill => signal(S::StopSigkill, Cause::Timeout),
        (ScopeEvent::TimedOut, S::StopSigterm | S::StopSigkill) => over(Cause::Timeout),
        (ScopeEvent::GroupEmpty, S::Running | S::StopSigterm | S::StopSigkill) => over(Cause::Success),
        (ScopeEvent::ResetFailed, S::Failed) => (ScopeMachine::default(), vec![]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(events: &[ScopeEvent]) -> ScopeMachine {
        let scope = Scope::default();
        events.iter().fold(ScopeMachine::default(), |machine, event| {
            step(machine, *event, &scope, true).unwrap_or_else(|| panic!("{event:?} in {machine:?}")).0
        })
    }

    #[test]
    fn a_scope_lives_as_long_as_its_processes() {
        use ScopeEvent::{GroupEmpty, Moved, NotMoved, Start, Stop, TimedOut};
        assert_eq!(run(&[Start, Moved]).sub(), "running");
        assert_eq!(run(&[Start, Moved, GroupEmpty]).sub(), "dead");
        assert_eq!(run(&[Start, NotMoved]).cause, Cause::Resources);
        assert_eq!(run(&[Start, Moved, Stop]).sub(), "stop-sigterm");
        assert_eq!(run(&[Start, Moved, Stop, GroupEmpty]).sub(), "dead");
        assert_eq!(run(&[Start, Moved, Stop, TimedOut]).sub(), "stop-sigkill");
        let late = run(&[Start, Moved, TimedOut, GroupEmpty]);
        assert_eq!((late.sub(), late.cause), ("failed", Cause::Timeout));
    }

    #[test]
    fn what_follows_when_memory_ran_out_is_the_policy() {
        let running = ScopeMachine { state: ScopeState::Running, ..ScopeMachine::default() };
        let after = |oom_policy| {
            let scope = Scope { oom_policy, ..Scope::default() };
            step(running, ScopeEvent::OutOfMemory, &scope, true).map(|(machine, _)| (machine.sub(), machine.cause))
        };
        assert_eq!(after(OomPolicy::Continue), None);
        assert_eq!(after(OomPolicy::Stop), Some(("stop-sigterm", Cause::OomKill)));
        assert_eq!(after(OomPolicy::Kill), Some(("stop-sigkill", Cause::OomKill)));
    }

    #[test]
    fn nothing_is_signalled_that_the_settings_spare_or_that_is_gone() {
        let running = ScopeMachine { state: ScopeState::Running, ..ScopeMachine::default() };
        let spared = Scope {
            kill: ferrite_unit::kill::Kill { mode: KillMode::None, ..Default::default() },
            ..Default::default()
        };
        assert_eq!(step(running, ScopeEvent::Stop, &spared, true).unwrap().0.sub(), "dead");
        assert_eq!(step(running, ScopeEvent::Stop, &Scope::default(), false).unwrap().0.sub(), "dead");
    }
}
