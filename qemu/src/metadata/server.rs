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
/// The beginning of a JSON that is none, and bytes that are no UTF-8.
const GARBAGE: &[u8] = b"{\"droplet_id\": \xff\xfe\x00, \"\n\x1b[2J";

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
    let is_question = request.method != "PUT";
    let (status, body) = match behaviour {
        Behaviour::Status(status) => (status, b"trouble".to_vec()),
        Behaviour::Redirects => (302, Vec::new()),
        Behaviour::ForgetsTokens if is_question => (401, Vec::new()),
        Behaviour::GarbageBody if is_question => (200, GARBAGE.to_vec()),
        _ => answers::answer(&known.cloud, &request, &token),
    };
    request.status = if matches!(behaviour, Behaviour::Mute | Behaviour::Closes) { 0 } else { status };
    let location = format!("Location: {}\r\n", request.path);
    known.requests.push(request);
    drop(known);
    news.notify_all();
    let more = if behaviour == Behaviour::Redirects { location.as_str() } else { "" };
    let head =
        |length: usize| format!("HTTP/1.1 {status} .\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    // The client may have gone; what it asked for is written down already.
    let _ = write(stream, behaviour, &head, &body, shared);
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
    head: &dyn Fn(usize) -> String,
    body: &[u8],
    shared: &Mutex<Shared>,
) -> std::io::Result<()> {
    let whole = [head(body.len()).as_bytes(), body].concat();
    match behaviour {
        Behaviour::Well
        | Behaviour::Status(_)
        | Behaviour::GarbageBody
        | Behaviour::Redirects
        | Behaviour::ForgetsTokens => stream.write_all(&whole),
        Behaviour::Closes => Ok(()),
        Behaviour::Mute => {
            // Until the client has enough of it.
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.read(&mut [0; 1]).map(drop)
        }
        Behaviour::Slow(time) => {
            std::thread::sleep(time);
            stream.write_all(&whole)
        }
        Behaviour::Drips(pause) => drip(&stream, &whole, pause),
        Behaviour::DripsBody(pause) => {
            stream.write_all(head(body.len()).as_bytes())?;
            drip(&stream, body, pause)
        }
        Behaviour::Garbage => stream.write_all(b"\x00\xff garbage \xfe\r\n\r\n"),
        Behaviour::EndlessHeaders => endless(stream, b"HTTP/1.1 200 .\r\n", b"X-More: and more\r\n", shared),
        Behaviour::Endless => endless(stream, b"HTTP/1.1 200 .\r\nConnection: close\r\n\r\n", b"x", shared),
        Behaviour::Breaks => {
            stream.write_all(head(body.len() + 1000).as_bytes())?;
            stream.write_all(body)
        }
    }
}

fn drip(mut stream: &TcpStream, bytes: &[u8], pause: Duration) -> std::io::Result<()> {
    bytes.iter().try_for_each(|byte| {
        std::thread::sleep(pause);
        stream.write_all(&[*byte])
    })
}

/// Writes until the client or the service has gone.
fn endless(mut stream: TcpStream, start: &[u8], piece: &[u8], shared: &Mutex<Shared>) -> std::io::Result<()> {
    stream.write_all(start)?;
    let piece = piece.repeat(4096);
    while !shared.lock().unwrap_or_else(PoisonError::into_inner).ended {
        stream.write_all(&piece)?;
    }
    Ok(())
}
