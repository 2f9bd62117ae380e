//! The session keyring of this process: where the kernel keeps keys for it.

use std::io;

use nix::libc;

const JOIN_SESSION_KEYRING: libc::c_long = 1;
const CHOWN: libc::c_long = 4;
const LINK: libc::c_long = 8;
const SETPERM: libc::c_long = 5;
const SESSION: libc::c_long = -3;
const USER: libc::c_long = -4;

fn control(operation: libc::c_long, first: libc::c_long, second: libc::c_long, third: libc::c_long) -> io::Result<i64> {
    // SAFETY: every operation used here takes numbers, or a null pointer where it takes a name.
    let outcome = unsafe { libc::syscall(libc::SYS_keyctl, operation, first, second, third, 0) };
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

/// Takes an empty session keyring; returns its number. An error of kind `Unsupported`: the kernel has no keys.
pub fn join_session() -> io::Result<i64> {
    control(JOIN_SESSION_KEYRING, 0, 0, 0)
}

/// Links the keyring of the user into that of the session, so that its keys are found.
pub fn link_user() -> io::Result<()> {
    control(LINK, USER, SESSION, 0).map(|_| ())
}

/// Gives a keyring to a user and a group, who may see, read, write, search and link it.
pub fn give(keyring: i64, user: u32, group: u32) -> io::Result<()> {
    const OWNER_ALL: libc::c_long = 0x3f3f_0000;
    control(SETPERM, keyring, OWNER_ALL, 0)?;
    control(CHOWN, keyring, libc::c_long::from(user), libc::c_long::from(group)).map(|_| ())
}
