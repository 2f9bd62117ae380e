//! Taking apart what lies below file systems: swap areas and loop devices.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc;

mod raw {
    nix::ioctl_none_bad!(loop_clr_fd, 0x4c01);
}

/// Stops swapping to this device or file; what it holds must fit into memory.
pub fn swap_off(path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the path ends with a zero byte and outlives the call.
    if unsafe { libc::swapoff(path.as_ptr()) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes its file away from a loop device.
pub fn loop_off(path: &str) -> io::Result<()> {
    let device = File::open(path)?;
    // SAFETY: the request has no argument.
    unsafe { raw::loop_clr_fd(device.as_raw_fd()) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_device_cannot_be_taken_apart() {
        assert!(swap_off("/dev/null").is_err());
        assert!(loop_off("/dev/null").is_err());
        assert!(swap_off("/a\0b").is_err());
    }
}
