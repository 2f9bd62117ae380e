//! Switches of this process that are set with prctl and nothing else: what may never be gained again, and odds.

use std::io;

use nix::libc;

fn control(option: libc::c_int, arguments: [libc::c_ulong; 4]) -> io::Result<libc::c_int> {
    let [first, second, third, fourth] = arguments;
    // SAFETY: every option used in this module takes integers only and touches no memory of ours.
    let outcome = unsafe { libc::prctl(option, first, second, third, fourth) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

/// No program executed from now on gains rights (SUID bits, file capabilities).
pub fn no_new_privileges() -> io::Result<()> {
    control(libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).map(|_| ())
}

/// Do capabilities outlive the change to another user?
pub fn keep_capabilities(keep: bool) -> io::Result<()> {
    control(libc::PR_SET_KEEPCAPS, [libc::c_ulong::from(keep), 0, 0, 0]).map(|_| ())
}

/// The secure bits.
pub fn secure_bits() -> io::Result<u32> {
    control(libc::PR_GET_SECUREBITS, [0; 4]).map(|bits| u32::try_from(bits).unwrap_or(0))
}

/// Sets the secure bits.
pub fn set_secure_bits(bits: u32) -> io::Result<()> {
    control(libc::PR_SET_SECUREBITS, [libc::c_ulong::from(bits), 0, 0, 0]).map(|_| ())
}

/// Memory that was writable never becomes executable. An error of kind `InvalidInput`: the kernel knows no such switch.
pub fn deny_write_execute() -> io::Result<()> {
    const PR_SET_MDWE: libc::c_int = 65;
    const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
    control(PR_SET_MDWE, [PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0]).map(|_| ())
}

/// Are pages that equal others merged?
pub fn merge_memory(merge: bool) -> io::Result<()> {
    const PR_SET_MEMORY_MERGE: libc::c_int = 67;
    control(PR_SET_MEMORY_MERGE, [libc::c_ulong::from(merge), 0, 0, 0]).map(|_| ())
}

/// How much later than asked for a timer may end.
pub fn timer_slack(nanoseconds: u64) -> io::Result<()> {
    control(libc::PR_SET_TIMERSLACK, [nanoseconds, 0, 0, 0]).map(|_| ())
}

/// Which kind of machine the process believes to run on; returns the one before.
pub fn personality(persona: u32) -> io::Result<u32> {
    // SAFETY: personality takes an integer and touches no memory.
    let outcome = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(u32::try_from(outcome).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secure_bits_can_be_read_and_the_persona_asked_for() {
        assert_eq!(secure_bits().unwrap() & !0xff, 0);
        assert!(personality(0xffff_ffff).is_ok());
    }
}
