//! Children that share our memory: what they do, say, hang in, and leave behind.

use std::io::Read;
use std::os::fd::AsFd;

use rustix::process::{Pid, WaitOptions, WaitStatus, waitpid};

use super::*;

fn words(words: &[&str]) -> Vec<CString> {
    words.iter().map(|word| CString::new(*word).unwrap()).collect()
}

fn program(arguments: &[&str], acts: Vec<Act>) -> Program {
    Program {
        acts,
        candidates: words(&["/nonexistent/sh", arguments[0]]),
        arguments: words(arguments),
        variables: words(&["A=b", "PATH=/usr/bin:/bin"]),
        pid_variables: vec!["OWN".to_owned()],
        status: 203,
        doing: format!("executing {}", arguments[0]),
    }
}

/// Starts it; returns its process id and the end of the pipe that tells how that went.
fn start(launcher: &Launcher, program: Program) -> (i32, std::fs::File) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let pid = launcher.launch(None, program, writer.as_fd()).unwrap();
    (pid, reader.into())
}

fn end(pid: i32) -> WaitStatus {
    waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap().unwrap().1
}

fn said(report: &mut std::fs::File) -> String {
    let mut text = String::new();
    report.read_to_string(&mut text).unwrap();
    report_text(&text)
}

#[test]
fn a_program_runs_after_its_steps_and_nothing_is_left() {
    let launcher = Launcher::default();
    let (mut out, to) = {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        (std::fs::File::from(reader), Rc::new(writer))
    };
    let acts = vec![
        Act::new(Step::Unblock, 207, "resetting signals"),
        Act::new(Step::Session, 220, "making a session"),
        Act::new(Step::Mask(0o027), 1, ""),
        Act::new(Step::Place { from: to.clone(), to: 1 }, 209, "setting up standard streams"),
        Act::new(Step::Files(77, 99), 1, ""),
        Act::new(Step::Keyring, 237, "making a keyring"),
        Act::new(Step::Directory { path: c"/usr".into(), optional: false }, 200, "changing to /usr"),
    ];
    let script = "echo $A $OWN $$ $(pwd) $(umask) $(ulimit -n) $(cut -d' ' -f6 /proc/self/stat)";
    let (pid, mut report) = start(&launcher, program(&["/bin/sh", "-c", script], acts));
    drop(to);
    assert_eq!(said(&mut report), "");
    launcher.sweep();
    assert_eq!(launcher.count(), 0, "the program is there, so the child has left our memory");
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    assert_eq!(text, format!("b {pid} {pid} /usr 0027 77 {pid}\n"));
    assert_eq!(end(pid).exit_status(), Some(0));
}

#[test]
fn what_fails_is_told_with_its_status() {
    let launcher = Launcher::default();
    let (pid, mut report) = start(&launcher, program(&["/nonexistent/program"], Vec::new()));
    assert_eq!(said(&mut report), "203 executing /nonexistent/program: No such file or directory");
    assert_eq!(end(pid).exit_status(), Some(203));
    let (pid, mut report) = start(&launcher, program(&["/etc/passwd"], Vec::new()));
    assert_eq!(said(&mut report), "203 executing /etc/passwd: Permission denied");
    assert_eq!(end(pid).exit_status(), Some(203));
    let directory = |optional| vec![Act::new(Step::Directory { path: c"/none".into(), optional }, 200, "changing")];
    let (pid, mut report) = start(&launcher, program(&["/bin/true"], directory(false)));
    assert_eq!(
        (said(&mut report).as_str(), end(pid).exit_status()),
        ("200 changing: No such file or directory", Some(200))
    );
    let (pid, mut report) = start(&launcher, program(&["/bin/true"], directory(true)));
    assert_eq!((said(&mut report).as_str(), end(pid).exit_status()), ("", Some(0)));
    launcher.sweep();
    assert_eq!(launcher.count(), 0);
}

#[test]
fn a_child_that_hangs_holds_nobody_up_and_keeps_what_it_uses() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};
    let folder = tempfile();
    let address = SocketAddrUnix::new(format!("{folder}/full")).unwrap();
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let listener = socket();
    bind(&listener, &address).unwrap();
    // One that waits fills the queue.
    listen(&listener, 0).unwrap();
    let first = socket();
    connect(&first, &address).unwrap();
    let launcher = Launcher::default();
    let connect_act = || {
        let (socket, address) = (Rc::new(socket()), address.clone());
        Act::new(Step::Connect { socket, address, header: b"hello\n".to_vec(), to: 1, otherwise: None }, 1, "")
    };
    let (hung, mut report) = start(&launcher, program(&["/bin/echo", "late"], vec![connect_act()]));
    for _ in 0..20 {
        let (pid, mut report) = start(&launcher, program(&["/bin/true"], Vec::new()));
        assert_eq!((said(&mut report).as_str(), end(pid).exit_status()), ("", Some(0)));
    }
    launcher.sweep();
    assert_eq!(launcher.count(), 1, "only the one that hangs");
    // Room in the queue: it goes on.
    let accept = || std::fs::File::from(rustix::net::accept(&listener).unwrap());
    drop(accept());
    let mut stream = accept();
    assert_eq!(said(&mut report), "");
    launcher.sweep();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), end(hung).exit_status(), launcher.count()), ("hello\nlate\n", Some(0), 0));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_killed_child_and_a_lost_launcher_free_what_can_be_freed() {
    let launcher = Launcher::default();
    for _ in 0..200 {
        let (pid, mut report) = start(&launcher, program(&["/bin/sleep", "1000"], Vec::new()));
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
        assert_eq!(said(&mut report), "");
        assert_eq!(end(pid).terminating_signal(), Some(9));
    }
    launcher.sweep();
    assert_eq!((launcher.count(), launcher.stacks.borrow().len()), (0, 1), "one stack served all");
    drop(start(&launcher, program(&["/bin/true"], Vec::new())));
    drop(launcher);
}

fn tempfile() -> String {
    let path = std::env::temp_dir().join(format!("ferrite-launch-{}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    path.to_string_lossy().into_owned()
}
