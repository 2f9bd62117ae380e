//! How this process is scheduled: processors, memory nodes, disk.

use std::io;

use nix::libc;

fn checked(outcome: libc::c_long) -> io::Result<()> {
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the policy (SCHED_*) and its priority; with `reset`, children start with the usual policy.
pub fn set_policy(policy: i32, priority: i32, reset: bool) -> io::Result<()> {
    const SCHED_RESET_ON_FORK: i32 = 0x4000_0000;
    let policy = if reset { policy | SCHED_RESET_ON_FORK } else { policy };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the kernel reads one sched_param, which outlives the call.
    checked(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }.into())
}

/// One bit a number, in words as the kernel takes them.
fn mask(numbers: &[u16]) -> Vec<libc::c_ulong> {
    let width = libc::c_ulong::BITS as usize;
    let mut words = vec![0; numbers.iter().max().map_or(1, |most| usize::from(*most) / width + 1)];
    for number in numbers.iter().map(|number| usize::from(*number)) {
        if let Some(word) = words.get_mut(number / width) {
            *word |= 1 << (number % width);
        }
    }
    words
}

/// Sets the processors that the process may run on.
pub fn set_affinity(processors: &[u16]) -> io::Result<()> {
    let words = mask(processors);
    let bytes = std::mem::size_of_val(words.as_slice());
    // SAFETY: the kernel reads `bytes` bytes from the words, which outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, bytes, words.as_ptr()) })
}

/// Sets from which nodes the process gets memory (MPOL_*).
pub fn set_memory_policy(policy: i32, nodes: &[u16]) -> io::Result<()> {
    let words = mask(nodes);
    // The kernel takes one less than it is told.
    let bits = words.len() * libc::c_ulong::BITS as usize + 1;
    let (pointer, bits) = if nodes.is_empty() { (std::ptr::null(), 0) } else { (words.as_ptr(), bits) };
    // SAFETY: the kernel reads `bits` - 1 bits from the words, which outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_set_mempolicy, policy, pointer, bits) })
}

/// Sets the class (1 real time, 2 best effort, 3 idle) and the level of input and output.
pub fn set_io_priority(class: u8, level: u8) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: the call takes integers only.
    checked(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_bits() {
        assert_eq!(mask(&[]), [0]);
        assert_eq!(mask(&[0, 3, 64]), [0b1001, 1]);
    }

    #[test]
    fn a_process_can_be_bound_to_one_processor_and_to_no_other_disk_class_than_there_is() {
        let first = std::fs::read_to_string("/proc/self/status").unwrap();
        let list = first.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let processor: u16 = list.split(['-', ',']).next().unwrap().parse().unwrap();
        set_affinity(&[processor]).unwrap();
        set_io_priority(2, 7).unwrap();
        assert!(set_io_priority(7, 0).is_err());
    }
}
