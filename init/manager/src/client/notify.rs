//! `systemd-notify`: tells PID 1 about a service from a shell script.
//!
//! The message says it comes from the caller's parent, because a script is not the main process of its service.

use std::ffi::OsStr;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, sendmsg, socket,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Caller;
use super::accounts::account;
use super::options::{Flag, Line, Order, Takes, parse};

const HELP: &str = "\
systemd-notify [OPTIONS...] [VARIABLE=VALUE...]
systemd-notify [OPTIONS...] --exec [VARIABLE=VALUE...] ; CMDLINE...

Notify the init system about service status updates.

  -h --help            Show this help
     --version         Show package version
     --ready           Inform the service manager about service start-up/reload
                       completion
     --reloading       Inform the service manager about configuration reloading
     --stopping        Inform the service manager about service shutdown
     --pid[=PID]       Set main PID of daemon
     --uid=USER        Set user to send from
     --status=TEXT     Set status text
     --booted          Check if the system was booted up with systemd
     --no-block        Do not wait until operation finished
     --exec            Execute command line separated by ';' once done
     --fd=FD           Pass specified file descriptor along with message
     --fdname=NAME     Name to assign to passed file descriptor(s)
";

const FLAGS: [Flag; 13] = [
    ('h', "help", Takes::Nothing),
    (' ', "version", Takes::Nothing),
    (' ', "ready", Takes::Nothing),
    (' ', "reloading", Takes::Nothing),
    (' ', "stopping", Takes::Nothing),
    (' ', "pid", Takes::Maybe),
    (' ', "uid", Takes::Value),
    (' ', "status", Takes::Value),
    (' ', "booted", Takes::Nothing),
    (' ', "no-block", Takes::Nothing),
    (' ', "exec", Takes::Nothing),
    (' ', "fd", Takes::Value),
    (' ', "fdname", Takes::Value),
];

/// How long PID 1 has to take the message.
const BARRIER: Duration = Duration::from_secs(5);

/// Runs the command and gives its exit code.
pub fn main(caller: &Caller) -> ExitCode {
    super::finish(caller.words().and_then(|words| run(caller, &words)))
}

fn run(caller: &Caller, words: &[String]) -> Result<u8> {
    let line = parse(words, &FLAGS, Order::Anywhere)?;
    if let Some(told) = super::told(&line, HELP) {
        return told;
    }
    if line.has("booted") {
        return Ok(u8::from(!std::path::Path::new("/run/systemd/system").is_dir()));
    }
    if line.options.is_empty() && line.operands.is_empty() {
        super::print(HELP)?;
        return Ok(1);
    }
    let files = descriptors(&line)?;
    let (variables, command) = split_command(&line)?;
    let pid = main_pid(&line)?;
    let message = message(&line, variables, pid, !files.is_empty())?;
    if !message.is_empty() {
        send(caller, &line, &message, &files, pid)?;
    }
    match command {
        [] => Ok(0),
        [program, arguments @ ..] => {
            let error = Command::new(program).args(arguments).exec();
            Err(error).with_context(|| format!("Failed to execute '{program}'"))
        }
    }
}

fn descriptors(line: &Line) -> Result<Vec<RawFd>> {
    let number = |text: &str| {
        let number: RawFd = text.parse().map_err(|_| anyhow!("Failed to parse file descriptor: {text}"))?;
        if number < 0 || std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err() {
            bail!("Specified file descriptor '{number}' not passed or specified more than once");
        }
        Ok(number)
    };
    line.values("fd").map(number).collect()
}

/// The variables, and the command behind `;`.
fn split_command(line: &Line) -> Result<(&[String], &[String])> {
    if !line.has("exec") {
        return Ok((&line.operands, &[]));
    }
    let Some(at) = line.operands.iter().position(|word| word == ";") else {
        bail!("If --exec is used argument list must contain ';' separator, refusing.");
    };
    let (variables, command) = line.operands.split_at(at);
    match command.get(1..) {
        Some(command) if !command.is_empty() => Ok((variables, command)),
        Some(_) | None => bail!("Empty command line specified after ';' separator, refusing"),
    }
}

fn main_pid(line: &Line) -> Result<Option<i32>> {
    let parent = nix::unistd::getppid().as_raw();
    let own = nix::unistd::getpid().as_raw();
    if !line.has("pid") {
        return Ok(None);
    }
    Ok(Some(match line.value("pid") {
        None | Some("" | "auto") if parent <= 1 => own,
        None | Some("" | "auto" | "parent") => parent,
        Some("self") => own,
        Some(text) => match text.parse() {
            Ok(pid) if pid > 0 => pid,
            Ok(_) | Err(_) => bail!("Failed to parse PID {text}."),
        },
    }))
}

fn message(line: &Line, variables: &[String], pid: Option<i32>, has_files: bool) -> Result<String> {
    let mut parts: Vec<String> = Vec::new();
    if line.has("reloading") {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        parts.push("RELOADING=1".into());
        parts.push(format!("MONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }
    if line.has("ready") {
        parts.push("READY=1".into());
    }
    if line.has("stopping") {
        parts.push("STOPPING=1".into());
    }
    parts.extend(line.value("status").map(|text| format!("STATUS={text}")));
    parts.extend(pid.map(|pid| format!("MAINPID={pid}")));
    if has_files {
        parts.push("FDSTORE=1".into());
    }
    match line.value("fdname") {
        Some(_) if !has_files => bail!("No file descriptors passed, but --fdname= set, refusing."),
        Some(name) => parts.push(format!("FDNAME={name}")),
        None => {}
    }
    // What is said by name takes the place of what an option said.
    for variable in variables {
        let name = variable.split_once('=').map(|(name, _)| format!("{name}="));
        parts.retain(|part| name.as_ref().is_none_or(|name| !part.starts_with(name.as_str())));
        parts.push(variable.clone());
    }
    Ok(parts.join("\n"))
}

fn send(caller: &Caller, line: &Line, message: &str, files: &[RawFd], pid: Option<i32>) -> Result<()> {
    let Some(address) = caller.variable("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else {
        bail!("No status data could be sent: $NOTIFY_SOCKET was not set");
    };
    if let Some(user) = line.value("uid") {
        let user = account(user).with_context(|| format!("Can't resolve user {user}"))?;
        let (uid, gid) = (nix::unistd::Uid::from_raw(user.uid), nix::unistd::Gid::from_raw(user.gid));
        // Only the real ids change: the effective ones carry the right to say so.
        nix::unistd::setresgid(gid, nix::unistd::getegid(), nix::unistd::getegid()).context("Failed to change GID")?;
        nix::unistd::setresuid(uid, nix::unistd::geteuid(), nix::unistd::geteuid()).context("Failed to change UID")?;
    }
    let parent = nix::unistd::getppid().as_raw();
    let source = pid.or((parent > 1).then_some(parent));
    let target = Target::open(address)?;
    target.send(message, files, source).context("Failed to notify init system")?;
    if line.has("no-block") {
        return Ok(());
    }
    target.barrier().context("Failed to invoke barrier")
}

/// Where PID 1 takes messages.
struct Target {
    socket: std::os::fd::OwnedFd,
    address: UnixAddr,
}

impl Target {
    fn open(address: &str) -> Result<Target> {
        let address = match address.strip_prefix('@') {
            Some(name) => UnixAddr::new_abstract(name.as_bytes()),
            None => UnixAddr::new(OsStr::new(address)),
        };
        let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Target { socket, address: address.context("Failed to notify init system")? })
    }

    fn send(&self, message: &str, files: &[RawFd], source: Option<i32>) -> nix::Result<()> {
        let credentials = source.map(|pid| {
            let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
            UnixCredentials::from(nix::libc::ucred { pid, uid, gid })
        });
        let with = |credentials: &Option<UnixCredentials>| {
            let mut parts: Vec<ControlMessage<'_>> = Vec::new();
            if !files.is_empty() {
                parts.push(ControlMessage::ScmRights(files));
            }
            if let Some(credentials) = credentials {
                parts.push(ControlMessage::ScmCredentials(credentials));
            }
            let text = [IoSlice::new(message.as_bytes())];
            sendmsg(self.socket.as_raw_fd(), &text, &parts, MsgFlags::MSG_NOSIGNAL, Some(&self.address)).map(drop)
        };
        match with(&credentials) {
            // Without the right to speak for another, we speak for ourselves.
            Err(nix::errno::Errno::EPERM) if credentials.is_some() => with(&None),
            outcome => outcome,
        }
    }

    /// PID 1 closes the pipe when it has read everything before it.
    fn barrier(&self) -> Result<()> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        self.send("BARRIER=1", &[write.as_raw_fd()], None)?;
        drop(write);
        let timeout = Timespec { tv_sec: i64::try_from(BARRIER.as_secs())?, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&read, PollFlags::HUP)], Some(&timeout))? {
            0 => bail!("Connection timed out"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(line: &str) -> Result<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let line = parse(&words, &FLAGS, Order::Anywhere)?;
        let (variables, _) = split_command(&line)?;
        message(&line, variables, main_pid(&line)?, line.has("fd"))
    }

    #[test]
    fn options_and_variables_become_lines() {
        assert_eq!(built("x --ready --status=up A=1").expect("valid"), "READY=1\nSTATUS=up\nA=1");
        assert_eq!(built("x --stopping --pid=7").expect("valid"), "STOPPING=1\nMAINPID=7");
        assert_eq!(built("x --status=a STATUS=b").expect("valid"), "STATUS=b");
        assert_eq!(built("x --fd=0 --fdname=z").expect("valid"), "FDSTORE=1\nFDNAME=z");
        assert!(built("x --reloading").expect("valid").starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn faults_are_named() {
        for (line, message) in [
            ("x --fdname=z --ready", "No file descriptors passed, but --fdname= set, refusing."),
            ("x --pid=0", "Failed to parse PID 0."),
            ("x --exec A=1", "If --exec is used argument list must contain ';' separator, refusing."),
            ("x --exec A=1 ;", "Empty command line specified after ';' separator, refusing"),
        ] {
            assert_eq!(built(line).expect_err("refused").to_string(), message);
        }
    }
}
