//! Making processes inside a control group, and what the child may do before it becomes a program.
//!
//! `fork_into` is clone3: the child is a member of its group from its first instruction, so nothing can escape it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_NEWPID: u64 = 0x2000_0000;
/// Handlers of signals are not the child's: what was handled has the default effect.
pub(crate) const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
pub(crate) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of linux/sched.h.
#[repr(C, align(8))]
#[derive(Default)]
pub(crate) struct CloneArguments {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

/// A new process as its parent sees it.
#[derive(Debug)]
pub struct Child {
    /// Its process id.
    pub pid: i32,
    /// A file that becomes readable when it ends.
    pub pidfd: OwnedFd,
}

/// Where a process is born.
#[derive(Debug, Clone, Copy, Default)]
pub struct Birth<'a> {
    /// The control group it is made in.
    pub group: Option<BorrowedFd<'a>>,
    /// Is it the first process of a namespace of its own, in which others cannot be seen?
    pub own_pids: bool,
}

/// Makes a process that runs `work` and ends with the status it returns; `work` usually executes a program.
///
/// Only for programs with one thread: the child has no other thread, so a lock held by one would never be released.
pub fn fork_into(group: Option<BorrowedFd<'_>>, work: impl FnOnce() -> i32) -> io::Result<Child> {
    fork(Birth { group, own_pids: false }, work)
}

/// The same, with all that can be said of its birth.
pub fn fork(birth: Birth<'_>, work: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    let mut arguments = CloneArguments {
        flags: CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    if birth.own_pids {
        arguments.flags |= CLONE_NEWPID;
    }
    if let Some(group) = birth.group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: `arguments` is a valid clone_args of the size given and outlives the call; without CLONE_VM the child
    // gets a copy of the memory, as after fork.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), std::mem::size_of::<CloneArguments>())
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            crate::crash::note_child();
            let status = work();
            // SAFETY: _exit never returns and runs no destructors, which belong to the parent.
            unsafe { libc::_exit(status) }
        }
        pid => {
            // SAFETY: the kernel stored a new descriptor there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: i32::try_from(pid).unwrap_or(0), pidfd })
        }
    }
}

/// Makes the terminal the controlling one of this session; `force` takes it from another session.
pub fn take_terminal(terminal: BorrowedFd<'_>, force: bool) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer and touches no memory of ours.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, libc::c_int::from(force)) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes `from` also descriptor `to` (0, 1 or 2), open across execution.
pub fn place(from: BorrowedFd<'_>, to: i32) -> io::Result<()> {
    let outcome = if from.as_raw_fd() == to {
        // SAFETY: F_SETFD takes an integer and touches no memory of ours.
        unsafe { libc::fcntl(to, libc::F_SETFD, 0) }
    } else {
        // SAFETY: dup2 touches no memory; the descriptors 0 to 2 are nobody's in a fresh child.
        unsafe { libc::dup2(from.as_raw_fd(), to) }
    };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Hangs up the terminal: every process that has it open loses it.
pub fn hang_up(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // TIOCVHANGUP hangs up this terminal, not the controlling one, as vhangup would.
    const TIOCVHANGUP: libc::c_ulong = 0x5437;
    // SAFETY: the request has no argument.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), TIOCVHANGUP, 0) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Raises the loopback interface.
pub fn raise_loopback() -> io::Result<()> {
    // SAFETY: socket takes integers only; the result is checked and owned at once.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: ifreq is plain data for which all zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request reads one ifreq, which outlives the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_ends_with_the_status_of_its_work() {
        let child = fork_into(None, || 7).unwrap();
        let status = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child.pid), None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(nix::unistd::Pid::from_raw(child.pid), 7));
    }
}
