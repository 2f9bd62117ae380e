//! The processes of a unit, read by the client itself from the control group and /proc: PID 1 need not.

use std::fs;
use std::path::{Path, PathBuf};

use ferrite_control::{GroupProcess, UnitDetails, quote_words};

/// Where control groups are seen.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// Processes shown at most.
const PROCESSES_MAX: usize = 200;
/// Sub-groups looked into at most.
const GROUPS_MAX: usize = 64;

/// Fills in what PID 1 left out: processes, command lines, counters.
pub fn complete(unit: &mut UnitDetails) {
    if let Some(group) = unit.control_group.as_mut().filter(|group| !group.path.is_empty()) {
        let folder = folder_of(&group.path);
        if group.processes.is_empty() {
            group.processes = processes(&folder);
        }
        let counter = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        group.tasks = group.tasks.or_else(|| counter("pids.current"));
        group.tasks_max = group.tasks_max.or_else(|| counter("pids.max"));
        group.memory_bytes = group.memory_bytes.or_else(|| counter("memory.current"));
        group.memory_peak_bytes = group.memory_peak_bytes.or_else(|| counter("memory.peak"));
        group.cpu_us = group.cpu_us.or_else(|| cpu_us(&folder));
        for process in &mut group.processes {
            if process.command.is_empty() {
                process.command = command_line(process.pid);
            }
        }
    }
    if let (Some(pid), true) = (unit.main_pid, unit.main_comm.is_empty()) {
        unit.main_comm = comm(pid);
    }
    if let (Some(pid), true) = (unit.control_pid, unit.control_comm.is_empty()) {
        unit.control_comm = comm(pid);
    }
}

/// Where the control group of this path is seen.
pub fn folder_of(group: &str) -> PathBuf {
    Path::new(CGROUP_ROOT).join(group.trim_start_matches('/'))
}

fn cpu_us(folder: &Path) -> Option<u64> {
    let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok())
}

/// The processes of a group and of its sub-groups, breadth first.
fn processes(top: &Path) -> Vec<GroupProcess> {
    let mut found = Vec::new();
    let mut waiting = vec![top.to_path_buf()];
    let mut looked = 0;
    while let Some(folder) = waiting.pop() {
        looked += 1;
        let name = folder.strip_prefix(top).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let pids = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let fresh = pids.lines().filter_map(|line| line.trim().parse().ok());
        found.extend(fresh.map(|pid| GroupProcess { pid, command: String::new(), group: name.clone() }));
        if found.len() >= PROCESSES_MAX || looked >= GROUPS_MAX {
            break;
        }
        let inner = fs::read_dir(&folder).into_iter().flatten().flatten();
        waiting.extend(inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
    found.truncate(PROCESSES_MAX);
    found
}

fn comm(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

pub fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches('\0');
    if text.is_empty() { format!("[{}]", comm(pid)) } else { quote_words(text.split('\0')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_groups_are_read_with_their_names() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("init.scope");
        fs::create_dir(&inner).expect("made");
        fs::write(directory.path().join("cgroup.procs"), "").expect("written");
        fs::write(inner.join("cgroup.procs"), "17\n18\n").expect("written");
        let found = processes(directory.path());
        let shown: Vec<(i32, &str)> = found.iter().map(|process| (process.pid, process.group.as_str())).collect();
        assert_eq!(shown, [(17, "init.scope"), (18, "init.scope")]);
    }

    #[test]
    fn our_own_command_line_is_readable() {
        let pid = i32::try_from(std::process::id()).expect("a process id");
        assert!(!command_line(pid).is_empty() && !comm(pid).is_empty());
        assert_eq!(command_line(-1), "[]");
    }
}
