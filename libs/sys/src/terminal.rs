//! Virtual consoles.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// Gives the memory of a virtual console back to the kernel, with all that is on its screen; `console` is any of them.
/// The one that is shown and those that somebody has open are busy.
pub fn give_back(console: BorrowedFd<'_>, number: u8) -> io::Result<()> {
    const VT_DISALLOCATE: libc::c_ulong = 0x5608;
    // SAFETY: the request takes an integer and touches no memory of ours.
    let outcome = unsafe { libc::ioctl(console.as_raw_fd(), VT_DISALLOCATE, libc::c_int::from(number)) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
