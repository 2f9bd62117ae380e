//! systemctl and sudo as real processes against a PID 1 that this test plays.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use ferrite_control::{
    ErrorKind, JobOutcome, JobReport, MAX_REPLY_BYTES, MAX_REQUEST_BYTES, Reply, Request, UnitDetails, decode, encode,
    receive,
};

struct Manager {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

/// A PID 1 that answers each connection with `serve` until the test ends.
fn manager(serve: impl Fn(UnixStream) + Send + 'static) -> Manager {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("init.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let _: JoinHandle<()> = std::thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.expect("a connection"));
        }
    });
    Manager { _directory: directory, path }
}

/// Answers every request by a function.
fn answering(answer: impl Fn(Request) -> Reply + Send + 'static) -> Manager {
    manager(move |mut stream| {
        let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
        for line in lines.map_while(Result::ok) {
            let reply = answer(decode(line.as_bytes()).expect("a request"));
            stream.write_all(&encode(&reply, MAX_REPLY_BYTES).expect("short")).expect("sent");
        }
    })
}

fn systemctl(manager: &Manager, line: &str) -> (i32, String, String) {
    run(Command::new(env!("CARGO_BIN_EXE_systemctl")).args(line.split(' ')).env("FERRITE_INIT_SOCKET", &manager.path))
}

fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the command runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("an exit code"), text(stdout), text(stderr))
}

fn job_answer(outcome: JobOutcome, unit_result: &str, refusal: Option<ErrorKind>) -> impl Fn(Request) -> Reply {
    let unit_result = unit_result.to_owned();
    move |request| match request {
        Request::Job { units, .. } => Reply::Jobs(
            units
                .into_iter()
                .map(|unit| JobReport {
                    unit,
                    outcome,
                    unit_result: unit_result.clone(),
                    refusal,
                    message: String::new(),
                })
                .collect(),
        ),
        other => panic!("not a job: {other:?}"),
    }
}

#[test]
fn jobs_end_in_systemds_words_and_codes() {
    let good = answering(job_answer(JobOutcome::Done, "", None));
    assert_eq!(systemctl(&good, "start ssh"), (0, String::new(), String::new()));
    let failing = answering(job_answer(JobOutcome::Failed, "exit-code", None));
    let (code, _, words) = systemctl(&failing, "restart ssh --no-pager");
    assert_eq!(code, 1);
    assert_eq!(
        words,
        "Job for ssh.service failed because the control process exited with error code.\n\
         See \"systemctl status ssh.service\" and \"journalctl -xeu ssh.service\" for details.\n"
    );
    let missing = answering(job_answer(JobOutcome::Refused, "", Some(ErrorKind::NoSuchUnit)));
    let (code, _, words) = systemctl(&missing, "start gone");
    assert_eq!((code, words.as_str()), (5, "Failed to start gone.service: Unit gone.service not found.\n"));
}

#[test]
fn questions_about_a_unit_have_their_exit_codes() {
    let manager = answering(|request| match request {
        Request::Show { unit } => {
            let mut details = UnitDetails::default();
            let (load, active) = match unit.as_str() {
                "up.service" => ("loaded", "active"),
                "bad.service" => ("loaded", "failed"),
                "down.service" => ("loaded", "inactive"),
                _ => ("not-found", "inactive"),
            };
            details.summary.load = load.into();
            details.summary.active = active.into();
            details.properties.insert("LoadState", load);
            details.properties.insert("ActiveState", active);
            details.summary.name = unit;
            Reply::Unit(Box::new(details))
        }
        Request::IsSystemRunning { .. } => Reply::SystemState("degraded".into()),
        other => Reply::Error { kind: ErrorKind::NotSupported, message: format!("{other:?} is not supported") },
    });
    for (line, code, stdout) in [
        ("is-active up", 0, "active\n"),
        ("is-active down", 3, "inactive\n"),
        ("is-active gone", 4, "inactive\n"),
        ("is-active down up", 0, "inactive\nactive\n"),
        ("is-active -q down", 3, ""),
        ("is-failed bad", 0, "failed\n"),
        ("is-failed up", 1, "active\n"),
        ("is-system-running", 1, "degraded\n"),
        ("show up -p ActiveState --value", 0, "active\n"),
        ("show gone -pLoadState", 0, "LoadState=not-found\n"),
    ] {
        let (found, text, words) = systemctl(&manager, line);
        assert_eq!((found, text.as_str()), (code, stdout), "{line}: {words}");
    }
    assert_eq!(systemctl(&manager, "status up -n0").0, 0);
    assert_eq!(systemctl(&manager, "status down -n0").0, 3);
    let (code, _, words) = systemctl(&manager, "status gone");
    assert_eq!((code, words.as_str()), (4, "Unit gone.service could not be found.\n"));
    let (code, _, words) = systemctl(&manager, "daemon-reload");
    assert_eq!((code, words.as_str()), (3, "DaemonReload is not supported\n"));
}

#[test]
fn without_pid_1_the_error_says_so() {
    let nowhere = Manager { _directory: tempfile::tempdir().expect("a directory"), path: "/nonexistent/socket".into() };
    let (code, _, words) = systemctl(&nowhere, "list-units");
    assert_eq!(code, 1);
    assert!(words.starts_with("cannot reach PID 1 on /nonexistent/socket: No such file"), "{words}");
    assert_eq!(systemctl(&nowhere, "is-system-running").1, "offline\n");
    let (code, _, words) = systemctl(&nowhere, "frobnicate");
    assert_eq!((code, words.as_str()), (1, "Unknown command verb 'frobnicate'.\n"));
}

/// Takes a `run` request with its descriptors.
fn take_run(stream: &UnixStream) -> (ferrite_control::RunRequest, Vec<OwnedFd>) {
    let mut buffer = vec![0; MAX_REQUEST_BYTES];
    let received = receive(stream, &mut buffer).expect("a request");
    let line = buffer[..received.length].strip_suffix(b"\n").expect("a whole line");
    match decode(line).expect("a request") {
        Request::Run(request) => (request, received.descriptors),
        other => panic!("not a run request: {other:?}"),
    }
}

fn reply(stream: &mut UnixStream, reply: &Reply) {
    stream.write_all(&encode(reply, MAX_REPLY_BYTES).expect("short")).expect("sent");
}

fn sudo(manager: &Manager) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_systemctl"));
    std::os::unix::process::CommandExt::arg0(&mut command, "sudo");
    command.env("FERRITE_INIT_SOCKET", &manager.path).stdin(Stdio::null());
    command
}

#[test]
fn sudo_passes_its_descriptors_and_the_exit_code() {
    let manager = manager(|mut stream| {
        let (request, mut files) = take_run(&stream);
        assert_eq!((request.argv.as_slice(), request.tty), (&["id".to_owned(), "-u".to_owned()][..], false));
        let stdout = files.remove(1);
        File::from(stdout).write_all(b"0\n").expect("written to sudo's output");
        drop(files);
        reply(&mut stream, &Reply::Started(7));
        reply(&mut stream, &Reply::Exit(42));
    });
    assert_eq!(run(sudo(&manager).args(["id", "-u"])), (42, "0\n".into(), String::new()));
}

#[test]
fn a_death_by_signal_is_128_more_and_a_refusal_is_explained() {
    let killed = manager(|mut stream| {
        drop(take_run(&stream));
        reply(&mut stream, &Reply::Signal(15));
    });
    assert_eq!(run(sudo(&killed).arg("x")).0, 143);
    let refusing = answering(|_| Reply::Error { kind: ErrorKind::AccessDenied, message: "no".into() });
    let (code, _, words) = run(sudo(&refusing).arg("x"));
    assert_eq!(code, 1);
    assert!(words.ends_with("is not in group sudo and may not run commands as another user\n"), "{words}");
    let (code, stdout, words) = run(&mut sudo(&refusing));
    assert!(code == 1 && stdout.is_empty() && words.starts_with("usage: sudo"), "{words}");
}

#[test]
fn signals_go_on_to_the_command() {
    let manager = manager(|mut stream| {
        drop(take_run(&stream));
        reply(&mut stream, &Reply::Started(7));
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("a second handle")).read_line(&mut line).expect("a line");
        assert_eq!(line, "{\"kill\":15}\n");
        reply(&mut stream, &Reply::Signal(15));
    });
    let mut command = sudo(&manager);
    let mut child = command.arg("sleep").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sudo runs");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    wait_until_blocked(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalled");
    assert_eq!(child.wait().expect("ended").code(), Some(143));
}

/// Waits until the process has blocked SIGTERM, which it then reads from a descriptor.
fn wait_until_blocked(pid: nix::unistd::Pid) {
    let start = std::time::Instant::now();
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a mask").trim();
        if u64::from_str_radix(mask, 16).expect("a number") & (1 << 14) != 0 {
            return;
        }
        assert!(start.elapsed().as_secs() < 20, "sudo blocks SIGTERM in time");
        std::thread::yield_now();
    }
}

#[test]
fn at_a_terminal_the_command_gets_one_of_its_own() {
    let manager = manager(|mut stream| {
        let (request, files) = take_run(&stream);
        assert!(request.tty);
        assert!(files.iter().all(|file| nix::unistd::isatty(file.as_fd()).expect("a descriptor")));
        let size = rustix::termios::tcgetwinsize(&files[0]).expect("a terminal");
        reply(&mut stream, &Reply::Started(7));
        let mut terminal = BufReader::new(File::from(files.into_iter().next().expect("three files")));
        let mut line = String::new();
        terminal.read_line(&mut line).expect("a typed line");
        let answer = format!("got {} in {} columns\n", line.trim_end(), size.ws_col);
        terminal.get_mut().write_all(answer.as_bytes()).expect("written");
        reply(&mut stream, &Reply::Exit(3));
    });
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 97, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = nix::pty::openpty(Some(&size), None).expect("a terminal");
    let end = |file: &OwnedFd| Stdio::from(file.try_clone().expect("a second handle"));
    let mut child = sudo(&manager)
        .arg("bash")
        .stdin(end(&pair.slave))
        .stdout(end(&pair.slave))
        .stderr(end(&pair.slave))
        .spawn()
        .expect("sudo runs");
    drop(pair.slave);
    let mut master = File::from(pair.master);
    master.write_all(b"hello\r").expect("typed");
    let status = child.wait().expect("ended");
    let mut text = Vec::new();
    // Reading ends with EIO when the other side is closed.
    let _ = master.read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    assert_eq!(status.code(), Some(3), "{text}");
    assert!(text.contains("got hello in 97 columns\r\n"), "{text}");
}
