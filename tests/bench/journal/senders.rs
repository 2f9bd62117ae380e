//! Messages of the three sources, one system call each, as programs send them.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// How programs speak to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The native protocol, six fields.
    Native,
    /// syslog(3).
    Syslog,
    /// A line of the output of a service.
    Stream,
}

pub(crate) const SOURCES: [Source; 3] = [Source::Native, Source::Syslog, Source::Stream];

impl Source {
    /// `SYSLOG_IDENTIFIER=` of its messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Native => "bench-native",
            Self::Syslog => "bench-syslog",
            Self::Stream => "bench-stream",
        }
    }
}

/// Sends messages; waits where the daemon does not take them.
pub(crate) fn send(source: Source, sockets: &Path, messages: u64) -> anyhow::Result<()> {
    match source {
        Source::Native => datagrams(&sockets.join("socket"), messages, |number| {
            format!(
                "MESSAGE=This is message {number} of a program that has much to say\nPRIORITY=6\nREQUEST={number}\n\
                 SYSLOG_IDENTIFIER={}\nCODE_FILE=src/main.rs\nCODE_LINE=42\n",
                source.name()
            )
        }),
        Source::Syslog => datagrams(&sockets.join("dev-log"), messages, |number| {
            format!("<30>Nov 25 15:04:05 {}[77]: This is message {number} of a program", source.name())
        }),
        Source::Stream => {
            let mut stream = UnixStream::connect(sockets.join("stdout")).context("connecting a stream")?;
            write!(stream, "{}\nbench.service\n30\n1\n0\n0\n0\n", source.name())?;
            (0..messages).try_for_each(|number| {
                stream.write_all(format!("This is line {number} of a service\n").as_bytes()).context("writing a line")
            })
        }
    }
}

fn datagrams(path: &Path, messages: u64, text: impl Fn(u64) -> String) -> anyhow::Result<()> {
    let socket = UnixDatagram::unbound().context("making a socket")?;
    socket.connect(path).with_context(|| format!("connecting to '{}'", path.display()))?;
    (0..messages).try_for_each(|number| socket.send(text(number).as_bytes()).map(drop).context("sending a message"))
}

/// Asks the daemon to take all that was sent and make it durable, as `journalctl --sync` does.
pub(crate) struct Acknowledge {
    path: PathBuf,
}

impl Acknowledge {
    pub(crate) fn of(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns when it was done.
    pub(crate) fn wait(&self) -> anyhow::Result<()> {
        let mut socket = UnixStream::connect(&self.path).context("connecting to the daemon's control")?;
        socket.write_all(b"{\"method\":\"io.systemd.Journal.Synchronize\",\"parameters\":{}}\0")?;
        let mut answer = [0; 4096];
        let mut length = 0;
        while !answer[..length].contains(&0) {
            let count = socket.read(&mut answer[length..]).context("waiting for the daemon's answer")?;
            ensure!(count > 0, "the daemon did not answer");
            length += count;
        }
        let text = String::from_utf8_lossy(&answer[..length]);
        ensure!(!text.contains("error"), "the daemon refused to synchronise: {text}");
        Ok(())
    }
}
