//! The connection to the other side. Every step has a deadline; a broken connection is made anew by the next try.
//!
//! HTTP tells that a batch was taken. A plain TCP connection does not: there, what the kernel took counts as taken, and
//! a connection that the other side has closed is noticed before the next batch.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::config::{Target, Way};

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const ANSWER_MAX: u64 = 64 * 1024;

/// The way to the other side.
#[derive(Debug)]
pub struct Wire {
    target: Target,
    stream: Option<TcpStream>,
}

impl Wire {
    /// Not connected yet.
    pub fn new(target: Target) -> Self {
        Self { target, stream: None }
    }

    /// Sends a batch; an error means that it is to be sent again.
    pub fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        let stream = match self.stream.take().filter(is_open) {
            Some(stream) => stream,
            None => connect(&self.target.address)?,
        };
        match &self.target.way {
            Way::Tcp => {
                (&stream).write_all(batch)?;
                self.stream = Some(stream);
            }
            Way::Http(path) => {
                if post(&stream, &self.target.address, path, batch)? {
                    self.stream = Some(stream);
                }
            }
        }
        Ok(())
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("'{address}' has no address"));
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_write_timeout(Some(ANSWER))?;
                stream.set_read_timeout(Some(ANSWER))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Has the other side not closed it? A syslog server says nothing.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let outcome = stream.peek(&mut byte);
    let is_blocking = stream.set_nonblocking(false).is_ok();
    is_blocking && matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// `true`: the connection may be used again.
fn post(mut stream: &TcpStream, host: &str, path: &str, batch: &[u8]) -> io::Result<bool> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        batch.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(batch)?;
    let mut answer = BufReader::new(stream.take(ANSWER_MAX));
    let status = line(&mut answer)?;
    let (mut length, mut is_kept) = (None, status.starts_with("HTTP/1.1 "));
    loop {
        let header = line(&mut answer)?.to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse::<u64>().ok(),
            Some(("connection", "close")) => is_kept = false,
            _ => {}
        }
    }
    let code = status.split(' ').nth(1).unwrap_or_default();
    if !code.starts_with('2') {
        return Err(io::Error::other(format!("the server answered '{status}'")));
    }
    // An answer without a length ends with the connection, which is not used again.
    let length = if code == "204" { Some(0) } else { length };
    let body = length.map_or(Ok(0), |length| io::copy(&mut answer.take(length), &mut io::sink()))?;
    Ok(is_kept && length == Some(body))
}

fn line(answer: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if answer.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}
