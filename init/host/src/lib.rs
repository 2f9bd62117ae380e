//! What Debian's packages expect of the host at boot besides a service manager: their files and folders (tmpfiles.d),
//! users and groups (sysusers.d), kernel variables (sysctl.d), time servers (timesyncd.conf), the random seed.
//!
//! The decisions are made in `ferrite-hostconf`; here files are read and the plans carried out. One surprising fact:
//! every path is resolved below the root as `chroot` would, so `--root` never reaches the machine that runs it.

mod account_files;
mod configuration;
mod facts;
mod options;
mod program;
mod random_seed;
mod sysctl;
mod sysusers;
mod time_sources;
mod tmpfiles;

use std::path::PathBuf;
use std::process::ExitCode;

pub use program::main;

use crate::options::{Given, Known};

/// What the program got from whoever started it.
#[derive(Debug, Default)]
pub struct Environment {
    /// `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// `$SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<String>,
    /// The arguments after the program's name.
    pub arguments: Vec<String>,
}

/// How a command ended, with systemd's exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything is as the files say.
    Done,
    /// Something failed.
    Failed,
    /// A line of a file is wrong.
    BadConfiguration,
    /// Something could not be made.
    CannotCreate,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::BadConfiguration => 65,
            Outcome::CannotCreate => 73,
        })
    }
}

/// One of the commands that this program is.
pub(crate) struct Command {
    name: &'static str,
    options: &'static [Known],
    help: &'static str,
    run: fn(&Given, &Environment) -> Result<Outcome, String>,
}

const COMMANDS: [Command; 5] =
    [tmpfiles::COMMAND, sysusers::COMMAND, sysctl::COMMAND, time_sources::COMMAND, random_seed::COMMAND];

/// Runs the command of this name.
pub fn run(name: &str, environment: &Environment) -> ExitCode {
    let outcome = command(name, environment).unwrap_or_else(|message| {
        eprintln!("{message}");
        Outcome::Failed
    });
    outcome.into()
}

fn command(name: &str, environment: &Environment) -> Result<Outcome, String> {
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let names = COMMANDS.map(|command| command.name).join(", ");
        return Err(format!("'{name}' is none of the commands of this program: {names}"));
    };
    let given = options::parse(name, command.options, &environment.arguments)?;
    if given.has("help") {
        print!("{}", command.help);
        return Ok(Outcome::Done);
    }
    if given.has("version") {
        println!("Ferrite {}", env!("CARGO_PKG_VERSION"));
        return Ok(Outcome::Done);
    }
    (command.run)(&given, environment)
}
