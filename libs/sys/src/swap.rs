//! Swap space.

use std::ffi::CString;
use std::io;

use nix::libc;

/// Lets the kernel swap to a device or file.
pub fn on(path: &str, flags: i32) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the path is a text with a final zero that outlives the call.
    if unsafe { libc::swapon(path.as_ptr(), flags) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes it back.
pub fn off(path: &str) -> io::Result<()> {
    let path = CString::new(path)?;
    // SAFETY: as above.
    if unsafe { libc::swapoff(path.as_ptr()) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_cannot_be_used() {
        assert!(on("/nonexistent", 0).is_err() && off("/nonexistent").is_err());
        assert_eq!(on("a\0b", 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
