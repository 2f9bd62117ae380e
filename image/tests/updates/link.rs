//! Web servers on the loopback, and a link to them that breaks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A server that ends with its owner.
pub struct WebServer {
    child: Child,
    pub address: SocketAddr,
}

impl WebServer {
    /// `ferrite serve`.
    pub fn ferrite(folder: &Path) -> WebServer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrite"));
        command.arg("serve").arg(folder).args(["--listen", "127.0.0.1:0"]);
        WebServer::start(command, |line| line.strip_prefix("serving on http://")?.strip_suffix('/')?.parse().ok())
    }

    /// Python's, which knows no ranges.
    pub fn python(folder: &Path) -> WebServer {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]).current_dir(folder);
        command.stderr(Stdio::null());
        WebServer::start(command, |line| {
            let (_, rest) = line.split_once("http://")?;
            rest.split('/').next()?.parse().ok()
        })
    }

    fn start(mut command: Command, address: impl Fn(&str) -> Option<SocketAddr>) -> WebServer {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it has an output"));
        output.read_line(&mut line).expect("it says where it listens");
        let address = address(line.trim()).unwrap_or_else(|| panic!("no address in '{line}'"));
        WebServer { child, address }
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A link that breaks after so many bytes, so many times.
pub struct Link {
    pub address: SocketAddr,
    /// The first byte that each request for a payload asked for.
    pub asked: Arc<Mutex<Vec<u64>>>,
}

impl Link {
    pub fn new(server: SocketAddr, bytes: usize, breaks: usize) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        std::thread::spawn(move || {
            let mut left = breaks;
            for client in listener.incoming().flatten() {
                let limit = if left > 0 { bytes } else { usize::MAX };
                // One that breaks off by itself is what this link is for.
                if pass(client, server, limit, &noted).unwrap_or(false) {
                    left = left.saturating_sub(1);
                }
            }
        });
        Link { address, asked }
    }
}

/// Passes one request and its answer; whether it was for a payload.
fn pass(mut client: TcpStream, server: SocketAddr, limit: usize, asked: &Mutex<Vec<u64>>) -> std::io::Result<bool> {
    let mut head = Vec::new();
    let mut reader = BufReader::new(client.try_clone()?);
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(false);
        }
    }
    let text = String::from_utf8_lossy(&head).to_lowercase();
    let payload = text.lines().next().is_some_and(|line| line.contains(".fup"));
    let range = text.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    if payload {
        asked.lock().expect("nobody panicked").push(range.unwrap_or(0));
    }
    let mut upstream = TcpStream::connect(server)?;
    // One request a connection, so that the answer ends with it.
    let closing = String::from_utf8_lossy(&head).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    upstream.write_all(closing.as_bytes())?;
    let mut left = if payload { limit } else { usize::MAX };
    let mut buffer = [0; 4096];
    while left > 0 {
        let wanted = left.min(buffer.len());
        let read = upstream.read(&mut buffer[..wanted])?;
        if read == 0 {
            break;
        }
        client.write_all(&buffer[..read])?;
        left -= read;
    }
    Ok(payload)
}
