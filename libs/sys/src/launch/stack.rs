//! The stack of a child that shares our memory: its lowest page cannot be touched.

use std::io;
use std::ptr;

use nix::libc;

/// The steps of a child need a few kilobytes.
const BYTES: usize = 64 << 10;
const GUARD: usize = 4096;

/// Memory for one child at a time.
pub(super) struct Stack {
    start: *mut libc::c_void,
}

impl Stack {
    pub(super) fn new() -> io::Result<Stack> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no memory.
        let start = unsafe { libc::mmap(ptr::null_mut(), BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Stack { start };
        // SAFETY: the page is the first one of the mapping just made, and nobody uses it.
        if unsafe { libc::mprotect(start, GUARD, libc::PROT_NONE) } == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// The lowest address, and the bytes from there to the end, where a child begins.
    pub(super) fn range(&self) -> (u64, u64) {
        (self.start as u64, BYTES as u64)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and as long as this; whoever has a child on it forgets it instead.
        unsafe { libc::munmap(self.start, BYTES) };
    }
}
