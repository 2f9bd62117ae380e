//! `ferrite ssh`: logs in to the machine that `ferrite run` has started.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use ferrite_qemu::session::StateFolder;
use ferrite_qemu::ssh::SshTarget;

use super::run::state_base;

/// Log in to the machine that `ferrite run` has started
#[derive(Debug, Args)]
pub struct Ssh {
    /// Board of the machine, or image-NAME for a machine run with --image
    #[arg(long, default_value = "qemu")]
    board: String,
    /// Command to run instead of a shell
    #[arg(last = true)]
    command: Vec<String>,
}

impl Ssh {
    /// Becomes the ssh client; returns only when that fails.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let state = StateFolder::open(&state_base(), &self.board)?;
        let Some(session) = state.session()? else {
            bail!("no machine of board {0} runs: start one with `ferrite run --board {0}`", self.board);
        };
        let (port, known_hosts) = (session.port, session.known_hosts);
        let mut command = match session.key {
            Some(key) => SshTarget { port, key, known_hosts, shared_connection: None }.command(60)?,
            None => {
                let mut command = Command::new("ssh");
                command.args(["-p", &port.to_string(), "core@127.0.0.1"]);
                command
            }
        };
        let failed = command.args(&self.command).exec();
        Err(failed).context("starting ssh")
    }
}
