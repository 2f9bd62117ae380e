//! Filters of system calls: programs that the kernel runs before every call of this process and its children.

use std::io;

use nix::libc;

/// One instruction of a filter (`struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// Instructions that are skipped when a comparison holds.
    pub yes: u8,
    /// Instructions that are skipped when it does not.
    pub no: u8,
    /// A number, as the operation takes it.
    pub operand: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    filter: *const Instruction,
}

/// Instructions that a filter may have.
pub const LENGTH_MAX: usize = 4096;

/// Adds a filter. It can never be taken away.
pub fn install(instructions: &[Instruction]) -> io::Result<()> {
    const SET_MODE_FILTER: libc::c_ulong = 1;
    if instructions.len() > LENGTH_MAX {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let length = u16::try_from(instructions.len()).unwrap_or(0);
    let program = Program { length, filter: instructions.as_ptr() };
    // SAFETY: the kernel copies `length` instructions from `filter`, which outlive the call.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Does the kernel have filters at all?
pub fn available() -> bool {
    const SET_MODE_FILTER: libc::c_ulong = 1;
    // SAFETY: without a program the kernel only looks at the pointer and answers EFAULT.
    let outcome = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, std::ptr::null::<Program>()) };
    outcome == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}
