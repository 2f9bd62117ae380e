//! What the engine and its clients say to each other: one JSON object a line, both ways. Pure.

use serde::{Deserialize, Serialize};

use crate::store::Blocked;

/// Most bytes of a line.
pub const LINE_BYTES_MAX: u64 = 64 * 1024;

/// A client's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How things are; with a revision, as soon as they are not as in that one any more, or after a while.
    Status {
        /// The revision that the client has seen.
        #[serde(default)]
        after: Option<u64>,
    },
    /// Look at the server, install nothing.
    Check,
    /// Look at the server and install what there is.
    Update,
    /// Install this file of the machine.
    Install {
        /// Its path.
        path: String,
    },
    /// Stop what is under way, give up what waits for a restart.
    Reset,
    /// Back to the other slot, with a restart.
    Rollback,
    /// Forget that a release failed.
    Unblock {
        /// `None`: all of them.
        #[serde(default)]
        serial: Option<u64>,
    },
    /// Restart into what was installed.
    Reboot,
    /// Not yet.
    Defer {
        /// For so long.
        seconds: u64,
    },
    /// `ferrite-slots` changed the flags.
    SlotsChanged,
}

impl Request {
    /// Whether everybody may ask.
    pub fn is_read_only(&self) -> bool {
        match self {
            Request::Status { .. } => true,
            Request::Check
            | Request::Update
            | Request::Install { .. }
            | Request::Reset
            | Request::Rollback
            | Request::Unblock { .. }
            | Request::Reboot
            | Request::Defer { .. }
            | Request::SlotsChanged => false,
        }
    }
}

/// The engine's line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// How things are.
    Status(Box<Status>),
    /// It was done, or begun.
    Done(String),
    /// It was not, for this reason.
    Refused(String),
}

/// What the engine is at, in update_engine's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Nothing.
    #[default]
    #[serde(rename = "UPDATE_STATUS_IDLE")]
    Idle,
    /// The server is asked.
    #[serde(rename = "UPDATE_STATUS_CHECKING_FOR_UPDATE")]
    Checking,
    /// There is one, which nobody asked to install.
    #[serde(rename = "UPDATE_STATUS_UPDATE_AVAILABLE")]
    Available,
    /// A slot is written.
    #[serde(rename = "UPDATE_STATUS_DOWNLOADING")]
    Downloading,
    /// It is read back.
    #[serde(rename = "UPDATE_STATUS_VERIFYING")]
    Verifying,
    /// A release waits for the restart.
    #[serde(rename = "UPDATE_STATUS_UPDATED_NEED_REBOOT")]
    NeedReboot,
}

impl Operation {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Operation::Idle => "UPDATE_STATUS_IDLE",
            Operation::Checking => "UPDATE_STATUS_CHECKING_FOR_UPDATE",
            Operation::Available => "UPDATE_STATUS_UPDATE_AVAILABLE",
            Operation::Downloading => "UPDATE_STATUS_DOWNLOADING",
            Operation::Verifying => "UPDATE_STATUS_VERIFYING",
            Operation::NeedReboot => "UPDATE_STATUS_UPDATED_NEED_REBOOT",
        }
    }
}

/// A slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlotStatus {
    /// `a` or `b`.
    pub slot: String,
    /// good, trying, failed, empty or unknown.
    pub state: String,
    /// The version in it, as far as known.
    pub version: Option<String>,
    /// Its serial, as far as known.
    pub serial: Option<u64>,
    /// Whether it runs.
    pub running: bool,
    /// Whether the boot loader takes it next.
    pub next: bool,
}

/// How things are. Times are seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Grows with every change.
    pub revision: u64,
    /// What the engine is at.
    pub operation: Operation,
    /// Of the install under way, 0 to 1.
    pub progress: f64,
    /// Why there are no updates.
    pub off: Option<String>,
    /// Product and board.
    pub board: String,
    /// What runs.
    pub version: String,
    /// Its serial.
    pub serial: u64,
    /// Both slots.
    pub slots: Vec<SlotStatus>,
    /// The channel.
    pub group: String,
    /// Where it is.
    pub server: Option<String>,
    /// Number of the newest key set that is trusted.
    pub key_set: Option<u64>,
    /// Number of the last channel document that was believed.
    pub channel_number: u64,
    /// The last time the server was asked.
    pub last_check: Option<u64>,
    /// The last time it had something that could be believed.
    pub last_success: Option<u64>,
    /// When it is asked next.
    pub next_check: Option<u64>,
    /// What the last check or install came to.
    pub outcome: Option<String>,
    /// Why the last check or install failed.
    pub error: Option<String>,
    /// The channel document has expired: whoever publishes it has to sign it again.
    pub stale: bool,
    /// Release that is there, under way, or waits for the restart.
    pub new_version: Option<String>,
    /// Its serial.
    pub new_serial: Option<u64>,
    /// Bytes of its payload.
    pub new_size: u64,
    /// REBOOT_STRATEGY.
    pub strategy: String,
    /// The reboot window.
    pub window: Option<String>,
    /// Whether a release waits for the restart.
    pub reboot_pending: bool,
    /// When the machine restarts by itself.
    pub reboot_at: Option<u64>,
    /// Why it does not restart.
    pub reboot_held: Option<String>,
    /// The lock of the cluster, if this machine holds it.
    pub lock: Option<String>,
    /// Nothing below this serial is installed.
    pub floor: u64,
    /// Releases that failed here.
    pub blocked: Vec<Blocked>,
    /// The last fallback of this machine, in words.
    pub fallback: Option<String>,
    /// Faults of the configuration.
    pub faults: Vec<String>,
}
