//! The `ferrite` command of the build host.

mod commands {
    pub mod boards;
    pub mod build;
    pub mod keys;
    pub mod lock;
    pub mod payload;
    pub mod plan;
    pub mod publish;
    pub mod run;
    pub mod serve;
    pub mod ssh;
}

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, boot and log in to images of Ferrite
#[derive(Debug, Parser)]
#[command(name = "ferrite", version, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Build(commands::build::Build),
    Plan(commands::plan::Plan),
    Boards(commands::boards::Boards),
    Lock(commands::lock::LockCommand),
    Run(commands::run::Run),
    Ssh(commands::ssh::Ssh),
    Keys(commands::keys::Keys),
    Payload(commands::payload::PayloadCommand),
    Publish(commands::publish::Publish),
    Serve(commands::serve::Serve),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Build(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Boards(command) => command.run(),
        Command::Lock(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Ssh(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Payload(command) => command.run(),
        Command::Publish(command) => command.run(),
        Command::Serve(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| ferrite_cli::exit_with(Err(error)))
}
