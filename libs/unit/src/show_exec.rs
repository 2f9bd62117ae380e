//! The properties of the context in which processes run. Pure.

use crate::directories;
use crate::errno;
use crate::exec::{Exec, Limit, Resource, Stream};
use crate::sandbox::{Label, NamespacePath, SyscallError};
use crate::sandbox_table::{
    CPU_POLICIES, FACILITIES, IO_CLASSES, KEYRING, NAMESPACES, NUMA_POLICIES, PRIVATE_TMP, PRIVATE_USERS, PROC_SUBSET,
    PROTECT_GROUPS, PROTECT_HOME, PROTECT_PROC, PROTECT_SYSTEM, SECURE_BITS,
};
use crate::show::{Lines, Properties, whole_seconds};
use crate::syscall::{Answer, SyscallFilter};
use crate::unit::Unit;
use crate::value::Span;

/// The score for the out-of-memory killer that a manager without privileges gives: units are looked at by such a one.
const OOM_SCORE: i32 = 100;

/// Limits that every context has, unless it says otherwise.
pub(crate) const LIMITS: [(Resource, Limit); 3] = [
    (Resource::Core, Limit { soft: Some(0), hard: None }),
    (Resource::Nofile, Limit { soft: Some(1024), hard: Some(524_288) }),
    (Resource::Memlock, Limit { soft: Some(8 << 20), hard: Some(8 << 20) }),
];

/// Resources in the kernel's order, by their names.
const RESOURCES: [(&str, Resource); 16] = [
    ("CPU", Resource::Cpu),
    ("FSIZE", Resource::Fsize),
    ("DATA", Resource::Data),
    ("STACK", Resource::Stack),
    ("CORE", Resource::Core),
    ("RSS", Resource::Rss),
    ("NPROC", Resource::Nproc),
    ("NOFILE", Resource::Nofile),
    ("MEMLOCK", Resource::Memlock),
    ("AS", Resource::As),
    ("LOCKS", Resource::Locks),
    ("SIGPENDING", Resource::Sigpending),
    ("MSGQUEUE", Resource::Msgqueue),
    ("NICE", Resource::Nice),
    ("RTPRIO", Resource::Rtprio),
    ("RTTIME", Resource::Rttime),
];

const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The word of a value in a table of words.
pub(crate) fn word<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> &'static str {
    table.iter().find(|(_, have)| have == value).map_or("", |(name, _)| *name)
}

/// All properties of a context, in systemd's names and order.
pub(crate) fn properties(_unit: &Unit, exec: &Exec) -> Properties {
    let mut lines = Lines::default();
    basics(&mut lines, exec);
    images(&mut lines, exec);
    environment(&mut lines, exec);
    directories(&mut lines, exec);
    limits(&mut lines, exec);
    scheduling(&mut lines, exec);
    streams(&mut lines, exec);
    logging(&mut lines, exec);
    identity(&mut lines, exec);
    paths(&mut lines, exec);
    system_calls(&mut lines, exec);
    image_mounts(&mut lines, exec);
    lines.0
}

fn basics(lines: &mut Lines, exec: &Exec) {
    let sandbox = &exec.sandbox;
    lines.put("UMask", format!("{:04o}", exec.umask));
    let directory = exec.working_directory.as_deref().filter(|path| *path != "~");
    lines.put("WorkingDirectory", directory.unwrap_or("/"));
    lines.put("RootDirectory", sandbox.mounts.root_directory.as_deref().unwrap_or("/"));
    lines.flag("RootEphemeral", sandbox.mounts.root_ephemeral);
    lines.flag("NonBlocking", exec.non_blocking);
    lines.put("PrivateTmp", word(&PRIVATE_TMP, &sandbox.private_tmp));
    lines.flag("PrivateDevices", sandbox.private_devices);
    lines.flag("ProtectKernelTunables", sandbox.protect_kernel_tunables);
    lines.flag("ProtectKernelModules", sandbox.protect_kernel_modules);
    lines.flag("ProtectKernelLogs", sandbox.protect_kernel_logs);
    lines.flag("ProtectClock", sandbox.protect_clock);
    lines.put("ProtectControlGroups", word(&PROTECT_GROUPS, &sandbox.protect_control_groups));
    lines.flag("PrivateNetwork", sandbox.private_network);
    lines.put("PrivateUsers", word(&PRIVATE_USERS, &sandbox.private_users));
    lines.flag("PrivatePIDs", sandbox.private_pids);
    lines.put("ProtectHome", word(&PROTECT_HOME, &sandbox.protect_home));
    lines.put("ProtectSystem", word(&PROTECT_SYSTEM, &sandbox.protect_system));
    lines.flag("MountAPIVFS", exec.mounts_api_vfs());
    lines.flag("BindLogSockets", exec.binds_log_sockets());
    lines.flag("IgnoreSIGPIPE", exec.ignore_sigpipe);
    lines.flag("MemoryDenyWriteExecute", sandbox.memory_deny_write_execute);
    lines.flag("RestrictRealtime", sandbox.restrict_realtime);
    lines.flag("RestrictSUIDSGID", sandbox.restrict_suid_sgid);
    lines.put("KeyringMode", word(&KEYRING, &sandbox.keyring_mode.unwrap_or_default()));
    lines.flag("ProtectHostname", sandbox.protect_hostname);
    lines.put("ProtectProc", word(&PROTECT_PROC, &sandbox.protect_proc));
    lines.put("ProcSubset", word(&PROC_SUBSET, &sandbox.proc_subset));
    if let Some(flag) = sandbox.set_login_environment {
        lines.flag("SetLoginEnvironment", flag);
    }
}

fn images(lines: &mut Lines, exec: &Exec) {
    let mounts = &exec.sandbox.mounts;
    if let Some(image) = &mounts.root_image {
        lines.put("RootImage", image);
    }
    if !mounts.root_image_options.is_empty() {
        let pairs: Vec<String> =
            mounts.root_image_options.iter().map(|(name, text)| format!("{name}:{text}")).collect();
        lines.put("RootImageOptions", pairs.join(" "));
    }
    let values = [
        ("RootHash", &mounts.root_hash),
        ("RootHashSignature", &mounts.root_hash_signature),
        ("RootVerity", &mounts.root_verity),
    ];
    for (name, value) in values {
        if let Some(value) = value {
            lines.put(name, value);
        }
    }
}

fn environment(lines: &mut Lines, exec: &Exec) {
    for (name, value) in exec.environment.iter() {
        lines.put("Environment", format!("{name}={value}"));
    }
    for file in &exec.environment_files {
        lines.put("EnvironmentFile", format!("{}{}", if file.optional { "-" } else { "" }, file.path));
    }
    for name in &exec.pass_environment {
        lines.put("PassEnvironment", name);
    }
    for name in &exec.unset_environment {
        lines.put("UnsetEnvironment", name);
    }
}

fn directories(lines: &mut Lines, exec: &Exec) {
    lines.put("RuntimeDirectoryPreserve", exec.runtime_preserve.as_str());
    for (name, directories) in directories::NAMES.into_iter().zip(exec.all_directories()) {
        lines.put(&format!("{name}Mode"), format!("{:04o}", directories.mode.unwrap_or(0o755)));
        for item in &directories.items {
            lines.put(name, format!("{}{}", item.path, if item.read_only { " (ro)" } else { "" }));
            for link in &item.links {
                lines.put(&format!("{name}Symlink"), format!("{}:{link}", item.path));
            }
        }
    }
    lines.span("TimeoutCleanSec", exec.timeout_clean);
}

fn limits(lines: &mut Lines, exec: &Exec) {
    if let Some(flag) = exec.sandbox.scheduling.memory_ksm {
        lines.flag("MemoryKSM", flag);
    }
    if let Some(nice) = exec.nice {
        lines.put("Nice", nice.to_string());
    }
    lines.put("OOMScoreAdjust", exec.oom_score_adjust.unwrap_or(OOM_SCORE).to_string());
    if let Some(filter) = exec.sandbox.scheduling.coredump_filter {
        lines.put("CoredumpFilter", format!("0x{filter:x}"));
    }
    for (name, resource) in RESOURCES {
        let find =
            |list: &[(Resource, Limit)]| list.iter().find(|(have, _)| *have == resource).map(|(_, limit)| *limit);
        let Some(limit) = find(&exec.limits).or_else(|| find(&LIMITS)) else { continue };
        lines.put(&format!("Limit{name}"), limit.hard.unwrap_or(u64::MAX).to_string());
        lines.put(&format!("Limit{name}Soft"), limit.soft.unwrap_or(u64::MAX).to_string());
    }
}

fn scheduling(lines: &mut Lines, exec: &Exec) {
    let scheduling = &exec.sandbox.scheduling;
    if let Some(io) = scheduling.io {
        lines.put("IOSchedulingClass", word(&IO_CLASSES, &io.class));
        lines.put("IOPriority", io.level.to_string());
    }
    if scheduling.cpu.written {
        lines.put("CPUSchedulingPolicy", word(&CPU_POLICIES, &scheduling.cpu.policy));
        lines.put("CPUSchedulingPriority", scheduling.cpu.priority.to_string());
        lines.flag("CPUSchedulingResetOnFork", scheduling.cpu.reset_on_fork);
    }
    if let Some(set) = &scheduling.cpu_affinity {
        lines.put("CPUAffinity", set.text());
    }
    if let Some(policy) = scheduling.numa_policy {
        lines.put("NUMAPolicy", word(&NUMA_POLICIES, &policy));
        lines.put("NUMAMask", scheduling.numa_mask.nodes.text());
    }
    if let Some(slack) = scheduling.timer_slack_ns {
        lines.put("TimerSlackNSec", slack.to_string());
    }
}

/// The word of a stream.
pub(crate) fn stream_word(stream: &Stream) -> &'static str {
    match stream {
        Stream::Inherit => "inherit",
        Stream::Null => "null",
        Stream::Tty => "tty",
        Stream::TtyForce => "tty-force",
        Stream::TtyFail => "tty-fail",
        Stream::Journal => "journal",
        Stream::Kmsg => "kmsg",
        Stream::JournalConsole => "journal+console",
        Stream::KmsgConsole => "kmsg+console",
        Stream::File(_) => "file",
        Stream::Append(_) => "append",
        Stream::Truncate(_) => "truncate",
        Stream::Socket => "socket",
        Stream::Data => "data",
        Stream::Named(_) => "fd",
    }
}

fn streams(lines: &mut Lines, exec: &Exec) {
    let streams = [
        ("StandardInput", exec.input_stream()),
        ("StandardOutput", exec.output_stream()),
        ("StandardError", exec.error_stream()),
    ];
    for (name, stream) in &streams {
        lines.put(name, stream_word(stream));
    }
    for (name, stream) in &streams {
        if let Stream::Named(descriptor) = stream {
            let own = name.trim_start_matches("Standard").to_ascii_lowercase();
            let shown = if descriptor.is_empty() { format!("std{own}") } else { descriptor.clone() };
            lines.put(&format!("{name}FileDescriptorName"), shown);
        }
    }
    for (name, stream) in &streams {
        match stream {
            Stream::File(path) => lines.put(&format!("{name}File"), path),
            Stream::Append(path) => lines.put(&format!("{name}FileToAppend"), path),
            Stream::Truncate(path) => lines.put(&format!("{name}FileToTruncate"), path),
            Stream::Inherit
            | Stream::Null
            | Stream::Tty
            | Stream::TtyForce
            | Stream::TtyFail
            | Stream::Journal
            | Stream::Kmsg
            | Stream::JournalConsole
            | Stream::KmsgConsole
            | Stream::Socket
            | Stream::Data
            | Stream::Named(_) => {}
        }
    }
    if let Some(path) = &exec.tty_path {
        lines.put("TTYPath", path);
        lines.flag("TTYReset", exec.tty_reset);
        lines.flag("TTYVHangup", exec.tty_vhangup);
        lines.flag("TTYVTDisallocate", exec.tty_vt_disallocate);
        lines.put("TTYRows", exec.tty_rows.unwrap_or(u32::MAX).to_string());
        lines.put("TTYColumns", exec.tty_columns.unwrap_or(u32::MAX).to_string());
    }
}

fn logging(lines: &mut Lines, exec: &Exec) {
    let logging = &exec.sandbox.logging;
    let level = |number: u8| LEVELS.get(usize::from(number)).copied().unwrap_or("n/a");
    if exec.uses_journal() {
        lines.put("SyslogFacility", FACILITIES.get(usize::from(logging.facility)).copied().unwrap_or(""));
        lines.put("SyslogLevel", level(exec.syslog_level));
    }
    if let Some(max) = logging.level_max {
        lines.put("LogLevelMax", level(max));
    }
    if logging.rate_interval != Span::seconds(0) {
        lines.put("LogRateLimitIntervalSec", whole_seconds(logging.rate_interval));
    }
    if logging.rate_burst > 0 {
        lines.put("LogRateLimitBurst", logging.rate_burst.to_string());
    }
    if !logging.filter_patterns.is_empty() {
        let side = |kept: bool, mark: &'static str| {
            let of_side = logging.filter_patterns.iter().filter(move |(keep, _)| *keep == kept);
            of_side.map(move |(_, pattern)| format!("{mark}{pattern}"))
        };
        lines.put("LogFilterPatterns", side(true, "").chain(side(false, "~")).collect::<Vec<_>>().join(" "));
    }
    for field in &logging.extra_fields {
        lines.put("LogExtraFields", field);
    }
    if let Some(namespace) = &logging.namespace {
        lines.put("LogNamespace", namespace);
    }
}

fn identity(lines: &mut Lines, exec: &Exec) {
    let sandbox = &exec.sandbox;
    if sandbox.secure_bits != 0 {
        let names = SECURE_BITS.iter().filter(|(_, bit)| sandbox.secure_bits >> bit & 1 == 1).map(|(name, _)| *name);
        lines.put("Secure Bits", names.collect::<Vec<_>>().join(" "));
    }
    if let Some(set) = sandbox.bounding_set {
        lines.put("CapabilityBoundingSet", set.text());
    }
    if !sandbox.ambient_set.is_empty() {
        lines.put("AmbientCapabilities", sandbox.ambient_set.text());
    }
    for (name, account) in [("User", &exec.user), ("Group", &exec.group)] {
        if let Some(account) = account {
            lines.put(name, account);
        }
    }
    lines.flag("DynamicUser", sandbox.dynamic_user);
    list(lines, "SupplementaryGroups", &exec.supplementary_groups);
    if let Some(name) = &sandbox.pam_name {
        lines.put("PAMName", name);
    }
}

/// A list on one line, unless it is empty.
fn list(lines: &mut Lines, name: &str, words: &[String]) {
    if !words.is_empty() {
        lines.put(name, words.join(" "));
    }
}

fn namespace_paths(lines: &mut Lines, name: &str, paths: &[NamespacePath]) {
    let text = |path: &NamespacePath| {
        let optional = if path.optional { "-" } else { "" };
        format!("{optional}{}{}", if path.below_root { "+" } else { "" }, path.path)
    };
    list(lines, name, &paths.iter().map(text).collect::<Vec<_>>());
}

fn paths(lines: &mut Lines, exec: &Exec) {
    let mounts = &exec.sandbox.mounts;
    namespace_paths(lines, "ReadWritePaths", &mounts.read_write);
    namespace_paths(lines, "ReadOnlyPaths", &mounts.read_only);
    namespace_paths(lines, "InaccessiblePaths", &mounts.inaccessible);
    namespace_paths(lines, "ExecPaths", &mounts.exec);
    namespace_paths(lines, "NoExecPaths", &mounts.no_exec);
    list(lines, "ExecSearchPath", &mounts.exec_search_path);
    for bind in &mounts.bind {
        let name = if bind.read_only { "BindReadOnlyPaths" } else { "BindPaths" };
        let optional = if bind.optional { "-" } else { "" };
        let kind = if bind.recursive { "rbind" } else { "norbind" };
        lines.put(name, format!("{optional}{}:{}:{kind}", bind.source, bind.destination));
    }
    for tmpfs in &mounts.temporary {
        let colon = if tmpfs.options.is_empty() { "" } else { ":" };
        lines.put("TemporaryFileSystem", format!("{}{colon}{}", tmpfs.path, tmpfs.options));
    }
    if let Some(name) = &exec.sandbox.utmp_identifier {
        lines.put("UtmpIdentifier", name);
    }
}

fn label(lines: &mut Lines, name: &str, label: Option<&Label>) {
    if let Some(label) = label {
        lines.put(name, format!("{}{}", if label.optional { "-" } else { "" }, label.name));
    }
}

fn system_calls(lines: &mut Lines, exec: &Exec) {
    let sandbox = &exec.sandbox;
    label(lines, "SELinuxContext", sandbox.selinux_context.as_ref());
    label(lines, "AppArmorProfile", sandbox.apparmor_profile.as_ref());
    label(lines, "SmackProcessLabel", sandbox.smack_label.as_ref());
    if let Some(name) = &sandbox.scheduling.personality {
        lines.put("Personality", name);
    }
    lines.flag("LockPersonality", sandbox.lock_personality);
    if let Some(filter) = &sandbox.syscall_filter {
        lines.put("SystemCallFilter", filter_text(filter));
    }
    list(lines, "SystemCallArchitectures", &sandbox.syscall_architectures);
    if let Some(allowed) = sandbox.restricted_namespaces() {
        let names = NAMESPACES.iter().filter(|(_, bit)| allowed & bit != 0).map(|(name, _)| *name);
        let text = names.collect::<Vec<_>>().join(" ");
        lines.put("RestrictNamespaces", if text.is_empty() { "n/a".into() } else { text });
    }
    for name in sandbox.file_systems.iter().flat_map(|list| &list.names) {
        lines.put("RestrictFileSystems", name);
    }
    if let Some(path) = &sandbox.network_namespace_path {
        lines.put("NetworkNamespacePath", path);
    }
    let error = match sandbox.syscall_error {
        SyscallError::Kill => "kill".to_owned(),
        SyscallError::Errno(number) => error_text(number),
    };
    lines.put("SystemCallErrorNumber", error);
}

fn error_text(number: i32) -> String {
    errno::name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The calls of a list, each with what it gets instead of the usual answer.
pub(crate) fn filter_text(filter: &SyscallFilter) -> String {
    let text = |(name, answer): (&&str, &Option<Answer>)| match answer {
        None => (*name).to_owned(),
        Some(Answer::Kill) => format!("{name}:kill"),
        Some(Answer::Errno(number)) => format!("{name}:{}", error_text(*number)),
    };
    let calls: Vec<String> = filter.calls.iter().map(text).collect();
    format!("{}{}", if filter.allow { "" } else { "~" }, calls.join(" "))
}

fn image_mounts(lines: &mut Lines, exec: &Exec) {
    let mounts = &exec.sandbox.mounts;
    for (name, images) in [("MountImages", &mounts.mount_images), ("ExtensionImages", &mounts.extension_images)] {
        for image in images {
            let mut text = format!("{}{}", if image.optional { "-" } else { "" }, image.source);
            if !image.destination.is_empty() {
                text.push_str(&format!(":{}", image.destination));
            }
            for (partition, options) in &image.options {
                text.push_str(&format!(":{partition}:{options}"));
            }
            lines.put(name, text);
        }
    }
    namespace_paths(lines, "ExtensionDirectories", &mounts.extension_directories);
}
