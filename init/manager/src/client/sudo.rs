//! `sudo`: asks PID 1 to run a command as another user. No SUID bit: PID 1 checks who asks, by the kernel's word.
//!
//! The command gets the caller's three descriptors. If standard input is a terminal it gets a terminal of its own that
//! this program relays, so that it never shares one with the unprivileged caller.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use ferrite_control::{Client, ClientError, ErrorKind};

use super::Caller;
use super::accounts::{Account, account};
use super::relay::{self, Ended};
use super::sudo_options::{self, Action, Options};

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    let options = caller.words().and_then(|words| sudo_options::parse(words.get(1..).unwrap_or_default()));
    match options.and_then(|options| run(options, caller)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("sudo: {}", causes.join(": "));
            ExitCode::from(ferrite_cli::EXIT_FAILURE)
        }
    }
}

fn run(options: Options, caller: &Caller) -> Result<u8> {
    match options.action {
        Action::Help => {
            println!("{}", sudo_options::USAGE);
            return Ok(0);
        }
        Action::Usage => {
            eprintln!("{}", sudo_options::USAGE);
            return Ok(1);
        }
        Action::Forget => return Ok(0),
        Action::Validate | Action::Run => {}
    }
    let who = account(&nix::unistd::getuid().to_string()).context("finding out who is calling")?;
    let target = account(&options.user)?;
    let text = |(name, value): (&OsString, &OsString)| Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()));
    let environment: Vec<(String, String)> = caller.variables.iter().filter_map(text).collect();
    let cwd = std::env::current_dir().ok().and_then(|path| path.into_os_string().into_string().ok());
    let request = sudo_options::request(&options, &who, &target, &environment, cwd);
    let mut client = Client::connect(&caller.socket())?;
    let ended = relay::run(&mut client, request).map_err(|error| explain(error, &who))?;
    Ok(match ended {
        Ended::Exit(code) => u8::try_from(code & 0xff).unwrap_or(1),
        Ended::Signal(number) => u8::try_from(128 + (number & 0x7f)).unwrap_or(1),
    })
}

/// PID 1's refusal in words that help.
fn explain(error: anyhow::Error, caller: &Account) -> anyhow::Error {
    match error.downcast_ref::<ClientError>().and_then(ClientError::kind) {
        Some(ErrorKind::AccessDenied) => {
            anyhow!("{} is not in group sudo and may not run commands as another user", caller.name)
        }
        Some(_) | None => error,
    }
}
