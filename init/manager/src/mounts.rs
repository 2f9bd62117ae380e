//! The life of a mount as a state machine. Pure.

use serde::{Deserialize, Serialize};

use crate::machine::Exit;

/// Where a mount stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum MountState {
    #[default]
    Dead,
    Mounting,
    Mounted,
    Unmounting,
    Failed,
}

impl MountState {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self {
            MountState::Dead => "dead",
            MountState::Mounting => "mounting",
            MountState::Mounted => "mounted",
            MountState::Unmounting => "unmounting",
            MountState::Failed => "failed",
        }
    }
}

/// What happened to a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountEvent {
    /// A start job runs; is something mounted there already?
    Start {
        /// As the kernel says.
        mounted: bool,
    },
    /// A stop job runs.
    Stop,
    /// The helper process ended; is something mounted there now?
    Exited {
        /// How it ended.
        exit: Exit,
        /// As the kernel says.
        mounted: bool,
    },
    /// The helper process could not be made.
    NotMade,
    /// The helper process takes too long.
    TimedOut,
    /// An administrator forgives the failure.
    ResetFailed,
}

/// What is to be done for a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountEffect {
    /// Make the process that mounts.
    Mount,
    /// Make the process that unmounts.
    Unmount,
    /// Kill the process.
    Kill,
    /// Ask for `TimedOut` after the unit's time.
    ArmTimer,
    /// Do not.
    DisarmTimer,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(state: MountState, event: MountEvent) -> Option<(MountState, Vec<MountEffect>)> {
    use MountEffect::{ArmTimer, DisarmTimer, Kill, Mount, Unmount};
    Some(match (state, event) {
        (MountState::Dead | MountState::Failed, MountEvent::Start { mounted: true }) => (MountState::Mounted, vec![]),
        (MountState::Dead | MountState::Failed, MountEvent::Start { mounted: false }) => {
            (MountState::Mounting, vec![ArmTimer, Mount])
        }
        (MountState::Mounted, MountEvent::Stop) => (MountState::Unmounting, vec![ArmTimer, Unmount]),
        (MountState::Mounting, MountEvent::Stop) => (MountState::Failed, vec![DisarmTimer, Kill]),
        (MountState::Mounting, MountEvent::Exited { exit: Exit::Code(0), mounted: true }) => {
            (MountState::Mounted, vec![DisarmTimer])
        }
        (MountState::Mounting, MountEvent::Exited { .. }) => (MountState::Failed, vec![DisarmTimer]),
        (MountState::Unmounting, MountEvent::Exited { mounted: false, .. }) => (MountState::Dead, vec![DisarmTimer]),
        (MountState::Unmounting, MountEvent::Exited { .. }) => (MountState::Mounted, vec![DisarmTimer]),
        (MountState::Mounting | MountState::Unmounting, MountEvent::NotMade) => (MountState::Failed, vec![DisarmTimer]),
        (MountState::Mounting | MountState::Unmounting, MountEvent::TimedOut) => (MountState::Failed, vec![Kill]),
        (MountState::Failed, MountEvent::ResetFailed) => (MountState::Dead, vec![]),
        (
            MountState::Dead | MountState::Mounting | MountState::Mounted | MountState::Unmounting | MountState::Failed,
            _,
        ) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_already_is_not_mounted_again() {
        let (state, effects) = step(MountState::Dead, MountEvent::Start { mounted: true }).unwrap();
        assert_eq!((state, effects), (MountState::Mounted, vec![]));
    }

    #[test]
    fn a_busy_file_system_stays_mounted() {
        let exited = MountEvent::Exited { exit: Exit::Code(1), mounted: true };
        assert_eq!(step(MountState::Unmounting, exited).unwrap().0, MountState::Mounted);
    }
}
