//! The daemon: takes messages from four sources and makes an entry of each.
//!
//! One thread, one epoll, nothing waits: each source is read a bounded amount a turn, what was collected is written
//! once a turn. The sources turn bytes into fields with pure parsers; `keeper` adds what only the daemon knows, `store`
//! alone knows the files.

mod audit;
mod clock;
mod config;
mod context;
mod control;
mod event_loop;
mod file_store;
mod forward;
mod keeper;
mod kernel;
mod native;
mod rate;
mod sockets;
mod sources;
mod store;
mod stream;
mod syslog;
mod terminal;
mod wishes;

pub(crate) use clock::boot_id;
pub(crate) use control::{Order, method};

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use file_store::Handed;

/// Collects the messages of the kernel, of services and of syslog into /var/log/journal.
#[derive(Debug, Parser)]
#[command(name = "ferrite-journald", version)]
pub struct Options {
    /// Where the sockets are made.
    #[arg(long, value_name = "DIR", default_value = "/run/systemd/journal")]
    run_dir: PathBuf,
    /// The link to the syslog socket.
    #[arg(long, value_name = "PATH", default_value = "/dev/log")]
    dev_log: PathBuf,
    /// The kernel's log.
    #[arg(long, value_name = "PATH", default_value = "/dev/kmsg")]
    kmsg: PathBuf,
    /// Where the journal is written.
    #[arg(long, value_name = "DIR", default_value = crate::places::DISK)]
    log_dir: PathBuf,
    /// Where the journal is written as long as it cannot be on the disk.
    #[arg(long, value_name = "DIR", default_value = crate::places::MEMORY)]
    runtime_dir: PathBuf,
    /// Where PID 1 leaves what units want of their messages.
    #[arg(long, value_name = "DIR", default_value = "/run/systemd/units")]
    units_dir: PathBuf,
    /// The file with the id of the machine.
    #[arg(long, value_name = "PATH", default_value = crate::places::MACHINE_ID)]
    machine_id: PathBuf,
    /// The root below which journald.conf is looked for.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Messages of one unit in a while; more are dropped and counted. Goes before RateLimitBurst=.
    #[arg(long, value_name = "NUMBER")]
    rate_burst: Option<u32>,
}

/// What PID 1 says in the environment.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    handed: Handed,
    notify_socket: Option<OsString>,
    watchdog_us: Option<u64>,
}

/// The program: runs until SIGTERM.
pub fn main() -> ExitCode {
    ferrite_cli::exit_with(run())
}

fn run() -> Result<()> {
    let variable = |name: &str| std::env::var_os(name);
    let environment = Environment {
        handed: Handed {
            pid: variable("LISTEN_PID"),
            count: variable("LISTEN_FDS"),
            names: variable("LISTEN_FDNAMES"),
        },
        notify_socket: variable("NOTIFY_SOCKET"),
        watchdog_us: variable("WATCHDOG_USEC").and_then(|text| text.to_str()?.parse().ok()).filter(|us| *us > 0),
    };
    event_loop::run(&Options::parse(), environment)
}
