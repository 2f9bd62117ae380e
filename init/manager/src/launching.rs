//! Makes the processes of units: without a copy of PID 1 where a few steps are all that is to be done, with one where
//! more is, see `child`. What is not named here as one of these steps takes the copy.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use ferrite_sys::launch::{Act, Launcher, Program, Step};
use ferrite_sys::process::Birth;
use ferrite_unit::environment::Environment;
use ferrite_unit::exec::{Exec, Stream};
use ferrite_unit::sandbox::{KeyringMode, Sandbox};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::accounts::Accounts;
use crate::child::{self, Invocation};
use crate::child_environment::{self, Known};
use crate::spawn::Place;
use crate::streams::{JOURNAL, Journal, journal_header};

/// What stands for the process id in the environment as long as there is no process; no program can want this.
const OWN_PID: &str = "\u{1}";

/// How processes are made.
pub struct Launching {
    launcher: Launcher,
    /// Of every process the standard input, and of many the output.
    null: Option<Rc<OwnedFd>>,
    /// May processes keep the score that the killer for want of memory gives PID 1? A child that shares our memory
    /// would set ours with its own.
    keeps_score: bool,
    /// The sandbox of services that ask for none.
    sandbox: Sandbox,
    /// The limits of open files, soft and hard.
    files: Option<(u64, u64)>,
}

impl Launching {
    /// For this PID 1, as it is now.
    pub fn new() -> Launching {
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
        Launching {
            launcher: Launcher::default(),
            null: null.ok().map(|file| Rc::new(file.into())),
            keeps_score: std::fs::read_to_string("/proc/self/oom_score_adj").is_ok_and(|text| text.trim() == "0"),
            sandbox: Sandbox { keyring_mode: Some(KeyringMode::Private), ..Sandbox::default() },
            files: crate::boot::usual_files(),
        }
    }

    /// Makes a process of a unit.
    pub fn make(
        &self,
        birth: Birth<'_>,
        place: &Place,
        invocation: &Invocation<'_>,
        report: OwnedFd,
    ) -> io::Result<i32> {
        let program = if needs_copy(&birth, place, invocation) { None } else { self.program(invocation) };
        // What fails here is tried the other way, which tells why.
        let made = program.and_then(|program| self.launcher.launch(birth.group, program, report.as_fd()).ok());
        if let Some(pid) = made {
            return Ok(pid);
        }
        let child = ferrite_sys::process::fork(birth, || {
            place.enter();
            child::run(invocation, report)
        })?;
        Ok(child.pid)
    }

    /// Frees what processes used until they executed their programs.
    pub fn sweep(&self) {
        self.launcher.sweep();
    }

    /// Everything that such a process does; `None`: it needs a copy.
    fn program(&self, invocation: &Invocation<'_>) -> Option<Program> {
        let exec = invocation.exec;
        if !self.keeps_score || invocation.oom_score != 0 || !is_plain(exec, &self.sandbox) {
            return None;
        }
        let directory = child::directory_of(exec, None);
        let mut acts = vec![
            Act::new(Step::Unblock, 207, "resetting signals"),
            Act::new(Step::Session, 220, "making a session"),
            Act::new(Step::Mask(exec.umask), 0, ""),
        ];
        let journal = self.streams(invocation, &mut acts)?;
        let (soft, hard) = self.files?;
        acts.push(Act::new(Step::Files(soft, hard), 0, ""));
        acts.push(Act::new(Step::Keyring, 237, "making a keyring"));
        let doing = format!("changing to {directory}");
        let path = CString::new(directory).ok()?;
        acts.push(Act::new(Step::Directory { path, optional: exec.working_directory_optional }, 200, &doing));
        let accounts = Accounts::default();
        let known = Known { accounts: &accounts, user: None, owner: (0, 0), journal, credentials: None, pid: OWN_PID };
        let mut environment = child_environment::make(invocation, &known).ok()?;
        child_environment::unset(&mut environment, exec);
        let pid_variables = take_pids(&mut environment);
        let shows_pid = |word: &str| pid_variables.iter().any(|name| word.contains(name.as_str()));
        if invocation.command.words.iter().chain(&exec.unset_environment).any(|word| shows_pid(word)) {
            return None;
        }
        let program = child::Program::new(invocation.command, &environment).ok()?;
        Some(Program {
            acts,
            candidates: program.candidates,
            arguments: program.argv,
            variables: program.variables,
            pid_variables,
            status: 203,
            doing: format!("executing {}", invocation.command.path),
        })
    }

    /// The steps for the standard streams; the stream to the journal, if there is one, is told.
    fn streams(&self, invocation: &Invocation<'_>, acts: &mut Vec<Act>) -> Option<Option<Journal>> {
        let exec = invocation.exec;
        let null = self.null.as_ref()?;
        acts.push(stream(Step::Place { from: null.clone(), to: 0 }, 0));
        let out = exec.output_stream();
        let error = if exec.error_stream() == out { Stream::Inherit } else { exec.error_stream() };
        let mut journal = None;
        for (to, wanted) in [(1, &out), (2, &error)] {
            let step = match wanted {
                Stream::Inherit if to == 2 => Step::Copy { from: 1, to },
                Stream::Inherit | Stream::Null => Step::Place { from: null.clone(), to },
                Stream::Journal if Path::new(JOURNAL).exists() => {
                    let (step, found) = connect(invocation, to)?;
                    journal = Some(found);
                    step
                }
                // In a namespace without a journal: whatever PID 1 itself writes to.
                Stream::Journal if !invocation.to_kernel_log => Step::Copy { from: 2, to },
                _ => return None,
            };
            acts.push(stream(step, to));
        }
        Some(journal)
    }
}

fn stream(step: Step, to: i32) -> Act {
    Act::new(step, child::stream_code(to), "setting up standard streams")
}

/// The step that connects a stream to the journal.
fn connect(invocation: &Invocation<'_>, to: i32) -> Option<(Step, Journal)> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    let status = rustix::fs::fstat(&socket).ok()?;
    let step = Step::Connect {
        socket: Rc::new(socket),
        address: SocketAddrUnix::new(JOURNAL).ok()?,
        header: journal_header(invocation, false).into_bytes(),
        to,
        otherwise: invocation.to_kernel_log.then(|| c"/dev/kmsg".to_owned()),
    };
    Some((step, Journal { device: status.st_dev, inode: status.st_ino }))
}

/// Takes the variables that hold the process id out of the environment.
fn take_pids(environment: &mut Environment) -> Vec<String> {
    let holds = |(name, value): (&str, &str)| (value == OWN_PID).then(|| name.to_owned());
    let names: Vec<String> = environment.iter().filter_map(holds).collect();
    names.iter().for_each(|name| environment.unset(name));
    names
}

/// Is there more than the settings of its context that takes a copy?
fn needs_copy(birth: &Birth<'_>, place: &Place, invocation: &Invocation<'_>) -> bool {
    let around = &invocation.surroundings;
    birth.own_pids
        || matches!(place, Place::Join(_))
        || invocation.idle.is_some()
        || invocation.streams.is_some()
        || !invocation.descriptors.files.is_empty()
        || !around.open_files.is_empty()
}

/// Are all settings but those that `program` knows as they are by default? Whoever adds a setting decides here.
fn is_plain(exec: &Exec, none: &Sandbox) -> bool {
    let Exec {
        user: None,
        group: None,
        supplementary_groups,
        working_directory: _,
        working_directory_optional: _,
        umask: _,
        environment: _,
        environment_files: _,
        pass_environment: _,
        unset_environment: _,
        runtime,
        state,
        cache,
        logs,
        configuration,
        runtime_preserve: _,
        input: Stream::Null,
        output: _,
        error: _,
        input_data,
        // It is about sockets that are handed over, and those take the copy.
        non_blocking: _,
        timeout_clean: _,
        tty_path: _,
        tty_reset: false,
        tty_vhangup: false,
        tty_vt_disallocate: false,
        tty_rows: None,
        tty_columns: None,
        syslog_identifier: _,
        syslog_level: _,
        syslog_level_prefix: _,
        limits,
        nice: None,
        oom_score_adjust: None | Some(0),
        ignore_sigpipe: true,
        sandbox,
    } = exec
    else {
        return false;
    };
    let directories = [runtime, state, cache, logs, configuration];
    supplementary_groups.is_empty()
        && directories.iter().all(|one| one.items.is_empty())
        && input_data.is_empty()
        && limits.is_empty()
        && **sandbox == *none
}
