//! `ferrite-login`: what a person sees before and after login, and the host keys of ssh.

use std::process::ExitCode;

use clap::Parser;
use ferrite_login::command::Arguments;

fn main() -> ExitCode {
    ferrite_cli::exit_with(ferrite_login::command::run(&Arguments::parse()))
}
