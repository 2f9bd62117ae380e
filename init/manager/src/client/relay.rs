//! Starts the command through PID 1 and stays until it ends: signals forward, terminal bytes both ways.
//!
//! One poll loop. Signals arrive through a signalfd, so nothing happens between two system calls. Input that the
//! command does not read yet waits here, at most one buffer of it.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use ferrite_control::{Client, ClientError, Reply, Request, RunRequest};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::terminal::{Terminal, is_interactive};

const COPY_BYTES: usize = 16 * 1024;
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// Runs the command to its end.
pub fn run(client: &mut Client, mut request: RunRequest) -> Result<Ended> {
    let signals = catch_signals()?;
    client.set_timeout(None)?;
    if !is_interactive() {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        client.send_with(&Request::Run(request), &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        return Relay { client, signals, terminal: None, input: Vec::new(), stdin_open: false }.wait();
    }
    let mut terminal = Terminal::open()?;
    request.tty = true;
    send_terminal(client, request, &terminal)?;
    // Only the command may hold its side, so that reading ours ends with it.
    terminal.slave = None;
    Relay { client, signals, terminal: Some(terminal), input: Vec::new(), stdin_open: true }.wait()
}

fn catch_signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    FORWARDED.into_iter().chain([Signal::SIGWINCH]).for_each(|signal| set.add(signal));
    set.thread_block().context("blocking signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("opening a signalfd")
}

/// Each of the three descriptors that is a terminal becomes the command's own; files and pipes stay what they are.
fn send_terminal(client: &mut Client, request: RunRequest, terminal: &Terminal) -> Result<()> {
    let Some(slave) = terminal.slave.as_ref() else { bail!("the pseudo terminal is closed") };
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let files = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(|file| match nix::unistd::isatty(file) {
        Ok(true) => slave.as_fd(),
        Ok(false) | Err(_) => file,
    });
    client.send_with(&Request::Run(request), &files)?;
    Ok(())
}

struct Relay<'a> {
    client: &'a mut Client,
    signals: SignalFd,
    terminal: Option<Terminal>,
    /// Typed and not yet taken by the pseudo terminal.
    input: Vec<u8>,
    stdin_open: bool,
}

#[derive(Debug, Default)]
struct Ready {
    reply: bool,
    signal: bool,
    stdin: bool,
    output: bool,
    room: bool,
}

impl Relay<'_> {
    fn wait(mut self) -> Result<Ended> {
        if let Some(terminal) = &self.terminal {
            rustix::io::ioctl_fionbio(&terminal.master, true).context("setting up the pseudo terminal")?;
        }
        loop {
            let ready = self.poll()?;
            if ready.signal {
                self.forward_signals()?;
            }
            if ready.output {
                self.copy_output()?;
            }
            if ready.stdin {
                self.read_input()?;
            }
            if ready.room {
                self.write_input()?;
            }
            if ready.reply
                && let Some(ended) = self.read_reply()?
            {
                self.copy_output()?;
                return Ok(ended);
            }
        }
    }

    fn poll(&self) -> Result<Ready> {
        let stdin = io::stdin();
        let wants_input = self.stdin_open && self.input.is_empty() && self.terminal.is_some();
        let mut files = vec![
            PollFd::new(self.client.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(terminal) = &self.terminal {
            let room = if self.input.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
            files.push(PollFd::new(terminal.master.as_fd(), PollFlags::POLLIN | room));
        }
        if wants_input {
            files.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut files, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno).context("waiting for the command"),
        }
        let seen = |number: usize| files.get(number).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        Ok(Ready {
            reply: !seen(0).is_empty(),
            signal: !seen(1).is_empty(),
            output: !(seen(2) & !PollFlags::POLLOUT).is_empty(),
            room: seen(2).contains(PollFlags::POLLOUT),
            stdin: wants_input && !seen(3).is_empty(),
        })
    }

    fn forward_signals(&mut self) -> Result<()> {
        while let Some(info) = self.signals.read_signal().context("reading signals")? {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            match (&self.terminal, number == Signal::SIGWINCH as i32) {
                (Some(terminal), true) => terminal.copy_size(),
                (None, true) => {}
                (_, false) => self.client.send(&Request::Kill(number))?,
            }
        }
        Ok(())
    }

    /// Copies what the command wrote; when its side is closed by all, the terminal is given back.
    fn copy_output(&mut self) -> Result<()> {
        let mut bytes = [0; COPY_BYTES];
        while let Some(terminal) = self.terminal.as_mut() {
            match terminal.master.read(&mut bytes) {
                Ok(0) => self.terminal = None,
                Ok(length) => {
                    let mut stdout = io::stdout().lock();
                    stdout.write_all(bytes.get(..length).unwrap_or_default()).context("writing to the terminal")?;
                    stdout.flush().context("writing to the terminal")?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // EIO: nobody has the other side open any more.
                Err(_) => self.terminal = None,
            }
        }
        Ok(())
    }

    fn read_input(&mut self) -> Result<()> {
        let mut bytes = [0; COPY_BYTES];
        // Past the buffer of the standard library, which would keep bytes that poll cannot see.
        match rustix::io::read(io::stdin(), &mut bytes) {
            Ok(0) => self.stdin_open = false,
            Ok(length) => self.input.extend_from_slice(bytes.get(..length).unwrap_or_default()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // The terminal was hung up: the command learns it by SIGHUP.
            Err(_) => self.stdin_open = false,
        }
        self.write_input()
    }

    fn write_input(&mut self) -> Result<()> {
        let Some(terminal) = self.terminal.as_mut() else { return Ok(()) };
        match terminal.master.write(&self.input) {
            Ok(length) => {
                self.input.drain(..length.min(self.input.len()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.input.clear(),
        }
        Ok(())
    }

    fn read_reply(&mut self) -> Result<Option<Ended>> {
        self.client.fill()?;
        while let Some(reply) = self.client.buffered_reply()? {
            match reply {
                Reply::Started(_) => {}
                Reply::Exit(code) => return Ok(Some(Ended::Exit(code))),
                Reply::Signal(number) => return Ok(Some(Ended::Signal(number))),
                Reply::Error { kind, message } => bail!(ClientError::Refused { kind, message }),
                _ => bail!(ClientError::Unexpected),
            }
        }
        Ok(None)
    }
}
