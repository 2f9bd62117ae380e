//! A blocking client of PID 1's socket, with deadlines.
//!
//! `Client::ask` is one question, one answer. Errors say which socket and what to look at.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::codec::{CodecError, LineBuffer, decode, encode};
use crate::descriptors::{receive, send_with_descriptors};
use crate::{ErrorKind, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, Reply, Request};

/// How long an answer to a plain question may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
const READ_BYTES: usize = 16 * 1024;

/// A conversation with PID 1 that failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No connection.
    #[error("cannot reach PID 1 on {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("talking to PID 1 on {}", path.display())]
    Talk {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("PID 1 did not answer on {} within {} s", path.display(), timeout.as_secs())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// The deadline that passed.
        timeout: Duration,
    },
    /// PID 1 closed the connection without an answer.
    #[error("PID 1 closed the connection on {} without an answer", path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
    },
    /// What came is no answer.
    #[error("reading the answer of PID 1")]
    Codec(#[from] CodecError),
    /// PID 1 refused or failed.
    #[error("{message}")]
    Refused {
        /// What kind of failure.
        kind: ErrorKind,
        /// PID 1's words.
        message: String,
    },
    /// An answer to something else.
    #[error("PID 1 gave an answer of another kind than asked for")]
    Unexpected,
}

impl ClientError {
    /// The kind of failure, if PID 1 itself refused.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            ClientError::Refused { kind, .. } => Some(*kind),
            ClientError::Connect { .. }
            | ClientError::Talk { .. }
            | ClientError::Timeout { .. }
            | ClientError::Closed { .. }
            | ClientError::Codec(_)
            | ClientError::Unexpected => None,
        }
    }
}

/// A connection to PID 1.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
    buffer: LineBuffer,
}

impl Client {
    /// Connects to a socket, usually `SOCKET_PATH`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream =
            UnixStream::connect(path).map_err(|source| ClientError::Connect { path: path.to_path_buf(), source })?;
        let mut client = Self { stream, path: path.to_path_buf(), buffer: LineBuffer::new(MAX_REPLY_BYTES) };
        client.set_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(client)
    }

    /// How long an answer may take; `None`: for ever (jobs that are waited for).
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.stream
            .set_read_timeout(timeout)
            .and_then(|()| self.stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
            .map_err(|source| self.talk(source))
    }

    /// One question, one answer; a refusal by PID 1 is an error.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        self.send(request)?;
        match self.next_reply()? {
            Reply::Error { kind, message } => Err(ClientError::Refused { kind, message }),
            reply => Ok(reply),
        }
    }

    /// Sends a request and does not wait.
    pub fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        self.send_with(request, &[])
    }

    /// Sends a request together with open files.
    pub fn send_with(&mut self, request: &Request, files: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        let line = encode(request, MAX_REQUEST_BYTES)?;
        send_with_descriptors(&self.stream, &line, files).map_err(|source| self.talk(source))
    }

    /// Waits for the next line of PID 1.
    pub fn next_reply(&mut self) -> Result<Reply, ClientError> {
        loop {
            if let Some(reply) = self.buffered_reply()? {
                return Ok(reply);
            }
            self.fill()?;
        }
    }

    /// A reply that has arrived already and is complete.
    pub fn buffered_reply(&mut self) -> Result<Option<Reply>, ClientError> {
        match self.buffer.next_line()? {
            Some(line) => Ok(Some(decode(&line)?)),
            None => Ok(None),
        }
    }

    /// Reads once from the socket into the buffer: for callers that poll the descriptor themselves.
    pub fn fill(&mut self) -> Result<(), ClientError> {
        let mut bytes = [0; READ_BYTES];
        let received = receive(&self.stream, &mut bytes).map_err(|source| self.talk(source))?;
        if received.length == 0 {
            return Err(ClientError::Closed { path: self.path.clone() });
        }
        self.buffer.push(bytes.get(..received.length).unwrap_or_default());
        Ok(())
    }

    fn talk(&self, source: io::Error) -> ClientError {
        match (source.kind(), self.stream.read_timeout()) {
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Ok(Some(timeout))) => {
                ClientError::Timeout { path: self.path.clone(), timeout }
            }
            _ => ClientError::Talk { path: self.path.clone(), source },
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
