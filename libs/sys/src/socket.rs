//! Sockets of every family that a socket unit may name, and their options by number.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{SockaddrLike, SockaddrStorage, VsockAddr};

fn checked(outcome: libc::c_int) -> io::Result<libc::c_int> {
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

/// Makes a socket that does not block and is closed on execution.
pub fn make(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes integers only.
    let socket = checked(unsafe { libc::socket(family, kind | flags, protocol) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Gives a socket its address.
pub fn bind(socket: impl AsFd, address: &dyn SockaddrLike) -> io::Result<()> {
    Ok(nix::sys::socket::bind(socket.as_fd().as_raw_fd(), address)?)
}

/// The address of a virtual machine socket.
pub fn vsock(context: u32, port: u32) -> VsockAddr {
    VsockAddr::new(context, port)
}

/// Sets an option whose value is a number.
pub fn set_number(socket: impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let size = libc::socklen_t::try_from(std::mem::size_of::<libc::c_int>()).unwrap_or(4);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the option reads one integer, which outlives the call.
    checked(unsafe { libc::setsockopt(socket, level, option, std::ptr::from_ref(&value).cast(), size) })?;
    Ok(())
}

/// Reads an option whose value is a number.
pub fn number(socket: impl AsFd, level: i32, option: i32) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut size = libc::socklen_t::try_from(std::mem::size_of::<libc::c_int>()).unwrap_or(4);
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes to an integer that outlives the call.
    let outcome =
        unsafe { libc::getsockopt(socket, level, option, std::ptr::from_mut(&mut value).cast(), &raw mut size) };
    checked(outcome)?;
    Ok(value)
}

/// Sets an option whose value is a text.
pub fn set_text(socket: impl AsFd, level: i32, option: i32, value: &str) -> io::Result<()> {
    let text = CString::new(value)?;
    let size = libc::socklen_t::try_from(text.as_bytes_with_nul().len()).map_err(io::Error::other)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the option reads `size` bytes of a text that outlives the call.
    checked(unsafe { libc::setsockopt(socket, level, option, text.as_ptr().cast(), size) })?;
    Ok(())
}

/// The address of the other side.
pub fn peer(socket: impl AsFd) -> io::Result<SockaddrStorage> {
    Ok(nix::sys::socket::getpeername(socket.as_fd().as_raw_fd())?)
}

/// The address of this side.
pub fn own(socket: impl AsFd) -> io::Result<SockaddrStorage> {
    Ok(nix::sys::socket::getsockname(socket.as_fd().as_raw_fd())?)
}

/// Opens or makes a message queue, to read from it without blocking.
pub fn open_queue(name: &str, mode: u32, limits: Option<(i64, i64)>) -> io::Result<OwnedFd> {
    let text = CString::new(name)?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_CREAT;
    // SAFETY: mq_attr is plain data for which all zeros is valid.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    let pointer = match limits {
        Some((messages, bytes)) => {
            attributes.mq_maxmsg = messages;
            attributes.mq_msgsize = bytes;
            std::ptr::from_mut(&mut attributes)
        }
        None => std::ptr::null_mut(),
    };
    // SAFETY: name and attributes outlive the call; the other arguments are integers.
    let queue = checked(unsafe { libc::mq_open(text.as_ptr(), flags, mode, pointer) })?;
    // SAFETY: on Linux a message queue is a descriptor; it is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(queue) })
}

/// Removes a message queue.
pub fn remove_queue(name: &str) -> io::Result<()> {
    let text = CString::new(name)?;
    // SAFETY: the name outlives the call.
    checked(unsafe { libc::mq_unlink(text.as_ptr()) })?;
    Ok(())
}

/// Throws away what waits in a message queue.
pub fn drain_queue(queue: impl AsFd) {
    let queue = queue.as_fd().as_raw_fd();
    // SAFETY: mq_attr is plain data for which all zeros is valid.
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills in one mq_attr, which outlives the call.
    if unsafe { libc::mq_getattr(queue, &raw mut attributes) } == -1 {
        return;
    }
    let mut buffer = vec![0_u8; usize::try_from(attributes.mq_msgsize).unwrap_or(0).clamp(1, 1 << 20)];
    for _ in 0..attributes.mq_curmsgs {
        // SAFETY: at most `buffer.len()` bytes are written to the buffer.
        let got = unsafe { libc::mq_receive(queue, buffer.as_mut_ptr().cast(), buffer.len(), std::ptr::null_mut()) };
        if got == -1 {
            return;
        }
    }
}

/// Makes files the descriptors from 3 on, open across execution. In a child that is about to execute.
///
/// What else had these numbers is closed; whoever needs such a file moves it away first, see [`move_above`].
pub fn place_from_three(files: &[std::os::fd::BorrowedFd<'_>]) -> io::Result<()> {
    let count = libc::c_int::try_from(files.len()).map_err(io::Error::other)?;
    let mut copies = Vec::with_capacity(files.len());
    for file in files {
        // First out of the way of the places, as one file may stand where another is to go.
        copies.push(move_above(file, 3 + count)?);
    }
    for (place, copy) in (3..).zip(&copies) {
        // SAFETY: dup2 touches no memory; the descriptors belong to nobody who still uses them in this child.
        checked(unsafe { libc::dup2(copy.as_raw_fd(), place) })?;
    }
    Ok(())
}

/// A copy of a file whose number is not below this one, closed on execution.
pub fn move_above(file: impl AsFd, lowest: i32) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes an integer and touches no memory of ours.
    let copy = checked(unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })?;
    // SAFETY: the descriptor is new and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_set_and_read() {
        let socket = make(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap();
        set_number(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1).unwrap();
        assert_eq!(number(&socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE).unwrap(), 1);
        assert!(set_text(&socket, libc::SOL_TCP, libc::TCP_CONGESTION, "no-such-control").is_err());
    }

    #[test]
    fn files_land_on_the_numbers_from_three_on() {
        let child = crate::process::fork_into(None, || {
            let (reader, writer) = rustix::pipe::pipe().unwrap();
            let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
            let wanted = [&writer, &null, &reader].map(crate::inherit::inode);
            place_from_three(&[writer.as_fd(), null.as_fd(), reader.as_fd()]).unwrap();
            std::mem::forget((reader, writer, null));
            let found = [3, 4, 5].map(|number| std::fs::metadata(format!("/proc/self/fd/{number}")).unwrap());
            i32::from(found.map(|file| std::os::unix::fs::MetadataExt::ino(&file)) != wanted)
        });
        let pid = nix::unistd::Pid::from_raw(child.unwrap().pid);
        let status = nix::sys::wait::waitpid(pid, None).unwrap();
        assert_eq!(status, nix::sys::wait::WaitStatus::Exited(pid, 0));
    }
}
