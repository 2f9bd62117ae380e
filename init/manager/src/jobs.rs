//! Jobs: what is asked of a unit, how two wishes go together, how a job ends. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a job.
pub type JobId = u32;

/// A unit in the table of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub usize);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum JobKind {
    Start,
    VerifyActive,
    Stop,
    Reload,
    Restart,
}

impl JobKind {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Start => "start",
            JobKind::VerifyActive => "verify-active",
            JobKind::Stop => "stop",
            JobKind::Reload => "reload",
            JobKind::Restart => "restart",
        }
    }

    /// One job for both wishes; `None` when they contradict each other.
    pub fn merge(self, other: JobKind) -> Option<JobKind> {
        use JobKind::{Reload, Restart, Start, Stop, VerifyActive};
        Some(match (self, other) {
            (a, b) if a == b => a,
            (Start, VerifyActive) | (VerifyActive, Start) => Start,
            (Restart, Start | VerifyActive | Reload) | (Start | VerifyActive | Reload, Restart) => Restart,
            (Reload, Start | VerifyActive) | (Start | VerifyActive, Reload) => Reload,
            (Stop, Start | VerifyActive | Reload | Restart) | (Start | VerifyActive | Reload | Restart, Stop) => {
                return None;
            }
            (Start, Start) | (VerifyActive, VerifyActive) | (Stop, Stop) | (Reload, Reload) | (Restart, Restart) => {
                self
            }
        })
    }

    /// Must a job of this kind end before the job of a unit that is ordered after it may run? Stopping goes first.
    pub fn is_stopping(self) -> bool {
        matches!(self, JobKind::Stop | JobKind::Restart)
    }
}

/// systemd's active states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Active {
    #[default]
    Inactive,
    Failed,
    Activating,
    Active,
    Reloading,
    Deactivating,
}

impl Active {
    /// systemd's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Active::Inactive => "inactive",
            Active::Failed => "failed",
            Active::Activating => "activating",
            Active::Active => "active",
            Active::Reloading => "reloading",
            Active::Deactivating => "deactivating",
        }
    }

    /// Nothing of it runs.
    pub fn is_down(self) -> bool {
        matches!(self, Active::Inactive | Active::Failed)
    }

    /// It runs.
    pub fn is_up(self) -> bool {
        matches!(self, Active::Active | Active::Reloading)
    }

    /// Does a job of this kind have nothing to do?
    pub fn satisfies(self, kind: JobKind) -> bool {
        match kind {
            JobKind::Start | JobKind::VerifyActive => self.is_up(),
            JobKind::Stop => self.is_down(),
            JobKind::Reload | JobKind::Restart => false,
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum JobResult {
    Done,
    Canceled,
    Timeout,
    Failed,
    Dependency,
    Skipped,
    Invalid,
    Assert,
    Unsupported,
}

impl fmt::Display for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JobResult::Done => "done",
            JobResult::Canceled => "canceled",
            JobResult::Timeout => "timeout",
            JobResult::Failed => "failed",
            JobResult::Dependency => "dependency",
            JobResult::Skipped => "skipped",
            JobResult::Invalid => "invalid",
            JobResult::Assert => "assert",
            JobResult::Unsupported => "unsupported",
        })
    }
}

/// How a new job goes together with queued ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Mode {
    Fail,
    #[default]
    Replace,
    ReplaceIrreversibly,
    Isolate,
    IgnoreDependencies,
}

/// Must job `a` wait for job `b`? `a_after_b`: is a's unit ordered after b's (else it is ordered before it).
pub fn waits(a: JobKind, b: JobKind, a_after_b: bool) -> bool {
    // Of two ordered units the stopping one goes first; if neither stops, the earlier one does.
    if a_after_b { !a.is_stopping() } else { b.is_stopping() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use JobKind::{Reload, Restart, Start, Stop, VerifyActive};

    #[test]
    fn merging_is_symmetric_and_stops_contradict_everything() {
        let kinds = [Start, VerifyActive, Stop, Reload, Restart];
        for a in kinds {
            for b in kinds {
                assert_eq!(a.merge(b), b.merge(a));
                assert_eq!(a.merge(b).is_none(), a != b && (a == Stop || b == Stop));
            }
        }
        assert_eq!(Start.merge(Restart), Some(Restart));
    }

    #[test]
    fn starts_go_in_order_and_stops_in_reverse() {
        // a is ordered after b.
        assert!(waits(Start, Start, true) && !waits(Start, Start, false));
        assert!(!waits(Stop, Stop, true) && waits(Stop, Stop, false));
        // b stops, a starts after it: a waits; b starts, a stops: a goes first.
        assert!(waits(Start, Stop, true) && !waits(Stop, Start, true) && waits(Start, Stop, false));
    }
}
