//! Datagrams of sd_notify together with who sent them.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Longest datagram.
pub const MESSAGE_MAX: usize = 4096;
/// Files that a datagram may carry: the kernel's limit, for what it had to cut off would be lost open.
const FILES_MAX: usize = 253;

/// One datagram.
#[derive(Debug)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The sender's process id, told by the kernel.
    pub pid: i32,
    /// The sender's user id, told by the kernel.
    pub uid: u32,
    /// The files that came along; dropping them closes them.
    pub files: Vec<OwnedFd>,
}

/// Makes the socket at this path; an old one is replaced.
pub fn listen(path: &str) -> io::Result<OwnedFd> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::sockopt::set_socket_passcred(&socket, true)?;
    rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o666))?;
    Ok(socket)
}

/// Takes one datagram; `None` when there is none.
///
/// A sender outside our process namespace has the process id 0.
pub fn receive(socket: impl AsFd) -> io::Result<Option<Message>> {
    let mut space = nix::cmsg_space!(UnixCredentials, [RawFd; FILES_MAX]);
    let mut buffer = [0; MESSAGE_MAX];
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let mut message = Message { bytes: Vec::new(), pid: 0, uid: u32::MAX, files: Vec::new() };
    let length = match recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut space), flags) {
        Ok(received) => {
            for part in received.cmsgs()? {
                match part {
                    ControlMessageOwned::ScmRights(files) => {
                        // SAFETY: the kernel has just made these descriptors for us, nobody else owns them.
                        message.files.extend(files.into_iter().map(|file| unsafe { OwnedFd::from_raw_fd(file) }));
                    }
                    ControlMessageOwned::ScmCredentials(sender) => {
                        message.pid = sender.pid();
                        message.uid = sender.uid();
                    }
                    _ => {}
                }
            }
            received.bytes
        }
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    message.bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_arrives_with_its_sender() {
        let path = std::env::temp_dir().join(format!("ferrite-notify-{}", std::process::id()));
        let socket = listen(path.to_str().unwrap()).unwrap();
        assert!(receive(&socket).unwrap().is_none());
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1", &path).unwrap();
        let message = receive(&socket).unwrap().unwrap();
        assert_eq!((message.bytes.as_slice(), message.pid), (&b"READY=1"[..], std::process::id() as i32));
        std::fs::remove_file(path).unwrap();
    }
}
