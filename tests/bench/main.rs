//! `ferrite-bench`: Ferrite beside its peers, measured in one run, printed as tables.
//!
//! Needs root, because the peers are installed by Debian's own tools, which run maintainer scripts.

mod cloudinit;
mod figures;
mod guest;
mod journal;
mod machines;
mod managers;
mod peer;
mod size;
mod tables;
mod updates;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

/// Measures Ferrite beside its peers.
#[derive(Parser)]
#[command(name = "ferrite-bench")]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Whole machines in QEMU, beside Debian trixie with systemd
    Machines(machines::Arguments),
    /// PID 1 in namespaces, beside systemd, s6 and runit
    Managers(managers::Arguments),
    /// journald and journalctl, beside those of the host's systemd
    Journal(journal::Arguments),
    /// Payloads and their installation, beside dd and tools for deltas
    Updates(updates::Arguments),
    /// ferrite-cloudinit, beside cloud-init of Debian trixie
    Cloudinit(cloudinit::Arguments),
    /// Runs a command and prints what it took (used by `cloudinit`)
    #[command(hide = true)]
    Cost(cloudinit::cost::Arguments),
    /// Installs one payload and prints what it took (used by `updates`)
    #[command(hide = true)]
    InstallPayload(updates::InstallArguments),
    /// Asks a manager until the input ends, and prints how long it did not answer (used by `managers`)
    #[command(hide = true)]
    Ask(managers::answers::Arguments),
}

fn main() -> ExitCode {
    if waiting::is_wanted() {
        waiting::wait();
    }
    ferrite_cli::exit_with(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(is_root(), "peers are installed by maintainer scripts, which need root: run this as root");
    match &arguments.part {
        Part::Machines(arguments) => machines::run(arguments),
        Part::Managers(arguments) => managers::run(arguments),
        Part::Journal(arguments) => journal::run(arguments),
        Part::Updates(arguments) => updates::run(arguments),
        Part::Cloudinit(arguments) => cloudinit::run(arguments),
        Part::Cost(arguments) => cloudinit::cost::run(arguments),
        Part::InstallPayload(arguments) => updates::install(arguments),
        Part::Ask(arguments) => managers::answers::ask(arguments),
    }
}

/// The whole path of a folder that is made if it is not there: useradd, chroot and mount want whole paths.
fn folder(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(path).with_context(|| format!("making '{}'", path.display()))?;
    path.canonicalize().with_context(|| format!("finding '{}'", path.display()))
}

/// Whether this process is root, told by who owns its own folder of /proc.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}
