//! What a control group's files say for the settings of a unit. Pure but for the numbers of devices.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use ferrite_unit::cpu_set::CpuSet;
use ferrite_unit::resources::{Amount, Resources};

/// A setting that was written, the file of the group and what is written there.
pub type Setting = (&'static str, &'static str, String);

/// The period in which a share of the processor is counted, and the least part of it.
const PERIOD_US: u64 = 100_000;
const QUOTA_MIN_US: u64 = 1_000;
const PERIOD_MAX_US: u64 = 1_000_000;

/// Everything that a unit's settings write into the files of its group.
pub fn settings(resources: &Resources) -> Vec<Setting> {
    let mut all = Vec::new();
    memory(resources, &mut all);
    if let Some(amount) = resources.tasks_max {
        all.push(("TasksMax=", "pids.max", amount_text(amount)));
    }
    processors(resources, &mut all);
    disks(resources, &mut all);
    all
}

fn amount_text(amount: Amount) -> String {
    amount.finite().map_or("max".to_owned(), |number| number.to_string())
}

fn memory(resources: &Resources, all: &mut Vec<Setting>) {
    let limits = resources.memory;
    let list = [
        ("MemoryMin=", "memory.min", limits.min),
        ("MemoryLow=", "memory.low", limits.low),
        ("MemoryHigh=", "memory.high", limits.high),
        ("MemoryMax=", "memory.max", limits.max.or(resources.memory_limit)),
        ("MemorySwapMax=", "memory.swap.max", limits.swap_max),
        ("MemoryZSwapMax=", "memory.zswap.max", limits.zswap_max),
    ];
    for (setting, file, amount) in list {
        if let Some(amount) = amount {
            all.push((setting, file, amount_text(amount)));
        }
    }
    if !resources.zswap_writeback {
        all.push(("MemoryZSwapWriteback=", "memory.zswap.writeback", "0".into()));
    }
}

fn processors(resources: &Resources, all: &mut Vec<Setting>) {
    // Shares of version 1: 1024 of them are a weight of 100.
    let of_shares = resources.cpu_shares.map(|shares| (shares * 100 / 1024).clamp(1, 10_000));
    match resources.cpu_weight.or(of_shares) {
        Some(0) => all.push(("CPUWeight=", "cpu.idle", "1".into())),
        Some(weight) => all.push(("CPUWeight=", "cpu.weight", weight.to_string())),
        None => {}
    }
    if let Some(quota) = resources.cpu_quota {
        all.push(("CPUQuota=", "cpu.max", quota_text(quota, resources.cpu_quota_period.finite())));
    }
    for (setting, file, set) in [
        ("AllowedCPUs=", "cpuset.cpus", &resources.cpus),
        ("AllowedMemoryNodes=", "cpuset.mems", &resources.memory_nodes),
    ] {
        if let Some(set) = set {
            all.push((setting, file, CpuSet::text(set).replace(' ', ",")));
        }
    }
}

/// A share in ten-thousandths, as so many microseconds of a period that is long enough for the kernel.
fn quota_text(quota: u64, period: Option<Duration>) -> String {
    let written = period.and_then(|period| u64::try_from(period.as_micros()).ok());
    let mut period = written.unwrap_or(PERIOD_US).clamp(QUOTA_MIN_US, PERIOD_MAX_US);
    let part = |period: u64| period.saturating_mul(quota) / 10_000;
    if part(period) < QUOTA_MIN_US {
        period = (QUOTA_MIN_US * 10_000).checked_div(quota).unwrap_or(PERIOD_MAX_US).clamp(period, PERIOD_MAX_US);
    }
    format!("{} {period}", part(period).max(QUOTA_MIN_US))
}

fn disks(resources: &Resources, all: &mut Vec<Setting>) {
    let of_blocks = resources.block_io_weight.map(|weight| (weight * 100 / 500).clamp(1, 10_000));
    if let Some(weight) = resources.io_weight.or(of_blocks) {
        all.push(("IOWeight=", "io.weight", format!("default {weight}")));
    }
    for weight in &resources.io_device_weights {
        if let Some(device) = device(&weight.path) {
            all.push(("IODeviceWeight=", "io.weight", format!("{device} {}", weight.weight)));
        }
    }
    for latency in &resources.io_device_latencies {
        if let (Some(device), Some(target)) = (device(&latency.path), latency.target.finite()) {
            all.push(("IODeviceLatencyTargetSec=", "io.latency", format!("{device} target={}", target.as_micros())));
        }
    }
    for limit in resources.io_device_limits.iter().chain(&resources.block_io_device_limits) {
        let Some(device) = device(&limit.path) else { continue };
        let parts = ["rbps", "wbps", "riops", "wiops"].iter().zip(limit.limits);
        let texts = parts.filter_map(|(name, limit)| limit.map(|limit| format!("{name}={limit}")));
        let text = texts.collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            all.push(("IO…Max=", "io.max", format!("{device} {text}")));
        }
    }
}

/// The number of a disk. Only of files in /dev: looking at others could hang with their server.
fn device(path: &str) -> Option<String> {
    let status = fs::metadata(path.starts_with("/dev/").then_some(path)?).ok()?;
    let number = status.file_type().is_block_device().then(|| status.rdev())?;
    Some(format!("{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_set() {
        assert_eq!(settings(&Resources::default()), []);
        let mut resources =
            Resources { tasks_max: Some(Amount::Fixed(7)), cpu_weight: Some(0), ..Resources::default() };
        resources.memory.max = Some(Amount::Infinite);
        resources.cpus = CpuSet::parse("0-2 5").unwrap();
        let files: Vec<String> = settings(&resources).iter().map(|(_, file, text)| format!("{file} {text}")).collect();
        assert_eq!(files, ["memory.max max", "pids.max 7", "cpu.idle 1", "cpuset.cpus 0-2,5"]);
    }

    #[test]
    fn a_share_of_the_processor_is_counted_in_a_period_that_is_long_enough() {
        assert_eq!(quota_text(2000, None), "20000 100000");
        assert_eq!(quota_text(25_000, None), "250000 100000");
        assert_eq!(quota_text(50, None), "1000 200000");
        assert_eq!(quota_text(5000, Some(Duration::from_millis(10))), "5000 10000");
    }
}
