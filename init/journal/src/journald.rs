//! The daemon: takes messages from four sources and writes one line each.
//!
//! One thread, one epoll, nothing waits: each source is read a bounded amount a turn, what was collected is written
//! once a turn. The sources turn bytes into entries with pure parsers; `store` alone knows the files.

mod clock;
mod event_loop;
mod forward;
mod kernel;
mod native;
mod origin;
mod rate;
mod settings;
mod sockets;
mod store;
mod stream;
mod syslog;

pub(crate) use clock::boot_id;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

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
    /// Where the log is written.
    #[arg(long, value_name = "DIR", default_value = ferrite_control::log_files::LOG_DIRECTORY)]
    log_dir: PathBuf,
    /// Where PID 1 leaves what units want of their messages.
    #[arg(long, value_name = "DIR", default_value = "/run/systemd/units")]
    units_dir: PathBuf,
    /// Size of a log file; four of them are kept.
    #[arg(long, value_name = "BYTES", default_value_t = store::FILE_BYTES)]
    file_bytes: u64,
    /// Messages of one unit in half a minute; more are dropped and counted.
    #[arg(long, value_name = "NUMBER", default_value_t = rate::BURST)]
    rate_burst: u32,
}

/// Runs the daemon until SIGTERM.
pub fn main() -> Result<()> {
    event_loop::run(&Options::parse())
}
