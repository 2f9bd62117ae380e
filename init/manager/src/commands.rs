//! `run`: a command of a client as root or another user (the first form of `sudo` without SUID).

use std::ffi::CString;
use std::os::fd::AsFd;

use ferrite_control::{ErrorKind, RUN_DESCRIPTORS, Reply, RunRequest};

use crate::accounts::{Accounts, User};
use crate::child::Fault;
use crate::engine::{Engine, Process, Role};
use crate::machine::Exit;
use crate::server::{ClientId, error};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Engine {
    /// Starts the command; the end is told when it comes.
    pub fn run_request(&mut self, id: ClientId, request: RunRequest) -> Option<Reply> {
        let client = self.server.clients.get_mut(&id)?;
        let files = std::mem::take(&mut client.descriptors);
        if client.command.is_some() {
            return Some(error(ErrorKind::LimitExceeded, "a command runs on this connection already".into()));
        }
        if files.len() != RUN_DESCRIPTORS || request.argv.is_empty() {
            return Some(error(ErrorKind::BadRequest, "run needs a command and three open files".into()));
        }
        let accounts = Accounts::read();
        let wanted = request.user.as_deref().unwrap_or("root");
        let Some(user) = accounts.user(wanted) else {
            return Some(error(ErrorKind::BadRequest, format!("no user '{wanted}'")));
        };
        let caller = client.uid;
        let words = request.argv.join(" ");
        let groups = accounts.groups_of(&user.name);
        let (reader, writer) = match rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) {
            Ok(pair) => pair,
            Err(fault) => return Some(error(ErrorKind::Failed, fault.to_string())),
        };
        let made = ferrite_sys::process::fork_into(None, || {
            let Err(fault) = become_command(&request, &user, &groups, &files);
            // The exit status tells as much if the pipe is broken.
            let _ = rustix::io::write(&writer, fault.text.as_bytes());
            fault.code
        });
        drop(reader);
        match made {
            Ok(child) => {
                self.log.info(&format!("uid {caller} runs as {}: {words}", user.name));
                self.processes.insert(child.pid, Process { unit: None, role: Role::Command(id) });
                self.server.clients.get_mut(&id)?.command = Some(child.pid);
                Some(Reply::Started(child.pid))
            }
            Err(fault) => Some(error(ErrorKind::Failed, format!("making a process: {fault}"))),
        }
    }

    /// The command ended: its client is told.
    pub fn command_ended(&mut self, id: ClientId, exit: Exit) {
        if let Some(client) = self.server.clients.get_mut(&id) {
            client.command = None;
        }
        let reply = match exit {
            Exit::Code(code) => Reply::Exit(i32::from(code)),
            Exit::Signal(signal) | Exit::Dumped(signal) => Reply::Signal(signal),
        };
        self.send(id, &reply);
    }
}

/// In the child: becomes the command. Returns only what went wrong.
fn become_command(
    request: &RunRequest,
    user: &User,
    groups: &[u32],
    files: &[std::os::fd::OwnedFd],
) -> Result<std::convert::Infallible, Fault> {
    use nix::unistd::{Gid, Pid, Uid, setgroups, setpgid, setresgid, setresuid, setsid};
    ferrite_sys::signal::reset_for_program(false).map_err(Fault::of(126, "resetting signals"))?;
    if request.tty {
        setsid().map_err(Fault::of(126, "making a session"))?;
    } else {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(Fault::of(126, "making a process group"))?;
    }
    for (file, to) in files.iter().zip(0..) {
        ferrite_sys::process::place(file.as_fd(), to).map_err(Fault::of(126, "setting up standard streams"))?;
    }
    if request.tty {
        ferrite_sys::process::take_terminal(rustix::stdio::stdin(), false)
            .map_err(Fault::of(126, "taking the terminal"))?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let mut all: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    all.push(Gid::from_raw(user.gid));
    setgroups(&all).map_err(Fault::of(126, "setting the groups"))?;
    let (gid, uid) = (Gid::from_raw(user.gid), Uid::from_raw(user.uid));
    setresgid(gid, gid, gid).map_err(Fault::of(126, "setting the group"))?;
    setresuid(uid, uid, uid).map_err(Fault::of(126, "setting the user"))?;
    let directory = request.cwd.as_deref().unwrap_or(&user.home);
    nix::unistd::chdir(directory).map_err(Fault::of(126, &format!("changing to {directory}")))?;
    crate::boot::lower_files();
    execute(request)
}

fn execute(request: &RunRequest) -> Result<std::convert::Infallible, Fault> {
    let text = |word: &String| {
        CString::new(word.as_str()).map_err(|_| Fault { code: 126, text: "a word holds a zero byte".into() })
    };
    let argv = request.argv.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let environment = request.env.iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let program = request.argv.first().cloned().unwrap_or_default();
    let search = request.env.iter().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(PATH);
    let candidates: Vec<String> = if program.contains('/') {
        vec![program.clone()]
    } else {
        search.split(':').map(|directory| format!("{directory}/{program}")).collect()
    };
    let mut last = nix::errno::Errno::ENOENT;
    for candidate in candidates {
        match nix::unistd::execve(&text(&candidate)?, &argv, &environment) {
            Ok(never) => match never {},
            Err(nix::errno::Errno::ENOENT) => {}
            Err(errno) => last = errno,
        }
    }
    let code = if last == nix::errno::Errno::ENOENT { 127 } else { 126 };
    let text = format!("{program}: {}", last.desc());
    // The caller's own standard error is the right place to say so.
    let _ = rustix::io::write(rustix::stdio::stderr(), format!("sudo: {text}\n").as_bytes());
    Err(Fault { code, text })
}
