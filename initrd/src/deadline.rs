//! The time that early boot may take in all.
//!
//! This is the one thread of the program. Every wait in it has its own end, but a system call on a dead disk
//! may not come back; only a second thread can still reboot then. The switch to the root ends the thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use ferrite_sys::console;
use rustix::system::RebootCommand;

use crate::report::uptime;

/// The moment by which the root must have been switched to.
#[derive(Clone, Debug)]
pub struct Deadline {
    /// Milliseconds since the kernel started; `u64::MAX` when there is none.
    at: Arc<AtomicU64>,
}

impl Deadline {
    /// Starts the watch.
    pub fn start(limit: Duration) -> std::io::Result<Deadline> {
        let deadline = Deadline { at: Arc::new(AtomicU64::new(milliseconds(uptime() + limit))) };
        let watched = deadline.clone();
        std::thread::Builder::new().name("deadline".into()).stack_size(64 << 10).spawn(move || watched.watch())?;
        Ok(deadline)
    }

    /// No deadline at all.
    pub fn none() -> Deadline {
        Deadline { at: Arc::new(AtomicU64::new(u64::MAX)) }
    }

    /// Something slow begins: at least this much time is left from now on.
    pub fn extend(&self, limit: Duration) {
        self.at.fetch_max(milliseconds(uptime() + limit), Ordering::Relaxed);
    }

    /// A person has taken over.
    pub fn lift(&self) {
        self.at.store(u64::MAX, Ordering::Relaxed);
    }

    fn watch(&self) {
        let (lock, never) = (Mutex::new(()), Condvar::new());
        loop {
            let left = self.at.load(Ordering::Relaxed).saturating_sub(milliseconds(uptime()));
            if left == 0 {
                console::write_line("ferrite: early boot has taken too long, rebooting");
                // If even this fails, the watchdog is left.
                let _ = rustix::system::reboot(RebootCommand::Restart);
            }
            // Nobody notifies: this waits for the time alone, and looks again because it may have been extended.
            let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
            drop(never.wait_timeout(guard, Duration::from_millis(left.clamp(100, 3_600_000))));
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_only_away() {
        let deadline = Deadline::none();
        deadline.extend(Duration::from_secs(1));
        assert_eq!(deadline.at.load(Ordering::Relaxed), u64::MAX);
        deadline.at.store(0, Ordering::Relaxed);
        deadline.extend(Duration::from_secs(60));
        let first = deadline.at.load(Ordering::Relaxed);
        deadline.extend(Duration::from_secs(1));
        assert_eq!(deadline.at.load(Ordering::Relaxed), first);
    }
}
