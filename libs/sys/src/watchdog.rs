//! The watchdog device: opened means ticking.
//!
//! Closing it without `disarm` leaves it ticking, which the kernel reports as critical: a program that hands it to
//! its next image keeps it open.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

mod raw {
    nix::ioctl_read!(get_support, b'W', 0, super::Information);
    nix::ioctl_read!(keep_alive, b'W', 5, i32);
    nix::ioctl_readwrite!(set_timeout, b'W', 6, i32);
    nix::ioctl_read!(get_timeout, b'W', 7, i32);
}

/// `struct watchdog_info` of linux/watchdog.h.
#[repr(C)]
#[doc(hidden)]
pub struct Information {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

/// An open, ticking watchdog.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
}

impl From<OwnedFd> for Watchdog {
    fn from(device: OwnedFd) -> Watchdog {
        Watchdog { device: device.into() }
    }
}

impl AsFd for Watchdog {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl Watchdog {
    /// Opens the device, which starts the watchdog. `ResourceBusy`: someone holds it.
    pub fn open(path: &Path) -> io::Result<Watchdog> {
        let device = OpenOptions::new().write(true).open(path)?;
        Ok(Watchdog { device })
    }

    /// Name of the driver, such as `i6300ESB timer`.
    pub fn identity(&self) -> io::Result<String> {
        let mut information = Information { options: 0, firmware_version: 0, identity: [0; 32] };
        // SAFETY: the kernel writes one watchdog_info into `information`, which outlives the call.
        unsafe { raw::get_support(self.device.as_raw_fd(), &mut information) }?;
        let name = information.identity.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// Asks for a time-out; returns what the driver made of it.
    pub fn set_timeout(&self, seconds: u32) -> io::Result<u32> {
        let mut value = i32::try_from(seconds).unwrap_or(i32::MAX);
        // SAFETY: the kernel reads and writes one int in `value`, which outlives the call.
        unsafe { raw::set_timeout(self.device.as_raw_fd(), &mut value) }?;
        Ok(value.try_into().unwrap_or(0))
    }

    /// The time-out in force, in seconds.
    pub fn timeout(&self) -> io::Result<u32> {
        let mut value = 0;
        // SAFETY: the kernel writes one int into `value`, which outlives the call.
        unsafe { raw::get_timeout(self.device.as_raw_fd(), &mut value) }?;
        Ok(value.try_into().unwrap_or(0))
    }

    /// Starts the time anew.
    pub fn ping(&self) -> io::Result<()> {
        let mut unused = 0;
        // SAFETY: the request ignores its argument; `unused` outlives the call.
        unsafe { raw::keep_alive(self.device.as_raw_fd(), &mut unused) }?;
        Ok(())
    }

    /// Stops the watchdog if its driver can be stopped (magic close).
    pub fn disarm(mut self) -> io::Result<()> {
        self.device.write_all(b"V")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_information_has_the_size_the_kernel_expects() {
        assert_eq!(size_of::<Information>(), 40);
    }

    #[test]
    fn a_device_that_is_no_watchdog_is_an_error_at_every_request() {
        let watchdog = Watchdog::open(Path::new("/dev/null")).unwrap();
        assert!(watchdog.identity().is_err());
        assert!(watchdog.set_timeout(60).is_err());
        assert!(watchdog.timeout().is_err());
        assert!(watchdog.ping().is_err());
    }
}
