//! A restart of the daemon loses no output of services: who starts it keeps the open files, as PID 1 does.
//!
//! Alone in its program: files that are open for the next daemon must not leak into processes of other tests.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use ferrite_sys::{inherit, notify, socket};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[path = "support/journald.rs"]
mod support;

use support::{HEADER, Journald};

/// Numbers of files that no other part of the test has.
const LOWEST: i32 = 60;

/// What the daemon says until it is ready or nothing more; the files that it asks to keep, by name.
fn kept(socket: &UnixDatagram, until_ready: bool) -> Vec<(String, OwnedFd)> {
    let mut files = Vec::new();
    loop {
        if until_ready {
            let mut waiting = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(support::DEADLINE).expect("a timeout");
            assert_eq!(poll(&mut waiting, timeout), Ok(1), "the daemon is ready in time");
        }
        let Some(message) = notify::receive(socket).expect("a message") else { return files };
        let text = String::from_utf8_lossy(&message.bytes).into_owned();
        if text.starts_with("FDSTORE=1") {
            let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).expect("a name").to_owned();
            files.extend(message.files.into_iter().map(|file| (name.clone(), file)));
        } else if text.starts_with("READY=1") && until_ready {
            return files;
        }
    }
}

#[test]
fn streams_and_sockets_outlive_the_daemon() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("log")).expect("a folder");
    let path = directory.path().join("notify");
    let listener = UnixDatagram::from(notify::listen(path.to_str().expect("text")).expect("a socket"));
    let mut journald = Journald::spawn(directory, &[], None);
    let mut files = kept(&listener, true);
    let mut stream = journald.stream(HEADER);
    stream.write_all(b"before\n").expect("written");
    journald.order("--sync");
    journald.child.kill().expect("killed");
    journald.child.wait().expect("ended");
    // Nobody listens now, and nobody is told so.
    stream.write_all(b"meanwhile\n").expect("written");
    let datagram = UnixDatagram::unbound().expect("a socket");
    datagram.send_to(b"<13>tool: waiting", journald.path("run/dev-log")).expect("sent");
    files.extend(kept(&listener, false));
    assert!(files.iter().any(|(name, _)| name.starts_with("stream-")), "{files:?}");
    let mut again = restart(&mut journald, &files);
    kept(&listener, true);
    drop(files);
    stream.write_all(b"after\n").expect("written");
    drop(stream);
    again.stop();
    assert_eq!(again.show(&["-o", "cat", "-t", "demo"]), "before\nmeanwhile\nafter\n");
    assert_eq!(again.show(&["-o", "cat", "-t", "tool"]), "waiting\n");
    let entries = again.show(&["-o", "json", "-t", "demo"]);
    let parsed = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("json");
    let ids: BTreeSet<String> = entries.lines().map(|line| parsed(line)["_STREAM_ID"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert!(std::fs::read_dir(again.path("run/streams")).expect("a folder").next().is_none());
}

/// Starts the daemon with these files from number 3 on, as PID 1 hands them over.
fn restart(journald: &mut Journald, files: &[(String, OwnedFd)]) -> Journald {
    let moved: Vec<OwnedFd> =
        files.iter().map(|(_, file)| socket::move_above(file, LOWEST).expect("a number")).collect();
    moved.iter().for_each(|file| inherit::keep_open(file, true).expect("kept"));
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let places: String =
        (3..).zip(&moved).map(|(to, file)| format!("exec {to}<&{0} {0}<&-; ", file.as_raw_fd())).collect();
    let script = format!(
        "{places} export LISTEN_FDS={} LISTEN_FDNAMES={} LISTEN_PID=$$; exec \"$@\"",
        files.len(),
        names.join(":")
    );
    Journald::spawn(journald.take_directory(), &[], Some(&script))
}
