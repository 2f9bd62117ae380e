//! The daemon and the command as real processes over real sockets in a temporary folder.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(20);

struct Journald {
    directory: tempfile::TempDir,
    child: Child,
}

impl Journald {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), arguments)
    }

    /// Returns when the daemon has told that it is ready.
    fn start_in(directory: tempfile::TempDir, arguments: &[&str]) -> Self {
        let notify_path = directory.path().join("notify");
        let _ = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).expect("a notify socket");
        notify.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        let child = Command::new(env!("CARGO_BIN_EXE_ferrite-journald"))
            .arg("--run-dir")
            .arg(directory.path().join("run"))
            .arg("--dev-log")
            .arg(directory.path().join("log-link"))
            .arg("--kmsg")
            .arg(directory.path().join("kmsg"))
            .arg("--log-dir")
            .arg(directory.path().join("log"))
            .args(arguments)
            .env("NOTIFY_SOCKET", &notify_path)
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        let mut bytes = [0; 64];
        let length = notify.recv(&mut bytes).expect("the daemon is ready in time");
        assert_eq!(&bytes[..length], b"READY=1");
        Self { directory, child }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn stream(&self, header: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("run/stdout")).expect("connected");
        stream.write_all(header.as_bytes()).expect("written");
        stream
    }

    /// Everything that was sent before is in the log afterwards.
    fn stop(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), Signal::SIGTERM).expect("signalled");
        assert!(self.child.wait().expect("ended").success());
    }

    fn show(&self, arguments: &[&str]) -> String {
        show(&self.path("log"), arguments)
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn show(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_journalctl"))
        .arg("-D")
        .arg(directory)
        .args(arguments)
        .output()
        .expect("journalctl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn all_three_sockets_end_in_the_log() {
    let mut journald = Journald::start(&[]);
    let mut stream = journald.stream("demo\ndemo.service\n30\n1\n0\n0\n0\n");
    stream.write_all(b"from stdout\n<3>an error\nunfinished").expect("written");
    let socket = UnixDatagram::unbound().expect("a socket");
    let link = fs::read_link(journald.path("log-link")).expect("a link");
    socket.send_to(b"<13>Nov 25 15:04:05 tool[1]: from syslog", link).expect("sent");
    socket
        .send_to(b"PRIORITY=4\nSYSLOG_IDENTIFIER=native\nMESSAGE=from journal\n", journald.path("run/socket"))
        .expect("sent");
    drop(stream);
    journald.stop();
    let text = journald.show(&["-o", "cat"]);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["an error", "from journal", "from stdout", "from syslog", "unfinished"]);
    let errors = journald.show(&["-p", "err"]);
    let pid = std::process::id();
    assert!(errors.ends_with(&format!(" demo[{pid}]: an error\n")), "{errors}");
    assert!(journald.show(&["-t", "native", "-o", "json"]).contains("\"PRIORITY\":\"4\""));
    // The header of a stream is believed from root only.
    let of_unit = journald.show(&["-u", "demo", "-o", "cat"]);
    assert_eq!(of_unit.contains("from stdout"), nix::unistd::getuid().is_root(), "{of_unit}");
}

#[test]
fn a_syslog_daemon_gets_every_message() {
    let mut journald = Journald::start(&[]);
    // It comes later than the daemon and may go again.
    let syslog = UnixDatagram::bind(journald.path("run/syslog")).expect("a socket");
    syslog.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let received = || {
        let mut bytes = [0; 200];
        let length = syslog.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.send_to(b"<13>Nov 25 15:04:05 tool[1]: from syslog", journald.path("run/dev-log")).expect("sent");
    assert_eq!(received(), "<13>Nov 25 15:04:05 tool[1]: from syslog");
    let mut stream = journald.stream("demo\ndemo.service\n30\n1\n0\n0\n0\n");
    stream.write_all(b"<3>from stdout\n").expect("written");
    let text = received();
    assert!(text.starts_with("<27>") && text.ends_with(": from stdout"), "{text}");
    fs::remove_file(journald.path("run/syslog")).expect("removed");
    stream.write_all(b"to nobody\n").expect("written");
    drop(stream);
    journald.stop();
    assert!(journald.show(&["-o", "cat"]).contains("to nobody"));
}

#[test]
fn the_log_survives_kill_and_a_torn_line() {
    let mut journald = Journald::start(&[]);
    let mut stream = journald.stream("demo\n\n6\n0\n0\n0\n0\n");
    stream.write_all(b"first\n").expect("written");
    wait_for(&journald.path("log"), "first");
    journald.child.kill().expect("killed");
    journald.child.wait().expect("ended");
    let file = journald.path("log/messages");
    let mut torn = fs::read(&file).expect("the log");
    torn.extend_from_slice(b"1234abcd 17956190451");
    fs::write(&file, torn).expect("written");
    let directory = std::mem::replace(&mut journald.directory, tempfile::tempdir().expect("a directory"));
    let mut again = Journald::start_in(directory, &[]);
    again.stream("demo\n\n6\n0\n0\n0\n0\n").write_all(b"second\n").expect("written");
    again.stop();
    assert_eq!(again.show(&["-o", "cat"]), "first\nsecond\n");
    assert_eq!(again.show(&["-o", "cat", "-r", "-n", "1"]), "second\n");
}

#[test]
fn a_follower_sees_lines_as_they_come_over_rotations() {
    let journald = Journald::start(&["--file-bytes", "2000"]);
    let mut stream = journald.stream("demo\n\n6\n0\n0\n0\n0\n");
    stream.write_all(b"line 0\n").expect("written");
    wait_for(&journald.path("log"), "line 0");
    let mut follower = Command::new(env!("CARGO_BIN_EXE_journalctl"))
        .args(["-f", "-o", "cat", "-D"])
        .arg(journald.path("log"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("journalctl runs");
    let mut lines = BufReader::new(follower.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "line 0");
    for number in 1..200 {
        stream.write_all(format!("line {number}\n").as_bytes()).expect("written");
        assert_eq!(next(), format!("line {number}"));
    }
    assert!(journald.path("log/messages.3").exists());
    follower.kill().expect("killed");
    follower.wait().expect("ended");
}

#[test]
fn a_flood_and_endless_lines_are_bounded() {
    let mut journald = Journald::start(&["--rate-burst", "1000"]);
    let mut stream = journald.stream("demo\n\n6\n0\n0\n0\n0\n");
    for number in 0..5000 {
        stream.write_all(format!("flood {number}\n").as_bytes()).expect("written");
    }
    let mut endless = journald.stream("");
    let _ = endless.write_all(&[b'x'; 100_000]);
    let mut rest = Vec::new();
    // The header is too long: the daemon closes the stream.
    let _ = endless.read_to_end(&mut rest);
    journald.stop();
    let text = journald.show(&["-o", "cat"]);
    assert_eq!(text.lines().filter(|line| line.starts_with("flood")).count(), 1000);
    assert!(text.contains("closing a log stream of process"), "{text}");
}

#[test]
fn without_a_kernel_log_and_a_writable_folder_it_runs_all_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("log"), "in the way").expect("written");
    let mut journald = Journald::start_in(directory, &[]);
    journald.stream("demo\n\n6\n0\n0\n0\n0\n").write_all(b"kept in memory\n").expect("written");
    fs::remove_file(journald.path("log")).expect("removed");
    wait_for(&journald.path("log"), "kept in memory");
    journald.stop();
    assert_eq!(journald.show(&["-o", "cat", "-u", "other"]), "-- No entries --\n");
}

/// Waits until a message is in the log, by following it.
fn wait_for(directory: &Path, message: &str) {
    let start = std::time::Instant::now();
    while !directory.is_dir() {
        assert!(start.elapsed() < DEADLINE, "the log folder appears in time");
        std::thread::yield_now();
    }
    let mut follower = Command::new(env!("CARGO_BIN_EXE_journalctl"))
        .args(["-f", "-o", "cat", "-n", "all", "-D"])
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("journalctl runs");
    let found = BufReader::new(follower.stdout.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains(message));
    follower.kill().expect("killed");
    follower.wait().expect("ended");
    assert!(found, "'{message}' is in the log");
}
