//! ferrite-networkd: the network daemon, and `wait-online`, which waits for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use ferrite_network::{Paths, run, wait_online};
use ferrite_notify::Notifier;

/// Configures every wired link by DHCP
///
/// Without a command it runs until SIGTERM. Addresses stay when it ends.
#[derive(Parser)]
#[command(name = "ferrite-networkd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Write the state of the links here
    #[arg(long, global = true, value_name = "FILE", default_value = "/run/ferrite/network")]
    report: PathBuf,
    /// Write the resolver configuration here
    #[arg(long, value_name = "FILE", default_value = "/run/resolv.conf")]
    resolv: PathBuf,
    /// Keep the leases in this folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ferrite/network")]
    leases: PathBuf,
    /// A name in this file is never replaced by one from DHCP
    #[arg(long, value_name = "FILE", default_value = "/etc/hostname")]
    hostname: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Wait until a link has an address and a default route
    WaitOnline {
        /// Fail after this many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
    },
}

fn main() -> ExitCode {
    ferrite_cli::exit_with(act(Arguments::parse()))
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Command::WaitOnline { timeout }) = arguments.command {
        let link = wait_online(&arguments.report, Duration::from_secs(timeout))?;
        if let (Some((address, prefix)), Some(gateway)) = (link.address, link.gateway) {
            println!("online: {} {address}/{prefix} via {gateway}", link.link);
        }
        return Ok(());
    }
    let notifier = Notifier::new(std::env::var_os("NOTIFY_SOCKET").as_deref()).context("finding PID 1's socket")?;
    let paths = Paths {
        leases: arguments.leases,
        report: arguments.report,
        resolv: arguments.resolv,
        hostname: arguments.hostname,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    runtime.block_on(run(paths, notifier))
}
