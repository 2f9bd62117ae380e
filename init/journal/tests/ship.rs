//! Shipping against real servers on this machine: nothing is lost while they are away, and nothing after a restart.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

#[path = "support/journald.rs"]
mod support;

use support::{DEADLINE, HEADER, Journald, MACHINE};

struct Shipper {
    child: Child,
}

impl Shipper {
    /// Sends the journal of this daemon.
    fn start(journald: &Journald, target: &str) -> Self {
        let root = journald.path("machine");
        fs::create_dir_all(root.join("etc")).expect("folders");
        fs::create_dir_all(root.join("var/log")).expect("folders");
        fs::write(root.join("etc/machine-id"), MACHINE).expect("written");
        // There from an earlier start.
        let _ = std::os::unix::fs::symlink(journald.path("log"), root.join("var/log/journal"));
        fs::write(journald.path("ship.conf"), format!("[Ship]\nTo={target}\nFrom=start\n")).expect("written");
        let child = Command::new(env!("CARGO_BIN_EXE_ferrite-journal-ship"))
            .arg("--config")
            .arg(journald.path("ship.conf"))
            .arg("--root")
            .arg(&root)
            .arg("--cursor")
            .arg(journald.path("state/cursor"))
            .env_remove("NOTIFY_SOCKET")
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        Self { child }
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    // The test as a whole has the deadline of the reads that follow.
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    stream
}

/// Texts of the program `demo` up to this one.
fn texts_until(lines: &mut impl Iterator<Item = String>, last: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for line in lines {
        let value: serde_json::Value = serde_json::from_str(&line).expect("json");
        if value["SYSLOG_IDENTIFIER"] == "demo" {
            texts.push(value["MESSAGE"].as_str().expect("text").to_owned());
        }
        if texts.last().is_some_and(|text| text == last) {
            break;
        }
    }
    texts
}

fn say(stream: &mut impl Write, numbers: std::ops::Range<usize>) -> Vec<String> {
    let texts: Vec<String> = numbers.map(|number| format!("text {number}")).collect();
    texts.iter().for_each(|text| writeln!(stream, "{text}").expect("written"));
    texts
}

#[test]
fn json_lines_arrive_once_over_restarts_of_both_sides() {
    let journald = Journald::start(&[]);
    let mut stream = journald.stream(HEADER);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let target = format!("json://{address}");
    let first = say(&mut stream, 0..50);
    let mut shipper = Shipper::start(&journald, &target);
    let mut lines = BufReader::new(accept(&listener)).lines().map(|line| line.expect("a line in time"));
    assert_eq!(texts_until(&mut lines, "text 49"), first);
    // The server goes, more is logged, the server comes back.
    drop((lines, listener));
    let second = say(&mut stream, 50..100);
    journald.order("--sync");
    let listener = TcpListener::bind(address).expect("the same port");
    let mut lines = BufReader::new(accept(&listener)).lines().map(|line| line.expect("a line in time"));
    let found = texts_until(&mut lines, "text 99");
    // What a plain connection took before its end was noticed is nobody's: the rest is whole and in order.
    assert!(second.ends_with(&found) && !found.is_empty(), "{found:?}");
    // The sender ends, more is logged, the sender comes back. Its cursor is behind what it sent.
    let cursor = journald.path("state/cursor");
    let entry = journald.show(&["-t", "demo", "-n", "1", "-o", "export"]);
    let newest = entry.lines().find_map(|line| line.strip_prefix("__CURSOR=")).expect("a cursor").to_owned();
    let start = std::time::Instant::now();
    while fs::read_to_string(&cursor).ok().as_deref().map(str::trim) != Some(newest.as_str()) {
        assert!(start.elapsed() < DEADLINE, "the cursor is kept");
        std::thread::yield_now();
    }
    shipper.child.kill().expect("killed");
    shipper.child.wait().expect("ended");
    let third = say(&mut stream, 100..150);
    journald.order("--sync");
    let _again = Shipper::start(&journald, &target);
    let mut lines = BufReader::new(accept(&listener)).lines().map(|line| line.expect("a line in time"));
    assert_eq!(texts_until(&mut lines, "text 149"), third);
}

#[test]
fn a_batch_that_a_web_server_refuses_is_sent_again() {
    let journald = Journald::start(&[]);
    let mut stream = journald.stream(HEADER);
    let wanted = say(&mut stream, 0..20);
    journald.order("--sync");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = format!("http://{}/insert", listener.local_addr().expect("an address"));
    let _shipper = Shipper::start(&journald, &target);
    let refused = request(&mut accept(&listener), "503 Service Unavailable");
    let taken = request(&mut accept(&listener), "200 OK");
    assert!(refused.starts_with("POST /insert HTTP/1.1\r\n"), "{refused}");
    let body = |text: &str| text.split_once("\r\n\r\n").expect("a body").1.to_owned();
    assert_eq!(body(&refused), body(&taken));
    let mut lines = body(&taken).lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
    assert_eq!(texts_until(&mut lines, "text 19"), wanted);
}

/// Reads a request, and answers.
fn request(stream: &mut TcpStream, status: &str) -> String {
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a line in time") > 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body in time");
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").expect("answered");
    head + &String::from_utf8(body).expect("text")
}

#[test]
fn syslog_messages_have_their_lengths() {
    let journald = Journald::start(&[]);
    let mut stream = journald.stream(HEADER);
    say(&mut stream, 0..3);
    journald.order("--sync");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let _shipper = Shipper::start(&journald, &format!("syslog://{}", listener.local_addr().expect("an address")));
    let mut reader = BufReader::new(accept(&listener));
    let mut last = String::new();
    while !last.ends_with("text 2") {
        let mut length = Vec::new();
        reader.read_until(b' ', &mut length).expect("a length in time");
        let length: usize = String::from_utf8(length).expect("text").trim().parse().expect("a number");
        let mut message = vec![0; length];
        reader.read_exact(&mut message).expect("a message in time");
        last = String::from_utf8(message).expect("text");
        assert!(last.starts_with('<') && last.contains(">1 2"), "{last}");
    }
    assert!(last.contains(" demo ") && last.contains("[journal@32473 cursor=\"s="), "{last}");
}
