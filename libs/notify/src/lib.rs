//! Telling PID 1 how a daemon is: `READY=1`, `STATUS=...` as datagrams to `$NOTIFY_SOCKET` (sd_notify).
//!
//! A daemon that runs without PID 1 has no socket; then every message goes nowhere and that is fine.

use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};

/// The way to PID 1, or nothing.
#[derive(Debug, Default)]
pub struct Notifier {
    target: Option<(UnixDatagram, SocketAddrUnix)>,
}

impl Notifier {
    /// From the value of `NOTIFY_SOCKET`, which only `main` may read: a path, or `@name` for an abstract socket.
    pub fn new(notify_socket: Option<&OsStr>) -> io::Result<Self> {
        let Some(name) = notify_socket.filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(abstract_name) => SocketAddrUnix::new_abstract_name(abstract_name)?,
            None => SocketAddrUnix::new(name)?,
        };
        Ok(Self { target: Some((UnixDatagram::unbound()?, address)) })
    }

    /// The daemon does its work from now on.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// One line that `systemctl status` shows.
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}", one_line(status)))
    }

    /// The daemon is on its way out.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    /// The daemon lives; to be said more often than `WATCHDOG_USEC` of the environment demands.
    pub fn watchdog(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    /// Gives PID 1 a file to keep, for the next start of the daemon. Without PID 1 it is not kept.
    pub fn store(&self, name: &str, file: impl AsFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&files));
        self.send_with(&format!("FDSTORE=1\nFDNAME={}", one_line(name)), &mut control)
    }

    /// Lets PID 1 close a file that it keeps.
    pub fn unstore(&self, name: &str) -> io::Result<()> {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={}", one_line(name)))
    }

    fn send(&self, message: &str) -> io::Result<()> {
        self.send_with(message, &mut SendAncillaryBuffer::default())
    }

    fn send_with(&self, message: &str, control: &mut SendAncillaryBuffer<'_, '_, '_>) -> io::Result<()> {
        let Some((socket, address)) = &self.target else { return Ok(()) };
        let parts = [IoSlice::new(message.as_bytes())];
        rustix::net::sendmsg_addr(socket, address, &parts, control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    #[test]
    fn ready_and_status_arrive_at_an_abstract_socket() {
        let name = format!("ferrite-notify-test-{}", std::process::id());
        let server = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::new(Some(OsStr::new(&format!("@{name}")))).unwrap();
        notifier.ready("one\nREADY=0").unwrap();
        let mut buffer = [0; 100];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=one READY=0");
        notifier.store("a", &server).unwrap();
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"FDSTORE=1\nFDNAME=a");
    }

    #[test]
    fn without_a_socket_nothing_is_sent_and_nothing_fails() {
        Notifier::new(None).unwrap().ready("x").unwrap();
    }
}
