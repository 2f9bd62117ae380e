//! Inside a new process, until the program is executed. The only code that may block: it is not PID 1 any more.
//!
//! What fails is told to PID 1 through a pipe as `code message`, and the process ends with systemd's exit code for it.

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferrite_unit::command::{Command, Privilege};
use ferrite_unit::environment::Environment;
use ferrite_unit::exec::{Exec, Limit, Resource};
use ferrite_unit::sandbox::PrivateTmp;
use ferrite_unit::service::OpenFile;
use nix::sys::resource::{Resource as NixResource, setrlimit};

use crate::accounts::{Accounts, User};
use crate::child_environment::{self, Known};
use crate::descriptors::Descriptors;
use crate::sandbox;
use crate::sandbox::apply::Identity;
use crate::sandbox::plan::{Facts, Modules, Step};

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
    /// What else the manager adds.
    pub surroundings: Surroundings,
}

/// What the manager adds to a process beside the settings of its context.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Variables of PID 1 (`PassEnvironment=`).
    pub passed: Vec<(String, String)>,
    /// Files that the process opens (`OpenFile=`).
    pub open_files: Vec<OpenFile>,
    /// The folder of its group, if that is handed over to its user (`Delegate=`).
    pub delegated: Option<String>,
    /// What it is told of the pressure on its memory.
    pub pressure: Pressure,
    /// The unit whose /tmp and namespaces it has, if that is another one.
    pub joined: Option<String>,
    /// Are its credentials made, if they are not there?
    pub makes_credentials: bool,
}

/// What a process is told of the pressure on its memory.
#[derive(Debug, Default)]
pub enum Pressure {
    /// Nothing.
    #[default]
    Untold,
    /// That it is not to watch.
    Off,
    /// Where to watch.
    Watch {
        /// The file of its group.
        file: String,
        /// How long everything may stall.
        threshold_us: u64,
    },
}

/// Where programs are searched, unless the unit says otherwise.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// Runs in the child. Returns the exit status if the program could not be executed.
pub fn run(invocation: &Invocation<'_>, report: OwnedFd) -> i32 {
    let files = invocation.descriptors.files.len() + invocation.surroundings.open_files.len();
    let report = crate::descriptors::keep_clear(files, report);
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
    let journal = crate::streams::open(invocation)?;
    refuse(exec)?;
    if let Some(nice) = exec.nice {
        rustix::process::setpriority_process(None, nice).map_err(Fault::of(201, "setting Nice="))?;
    }
    for (resource, limit) in &exec.limits {
        set_limit(*resource, *limit).map_err(Fault::of(205, "setting a Limit*="))?;
    }
    let accounts = if names_accounts(exec) { Accounts::read() } else { Accounts::default() };
    let account = account(exec, invocation.unit, &accounts)?;
    let identity = &account.identity;
    let credentials = crate::credentials::of(invocation, identity.user.unwrap_or(0))?;
    let facts = facts(invocation, identity, credentials.as_deref())?;
    for step in sandbox::plan::schedule(exec, &facts) {
        sandbox::apply::apply(&step, identity)?;
    }
    let owner = (identity.user.unwrap_or(0), identity.group.unwrap_or(0));
    if let Some(folder) = &invocation.surroundings.delegated
        && account.user.is_some()
    {
        delegate(folder, owner);
    }
    let known = Known {
        accounts: &accounts,
        user: account.user.as_ref(),
        owner,
        journal,
        credentials: credentials.as_deref(),
        pid: &std::process::id().to_string(),
    };
    let mut environment = child_environment::make(invocation, &known)?;
    if !exec.limits.iter().any(|(resource, _)| *resource == Resource::Nofile) {
        // As late as can be: until now this process holds all the files of PID 1.
        crate::boot::lower_files();
    }
    let opened = crate::open_files::open(&invocation.surroundings.open_files)?;
    invocation.descriptors.with(&opened).hand_over(&mut environment)?;
    child_environment::unset(&mut environment, exec);
    // Whatever may need memory is done before the first filter could forbid it.
    let program = Program::new(invocation.command, &environment)?;
    for step in sandbox::plan::plan(exec, &facts) {
        match step {
            Step::Directory => working_directory(exec, account.user.as_ref())?,
            step => sandbox::apply::apply(&step, identity)?,
        }
    }
    program.execute()
}

/// Waits until the boot's rush is over, but not long: the order of messages on the console is worth no more.
fn wait_for_idle(gate: &BorrowedFd<'_>) {
    let mut set = [rustix::event::PollFd::new(gate, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
    // An error only means that we do not wait.
    let _ = rustix::event::poll(&mut set, Some(&limit));
}

/// Is anything to be looked up in the files of accounts?
fn names_accounts(exec: &Exec) -> bool {
    let sandbox = &exec.sandbox;
    exec.user.is_some()
        || exec.group.is_some()
        || !exec.supplementary_groups.is_empty()
        || sandbox.dynamic_user
        || sandbox.set_login_environment == Some(true)
        || sandbox.pam_name.is_some()
}

/// Is there a setting for one of the kernel's security modules?
fn names_module(exec: &Exec) -> bool {
    let sandbox = &exec.sandbox;
    sandbox.selinux_context.is_some() || sandbox.apparmor_profile.is_some() || sandbox.smack_label.is_some()
}

/// The account of a process, and what it becomes.
struct Account {
    user: Option<User>,
    identity: Identity,
}

fn account(exec: &Exec, unit: &str, accounts: &Accounts) -> Result<Account, Fault> {
    let user = match &exec.user {
        _ if exec.sandbox.dynamic_user => {
            let made = sandbox::shared::dynamic_user(exec, unit, accounts);
            Some(made.map_err(Fault::of(217, "making a dynamic user"))?)
        }
        Some(name) => Some(accounts.user(name).ok_or_else(|| Fault { code: 217, text: format!("no user '{name}'") })?),
        None => None,
    };
    let group =
        |name: &String| accounts.group(name).ok_or_else(|| Fault { code: 216, text: format!("no group '{name}'") });
    let gid = match &exec.group {
        // Of the same name, it is as dynamic as the user.
        Some(name) if exec.sandbox.dynamic_user && accounts.group(name).is_none() => user.as_ref().map(|u| u.gid),
        Some(name) => Some(group(name)?),
        None => user.as_ref().map(|user| user.gid),
    };
    let mut groups = user.as_ref().map(|user| accounts.groups_of(&user.name)).unwrap_or_default();
    for name in &exec.supplementary_groups {
        groups.push(group(name)?);
    }
    let identity = Identity { user: user.as_ref().map(|user| user.uid), group: gid, groups };
    Ok(Account { user, identity })
}

/// What the plan of the sandbox depends on.
fn facts<'a>(
    invocation: &'a Invocation<'_>,
    identity: &Identity,
    credentials: Option<&'a str>,
) -> Result<Facts<'a>, Fault> {
    let sandbox = &invocation.exec.sandbox;
    let sharer = invocation.surroundings.joined.as_deref().unwrap_or(invocation.unit);
    let privilege = invocation.command.privilege;
    let changes_user = invocation.as_user && privilege == Privilege::Unit;
    let user = identity.user.filter(|user| changes_user && *user != 0);
    let privileged = privilege == Privilege::Full;
    let temporary = match sandbox.private_tmp {
        PrivateTmp::Connected if !privileged => {
            let boot =
                fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().replace('-', "");
            let made = sandbox::shared::temporary(sharer, &boot);
            Some(made.map_err(Fault::of(226, "making a private /tmp"))?)
        }
        PrivateTmp::Connected | PrivateTmp::Disconnected | PrivateTmp::No => None,
    };
    let named = sandbox.dynamic_user && sandbox.mounts.root_directory.is_none();
    let name = invocation.exec.user.as_deref().filter(|_| named).unwrap_or("");
    let shown = sandbox::shared::published(name).into_iter().filter(|(path, _)| named && Path::new(path).exists());
    let by_node = sandbox.scheduling.cpu_affinity_from_numa || sandbox.scheduling.numa_mask.all;
    let variable = |wanted: &str| invocation.variables.iter().find(|(name, _)| name == wanted);
    Ok(Facts {
        privileged,
        user: user.map(|user| (user, identity.group.unwrap_or(0))),
        changes_user,
        temporary,
        notify_socket: variable("NOTIFY_SOCKET").map(|(_, path)| path.as_str()),
        credentials,
        shown: shown.collect(),
        shared: sandbox::shared::folder(sharer),
        persona: ferrite_sys::prctl::personality(0xffff_ffff).unwrap_or(0) & 0xff,
        modules: if names_module(invocation.exec) { sandbox::apply::modules() } else { Modules::default() },
        nodes: if by_node { sandbox::apply::nodes() } else { Vec::new() },
    })
}

/// What is not done at all, and without which a process would be less protected than its unit says.
fn refuse(exec: &Exec) -> Result<(), Fault> {
    let mounts = &exec.sandbox.mounts;
    let refused = [
        ("RootImage=", mounts.root_image.is_some()),
        ("RootEphemeral=", mounts.root_ephemeral && mounts.root_directory.is_some()),
        ("MountImages=", !mounts.mount_images.is_empty()),
        ("ExtensionImages=", !mounts.extension_images.is_empty()),
        ("ExtensionDirectories=", !mounts.extension_directories.is_empty()),
    ];
    match refused.iter().find(|(_, written)| *written) {
        Some((setting, _)) => {
            let text =
                format!("{setting} is not supported here, and nothing is run without it; take it out of the unit");
            Err(Fault { code: 226, text })
        }
        None => Ok(()),
    }
}

/// Gives a group to the user of the unit: it may move its processes in it, and make groups below.
fn delegate(folder: &str, owner: (u32, u32)) {
    const FILES: [&str; 6] =
        ["", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control", "/memory.oom.group", "/memory.reclaim"];
    let below = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let below = below.map(|entry| entry.path().to_string_lossy().into_owned());
    for group in std::iter::once(folder.to_owned()).chain(below) {
        for file in FILES {
            // Which files a group has depends on the kernel and its controllers.
            let _ = std::os::unix::fs::chown(format!("{group}{file}"), Some(owner.0), Some(owner.1));
        }
    }
}

/// The path of the working directory.
pub fn directory_of<'a>(exec: &'a Exec, user: Option<&'a User>) -> &'a str {
    match exec.working_directory.as_deref() {
        Some("~") => user.map_or("/root", |user| user.home.as_str()),
        Some(path) => path,
        None => "/",
    }
}

fn working_directory(exec: &Exec, user: Option<&User>) -> Result<(), Fault> {
    let directory = directory_of(exec, user);
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
    let (soft, hard) = (number(limit.soft), number(limit.hard));
    match setrlimit(kind, soft, hard) {
        // Without the right to raise the limit: as much as there is, which is what systemd does as well.
        Err(nix::errno::Errno::EPERM) => {
            let (_, most) = nix::sys::resource::getrlimit(kind)?;
            if most == nix::sys::resource::RLIM_INFINITY {
                return Err(nix::errno::Errno::EPERM);
            }
            setrlimit(kind, soft.min(most), hard.min(most))
        }
        outcome => outcome,
    }
}

fn nr_open() -> u64 {
    fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1 << 20)
}

/// A program, ready to be executed.
pub struct Program<'a> {
    command: &'a Command,
    /// Where it may be.
    pub candidates: Vec<CString>,
    /// Its arguments.
    pub argv: Vec<CString>,
    /// Its environment.
    pub variables: Vec<CString>,
}

impl Program<'_> {
    /// Finds out what is executed with this environment.
    pub fn new<'a>(command: &'a Command, environment: &Environment) -> Result<Program<'a>, Fault> {
        let text =
            |word: &str| CString::new(word).map_err(|_| Fault { code: 203, text: "a word holds a zero byte".into() });
        let argv = command.argv(environment).iter().map(|word| text(word)).collect::<Result<Vec<_>, _>>()?;
        let variables =
            environment.iter().map(|(name, value)| text(&format!("{name}={value}"))).collect::<Result<Vec<_>, _>>()?;
        let search = environment.get("PATH").unwrap_or(PATH);
        let candidates = if command.path.starts_with('/') {
            vec![text(&command.path)?]
        } else {
            let place = |directory: &str| text(&format!("{directory}/{}", command.path));
            search.split(':').map(place).collect::<Result<Vec<_>, _>>()?
        };
        Ok(Program { command, candidates, argv, variables })
    }

    fn execute(&self) -> Result<(), Fault> {
        let mut last = nix::errno::Errno::ENOENT;
        for candidate in &self.candidates {
            match nix::unistd::execve(candidate, &self.argv, &self.variables) {
                Ok(never) => match never {},
                Err(nix::errno::Errno::ENOENT) => {}
                Err(errno) => last = errno,
            }
        }
        Err(Fault { code: 203, text: format!("executing {}: {}", self.command.path, last.desc()) })
    }
}

/// Makes a file one of the three standard streams.
pub fn place(file: impl AsFd, to: i32) -> Result<(), Fault> {
    ferrite_sys::process::place(file.as_fd(), to).map_err(Fault::of(stream_code(to), "setting up standard streams"))
}

/// The exit code if one of them cannot be set up.
pub fn stream_code(to: i32) -> i32 {
    [208, 209, 222].get(usize::try_from(to).unwrap_or(2)).copied().unwrap_or(222)
}
