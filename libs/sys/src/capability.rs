//! The capabilities of this process: its three sets, the bounding set and the ambient set.

use std::io;

use nix::libc;

/// The sets of a process, one bit a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// Those in force.
    pub effective: u64,
    /// Those it may put in force.
    pub permitted: u64,
    /// Those that outlive an execution.
    pub inheritable: u64,
}

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: the low or the high half of the sets.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// The sets of this process.
pub fn get() -> io::Result<Sets> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: the header and both halves are what version 3 reads and writes, and outlive the call.
    let outcome = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    if outcome == -1 {
        return Err(io::Error::last_os_error());
    }
    let whole = |part: fn(&Half) -> u32| {
        let [low, high] = &halves;
        u64::from(part(high)) << 32 | u64::from(part(low))
    };
    Ok(Sets {
        effective: whole(|half| half.effective),
        permitted: whole(|half| half.permitted),
        inheritable: whole(|half| half.inheritable),
    })
}

/// Sets the sets of this process.
pub fn set(sets: Sets) -> io::Result<()> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| {
        let part = |bits: u64| (bits >> shift) as u32;
        Half { effective: part(sets.effective), permitted: part(sets.permitted), inheritable: part(sets.inheritable) }
    };
    let halves = [half(0), half(32)];
    // SAFETY: the header and both halves are what version 3 reads, and outlive the call.
    let outcome = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn bounding(option: libc::c_int, number: u8) -> io::Result<bool> {
    // SAFETY: both options take an integer and touch no memory.
    let outcome = unsafe { libc::prctl(option, libc::c_ulong::from(number), 0, 0, 0) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(outcome == 1) }
}

/// Can programs that this process executes have the capability? An error: the kernel does not know it.
pub fn is_bounding(number: u8) -> io::Result<bool> {
    bounding(libc::PR_CAPBSET_READ, number)
}

/// Takes a capability out of what programs executed from now on can have.
pub fn drop_bounding(number: u8) -> io::Result<()> {
    bounding(libc::PR_CAPBSET_DROP, number).map(|_| ())
}

fn ambient(operation: libc::c_int, number: u8) -> io::Result<()> {
    let operation = operation as libc::c_ulong;
    // SAFETY: the operations take integers and touch no memory.
    let outcome = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, operation, libc::c_ulong::from(number), 0, 0) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets programs executed from now on have a capability that is permitted and inheritable.
pub fn raise_ambient(number: u8) -> io::Result<()> {
    ambient(libc::PR_CAP_AMBIENT_RAISE, number)
}

/// Undoes [`raise_ambient`] for all.
pub fn clear_ambient() -> io::Result<()> {
    ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_this_process_are_read_and_can_be_set_to_what_they_are() {
        let sets = get().unwrap();
        assert_eq!(sets.effective & !sets.permitted, 0);
        set(sets).unwrap();
        assert_eq!(get().unwrap(), sets);
        assert!(is_bounding(0).is_ok() && is_bounding(63).is_err());
    }
}
