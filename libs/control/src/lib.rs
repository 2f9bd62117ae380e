//! The control socket of PID 1: typed messages, their one-line encoding, and a blocking client.
//!
//! One JSON object a line, both ways, over `/run/ferrite/init.sock`. The messages and the codec are pure; `client` and
//! `descriptors` are the only parts that touch a socket. Every length has a named limit.

mod client;
mod codec;
mod descriptors;
mod properties;
mod quote;
mod reply;
mod request;
mod survey;
mod unit;

pub use client::{Client, ClientError};
pub use codec::{CodecError, LineBuffer, decode, encode};
pub use descriptors::{Received, receive, send_with_descriptors};
pub use properties::Properties;
pub use quote::quote_words;
pub use reply::{ErrorKind, JobEntry, JobOutcome, JobReport, Reply, UnitFile};
pub use request::{
    InjectedFault, JobMode, JobVerb, KillWhom, Request, RunRequest, ShutdownAction, TransientRequest, TransientUnit,
};
pub use survey::{Gap, UnitGaps, UnitTimes};
pub use unit::{CommandStatus, ConditionResult, ControlGroup, Enablement, GroupProcess, UnitDetails, UnitSummary};

/// Where PID 1 listens.
pub const SOCKET_PATH: &str = "/run/ferrite/init.sock";
/// The longest line a client may send: a `run` request carries a whole environment.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;
/// The longest line PID 1 may answer: a listing of some ten thousand units.
pub const MAX_REPLY_BYTES: usize = 8 * 1024 * 1024;
/// Most units one request may name.
pub const MAX_UNITS_PER_REQUEST: usize = 4096;
/// Most units of which one request may ask everything: PID 1 does nothing else meanwhile.
pub const MAX_UNITS_SHOWN: usize = 32;
/// Descriptors that go with `run`: standard input, output and error.
pub const RUN_DESCRIPTORS: usize = 3;
