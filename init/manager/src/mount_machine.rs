//! The life of a mount as a state machine. Pure. States and rules are systemd's.

use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;
use crate::machine::{Exit, KillStep};

/// So often is a place unmounted that has something mounted over it.
const RETRIES_MAX: u8 = 32;

/// Where a mount stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum MountState {
    #[default]
    Dead,
    Mounting,
    MountingDone,
    Mounted,
    Remounting,
    Unmounting,
    MountingSigterm,
    MountingSigkill,
    RemountingSigterm,
    RemountingSigkill,
    UnmountingSigterm,
    UnmountingSigkill,
    Failed,
}

/// A mount: its state and what the state alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MountMachine {
    /// Where it stands.
    pub state: MountState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
    /// Was the last reload in vain?
    pub reload_failed: bool,
    /// How often it was unmounted in this stop.
    pub retries: u8,
}

impl MountMachine {
    /// A mount that is there already.
    pub fn mounted() -> MountMachine {
        MountMachine { state: MountState::Mounted, ..MountMachine::default() }
    }

    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            MountState::Dead => "dead",
            MountState::Mounting => "mounting",
            MountState::MountingDone => "mounting-done",
            MountState::Mounted => "mounted",
            MountState::Remounting => "remounting",
            MountState::Unmounting => "unmounting",
            MountState::MountingSigterm => "mounting-sigterm",
            MountState::MountingSigkill => "mounting-sigkill",
            MountState::RemountingSigterm => "remounting-sigterm",
            MountState::RemountingSigkill => "remounting-sigkill",
            MountState::UnmountingSigterm => "unmounting-sigterm",
            MountState::UnmountingSigkill => "unmounting-sigkill",
            MountState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            MountState::Dead => Active::Inactive,
            MountState::Mounting => Active::Activating,
            MountState::MountingDone | MountState::Mounted => Active::Active,
            MountState::Remounting | MountState::RemountingSigterm | MountState::RemountingSigkill => Active::Reloading,
            MountState::Unmounting
            | MountState::MountingSigterm
            | MountState::MountingSigkill
            | MountState::UnmountingSigterm
            | MountState::UnmountingSigkill => Active::Deactivating,
            MountState::Failed => Active::Failed,
        }
    }
}

/// What happened to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// A reload job runs.
    Reload,
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
    /// The kernel's table of mounts changed here.
    TableChanged,
}

/// What is to be done for a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountEffect {
    /// Make the process that mounts.
    Mount,
    /// Make the process that mounts again with other options.
    Remount,
    /// Make the process that unmounts.
    Unmount,
    /// Signal the process.
    Kill(KillStep),
    /// Ask for `TimedOut` after the unit's time.
    ArmTimer,
    /// Do not.
    DisarmTimer,
    /// The mount is over.
    Release,
}

/// What the machine must know of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountView {
    /// Is something mounted there, as the kernel says?
    pub mounted: bool,
    /// `SendSIGKILL=`.
    pub kills: bool,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(machine: MountMachine, event: MountEvent, view: MountView) -> Option<(MountMachine, Vec<MountEffect>)> {
    let mut turn = Turn { machine, view, effects: Vec::new() };
    turn.take(event)?;
    Some((turn.machine, turn.effects))
}

struct Turn {
    machine: MountMachine,
    view: MountView,
    effects: Vec<MountEffect>,
}

impl Turn {
    fn take(&mut self, event: MountEvent) -> Option<()> {
        use MountState as S;
        match (event, self.machine.state) {
            (MountEvent::Start, S::Dead | S::Failed) => {
                self.machine = MountMachine::default();
                if self.view.mounted {
                    self.machine.state = S::Mounted;
                } else {
                    self.run(S::Mounting, MountEffect::Mount);
                }
            }
            (MountEvent::Stop, S::Mounted) => {
                self.machine.retries = 0;
                self.run(S::Unmounting, MountEffect::Unmount);
            }
            (MountEvent::Stop, S::Mounting | S::MountingDone) => self.signal(S::MountingSigterm, Cause::Success),
            (MountEvent::Stop, S::Remounting) => self.signal(S::RemountingSigterm, Cause::Success),
            (MountEvent::Reload, S::Mounted) => {
                self.machine.reload_failed = false;
                self.run(S::Remounting, MountEffect::Remount);
            }
            (MountEvent::StartLimitHit, S::Dead | S::Failed) => {
                self.machine.cause = Cause::StartLimitHit;
                self.machine.state = S::Failed;
            }
            (MountEvent::ResetFailed, S::Failed) => self.machine = MountMachine::default(),
            (MountEvent::Exited(exit), _) => return self.exited(Cause::of(exit)),
            (MountEvent::NotMade, _) => return self.not_made(),
            (MountEvent::TimedOut, _) => return self.timed_out(),
            (MountEvent::TableChanged, _) => return self.table_changed(),
            _ => return None,
        }
        Some(())
    }

    fn note(&mut self, cause: Cause) {
        if self.machine.cause == Cause::Success {
            self.machine.cause = cause;
        }
    }

    fn run(&mut self, state: MountState, effect: MountEffect) {
        self.machine.state = state;
        self.effects.extend([MountEffect::ArmTimer, effect]);
    }

    fn signal(&mut self, state: MountState, cause: Cause) {
        if matches!(state, MountState::RemountingSigterm | MountState::RemountingSigkill) {
            self.machine.reload_failed |= cause != Cause::Success;
        } else {
            self.note(cause);
        }
        let term = matches!(
            state,
            MountState::MountingSigterm | MountState::RemountingSigterm | MountState::UnmountingSigterm
        );
        let step = if term { KillStep::Terminate } else { KillStep::Kill };
        self.machine.state = state;
        self.effects.extend([MountEffect::Kill(step), MountEffect::ArmTimer]);
    }

    fn enter_mounted(&mut self, cause: Cause) {
        self.note(cause);
        self.machine.state = MountState::Mounted;
        self.effects.push(MountEffect::DisarmTimer);
    }

    fn enter_dead(&mut self, cause: Cause) {
        self.note(cause);
        let good = self.machine.cause == Cause::Success;
        self.machine.state = if good { MountState::Dead } else { MountState::Failed };
        self.effects.extend([MountEffect::DisarmTimer, MountEffect::Release]);
    }

    fn enter_dead_or_mounted(&mut self, cause: Cause) {
        if self.view.mounted { self.enter_mounted(cause) } else { self.enter_dead(cause) }
    }

    fn exited(&mut self, cause: Cause) -> Option<()> {
        use MountState as S;
        let good = cause == Cause::Success;
        match self.machine.state {
            S::Mounting | S::MountingDone if good && self.view.mounted => self.enter_mounted(Cause::Success),
            // It did not do what it said.
            S::Mounting | S::MountingDone if good => self.enter_dead(Cause::Protocol),
            S::Mounting | S::MountingDone | S::MountingSigterm | S::MountingSigkill => {
                self.enter_dead_or_mounted(cause)
            }
            S::Remounting | S::RemountingSigterm | S::RemountingSigkill => {
                self.machine.reload_failed |= !good;
                self.enter_dead_or_mounted(Cause::Success);
            }
            // Something was mounted over it.
            S::Unmounting if good && self.view.mounted && self.machine.retries < RETRIES_MAX => {
                self.machine.retries += 1;
                self.run(S::Unmounting, MountEffect::Unmount);
            }
            // Somebody else unmounted it at the same time.
            S::Unmounting | S::UnmountingSigterm | S::UnmountingSigkill
                if cause == Cause::ExitCode && !self.view.mounted =>
            {
                self.enter_dead(Cause::Success);
            }
            S::Unmounting | S::UnmountingSigterm | S::UnmountingSigkill => self.enter_dead_or_mounted(cause),
            S::Dead | S::Mounted | S::Failed => return None,
        }
        Some(())
    }

    fn not_made(&mut self) -> Option<()> {
        use MountState as S;
        match self.machine.state {
            S::Mounting => self.enter_dead_or_mounted(Cause::Resources),
            S::Remounting => {
                self.machine.reload_failed = true;
                self.enter_dead_or_mounted(Cause::Success);
            }
            S::Unmounting => self.enter_dead_or_mounted(Cause::Resources),
            _ => return None,
        }
        Some(())
    }

    fn timed_out(&mut self) -> Option<()> {
        use MountState as S;
        match self.machine.state {
            S::Mounting | S::MountingDone => self.signal(S::MountingSigterm, Cause::Timeout),
            S::Remounting => self.signal(S::RemountingSigterm, Cause::Timeout),
            S::Unmounting => self.signal(S::UnmountingSigterm, Cause::Timeout),
            S::MountingSigterm if self.view.kills => self.signal(S::MountingSigkill, Cause::Timeout),
            S::RemountingSigterm if self.view.kills => self.signal(S::RemountingSigkill, Cause::Timeout),
            S::UnmountingSigterm if self.view.kills => self.signal(S::UnmountingSigkill, Cause::Timeout),
            S::MountingSigterm
            | S::MountingSigkill
            | S::RemountingSigterm
            | S::RemountingSigkill
            | S::UnmountingSigterm
            | S::UnmountingSigkill => self.enter_dead_or_mounted(Cause::Timeout),
            S::Dead | S::Mounted | S::Failed => return None,
        }
        Some(())
    }

    fn table_changed(&mut self) -> Option<()> {
        use MountState as S;
        match (self.machine.state, self.view.mounted) {
            (S::Dead | S::Failed, true) => self.machine = MountMachine::mounted(),
            (S::Mounting, true) => self.machine.state = S::MountingDone,
            (S::MountingDone, false) => self.machine.state = S::Mounting,
            (S::Mounted, false) => self.enter_dead(Cause::Success),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MountEvent::{Exited, Reload, Start, Stop, TableChanged, TimedOut};

    const GOOD: MountEvent = Exited(Exit::Code(0));
    const BAD: MountEvent = Exited(Exit::Code(32));

    /// Events, each with whether something is mounted then.
    fn run(events: &[(MountEvent, bool)]) -> (MountMachine, Vec<MountEffect>) {
        let mut last = Vec::new();
        let machine = events.iter().fold(MountMachine::default(), |machine, (event, mounted)| {
            let view = MountView { mounted: *mounted, kills: true };
            let (after, effects) = step(machine, *event, view).unwrap_or_else(|| panic!("{event:?} in {machine:?}"));
            last = effects;
            after
        });
        (machine, last)
    }

    #[test]
    fn what_is_mounted_already_is_not_mounted_again() {
        assert_eq!(run(&[(Start, true)]), (MountMachine::mounted(), vec![]));
        assert_eq!(run(&[(TableChanged, true)]).0.sub(), "mounted");
        assert_eq!(run(&[(TableChanged, true), (TableChanged, false)]).0.sub(), "dead");
    }

    #[test]
    fn a_mount_is_there_when_the_kernel_says_so() {
        assert_eq!(run(&[(Start, false), (TableChanged, true)]).0.sub(), "mounting-done");
        assert_eq!(run(&[(Start, false), (TableChanged, true), (GOOD, true)]).0.sub(), "mounted");
        let (machine, _) = run(&[(Start, false), (GOOD, false)]);
        assert_eq!((machine.sub(), machine.cause), ("failed", Cause::Protocol));
        assert_eq!(run(&[(Start, false), (BAD, false)]).0.cause, Cause::ExitCode);
    }

    #[test]
    fn a_busy_file_system_stays_mounted_and_one_below_another_is_tried_again() {
        assert_eq!(run(&[(Start, true), (Stop, true), (BAD, true)]).0.sub(), "mounted");
        let (machine, effects) = run(&[(Start, true), (Stop, true), (GOOD, true)]);
        assert_eq!((machine.sub(), effects[1]), ("unmounting", MountEffect::Unmount));
        assert_eq!(run(&[(Start, true), (Stop, true), (BAD, false)]).0.sub(), "dead");
        assert_eq!(run(&[(Start, true), (Stop, true), (GOOD, false)]).0.sub(), "dead");
    }

    #[test]
    fn a_helper_that_hangs_is_ended() {
        let hung = [(Start, false), (TimedOut, false)];
        assert_eq!(run(&hung).0.sub(), "mounting-sigterm");
        let killed = run(&[&hung[..], &[(TimedOut, false), (Exited(Exit::Signal(9)), false)]].concat()).0;
        assert_eq!((killed.sub(), killed.cause), ("failed", Cause::Timeout));
        let (machine, _) = run(&[(Start, true), (Reload, true), (BAD, true)]);
        assert_eq!((machine.sub(), machine.reload_failed), ("mounted", true));
    }
}
