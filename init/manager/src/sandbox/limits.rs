//! What a control group's files say for the settings of a unit. Pure but for the numbers of devices.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use ferrite_unit::cpu_set::CpuSet;
use ferrite_unit::resources::{Amount, Memory, Resources};

/// A setting that was written, the file of the group and what is written there.
pub type Setting = (&'static str, &'static str, String);

/// The period in which a share of the processor is counted, and the least part of it.
const PERIOD_US: u64 = 100_000;
const QUOTA_MIN_US: u64 = 1_000;
const PERIOD_MAX_US: u64 = 1_000_000;

/// When limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// While the machine starts or ends (`Startup…=`).
    Startup,
    /// The rest of the time.
    Running,
}

impl When {
    /// The limit that holds now, of the one for the start and the one for the rest of the time.
    fn of<T>(self, startup: Option<T>, usual: Option<T>) -> Option<T> {
        match self {
            When::Startup => startup.or(usual),
            When::Running => usual,
        }
    }
}

/// Does a unit have limits for the start of the machine only?
pub fn has_startup(resources: &Resources) -> bool {
    let weights = [resources.startup_cpu_weight, resources.startup_cpu_shares, resources.startup_io_weight];
    weights.iter().chain([&resources.startup_block_io_weight]).any(Option::is_some)
        || resources.startup_cpus.is_some()
        || resources.startup_memory_nodes.is_some()
        || resources.startup_memory != Memory::default()
}

/// Everything that a unit's settings write into the files of its group.
pub fn settings(resources: &Resources, when: When) -> Vec<Setting> {
    let mut all = Vec::new();
    memory(resources, when, &mut all);
    if let Some(amount) = resources.tasks_max {
        all.push(("TasksMax=", "pids.max", amount_text(amount)));
    }
    processors(resources, when, &mut all);
    disks(resources, when, &mut all);
    all
}

fn amount_text(amount: Amount) -> String {
    amount.finite().map_or("max".to_owned(), |number| number.to_string())
}

fn memory(resources: &Resources, when: When, all: &mut Vec<Setting>) {
    let (limits, startup) = (resources.memory, resources.startup_memory);
    let list = [
        ("MemoryMin=", "memory.min", limits.min),
        ("MemoryLow=", "memory.low", when.of(startup.low, limits.low)),
        ("MemoryHigh=", "memory.high", when.of(startup.high, limits.high)),
        ("MemoryMax=", "memory.max", when.of(startup.max, limits.max.or(resources.memory_limit))),
        ("MemorySwapMax=", "memory.swap.max", when.of(startup.swap_max, limits.swap_max)),
        ("MemoryZSwapMax=", "memory.zswap.max", when.of(startup.zswap_max, limits.zswap_max)),
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

fn processors(resources: &Resources, when: When, all: &mut Vec<Setting>) {
    // Shares of version 1: 1024 of them are a weight of 100.
    let of_shares = |shares: u64| (shares * 100 / 1024).clamp(1, 10_000);
    let weight = when.of(resources.startup_cpu_weight, resources.cpu_weight);
    let shares = when.of(resources.startup_cpu_shares, resources.cpu_shares);
    match weight.or(shares.map(of_shares)) {
        Some(0) => all.push(("CPUWeight=", "cpu.idle", "1".into())),
        Some(weight) => all.push(("CPUWeight=", "cpu.weight", weight.to_string())),
        None => {}
    }
    if let Some(quota) = resources.cpu_quota {
        all.push(("CPUQuota=", "cpu.max", quota_text(quota, resources.cpu_quota_period.finite())));
    }
    for (setting, file, set) in [
        ("AllowedCPUs=", "cpuset.cpus", when.of(resources.startup_cpus.as_ref(), resources.cpus.as_ref())),
        (
            "AllowedMemoryNodes=",
            "cpuset.mems",
            when.of(resources.startup_memory_nodes.as_ref(), resources.memory_nodes.as_ref()),
        ),
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

fn disks(resources: &Resources, when: When, all: &mut Vec<Setting>) {
    // Weights of version 1: 500 of them are 100.
    let of_blocks = |weight: u64| (weight * 100 / 500).clamp(1, 10_000);
    let own = when.of(resources.startup_io_weight, resources.io_weight);
    let blocks = when.of(resources.startup_block_io_weight, resources.block_io_weight).map(of_blocks);
    if let Some(weight) = own.or(blocks) {
        all.push(("IOWeight=", "io.weight", format!("default {weight}")));
    }
    let of_version_1 = resources.block_io_device_weights.iter().map(|one| (&one.path, of_blocks(one.weight)));
    for (path, weight) in resources.io_device_weights.iter().map(|one| (&one.path, one.weight)).chain(of_version_1) {
        if let Some(device) = device(path) {
            all.push(("IODeviceWeight=", "io.weight", format!("{device} {weight}")));
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
        assert_eq!(settings(&Resources::default(), When::Running), []);
        let mut resources =
            Resources { tasks_max: Some(Amount::Fixed(7)), cpu_weight: Some(0), ..Resources::default() };
        resources.memory.max = Some(Amount::Infinite);
        resources.cpus = CpuSet::parse("0-2 5").unwrap();
        let files: Vec<String> =
            settings(&resources, When::Running).iter().map(|(_, file, text)| format!("{file} {text}")).collect();
        assert_eq!(files, ["memory.max max", "pids.max 7", "cpu.idle 1", "cpuset.cpus 0-2,5"]);
    }

    #[test]
    fn while_the_machine_starts_other_limits_may_hold() {
        let mut resources = Resources { cpu_weight: Some(100), startup_cpu_weight: Some(7), ..Resources::default() };
        resources.startup_memory.max = Some(Amount::Fixed(5));
        let files = |when| settings(&resources, when).iter().map(|(_, file, text)| format!("{file} {text}")).collect();
        let (startup, running): (Vec<String>, Vec<String>) = (files(When::Startup), files(When::Running));
        assert_eq!(
            (startup, running),
            (vec!["memory.max 5".into(), "cpu.weight 7".into()], vec!["cpu.weight 100".into()])
        );
        assert!(has_startup(&resources) && !has_startup(&Resources::default()));
    }

    #[test]
    fn a_share_of_the_processor_is_counted_in_a_period_that_is_long_enough() {
        assert_eq!(quota_text(2000, None), "20000 100000");
        assert_eq!(quota_text(25_000, None), "250000 100000");
        assert_eq!(quota_text(50, None), "1000 200000");
        assert_eq!(quota_text(5000, Some(Duration::from_millis(10))), "5000 10000");
    }
}
