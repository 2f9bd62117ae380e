//! A terminal of its own for the command: a pty pair, raw mode on the caller's side, window sizes carried over.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

/// The pair and the caller's terminal settings, which come back when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    /// Our side.
    pub master: File,
    /// The command's side, until it was sent.
    pub slave: Option<OwnedFd>,
    saved: Termios,
}

/// Whether the caller sits at a terminal and sees the command's output there. In a pipeline the terminal belongs to the
/// other commands too: raw mode would spoil their lines.
pub fn is_interactive() -> bool {
    let stdin = std::io::stdin();
    // In the background (`sudo x &`) the terminal is not ours to set up: trying would stop us.
    let background = || rustix::termios::tcgetpgrp(&stdin).is_ok_and(|group| group != rustix::process::getpgrp());
    stdin.is_terminal() && std::io::stdout().is_terminal() && !background()
}

impl Terminal {
    /// Opens a pair like the terminal on standard input and puts that one into raw mode.
    pub fn open() -> Result<Self> {
        let stdin = std::io::stdin();
        let saved = tcgetattr(&stdin).context("reading the settings of the terminal")?;
        let pair = nix::pty::openpty(None, None).context("opening a pseudo terminal")?;
        tcsetattr(&pair.slave, OptionalActions::Now, &saved).context("setting up the pseudo terminal")?;
        let terminal = Self { master: File::from(pair.master), slave: Some(pair.slave), saved };
        terminal.copy_size();
        let mut raw = terminal.saved.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).context("putting the terminal into raw mode")?;
        Ok(terminal)
    }

    /// Gives the pair the window size of the caller's terminal; programs in it get SIGWINCH.
    pub fn copy_size(&self) {
        if let Ok(size) = tcgetwinsize(std::io::stdin()) {
            // A window whose size cannot be set is only less pretty.
            let _ = tcsetwinsize(self.master.as_fd(), size);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that went away.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.saved);
    }
}
