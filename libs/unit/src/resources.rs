//! What the control group of a unit may use: processor, memory, processes, disk, devices, network. Pure.
//!
//! Services, sockets, mounts, swaps, slices and scopes have it. `None` means "not written", if nothing else is said.

use std::net::IpAddr;

use crate::cpu_set::CpuSet;
use crate::value::Span;

/// An amount of memory or a number of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many.
    Fixed(u64),
    /// So many ten-thousandths of what the machine has.
    Share(u32),
    /// Without limit.
    Infinite,
}

/// Processes that a unit may have, unless it says otherwise, in ten-thousandths of what the kernel allows.
pub const TASKS_SHARE: u32 = 1500;

/// What shares are shares of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of memory.
    pub memory: u64,
    /// Processes that the kernel allows.
    pub tasks: u64,
    /// Bytes of one page of memory.
    pub page: u64,
}

impl Default for Totals {
    fn default() -> Self {
        // As on a small machine, for whoever does not look at a real one.
        Totals { memory: 1 << 30, tasks: 32_768, page: 4096 }
    }
}

impl Totals {
    /// So much memory; a share is a whole number of pages.
    pub fn memory(&self, amount: Amount) -> Amount {
        match amount {
            Amount::Share(10_000) => Amount::Fixed(self.memory),
            Amount::Share(share) => {
                let pages = part(self.memory / self.page.max(1), share);
                Amount::Fixed(pages.saturating_mul(self.page))
            }
            Amount::Fixed(_) | Amount::Infinite => amount,
        }
    }

    /// So many processes.
    pub fn tasks(&self, amount: Amount) -> Amount {
        match amount {
            Amount::Share(share) => Amount::Fixed(part(self.tasks, share)),
            Amount::Fixed(_) | Amount::Infinite => amount,
        }
    }
}

fn part(whole: u64, share: u32) -> u64 {
    u64::try_from(u128::from(whole) * u128::from(share) / 10_000).unwrap_or(u64::MAX)
}

impl Amount {
    /// The number that the kernel takes; `None` is without limit.
    pub fn finite(self) -> Option<u64> {
        match self {
            Amount::Fixed(amount) => Some(amount),
            // Shares are resolved when a unit is read.
            Amount::Share(_) | Amount::Infinite => None,
        }
    }
}

/// `DevicePolicy=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DevicePolicy {
    /// All devices, unless some are named.
    #[default]
    Auto,
    /// Those named, and the harmless ones such as /dev/null.
    Closed,
    /// Those named.
    Strict,
}

/// `DeviceAllow=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAllow {
    /// A device file, or `char-NAME` or `block-NAME` with a pattern.
    pub device: String,
    /// `r`.
    pub read: bool,
    /// `w`.
    pub write: bool,
    /// `m`.
    pub make: bool,
}

/// `IODeviceWeight=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceWeight {
    /// A path on the device.
    pub path: String,
    /// Its weight.
    pub weight: u64,
}

/// `IODeviceLatencyTargetSec=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLatency {
    /// A path on the device.
    pub path: String,
    /// The target.
    pub target: Span,
}

/// `IOReadBandwidthMax=` and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceLimit {
    /// A path on the device.
    pub path: String,
    /// Bytes read, bytes written, reads, writes a second; `None` is without limit.
    pub limits: [Option<u64>; 4],
}

/// A network of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// The first address.
    pub address: IpAddr,
    /// Bits that all of its addresses have in common.
    pub prefix: u8,
}

/// Controllers of control groups, in systemd's order.
pub const CONTROLLERS: [&str; 13] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "io",
    "blkio",
    "memory",
    "devices",
    "pids",
    "bpf-firewall",
    "bpf-devices",
    "bpf-foreign",
    "bpf-socket-bind",
    "bpf-restrict-network-interfaces",
];

/// A set of [`CONTROLLERS`], one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Controllers(pub u16);

impl Controllers {
    /// All that `Delegate=yes` hands over: those of version 2.
    pub const DELEGATED: Controllers = Controllers(0b1010_1101);

    /// The names in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        CONTROLLERS.iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| *name)
    }

    /// The controller of this name.
    pub fn named(name: &str) -> Option<Controllers> {
        CONTROLLERS.iter().position(|have| *have == name).map(|bit| Controllers(1 << bit))
    }
}

/// `ManagedOOMSwap=`, `ManagedOOMMemoryPressure=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManagedOom {
    /// As the slice above says.
    #[default]
    Auto,
    /// Ended when memory runs out.
    Kill,
}

/// `ManagedOOMPreference=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum OomPreference {
    #[default]
    None,
    Avoid,
    Omit,
}

/// `MemoryPressureWatch=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PressureWatch {
    /// Told nothing.
    No,
    /// Told where to watch.
    Yes,
    /// Told, if memory is counted.
    #[default]
    Auto,
    /// Nothing is done.
    Skip,
}

/// `SocketBindAllow=`, `SocketBindDeny=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketBind {
    /// `ipv4` or `ipv6`.
    pub family: Option<&'static str>,
    /// `tcp` or `udp`.
    pub protocol: Option<&'static str>,
    /// First and last port; `None` for any.
    pub ports: Option<(u16, u16)>,
}

/// `RestrictNetworkInterfaces=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interfaces {
    /// Does the list name what is allowed?
    pub allow: bool,
    /// The names.
    pub names: Vec<String>,
}

/// Limits of memory that exist twice: all the time, and (`Startup…`) while the machine starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// `MemoryMin=`.
    pub min: Option<Amount>,
    /// `MemoryLow=`.
    pub low: Option<Amount>,
    /// `MemoryHigh=`.
    pub high: Option<Amount>,
    /// `MemoryMax=`.
    pub max: Option<Amount>,
    /// `MemorySwapMax=`.
    pub swap_max: Option<Amount>,
    /// `MemoryZSwapMax=`.
    pub zswap_max: Option<Amount>,
}

/// The settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resources {
    /// `Slice=`.
    pub slice: Option<String>,
    /// `CPUAccounting=`.
    pub cpu_accounting: bool,
    /// `MemoryAccounting=`.
    pub memory_accounting: bool,
    /// `TasksAccounting=`.
    pub tasks_accounting: bool,
    /// `IOAccounting=`.
    pub io_accounting: bool,
    /// `BlockIOAccounting=`.
    pub block_io_accounting: bool,
    /// `IPAccounting=`.
    pub ip_accounting: bool,
    /// `CPUWeight=`; 0 is `idle`.
    pub cpu_weight: Option<u64>,
    /// `StartupCPUWeight=`.
    pub startup_cpu_weight: Option<u64>,
    /// `CPUShares=`.
    pub cpu_shares: Option<u64>,
    /// `StartupCPUShares=`.
    pub startup_cpu_shares: Option<u64>,
    /// `CPUQuota=`, as ten-thousandths of one processor.
    pub cpu_quota: Option<u64>,
    /// `CPUQuotaPeriodSec=`.
    pub cpu_quota_period: Span,
    /// `AllowedCPUs=`.
    pub cpus: Option<CpuSet>,
    /// `StartupAllowedCPUs=`.
    pub startup_cpus: Option<CpuSet>,
    /// `AllowedMemoryNodes=`.
    pub memory_nodes: Option<CpuSet>,
    /// `StartupAllowedMemoryNodes=`.
    pub startup_memory_nodes: Option<CpuSet>,
    /// `IOWeight=`.
    pub io_weight: Option<u64>,
    /// `StartupIOWeight=`.
    pub startup_io_weight: Option<u64>,
    /// `BlockIOWeight=`.
    pub block_io_weight: Option<u64>,
    /// `StartupBlockIOWeight=`.
    pub startup_block_io_weight: Option<u64>,
    /// `IODeviceWeight=`.
    pub io_device_weights: Vec<DeviceWeight>,
    /// `IODeviceLatencyTargetSec=`.
    pub io_device_latencies: Vec<DeviceLatency>,
    /// `IO…Max=`.
    pub io_device_limits: Vec<DeviceLimit>,
    /// `BlockIODeviceWeight=`.
    pub block_io_device_weights: Vec<DeviceWeight>,
    /// `BlockIO…Bandwidth=`.
    pub block_io_device_limits: Vec<DeviceLimit>,
    /// `DefaultMemoryMin=`.
    pub default_memory_min: Option<Amount>,
    /// `DefaultMemoryLow=`.
    pub default_memory_low: Option<Amount>,
    /// `DefaultStartupMemoryLow=`.
    pub default_startup_memory_low: Option<Amount>,
    /// `Memory…=`.
    pub memory: Memory,
    /// `StartupMemory…=`.
    pub startup_memory: Memory,
    /// `MemoryZSwapWriteback=`.
    pub zswap_writeback: bool,
    /// `MemoryLimit=`.
    pub memory_limit: Option<Amount>,
    /// `TasksMax=`; `None` only for slices: all others have the manager's default.
    pub tasks_max: Option<Amount>,
    /// `DevicePolicy=`.
    pub device_policy: DevicePolicy,
    /// `DeviceAllow=`, the latest first.
    pub devices: Vec<DeviceAllow>,
    /// `Delegate=`.
    pub delegate: bool,
    /// The controllers that are handed over.
    pub delegated: Controllers,
    /// `DelegateSubgroup=`.
    pub delegate_subgroup: Option<String>,
    /// `DisableControllers=`.
    pub disabled: Controllers,
    /// `IPAddressAllow=`.
    pub ip_allow: Vec<Network>,
    /// `IPAddressDeny=`.
    pub ip_deny: Vec<Network>,
    /// `IPIngressFilterPath=`.
    pub ip_ingress_filters: Vec<String>,
    /// `IPEgressFilterPath=`.
    pub ip_egress_filters: Vec<String>,
    /// `BPFProgram=`: where it is attached, and its file.
    pub bpf_programs: Vec<(String, String)>,
    /// `SocketBindAllow=`, the latest first.
    pub bind_allow: Vec<SocketBind>,
    /// `SocketBindDeny=`, the latest first.
    pub bind_deny: Vec<SocketBind>,
    /// `RestrictNetworkInterfaces=`.
    pub interfaces: Option<Interfaces>,
    /// `NFTSet=`.
    pub nft_sets: Vec<String>,
    /// `ManagedOOMSwap=`.
    pub managed_oom_swap: ManagedOom,
    /// `ManagedOOMMemoryPressure=`.
    pub managed_oom_pressure: ManagedOom,
    /// `ManagedOOMMemoryPressureLimit=`, in ten-thousandths.
    pub managed_oom_pressure_limit: u32,
    /// `ManagedOOMMemoryPressureDurationSec=`.
    pub managed_oom_pressure_duration: Option<Span>,
    /// `ManagedOOMPreference=`.
    pub managed_oom_preference: OomPreference,
    /// `MemoryPressureWatch=`.
    pub pressure_watch: PressureWatch,
    /// `MemoryPressureThresholdSec=`.
    pub pressure_threshold: Option<Span>,
    /// `CoredumpReceive=`.
    pub coredump_receive: bool,
}

crate::shared::common_default!(Resources);

impl Default for Resources {
    fn default() -> Self {
        Resources {
            slice: None,
            cpu_accounting: true,
            memory_accounting: true,
            tasks_accounting: true,
            io_accounting: false,
            block_io_accounting: false,
            ip_accounting: false,
            cpu_weight: None,
            startup_cpu_weight: None,
            cpu_shares: None,
            startup_cpu_shares: None,
            cpu_quota: None,
            cpu_quota_period: Span::Infinite,
            cpus: None,
            startup_cpus: None,
            memory_nodes: None,
            startup_memory_nodes: None,
            io_weight: None,
            startup_io_weight: None,
            block_io_weight: None,
            startup_block_io_weight: None,
            io_device_weights: Vec::new(),
            io_device_latencies: Vec::new(),
            io_device_limits: Vec::new(),
            block_io_device_weights: Vec::new(),
            block_io_device_limits: Vec::new(),
            default_memory_min: None,
            default_memory_low: None,
            default_startup_memory_low: None,
            memory: Memory::default(),
            startup_memory: Memory::default(),
            zswap_writeback: true,
            memory_limit: None,
            tasks_max: None,
            device_policy: DevicePolicy::Auto,
            devices: Vec::new(),
            delegate: false,
            delegated: Controllers::default(),
            delegate_subgroup: None,
            disabled: Controllers::default(),
            ip_allow: Vec::new(),
            ip_deny: Vec::new(),
            ip_ingress_filters: Vec::new(),
            ip_egress_filters: Vec::new(),
            bpf_programs: Vec::new(),
            bind_allow: Vec::new(),
            bind_deny: Vec::new(),
            interfaces: None,
            nft_sets: Vec::new(),
            managed_oom_swap: ManagedOom::Auto,
            managed_oom_pressure: ManagedOom::Auto,
            managed_oom_pressure_limit: 0,
            managed_oom_pressure_duration: None,
            managed_oom_preference: OomPreference::None,
            pressure_watch: PressureWatch::Auto,
            pressure_threshold: Some(Span::Finite(std::time::Duration::from_millis(200))),
            coredump_receive: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_pages() {
        let totals = Totals { memory: 10 * 4096, tasks: 192_728, page: 4096 };
        assert_eq!(totals.memory(Amount::Share(2500)), Amount::Fixed(2 * 4096));
        assert_eq!(totals.tasks(Amount::Share(1500)), Amount::Fixed(28_909));
        assert_eq!(totals.memory(Amount::Infinite), Amount::Infinite);
    }

    #[test]
    fn delegation_hands_over_the_controllers_of_version_2() {
        assert_eq!(Controllers::DELEGATED.names().collect::<Vec<_>>(), ["cpu", "cpuset", "io", "memory", "pids"]);
        assert_eq!(Controllers::named("pids").unwrap().names().collect::<Vec<_>>(), ["pids"]);
    }
}
