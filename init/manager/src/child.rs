//! Inside a new process, until the program is executed. The only code that may block: it is not PID 1 any more.
//!
//! What fails is told to PID 1 through a pipe as `code message`, and the process ends with systemd's exit code for it.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use ferrite_unit::command::{Command, Privilege};
use ferrite_unit::directories::Directories;
use ferrite_unit::environment::Environment;
use ferrite_unit::exec::{Exec, Limit, Resource};
use nix::sys::resource::{Resource as NixResource, setrlimit};

use crate::accounts::{Accounts, User};
use crate::descriptors::Descriptors;

/// A step that failed: systemd's exit code and what was being done.
pub struct Fault {
    /// The exit code.
    pub code: i32,
    /// What failed.
    pub text: String,
}

impl Fault {
    /// Makes the function that turns an error into a fault.
    pub fn of<E: std::fmt::Display>(code: i32, doing: &str) -> impl FnOnce(E) -> Fault {
        move |error| Fault { code, text: format!("{doing}: {error}") }
    }
}

/// Everything a process of a unit needs.
#[derive(Debug)]
pub struct Invocation<'a> {
    /// Name of the unit.
    pub unit: &'a str,
    /// Context.
    pub exec: &'a Exec,
    /// The command.
    pub command: &'a Command,
    /// Does it take the unit's user? (`PermissionsStartOnly=`)
    pub as_user: bool,
    /// Variables of the manager for this process; the unit's own win.
    pub variables: Vec<(String, String)>,
    /// Variables of the unit's environment files.
    pub file_variables: Vec<(String, String)>,
    /// Where output goes without a journal: the kernel log in a boot, standard error in a namespace.
    pub to_kernel_log: bool,
    /// An idle service waits until something can be read here.
    pub idle: Option<BorrowedFd<'a>>,
    /// Score of the out-of-memory killer, unless the unit says otherwise.
    pub oom_score: i32,
    /// Files that it finds open from number 3 on.
    pub descriptors: Descriptors<'a>,
    /// Standard streams that whoever made the unit gave it, in place of what it says.
    pub streams: Option<&'a [OwnedFd; 3]>,
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// Runs in the child. Returns the exit status if the program could not be executed.
pub fn run(invocation: &Invocation<'_>, report: OwnedFd) -> i32 {
    let report = crate::descriptors::keep_clear(&invocation.descriptors, report);
    let fault = match prepare(invocation) {
        Ok(()) => return 0,
        Err(fault) => fault,
    };
    // If even the pipe is broken, the exit status still tells which step it was.
    // One write, so that PID 1 reads it whole.
    let _ = fs::File::from(report).write_all(format!("{} {}\n", fault.code, fault.text).as_bytes());
    fault.code
}

fn prepare(invocation: &Invocation<'_>) -> Result<(), Fault> {
    let exec = invocation.exec;
    ferrite_sys::signal::reset_for_program(exec.ignore_sigpipe).map_err(Fault::of(207, "resetting signals"))?;
    nix::unistd::setsid().map_err(Fault::of(220, "making a session"))?;
    let score = exec.oom_score_adjust.unwrap_or(invocation.oom_score);
    if let Err(error) = fs::write("/proc/self/oom_score_adj", score.to_string())
        && exec.oom_score_adjust.is_some()
        // Inside a container the score may only go up; systemd goes on there as well.
        && error.kind() != std::io::ErrorKind::PermissionDenied
    {
        return Err(Fault { code: 206, text: format!("setting OOMScoreAdjust=: {error}") });
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(exec.umask));
    if let Some(gate) = &invocation.idle {
        wait_for_idle(gate);
    }
    crate::streams::open(invocation)?;
    if let Some(nice) = exec.nice {
        rustix::process::setpriority_process(None, nice).map_err(Fault::of(201, "setting Nice="))?;
    }
    for (resource, limit) in &exec.limits {
        set_limit(*resource, *limit).map_err(Fault::of(205, "setting a Limit*="))?;
    }
    let accounts = Accounts::read();
    let identity = identity(exec, &accounts)?;
    let mut environment = Environment::new();
    base_environment(&mut environment, exec, identity.user.as_ref());
    directories(exec, &identity, &mut environment)?;
    let own_pid = std::process::id().to_string();
    environment.set("SYSTEMD_EXEC_PID", &own_pid);
    for (name, value) in &invocation.variables {
        environment.set(name, value);
        if name == "WATCHDOG_USEC" {
            environment.set("WATCHDOG_PID", &own_pid);
        }
    }
    for (name, value) in exec.environment.iter() {
        environment.set(name, value);
    }
    for (name, value) in &invocation.file_variables {
        environment.set(name, value);
    }
    for name in &exec.unset_environment {
        environment.unset(name);
    }
    if invocation.as_user && invocation.command.privilege == Privilege::Unit {
        become_user(&identity)?;
    }
    working_directory(exec, identity.user.as_ref())?;
    if !exec.limits.iter().any(|(resource, _)| *resource == Resource::Nofile) {
        // Last, as until now this process holds all the files of PID 1.
        crate::boot::lower_files();
    }
    invocation.descriptors.hand_over(&mut environment)?;
    execute(invocation.command, &environment)
}

/// Waits until the boot's rush is over, but not long: the order of messages on the console is worth no more.
fn wait_for_idle(gate: &BorrowedFd<'_>) {
    let mut set = [rustix::event::PollFd::new(gate, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    // An error only means that we do not wait.
    let _ = rustix::event::poll(&mut set, Some(&limit));
}

struct Identity {
    user: Option<User>,
    gid: Option<u32>,
    groups: Vec<u32>,
}

fn identity(exec: &Exec, accounts: &Accounts) -> Result<Identity, Fault> {
    let user = match &exec.user {
        Some(name) => Some(accounts.user(name).ok_or_else(|| Fault { code: 217, text: format!("no user '{name}'") })?),
        None => None,
    };
    let group =
        |name: &String| accounts.group(name).ok_or_else(|| Fault { code: 216, text: format!("no group '{name}'") });
    let gid = match &exec.group {
        Some(name) => Some(group(name)?),
        None => user.as_ref().map(|user| user.gid),
    };
    let mut groups = user.as_ref().map(|user| accounts.groups_of(&user.name)).unwrap_or_default();
    for name in &exec.supplementary_groups {
        groups.push(group(name)?);
    }
    Ok(Identity { user, gid, groups })
}

fn become_user(identity: &Identity) -> Result<(), Fault> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    if let Some(gid) = identity.gid {
        let mut groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        groups.push(Gid::from_raw(gid));
        groups.dedup();
        setgroups(&groups).map_err(Fault::of(216, "setting the groups"))?;
        let gid = Gid::from_raw(gid);
        setresgid(gid, gid, gid).map_err(Fault::of(216, "setting the group"))?;
    }
    if let Some(user) = &identity.user {
        let uid = Uid::from_raw(user.uid);
        setresuid(uid, uid, uid).map_err(Fault::of(217, "setting the user"))?;
    }
    Ok(())
}

fn base_environment(environment: &mut Environment, exec: &Exec, user: Option<&User>) {
    environment.set("LANG", "C.UTF-8");
    environment.set("PATH", PATH);
    environment.set("USER", "root");
    if let Some(user) = user {
        environment.set("USER", &user.name);
        environment.set("LOGNAME", &user.name);
        environment.set("HOME", &user.home);
        environment.set("SHELL", &user.shell);
    }
    if crate::streams::uses_terminal(exec) {
        let serial = crate::streams::terminal_path(exec).starts_with("/dev/ttyS");
        environment.set("TERM", if serial { "vt220" } else { "linux" });
    }
}

/// Makes the managed directories and names them in the environment.
fn directories(exec: &Exec, identity: &Identity, environment: &mut Environment) -> Result<(), Fault> {
    let table: [(&str, &str, &Directories, i32); 5] = [
        ("/run", "RUNTIME_DIRECTORY", &exec.runtime, 233),
        ("/var/lib", "STATE_DIRECTORY", &exec.state, 238),
        ("/var/cache", "CACHE_DIRECTORY", &exec.cache, 239),
        ("/var/log", "LOGS_DIRECTORY", &exec.logs, 240),
        ("/etc", "CONFIGURATION_DIRECTORY", &exec.configuration, 241),
    ];
    for (base, variable, directories, code) in table {
        let paths: Vec<String> = directories.paths().map(|name| format!("{base}/{name}")).collect();
        for path in &paths {
            let mode = directories.mode.unwrap_or(0o755);
            let owner = if base == "/etc" { None } else { Some(identity) };
            directory(path, mode, owner).map_err(Fault::of(code, &format!("making {path}")))?;
        }
        if !paths.is_empty() {
            environment.set(variable, &paths.join(":"));
        }
    }
    Ok(())
}

fn directory(path: &str, mode: u32, owner: Option<&Identity>) -> std::io::Result<()> {
    if let Some((parent, _)) = path.rsplit_once('/') {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if let Some(identity) = owner {
        let uid = identity.user.as_ref().map(|user| user.uid).unwrap_or(0);
        std::os::unix::fs::lchown(path, Some(uid), Some(identity.gid.unwrap_or(0)))?;
    }
    Ok(())
}

fn working_directory(exec: &Exec, user: Option<&User>) -> Result<(), Fault> {
    let directory = match exec.working_directory.as_deref() {
        Some("~") => user.map_or("/root", |user| user.home.as_str()),
        Some(path) => path,
        None => "/",
    };
    match nix::unistd::chdir(directory) {
        Err(error) if !exec.working_directory_optional => {
            Err(Fault { code: 200, text: format!("changing to {directory}: {error}") })
        }
        _ => Ok(()),
    }
}

fn set_limit(resource: Resource, limit: Limit) -> nix::Result<()> {
    let kind = match resource {
        Resource::Cpu => NixResource::RLIMIT_CPU,
        Resource::Fsize => NixResource::RLIMIT_FSIZE,
        Resource::Data => NixResource::RLIMIT_DATA,
        Resource::Stack => NixResource::RLIMIT_STACK,
        Resource::Core => NixResource::RLIMIT_CORE,
        Resource::Rss => NixResource::RLIMIT_RSS,
        Resource::Nofile => NixResource::RLIMIT_NOFILE,
        Resource::As => NixResource::RLIMIT_AS,
        Resource::Nproc => NixResource::RLIMIT_NPROC,
        Resource::Memlock => NixResource::RLIMIT_MEMLOCK,
        Resource::Locks => NixResource::RLIMIT_LOCKS,
        Resource::Sigpending => NixResource::RLIMIT_SIGPENDING,
        Resource::Msgqueue => NixResource::RLIMIT_MSGQUEUE,
        Resource::Nice => NixResource::RLIMIT_NICE,
        Resource::Rtprio => NixResource::RLIMIT_RTPRIO,
        Resource::Rttime => NixResource::RLIMIT_RTTIME,
    };
    let number = |value: Option<u64>| match (value, resource) {
        (Some(value), _) => value,
        // The kernel knows no unlimited number of files: as many as it allows at all.
        (None, Resource::Nofile) => nr_open(),
        (None, _) => nix::sys::resource::RLIM_INFINITY,
    };
    setrlimit(kind, number(limit.soft), number(limit.hard))
}

fn nr_open() -> u64 {
    fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1 << 20)
}

fn execute(command: &Command, environment: &Environment) -> Result<(), Fault> {
    let failed = |text: String| Fault { code: 203, text };
    let text = |word: &str| CString::new(word).map_err(|_| failed("a word holds a zero byte".into()));
    let argv = command.argv(environment).iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
    let variables =
        environment.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect::<Result<Vec<_>, _>>()?;
    let search = environment.get("PATH").unwrap_or(PATH);
    let candidates: Vec<String> = if command.path.starts_with('/') {
        vec![command.path.clone()]
    } else {
        search.split(':').map(|directory| format!("{directory}/{}", command.path)).collect()
    };
    let mut last = nix::errno::Errno::ENOENT;
    for candidate in candidates {
        match nix::unistd::execve(&text(&candidate)?, &argv, &variables) {
            Ok(never) => match never {},
            Err(nix::errno::Errno::ENOENT) => {}
            Err(errno) => last = errno,
        }
    }
    Err(failed(format!("executing {}: {}", command.path, last.desc())))
}

/// Makes a file one of the three standard streams.
pub fn place(file: impl AsFd, to: i32) -> Result<(), Fault> {
    let code = if to == 0 { 208 } else { 209 };
    ferrite_sys::process::place(file.as_fd(), to).map_err(Fault::of(code, "setting up standard streams"))
}
