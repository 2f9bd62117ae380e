//! Waiting for the kernel to announce devices.
//!
//! Lost messages do no harm: the kernel says that some were lost, and the caller looks at everything again.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with, sockopt};

const KERNEL_GROUP: u32 = 1;
const MESSAGE_BYTES: usize = 8192;
const BUFFER_BYTES: usize = 4 << 20;
/// So that a flood of messages cannot keep the caller from its work.
const BATCH: usize = 1024;

/// What the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A device appeared that a module may drive.
    Device {
        /// Its modalias.
        modalias: String,
    },
    /// A disk or partition appeared or changed.
    Block,
    /// Messages were lost.
    Lost,
}

/// The socket on which the kernel announces devices.
#[derive(Debug)]
pub struct Uevents {
    socket: OwnedFd,
}

impl Uevents {
    /// Opens the socket; what is announced from now on is kept.
    pub fn open() -> io::Result<Uevents> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(KOBJECT_UEVENT))?;
        // A smaller buffer only means that more messages may be lost.
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER_BYTES);
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Uevents { socket })
    }

    /// Waits until there is news or the time is over, and returns all there is.
    pub fn wait(&self, limit: Duration) -> io::Result<Vec<News>> {
        let deadline = Instant::now() + limit;
        loop {
            let news = self.drain()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !news.is_empty() || left.is_zero() {
                return Ok(news);
            }
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn drain(&self) -> io::Result<Vec<News>> {
        let mut news = Vec::new();
        let mut buffer = [0u8; MESSAGE_BYTES];
        for _ in 0..BATCH {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((count, _)) => news.extend(parse(buffer.get(..count).unwrap_or_default())),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => news.push(News::Lost),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(news)
    }
}

/// Reads one message: a head line, then `KEY=value`, all ended by zero bytes.
fn parse(message: &[u8]) -> Option<News> {
    let fields = || message.split(|&byte| byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    let value = |key: &str| fields().find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
    if !matches!(value("ACTION"), Some("add" | "change" | "bind")) {
        return None;
    }
    match (value("MODALIAS"), value("SUBSYSTEM")) {
        (Some(modalias), _) => Some(News::Device { modalias: modalias.to_owned() }),
        (None, Some("block")) => Some(News::Block),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_disks_are_news_and_the_rest_is_not() {
        let device = b"add@/devices/x\0ACTION=add\0SUBSYSTEM=virtio\0MODALIAS=virtio:d00000002v00001AF4\0SEQNUM=1\0";
        let modalias = "virtio:d00000002v00001AF4".to_owned();
        assert_eq!(parse(device), Some(News::Device { modalias }));
        let disk = b"add@/devices/x/block/vda\0ACTION=add\0SUBSYSTEM=block\0DEVTYPE=disk\0";
        assert_eq!(parse(disk), Some(News::Block));
        assert_eq!(parse(b"remove@/x\0ACTION=remove\0SUBSYSTEM=block\0"), None);
        assert_eq!(parse(b"add@/x\0ACTION=add\0SUBSYSTEM=tty\0"), None);
        assert_eq!(parse(b"\xff\xfe\0"), None);
        assert_eq!(parse(b""), None);
    }
}
