//! Many messages at once, and ends at any moment: nothing that was acknowledged is lost, nothing is unreadable.
//!
//! A sample by default; with FERRITE_LONG=1 the full counts. What was measured is printed (`--nocapture`).

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use ferrite_journal_file::Reader;

#[path = "support/journald.rs"]
mod support;

use support::{Journald, MACHINE};

fn count(sample: usize, full: usize) -> usize {
    if std::env::var_os("FERRITE_LONG").is_some() { full } else { sample }
}

/// Numbers that entries of the program `load` have in their field `NUMBER`, in the order of the journal.
fn numbers(folder: &Path) -> Vec<usize> {
    let mut reader = Reader::open_folders(&[&folder.join(MACHINE)]).expect("readable");
    reader.add_match(b"SYSLOG_IDENTIFIER", b"load");
    reader.seek_head();
    let mut all = Vec::new();
    while reader.next().expect("readable") {
        let number = reader.field(b"NUMBER").expect("readable").expect("a number");
        all.push(String::from_utf8(number).expect("text").parse().expect("a number"));
    }
    assert!(reader.faults().is_empty(), "{:?}", reader.faults());
    all
}

fn send(socket: &UnixDatagram, path: &Path, number: usize) {
    let message = format!(
        "MESSAGE=This is message number {number} of a program that has much to say\nPRIORITY=6\nNUMBER={number}\n\
         SYSLOG_IDENTIFIER=load\nCODE_FILE=src/main.rs\nCODE_LINE=42\n"
    );
    // Waits while the queue is full: that is the back-pressure of the protocol.
    socket.send_to(message.as_bytes(), path).expect("sent");
}

fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn nothing_is_lost_under_back_pressure() {
    let total = count(20_000, 1_000_000);
    let mut journald = Journald::start(&["--rate-burst", "0"]);
    let socket = UnixDatagram::unbound().expect("a socket");
    let path = journald.path("run/socket");
    let start = Instant::now();
    (0..total).for_each(|number| send(&socket, &path, number));
    journald.order("--sync");
    let seconds = start.elapsed().as_secs_f64();
    let memory = memory_kib(journald.child.id());
    println!("{:.0} native messages/s, {memory} KiB afterwards", total as f64 / seconds);
    assert!(memory < 64 * 1024, "{memory} KiB");
    assert_eq!(numbers(&journald.path("log")), (0..total).collect::<Vec<_>>());
    let mut stream = journald.stream("lines\n\n6\n0\n0\n0\n0\n");
    let start = Instant::now();
    (0..total).for_each(|number| writeln!(stream, "line {number} of a service").expect("written"));
    drop(stream);
    journald.order("--sync");
    println!("{:.0} lines of a service/s", total as f64 / start.elapsed().as_secs_f64());
    let lines = journald.show(&["-t", "lines", "-o", "cat"]);
    assert_eq!(lines.lines().count(), total);
    assert!(lines.ends_with(&format!("line {} of a service\n", total - 1)));
    journald.stop();
}

#[test]
fn what_was_synchronised_survives_a_kill_at_any_moment() {
    let mut journald = Journald::start(&["--rate-burst", "0"]);
    let mut next = 0;
    // What was acknowledged before a kill; numbers between may be lost with it.
    let mut safe: BTreeSet<usize> = BTreeSet::new();
    for round in 0..count(5, 100) {
        let socket = UnixDatagram::unbound().expect("a socket");
        let path = journald.path("run/socket");
        let first = next;
        for _ in 0..100 + 37 * (round % 20) {
            send(&socket, &path, next);
            next += 1;
        }
        journald.order("--sync");
        safe.extend(first..next);
        // More is on its way when the end comes.
        for _ in 0..round * 53 % 997 {
            send(&socket, &path, next);
            next += 1;
        }
        journald.child.kill().expect("killed");
        journald.child.wait().expect("ended");
        let found = numbers(&journald.path("log"));
        assert!(found.is_sorted_by(|a, b| a < b), "in order, and nothing twice");
        let found: BTreeSet<usize> = found.into_iter().collect();
        let lost: Vec<&usize> = safe.difference(&found).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        journald = Journald::start_in(journald.take_directory(), &["--rate-burst", "0"]);
    }
}
