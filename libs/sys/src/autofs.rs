//! The kernel's automounter: a place whose first access is reported through a pipe, and answered through /dev/autofs.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

const DEVICE: &str = "/dev/autofs";
/// Bytes of a report, with room for what a later kernel adds.
const REPORT_BYTES: usize = 512;
/// Longest path of a place.
const PATH_MAX: usize = 4096;

/// `struct autofs_dev_ioctl` of linux/auto_dev-ioctl.h, without the path behind it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Head {
    major: u32,
    minor: u32,
    size: u32,
    file: i32,
    argument: [u32; 2],
}

const HEAD_BYTES: usize = std::mem::size_of::<Head>();

/// The head with a path behind it.
#[repr(C)]
struct WithPath {
    head: Head,
    path: [u8; PATH_MAX],
}

mod raw {
    nix::ioctl_readwrite!(version, 0x93, 0x71, super::Head);
    nix::ioctl_readwrite!(open_mount, 0x93, 0x74, super::Head);
    nix::ioctl_readwrite!(ready, 0x93, 0x76, super::Head);
    nix::ioctl_readwrite!(fail, 0x93, 0x77, super::Head);
    nix::ioctl_readwrite!(timeout, 0x93, 0x7a, super::Head);
    nix::ioctl_readwrite!(expire, 0x93, 0x7c, super::Head);
}

fn head(file: i32, argument: [u32; 2]) -> Head {
    Head { major: 1, minor: 1, size: HEAD_BYTES as u32, file, argument }
}

/// What the kernel asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// Somebody waits for the mount; the number is for the answer.
    Missing(u32),
    /// Nobody used the mount for a while; the number is for the answer.
    Expired(u32),
}

/// Reads one report; `None`: there is none, or it is of a kind that nobody asked for.
pub fn report(pipe: impl AsFd) -> io::Result<Option<Report>> {
    let mut buffer = [0_u8; REPORT_BYTES];
    let length = match rustix::io::read(pipe, &mut buffer) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(length) => length,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(parse(buffer.get(..length).unwrap_or_default()))
}

/// Version, kind and number stand first in every packet.
fn parse(packet: &[u8]) -> Option<Report> {
    let field = |place: usize| Some(u32::from_ne_bytes(packet.get(place * 4..place * 4 + 4)?.try_into().ok()?));
    match (field(1)?, field(2)?) {
        (5, token) => Some(Report::Missing(token)),
        (6, token) => Some(Report::Expired(token)),
        _ => None,
    }
}

/// The control device.
#[derive(Debug)]
pub struct Control {
    device: File,
}

impl Control {
    /// Opens it; a kernel without automounter has none.
    pub fn open() -> io::Result<Control> {
        let device = File::open(DEVICE)?;
        let mut head = head(-1, [0; 2]);
        // SAFETY: the request reads and writes one head, which outlives the call.
        unsafe { raw::version(device.as_raw_fd(), &raw mut head) }?;
        Ok(Control { device })
    }

    /// Opens a place by its path and device number.
    pub fn place(&self, path: &str, device: u32) -> io::Result<Place<'_>> {
        let mut request = WithPath { head: head(-1, [device, 0]), path: [0; PATH_MAX] };
        // The path ends with a zero.
        let room = request.path.get_mut(..path.len() + 1).ok_or(io::ErrorKind::InvalidInput)?;
        room.iter_mut().zip(path.bytes()).for_each(|(to, from)| *to = from);
        request.head.size = (HEAD_BYTES + path.len() + 1) as u32;
        // SAFETY: the request reads the head and the path behind it, `size` bytes in all, and writes the head.
        unsafe { raw::open_mount(self.device.as_raw_fd(), (&raw mut request).cast()) }?;
        // SAFETY: the kernel has just made this descriptor for us, nobody else owns it.
        let file = unsafe { OwnedFd::from_raw_fd(request.head.file) };
        Ok(Place { control: self, file })
    }
}

/// A place where mounts are made on access.
#[derive(Debug)]
pub struct Place<'a> {
    control: &'a Control,
    file: OwnedFd,
}

impl Place<'_> {
    fn head(&self, argument: [u32; 2]) -> Head {
        head(self.file.as_raw_fd(), argument)
    }

    /// After how long without use a mount is reported as expired; zero: never.
    pub fn set_timeout(&self, after: Duration) -> io::Result<()> {
        let bytes = after.as_secs().to_ne_bytes();
        let half =
            |from: usize| bytes.get(from..from + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_ne_bytes);
        let mut head = self.head([half(0), half(4)]);
        // SAFETY: the request reads and writes one head, which outlives the call.
        unsafe { raw::timeout(self.control.device.as_raw_fd(), &raw mut head) }?;
        Ok(())
    }

    /// Answers a report: it is done, or failed with this error number.
    pub fn answer(&self, token: u32, failure: Option<i32>) -> io::Result<()> {
        let device = self.control.device.as_raw_fd();
        match failure {
            None => {
                let mut head = self.head([token, 0]);
                // SAFETY: as above.
                unsafe { raw::ready(device, &raw mut head) }?;
            }
            Some(errno) => {
                // A positive number would freeze older kernels.
                let mut head = self.head([token, (-errno.abs()).cast_unsigned()]);
                // SAFETY: as above.
                unsafe { raw::fail(device, &raw mut head) }?;
            }
        }
        Ok(())
    }

    /// Lets the kernel report what expired, until nothing is left. Waits for the answers: only for a child.
    pub fn expire(&self) -> io::Error {
        loop {
            let mut head = self.head([0; 2]);
            // SAFETY: as above.
            if let Err(errno) = unsafe { raw::expire(self.control.device.as_raw_fd(), &raw mut head) } {
                return errno.into();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_told_apart() {
        let packet = |kind: u32| [5_u32, kind, 77, 0].map(u32::to_ne_bytes).concat();
        assert_eq!(parse(&packet(5)), Some(Report::Missing(77)));
        assert_eq!(parse(&packet(6)), Some(Report::Expired(77)));
        assert_eq!((parse(&packet(3)), parse(&[1, 2, 3])), (None, None));
        assert_eq!(HEAD_BYTES, 24);
    }
}
