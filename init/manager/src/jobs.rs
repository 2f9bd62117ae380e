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
    /// Restarts what runs; becomes one of the above, or nothing, when it is planned.
    TryRestart,
    /// Reloads what runs.
    TryReload,
    /// Reloads what runs, starts what does not.
    ReloadOrStart,
    /// Nothing: it only shows what it would bring along.
    Nop,
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
            JobKind::TryRestart => "try-restart",
            JobKind::TryReload => "try-reload",
            JobKind::ReloadOrStart => "reload-or-start",
            JobKind::Nop => "nop",
        }
    }

    /// What this wish means for a unit in that state: a kind that does not depend on it any more.
    pub fn collapse(self, active: Active) -> JobKind {
        let down = active.is_down() || active == Active::Deactivating;
        match self {
            JobKind::VerifyActive if active.is_up() => JobKind::Nop,
            JobKind::TryRestart | JobKind::TryReload if down => JobKind::Nop,
            JobKind::TryRestart => JobKind::Restart,
            JobKind::TryReload => JobKind::Reload,
            JobKind::ReloadOrStart if down => JobKind::Start,
            JobKind::ReloadOrStart => JobKind::Reload,
            other => other,
        }
    }

    /// One job for both wishes; `None` when they contradict each other.
    pub fn merge(self, other: JobKind) -> Option<JobKind> {
        use JobKind::{Nop, Reload, ReloadOrStart, Restart, Start, Stop, TryReload, TryRestart, VerifyActive};
        Some(match (self, other) {
            (a, b) if a == b => a,
            (Nop, kind) | (kind, Nop) => kind,
            (Stop, _) | (_, Stop) => return None,
            (Restart, _) | (_, Restart) => Restart,
            // These two are collapsed before they are merged.
            (TryRestart, _) | (_, TryRestart) => Restart,
            (ReloadOrStart, _) | (_, ReloadOrStart) | (Start, Reload | TryReload) | (Reload | TryReload, Start) => {
                ReloadOrStart
            }
            (Start, _) | (_, Start) => Start,
            (Reload | TryReload, _) | (_, Reload | TryReload) => Reload,
            (VerifyActive, VerifyActive) => VerifyActive,
        })
    }

    /// May this wish join a job that runs already? A reload in progress may have read the files before they changed.
    pub fn joins_late(self) -> bool {
        self != JobKind::Reload
    }

    /// Must a job of this kind end before the job of a unit that is ordered after it may run? Stopping goes first.
    pub fn is_stopping(self) -> bool {
        matches!(self, JobKind::Stop | JobKind::Restart | JobKind::TryRestart)
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
            JobKind::Nop => true,
            JobKind::Reload | JobKind::Restart | JobKind::TryRestart | JobKind::TryReload | JobKind::ReloadOrStart => {
                false
            }
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
    Frozen,
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
            JobResult::Frozen => "frozen",
        })
    }
}

/// How a job meets others; the same words stand in unit files.
pub use ferrite_unit::action::JobMode as Mode;

/// Must job `a` wait for job `b`? `a_after_b`: is a's unit ordered after b's (else it is ordered before it).
pub fn waits(a: JobKind, b: JobKind, a_after_b: bool) -> bool {
    if a == JobKind::Nop || b == JobKind::Nop {
        return false;
    }
    // Of two ordered units the stopping one goes first; if neither stops, the earlier one does.
    if a_after_b { !a.is_stopping() } else { b.is_stopping() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use JobKind::{Nop, Reload, ReloadOrStart, Restart, Start, Stop, VerifyActive};

    #[test]
    fn merging_is_symmetric_and_stops_contradict_everything() {
        let kinds = [Start, VerifyActive, Stop, Reload, Restart];
        for a in kinds {
            assert_eq!(a.merge(Nop), Some(a));
            for b in kinds {
                assert_eq!(a.merge(b), b.merge(a));
                assert_eq!(a.merge(b).is_none(), a != b && (a == Stop || b == Stop));
            }
        }
        let table = [
            (VerifyActive, Start, Start),
            (Reload, Start, ReloadOrStart),
            (Reload, VerifyActive, Reload),
            (Restart, Start, Restart),
            (Restart, VerifyActive, Restart),
            (Restart, Reload, Restart),
        ];
        for (a, b, merged) in table {
            assert_eq!(a.merge(b), Some(merged), "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_wish_that_depends_on_the_state_becomes_one_that_does_not() {
        let table = [
            (ReloadOrStart, Active::Active, Reload),
            (ReloadOrStart, Active::Failed, Start),
            (JobKind::TryRestart, Active::Activating, Restart),
            (JobKind::TryRestart, Active::Deactivating, Nop),
            (JobKind::TryReload, Active::Inactive, Nop),
            (VerifyActive, Active::Reloading, Nop),
            (VerifyActive, Active::Activating, VerifyActive),
        ];
        for (kind, active, collapsed) in table {
            assert_eq!(kind.collapse(active), collapsed, "{kind:?} {active:?}");
        }
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
