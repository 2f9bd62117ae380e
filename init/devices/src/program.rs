//! The command line of `ferrite-devices`; by the names `modprobe` and `systemd-modules-load` it loads modules.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use ferrite_notify::Notifier;

use crate::{coldplug, modules, modules_load, monitor};

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

/// Loads kernel modules
///
/// Part of ferrite-devices. Removing modules and showing the configuration are not supported.
#[derive(Parser)]
#[command(name = "modprobe", version)]
struct Modprobe {
    /// Say nothing about an unknown module
    #[arg(short, long)]
    quiet: bool,
    /// Load every name given (always so)
    #[arg(short, long)]
    all: bool,
    /// Names of modules or aliases
    #[arg(required = true)]
    wanted: Vec<String>,
}

/// Loads the kernel modules that files and the kernel command line name
#[derive(Parser)]
#[command(name = "systemd-modules-load", version)]
struct ModulesLoad {
    /// Files to read; without any those of modules-load.d, and the kernel command line
    files: Vec<PathBuf>,
}

/// The program, by the name it is called by.
pub fn main() -> ExitCode {
    let root = Path::new("/");
    match ferrite_cli::called().as_str() {
        "systemd-modules-load" => ferrite_cli::exit_with(modules_load::modules_load(root, &ModulesLoad::parse().files)),
        "modprobe" => {
            let arguments = Modprobe::parse();
            match modules::modprobe(root, &arguments.wanted) {
                Err(_unknown) if arguments.quiet => ExitCode::from(ferrite_cli::EXIT_FAILURE),
                outcome => ferrite_cli::exit_with(outcome),
            }
        }
        _ => ferrite_cli::exit_with(act(Arguments::parse())),
    }
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    let root = Path::new("/");
    match arguments.command {
        Command::Coldplug => coldplug::coldplug(root),
        Command::Load { wanted } => modules::load(root, &wanted),
        Command::Monitor => {
            let socket = std::env::var_os("NOTIFY_SOCKET");
            let notifier = Notifier::new(socket.as_deref()).context("finding PID 1's socket")?;
            monitor::monitor(root, &notifier)
        }
    }
}
