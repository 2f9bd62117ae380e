//! The directives of [`crate::sandbox`] but those of paths, and what their values mean. Pure.

use crate::capability::CapabilitySet;
use crate::cpu_set::CpuSet;
use crate::directive::{Table, Value};
use crate::errno;
use crate::lists::{absolute, each, each_raw, push};
use crate::sandbox::{
    AddressFamilies, CpuPolicy, FileSystems, IoClass, IoPriority, KeyringMode, Label, NAMESPACES_ALL, NumaPolicy,
    PrivateTmp, PrivateUsers, ProcSubset, ProtectControlGroups, ProtectHome, ProtectProc, ProtectSystem, Sandbox,
    SyscallError, UtmpMode,
};
use crate::socket_family;
use crate::syscall::{Change, SyscallFilter};
use crate::value::{Parsed, ValueError, boolean, number, span, wrong};
use crate::words::Escapes;

/// One of several words.
pub(crate) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        wrong(text, &format!("one of {}", names.join(", ")))
    })
}

/// One of several words; a boolean is the second or the first of them.
fn flag_or<T: Copy>(text: &str, words: &[(&str, T)]) -> Parsed<T> {
    match (boolean(text), words) {
        (Ok(true), [_, (_, yes), ..]) => Ok(*yes),
        (Ok(false), [(_, no), ..]) => Ok(*no),
        _ => one_of(text, words),
    }
}

pub(crate) fn flag(value: &Value<'_>) -> Parsed<bool> {
    boolean(value.raw)
}

/// A boolean, or nothing written.
pub(crate) fn tristate(value: &Value<'_>) -> Parsed<Option<bool>> {
    if value.is_empty() { Ok(None) } else { boolean(value.raw).map(Some) }
}

pub(crate) const PRIVATE_TMP: [(&str, PrivateTmp); 3] =
    [("no", PrivateTmp::No), ("connected", PrivateTmp::Connected), ("disconnected", PrivateTmp::Disconnected)];
pub(crate) const PRIVATE_USERS: [(&str, PrivateUsers); 3] =
    [("no", PrivateUsers::No), ("self", PrivateUsers::Own), ("identity", PrivateUsers::Identity)];
pub(crate) const PROTECT_HOME: [(&str, ProtectHome); 4] = [
    ("no", ProtectHome::No),
    ("yes", ProtectHome::Yes),
    ("read-only", ProtectHome::ReadOnly),
    ("tmpfs", ProtectHome::Tmpfs),
];
pub(crate) const PROTECT_SYSTEM: [(&str, ProtectSystem); 4] = [
    ("no", ProtectSystem::No),
    ("yes", ProtectSystem::Yes),
    ("full", ProtectSystem::Full),
    ("strict", ProtectSystem::Strict),
];
pub(crate) const PROTECT_GROUPS: [(&str, ProtectControlGroups); 4] = [
    ("no", ProtectControlGroups::No),
    ("yes", ProtectControlGroups::Yes),
    ("private", ProtectControlGroups::Private),
    ("strict", ProtectControlGroups::Strict),
];
pub(crate) const PROTECT_PROC: [(&str, ProtectProc); 4] = [
    ("default", ProtectProc::Default),
    ("noaccess", ProtectProc::NoAccess),
    ("invisible", ProtectProc::Invisible),
    ("ptraceable", ProtectProc::Ptraceable),
];
pub(crate) const PROC_SUBSET: [(&str, ProcSubset); 2] = [("all", ProcSubset::All), ("pid", ProcSubset::Pid)];
pub(crate) const KEYRING: [(&str, KeyringMode); 3] =
    [("inherit", KeyringMode::Inherit), ("private", KeyringMode::Private), ("shared", KeyringMode::Shared)];
pub(crate) const UTMP: [(&str, UtmpMode); 3] =
    [("init", UtmpMode::Init), ("login", UtmpMode::Login), ("user", UtmpMode::User)];
pub(crate) const IO_CLASSES: [(&str, IoClass); 4] = [
    ("none", IoClass::None),
    ("realtime", IoClass::Realtime),
    ("best-effort", IoClass::BestEffort),
    ("idle", IoClass::Idle),
];
pub(crate) const CPU_POLICIES: [(&str, CpuPolicy); 5] = [
    ("other", CpuPolicy::Other),
    ("batch", CpuPolicy::Batch),
    ("idle", CpuPolicy::Idle),
    ("fifo", CpuPolicy::Fifo),
    ("rr", CpuPolicy::RoundRobin),
];
pub(crate) const NUMA_POLICIES: [(&str, NumaPolicy); 5] = [
    ("default", NumaPolicy::Default),
    ("preferred", NumaPolicy::Preferred),
    ("bind", NumaPolicy::Bind),
    ("interleave", NumaPolicy::Interleave),
    ("local", NumaPolicy::Local),
];
/// Names of facilities by number; 12 to 15 have none.
pub(crate) const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "", "", "",
    "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
/// Namespaces by name, in the order they are shown.
pub(crate) const NAMESPACES: [(&str, u64); 8] = [
    ("cgroup", 0x0200_0000),
    ("ipc", 0x0800_0000),
    ("net", 0x4000_0000),
    ("mnt", 0x0002_0000),
    ("pid", 0x2000_0000),
    ("user", 0x1000_0000),
    ("uts", 0x0400_0000),
    ("time", 0x0000_0080),
];
const CORE_FILTERS: [&str; 9] = [
    "private-anonymous",
    "shared-anonymous",
    "private-file-backed",
    "shared-file-backed",
    "elf-headers",
    "private-huge",
    "shared-huge",
    "private-dax",
    "shared-dax",
];
/// `SecureBits=` by bit.
pub(crate) const SECURE_BITS: [(&str, u32); 6] = [
    ("keep-caps", 4),
    ("keep-caps-locked", 5),
    ("no-setuid-fixup", 2),
    ("no-setuid-fixup-locked", 3),
    ("noroot", 0),
    ("noroot-locked", 1),
];
const ARCHITECTURES: [&str; 21] = [
    "native",
    "x86",
    "x86-64",
    "x32",
    "arm",
    "arm64",
    "loongarch64",
    "mips",
    "mips64",
    "mips64-n32",
    "mips-le",
    "mips64-le",
    "mips64-le-n32",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64-le",
    "riscv64",
    "s390",
    "s390x",
];

/// `~` in front, and what is behind it.
fn inverted<'a>(value: &'a Value<'_>) -> (Change, &'a str) {
    match value.raw.strip_prefix('~') {
        Some(rest) => (Change::Inverted, rest),
        None => (Change::Plain, value.raw),
    }
}

/// Words of capabilities; what is no capability is told, and the others count.
fn capabilities(text: &str) -> Parsed<(CapabilitySet, Parsed<()>)> {
    let words = crate::words::split(text, Escapes::Plain).map_err(|error| ValueError(error.to_string()))?;
    Ok(CapabilitySet::parse(&words))
}

fn bounding_set(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    let (change, text) = inverted(value);
    let (named, outcome) = capabilities(text)?;
    sandbox.bounding_set = Some(match (sandbox.bounding_set, change) {
        (Some(have), Change::Plain) if !named.is_empty() => have.with(named),
        (Some(have), Change::Inverted) if !named.is_empty() => have.without(named),
        (_, Change::Plain) => named,
        (_, Change::Inverted) => CapabilitySet::ALL.without(named),
    });
    // `~` alone is the whole set, which is the same as none written.
    if change == Change::Inverted && named.is_empty() {
        sandbox.bounding_set = None;
    }
    outcome
}

fn ambient_set(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    let (change, text) = inverted(value);
    let (named, outcome) = capabilities(text)?;
    let fresh = named.is_empty() || sandbox.ambient_set.is_empty();
    sandbox.ambient_set = match (fresh, change) {
        (true, Change::Plain) => named,
        (true, Change::Inverted) => CapabilitySet::ALL.without(named),
        (false, Change::Plain) => sandbox.ambient_set.with(named),
        (false, Change::Inverted) => sandbox.ambient_set.without(named),
    };
    outcome
}

fn secure_bits(value: &Value<'_>) -> Parsed<u32> {
    // What is no name is passed over, as in systemd.
    let words = crate::words::split(value.raw, Escapes::Plain).map_err(|error| ValueError(error.to_string()))?;
    let bit = |word: &String| SECURE_BITS.iter().find(|(name, _)| name == word).map_or(0, |(_, bit)| 1 << bit);
    Ok(words.iter().map(bit).fold(0, |all, bit| all | bit))
}

fn syscalls(list: &mut Option<SyscallFilter>, value: &Value<'_>, defaults: &[&str]) -> Parsed<()> {
    if value.is_empty() {
        *list = None;
        return Ok(());
    }
    let (change, text) = inverted(value);
    if list.is_none() && change == Change::Plain {
        let mut fresh = SyscallFilter::new(change);
        defaults.iter().try_for_each(|group| fresh.name(group, Change::Plain, None))?;
        *list = Some(fresh);
    }
    let list = list.get_or_insert_with(|| SyscallFilter::new(change));
    each_raw(text, Escapes::Plain, |word| list.word(&word, change))
}

fn architectures(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.syscall_architectures.clear();
        return Ok(());
    }
    each_raw(value.raw, Escapes::Plain, |word| {
        if !ARCHITECTURES.contains(&word.as_str()) {
            return Err(wrong(&word, "an architecture such as native or x86-64"));
        }
        if !sandbox.syscall_architectures.contains(&word) {
            sandbox.syscall_architectures.push(word);
        }
        Ok(())
    })
}

fn syscall_error(value: &Value<'_>) -> Parsed<SyscallError> {
    match value.raw {
        "" | "kill" => Ok(SyscallError::Kill),
        other => match errno::parse(other)? {
            0 => Err(wrong(other, "an error such as EPERM")),
            number => Ok(SyscallError::Errno(number)),
        },
    }
}

fn families(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    match value.raw {
        "" => sandbox.address_families = None,
        "none" => sandbox.address_families = Some(AddressFamilies { allow: true, families: Vec::new() }),
        _ => {
            let (change, text) = inverted(value);
            let plain = change == Change::Plain;
            let list = sandbox.address_families.get_or_insert(AddressFamilies { allow: plain, families: Vec::new() });
            return each_raw(text, Escapes::Plain, |word| {
                let family = socket_family::number(&word).ok_or_else(|| wrong(&word, "a family such as AF_INET"))?;
                list.families.retain(|have| *have != family);
                if plain == list.allow {
                    list.families.push(family);
                }
                Ok(())
            });
        }
    }
    Ok(())
}

fn namespaces(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    match boolean(value.raw) {
        _ if value.is_empty() => sandbox.allowed_namespaces = None,
        Ok(restricted) => sandbox.allowed_namespaces = Some(if restricted { 0 } else { NAMESPACES_ALL }),
        Err(_) => {
            let (change, text) = inverted(value);
            let mut named = 0;
            each_raw(text, Escapes::Plain, |word| {
                named |= one_of(&word, &NAMESPACES)?;
                Ok(())
            })?;
            sandbox.allowed_namespaces = Some(match (sandbox.allowed_namespaces, change) {
                (None, Change::Plain) => named,
                (None, Change::Inverted) => NAMESPACES_ALL & !named,
                (Some(have), Change::Plain) => have | named,
                (Some(have), Change::Inverted) => have & !named,
            });
        }
    }
    Ok(())
}

fn file_systems(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.file_systems = None;
        return Ok(());
    }
    let (change, text) = inverted(value);
    let plain = change == Change::Plain;
    let list = sandbox.file_systems.get_or_insert(FileSystems { allow: plain, names: Vec::new() });
    each_raw(text, Escapes::Plain, |word| {
        list.names.retain(|name| *name != word);
        if plain == list.allow { push(&mut list.names, word) } else { Ok(()) }
    })
}

/// A label of a security module, with `-` when its lack does not matter.
fn label(value: &Value<'_>) -> Parsed<Option<Label>> {
    if value.is_empty() {
        return Ok(None);
    }
    let plain = value.raw.strip_prefix('-');
    let name = value.specifiers.expand(plain.unwrap_or(value.raw))?;
    Ok(Some(Label { name, optional: plain.is_some() }))
}

fn io_class(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.scheduling.io = None;
        return Ok(());
    }
    let class = match value.raw.parse::<u8>() {
        Ok(number) => IO_CLASSES.get(usize::from(number)).map(|(_, class)| *class),
        Err(_) => Some(one_of(value.raw, &IO_CLASSES)?),
    };
    let level = sandbox.scheduling.io.unwrap_or_default().level;
    sandbox.scheduling.io = match class {
        None => return Err(wrong(value.raw, "a class such as idle")),
        // No class means the usual one, level and all.
        Some(IoClass::None) => Some(IoPriority::default()),
        Some(class) => Some(IoPriority { class, level }),
    };
    Ok(())
}

fn io_priority(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.scheduling.io = None;
        return Ok(());
    }
    let level = u8::try_from(number(value.raw, 0, 7)?).unwrap_or(0);
    sandbox.scheduling.io = Some(IoPriority { level, ..sandbox.scheduling.io.unwrap_or_default() });
    Ok(())
}

fn cpu_policy(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    let cpu = &mut sandbox.scheduling.cpu;
    if value.is_empty() {
        (cpu.written, cpu.policy, cpu.priority) = (false, CpuPolicy::Other, 0);
        return Ok(());
    }
    cpu.policy = match value.raw {
        "0" => CpuPolicy::Other,
        "1" => CpuPolicy::Fifo,
        "2" => CpuPolicy::RoundRobin,
        "3" => CpuPolicy::Batch,
        "5" => CpuPolicy::Idle,
        other => one_of(other, &CPU_POLICIES)?,
    };
    // Only these two have priorities.
    cpu.priority = match cpu.policy {
        CpuPolicy::Fifo | CpuPolicy::RoundRobin => cpu.priority.clamp(1, 99),
        CpuPolicy::Other | CpuPolicy::Batch | CpuPolicy::Idle | CpuPolicy::Ext => 0,
    };
    cpu.written = true;
    Ok(())
}

fn cpu_affinity(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    let scheduling = &mut sandbox.scheduling;
    if value.raw == "numa" {
        (scheduling.cpu_affinity, scheduling.cpu_affinity_from_numa) = (None, true);
        return Ok(());
    }
    let set = CpuSet::parse(&value.text()?)?;
    match (&mut scheduling.cpu_affinity, set) {
        (Some(have), Some(set)) => have.extend(&set),
        (slot, set) => *slot = set,
    }
    scheduling.cpu_affinity_from_numa = false;
    Ok(())
}

fn numa_mask(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    let mask = &mut sandbox.scheduling.numa_mask;
    if value.raw == "all" {
        mask.all = true;
        return Ok(());
    }
    match CpuSet::parse(value.raw)? {
        Some(set) => mask.nodes.extend(&set),
        None => *mask = Default::default(),
    }
    Ok(())
}

fn core_filter(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.scheduling.coredump_filter = None;
        return Ok(());
    }
    let mut mask = 0;
    each_raw(value.raw, Escapes::Plain, |word| {
        let bit = CORE_FILTERS.iter().position(|name| *name == word);
        mask = match (word.as_str(), bit) {
            ("default", _) => mask | 0x33,
            ("all", _) => u64::MAX,
            (_, Some(bit)) => mask | 1 << bit,
            (word, None) => {
                let digits = word.strip_prefix("0x").unwrap_or(word);
                mask | u64::from_str_radix(digits, 16).map_err(|_| wrong(word, "a kind of memory or a mask"))?
            }
        };
        Ok(())
    })?;
    sandbox.scheduling.coredump_filter = Some(sandbox.scheduling.coredump_filter.unwrap_or(0) | mask);
    Ok(())
}

/// Nanoseconds; a bare number is one of them.
fn timer_slack(value: &Value<'_>) -> Parsed<Option<u64>> {
    if let Ok(number) = value.raw.parse() {
        return Ok(Some(number));
    }
    if let Some(number) = value.raw.strip_suffix("nsec").or_else(|| value.raw.strip_suffix("ns")) {
        return number.trim().parse().map(Some).map_err(|_| wrong(value.raw, "a time span such as 50us"));
    }
    Ok(span(value.raw)?.finite().map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
}

fn personality(value: &Value<'_>) -> Parsed<Option<String>> {
    let native = value.specifiers.host.architecture.as_str();
    let second = match native {
        "x86-64" => "x86",
        "arm64" => "arm",
        _ => native,
    };
    match value.raw {
        "" => Ok(None),
        text if text == native || text == second => Ok(Some(text.to_owned())),
        other => Err(wrong(other, &format!("{native} or {second}"))),
    }
}

fn level(value: &Value<'_>) -> Parsed<u8> {
    crate::exec::syslog_level(value.raw)
}

fn facility(value: &Value<'_>) -> Parsed<u8> {
    let named = FACILITIES.iter().position(|name| *name == value.raw && !name.is_empty());
    let number = || value.raw.parse().ok().filter(|number| *number < FACILITIES.len());
    let found = named.or_else(number).and_then(|number| u8::try_from(number).ok());
    found.ok_or_else(|| wrong(value.raw, "a facility such as daemon"))
}

fn extra_fields(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.logging.extra_fields.clear();
        return Ok(());
    }
    each(value, Escapes::C, |word| {
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let valid = word.split_once('=').is_some_and(|(name, _)| {
            name.starts_with(|c: char| c.is_ascii_uppercase()) && name.len() <= 64 && name.chars().all(allowed)
        });
        if valid { push(&mut sandbox.logging.extra_fields, word) } else { Err(wrong(&word, "a field NAME=value")) }
    })
}

fn filter_patterns(sandbox: &mut Sandbox, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        sandbox.logging.filter_patterns.clear();
        return Ok(());
    }
    let (change, pattern) = inverted(value);
    if pattern.is_empty() {
        return Err(wrong(value.raw, "a pattern"));
    }
    let entry = (change == Change::Plain, pattern.to_owned());
    if sandbox.logging.filter_patterns.contains(&entry) {
        return Ok(());
    }
    push(&mut sandbox.logging.filter_patterns, entry)
}

fn log_namespace(value: &Value<'_>) -> Parsed<Option<String>> {
    let Some(name) = value.optional()? else { return Ok(None) };
    let valid = name.len() <= 200 && !name.starts_with('.') && !name.contains(['/', '@', '\n']);
    if valid { Ok(Some(name)) } else { Err(wrong(&name, "a name of a log namespace")) }
}

fn path(value: &Value<'_>) -> Parsed<Option<String>> {
    value.optional()?.map(|path| absolute(&path)).transpose()
}

macro_rules! set {
    ($($field:ident).+, $read:expr) => {
        |sandbox, value| {
            sandbox.$($field).+ = $read(value)?;
            Ok(())
        }
    };
}

pub(crate) const TABLE: Table<Sandbox> = &[
    ("PrivateTmp", |s, value| flag_or_connected(value).map(|tmp| s.private_tmp = tmp)),
    ("PrivateDevices", set!(private_devices, flag)),
    ("ProtectKernelTunables", set!(protect_kernel_tunables, flag)),
    ("ProtectKernelModules", set!(protect_kernel_modules, flag)),
    ("ProtectKernelLogs", set!(protect_kernel_logs, flag)),
    ("ProtectClock", set!(protect_clock, flag)),
    ("ProtectControlGroups", |s, v| flag_or(v.raw, &PROTECT_GROUPS).map(|groups| s.protect_control_groups = groups)),
    ("ProtectHome", |s, v| flag_or(v.raw, &PROTECT_HOME).map(|home| s.protect_home = home)),
    ("ProtectSystem", |s, v| flag_or(v.raw, &PROTECT_SYSTEM).map(|system| s.protect_system = system)),
    ("ProtectHostname", set!(protect_hostname, flag)),
    ("ProtectProc", |s, v| one_of(v.raw, &PROTECT_PROC).map(|proc| s.protect_proc = proc)),
    ("ProcSubset", |s, v| one_of(v.raw, &PROC_SUBSET).map(|subset| s.proc_subset = subset)),
    ("PrivateNetwork", set!(private_network, flag)),
    ("PrivateUsers", |s, v| flag_or(v.raw, &PRIVATE_USERS).map(|users| s.private_users = users)),
    ("PrivatePIDs", set!(private_pids, flag)),
    ("PrivateIPC", set!(private_ipc, flag)),
    ("NetworkNamespacePath", set!(network_namespace_path, path)),
    ("IPCNamespacePath", set!(ipc_namespace_path, path)),
    ("DynamicUser", set!(dynamic_user, flag)),
    ("RemoveIPC", set!(remove_ipc, flag)),
    ("SetLoginEnvironment", set!(set_login_environment, tristate)),
    ("NoNewPrivileges", set!(no_new_privileges, flag)),
    ("SecureBits", set!(secure_bits, secure_bits)),
    ("CapabilityBoundingSet", bounding_set),
    ("AmbientCapabilities", ambient_set),
    ("KeyringMode", |s, v| one_of(v.raw, &KEYRING).map(|mode| s.keyring_mode = Some(mode))),
    ("MemoryDenyWriteExecute", set!(memory_deny_write_execute, flag)),
    ("RestrictRealtime", set!(restrict_realtime, flag)),
    ("RestrictSUIDSGID", set!(restrict_suid_sgid, flag)),
    ("RestrictNamespaces", namespaces),
    ("RestrictAddressFamilies", families),
    ("RestrictFileSystems", file_systems),
    ("LockPersonality", set!(lock_personality, flag)),
    ("SystemCallFilter", |sandbox, value| syscalls(&mut sandbox.syscall_filter, value, &["@default"])),
    ("SystemCallLog", |sandbox, value| syscalls(&mut sandbox.syscall_log, value, &[])),
    ("SystemCallArchitectures", architectures),
    ("SystemCallErrorNumber", set!(syscall_error, syscall_error)),
    ("SELinuxContext", set!(selinux_context, label)),
    ("AppArmorProfile", set!(apparmor_profile, label)),
    ("SmackProcessLabel", set!(smack_label, label)),
    ("PAMName", |sandbox, value| value.optional().map(|name| sandbox.pam_name = name)),
    ("UtmpIdentifier", |sandbox, value| value.optional().map(|name| sandbox.utmp_identifier = name)),
    ("UtmpMode", |s, v| one_of(v.raw, &UTMP).map(|mode| s.utmp_mode = mode)),
    ("CoredumpFilter", core_filter),
    ("IOSchedulingClass", io_class),
    ("IOSchedulingPriority", io_priority),
    ("CPUSchedulingPolicy", cpu_policy),
    ("CPUSchedulingPriority", |sandbox, value| {
        sandbox.scheduling.cpu.priority = i32::try_from(number(value.raw, 0, 99)?).unwrap_or(0);
        sandbox.scheduling.cpu.written = true;
        Ok(())
    }),
    ("CPUSchedulingResetOnFork", set!(scheduling.cpu.reset_on_fork, flag)),
    ("CPUAffinity", cpu_affinity),
    ("NUMAPolicy", |sandbox, value| {
        let policy = if value.is_empty() { None } else { Some(one_of(value.raw, &NUMA_POLICIES)?) };
        sandbox.scheduling.numa_policy = policy;
        Ok(())
    }),
    ("NUMAMask", numa_mask),
    ("TimerSlackNSec", set!(scheduling.timer_slack_ns, timer_slack)),
    ("Personality", set!(scheduling.personality, personality)),
    ("MemoryKSM", set!(scheduling.memory_ksm, tristate)),
    ("SyslogFacility", set!(logging.facility, facility)),
    ("LogLevelMax", |sandbox, value| level(value).map(|level| sandbox.logging.level_max = Some(level))),
    ("LogRateLimitIntervalSec", |sandbox, value| span(value.raw).map(|span| sandbox.logging.rate_interval = span)),
    ("LogRateLimitBurst", |sandbox, value| {
        sandbox.logging.rate_burst = u32::try_from(number(value.raw, 0, i64::from(u32::MAX))?).unwrap_or(0);
        Ok(())
    }),
    ("LogExtraFields", extra_fields),
    ("LogFilterPatterns", filter_patterns),
    ("LogNamespace", set!(logging.namespace, log_namespace)),
];

fn flag_or_connected(value: &Value<'_>) -> Parsed<PrivateTmp> {
    flag_or(value.raw, &PRIVATE_TMP)
}
