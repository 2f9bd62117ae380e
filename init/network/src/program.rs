//! The command line of `ferrite-networkd` and of `wait-online`, which waits for it; by the name `networkctl` that of
//! its client.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use ferrite_notify::Notifier;

use crate::daemon::{Paths, run};
use crate::networkctl::{Arguments as NetworkctlArguments, networkctl};
use crate::online::{Wait, wait_online};

/// Configures links as .network, .netdev and .link files say
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
    /// Write time servers for chrony here
    #[arg(long, value_name = "FILE", default_value = "/run/chrony-dhcp/ferrite.sources")]
    time_sources: PathBuf,
    /// Read the files of links below this folder
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Read the kernel command line from this file
    #[arg(long, value_name = "FILE", default_value = "/proc/cmdline")]
    command_line: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Wait until the links that are needed are configured
    WaitOnline {
        /// Fail after this many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        timeout: u64,
        /// Wait for this link only; may be given several times
        #[arg(short, long, value_name = "LINK")]
        interface: Vec<String>,
        /// One link is enough
        #[arg(long)]
        any: bool,
    },
}

/// The program, by the name it is called by.
pub fn main() -> ExitCode {
    if ferrite_cli::called() == "networkctl" {
        return ferrite_cli::exit_with(networkctl(&NetworkctlArguments::parse()));
    }
    ferrite_cli::exit_with(act(Arguments::parse()))
}

fn act(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Command::WaitOnline { timeout, interface, any }) = arguments.command {
        let wait = Wait { timeout: Duration::from_secs(timeout), links: interface, any };
        println!("online: {}", wait_online(&arguments.report.with_extension("json"), &wait)?);
        return Ok(());
    }
    let notifier = Notifier::new(std::env::var_os("NOTIFY_SOCKET").as_deref()).context("finding PID 1's socket")?;
    let paths = Paths {
        root: arguments.root,
        command_line: arguments.command_line,
        leases: arguments.leases,
        report: arguments.report,
        resolv: arguments.resolv,
        hostname: arguments.hostname,
        time_sources: arguments.time_sources,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting")?;
    runtime.block_on(run(paths, notifier))
}
