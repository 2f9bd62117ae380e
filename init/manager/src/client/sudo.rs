//! `sudo`: asks PID 1 to run a command as another user. No SUID bit: PID 1 checks who asks, by the kernel's word.
//!
//! The command gets the caller's three descriptors. If standard input is a terminal it gets a terminal of its own that
//! this program relays, so that it never shares one with the unprivileged caller.

mod accounts;
mod relay;
mod sudo_options;
mod terminal;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use ferrite_control::{Client, ClientError, ErrorKind, SOCKET_PATH};

use accounts::{Account, account};
use relay::Ended;
use sudo_options::{Action, Options};

/// Runs the command and gives its exit code.
pub fn main(words: impl Iterator<Item = OsString>, socket: Option<OsString>) -> ExitCode {
    let socket = socket.map_or_else(|| PathBuf::from(SOCKET_PATH), PathBuf::from);
    let words: Result<Vec<String>, OsString> = words.skip(1).map(OsString::into_string).collect();
    let options = match words {
        Ok(words) => sudo_options::parse(&words),
        Err(word) => Err(anyhow!("argument '{}' is not valid UTF-8", word.to_string_lossy())),
    };
    match options.and_then(|options| run(options, &socket)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("sudo: {}", causes.join(": "));
            ExitCode::from(ferrite_cli::EXIT_FAILURE)
        }
    }
}

fn run(options: Options, socket: &Path) -> Result<u8> {
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
    let caller = account(&nix::unistd::getuid().to_string()).context("finding out who is calling")?;
    let target = account(&options.user)?;
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let cwd = std::env::current_dir().ok().and_then(|path| path.into_os_string().into_string().ok());
    let request = sudo_options::request(&options, &caller, &target, &environment, cwd);
    let mut client = Client::connect(socket)?;
    let ended = relay::run(&mut client, request).map_err(|error| explain(error, &caller))?;
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
