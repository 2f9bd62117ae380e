//! Signals: which ones PID 1 reads from a file, and a clean slate for the programs it starts.

use std::io;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Blocks all signals that can be blocked, but those of a crash, and returns the file to read them from.
pub fn block_all() -> io::Result<SignalFd> {
    let mut all = SigSet::all();
    crate::crash::FATAL.into_iter().for_each(|signal| all.remove(signal));
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), None)?;
    Ok(SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Takes back what whoever started us ignores, so that children need not; only `SIGPIPE` is ignored.
///
/// What has the default effect is left alone: to set it again would lose the signals that wait.
pub fn reset_all() -> io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        let wanted = if number == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        if number != libc::SIGPIPE && handler_of(number) != Some(libc::SIG_IGN) {
            continue;
        }
        // SAFETY: no handler function is installed.
        if unsafe { libc::signal(number, wanted) } == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What a signal does; `None`: there is no such signal.
fn handler_of(number: i32) -> Option<libc::sighandler_t> {
    // SAFETY: sigaction is plain data for which all zeros is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is installed, and the old action is written to a place that outlives the call.
    (unsafe { libc::sigaction(number, std::ptr::null(), &mut action) } == 0).then_some(action.sa_sigaction)
}

/// In a child of a process that called `reset_all`: no blocked signals, as a program expects, and `SIGPIPE` is ignored
/// if asked for. Handlers are gone since the child was made.
pub fn reset_for_program(ignore_sigpipe: bool) -> io::Result<()> {
    let handler = if ignore_sigpipe { SigHandler::SigIgn } else { SigHandler::SigDfl };
    // SAFETY: no handler function is installed.
    unsafe { nix::sys::signal::signal(Signal::SIGPIPE, handler) }?;
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Sends any signal, real-time ones included, to a process.
pub fn send(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: kill takes integers only.
    if unsafe { libc::kill(pid, signal) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends any signal to a process group.
pub fn send_to_group(group: i32, signal: i32) -> io::Result<()> {
    if group <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: kill takes integers only.
    if unsafe { libc::kill(-group, signal) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal to every process but PID 1 and the caller.
pub fn send_to_all(signal: i32) -> io::Result<()> {
    // SAFETY: kill takes integers only.
    if unsafe { libc::kill(-1, signal) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of `SIGRTMIN+offset`.
pub fn real_time(offset: i32) -> i32 {
    libc::SIGRTMIN() + offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_1_and_groups_of_everybody_are_never_signalled_by_accident() {
        for pid in [-1, 0, 1] {
            assert!(send(pid, 0).is_err() && send_to_group(pid, 0).is_err());
        }
    }
}
