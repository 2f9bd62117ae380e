//! Shared memory, semaphores and messages of System V.

use std::io;

use nix::libc;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Memory,
    Semaphores,
    Messages,
}

impl Kind {
    /// The name of the kernel's table.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Memory => "shm",
            Kind::Semaphores => "sem",
            Kind::Messages => "msg",
        }
    }
}

/// Removes an object.
pub fn remove(kind: Kind, number: i32) -> io::Result<()> {
    let outcome = match kind {
        // SAFETY: IPC_RMID reads no memory.
        Kind::Memory => unsafe { libc::shmctl(number, libc::IPC_RMID, std::ptr::null_mut()) },
        // SAFETY: as above.
        Kind::Semaphores => unsafe { libc::semctl(number, 0, libc::IPC_RMID) },
        // SAFETY: as above.
        Kind::Messages => unsafe { libc::msgctl(number, libc::IPC_RMID, std::ptr::null_mut()) },
    };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_gone_when_it_is_removed() {
        // SAFETY: shmget takes integers only.
        let number = unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o600) };
        assert!(number >= 0);
        remove(Kind::Memory, number).unwrap();
        assert!(remove(Kind::Memory, number).is_err());
    }
}
