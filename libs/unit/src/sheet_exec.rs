//! The sheet of the context in which processes run. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::capability::CapabilitySet;
use crate::directories;
use crate::exec::{Exec, Limit, Resource, Stream};
use crate::sandbox::{
    BindMount, ImageMount, Label, NAMESPACES_ALL, NamespacePath, PrivateTmp, PrivateUsers, Propagation,
    ProtectControlGroups, SyscallError,
};
use crate::sandbox_table::{
    KEYRING, NAMESPACES, NUMA_POLICIES, PRIVATE_TMP, PRIVATE_USERS, PROC_SUBSET, PROTECT_GROUPS, PROTECT_HOME,
    PROTECT_PROC, PROTECT_SYSTEM, UTMP,
};
use crate::sheet::{Defaults, Sheet, UNPRINTABLE, words_text};
use crate::show_exec::{LIMITS, filter_text, stream_word, word};
use crate::socket_family;
use crate::syscall::SyscallFilter;
use crate::unit::{Config, Unit};

/// Whether the defaults of units were given to a context: one that could not be loaded has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadedOrNot {
    Loaded,
    NotLoaded,
}

/// The policy for images of a unit that has none of its own.
const IMAGE_POLICY: &str = "root=verity+signed+encrypted+unprotected+absent:\
    usr=verity+signed+encrypted+unprotected+absent:home=encrypted+unprotected+absent:\
    srv=encrypted+unprotected+absent:tmp=encrypted+unprotected+absent:var=encrypted+unprotected+absent";

/// Resources in the order of the interface.
const RESOURCES: [(&str, Resource); 16] = [
    ("CPU", Resource::Cpu),
    ("FSIZE", Resource::Fsize),
    ("DATA", Resource::Data),
    ("STACK", Resource::Stack),
    ("CORE", Resource::Core),
    ("RSS", Resource::Rss),
    ("NOFILE", Resource::Nofile),
    ("AS", Resource::As),
    ("NPROC", Resource::Nproc),
    ("MEMLOCK", Resource::Memlock),
    ("LOCKS", Resource::Locks),
    ("SIGPENDING", Resource::Sigpending),
    ("MSGQUEUE", Resource::Msgqueue),
    ("NICE", Resource::Nice),
    ("RTPRIO", Resource::Rtprio),
    ("RTTIME", Resource::Rttime),
];

pub(crate) fn context(sheet: &mut Sheet, unit: &Unit, exec: &Exec, defaults: &Defaults, state: LoadedOrNot) {
    environment(sheet, exec);
    sheet.put("UMask", format!("{:04o}", exec.umask));
    limits(sheet, "Limit", &exec.limits, defaults, state);
    roots(sheet, exec);
    scheduling(sheet, exec, defaults);
    streams(sheet, exec, state);
    logging(sheet, exec);
    identity(sheet, exec);
    paths(sheet, exec);
    // The helper of a mount stays in the process group of PID 1.
    protections(sheet, exec, matches!(unit.config, Config::Mount(_)));
    system_calls(sheet, exec);
    directories(sheet, exec);
    restrictions(sheet, exec);
}

fn environment(sheet: &mut Sheet, exec: &Exec) {
    sheet.list("Environment", exec.environment.iter().map(|(name, value)| format!("{name}={value}")));
    for file in &exec.environment_files {
        let ignored = crate::sheet::yes_no(file.optional);
        sheet.put("EnvironmentFiles", format!("{} (ignore_errors={ignored})", file.path));
    }
    sheet.list("PassEnvironment", &exec.pass_environment);
    sheet.list("UnsetEnvironment", &exec.unset_environment);
}

/// Two lines a resource: the hard limit, and the soft one.
fn limits(sheet: &mut Sheet, prefix: &str, own: &[(Resource, Limit)], defaults: &Defaults, state: LoadedOrNot) {
    let text = |limit: u64| if limit == u64::MAX { "infinity".to_owned() } else { limit.to_string() };
    for (name, resource) in RESOURCES {
        let find =
            |list: &[(Resource, Limit)]| list.iter().find(|(have, _)| *have == resource).map(|(_, limit)| *limit);
        let unwritten = LIMITS.as_slice();
        let written = find(own).or_else(|| find(unwritten).filter(|_| state == LoadedOrNot::Loaded));
        let (soft, hard) = match written {
            Some(limit) => (limit.soft.unwrap_or(u64::MAX), limit.hard.unwrap_or(u64::MAX)),
            None => {
                let of_manager = defaults.limits.iter().find(|(have, ..)| *have == resource);
                of_manager.map_or((u64::MAX, u64::MAX), |(_, soft, hard)| (*soft, *hard))
            }
        };
        sheet.put(&format!("{prefix}{name}"), text(hard));
        sheet.put(&format!("{prefix}{name}Soft"), text(soft));
    }
}

/// The limits that units have unless they say otherwise: `DefaultLimit…` of the manager.
pub(crate) fn default_limits(sheet: &mut Sheet, defaults: &Defaults) {
    limits(sheet, "DefaultLimit", &[], defaults, LoadedOrNot::Loaded);
}

fn image_text(image: &ImageMount) -> String {
    let mut text = format!("{}{}", if image.optional { "-" } else { "" }, image.source);
    if !image.destination.is_empty() {
        text.push_str(&format!(":{}", image.destination));
    }
    for (partition, options) in &image.options {
        text.push_str(&format!(":{partition}:{options}"));
    }
    text
}

fn namespace_paths(sheet: &mut Sheet, name: &str, paths: &[NamespacePath]) {
    let text = |path: &NamespacePath| {
        let optional = if path.optional { "-" } else { "" };
        format!("{optional}{}{}", if path.below_root { "+" } else { "" }, path.path)
    };
    sheet.list(name, paths.iter().map(text));
}

fn roots(sheet: &mut Sheet, exec: &Exec) {
    let mounts = &exec.sandbox.mounts;
    let mark = if exec.working_directory_optional { "!" } else { "" };
    let directory = exec.working_directory.as_deref().map(|path| format!("{mark}{path}"));
    sheet.put("WorkingDirectory", directory.unwrap_or_default());
    sheet.optional("RootDirectory", mounts.root_directory.as_ref());
    sheet.optional("RootImage", mounts.root_image.as_ref());
    for (partition, options) in &mounts.root_image_options {
        sheet.put("RootImageOptions", format!("{partition}:{options}"));
    }
    for (name, value) in [("RootHash", &mounts.root_hash), ("RootHashSignature", &mounts.root_hash_signature)] {
        let is_path = value.as_ref().is_some_and(|value| value.starts_with('/'));
        sheet.put(name, value.clone().filter(|_| !is_path).unwrap_or_default());
        sheet.put(&format!("{name}Path"), value.clone().filter(|_| is_path).unwrap_or_default());
    }
    sheet.optional("RootVerity", mounts.root_verity.as_ref());
    sheet.flag("RootEphemeral", mounts.root_ephemeral);
    namespace_paths(sheet, "ExtensionDirectories", &mounts.extension_directories);
    let images = |list: &[ImageMount]| list.iter().map(image_text).collect::<Vec<_>>().join(" ");
    sheet.put("ExtensionImages", images(&mounts.extension_images));
    sheet.put("MountImages", images(&mounts.mount_images));
}

fn scheduling(sheet: &mut Sheet, exec: &Exec, defaults: &Defaults) {
    let scheduling = &exec.sandbox.scheduling;
    sheet.put("OOMScoreAdjust", exec.oom_score_adjust.unwrap_or(defaults.oom_score_adjust).to_string());
    sheet.put("CoredumpFilter", format!("0x{:x}", scheduling.coredump_filter.unwrap_or(0x33)));
    sheet.put("Nice", exec.nice.unwrap_or(0).to_string());
    let io = scheduling.io.unwrap_or_default();
    sheet.put("IOSchedulingClass", io.class.number().to_string());
    sheet.put("IOSchedulingPriority", io.level.to_string());
    sheet.put("CPUSchedulingPolicy", scheduling.cpu.policy.number().to_string());
    sheet.put("CPUSchedulingPriority", scheduling.cpu.priority.to_string());
    sheet.put("CPUAffinity", scheduling.cpu_affinity.as_ref().map(|set| set.text()).unwrap_or_default());
    sheet.flag("CPUAffinityFromNUMA", scheduling.cpu_affinity_from_numa);
    sheet.put("NUMAPolicy", scheduling.numa_policy.map_or("n/a", |policy| word(&NUMA_POLICIES, &policy)));
    sheet.put("NUMAMask", scheduling.numa_mask.nodes.text());
    sheet.put("TimerSlackNSec", scheduling.timer_slack_ns.unwrap_or(defaults.timer_slack_ns).to_string());
    sheet.flag("CPUSchedulingResetOnFork", scheduling.cpu.reset_on_fork);
}

fn streams(sheet: &mut Sheet, exec: &Exec, state: LoadedOrNot) {
    sheet.flag("NonBlocking", exec.non_blocking);
    let (input, mut output) = (exec.input_stream(), exec.output_stream());
    if state == LoadedOrNot::NotLoaded && exec.output.is_none() {
        output = Stream::Inherit;
    }
    let mut put = |name: &str, stream: &Stream, own: &str| {
        sheet.put(name, stream_word(stream));
        let descriptor = match stream {
            Stream::Named(name) if name.is_empty() => own.to_owned(),
            Stream::Named(name) => name.clone(),
            _ => String::new(),
        };
        sheet.put(&format!("{name}FileDescriptorName"), descriptor);
        if name == "StandardInput" {
            sheet.put("StandardInputData", STANDARD.encode(&exec.input_data));
        }
    };
    put("StandardInput", &input, "stdin");
    put("StandardOutput", &output, "stdout");
    put("StandardError", &exec.error_stream(), "stderr");
    sheet.optional("TTYPath", exec.tty_path.as_ref());
    sheet.flag("TTYReset", exec.tty_reset);
    sheet.flag("TTYVHangup", exec.tty_vhangup);
    sheet.flag("TTYVTDisallocate", exec.tty_vt_disallocate);
    // Sixteen bits wide, for which there is no text.
    sheet.put("TTYRows", UNPRINTABLE);
    sheet.put("TTYColumns", UNPRINTABLE);
}

fn logging(sheet: &mut Sheet, exec: &Exec) {
    let logging = &exec.sandbox.logging;
    let priority = u32::from(logging.facility) * 8 + u32::from(exec.syslog_level);
    sheet.put("SyslogPriority", priority.to_string());
    sheet.optional("SyslogIdentifier", exec.syslog_identifier.as_ref());
    sheet.flag("SyslogLevelPrefix", exec.syslog_level_prefix);
    sheet.put("SyslogLevel", exec.syslog_level.to_string());
    sheet.put("SyslogFacility", logging.facility.to_string());
    sheet.put("LogLevelMax", logging.level_max.map_or("-1".to_owned(), |level| level.to_string()));
    sheet.span("LogRateLimitIntervalUSec", logging.rate_interval);
    sheet.put("LogRateLimitBurst", logging.rate_burst.to_string());
    sheet.put("LogExtraFields", logging.extra_fields.join(" "));
    if !logging.filter_patterns.is_empty() {
        let side = |kept: bool, mark: &'static str| {
            let of_side = logging.filter_patterns.iter().filter(move |(keep, _)| *keep == kept);
            of_side.map(move |(_, pattern)| format!("{mark}{pattern}"))
        };
        sheet.put("LogFilterPatterns", side(true, "").chain(side(false, "~")).collect::<Vec<_>>().join(" "));
    }
    sheet.optional("LogNamespace", logging.namespace.as_ref());
}

fn identity(sheet: &mut Sheet, exec: &Exec) {
    let sandbox = &exec.sandbox;
    sheet.put("SecureBits", sandbox.secure_bits.to_string());
    let bounding = sandbox.bounding_set.unwrap_or(CapabilitySet::from_bits(u64::MAX));
    sheet.put("CapabilityBoundingSet", bounding.text());
    sheet.put("AmbientCapabilities", sandbox.ambient_set.text());
    sheet.optional("User", exec.user.as_ref());
    sheet.optional("Group", exec.group.as_ref());
    sheet.flag("DynamicUser", sandbox.dynamic_user);
    let login = exec.user.is_some() || sandbox.dynamic_user || sandbox.pam_name.is_some();
    sheet.flag("SetLoginEnvironment", sandbox.set_login_environment.unwrap_or(login));
    sheet.flag("RemoveIPC", sandbox.remove_ipc);
    for name in ["SetCredential", "SetCredentialEncrypted", "LoadCredential", "LoadCredentialEncrypted"] {
        sheet.put(name, UNPRINTABLE);
    }
    sheet.list("ImportCredential", sandbox.import_credentials.iter().map(|import| &import.glob));
    sheet.put("ImportCredentialEx", UNPRINTABLE);
    sheet.list("SupplementaryGroups", &exec.supplementary_groups);
    sheet.optional("PAMName", sandbox.pam_name.as_ref());
}

fn paths(sheet: &mut Sheet, exec: &Exec) {
    let mounts = &exec.sandbox.mounts;
    namespace_paths(sheet, "ReadWritePaths", &mounts.read_write);
    namespace_paths(sheet, "ReadOnlyPaths", &mounts.read_only);
    namespace_paths(sheet, "InaccessiblePaths", &mounts.inaccessible);
    namespace_paths(sheet, "ExecPaths", &mounts.exec);
    namespace_paths(sheet, "NoExecPaths", &mounts.no_exec);
    sheet.list("ExecSearchPath", &mounts.exec_search_path);
    let propagation = match mounts.propagation {
        None => "",
        Some(Propagation::Shared) => "shared",
        Some(Propagation::Slave) => "slave",
        Some(Propagation::Private) => "private",
    };
    sheet.put("MountFlags", propagation);
}

fn protections(sheet: &mut Sheet, exec: &Exec, same_group: bool) {
    let sandbox = &exec.sandbox;
    sheet.flag("PrivateTmp", sandbox.private_tmp != PrivateTmp::No);
    sheet.put("PrivateTmpEx", word(&PRIVATE_TMP, &sandbox.private_tmp));
    sheet.flag("PrivateDevices", sandbox.private_devices);
    sheet.flag("ProtectClock", sandbox.protect_clock);
    sheet.flag("ProtectKernelTunables", sandbox.protect_kernel_tunables);
    sheet.flag("ProtectKernelModules", sandbox.protect_kernel_modules);
    sheet.flag("ProtectKernelLogs", sandbox.protect_kernel_logs);
    sheet.flag("ProtectControlGroups", sandbox.protect_control_groups != ProtectControlGroups::No);
    sheet.put("ProtectControlGroupsEx", word(&PROTECT_GROUPS, &sandbox.protect_control_groups));
    sheet.flag("PrivateNetwork", sandbox.private_network);
    sheet.flag("PrivateUsers", sandbox.private_users != PrivateUsers::No);
    sheet.put("PrivateUsersEx", word(&PRIVATE_USERS, &sandbox.private_users));
    sheet.flag("PrivateMounts", sandbox.mounts.private_mounts.unwrap_or(false));
    sheet.flag("PrivateIPC", sandbox.private_ipc);
    sheet.flag("PrivatePIDs", sandbox.private_pids);
    sheet.put("ProtectHome", word(&PROTECT_HOME, &sandbox.protect_home));
    sheet.put("ProtectSystem", word(&PROTECT_SYSTEM, &sandbox.protect_system));
    sheet.flag("SameProcessGroup", same_group);
    sheet.optional("UtmpIdentifier", sandbox.utmp_identifier.as_ref());
    sheet.put("UtmpMode", word(&UTMP, &sandbox.utmp_mode));
    let label = |label: &Option<Label>| {
        let text = |label: &Label| format!("{}{}", if label.optional { "-" } else { "" }, label.name);
        label.as_ref().map(text).unwrap_or_default()
    };
    sheet.put("SELinuxContext", label(&sandbox.selinux_context));
    sheet.put("AppArmorProfile", label(&sandbox.apparmor_profile));
    sheet.put("SmackProcessLabel", label(&sandbox.smack_label));
    sheet.flag("IgnoreSIGPIPE", exec.ignore_sigpipe);
    sheet.flag("NoNewPrivileges", sandbox.no_new_privileges);
}

fn system_calls(sheet: &mut Sheet, exec: &Exec) {
    let sandbox = &exec.sandbox;
    let filter = |filter: &Option<SyscallFilter>| filter.as_ref().map_or("~".to_owned(), filter_text);
    sheet.put("SystemCallFilter", filter(&sandbox.syscall_filter));
    sheet.list("SystemCallArchitectures", &sandbox.syscall_architectures);
    let error = match sandbox.syscall_error {
        SyscallError::Kill => i32::MAX - 1,
        SyscallError::Errno(number) => number,
    };
    sheet.put("SystemCallErrorNumber", error.to_string());
    sheet.put("SystemCallLog", filter(&sandbox.syscall_log));
    sheet.optional("Personality", sandbox.scheduling.personality.as_ref());
    sheet.flag("LockPersonality", sandbox.lock_personality);
    let families = sandbox.address_families.as_ref();
    let tilde = if families.is_some_and(|list| list.allow) { "" } else { "~" };
    let mut names: Vec<String> =
        families.iter().flat_map(|list| &list.families).filter_map(|family| socket_family::name(*family)).collect();
    names.sort();
    sheet.put("RestrictAddressFamilies", format!("{tilde}{}", names.join(" ")));
}

fn directories(sheet: &mut Sheet, exec: &Exec) {
    for (name, directories) in directories::NAMES.into_iter().zip(exec.all_directories()) {
        if name != "ConfigurationDirectory" {
            for item in &directories.items {
                let flags = if item.read_only { ":ro" } else { "" };
                for link in &item.links {
                    sheet.put(&format!("{name}Symlink"), format!("{}:{link}{flags}", item.path));
                }
                if item.links.is_empty() {
                    sheet.put(&format!("{name}Symlink"), format!("{}:{flags}", item.path));
                }
            }
        }
        if name == "RuntimeDirectory" {
            sheet.put("RuntimeDirectoryPreserve", exec.runtime_preserve.as_str());
        }
        sheet.put(&format!("{name}Mode"), format!("{:04o}", directories.mode.unwrap_or(0o755)));
        sheet.list(name, directories.paths());
    }
    sheet.span("TimeoutCleanUSec", exec.timeout_clean);
}

fn restrictions(sheet: &mut Sheet, exec: &Exec) {
    let (sandbox, mounts) = (&exec.sandbox, &exec.sandbox.mounts);
    sheet.flag("MemoryDenyWriteExecute", sandbox.memory_deny_write_execute);
    sheet.flag("RestrictRealtime", sandbox.restrict_realtime);
    sheet.flag("RestrictSUIDSGID", sandbox.restrict_suid_sgid);
    sheet.put("RestrictNamespaces", namespaces(sandbox.allowed_namespaces));
    let file_systems = sandbox.file_systems.as_ref();
    let tilde = if file_systems.is_some_and(|list| list.allow) { "" } else { "~" };
    let names = file_systems.map(|list| list.names.join(" ")).unwrap_or_default();
    sheet.put("RestrictFileSystems", format!("{tilde}{names}"));
    let bind = |bind: &BindMount| {
        let optional = if bind.optional { "-" } else { "" };
        let recursive = if bind.recursive { ":rbind" } else { "" };
        format!("{optional}{}:{}{recursive}", bind.source, bind.destination)
    };
    for (name, read_only) in [("BindPaths", false), ("BindReadOnlyPaths", true)] {
        let list = mounts.bind.iter().filter(|bind| bind.read_only == read_only).map(bind);
        sheet.put(name, list.collect::<Vec<_>>().join(" "));
    }
    let temporary = mounts.temporary.iter().map(|tmpfs| {
        let colon = if tmpfs.options.is_empty() { "" } else { ":" };
        format!("{}{colon}{}", tmpfs.path, tmpfs.options)
    });
    sheet.put("TemporaryFileSystem", temporary.collect::<Vec<_>>().join(" "));
    sheet.flag("MountAPIVFS", exec.mounts_api_vfs());
    sheet.flag("BindLogSockets", exec.binds_log_sockets());
    sheet.put("KeyringMode", word(&KEYRING, &sandbox.keyring_mode.unwrap_or_default()));
    sheet.put("ProtectProc", word(&PROTECT_PROC, &sandbox.protect_proc));
    sheet.put("ProcSubset", word(&PROC_SUBSET, &sandbox.proc_subset));
    sheet.flag("ProtectHostname", sandbox.protect_hostname);
    sheet.flag("MemoryKSM", sandbox.scheduling.memory_ksm.unwrap_or(false));
    sheet.optional("NetworkNamespacePath", sandbox.network_namespace_path.as_ref());
    sheet.optional("IPCNamespacePath", sandbox.ipc_namespace_path.as_ref());
    for name in ["RootImagePolicy", "MountImagePolicy", "ExtensionImagePolicy"] {
        let own = mounts.image_policies.iter().find(|(have, _)| have == name);
        sheet.put(name, own.map_or(IMAGE_POLICY, |(_, policy)| policy.as_str()));
    }
}

/// Namespaces that may be made: `no` without a restriction, `yes` if it is all of them.
fn namespaces(allowed: Option<u64>) -> String {
    match allowed.map(|allowed| allowed & NAMESPACES_ALL) {
        None => "no".into(),
        Some(allowed) if allowed == NAMESPACES_ALL => "no".into(),
        Some(0) => "yes".into(),
        Some(allowed) => words_text(NAMESPACES.iter().filter(|(_, bit)| allowed & bit != 0).map(|(name, _)| *name)),
    }
}
