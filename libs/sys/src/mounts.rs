//! Flags of mounts that exist already.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// A flag that one mount has, whatever others of the same file system have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// Nothing can be changed.
    ReadOnly,
    /// SUID bits mean nothing.
    NoSuid,
    /// Device files mean nothing.
    NoDevices,
    /// Nothing can be executed.
    NoExecute,
}

impl Flag {
    fn bit(self) -> u64 {
        match self {
            Flag::ReadOnly => 1,
            Flag::NoSuid => 2,
            Flag::NoDevices => 4,
            Flag::NoExecute => 8,
        }
    }
}

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Sets and clears flags of the mount at this place, not of those below it.
pub fn change(path: &Path, set: &[Flag], clear: &[Flag]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let bits = |flags: &[Flag]| flags.iter().fold(0, |bits, flag| bits | flag.bit());
    let attributes = Attributes { set: bits(set), clear: bits(clear), propagation: 0, user_namespace: 0 };
    // SAFETY: the path is a C string and the attributes have the size given; both outlive the call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            &raw const attributes,
            std::mem::size_of::<Attributes>(),
        )
    };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
