//! ferrite-devices: the device manager.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use ferrite_notify::Notifier;

/// Loads modules, names disks and sets the permissions of devices
#[derive(Parser)]
#[command(name = "ferrite-devices", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Handle all devices that are there now
    Coldplug,
    /// Handle devices as they come and go
    Monitor,
    /// Load the modules for names or modaliases
    Load {
        /// Names of modules or modaliases of devices
        #[arg(required = true)]
        wanted: Vec<String>,
    },
}

fn main() -> ExitCode {
    ferrite_cli::exit_with(act(Arguments::parse()))
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    let root = Path::new("/");
    match arguments.command {
        Command::Coldplug => ferrite_devices::coldplug(root),
        Command::Load { wanted } => ferrite_devices::load(root, &wanted),
        Command::Monitor => {
            let socket = std::env::var_os("NOTIFY_SOCKET");
            let notifier = Notifier::new(socket.as_deref()).context("finding PID 1's socket")?;
            ferrite_devices::monitor(root, &notifier)
        }
    }
}
