//! The clients' side of the engine's socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::protocol::{LINE_BYTES_MAX, Operation, Reply, Request, Status};

/// An answer may take so long; one that waits for a change comes sooner.
const PATIENCE: Duration = Duration::from_secs(45);

/// A connection to the engine.
pub struct Talk {
    reader: BufReader<UnixStream>,
    path: PathBuf,
}

impl Talk {
    /// Connects.
    pub fn connect(path: &Path) -> anyhow::Result<Talk> {
        let stream = UnixStream::connect(path).with_context(|| {
            let path = path.display();
            format!("reaching the update engine on '{path}' (does it run? systemctl status update-engine)")
        })?;
        stream.set_read_timeout(Some(PATIENCE)).context("setting a deadline")?;
        Ok(Talk { reader: BufReader::new(stream), path: path.to_path_buf() })
    }

    /// One question, one answer.
    pub fn ask(&mut self, request: &Request) -> anyhow::Result<Reply> {
        let talking = || format!("talking to the update engine on '{}'", self.path.display());
        let mut line = serde_json::to_vec(request).with_context(talking)?;
        line.push(b'\n');
        self.reader.get_mut().write_all(&line).with_context(talking)?;
        let mut answer = String::new();
        (&mut self.reader).take(LINE_BYTES_MAX * 4).read_line(&mut answer).with_context(talking)?;
        serde_json::from_str(&answer).with_context(talking)
    }

    /// How things are, or how they are once they changed.
    pub fn status(&mut self, after: Option<u64>) -> anyhow::Result<Status> {
        match self.ask(&Request::Status { after })? {
            Reply::Status(status) => Ok(*status),
            Reply::Done(text) | Reply::Refused(text) => bail!("{text}"),
        }
    }

    /// Asks for something to be done; what the engine says to it.
    pub fn order(&mut self, request: &Request) -> anyhow::Result<String> {
        match self.ask(request)? {
            Reply::Done(text) => Ok(text),
            Reply::Refused(text) => bail!("{text}"),
            Reply::Status(_) => bail!("the update engine gave another answer than was asked for"),
        }
    }

    /// Asks for something and waits until the engine is at rest; `watch` sees each change.
    pub fn follow(&mut self, request: &Request, mut watch: impl FnMut(&Status)) -> anyhow::Result<Status> {
        self.order(request)?;
        let mut status = self.status(None)?;
        while matches!(status.operation, Operation::Checking | Operation::Downloading | Operation::Verifying) {
            watch(&status);
            status = self.status(Some(status.revision))?;
        }
        Ok(status)
    }
}
