//! `ferrite-slots`: shows and changes the flags of the two slots.

use std::process::ExitCode;

use clap::Parser;
use ferrite_update_engine::command::Arguments;

fn main() -> ExitCode {
    ferrite_cli::exit_with(ferrite_update_engine::command::run(&Arguments::parse()))
}
