//! Carries the steps of a plan out. Runs in the child; each step that fails ends it with systemd's exit code.

use std::fs;
use std::io;
use std::path::Path;

use ferrite_sys::{keyring, prctl, schedule, seccomp};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, getgid, getuid, setresgid, setresuid};

use super::filter::{Filter, assemble};
use super::plan::{From, Kind, Step};
use super::{rights, stage};
use crate::child::Fault;

/// The user that a process becomes.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The user.
    pub user: Option<u32>,
    /// The group.
    pub group: Option<u32>,
    /// Further groups.
    pub groups: Vec<u32>,
}

/// A step that the kernel cannot carry out, or is not allowed to: nothing is gained by going on without a word.
fn failed<T>(code: i32, doing: &str, outcome: Result<T, impl Into<io::Error>>) -> Result<(), Fault> {
    match outcome.map_err(Into::into) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault { code, text: format!("{doing}: {error}") }),
    }
}

/// Carries one step out.
pub fn apply(step: &Step, identity: &Identity) -> Result<(), Fault> {
    match step {
        Step::CoredumpFilter(mask) => {
            failed(205, "setting CoredumpFilter=", fs::write("/proc/self/coredump_filter", format!("{mask:#x}")))
        }
        Step::Schedule { policy, priority, reset } => {
            failed(214, "setting CPUSchedulingPolicy=", schedule::set_policy(*policy, *priority, *reset))
        }
        Step::Affinity(processors) => failed(215, "setting CPUAffinity=", schedule::set_affinity(processors)),
        Step::MemoryPolicy { policy, nodes } => memory_policy(*policy, nodes),
        Step::InputOutput { class, level } => {
            failed(211, "setting IOSchedulingClass=", schedule::set_io_priority(*class, *level))
        }
        Step::TimerSlack(slack) => failed(212, "setting TimerSlackNSec=", prctl::timer_slack(*slack)),
        Step::Personality(persona) => failed(230, "setting Personality=", set_personality(*persona)),
        Step::MergeMemory(merge) => merge_memory(*merge),
        Step::Keyring { linked, owner } => own_keyring(*linked, *owner),
        Step::Enter(kind, from) => enter(*kind, from),
        Step::GroupNamespace => {
            failed(226, "making a namespace of control groups", unshare(CloneFlags::CLONE_NEWCGROUP))
        }
        Step::View(view) => show(view),
        Step::HostNamespace => failed(226, "making a namespace of the host name", unshare(CloneFlags::CLONE_NEWUTS)),
        Step::Groups => set_groups(identity),
        Step::UserNamespace { own } => {
            let (user, group) = (identity.user.unwrap_or(0), identity.group.unwrap_or(0));
            failed(217, "making a namespace of users", rights::enter_user_namespace(user, group, *own))
        }
        Step::NoRealtime => {
            let none = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_RTPRIO, 0, 0);
            failed(205, "forbidding priorities of real time", none)
        }
        Step::KeepCapabilities => failed(217, "keeping capabilities", prctl::keep_capabilities(true)),
        Step::Bounding(kept) => failed(218, "setting CapabilityBoundingSet=", rights::bound(*kept)),
        Step::Ambient { set, inherit } => failed(218, "setting AmbientCapabilities=", rights::raise(*set, *inherit)),
        Step::Root(path) => failed(210, &format!("changing the root to {path}"), nix::unistd::chroot(path.as_str())),
        Step::User { keep } => set_user(identity, *keep),
        Step::Regain(set) => failed(218, "keeping capabilities", rights::regain(*set)),
        Step::Directory => Ok(()),
        Step::Label { file, text, optional, code } => match fs::write(file, text) {
            Err(_) if *optional => Ok(()),
            outcome => failed(*code, &format!("writing '{text}' to {file}"), outcome),
        },
        Step::SecureBits(bits) => {
            failed(213, "setting SecureBits=", rights::with_setpcap(|| prctl::set_secure_bits(*bits)))
        }
        Step::NoNewPrivileges => failed(227, "setting NoNewPrivileges=", prctl::no_new_privileges()),
        Step::DenyWriteExecute => deny_write_execute(),
        Step::Filter(filter) => install(filter),
        Step::GiveUp { bounding, capabilities } => {
            failed(218, "giving capabilities up", rights::give_up(*bounding, *capabilities))
        }
    }
}

fn memory_policy(policy: i32, nodes: &[u16]) -> Result<(), Fault> {
    match schedule::set_memory_policy(policy, nodes) {
        // A kernel without memory nodes; systemd goes on as well.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
        outcome => failed(242, "setting NUMAPolicy=", outcome),
    }
}

fn set_personality(persona: u32) -> io::Result<()> {
    // The lowest byte is the personality, the others are flags that stay.
    let flags = prctl::personality(0xffff_ffff)? & !0xff;
    prctl::personality(flags | persona).map(|_| ())
}

fn merge_memory(merge: bool) -> Result<(), Fault> {
    match prctl::merge_memory(merge) {
        // A kernel without it; systemd goes on as well.
        Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EINVAL | nix::libc::ENOSYS)) => Ok(()),
        outcome => failed(245, "setting MemoryKSM=", outcome),
    }
}

/// A keyring is made as the user it belongs to, with the real user only: rights go by the effective one.
fn own_keyring(linked: bool, owner: Option<(u32, u32)>) -> Result<(), Fault> {
    let (user, group) = (getuid(), getgid());
    let become_owner = |owner: Option<(Uid, Gid)>| -> nix::Result<()> {
        let (new_user, new_group) = owner.unwrap_or((user, group));
        setresgid(new_group, group, group)?;
        setresuid(new_user, user, user)
    };
    let owner = owner.map(|(user, group)| (Uid::from_raw(user), Gid::from_raw(group)));
    failed(237, "becoming the owner of the keyring", become_owner(owner))?;
    let joined = match keyring::join_session() {
        Ok(_) if linked => keyring::link_user(),
        Ok(_) => Ok(()),
        // A kernel without keys, a container that keeps them from us, too many of them: systemd goes on as well.
        Err(error) => match error.raw_os_error() {
            Some(nix::libc::ENOSYS | nix::libc::EPERM | nix::libc::EACCES | nix::libc::EDQUOT) => Ok(()),
            _ => Err(error),
        },
    };
    failed(237, "coming back from the owner of the keyring", become_owner(None))?;
    failed(237, "making a keyring", joined)
}

fn enter(kind: Kind, from: &From) -> Result<(), Fault> {
    let (code, flag, name, what) = match kind {
        Kind::Network => (225, CloneFlags::CLONE_NEWNET, "net", "network"),
        Kind::Ipc => (226, CloneFlags::CLONE_NEWIPC, "ipc", "messages"),
    };
    match from {
        From::Path(path) => {
            let joined = fs::File::open(path).and_then(|file| setns(file, flag).map_err(Into::into));
            failed(code, &format!("entering the namespace of the {what} at {path}"), joined)
        }
        From::Shared(path) => failed(code, &format!("making a namespace of the {what}"), share(path, flag, name)),
    }
}

/// Joins the namespace that the unit's first process made, or makes it and leaves it at the path.
fn share(path: &str, flag: CloneFlags, name: &str) -> io::Result<()> {
    use nix::mount::{MsFlags, mount};
    const NOTHING: Option<&str> = None;
    // Two processes of a unit may come at once: the second waits until the first has left the namespace here.
    let _lock = super::shared::lock(path.rsplit_once('/').map_or(path, |(folder, _)| folder))?;
    if !Path::new(path).exists() {
        fs::write(path, "")?;
    }
    let there = fs::File::open(path)?;
    if rustix::fs::fstatfs(&there)?.f_type == nix::libc::NSFS_MAGIC {
        return Ok(setns(&there, flag)?);
    }
    unshare(flag)?;
    if flag == CloneFlags::CLONE_NEWNET {
        ferrite_sys::process::raise_loopback()?;
    }
    let source = format!("/proc/self/ns/{name}");
    Ok(mount(Some(source.as_str()), path, NOTHING, MsFlags::MS_BIND, NOTHING)?)
}

fn show(view: &super::view::View) -> Result<(), Fault> {
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let outcome = stage::enter(view);
    nix::sys::stat::umask(mask);
    outcome.map_err(|error| {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Fault { code: 226, text: format!("setting up the view of the file systems: {error}{source}") }
    })
}

fn set_groups(identity: &Identity) -> Result<(), Fault> {
    let Some(group) = identity.group else {
        let groups: Vec<Gid> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        return if groups.is_empty() {
            Ok(())
        } else {
            failed(216, "setting the groups", nix::unistd::setgroups(&groups))
        };
    };
    let mut groups: Vec<Gid> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    groups.push(Gid::from_raw(group));
    groups.sort_unstable_by_key(|group| group.as_raw());
    groups.dedup();
    failed(216, "setting the groups", nix::unistd::setgroups(&groups))?;
    let group = Gid::from_raw(group);
    failed(216, "setting the group", setresgid(group, group, group))
}

fn set_user(identity: &Identity, keep: bool) -> Result<(), Fault> {
    let Some(user) = identity.user else { return Ok(()) };
    if keep && user != 0 {
        const KEEP_CAPABILITIES: u32 = 1 << 4;
        let bits = prctl::secure_bits().map(|bits| bits | KEEP_CAPABILITIES);
        let kept = bits.and_then(|bits| rights::with_setpcap(|| prctl::set_secure_bits(bits)));
        failed(217, "keeping capabilities", kept)?;
    }
    let user = Uid::from_raw(user);
    failed(217, "setting the user", setresuid(user, user, user))
}

fn deny_write_execute() -> Result<(), Fault> {
    match prctl::deny_write_execute() {
        // Kernels before 6.3 have no such switch: calls are filtered instead.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => install(&super::filters::write_execute()),
        outcome => failed(228, "setting MemoryDenyWriteExecute=", outcome),
    }
}

fn install(filter: &Filter) -> Result<(), Fault> {
    let code = if filter.setting == "RestrictAddressFamilies=" { 232 } else { 228 };
    failed(code, &format!("installing the filter of {}", filter.setting), seccomp::install(&assemble(filter)))
}

/// What the plan has to know of the machine.
pub fn modules() -> super::plan::Modules {
    super::plan::Modules {
        apparmor: fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y')),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        smack: Path::new("/sys/fs/smackfs/load2").exists(),
    }
}

/// The memory nodes and the processors of each.
pub fn nodes() -> Vec<(u16, Vec<u16>)> {
    let mut nodes = Vec::new();
    for entry in fs::read_dir("/sys/devices/system/node").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(number) = name.strip_prefix("node").and_then(|number| number.parse().ok()) else { continue };
        let list = fs::read_to_string(entry.path().join("cpulist")).unwrap_or_default();
        let set = ferrite_unit::cpu_set::CpuSet::parse(list.trim()).ok().flatten().unwrap_or_default();
        nodes.push((number, set.iter().collect()));
    }
    nodes.sort_unstable();
    nodes
}
