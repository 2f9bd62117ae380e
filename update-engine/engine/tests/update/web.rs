//! A web server for a folder, with ranges, that can break, stop short, go on for ever and be slow. Each connection is
//! for one request. It notes what it was asked and what it sent.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is wrong with answers for payloads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The connection breaks after so many bytes.
    BreaksAfter(usize),
    /// The file seems to end here.
    Short(usize),
    /// Behind the end comes more, for ever.
    Endless,
    /// Bytes a tenth of a second.
    Slow(usize),
    /// Bytes a twentieth of a second, and the connection breaks after so many.
    SlowAndBreaks(usize, usize),
    /// The first answer breaks after so many bytes, and what is asked for after that comes from `FILE.other`.
    Changes(usize),
    /// Everything is at another server.
    Moved(SocketAddr),
    /// Everything is said to be compressed.
    Encoded,
    /// Nothing is said to have changed.
    NotModified,
    /// Nobody knows ranges here.
    NoRanges,
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    /// First byte that was asked for.
    pub from: u64,
    /// Bytes of the content that were sent.
    pub sent: u64,
}

pub struct Web {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    fault: Arc<Mutex<Fault>>,
    /// What takes the place of the fault when a payload was asked for.
    after: Arc<Mutex<Option<Fault>>>,
}

impl Web {
    pub fn new(folder: &Path) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let fault = Arc::new(Mutex::new(Fault::None));
        let web = Web { address, asked: Arc::default(), fault, after: Arc::default() };
        let (folder, asked, fault) = (folder.to_path_buf(), web.asked.clone(), web.fault.clone());
        let after = web.after.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (folder, asked) = (folder.clone(), asked.clone());
                let (setting, after) = (fault.clone(), after.clone());
                let fault = *fault.lock().expect("nobody panicked");
                std::thread::spawn(move || {
                    // A client that goes away early is the client's business.
                    drop(answer(client, &folder, fault, &asked));
                    let payload = asked.lock().expect("nobody panicked").iter().any(|one| one.path.ends_with(".fup"));
                    let next = payload.then(|| after.lock().expect("nobody panicked").take()).flatten();
                    if let Some(next) = next {
                        *setting.lock().expect("nobody panicked") = next;
                    }
                });
            }
        });
        web
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().expect("nobody panicked") = fault;
    }

    /// Another fault, once a payload was asked for.
    pub fn set_after_payload(&self, fault: Fault) {
        *self.after.lock().expect("nobody panicked") = Some(fault);
    }

    /// What was asked since the last call.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("nobody panicked"))
    }
}

fn answer(mut client: TcpStream, folder: &Path, fault: Fault, asked: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut head = Vec::new();
    let mut reader = BufReader::new(client.try_clone()?);
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split_whitespace().nth(1).unwrap_or("/").to_string();
    let lower = head.to_lowercase();
    let range = lower.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
    let range = range.filter(|_| fault != Fault::NoRanges);
    let from: u64 = range.unwrap_or(0);
    let index = {
        let mut asked = asked.lock().expect("nobody panicked");
        asked.push(Asked { path: path.clone(), from, sent: 0 });
        asked.len() - 1
    };
    let mut file: PathBuf = folder.join(path.trim_start_matches('/'));
    match fault {
        Fault::Moved(other) => {
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{other}{path}\r\ncontent-length: 0\r\n");
            return client.write_all(format!("{answer}connection: close\r\n\r\n").as_bytes());
        }
        Fault::NotModified => return client.write_all(b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n"),
        Fault::Changes(_) if from > 0 => file.as_mut_os_string().push(".other"),
        _ => {}
    }
    let Ok(bytes) = fs::read(&file) else {
        return client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let payload = path.ends_with(".fup");
    let end = match fault {
        Fault::Short(length) if payload => length.min(bytes.len()),
        _ => bytes.len(),
    };
    let content = bytes.get(from as usize..end).unwrap_or_default();
    let endless = payload && fault == Fault::Endless;
    let mut answer = match range {
        Some(from) => {
            format!("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{end}\r\n", end.max(1) - 1)
        }
        None => "HTTP/1.1 200 OK\r\n".to_string(),
    };
    if !endless {
        answer.push_str(&format!("content-length: {}\r\n", content.len()));
    }
    let tag = if matches!(fault, Fault::Changes(_)) && from > 0 { "later" } else { "first" };
    answer.push_str(&format!("etag: \"{tag}\"\r\n"));
    if fault == Fault::Encoded {
        answer.push_str("content-encoding: gzip\r\n");
    }
    client.write_all(format!("{answer}connection: close\r\n\r\n").as_bytes())?;
    let fault = if payload { fault } else { Fault::None };
    let note = |sent: usize| {
        let mut asked = asked.lock().expect("nobody panicked");
        asked.get_mut(index).into_iter().for_each(|one| one.sent += sent as u64);
    };
    send(&mut client, content, fault, from, note)?;
    if endless {
        // Until the client hangs up.
        std::io::copy(&mut std::io::repeat(0), &mut client)?;
    }
    Ok(())
}

/// Sends content as fast and as far as the fault allows.
fn send(client: &mut TcpStream, content: &[u8], fault: Fault, from: u64, note: impl Fn(usize)) -> io::Result<()> {
    let limit = match fault {
        Fault::BreaksAfter(limit) | Fault::SlowAndBreaks(_, limit) => limit,
        Fault::Changes(limit) if from == 0 => limit,
        _ => content.len(),
    };
    let (step, pause) = match fault {
        Fault::Slow(step) => (step, 100),
        Fault::SlowAndBreaks(step, _) => (step, 50),
        _ => (8192, 0),
    };
    for piece in content.get(..limit.min(content.len())).unwrap_or_default().chunks(step) {
        client.write_all(piece)?;
        note(piece.len());
        // This is what makes a link slow.
        std::thread::sleep(Duration::from_millis(pause));
    }
    Ok(())
}
