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
}

impl Web {
    pub fn new(folder: &Path) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let web = Web { address, asked: Arc::default(), fault: Arc::new(Mutex::new(Fault::None)) };
        let (folder, asked, fault) = (folder.to_path_buf(), web.asked.clone(), web.fault.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (folder, asked) = (folder.clone(), asked.clone());
                let fault = *fault.lock().expect("nobody panicked");
                // A client that goes away early is the client's business.
                std::thread::spawn(move || drop(answer(client, &folder, fault, &asked)));
            }
        });
        web
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().expect("nobody panicked") = fault;
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
    let from: u64 = range.unwrap_or(0);
    let index = {
        let mut asked = asked.lock().expect("nobody panicked");
        asked.push(Asked { path: path.clone(), from, sent: 0 });
        asked.len() - 1
    };
    let file: PathBuf = folder.join(path.trim_start_matches('/'));
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
    client.write_all(format!("{answer}connection: close\r\n\r\n").as_bytes())?;
    let limit = match fault {
        Fault::BreaksAfter(limit) if payload => limit,
        _ => content.len(),
    };
    let step = if let (Fault::Slow(step), true) = (fault, payload) { step } else { 8192 };
    for piece in content.get(..limit.min(content.len())).unwrap_or_default().chunks(step) {
        client.write_all(piece)?;
        asked
            .lock()
            .expect("nobody panicked")
            .get_mut(index)
            .into_iter()
            .for_each(|one| one.sent += piece.len() as u64);
        if step < 8192 {
            // This is what makes the link slow.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    if endless {
        // Until the client hangs up.
        std::io::copy(&mut std::io::repeat(0), &mut client)?;
    }
    Ok(())
}
