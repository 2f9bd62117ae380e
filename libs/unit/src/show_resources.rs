//! The properties of a control group. Pure.

use std::time::Duration;

use crate::amount;
use crate::cpu_set::CpuSet;
use crate::resources::{
    Amount, Controllers, DeviceAllow, DevicePolicy, ManagedOom, Memory, OomPreference, PressureWatch, Resources,
    SocketBind,
};
use crate::show::{Lines, Properties};
use crate::unit::Unit;
use crate::value::{Span, span_text};

/// What the manager writes for "not written" and for "without limit".
const MAX: u64 = u64::MAX;

/// Names of [`crate::resources::DeviceLimit`] in order.
const IO_LIMITS: [&str; 4] = ["IOReadBandwidthMax", "IOWriteBandwidthMax", "IOReadIOPSMax", "IOWriteIOPSMax"];

/// All properties of the unit's control group, in systemd's names and order.
pub(crate) fn properties(unit: &Unit) -> Properties {
    let resources = &unit.resources;
    let mut lines = Lines::default();
    accounting(&mut lines, resources);
    processors(&mut lines, resources);
    disks(&mut lines, resources);
    memory(&mut lines, resources);
    delegation(&mut lines, resources);
    pressure(&mut lines, resources);
    devices(&mut lines, resources);
    network(&mut lines, resources);
    lines.0
}

fn accounting(lines: &mut Lines, resources: &Resources) {
    lines.flag("CPUAccounting", resources.cpu_accounting);
    lines.flag("IOAccounting", resources.io_accounting);
    lines.flag("BlockIOAccounting", resources.block_io_accounting);
    lines.flag("MemoryAccounting", resources.memory_accounting);
    lines.flag("TasksAccounting", resources.tasks_accounting);
    lines.flag("IPAccounting", resources.ip_accounting);
}

fn number(lines: &mut Lines, name: &str, value: Option<u64>) {
    lines.put(name, value.unwrap_or(MAX).to_string());
}

fn processors(lines: &mut Lines, resources: &Resources) {
    number(lines, "CPUWeight", resources.cpu_weight);
    number(lines, "StartupCPUWeight", resources.startup_cpu_weight);
    number(lines, "CPUShares", resources.cpu_shares);
    number(lines, "StartupCPUShares", resources.startup_cpu_shares);
    // A ten-thousandth of a second is 100 microseconds.
    let quota = resources.cpu_quota.map(|share| Span::Finite(Duration::from_micros(share.saturating_mul(100))));
    lines.put("CPUQuotaPerSecSec", span_text(quota.unwrap_or(Span::Infinite)));
    lines.put("CPUQuotaPeriodSec", span_text(resources.cpu_quota_period));
    let text = |set: &Option<CpuSet>| set.as_ref().map(CpuSet::text).unwrap_or_default();
    lines.put("AllowedCPUs", text(&resources.cpus));
    lines.put("StartupAllowedCPUs", text(&resources.startup_cpus));
    lines.put("AllowedMemoryNodes", text(&resources.memory_nodes));
    lines.put("StartupAllowedMemoryNodes", text(&resources.startup_memory_nodes));
}

fn disks(lines: &mut Lines, resources: &Resources) {
    number(lines, "IOWeight", resources.io_weight);
    number(lines, "StartupIOWeight", resources.startup_io_weight);
    number(lines, "BlockIOWeight", resources.block_io_weight);
    number(lines, "StartupBlockIOWeight", resources.startup_block_io_weight);
}

/// The number of an amount; shares were resolved when the unit was read.
fn amount_of(amount: Option<Amount>, unwritten: u64) -> u64 {
    match amount {
        None => unwritten,
        Some(Amount::Fixed(bytes)) => bytes,
        Some(Amount::Share(_) | Amount::Infinite) => MAX,
    }
}

fn memory(lines: &mut Lines, resources: &Resources) {
    let (Memory { min, low, high, max, swap_max, zswap_max }, startup) = (resources.memory, resources.startup_memory);
    for (name, amount, unwritten) in [
        ("DefaultMemoryMin", resources.default_memory_min, 0),
        ("DefaultMemoryLow", resources.default_memory_low, 0),
        ("MemoryMin", min, 0),
        ("MemoryLow", low, 0),
        ("StartupMemoryLow", startup.low, 0),
        ("MemoryHigh", high, MAX),
        ("StartupMemoryHigh", startup.high, MAX),
        ("MemoryMax", max, MAX),
        ("StartupMemoryMax", startup.max, MAX),
        ("MemorySwapMax", swap_max, MAX),
        ("StartupMemorySwapMax", startup.swap_max, MAX),
        ("MemoryZSwapMax", zswap_max, MAX),
        ("StartupMemoryZSwapMax", startup.zswap_max, MAX),
    ] {
        lines.put(name, amount_of(amount, unwritten).to_string());
    }
    lines.flag("MemoryZSwapWriteback", resources.zswap_writeback);
    lines.put("MemoryLimit", amount_of(resources.memory_limit, MAX).to_string());
    lines.put("TasksMax", amount_of(resources.tasks_max, MAX).to_string());
}

fn controllers(set: Controllers) -> String {
    set.names().collect::<Vec<_>>().join(" ")
}

fn delegation(lines: &mut Lines, resources: &Resources) {
    let policy = match resources.device_policy {
        DevicePolicy::Auto => "auto",
        DevicePolicy::Closed => "closed",
        DevicePolicy::Strict => "strict",
    };
    lines.put("DevicePolicy", policy);
    lines.put("DisableControllers", controllers(resources.disabled));
    let delegated = match (resources.delegate, controllers(resources.delegated)) {
        (false, _) => "no".to_owned(),
        (true, none) if none.is_empty() => "(none)".to_owned(),
        (true, names) => names,
    };
    lines.put("Delegate", delegated);
}

fn pressure(lines: &mut Lines, resources: &Resources) {
    let mode = |mode| if mode == ManagedOom::Kill { "kill" } else { "auto" };
    lines.put("ManagedOOMSwap", mode(resources.managed_oom_swap));
    lines.put("ManagedOOMMemoryPressure", mode(resources.managed_oom_pressure));
    let limit = resources.managed_oom_pressure_limit;
    lines.put("ManagedOOMMemoryPressureLimit", format!("{}.{:02}%", limit / 100, limit % 100));
    let preference = match resources.managed_oom_preference {
        OomPreference::None => "none",
        OomPreference::Avoid => "avoid",
        OomPreference::Omit => "omit",
    };
    lines.put("ManagedOOMPreference", preference);
    let watch = match resources.pressure_watch {
        PressureWatch::No => "no",
        PressureWatch::Yes => "yes",
        PressureWatch::Auto => "auto",
        PressureWatch::Skip => "skip",
    };
    lines.put("MemoryPressureWatch", watch);
    lines.flag("CoredumpReceive", resources.coredump_receive);
    if let Some(subgroup) = &resources.delegate_subgroup {
        lines.put("DelegateSubgroup", subgroup);
    }
    if let Some(threshold) = resources.pressure_threshold {
        lines.put("MemoryPressureThresholdSec", span_text(threshold));
    }
    if let Some(duration) = resources.managed_oom_pressure_duration {
        lines.put("ManagedOOMMemoryPressureDurationSec", span_text(duration));
    }
}

fn rights(device: &DeviceAllow) -> String {
    let letters = [(device.read, 'r'), (device.write, 'w'), (device.make, 'm')];
    letters.iter().filter(|(has, _)| *has).map(|(_, letter)| *letter).collect()
}

fn devices(lines: &mut Lines, resources: &Resources) {
    for device in &resources.devices {
        lines.put("DeviceAllow", format!("{} {}", device.device, rights(device)));
    }
    for weight in &resources.io_device_weights {
        lines.put("IODeviceWeight", format!("{} {}", weight.path, weight.weight));
    }
    for latency in &resources.io_device_latencies {
        lines.put("IODeviceLatencyTargetSec", format!("{} {}", latency.path, span_text(latency.target)));
    }
    for device in &resources.io_device_limits {
        for (name, limit) in IO_LIMITS.iter().zip(device.limits) {
            if let Some(limit) = limit {
                lines.put(name, format!("{} {}", device.path, amount::text(limit)));
            }
        }
    }
    for weight in &resources.block_io_device_weights {
        lines.put("BlockIODeviceWeight", format!("{} {}", weight.path, weight.weight));
    }
    for device in &resources.block_io_device_limits {
        for (name, limit) in ["BlockIOReadBandwidth", "BlockIOWriteBandwidth"].iter().zip(device.limits) {
            if let Some(limit) = limit {
                lines.put(name, format!("{} {}", device.path, amount::text(limit)));
            }
        }
    }
}

fn bind_text(bind: &SocketBind) -> String {
    let ports = match bind.ports {
        None => "any".to_owned(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    [bind.family, bind.protocol, Some(ports.as_str())].into_iter().flatten().collect::<Vec<_>>().join(":")
}

fn network(lines: &mut Lines, resources: &Resources) {
    for (name, networks) in [("IPAddressAllow", &resources.ip_allow), ("IPAddressDeny", &resources.ip_deny)] {
        for network in networks {
            lines.put(name, format!("{}/{}", network.address, network.prefix));
        }
    }
    let filters =
        [("IPIngressFilterPath", &resources.ip_ingress_filters), ("IPEgressFilterPath", &resources.ip_egress_filters)];
    for (name, path) in filters.iter().flat_map(|(name, paths)| paths.iter().map(move |path| (name, path))) {
        lines.put(name, path);
    }
    for (place, path) in &resources.bpf_programs {
        lines.put("BPFProgram", format!("{place}:{path}"));
    }
    for (name, list) in [("SocketBindAllow", &resources.bind_allow), ("SocketBindDeny", &resources.bind_deny)] {
        if !list.is_empty() {
            lines.put(name, list.iter().map(bind_text).collect::<Vec<_>>().join(" "));
        }
    }
    for name in resources.interfaces.iter().flat_map(|list| &list.names) {
        lines.put("RestrictNetworkInterfaces", name);
    }
    for set in &resources.nft_sets {
        lines.put("NFTSet", set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shown_with_what_they_are_limited_to() {
        let bind = SocketBind { family: Some("ipv6"), protocol: Some("udp"), ports: Some((5000, 5010)) };
        assert_eq!(bind_text(&bind), "ipv6:udp:5000-5010");
        assert_eq!(bind_text(&SocketBind { family: None, protocol: Some("tcp"), ports: None }), "tcp:any");
    }
}
