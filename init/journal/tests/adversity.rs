//! Full and read-only disks, a clock that jumps, many services, clients that do not read: bounded, counted, told of.
//!
//! Needs root: the disks are mounts in a namespace of the daemon.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[path = "support/journald.rs"]
mod support;

use support::{HEADER, Journald};

/// A daemon whose disk is a file system of its own.
fn with_disk(size: &str) -> Journald {
    assert!(nix::unistd::getuid().is_root(), "this test mounts file systems: run it as root");
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    std::fs::create_dir(&log).expect("a folder");
    let notify = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
    let script = format!(
        "exec unshare --mount bash -c 'mount -t tmpfs -o size={size} none {0} && exec \"$@\"' bash \"$@\"",
        log.display()
    );
    let journald = Journald::spawn(directory, &["--rate-burst", "0"], Some(&script));
    support::wait_for_ready(&notify);
    journald
}

/// A path as the daemon sees it.
fn inside(journald: &Journald, name: &str) -> PathBuf {
    let path = journald.path(name);
    PathBuf::from(format!("/proc/{}/root{}", journald.child.id(), path.display()))
}

fn remount(journald: &Journald, how: &str) {
    let status = Command::new("nsenter")
        .args(["--mount", "--target", &journald.child.id().to_string(), "mount", "-o", &format!("remount,{how}")])
        .arg(journald.path("log"))
        .status()
        .expect("nsenter runs");
    assert!(status.success());
}

fn show(journald: &Journald, folder: &str, words: &[&str]) -> String {
    let folder = inside(journald, folder);
    let output = Command::new(env!("CARGO_BIN_EXE_journalctl"))
        .arg("-D")
        .arg(folder)
        .args(words)
        .output()
        .expect("journalctl runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_full_disk_keeps_the_newest_messages_and_blocks_nobody() {
    let journald = with_disk("8M");
    let mut stream = journald.stream(HEADER);
    let text = "x".repeat(1000);
    for number in 0..20_000 {
        writeln!(stream, "{number} {text}").expect("written");
    }
    journald.order("--sync");
    let kept = show(&journald, "log", &["-t", "demo", "-o", "cat"]);
    let last = kept.lines().last().expect("messages").split(' ').next().map(str::to_owned);
    assert_eq!(last.as_deref(), Some("19999"));
    assert!(kept.lines().count() < 20_000);
    let verified = show(&journald, "log", &["--verify"]);
    assert!(verified.is_empty());
}

#[test]
fn a_disk_that_others_filled_costs_messages_that_are_counted() {
    let mut journald = with_disk("4M");
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"first\n").expect("written");
    journald.order("--sync");
    let filler = inside(&journald, "log").join("filler");
    let mut file = std::fs::File::create(&filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let text = "y".repeat(1000);
    for number in 0..8000 {
        writeln!(stream, "{number} {text}").expect("written");
    }
    // Nobody is told that what waits is durable.
    assert!(!journald.try_order("--sync").status.success());
    std::fs::remove_file(&filler).expect("removed");
    // It is tried again every second.
    journald.follow_until(&inside(&journald, "log"), "messages were dropped");
    stream.write_all(b"room again\n").expect("written");
    journald.follow_until(&inside(&journald, "log"), "room again");
    let own = show(&journald, "log", &["-t", "ferrite-journald", "-o", "cat"]);
    let kept = show(&journald, "log", &["-t", "demo", "-o", "cat"]).lines().count();
    let lost = own.lines().filter_map(|line| line.split_once(" messages were dropped")?.0.parse::<usize>().ok());
    assert_eq!(kept + lost.sum::<usize>(), 8002, "{own}");
    journald.stop();
}

#[test]
fn while_the_disk_is_read_only_the_journal_is_in_memory() {
    let journald = with_disk("16M,ro");
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"in memory\n").expect("written");
    journald.order("--sync");
    assert_eq!(show(&journald, "memory", &["-t", "demo", "-o", "cat"]), "in memory\n");
    assert!(show(&journald, "memory", &["-o", "cat"]).contains("Read-only file system"));
    remount(&journald, "rw");
    journald.order("--flush");
    stream.write_all(b"on the disk\n").expect("written");
    journald.order("--sync");
    assert_eq!(show(&journald, "log", &["-t", "demo", "-o", "cat"]), "in memory\non the disk\n");
    assert_eq!(show(&journald, "memory", &["-q"]), "");
}

#[test]
fn many_services_are_connected_at_once() {
    let total = if std::env::var_os("FERRITE_LONG").is_some() { 10_000 } else { 1000 };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raised");
    let mut journald = Journald::start(&[]);
    let header = |number: usize| format!("s{number}\nunit{number}.service\n6\n0\n0\n0\n0\n");
    let mut streams: Vec<UnixStream> = (0..total).map(|number| journald.stream(&header(number))).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        writeln!(stream, "from {number}").expect("written");
    }
    journald.order("--sync");
    let text = journald.show(&["-o", "cat"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("from ")).count(), total);
    drop(streams);
    journald.stop();
    assert!(std::fs::read_dir(journald.path("run/streams")).expect("a folder").next().is_none());
}

#[test]
fn clients_that_do_not_read_or_do_not_end_their_words_are_in_nobodys_way() {
    let mut journald = Journald::start(&[]);
    let mut silent: Vec<UnixStream> = Vec::new();
    for _ in 0..8 {
        let mut client = UnixStream::connect(journald.path("run/io.systemd.journal")).expect("connected");
        client.write_all(b"{\"method\":\"io.systemd.Journal.Ro").expect("written");
        silent.push(client);
    }
    let mut deaf = UnixStream::connect(journald.path("run/io.systemd.journal")).expect("connected");
    deaf.set_write_timeout(Some(support::DEADLINE)).expect("a deadline");
    // Answers that nobody takes fill the socket; then the connection ends.
    let call = b"{\"method\":\"io.systemd.Journal.No\"}\0".repeat(100);
    while deaf.write_all(&call).is_ok() {}
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"heard\n").expect("written");
    journald.order("--sync");
    assert_eq!(journald.show(&["-t", "demo", "-o", "cat"]), "heard\n");
    drop(silent);
    let mut rest = Vec::new();
    let _ = deaf.read_to_end(&mut rest);
    journald.stop();
}
