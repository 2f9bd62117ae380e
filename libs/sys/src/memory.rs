//! Keeping a program in memory.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;

static KEPT: AtomicBool = AtomicBool::new(false);

/// From now on no page that this process has touched or will touch leaves memory: code that ran once can run again,
/// whatever became of the disk it came from. Pages that are never touched cost nothing. Children do not inherit it.
pub fn keep() -> io::Result<()> {
    // SAFETY: mlockall takes an integer and changes no content of memory.
    let outcome = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if outcome == -1 {
        return Err(io::Error::last_os_error());
    }
    KEPT.store(true, Ordering::Relaxed);
    Ok(())
}

/// Gives the pages that the allocator has no use for back to the kernel. It gives back none that are kept, so that for
/// this moment they are not.
pub fn give_back() -> io::Result<()> {
    let kept = KEPT.load(Ordering::Relaxed);
    // SAFETY: neither call changes the content of memory that is in use.
    unsafe {
        if kept {
            libc::munlockall();
        }
        libc::malloc_trim(0);
    }
    if kept { keep() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without an allocation: another thread of the parent may have held the allocator's lock.
    fn locked_kib() -> Option<u64> {
        let path = c"/proc/self/status";
        let file = rustix::fs::open(path, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).ok()?;
        let mut buffer = [0u8; 4096];
        let length = rustix::io::read(&file, &mut buffer[..]).ok()?;
        let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmLck:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    #[test]
    fn what_was_kept_stays_kept_when_memory_is_given_back() {
        // In a process of its own: the lock would stay with all other tests.
        let locked = crate::process::fork_into(None, || {
            if keep().is_err() {
                return 0;
            }
            i32::from(give_back().is_err() || locked_kib() == Some(0))
        });
        let child = locked.expect("a child");
        let pid = rustix::process::Pid::from_raw(child.pid);
        let status = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).expect("it ends");
        assert_eq!(status.and_then(|(_, status)| status.exit_status()), Some(0));
    }

    #[test]
    fn what_was_touched_is_locked() {
        // In a process of its own: the lock would stay with all other tests.
        let locked = crate::process::fork_into(None, || {
            if keep().is_err() {
                // Without the privilege there is nothing to see.
                return 0;
            }
            i32::from(locked_kib() == Some(0))
        });
        let child = locked.expect("a child");
        let pid = rustix::process::Pid::from_raw(child.pid);
        let status = rustix::process::waitpid(pid, rustix::process::WaitOptions::empty()).expect("it ends");
        assert_eq!(status.and_then(|(_, status)| status.exit_status()), Some(0));
    }
}
