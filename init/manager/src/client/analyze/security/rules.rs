//! What `systemd-analyze security` asks about a service, and how much each answer counts. Pure.
//!
//! Names, weights and ranges are those of systemd, so that a number means the same; the descriptions are our own.

use super::subject::{Family, Subject};

/// An answer: how bad it is, from 0 to the range of its rule, and what it means. `None`: the question does not apply.
pub type Answer = (Option<u64>, String);

/// How a question is answered.
pub enum Ask {
    /// Yes is good: what that means, and what no means.
    Flag(fn(&Subject<'_>) -> bool, &'static str, &'static str),
    /// The same, unless the service runs as root.
    Unprivileged(fn(&Subject<'_>) -> bool, &'static str, &'static str),
    /// None of these capabilities can be had.
    Capabilities(&'static [u8], &'static str),
    /// This namespace (CLONE_NEW*) cannot be made.
    Namespace(u64, &'static str),
    /// Sockets of this family cannot be made.
    Sockets(Family, &'static str),
    /// None of these system calls can be used.
    Calls(&'static str),
    /// By a rule of its own.
    Own(fn(&Subject<'_>) -> (u64, &'static str)),
}

/// A question.
pub struct Rule {
    pub name: &'static str,
    pub weight: u64,
    pub range: u64,
    /// Means nothing to a service of the early boot (`DefaultDependencies=no`).
    pub late_only: bool,
    pub ask: Ask,
}

const fn rule(name: &'static str, weight: u64, range: u64, ask: Ask) -> Rule {
    Rule { name, weight, range, late_only: false, ask }
}

const fn late(name: &'static str, weight: u64, range: u64, ask: Ask) -> Rule {
    Rule { name, weight, range, late_only: true, ask }
}

const fn capabilities(name: &'static str, weight: u64, numbers: &'static [u8], what: &'static str) -> Rule {
    rule(name, weight, 1, Ask::Capabilities(numbers, what))
}

const fn calls(name: &'static str, weight: u64, group: &'static str) -> Rule {
    rule(name, weight, 10, Ask::Calls(group))
}

/// All questions.
pub const RULES: &[Rule] = &[
    rule("User=/DynamicUser=", 2000, 10, Ask::Own(|s| s.user())),
    rule(
        "SupplementaryGroups=",
        200,
        1,
        Ask::Unprivileged(|s| s.no_groups(), "no supplementary groups", "has supplementary groups"),
    ),
    rule(
        "PrivateDevices=",
        1000,
        1,
        Ask::Flag(|s| s.sandbox().private_devices, "sees harmless devices only", "sees the devices of the machine"),
    ),
    rule(
        "PrivateMounts=",
        1000,
        1,
        Ask::Flag(|s| s.private_mounts, "its mounts stay its own", "may mount for the whole machine"),
    ),
    rule(
        "PrivateNetwork=",
        2500,
        1,
        Ask::Flag(|s| s.sandbox().private_network, "has no network", "uses the network of the machine"),
    ),
    late(
        "PrivateTmp=",
        1000,
        1,
        Ask::Flag(|s| s.private_tmp(), "has temporary files of its own", "shares temporary files with others"),
    ),
    rule(
        "PrivateUsers=",
        1000,
        1,
        Ask::Flag(|s| s.private_users(), "sees no other users", "sees the users of the machine"),
    ),
    rule(
        "ProtectControlGroups=",
        1000,
        1,
        Ask::Flag(|s| s.protect_groups(), "cannot change control groups", "may change control groups"),
    ),
    rule(
        "ProtectKernelModules=",
        1000,
        1,
        Ask::Flag(
            |s| s.sandbox().protect_kernel_modules,
            "cannot load or read kernel modules",
            "may load or read kernel modules",
        ),
    ),
    rule(
        "ProtectKernelTunables=",
        1000,
        1,
        Ask::Flag(
            |s| s.sandbox().protect_kernel_tunables,
            "cannot set variables of the kernel",
            "may set variables of the kernel",
        ),
    ),
    rule(
        "ProtectKernelLogs=",
        1000,
        1,
        Ask::Flag(
            |s| s.sandbox().protect_kernel_logs,
            "cannot use the log of the kernel",
            "may use the log of the kernel",
        ),
    ),
    rule(
        "ProtectClock=",
        1000,
        1,
        Ask::Flag(|s| s.sandbox().protect_clock, "cannot set a clock", "may set the clocks"),
    ),
    late("ProtectHome=", 1000, 10, Ask::Own(|s| s.home())),
    rule(
        "ProtectHostname=",
        50,
        1,
        Ask::Flag(|s| s.sandbox().protect_hostname, "cannot rename the machine", "may rename the machine"),
    ),
    late("ProtectSystem=", 1000, 10, Ask::Own(|s| s.system())),
    late(
        "RootDirectory=/RootImage=",
        200,
        1,
        Ask::Flag(|s| s.own_root(), "has a root of its own", "lives in the root of the machine"),
    ),
    rule(
        "LockPersonality=",
        100,
        1,
        Ask::Flag(
            |s| s.sandbox().lock_personality,
            "cannot change its execution domain",
            "may change its execution domain",
        ),
    ),
    rule(
        "MemoryDenyWriteExecute=",
        100,
        1,
        Ask::Flag(
            |s| s.sandbox().memory_deny_write_execute,
            "cannot execute memory that it wrote",
            "may execute memory that it wrote",
        ),
    ),
    rule(
        "NoNewPrivileges=",
        1000,
        1,
        Ask::Flag(|s| s.sandbox().no_new_privileges, "cannot get more rights", "may get more rights"),
    ),
    capabilities("CapabilityBoundingSet=~CAP_SYS_ADMIN", 1500, &[21], "administer the machine"),
    capabilities(
        "CapabilityBoundingSet=~CAP_SET(UID|GID|PCAP)",
        1500,
        &[7, 6, 8],
        "become other users or change its capabilities",
    ),
    capabilities("CapabilityBoundingSet=~CAP_SYS_PTRACE", 1500, &[19], "look into other processes"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_TIME", 1000, &[25], "set the clock"),
    capabilities("CapabilityBoundingSet=~CAP_NET_ADMIN", 1000, &[12], "configure the network"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_RAWIO", 1000, &[17], "reach ports and memory of devices"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_MODULE", 1000, &[16], "load kernel modules"),
    capabilities("CapabilityBoundingSet=~CAP_AUDIT_*", 500, &[30, 37, 29], "use the audit of the kernel"),
    capabilities("CapabilityBoundingSet=~CAP_SYSLOG", 500, &[34], "configure the log of the kernel"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_(NICE|RESOURCE)", 500, &[23, 24], "change priorities and limits"),
    capabilities("CapabilityBoundingSet=~CAP_MKNOD", 500, &[27], "make device nodes"),
    capabilities(
        "CapabilityBoundingSet=~CAP_(CHOWN|FSETID|SETFCAP)",
        1000,
        &[0, 4, 31],
        "change owners, modes and capabilities of any file",
    ),
    capabilities(
        "CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)",
        1000,
        &[1, 2, 3, 15],
        "pass over the permissions of files and objects",
    ),
    capabilities("CapabilityBoundingSet=~CAP_KILL", 500, &[5], "send signals to any process"),
    capabilities(
        "CapabilityBoundingSet=~CAP_NET_(BIND_SERVICE|BROADCAST|RAW)",
        500,
        &[10, 11, 13],
        "use low ports, broadcasts and raw sockets",
    ),
    capabilities("CapabilityBoundingSet=~CAP_SYS_BOOT", 100, &[22], "restart the machine"),
    capabilities("CapabilityBoundingSet=~CAP_MAC_*", 100, &[33, 32], "change mandatory access control"),
    capabilities("CapabilityBoundingSet=~CAP_LINUX_IMMUTABLE", 75, &[9], "make files immutable"),
    capabilities("CapabilityBoundingSet=~CAP_IPC_LOCK", 50, &[14], "lock memory"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_CHROOT", 50, &[18], "change its root directory"),
    capabilities("CapabilityBoundingSet=~CAP_BLOCK_SUSPEND", 25, &[36], "keep the machine from sleeping"),
    capabilities("CapabilityBoundingSet=~CAP_WAKE_ALARM", 25, &[35], "set timers that wake the machine"),
    capabilities("CapabilityBoundingSet=~CAP_LEASE", 25, &[28], "take leases of files"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_TTY_CONFIG", 25, &[26], "disconnect terminals"),
    capabilities("CapabilityBoundingSet=~CAP_SYS_PACCT", 25, &[20], "switch process accounting"),
    capabilities("CapabilityBoundingSet=~CAP_BPF", 25, &[39], "load BPF programs"),
    rule("UMask=", 100, 10, Ask::Own(|s| s.umask())),
    rule(
        "KeyringMode=",
        1000,
        1,
        Ask::Flag(|s| s.own_keyring(), "has a keyring of its own", "shares a keyring with others"),
    ),
    rule("ProtectProc=", 1000, 3, Ask::Own(|s| s.proc())),
    rule("ProcSubset=", 10, 1, Ask::Flag(|s| s.proc_subset(), "sees processes only in /proc", "sees all of /proc")),
    rule(
        "NotifyAccess=",
        1000,
        1,
        Ask::Flag(|s| s.strict_notify(), "its children cannot speak for it", "its children may speak for it"),
    ),
    rule(
        "RemoveIPC=",
        100,
        1,
        Ask::Unprivileged(
            |s| s.sandbox().remove_ipc,
            "leaves no System V objects behind",
            "may leave System V objects behind",
        ),
    ),
    rule(
        "Delegate=",
        100,
        1,
        Ask::Flag(
            |s| !s.unit.resources.delegate,
            "manages no control groups of its own",
            "manages control groups of its own",
        ),
    ),
    rule(
        "RestrictRealtime=",
        500,
        1,
        Ask::Flag(|s| s.sandbox().restrict_realtime, "gets no real-time scheduling", "may get real-time scheduling"),
    ),
    rule(
        "RestrictSUIDSGID=",
        1000,
        1,
        Ask::Flag(|s| s.sandbox().restrict_suid_sgid, "cannot make set-user-id files", "may make set-user-id files"),
    ),
    rule("RestrictNamespaces=~user", 1500, 1, Ask::Namespace(0x1000_0000, "user namespaces")),
    rule("RestrictNamespaces=~mnt", 500, 1, Ask::Namespace(0x0002_0000, "mount namespaces")),
    rule("RestrictNamespaces=~ipc", 500, 1, Ask::Namespace(0x0800_0000, "IPC namespaces")),
    rule("RestrictNamespaces=~pid", 500, 1, Ask::Namespace(0x2000_0000, "process namespaces")),
    rule("RestrictNamespaces=~cgroup", 500, 1, Ask::Namespace(0x0200_0000, "control group namespaces")),
    rule("RestrictNamespaces=~net", 500, 1, Ask::Namespace(0x4000_0000, "network namespaces")),
    rule("RestrictNamespaces=~uts", 100, 1, Ask::Namespace(0x0400_0000, "host name namespaces")),
    rule("RestrictAddressFamilies=~AF_(INET|INET6)", 1500, 1, Ask::Sockets(Family::Internet, "Internet sockets")),
    rule("RestrictAddressFamilies=~AF_UNIX", 25, 1, Ask::Sockets(Family::Unix, "local sockets")),
    rule("RestrictAddressFamilies=~AF_NETLINK", 200, 1, Ask::Sockets(Family::Netlink, "netlink sockets")),
    rule("RestrictAddressFamilies=~AF_PACKET", 1000, 1, Ask::Sockets(Family::Packet, "packet sockets")),
    rule("RestrictAddressFamilies=~…", 1250, 1, Ask::Sockets(Family::Other, "sockets of rare families")),
    rule("SystemCallArchitectures=", 1000, 10, Ask::Own(|s| s.architectures())),
    calls("SystemCallFilter=~@swap", 1000, "@swap"),
    calls("SystemCallFilter=~@obsolete", 250, "@obsolete"),
    calls("SystemCallFilter=~@clock", 1000, "@clock"),
    calls("SystemCallFilter=~@cpu-emulation", 250, "@cpu-emulation"),
    calls("SystemCallFilter=~@debug", 1000, "@debug"),
    calls("SystemCallFilter=~@mount", 1000, "@mount"),
    calls("SystemCallFilter=~@module", 1000, "@module"),
    calls("SystemCallFilter=~@raw-io", 1000, "@raw-io"),
    calls("SystemCallFilter=~@reboot", 1000, "@reboot"),
    calls("SystemCallFilter=~@privileged", 700, "@privileged"),
    calls("SystemCallFilter=~@resources", 700, "@resources"),
    rule("IPAddressDeny=", 1000, 10, Ask::Own(|s| s.addresses())),
    rule("DeviceAllow=", 1000, 10, Ask::Own(|s| s.devices())),
    rule(
        "AmbientCapabilities=",
        500,
        1,
        Ask::Flag(|s| s.sandbox().ambient_set.is_empty(), "gets no ambient capabilities", "gets ambient capabilities"),
    ),
];

impl Rule {
    /// The name of the rule in JSON.
    pub fn field(&self) -> String {
        match self.name {
            "User=/DynamicUser=" => return "UserOrDynamicUser".into(),
            "RootDirectory=/RootImage=" => return "RootDirectoryOrRootImage".into(),
            "RestrictAddressFamilies=~…" => return "RestrictAddressFamilies_OTHER".into(),
            _ => {}
        }
        let words = self.name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let words = words.map(|word| word.trim_matches('_')).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("_")
    }

    /// Answers the question.
    pub fn answer(&self, subject: &Subject<'_>) -> Answer {
        if self.late_only && !subject.unit.default_dependencies {
            return (None, "belongs to the early boot, where this does not apply".into());
        }
        let flag = |good: bool, yes: String, no: String| if good { (Some(0), yes) } else { (Some(self.range), no) };
        match &self.ask {
            Ask::Unprivileged(..) if subject.is_privileged() => {
                (None, "runs as root, to which this does not apply".into())
            }
            Ask::Flag(good, yes, no) | Ask::Unprivileged(good, yes, no) => {
                flag(good(subject), (*yes).into(), (*no).into())
            }
            Ask::Capabilities(numbers, what) => flag(
                !numbers.iter().any(|number| subject.may_have(*number)),
                format!("cannot {what}"),
                format!("may {what}"),
            ),
            Ask::Namespace(kind, what) => {
                flag(!subject.may_make(*kind), format!("cannot make {what}"), format!("may make {what}"))
            }
            Ask::Sockets(family, what) => {
                flag(subject.denies(*family), format!("cannot make {what}"), format!("may make {what}"))
            }
            Ask::Calls(group) => {
                let (badness, text) = subject.calls(group);
                (Some(badness), text)
            }
            Ask::Own(answer) => {
                let (badness, text) = answer(subject);
                (Some(badness), text.into())
            }
        }
    }
}
