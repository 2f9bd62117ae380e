//! Programs that the kernel runs when a process of a control group opens or makes a device.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

/// One instruction of a program (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u8,
    /// The register that is changed (low half) and the one that is read (high half).
    pub registers: u8,
    /// How far a jump goes, or where memory is read.
    pub offset: i16,
    /// A number.
    pub immediate: i32,
}

/// The part of `union bpf_attr` that loads a program.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that attaches a program.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const CGROUP_DEVICE_PROGRAM: u32 = 15;
const CGROUP_DEVICE_PLACE: u32 = 6;
/// Groups below may have programs of their own; all of them must agree.
const ALLOW_MULTI: u32 = 2;

/// Loads a program that decides about devices, and attaches it to a group.
pub fn guard_devices(group: BorrowedFd<'_>, instructions: &[Instruction]) -> io::Result<()> {
    let load = Load {
        kind: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads the attributes, whose size is given, and what they point to; all outlives the call.
    let program = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, std::mem::size_of::<Load>()) };
    let number = libc::c_int::try_from(program).unwrap_or(-1);
    if number == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(number) };
    let attach = Attach {
        target: u32::try_from(group.as_raw_fd()).unwrap_or(0),
        program: u32::try_from(program.as_raw_fd()).unwrap_or(0),
        kind: CGROUP_DEVICE_PLACE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the kernel reads the attributes, whose size is given and which outlive the call.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, std::mem::size_of::<Attach>()) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
