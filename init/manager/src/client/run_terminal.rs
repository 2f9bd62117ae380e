//! A terminal for a service, and this one as its window: bytes both ways until the service ends.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrite_control::{Client, ClientError, Reply, Request, UnitDetails};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

const COPY_BYTES: usize = 16 * 1024;
/// `^]`, which typed three times within a second leaves the service to itself.
const LEAVE: u8 = 0x1d;
const LEAVE_TIMES: usize = 3;
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The pair; the service opens its side by the path.
pub struct Screen {
    master: File,
    /// Held until the service ends, so that what it wrote is not lost between two of its processes.
    slave: OwnedFd,
    path: String,
    saved: Option<Termios>,
    left_at: Vec<Instant>,
}

impl Screen {
    /// Makes a pair of the size of the caller's terminal.
    pub fn open() -> Result<Screen> {
        let pair = nix::pty::openpty(None, None).context("Failed to acquire pseudo tty")?;
        let path = nix::unistd::ttyname(&pair.slave).context("Failed to determine tty name")?;
        let stdin = io::stdin();
        let saved = if stdin.is_terminal() { tcgetattr(&stdin).ok() } else { None };
        if let Ok(size) = tcgetwinsize(&stdin) {
            // A window whose size cannot be set is only less pretty.
            let _ = tcsetwinsize(&pair.slave, size);
        }
        let path = path.to_string_lossy().into_owned();
        Ok(Screen { master: File::from(pair.master), slave: pair.slave, path, saved, left_at: Vec::new() })
    }

    /// Where the service finds its side.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Copies until the service has ended; what became of it.
    pub fn relay(mut self, client: &mut Client, unit: &str) -> Result<UnitDetails> {
        let mut set = SigSet::empty();
        [Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGINT].into_iter().for_each(|signal| set.add(signal));
        set.thread_block().context("blocking signals")?;
        let signals = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        if let Some(saved) = &self.saved {
            let mut raw = saved.clone();
            raw.make_raw();
            tcsetattr(io::stdin(), OptionalActions::Drain, &raw).context("putting the terminal into raw mode")?;
        }
        rustix::io::ioctl_fionbio(&self.master, true).context("setting up the pseudo terminal")?;
        client.send(&Request::WaitInactive { unit: unit.to_owned() })?;
        let mut stdin_open = true;
        loop {
            let stdin = io::stdin();
            let mut files = vec![
                PollFd::new(client.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.master.as_fd(), PollFlags::POLLIN),
            ];
            if stdin_open {
                files.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut files, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno).context("waiting for the service"),
            }
            let seen =
                |number: usize| files.get(number).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
            let (answer, signal, output, input) = (seen(0), seen(1), seen(2), seen(3));
            drop(files);
            if output {
                self.copy_output()?;
            }
            if input {
                stdin_open = self.copy_input()?;
            }
            if signal {
                self.take_signals(&signals)?;
            }
            if answer {
                client.fill()?;
                if let Some(reply) = client.buffered_reply()? {
                    self.copy_output()?;
                    return match reply {
                        Reply::Unit(details) => Ok(*details),
                        Reply::Error { kind, message } => bail!(ClientError::Refused { kind, message }),
                        _ => bail!(ClientError::Unexpected),
                    };
                }
            }
        }
    }

    fn take_signals(&self, signals: &SignalFd) -> Result<()> {
        while let Some(info) = signals.read_signal().context("reading signals")? {
            if i32::try_from(info.ssi_signo) != Ok(Signal::SIGWINCH as i32) {
                bail!("interrupted; the service runs on");
            }
            if let Ok(size) = tcgetwinsize(io::stdin()) {
                let _ = tcsetwinsize(&self.slave, size);
            }
        }
        Ok(())
    }

    fn copy_output(&mut self) -> Result<()> {
        let mut bytes = [0; COPY_BYTES];
        loop {
            match self.master.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(bytes.get(..length).unwrap_or_default()).context("writing to the terminal")?;
                    stdout.flush().context("writing to the terminal")?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Whether more may come.
    fn copy_input(&mut self) -> Result<bool> {
        let mut bytes = [0; COPY_BYTES];
        let length = match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(length) => length,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return Ok(true),
            Err(_) => 0,
        };
        let typed = bytes.get(..length).unwrap_or_default();
        if typed.is_empty() {
            // The end of the input, as a terminal has it.
            let _ = self.master.write(&[4]);
            return Ok(false);
        }
        let now = Instant::now();
        self.left_at.extend(typed.iter().filter(|byte| **byte == LEAVE).map(|_| now));
        self.left_at.retain(|then| now.duration_since(*then) < LEAVE_WITHIN);
        if self.left_at.len() >= LEAVE_TIMES {
            bail!("disconnected; the service runs on");
        }
        // What a full terminal does not take is lost, as when a person types too far ahead.
        let _ = self.master.write(typed);
        Ok(true)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // Nothing can be done about a terminal that went away.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, saved);
        }
    }
}
