//! The commands that administrators type: one program under many names. The table of contents.
//!
//! A command is chosen by the name it was called by, so links to one program are enough. Nothing here runs in PID 1.

mod analyze;
mod arguments;
mod cat;
mod cgls;
mod clean_or_freeze;
mod dependencies;
mod detect_virt;
mod edit;
mod enable;
mod escape;
mod group_tree;
mod help;
mod hostnamectl;
mod id128;
mod jobs;
mod journal_cat;
mod json;
mod listing;
mod logs;
mod manager_verbs;
mod notify;
mod options;
mod power;
mod processes;
mod show;
mod sizes;
mod status;
mod style;
mod systemctl;
mod table;
mod timedatectl;
mod triggers;
mod unit_names;
mod verb_table;
mod verbs;
mod vertical;
mod words;

mod accounts;
mod relay;
mod run;
mod run_options;
mod run_terminal;
mod run_unit;
mod sudo;
mod sudo_options;
mod terminal;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
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

    /// Does the terminal take more than ASCII? Without any word on it, it does.
    fn is_utf8(&self) -> bool {
        let locale =
            ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| self.variable(name).filter(|l| !l.is_empty()));
        locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
    }

    /// The time zones of the caller.
    fn zones(&self) -> Zones {
        Zones::new(self.variable("TZ"), |path| std::fs::read(path).ok())
    }
}

/// A command's name, and where it begins.
type Command = (&'static str, fn(&Caller) -> ExitCode);

const COMMANDS: [Command; 16] = [
    ("halt", systemctl::main),
    ("hostnamectl", hostnamectl::main),
    ("poweroff", systemctl::main),
    ("reboot", systemctl::main),
    ("shutdown", systemctl::main),
    ("sudo", sudo::main),
    ("systemctl", systemctl::main),
    ("systemd-analyze", analyze::main),
    ("systemd-cat", journal_cat::main),
    ("systemd-cgls", cgls::main),
    ("systemd-detect-virt", detect_virt::main),
    ("systemd-escape", escape::main),
    ("systemd-id128", id128::main),
    ("systemd-notify", notify::main),
    ("systemd-run", run::main),
    ("timedatectl", timedatectl::main),
];

/// The names of all commands.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _)| *name)
}

/// Runs the command of the name this program was called by; `systemctl` by any other.
pub fn main() -> ExitCode {
    let caller = Caller { words: std::env::args_os().collect(), variables: std::env::vars_os().collect() };
    let called = ferrite_cli::called();
    let command = COMMANDS.iter().find(|(name, _)| *name == called);
    command.map_or(systemctl::main as fn(&Caller) -> ExitCode, |(_, begin)| *begin)(&caller)
}

/// Writes to stdout; a reader that went away (`| head`) is no failure.
fn print(text: &str) -> Result<u8> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("writing to stdout"),
        Ok(()) | Err(_) => Ok(0),
    }
}

/// What a command tells about itself, if that is what it was asked for.
fn told(line: &options::Line, help: &str) -> Option<Result<u8>> {
    if line.has("help") {
        return Some(print(help));
    }
    line.has("version").then(print_version)
}

fn print_version() -> Result<u8> {
    print(&format!("ferrite {}\n", env!("CARGO_PKG_VERSION")))
}

/// The exit code of a command whose complaints are systemd's.
fn finish(outcome: Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(ferrite_cli::EXIT_FAILURE)
        }
    }
}
