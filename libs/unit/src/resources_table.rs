//! The directives of [`crate::resources`] and what their values mean. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::amount::{amount, share, size};
use crate::cpu_set::CpuSet;
use crate::directive::{Table, Value};
use crate::lists::{absolute, each, each_raw, head, push};
use crate::name::{UnitKind, UnitName};
use crate::resources::{
    Amount, Controllers, DeviceAllow, DeviceLatency, DeviceLimit, DevicePolicy, DeviceWeight, Interfaces, ManagedOom,
    Network, OomPreference, PressureWatch, Resources, SocketBind,
};
use crate::value::{Parsed, Span, ValueError, boolean, number, span, wrong};
use crate::words::Escapes;

/// A weight; the empty value unsets it.
fn weight(value: &Value<'_>, low: i64, high: i64) -> Parsed<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    number(value.raw, low, high).map(|number| u64::try_from(number).ok())
}

fn cpu_weight(value: &Value<'_>) -> Parsed<Option<u64>> {
    if value.raw == "idle" { Ok(Some(0)) } else { weight(value, 1, 10_000) }
}

/// May a limit of memory be nothing at all?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Zero {
    /// Yes, and the empty value is zero.
    Floor,
    /// Yes.
    Allowed,
    /// No.
    Refused,
}

fn memory(value: &Value<'_>, zero: Zero) -> Parsed<Option<Amount>> {
    if value.is_empty() {
        return Ok(Some(if zero == Zero::Floor { Amount::Fixed(0) } else { Amount::Infinite }));
    }
    match value.specifiers.host.totals.memory(amount(value.raw)?) {
        Amount::Fixed(0) if zero == Zero::Refused => Err(wrong(value.raw, "more than nothing")),
        Amount::Fixed(u64::MAX) => Err(wrong(value.raw, "a limit")),
        other => Ok(Some(other)),
    }
}

fn tasks(value: &Value<'_>) -> Parsed<Option<Amount>> {
    if value.is_empty() {
        return Ok(None);
    }
    if value.raw == "infinity" {
        return Ok(Some(Amount::Infinite));
    }
    if let Ok(share) = share(value.raw)
        && share <= 10_000
    {
        return Ok(Some(value.specifiers.host.totals.tasks(Amount::Share(share))));
    }
    let count = value.raw.parse().ok().filter(|count| *count > 0);
    count.map(|count| Some(Amount::Fixed(count))).ok_or_else(|| wrong(value.raw, "a number of tasks"))
}

fn quota(value: &Value<'_>) -> Parsed<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    let share = share(value.raw).ok().filter(|share| *share > 0);
    share.map(|share| Some(u64::from(share))).ok_or_else(|| wrong(value.raw, "a share of a processor such as 20%"))
}

fn cpus(set: &mut Option<CpuSet>, value: &Value<'_>) -> Parsed<()> {
    match (CpuSet::parse(&value.text()?)?, set.as_mut()) {
        (None, _) => *set = None,
        (Some(more), Some(set)) => set.extend(&more),
        (more, None) => *set = more,
    }
    Ok(())
}

fn slice(value: &Value<'_>) -> Parsed<Option<String>> {
    let name = value.text()?;
    match UnitName::parse(&name) {
        Ok(unit) if unit.kind() == UnitKind::Slice && !unit.is_template() => Ok(Some(name)),
        _ => Err(wrong(&name, "a slice")),
    }
}

fn kind(value: &Value<'_>) -> UnitKind {
    value.specifiers.unit.kind()
}

fn may_delegate(value: &Value<'_>) -> Parsed<()> {
    match kind(value) {
        UnitKind::Service | UnitKind::Scope => Ok(()),
        _ => Err(ValueError("only services and scopes can delegate".into())),
    }
}

fn delegate(resources: &mut Resources, value: &Value<'_>) -> Parsed<()> {
    may_delegate(value)?;
    match boolean(value.raw) {
        // Delegation of the group without any controller.
        _ if value.is_empty() => (resources.delegate, resources.delegated) = (true, Controllers::default()),
        Ok(true) => (resources.delegate, resources.delegated) = (true, Controllers::DELEGATED),
        Ok(false) => (resources.delegate, resources.delegated) = (false, Controllers::default()),
        Err(_) => {
            resources.delegate = true;
            return controllers(&mut resources.delegated, value);
        }
    }
    Ok(())
}

fn controllers(set: &mut Controllers, value: &Value<'_>) -> Parsed<()> {
    each_raw(value.raw, Escapes::Plain, |word| {
        let one = Controllers::named(&word).ok_or_else(|| wrong(&word, "a controller such as memory"))?;
        set.0 |= one.0;
        Ok(())
    })
}

fn delegate_subgroup(value: &Value<'_>) -> Parsed<Option<String>> {
    may_delegate(value)?;
    let name = value.raw;
    let ours = ["cgroup.", "notify_on_release", "release_agent", "tasks"].iter().any(|word| name.starts_with(word))
        || crate::resources::CONTROLLERS.iter().any(|c| name.strip_prefix(c).is_some_and(|rest| rest.starts_with('.')));
    if name.is_empty() {
        Ok(None)
    } else if ours || name.starts_with(['.', '_']) || name.contains('/') {
        Err(wrong(name, "a name of a control group"))
    } else {
        Ok(Some(name.to_owned()))
    }
}

fn may_be_managed(value: &Value<'_>) -> Parsed<()> {
    match kind(value) {
        UnitKind::Service | UnitKind::Scope | UnitKind::Slice => Ok(()),
        _ => Err(ValueError("only for services, scopes and slices".into())),
    }
}

fn managed_oom(value: &Value<'_>) -> Parsed<ManagedOom> {
    may_be_managed(value)?;
    match value.raw {
        "" | "auto" => Ok(ManagedOom::Auto),
        "kill" => Ok(ManagedOom::Kill),
        other => Err(wrong(other, "auto or kill")),
    }
}

fn pressure_limit(value: &Value<'_>) -> Parsed<u32> {
    may_be_managed(value)?;
    if value.is_empty() {
        return Ok(0);
    }
    share(value.raw).ok().filter(|share| *share <= 10_000).ok_or_else(|| wrong(value.raw, "a share such as 60%"))
}

fn pressure_duration(value: &Value<'_>) -> Parsed<Option<Span>> {
    may_be_managed(value)?;
    if value.is_empty() {
        return Ok(None);
    }
    match span(value.raw)? {
        Span::Finite(duration) if duration.as_secs() > 0 => Ok(Some(Span::Finite(duration))),
        _ => Err(wrong(value.raw, "a time span of a second or more")),
    }
}

fn preference(value: &Value<'_>) -> Parsed<OomPreference> {
    match value.raw {
        "none" => Ok(OomPreference::None),
        "avoid" => Ok(OomPreference::Avoid),
        "omit" => Ok(OomPreference::Omit),
        other => Err(wrong(other, "none, avoid or omit")),
    }
}

fn pressure_watch(value: &Value<'_>) -> Parsed<PressureWatch> {
    match value.raw {
        "auto" => Ok(PressureWatch::Auto),
        "skip" => Ok(PressureWatch::Skip),
        other => boolean(other)
            .map(|yes| if yes { PressureWatch::Yes } else { PressureWatch::No })
            .map_err(|_| wrong(other, "a boolean, auto or skip")),
    }
}

fn device_policy(value: &Value<'_>) -> Parsed<DevicePolicy> {
    match value.raw {
        "auto" => Ok(DevicePolicy::Auto),
        "closed" => Ok(DevicePolicy::Closed),
        "strict" => Ok(DevicePolicy::Strict),
        other => Err(wrong(other, "auto, closed or strict")),
    }
}

fn device_allow(resources: &mut Resources, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        resources.devices.clear();
        return Ok(());
    }
    let (word, rights) = head(value.raw)?;
    let mut device = value.specifiers.expand(&word)?;
    if !device.starts_with("block-") && !device.starts_with("char-") {
        device = absolute(&device)?;
        let below = ["/dev/", "/run/systemd/inaccessible/"];
        if !below.iter().any(|folder| device.len() > folder.len() && device.starts_with(folder)) {
            return Err(wrong(&device, "a device file"));
        }
    }
    if let Some(other) = rights.chars().find(|c| !"rwm".contains(*c)) {
        return Err(wrong(&other.to_string(), "a right on a device (r, w or m)"));
    }
    let has = |right| rights.is_empty() || rights.contains(right);
    push(&mut resources.devices, DeviceAllow { device, read: has('r'), write: has('w'), make: has('m') })?;
    // The latest stands first, as systemd shows them.
    resources.devices.rotate_right(1);
    Ok(())
}

/// A path and what is said of it; the path need not be absolute.
fn path_and<'a>(value: &'a Value<'_>) -> Parsed<(String, &'a str)> {
    let (word, rest) = head(value.raw)?;
    if rest.is_empty() {
        return Err(wrong(value.raw, "a path and a value"));
    }
    let path = value.specifiers.expand(&word)?;
    let plain = crate::escape::simplify_path(&path).ok_or_else(|| wrong(&path, "a path without '..'"))?;
    Ok((if path.starts_with('/') { format!("/{plain}") } else { plain }, rest))
}

fn device_weight(list: &mut Vec<DeviceWeight>, value: &Value<'_>, low: i64, high: i64) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let (path, rest) = path_and(value)?;
    let weight = u64::try_from(number(rest, low, high)?).unwrap_or(0);
    push(list, DeviceWeight { path, weight })
}

fn device_latency(resources: &mut Resources, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        resources.io_device_latencies.clear();
        return Ok(());
    }
    let (path, rest) = path_and(value)?;
    push(&mut resources.io_device_latencies, DeviceLatency { path, target: span(rest)? })
}

fn device_limit(list: &mut Vec<DeviceLimit>, value: &Value<'_>, place: usize, cleared: &[usize]) -> Parsed<()> {
    let set = |limit: &mut DeviceLimit, place: usize, to: Option<u64>| {
        if let Some(slot) = limit.limits.get_mut(place) {
            *slot = to;
        }
    };
    if value.is_empty() {
        for limit in list {
            cleared.iter().for_each(|place| set(limit, *place, None));
        }
        return Ok(());
    }
    let (path, rest) = path_and(value)?;
    let amount = match rest {
        "infinity" => None,
        other => match size(other, 1000)? {
            0 => return Err(wrong(other, "more than nothing")),
            amount => Some(amount),
        },
    };
    if !list.iter().any(|limit| limit.path == path) {
        push(list, DeviceLimit { path: path.clone(), limits: [None; 4] })?;
    }
    if let Some(limit) = list.iter_mut().find(|limit| limit.path == path) {
        set(limit, place, amount);
    }
    Ok(())
}

fn networks(list: &mut Vec<Network>, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    each_raw(value.raw, Escapes::Plain, |word| {
        for network in network_word(&word)? {
            if !list.contains(&network) {
                push(list, network)?;
            }
        }
        Ok(())
    })
}

fn network_word(word: &str) -> Parsed<Vec<Network>> {
    let both = |v4: (Ipv4Addr, u8), v6: (Ipv6Addr, u8)| {
        vec![Network { address: v4.0.into(), prefix: v4.1 }, Network { address: v6.0.into(), prefix: v6.1 }]
    };
    let host = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
    Ok(match word {
        "any" => both((Ipv4Addr::UNSPECIFIED, 0), (Ipv6Addr::UNSPECIFIED, 0)),
        "link-local" => both((Ipv4Addr::new(169, 254, 0, 0), 16), (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64)),
        "multicast" => both((Ipv4Addr::new(224, 0, 0, 0), 4), (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
        _ if host == "localhost"
            || host == "localhost.localdomain"
            || host.ends_with(".localhost")
            || host.ends_with(".localhost.localdomain") =>
        {
            both((Ipv4Addr::new(127, 0, 0, 0), 8), (Ipv6Addr::LOCALHOST, 128))
        }
        other => vec![network(other)?],
    })
}

/// An address with the length of its prefix; bits behind the prefix are cleared.
fn network(text: &str) -> Parsed<Network> {
    let fault = || wrong(text, "an address such as 10.0.0.0/8, any or localhost");
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match length {
        Some(length) => length.parse().ok().filter(|length| *length <= bits).ok_or_else(fault)?,
        None => bits,
    };
    let address = match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    };
    Ok(Network { address, prefix })
}

fn filter_paths(list: &mut Vec<String>, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let path = absolute(&value.text()?)?;
    if list.contains(&path) { Ok(()) } else { push(list, path) }
}

/// Places where a program can be attached to a group.
const BPF_PLACES: [&str; 18] = [
    "ingress",
    "egress",
    "sock_create",
    "sock_ops",
    "device",
    "bind4",
    "bind6",
    "connect4",
    "connect6",
    "post_bind4",
    "post_bind6",
    "sendmsg4",
    "sendmsg6",
    "sysctl",
    "recvmsg4",
    "recvmsg6",
    "getsockopt",
    "setsockopt",
];

fn bpf_program(resources: &mut Resources, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        resources.bpf_programs.clear();
        return Ok(());
    }
    let (place, path) = value.raw.split_once(':').ok_or_else(|| wrong(value.raw, "a place and a path"))?;
    if !BPF_PLACES.contains(&place) {
        return Err(wrong(place, "a place such as ingress"));
    }
    let path = absolute(&value.specifiers.expand(path)?)?;
    push(&mut resources.bpf_programs, (place.to_owned(), path))
}

fn socket_bind(list: &mut Vec<SocketBind>, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    let fault = || wrong(value.raw, "ports such as any, 80, tcp, ipv6:udp:5000-5010");
    let mut words = value.raw.split(':').peekable();
    let mut take = |names: [&'static str; 2]| {
        let found = names.into_iter().find(|name| words.peek() == Some(name));
        if found.is_some() {
            words.next();
        }
        found
    };
    let family = take(["ipv4", "ipv6"]);
    let protocol = take(["tcp", "udp"]);
    let ports = match words.next() {
        None | Some("any") => None,
        Some(text) => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(fault);
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(fault());
            }
            Some((first, last))
        }
    };
    if words.next().is_some() {
        return Err(fault());
    }
    push(list, SocketBind { family, protocol, ports })?;
    list.rotate_right(1);
    Ok(())
}

fn interfaces(resources: &mut Resources, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        resources.interfaces = None;
        return Ok(());
    }
    let plain = value.raw.strip_prefix('~');
    let allow = plain.is_none();
    let list = resources.interfaces.get_or_insert_with(Interfaces::default);
    if list.names.is_empty() {
        list.allow = allow;
    }
    each_raw(plain.unwrap_or(value.raw), Escapes::Plain, |word| {
        if word.len() > 127 || word == "." || word == ".." || word.contains([':', '/', '%']) {
            return Err(wrong(&word, "a network interface"));
        }
        if list.allow != allow {
            list.names.retain(|name| *name != word);
        } else if !list.names.contains(&word) {
            push(&mut list.names, word)?;
        }
        Ok(())
    })
}

fn nft_sets(resources: &mut Resources, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        resources.nft_sets.clear();
        return Ok(());
    }
    each(value, Escapes::Plain, |word| {
        let parts: Vec<&str> = word.split(':').collect();
        let right = match parts.as_slice() {
            [source, family, table, set] => {
                matches!(*source, "cgroup" | "user" | "group")
                    && matches!(*family, "arp" | "bridge" | "inet" | "ip" | "ip6" | "netdev")
                    && [table, set].iter().all(|name| identifier(name))
            }
            _ => false,
        };
        if right { push(&mut resources.nft_sets, word) } else { Err(wrong(&word, "a set such as cgroup:inet:t:s")) }
    })
}

fn identifier(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '\\' | '_' | '.');
    name.len() <= 31 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(allowed)
}

macro_rules! set {
    ($($field:ident).+, $read:expr) => {
        |resources, value| {
            resources.$($field).+ = $read(value)?;
            Ok(())
        }
    };
}

fn flag(value: &Value<'_>) -> Parsed<bool> {
    boolean(value.raw)
}

fn floor(value: &Value<'_>) -> Parsed<Option<Amount>> {
    memory(value, Zero::Floor)
}

fn ceiling(value: &Value<'_>) -> Parsed<Option<Amount>> {
    memory(value, Zero::Refused)
}

fn swap(value: &Value<'_>) -> Parsed<Option<Amount>> {
    memory(value, Zero::Allowed)
}

fn io_weight(value: &Value<'_>) -> Parsed<Option<u64>> {
    weight(value, 1, 10_000)
}

fn shares(value: &Value<'_>) -> Parsed<Option<u64>> {
    weight(value, 2, 262_144)
}

fn block_io_weight(value: &Value<'_>) -> Parsed<Option<u64>> {
    weight(value, 10, 1000)
}

pub(crate) const TABLE: Table<Resources> = &[
    ("Slice", set!(slice, slice)),
    ("AllowedCPUs", |resources, value| cpus(&mut resources.cpus, value)),
    ("StartupAllowedCPUs", |resources, value| cpus(&mut resources.startup_cpus, value)),
    ("AllowedMemoryNodes", |resources, value| cpus(&mut resources.memory_nodes, value)),
    ("StartupAllowedMemoryNodes", |resources, value| cpus(&mut resources.startup_memory_nodes, value)),
    ("CPUAccounting", set!(cpu_accounting, flag)),
    ("CPUWeight", set!(cpu_weight, cpu_weight)),
    ("StartupCPUWeight", set!(startup_cpu_weight, cpu_weight)),
    ("CPUShares", set!(cpu_shares, shares)),
    ("StartupCPUShares", set!(startup_cpu_shares, shares)),
    ("CPUQuota", set!(cpu_quota, quota)),
    ("CPUQuotaPeriodSec", |resources, value| {
        resources.cpu_quota_period = if value.is_empty() { Span::Infinite } else { span(value.raw)? };
        Ok(())
    }),
    ("MemoryAccounting", set!(memory_accounting, flag)),
    ("MemoryMin", set!(memory.min, floor)),
    ("DefaultMemoryMin", set!(default_memory_min, floor)),
    ("DefaultMemoryLow", set!(default_memory_low, floor)),
    ("DefaultStartupMemoryLow", set!(default_startup_memory_low, floor)),
    ("MemoryLow", set!(memory.low, floor)),
    ("StartupMemoryLow", set!(startup_memory.low, floor)),
    ("MemoryHigh", set!(memory.high, ceiling)),
    ("StartupMemoryHigh", set!(startup_memory.high, ceiling)),
    ("MemoryMax", set!(memory.max, ceiling)),
    ("StartupMemoryMax", set!(startup_memory.max, ceiling)),
    ("MemorySwapMax", set!(memory.swap_max, swap)),
    ("StartupMemorySwapMax", set!(startup_memory.swap_max, swap)),
    ("MemoryZSwapMax", set!(memory.zswap_max, swap)),
    ("StartupMemoryZSwapMax", set!(startup_memory.zswap_max, swap)),
    ("MemoryZSwapWriteback", set!(zswap_writeback, flag)),
    ("MemoryLimit", set!(memory_limit, ceiling)),
    ("DeviceAllow", device_allow),
    ("DevicePolicy", set!(device_policy, device_policy)),
    ("IOAccounting", set!(io_accounting, flag)),
    ("IOWeight", set!(io_weight, io_weight)),
    ("StartupIOWeight", set!(startup_io_weight, io_weight)),
    ("IODeviceWeight", |resources, value| device_weight(&mut resources.io_device_weights, value, 1, 10_000)),
    ("IOReadBandwidthMax", |resources, value| device_limit(&mut resources.io_device_limits, value, 0, &[0])),
    ("IOWriteBandwidthMax", |resources, value| device_limit(&mut resources.io_device_limits, value, 1, &[1])),
    ("IOReadIOPSMax", |resources, value| device_limit(&mut resources.io_device_limits, value, 2, &[2])),
    ("IOWriteIOPSMax", |resources, value| device_limit(&mut resources.io_device_limits, value, 3, &[3])),
    ("IODeviceLatencyTargetSec", device_latency),
    ("BlockIOAccounting", set!(block_io_accounting, flag)),
    ("BlockIOWeight", set!(block_io_weight, block_io_weight)),
    ("StartupBlockIOWeight", set!(startup_block_io_weight, block_io_weight)),
    ("BlockIODeviceWeight", |resources, value| device_weight(&mut resources.block_io_device_weights, value, 10, 1000)),
    ("BlockIOReadBandwidth", |r, value| device_limit(&mut r.block_io_device_limits, value, 0, &[0, 1])),
    ("BlockIOWriteBandwidth", |r, value| device_limit(&mut r.block_io_device_limits, value, 1, &[0, 1])),
    ("TasksAccounting", set!(tasks_accounting, flag)),
    ("TasksMax", set!(tasks_max, tasks)),
    ("Delegate", delegate),
    ("DelegateSubgroup", set!(delegate_subgroup, delegate_subgroup)),
    ("DisableControllers", |resources, value| {
        if value.is_empty() {
            resources.disabled = Controllers::default();
        }
        controllers(&mut resources.disabled, value)
    }),
    ("IPAccounting", set!(ip_accounting, flag)),
    ("IPAddressAllow", |resources, value| networks(&mut resources.ip_allow, value)),
    ("IPAddressDeny", |resources, value| networks(&mut resources.ip_deny, value)),
    ("IPIngressFilterPath", |resources, value| filter_paths(&mut resources.ip_ingress_filters, value)),
    ("IPEgressFilterPath", |resources, value| filter_paths(&mut resources.ip_egress_filters, value)),
    ("ManagedOOMSwap", set!(managed_oom_swap, managed_oom)),
    ("ManagedOOMMemoryPressure", set!(managed_oom_pressure, managed_oom)),
    ("ManagedOOMMemoryPressureLimit", set!(managed_oom_pressure_limit, pressure_limit)),
    ("ManagedOOMMemoryPressureDurationSec", set!(managed_oom_pressure_duration, pressure_duration)),
    ("ManagedOOMPreference", set!(managed_oom_preference, preference)),
    ("BPFProgram", bpf_program),
    ("SocketBindAllow", |resources, value| socket_bind(&mut resources.bind_allow, value)),
    ("SocketBindDeny", |resources, value| socket_bind(&mut resources.bind_deny, value)),
    ("RestrictNetworkInterfaces", interfaces),
    ("MemoryPressureThresholdSec", |resources, value| {
        resources.pressure_threshold = Some(span(value.raw)?).filter(|span| *span != Span::Infinite);
        Ok(())
    }),
    ("MemoryPressureWatch", set!(pressure_watch, pressure_watch)),
    ("NFTSet", nft_sets),
    ("CoredumpReceive", set!(coredump_receive, flag)),
];
