//! How much memory and how many processes the machine has: what shares such as `MemoryMax=10%` are shares of.

use std::fs;

use ferrite_unit::resources::Totals;

/// Looks at the machine, and at the limits of the whole hierarchy, which a container has.
pub fn read() -> Totals {
    let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let group = |file: &str| number(&format!("/sys/fs/cgroup/{file}")).unwrap_or(u64::MAX);
    let system = rustix::system::sysinfo();
    let memory = system.totalram.saturating_mul(u64::from(system.mem_unit.max(1)));
    let pids = number("/proc/sys/kernel/pid_max").unwrap_or(1 << 22);
    let threads = number("/proc/sys/kernel/threads-max").unwrap_or(1 << 22);
    Totals {
        memory: memory.min(group("memory.max")),
        tasks: pids.min(threads).min(group("pids.max")),
        page: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
    }
}
