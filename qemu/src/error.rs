//! What can go wrong around a guest. Every message names the thing; the printer adds the source.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A failure of the host side of a guest.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// A program of the host is not installed.
    #[error("{program} is not installed (Debian and Ubuntu package: {package})")]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// The package that holds it.
        package: &'static str,
    },
    /// No UEFI firmware was found.
    #[error("no OVMF firmware found in {} (Debian and Ubuntu package: ovmf)", searched.join(", "))]
    MissingFirmware {
        /// The folders that were searched.
        searched: Vec<String>,
    },
    /// A file operation failed.
    #[error("{doing} '{}'", path.display())]
    File {
        /// What was being done, as `opening`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("starting {program}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed: {message}")]
    Failed {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
    /// QEMU ended before its monitor answered.
    #[error("QEMU ended at once: {message}")]
    EndedAtOnce {
        /// What QEMU said.
        message: String,
    },
    /// The monitor did not answer.
    #[error("the monitor of QEMU did not answer to {command} within {} s", deadline.as_secs())]
    MonitorSilent {
        /// The command.
        command: String,
        /// The limit.
        deadline: Duration,
    },
    /// The monitor refused a command.
    #[error("the monitor of QEMU refused {command}: {message}")]
    MonitorRefused {
        /// The command.
        command: String,
        /// Why.
        message: String,
    },
    /// The connection to the monitor is gone.
    #[error("QEMU is gone")]
    Gone,
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s", deadline.as_secs())]
    Deadline {
        /// What was waited for.
        what: String,
        /// The limit.
        deadline: Duration,
    },
    /// KVM was demanded and does not work.
    #[error("KVM does not work here: {reason}")]
    NoKvm {
        /// Why.
        reason: String,
    },
}

impl QemuError {
    /// Wraps the failure of a file operation.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
