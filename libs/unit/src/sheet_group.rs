//! The sheet of a control group and of how processes are stopped. Pure.

use std::time::Duration;

use crate::cpu_set::CpuSet;
use crate::kill::{Kill, KillMode};
use crate::resources::{
    Amount, DeviceLimit, DevicePolicy, DeviceWeight, ManagedOom, Memory, OomPreference, PressureWatch, Resources,
    SocketBind,
};
use crate::sheet::{NO_DATA, NOT_SET, Sheet, UNPRINTABLE};
use crate::unit::{LoadState, Unit};
use crate::value::{Span, span_text};

pub(crate) fn group(sheet: &mut Sheet, unit: &Unit) {
    let resources = &unit.resources;
    let slice = unit.slice().filter(|_| unit.load == LoadState::Loaded);
    sheet.put("Slice", slice.map(|slice| slice.to_string()).unwrap_or_default());
    sheet.put("ControlGroup", "");
    sheet.put("ControlGroupId", "0");
    used(sheet);
    sheet.flag("Delegate", resources.delegate);
    sheet.list("DelegateControllers", resources.delegated.names());
    sheet.optional("DelegateSubgroup", resources.delegate_subgroup.as_ref());
    sheet.flag("CPUAccounting", resources.cpu_accounting);
    processors(sheet, resources);
    disks(sheet, resources);
    sheet.flag("MemoryAccounting", resources.memory_accounting);
    memory(sheet, resources);
    devices(sheet, resources);
    sheet.flag("TasksAccounting", resources.tasks_accounting);
    sheet.put("TasksMax", amount(resources.tasks_max, None));
    network(sheet, resources);
    pressure(sheet, resources);
}

/// What the processes use, of a unit that has none.
fn used(sheet: &mut Sheet) {
    for name in ["MemoryCurrent", "MemoryPeak", "MemorySwapCurrent", "MemorySwapPeak", "MemoryZSwapCurrent"] {
        sheet.put(name, NOT_SET);
    }
    sheet.put("MemoryAvailable", NOT_SET);
    sheet.put("EffectiveMemoryMax", "infinity");
    sheet.put("EffectiveMemoryHigh", "infinity");
    sheet.put("CPUUsageNSec", NOT_SET);
    sheet.put("EffectiveCPUs", "");
    sheet.put("EffectiveMemoryNodes", "");
    sheet.put("TasksCurrent", NOT_SET);
    sheet.put("EffectiveTasksMax", "infinity");
    for name in ["IPIngressBytes", "IPIngressPackets", "IPEgressBytes", "IPEgressPackets"] {
        sheet.put(name, NO_DATA);
    }
    for name in ["IOReadBytes", "IOReadOperations", "IOWriteBytes", "IOWriteOperations"] {
        sheet.put(name, NOT_SET);
    }
}

fn number(value: Option<u64>) -> String {
    value.map_or(NOT_SET.to_owned(), |value| value.to_string())
}

/// Zero is a weight of its own.
fn cpu_weight(value: Option<u64>) -> String {
    if value == Some(0) { "idle".into() } else { number(value) }
}

fn processors(sheet: &mut Sheet, resources: &Resources) {
    sheet.put("CPUWeight", cpu_weight(resources.cpu_weight));
    sheet.put("StartupCPUWeight", cpu_weight(resources.startup_cpu_weight));
    sheet.put("CPUShares", number(resources.cpu_shares));
    sheet.put("StartupCPUShares", number(resources.startup_cpu_shares));
    // A ten-thousandth of a second is 100 microseconds.
    let quota = resources.cpu_quota.map(|share| Span::Finite(Duration::from_micros(share.saturating_mul(100))));
    sheet.span("CPUQuotaPerSecUSec", quota.unwrap_or(Span::Infinite));
    sheet.span("CPUQuotaPeriodUSec", resources.cpu_quota_period);
    let text = |set: &Option<CpuSet>| set.as_ref().map(CpuSet::text).unwrap_or_default();
    sheet.put("AllowedCPUs", text(&resources.cpus));
    sheet.put("StartupAllowedCPUs", text(&resources.startup_cpus));
    sheet.put("AllowedMemoryNodes", text(&resources.memory_nodes));
    sheet.put("StartupAllowedMemoryNodes", text(&resources.startup_memory_nodes));
}

fn weights(sheet: &mut Sheet, name: &str, weights: &[DeviceWeight]) {
    for weight in weights {
        sheet.put(name, format!("{} {}", weight.path, weight.weight));
    }
}

fn device_limits<const N: usize>(sheet: &mut Sheet, names: [&str; N], devices: &[DeviceLimit]) {
    for (place, name) in names.into_iter().enumerate() {
        for device in devices {
            if let Some(limit) = device.limits.get(place).copied().flatten() {
                sheet.put(name, format!("{} {limit}", device.path));
            }
        }
    }
}

fn disks(sheet: &mut Sheet, resources: &Resources) {
    sheet.flag("IOAccounting", resources.io_accounting);
    sheet.put("IOWeight", number(resources.io_weight));
    sheet.put("StartupIOWeight", number(resources.startup_io_weight));
    weights(sheet, "IODeviceWeight", &resources.io_device_weights);
    let names = ["IOReadBandwidthMax", "IOWriteBandwidthMax", "IOReadIOPSMax", "IOWriteIOPSMax"];
    device_limits(sheet, names, &resources.io_device_limits);
    for latency in &resources.io_device_latencies {
        sheet.put("IODeviceLatencyTargetUSec", format!("{} {}", latency.path, span_text(latency.target)));
    }
    sheet.flag("BlockIOAccounting", resources.block_io_accounting);
    sheet.put("BlockIOWeight", number(resources.block_io_weight));
    sheet.put("StartupBlockIOWeight", number(resources.startup_block_io_weight));
    weights(sheet, "BlockIODeviceWeight", &resources.block_io_device_weights);
    device_limits(sheet, ["BlockIOReadBandwidth", "BlockIOWriteBandwidth"], &resources.block_io_device_limits);
}

/// An amount; shares were resolved when the unit was read.
fn amount(amount: Option<Amount>, unwritten: Option<u64>) -> String {
    let number = match amount {
        None => unwritten,
        Some(Amount::Fixed(number)) => Some(number),
        Some(Amount::Share(_) | Amount::Infinite) => None,
    };
    number.map_or("infinity".to_owned(), |number| number.to_string())
}

fn memory(sheet: &mut Sheet, resources: &Resources) {
    let (Memory { min, low, high, max, swap_max, zswap_max }, startup) = (resources.memory, resources.startup_memory);
    for (name, value, unwritten) in [
        ("DefaultMemoryLow", resources.default_memory_low, Some(0)),
        ("DefaultStartupMemoryLow", resources.default_startup_memory_low, Some(0)),
        ("DefaultMemoryMin", resources.default_memory_min, Some(0)),
        ("MemoryMin", min, Some(0)),
        ("MemoryLow", low, Some(0)),
        ("StartupMemoryLow", startup.low, Some(0)),
        ("MemoryHigh", high, None),
        ("StartupMemoryHigh", startup.high, None),
        ("MemoryMax", max, None),
        ("StartupMemoryMax", startup.max, None),
        ("MemorySwapMax", swap_max, None),
        ("StartupMemorySwapMax", startup.swap_max, None),
        ("MemoryZSwapMax", zswap_max, None),
        ("StartupMemoryZSwapMax", startup.zswap_max, None),
    ] {
        sheet.put(name, amount(value, unwritten));
    }
    sheet.flag("MemoryZSwapWriteback", resources.zswap_writeback);
    sheet.put("MemoryLimit", amount(resources.memory_limit, None));
}

fn devices(sheet: &mut Sheet, resources: &Resources) {
    let policy = match resources.device_policy {
        DevicePolicy::Auto => "auto",
        DevicePolicy::Closed => "closed",
        DevicePolicy::Strict => "strict",
    };
    sheet.put("DevicePolicy", policy);
    for device in &resources.devices {
        let letters = [(device.read, 'r'), (device.write, 'w'), (device.make, 'm')];
        let rights: String = letters.iter().filter(|(has, _)| *has).map(|(_, letter)| *letter).collect();
        sheet.put("DeviceAllow", format!("{} {rights}", device.device));
    }
}

/// A port as `show` tells it: without a colon before the number.
fn bind_text(bind: &SocketBind) -> String {
    let ports = match bind.ports {
        None => "any".to_owned(),
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
    };
    let family = bind.family.map(|family| format!("{family}:")).unwrap_or_default();
    format!("{family}{}{ports}", bind.protocol.unwrap_or_default())
}

fn network(sheet: &mut Sheet, resources: &Resources) {
    sheet.flag("IPAccounting", resources.ip_accounting);
    for (name, networks) in [("IPAddressAllow", &resources.ip_allow), ("IPAddressDeny", &resources.ip_deny)] {
        let text = |network: &crate::resources::Network| format!("{}/{}", network.address, network.prefix);
        sheet.put(name, networks.iter().map(text).collect::<Vec<_>>().join(" "));
    }
    sheet.list("IPIngressFilterPath", &resources.ip_ingress_filters);
    sheet.list("IPEgressFilterPath", &resources.ip_egress_filters);
    sheet.list("DisableControllers", resources.disabled.names());
}

fn pressure(sheet: &mut Sheet, resources: &Resources) {
    let mode = |mode| if mode == ManagedOom::Kill { "kill" } else { "auto" };
    sheet.put("ManagedOOMSwap", mode(resources.managed_oom_swap));
    sheet.put("ManagedOOMMemoryPressure", mode(resources.managed_oom_pressure));
    // Of 2^32 - 1, as the interface has it.
    let scaled = u64::from(resources.managed_oom_pressure_limit) * u64::from(u32::MAX) / 10_000;
    sheet.put("ManagedOOMMemoryPressureLimit", scaled.to_string());
    let span = |span: Option<Span>| span.map_or(NOT_SET.to_owned(), span_text);
    sheet.put("ManagedOOMMemoryPressureDurationUSec", span(resources.managed_oom_pressure_duration));
    let preference = match resources.managed_oom_preference {
        OomPreference::None => "none",
        OomPreference::Avoid => "avoid",
        OomPreference::Omit => "omit",
    };
    sheet.put("ManagedOOMPreference", preference);
    for (place, path) in &resources.bpf_programs {
        sheet.put("BPFProgram", format!("{place}:{path}"));
    }
    for (name, list) in [("SocketBindAllow", &resources.bind_allow), ("SocketBindDeny", &resources.bind_deny)] {
        for bind in list {
            sheet.put(name, bind_text(bind));
        }
    }
    let interfaces = resources.interfaces.as_ref();
    let mut names = interfaces.map(|list| list.names.clone()).unwrap_or_default();
    names.sort();
    let tilde = if interfaces.is_some_and(|list| list.allow) { "" } else { "~" };
    sheet.put("RestrictNetworkInterfaces", format!("{tilde}{}", names.join(" ")));
    let watch = match resources.pressure_watch {
        PressureWatch::No => "no",
        PressureWatch::Yes => "yes",
        PressureWatch::Auto => "auto",
        PressureWatch::Skip => "skip",
    };
    sheet.put("MemoryPressureWatch", watch);
    sheet.put("MemoryPressureThresholdUSec", span(resources.pressure_threshold));
    sheet.put("NFTSet", UNPRINTABLE);
    sheet.flag("CoredumpReceive", resources.coredump_receive);
}

pub(crate) fn kill(sheet: &mut Sheet, kill: &Kill) {
    let mode = match kill.mode {
        KillMode::ControlGroup => "control-group",
        KillMode::Mixed => "mixed",
        KillMode::Process => "process",
        KillMode::None => "none",
    };
    sheet.put("KillMode", mode);
    sheet.put("KillSignal", kill.signal.to_string());
    sheet.put("RestartKillSignal", kill.restart_signal.unwrap_or(kill.signal).to_string());
    sheet.put("FinalKillSignal", kill.final_signal.to_string());
    sheet.flag("SendSIGKILL", kill.send_sigkill);
    sheet.flag("SendSIGHUP", kill.send_sighup);
    sheet.put("WatchdogSignal", kill.watchdog_signal.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_as_by_systemd() {
        let bind = SocketBind { family: Some("ipv6"), protocol: Some("udp"), ports: Some((5000, 5010)) };
        assert_eq!(bind_text(&bind), "ipv6:udp5000-5010");
        assert_eq!(bind_text(&SocketBind { family: None, protocol: None, ports: None }), "any");
    }
}
