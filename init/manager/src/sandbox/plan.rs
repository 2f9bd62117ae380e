//! What is done in a child before it executes its program, in systemd's order. Pure.
//!
//! The order matters: rights are needed for one step and gone after the next, and whatever filters system calls comes
//! last, as it would filter our own.

use ferrite_unit::capability::{CapabilitySet, number};
use ferrite_unit::exec::{Exec, Resource};
use ferrite_unit::sandbox::{IoPriority, KeyringMode, NumaPolicy, PrivateUsers, ProtectControlGroups, Sandbox};

use super::filter::Filter;
use super::filters;
use super::places::view;
use super::view::View;

/// What the plan depends on beside the settings.
#[derive(Debug, Clone, Default)]
pub struct Facts<'a> {
    /// Is the command one with `+`, to which no setting of the sandbox applies?
    pub privileged: bool,
    /// The user and group of the process, if it does not stay root.
    pub user: Option<(u32, u32)>,
    /// Does the process change its user and groups at all?
    pub changes_user: bool,
    /// The folders of `PrivateTmp=connected`.
    pub temporary: Option<(String, String)>,
    /// The socket that the manager is told through.
    pub notify_socket: Option<&'a str>,
    /// The folder with the credentials of the unit.
    pub credentials: Option<&'a str>,
    /// Files of ours that are shown in other places.
    pub shown: Vec<(String, String)>,
    /// Where namespaces are kept that processes of the unit share.
    pub shared: String,
    /// The personality that processes have without `Personality=`.
    pub persona: u32,
    /// Security modules that the kernel has.
    pub modules: Modules,
    /// Processors by memory node.
    pub nodes: Vec<(u16, Vec<u16>)>,
}

/// Security modules of the kernel.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Modules {
    pub apparmor: bool,
    pub selinux: bool,
    pub smack: bool,
}

/// A namespace that is joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of the network.
    Network,
    /// Of messages, semaphores and shared memory.
    Ipc,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A file that names it.
    Path(String),
    /// A file of ours; made by the first process of the unit that comes.
    Shared(String),
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// What a core dump holds.
    CoredumpFilter(u64),
    /// Policy, priority, and whether children start with the usual policy.
    Schedule {
        /// SCHED_*.
        policy: i32,
        /// The priority.
        priority: i32,
        /// Do children start with the usual policy?
        reset: bool,
    },
    /// The processors.
    Affinity(Vec<u16>),
    /// The memory nodes.
    MemoryPolicy {
        /// MPOL_*.
        policy: i32,
        /// The nodes.
        nodes: Vec<u16>,
    },
    /// Class and level of input and output.
    InputOutput {
        /// 1 real time, 2 best effort, 3 idle.
        class: u8,
        /// The level.
        level: u8,
    },
    /// How late timers may be.
    TimerSlack(u64),
    /// The personality.
    Personality(u32),
    /// Are equal pages merged?
    MergeMemory(bool),
    /// A session keyring of its own; with `linked` the user's keys are found in it.
    Keyring {
        /// Is the user's keyring linked?
        linked: bool,
        /// Whose it is.
        owner: Option<(u32, u32)>,
    },
    /// Enters a namespace.
    Enter(Kind, From),
    /// A namespace of control groups.
    GroupNamespace,
    /// The view of the file systems.
    View(View),
    /// A namespace of the host name.
    HostNamespace,
    /// Sets the groups.
    Groups,
    /// A namespace of users; `own`: of root and the unit's user only.
    UserNamespace {
        /// Is only the unit's own user mapped?
        own: bool,
    },
    /// No priority of real time.
    NoRealtime,
    /// Capabilities outlive the change of the user.
    KeepCapabilities,
    /// Programs can have these capabilities only.
    Bounding(CapabilitySet),
    /// Programs have these capabilities.
    Ambient {
        /// The capabilities.
        set: CapabilitySet,
        /// Are they made inheritable first?
        inherit: bool,
    },
    /// Changes the root, without a view of its own.
    Root(String),
    /// Sets the user.
    User {
        /// Do capabilities have to outlive it?
        keep: bool,
    },
    /// Puts capabilities in force that the change of the user took out of it.
    Regain(CapabilitySet),
    /// Changes the folder.
    Directory,
    /// A label of a security module for the program.
    Label {
        /// The file that takes it.
        file: &'static str,
        /// What is written.
        text: String,
        /// Does an error not matter?
        optional: bool,
        /// The exit code.
        code: i32,
    },
    /// The secure bits.
    SecureBits(u32),
    /// No program gains rights.
    NoNewPrivileges,
    /// Memory that was writable never becomes executable.
    DenyWriteExecute,
    /// A filter of system calls.
    Filter(Filter),
    /// Gives up what installing filters took.
    GiveUp {
        /// What programs can have then.
        bounding: CapabilitySet,
        /// What is taken out of force.
        capabilities: CapabilitySet,
    },
}

/// `struct personality` of the kernel: the native one, and the one with 32 bits.
const PERSONA_32: u32 = 8;

/// How the process is scheduled. Applies to every command, `+` or not.
pub fn schedule(exec: &Exec, facts: &Facts<'_>) -> Vec<Step> {
    let scheduling = &exec.sandbox.scheduling;
    let mut steps = Vec::new();
    steps.extend(scheduling.coredump_filter.map(Step::CoredumpFilter));
    if scheduling.cpu.written {
        let policy = scheduling.cpu.policy.number();
        let (priority, reset) = (scheduling.cpu.priority, scheduling.cpu.reset_on_fork);
        steps.push(Step::Schedule { policy, priority, reset });
    }
    let nodes: Vec<u16> = match scheduling.numa_mask.all {
        true => facts.nodes.iter().map(|(node, _)| *node).collect(),
        false => scheduling.numa_mask.nodes.iter().collect(),
    };
    if scheduling.cpu_affinity_from_numa {
        let of_nodes = facts.nodes.iter().filter(|(node, _)| nodes.contains(node));
        steps.push(Step::Affinity(of_nodes.flat_map(|(_, processors)| processors.clone()).collect()));
    } else if let Some(set) = scheduling.cpu_affinity.as_ref().filter(|set| !set.is_empty()) {
        steps.push(Step::Affinity(set.iter().collect()));
    }
    if let Some(policy) = scheduling.numa_policy {
        let (policy, takes_nodes) = match policy {
            NumaPolicy::Default => (0, false),
            NumaPolicy::Preferred => (1, true),
            NumaPolicy::Bind => (2, true),
            NumaPolicy::Interleave => (3, true),
            NumaPolicy::Local => (4, false),
            NumaPolicy::PreferredMany => (5, true),
            NumaPolicy::WeightedInterleave => (6, true),
        };
        steps.push(Step::MemoryPolicy { policy, nodes: if takes_nodes { nodes } else { Vec::new() } });
    }
    if let Some(IoPriority { class, level }) = scheduling.io {
        steps.push(Step::InputOutput { class: class.number(), level });
    }
    steps.extend(scheduling.timer_slack_ns.map(Step::TimerSlack));
    steps.extend(personality(&exec.sandbox).map(Step::Personality));
    steps
}

/// The kernel's number of `Personality=`.
fn personality(sandbox: &Sandbox) -> Option<u32> {
    let name = sandbox.scheduling.personality.as_deref()?;
    Some(if matches!(name, "x86" | "arm") { PERSONA_32 } else { 0 })
}

/// Everything from the keyring to the last filter.
pub fn plan(exec: &Exec, facts: &Facts<'_>) -> Vec<Step> {
    let sandbox = &exec.sandbox;
    let mut steps = Vec::new();
    match sandbox.keyring_mode.unwrap_or_default() {
        KeyringMode::Inherit => {}
        KeyringMode::Private => steps.push(Step::Keyring { linked: false, owner: facts.user }),
        KeyringMode::Shared => steps.push(Step::Keyring { linked: true, owner: facts.user }),
    }
    let view = view(exec, facts);
    let has_view = view.is_some();
    namespaces(sandbox, facts, &mut steps);
    steps.extend(view.map(Step::View));
    if sandbox.protect_hostname && !facts.privileged {
        steps.push(Step::HostNamespace);
    }
    steps.extend(sandbox.scheduling.memory_ksm.map(Step::MergeMemory));
    if facts.changes_user {
        steps.push(Step::Groups);
    }
    if !facts.privileged {
        match sandbox.private_users {
            PrivateUsers::No => {}
            PrivateUsers::Own => steps.push(Step::UserNamespace { own: true }),
            PrivateUsers::Identity => steps.push(Step::UserNamespace { own: false }),
        }
        if sandbox.restrict_realtime && !exec.limits.iter().any(|(resource, _)| *resource == Resource::Rtprio) {
            steps.push(Step::NoRealtime);
        }
    }
    let root = sandbox.mounts.root_directory.as_ref().filter(|_| !has_view && !facts.privileged);
    rights(exec, facts, root, &mut steps);
    steps
}

fn namespaces(sandbox: &Sandbox, facts: &Facts<'_>, steps: &mut Vec<Step>) {
    let shared = |name: &str| From::Shared(format!("{}/{name}", facts.shared));
    if let Some(path) = &sandbox.network_namespace_path {
        steps.push(Step::Enter(Kind::Network, From::Path(path.clone())));
    } else if sandbox.private_network {
        steps.push(Step::Enter(Kind::Network, shared("net")));
    }
    if let Some(path) = &sandbox.ipc_namespace_path {
        steps.push(Step::Enter(Kind::Ipc, From::Path(path.clone())));
    } else if sandbox.private_ipc {
        steps.push(Step::Enter(Kind::Ipc, shared("ipc")));
    }
    let groups = sandbox.protect_control_groups;
    if !facts.privileged && matches!(groups, ProtectControlGroups::Private | ProtectControlGroups::Strict) {
        steps.push(Step::GroupNamespace);
    }
}

/// Capabilities, user, folder, and everything that cannot be undone.
fn rights(exec: &Exec, facts: &Facts<'_>, root: Option<&String>, steps: &mut Vec<Step>) {
    let sandbox = &exec.sandbox;
    let persona = personality(sandbox).unwrap_or(facts.persona);
    let mut filters = filters::filters(sandbox, persona);
    filters.extend(filters::system_calls(sandbox));
    let filtered = !facts.privileged && (!filters.is_empty() || sandbox.memory_deny_write_execute);
    // As another user the process could install no filter any more, unless programs gain no rights from then on.
    let keeps = filtered && facts.user.is_some() && filters::allows_dropping(sandbox);
    let for_filters = set_of(&["cap_sys_admin", "cap_setpcap"]);
    let bounding = sandbox.bounding_set.unwrap_or(CapabilitySet::ALL);
    let ambient = sandbox.ambient_set;
    if keeps {
        steps.push(Step::KeepCapabilities);
    }
    if !facts.privileged {
        let kept = if keeps { bounding.with(for_filters) } else { bounding };
        if kept != CapabilitySet::ALL {
            steps.push(Step::Bounding(kept));
        }
        if !ambient.is_empty() {
            steps.push(Step::Ambient { set: ambient, inherit: true });
        }
    }
    steps.extend(root.map(|root| Step::Root(root.clone())));
    if facts.changes_user {
        steps.push(Step::User { keep: !ambient.is_empty() || sandbox.secure_bits != 0 });
        if keeps {
            steps.push(Step::Regain(for_filters));
        }
        if !facts.privileged && !ambient.is_empty() {
            steps.push(Step::Ambient { set: ambient, inherit: false });
        }
    }
    steps.push(Step::Directory);
    if facts.privileged {
        return;
    }
    labels(sandbox, facts, steps);
    if sandbox.secure_bits != 0 {
        steps.push(Step::SecureBits(sandbox.secure_bits));
    }
    if sandbox.no_new_privileges || (filtered && facts.user.is_some() && !keeps) {
        steps.push(Step::NoNewPrivileges);
    }
    if sandbox.memory_deny_write_execute {
        steps.push(Step::DenyWriteExecute);
    }
    steps.extend(filters.into_iter().map(Step::Filter));
    if keeps {
        let capabilities = for_filters.without(ambient);
        steps.push(Step::GiveUp { bounding, capabilities });
    }
}

fn set_of(names: &[&str]) -> CapabilitySet {
    CapabilitySet::from_bits(names.iter().filter_map(|name| number(name)).fold(0, |bits, number| bits | 1 << number))
}

fn labels(sandbox: &Sandbox, facts: &Facts<'_>, steps: &mut Vec<Step>) {
    let mut add = |label: &Option<ferrite_unit::sandbox::Label>, file, prefix: &str, code, has: bool| {
        if let Some(label) = label.as_ref().filter(|_| has) {
            let text = format!("{prefix}{}", label.name);
            steps.push(Step::Label { file, text, optional: label.optional, code });
        }
    };
    add(&sandbox.selinux_context, "/proc/self/attr/exec", "", 229, facts.modules.selinux);
    add(&sandbox.apparmor_profile, "/proc/self/attr/apparmor/exec", "exec ", 231, facts.modules.apparmor);
    add(&sandbox.smack_label, "/proc/self/attr/current", "", 236, facts.modules.smack);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(exec: &Exec, facts: &Facts<'_>) -> Vec<String> {
        let steps = plan(exec, facts);
        steps
            .iter()
            .map(|step| match step {
                Step::Filter(filter) => format!("Filter {}", filter.setting),
                Step::View(_) => "View".to_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_plain_service_gets_a_keyring_and_a_folder() {
        let want = ["Keyring { linked: false, owner: None }", "Directory"];
        assert_eq!(names(&Exec::default(), &Facts::default()), want);
    }

    #[test]
    fn rights_are_kept_until_the_last_filter_is_installed() {
        let mut exec = Exec::default();
        exec.sandbox.lock_personality = true;
        exec.sandbox.ambient_set = set_of(&["cap_net_raw"]);
        let facts = Facts { user: Some((7, 8)), changes_user: true, ..Facts::default() };
        let want = [
            "Keyring { linked: false, owner: Some((7, 8)) }",
            "Groups",
            "KeepCapabilities",
            "Ambient { set: CapabilitySet(8192), inherit: true }",
            "User { keep: true }",
            "Regain(CapabilitySet(2097408))",
            "Ambient { set: CapabilitySet(8192), inherit: false }",
            "Directory",
            "Filter LockPersonality=",
            "GiveUp { bounding: CapabilitySet(9223372036854775807), capabilities: CapabilitySet(2097408) }",
        ];
        assert_eq!(names(&exec, &facts), want);
    }

    #[test]
    fn a_filter_that_forbids_giving_up_rights_means_that_none_are_gained() {
        let mut exec = Exec::default();
        let mut filter = ferrite_unit::syscall::SyscallFilter::new(ferrite_unit::syscall::Change::Plain);
        filter.word("@default", ferrite_unit::syscall::Change::Plain).unwrap();
        exec.sandbox.syscall_filter = Some(filter);
        let facts = Facts { user: Some((7, 8)), changes_user: true, ..Facts::default() };
        let steps = names(&exec, &facts);
        assert_eq!(steps[steps.len() - 3..], ["Directory", "NoNewPrivileges", "Filter SystemCallFilter="]);
    }

    #[test]
    fn a_privileged_command_keeps_all_rights_but_has_the_network_of_its_unit() {
        let mut exec = Exec::default();
        exec.sandbox.private_network = true;
        exec.sandbox.private_devices = true;
        exec.sandbox.no_new_privileges = true;
        exec.sandbox.bounding_set = Some(CapabilitySet::EMPTY);
        let facts = Facts { privileged: true, shared: "/s".into(), ..Facts::default() };
        let want = ["Keyring { linked: false, owner: None }", "Enter(Network, Shared(\"/s/net\"))", "Directory"];
        assert_eq!(names(&exec, &facts), want);
    }
}
