//! The commands that administrators type: one program under many names. The table of contents.
//!
//! A command is chosen by the name it was called by, so links to one program are enough. Nothing here runs in PID 1.

mod arguments;
mod cat;
mod dependencies;
mod jobs;
mod links;
mod listing;
mod logs;
mod power;
mod processes;
mod show;
mod sizes;
mod status;
mod style;
mod systemctl;
mod unit_names;
mod verbs;

mod accounts;
mod relay;
mod sudo;
mod sudo_options;
mod terminal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use ferrite_control::SOCKET_PATH;
use ferrite_unit::zone::Zones;

/// Who called a command, and how.
pub(crate) struct Caller {
    /// The name of the program and its arguments.
    words: Vec<OsString>,
    variables: BTreeMap<OsString, OsString>,
}

impl Caller {
    /// The arguments as text, the program's name first.
    fn words(&self) -> Result<Vec<String>> {
        let text = |word: &OsString| {
            let shown = || anyhow!("argument '{}' is not valid UTF-8", word.to_string_lossy());
            word.to_str().map(str::to_owned).ok_or_else(shown)
        };
        self.words.iter().map(text).collect()
    }

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(&OsString::from(name))?.to_str()
    }

    /// Where PID 1 listens; that of a namespace (tests) listens elsewhere.
    fn socket(&self) -> PathBuf {
        self.variable("FERRITE_INIT_SOCKET").map_or_else(|| PathBuf::from(SOCKET_PATH), PathBuf::from)
    }

    /// The time zones of the caller.
    fn zones(&self) -> Zones {
        Zones::new(self.variable("TZ"), |path| std::fs::read(path).ok())
    }
}

/// Runs the command of the name this program was called by, or else of `name`.
pub fn main(name: &str) -> ExitCode {
    let caller = Caller { words: std::env::args_os().collect(), variables: std::env::vars_os().collect() };
    let called = caller.words.first().map(PathBuf::from);
    let called = called.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    command(called.unwrap_or_default()).or_else(|| command(name)).unwrap_or(systemctl::main)(&caller)
}

fn command(name: &str) -> Option<fn(&Caller) -> ExitCode> {
    Some(match name {
        "systemctl" | "reboot" | "poweroff" | "halt" | "shutdown" => systemctl::main,
        "sudo" => sudo::main,
        _ => return None,
    })
}
