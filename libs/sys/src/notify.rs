//! Datagrams of sd_notify together with who sent them.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Longest datagram.
pub const MESSAGE_MAX: usize = 4096;
/// Files that a datagram may carry.
const FILES_MAX: usize = 16;

/// One datagram.
#[derive(Debug)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The sender's process id, told by the kernel.
    pub pid: i32,
    /// The files that came along; dropping them closes them.
    pub files: Vec<OwnedFd>,
}

/// Makes the socket at this path; an old one is replaced.
pub fn listen(path: &str) -> io::Result<OwnedFd> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
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
pub fn receive(socket: impl AsFd) -> io::Result<Option<Message>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; MESSAGE_MAX];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let length = match rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags) {
        Ok(message) => message.bytes,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut message = Message { bytes: buffer.get(..length).unwrap_or_default().to_vec(), pid: 0, files: Vec::new() };
    for part in control.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(files) => message.files.extend(files),
            RecvAncillaryMessage::ScmCredentials(sender) => message.pid = sender.pid.as_raw_nonzero().get(),
            _ => {}
        }
    }
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
