//! `ferrite-login`: what a person sees before and after login, and the host keys of ssh.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use ferrite_notify::Notifier;

use crate::command::Arguments;

/// The program, by the name it is called by.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let socket = std::env::var_os("NOTIFY_SOCKET");
    let notifier = Notifier::new(socket.as_deref()).context("finding PID 1's socket");
    ferrite_cli::exit_with(notifier.and_then(|notifier| crate::command::run(&arguments, &notifier)))
}
