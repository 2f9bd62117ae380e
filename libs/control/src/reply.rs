//! What PID 1 answers. Pure.
//!
//! On the wire: `"done"`, `{"units":[..]}`, `{"exit":0}`, `{"error":{"kind":"no-such-unit","message":"..."}}`.

use serde::{Deserialize, Serialize};

use crate::properties::Properties;
use crate::survey::{UnitGaps, UnitTimes};
use crate::unit::{Enablement, UnitDetails, UnitSummary};

/// One line from PID 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It was done; there is nothing to tell.
    Done,
    /// Answer to `ListUnits`, in name order.
    Units(Vec<UnitSummary>),
    /// Answer to `ListUnitFiles`, in name order.
    UnitFiles(Vec<UnitFile>),
    /// Answer to `ListJobs`, in id order.
    JobQueue(Vec<JobEntry>),
    /// Answer to `Show`.
    Unit(Box<UnitDetails>),
    /// Answer to `ShowSome`, in the order of the request.
    SomeUnits(Vec<UnitDetails>),
    /// Answer to `ShowManager`.
    Properties(Properties),
    /// Answer to `Times`, in name order.
    Times(Vec<UnitTimes>),
    /// Answer to `Gaps`, in name order.
    Gaps(Vec<UnitGaps>),
    /// Answer to `Job`, one a unit, in the order of the request.
    Jobs(Vec<JobReport>),
    /// Answer to `IsSystemRunning`: initializing, starting, running, degraded, maintenance or stopping.
    SystemState(String),
    /// Answer to `GetDefault`.
    Text(String),
    /// The command of `Run` was started with this process id.
    Started(i32),
    /// The command of `Run` ended with this exit status.
    Exit(i32),
    /// The command of `Run` was killed by this signal.
    Signal(i32),
    /// The request failed.
    Error {
        /// What kind of failure, for exit codes.
        kind: ErrorKind,
        /// Lower case, no full stop, names the thing.
        message: String,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The peer may not do this.
    AccessDenied,
    /// The line was no request, or a name in it is malformed.
    BadRequest,
    /// No unit of that name.
    NoSuchUnit,
    /// The unit is masked.
    UnitMasked,
    /// The unit's file has errors, or the unit cannot do this (no reload command...).
    UnitRefuses,
    /// Only another unit may start or stop it, or it does not allow to be isolated.
    OnlyByDependency,
    /// The jobs that it needs do not go together.
    TransactionFailed,
    /// A queued job would have to give way, and may not: a shutdown is running, for example.
    Destructive,
    /// PID 1 cannot do this in this version.
    NotSupported,
    /// Too many clients, units or bytes.
    LimitExceeded,
    /// Anything else, such as a command that could not be started.
    Failed,
}

/// How a job ended, in systemd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobOutcome {
    /// Queued, not finished (without `wait`).
    Queued,
    /// Done; also when there was nothing to do.
    Done,
    /// Another job took its place.
    Canceled,
    /// It took longer than the job may.
    Timeout,
    /// The unit failed.
    Failed,
    /// A unit it needs failed.
    Dependency,
    /// A condition says it does not apply, or it did not run (`try-restart`).
    Skipped,
    /// The unit cannot reload.
    Invalid,
    /// An assertion failed.
    Assert,
    /// The unit type cannot do this here.
    Unsupported,
    /// The unit is frozen.
    Frozen,
    /// It could not be queued: `message` says why.
    Refused,
}

/// What became of one job of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// The unit, with its full name.
    pub unit: String,
    /// How the job ended.
    pub outcome: JobOutcome,
    /// The unit's own `Result` when the job failed: `exit-code`, `signal`, `timeout`, `start-limit-hit`...
    #[serde(default)]
    pub unit_result: String,
    /// For `Refused`: which failure.
    #[serde(default)]
    pub refusal: Option<ErrorKind>,
    /// For `Refused`: why.
    #[serde(default)]
    pub message: String,
}

/// A job in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEntry {
    /// Its number.
    pub id: u32,
    /// Its unit.
    pub unit: String,
    /// start, stop, restart, reload, verify-active or nop.
    pub job: String,
    /// waiting or running.
    pub state: String,
    /// When it was queued, in microseconds since the kernel started; 0: not known.
    #[serde(default)]
    pub queued_us: u64,
    /// When it began to run; 0: it waits.
    #[serde(default)]
    pub began_us: u64,
}

/// A unit file on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFile {
    /// File name.
    pub name: String,
    /// Whether it starts at boot.
    pub enablement: Enablement,
    /// What the preset files say: enabled, disabled or empty.
    #[serde(default)]
    pub preset: String,
}
