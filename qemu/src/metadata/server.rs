//! As much of HTTP as metadata services speak, and ways to speak it badly, which no server of the shelf offers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Behaviour, Request, Shared, answers};
use crate::error::QemuError;

/// A client that says nothing is left alone after this.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_HEAD_BYTES: u64 = 16 * 1024;

/// Listens; gives the address.
pub(crate) fn start(
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    news: Arc<Condvar>,
) -> Result<SocketAddr, QemuError> {
    let fail = |source| QemuError::File { doing: "listening on", path: address.to_string().into(), source };
    let listener = TcpListener::bind(address).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.lock().unwrap_or_else(PoisonError::into_inner).ended {
                return;
            }
            let (shared, news) = (Arc::clone(&shared), Arc::clone(&news));
            if let Ok(stream) = stream {
                std::thread::spawn(move || serve(stream, &shared, &news));
            }
        }
    });
    Ok(bound)
}

/// Answers one request. Whoever goes away before is no fault of ours.
fn serve(stream: TcpStream, shared: &Mutex<Shared>, news: &Condvar) {
    let Some(mut request) = read(&stream) else {
        return;
    };
    let mut known = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let known_count = known.requests.len();
    if request.method == "PUT" || known.expires_after.take_if(|count| *count <= known_count).is_some() {
        known.tokens += 1;
    }
    let token = format!("token-{}==", known.tokens);
    let behaviour = known.behaviour;
    let (status, body) = match behaviour {
        Behaviour::Status(status) => (status, b"trouble".to_vec()),
        Behaviour::Well | Behaviour::Mute | Behaviour::Garbage | Behaviour::Endless | Behaviour::Breaks => {
            answers::answer(&known.cloud, &request, &token)
        }
    };
    request.status = if behaviour == Behaviour::Mute { 0 } else { status };
    known.requests.push(request);
    drop(known);
    news.notify_all();
    // The client may have gone; what it asked for is written down already.
    let _ = write(stream, behaviour, status, &body, shared);
}

fn read(stream: &TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut lines = BufReader::new(stream.take(MAX_HEAD_BYTES)).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let line = lines.next()?.ok()?;
        if line.is_empty() {
            return Some(Request { method, path, headers, status: 0 });
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
}

fn write(
    mut stream: TcpStream,
    behaviour: Behaviour,
    status: u16,
    body: &[u8],
    shared: &Mutex<Shared>,
) -> std::io::Result<()> {
    let head = |length: usize| format!("HTTP/1.1 {status} .\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    match behaviour {
        Behaviour::Well | Behaviour::Status(_) => {
            stream.write_all(head(body.len()).as_bytes())?;
            stream.write_all(body)
        }
        Behaviour::Mute => {
            // Until the client has enough of it.
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read(&mut [0; 1]).map(drop)
        }
        Behaviour::Garbage => stream.write_all(b"\x00\xff garbage \xfe\r\n\r\n"),
        Behaviour::Endless => {
            stream.write_all(b"HTTP/1.1 200 .\r\nConnection: close\r\n\r\n")?;
            while !shared.lock().unwrap_or_else(PoisonError::into_inner).ended {
                stream.write_all(&[b'x'; 64 * 1024])?;
            }
            Ok(())
        }
        Behaviour::Breaks => {
            stream.write_all(head(body.len() + 1000).as_bytes())?;
            stream.write_all(body)
        }
    }
}
