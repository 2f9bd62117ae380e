//! A journald of its own in a temporary folder, and the commands that read what it wrote.
#![allow(dead_code)]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Nothing takes longer, even on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The id of the machine.
pub const MACHINE: &str = "0123456789abcdef0123456789abcdef";
/// The header of a stream of the program `demo`.
pub const HEADER: &str = "demo\n\n6\n0\n0\n0\n0\n";

/// The daemon.
pub struct Journald {
    pub directory: tempfile::TempDir,
    pub child: Child,
}

impl Journald {
    /// Returns when the daemon has told that it is ready; there is a disk.
    pub fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("log")).expect("a folder");
        Self::start_in(directory, arguments)
    }

    /// The same with what a daemon before it left.
    pub fn start_in(directory: tempfile::TempDir, arguments: &[&str]) -> Self {
        let path = directory.path().join("notify");
        let _ = fs::remove_file(&path);
        let notify = UnixDatagram::bind(path).expect("a notify socket");
        let journald = Self::spawn(directory, arguments, None);
        wait_for_ready(&notify);
        journald
    }

    /// Starts the daemon; the socket `notify` is the caller's. `script`: what bash does before it becomes the daemon.
    pub fn spawn(directory: tempfile::TempDir, arguments: &[&str], script: Option<&str>) -> Self {
        let path = |name: &str| directory.path().join(name);
        fs::write(path("machine-id"), format!("{MACHINE}\n")).expect("written");
        let program = env!("CARGO_BIN_EXE_ferrite-journald");
        let mut command = match script {
            None => {
                ignore_free_space(&path("root"));
                Command::new(program)
            }
            Some(script) => {
                let mut bash = Command::new("bash");
                bash.args(["-c", script, "bash", program]);
                bash
            }
        };
        for (option, name) in [
            ("--run-dir", "run"),
            ("--dev-log", "log-link"),
            ("--kmsg", "kmsg"),
            ("--log-dir", "log"),
            ("--runtime-dir", "memory"),
            ("--units-dir", "units"),
            ("--machine-id", "machine-id"),
            ("--root", "root"),
        ] {
            command.arg(option).arg(path(name));
        }
        command.args(arguments).env("NOTIFY_SOCKET", path("notify")).env_remove("LISTEN_FDS").stderr(Stdio::null());
        let child = command.spawn().expect("the daemon starts");
        Self { directory, child }
    }

    /// A path in the folder of the daemon.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The folder, for the next daemon.
    pub fn take_directory(&mut self) -> tempfile::TempDir {
        std::mem::replace(&mut self.directory, tempfile::tempdir().expect("a directory"))
    }

    /// A service's output.
    pub fn stream(&self, header: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.path("run/stdout")).expect("connected");
        stream.write_all(header.as_bytes()).expect("written");
        stream
    }

    /// Everything that was sent before is in the log afterwards.
    pub fn stop(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), Signal::SIGTERM).expect("signalled");
        assert!(self.child.wait().expect("ended").success());
    }

    /// Gives journald an order through journalctl.
    pub fn order(&self, option: &str) {
        let output = self.try_order(option);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The same, whatever comes of it.
    pub fn try_order(&self, option: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_journalctl"))
            .args([option, "--control"])
            .arg(self.path("run/io.systemd.journal"))
            .output()
            .expect("journalctl runs")
    }

    /// journalctl on the disk.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run_in(&self.path("log"), arguments)
    }

    /// What journalctl shows of the disk.
    pub fn show(&self, arguments: &[&str]) -> String {
        self.show_in("log", arguments)
    }

    /// What journalctl shows of a folder.
    pub fn show_in(&self, folder: &str, arguments: &[&str]) -> String {
        let output = run_in(&self.path(folder), arguments);
        // 1: a search that found nothing.
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// A `journalctl -f -n all -o cat` of the disk.
    pub fn follow(&self, arguments: &[&str]) -> Follower {
        Follower::of(&self.path("log"), arguments)
    }

    /// Waits until a message is in a folder of journals.
    pub fn follow_until(&self, folder: &Path, message: &str) {
        let mut follower = Follower::of(folder, &[]);
        while !follower.next().contains(message) {}
    }

    /// The files of the journal on the disk.
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = self.path("log").join(MACHINE);
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    }
}

/// A journalctl that follows.
pub struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn of(folder: &Path, arguments: &[&str]) -> Self {
        // A line that never comes ends the test.
        let mut child = Command::new("timeout")
            .arg(DEADLINE.as_secs().to_string())
            .arg(env!("CARGO_BIN_EXE_journalctl"))
            .args(["-f", "-n", "all", "-o", "cat", "-D"])
            .arg(folder)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Follower { child, lines }
    }

    /// Waits for the next line.
    pub fn next(&mut self) -> String {
        self.lines.next().expect("a line").expect("text")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // `timeout` hands it on.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How full the disk of the test's host is says nothing about the daemon.
fn ignore_free_space(root: &Path) {
    let folder = root.join("usr/lib/systemd/journald.conf.d");
    fs::create_dir_all(&folder).expect("folders");
    fs::write(folder.join("00-test.conf"), "[Journal]\nSystemKeepFree=1M\nRuntimeKeepFree=1M\n").expect("written");
}

/// Waits for the daemon; what else it says is passed over.
pub fn wait_for_ready(notify: &UnixDatagram) {
    notify.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let mut bytes = [0; 256];
    loop {
        let length = notify.recv(&mut bytes).expect("the daemon is ready in time");
        if bytes[..length].starts_with(b"READY=1") {
            return;
        }
    }
}

fn run_in(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_journalctl"))
        .arg("-D")
        .arg(directory)
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .expect("journalctl runs")
}

/// Sends a message in a memory file.
pub fn send_memory_file(socket: &Path, content: &[u8], sealed: bool) {
    use rustix::fs::{MemfdFlags, SealFlags};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = fs::File::from(rustix::fs::memfd_create("message", flags).expect("a file"));
    file.write_all(content).expect("written");
    if sealed {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).expect("sealed");
    }
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&files));
    let sender = UnixDatagram::unbound().expect("a socket");
    let address = SocketAddrUnix::new(socket).expect("an address");
    rustix::net::sendmsg_addr(&sender, &address, &[], &mut control, SendFlags::empty()).expect("sent");
}
