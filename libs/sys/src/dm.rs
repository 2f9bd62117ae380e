//! Device mapper: the few ioctls that set up and take down a read-only device of one target.
//!
//! There is no udev here, so the node below /dev/mapper is made by hand.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{FileType, Mode};

mod raw {
    nix::ioctl_readwrite!(dev_create, 0xfd, 3, super::Header);
    nix::ioctl_readwrite!(dev_remove, 0xfd, 4, super::Header);
    nix::ioctl_readwrite!(dev_suspend, 0xfd, 6, super::Header);
    nix::ioctl_readwrite!(table_load, 0xfd, 9, super::Header);
    nix::ioctl_readwrite!(table_status, 0xfd, 12, super::Header);
}

const CONTROL: &str = "/dev/mapper/control";
const READ_ONLY: u32 = 1;
const HEADER_BYTES: usize = 312;
const TARGET_BYTES: usize = 40;
const BUFFER_BYTES: usize = 4096;
const NAME_BYTES: usize = 128;

/// `struct dm_ioctl` of linux/dm-ioctl.h, with the room the kernel reads and writes behind it.
#[repr(C, align(8))]
#[doc(hidden)]
pub struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_number: u32,
    padding: u32,
    device: u64,
    name: [u8; NAME_BYTES],
    uuid: [u8; 129],
    reserved: [u8; 7],
}

#[repr(C, align(8))]
struct Request {
    header: Header,
    payload: [u8; BUFFER_BYTES - HEADER_BYTES],
}

/// One target that fills a whole read-only device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Kind of target, such as `verity`.
    pub kind: &'a str,
    /// Length in 512-byte sectors.
    pub sectors: u64,
    /// Parameters in the target's own grammar.
    pub parameters: &'a str,
}

/// The open control device of the device mapper.
#[derive(Debug)]
pub struct Mapper {
    control: File,
}

impl Mapper {
    /// Opens /dev/mapper/control; the module dm_mod must be loaded.
    pub fn open() -> io::Result<Mapper> {
        let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
        Ok(Mapper { control })
    }

    /// Makes a device and its node, and returns the path of the node. Nothing is left behind when a step fails.
    pub fn create(&self, name: &str, target: &Target) -> io::Result<PathBuf> {
        let number = self.create_empty(name)?;
        let made = self.load(name, target).and_then(|()| self.resume(name)).and_then(|()| make_node(name, number));
        if made.is_err() {
            // The first error is the one worth telling; a device without a table harms nobody.
            let _ = self.remove(name);
        }
        made
    }

    /// Removes a device that nobody uses.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut request = Request::new(name)?;
        // SAFETY: `request` is `data_size` bytes long, laid out as dm-ioctl.h says, and outlives the call.
        unsafe { raw::dev_remove(self.control.as_raw_fd(), request.as_pointer()) }?;
        Ok(())
    }

    /// Status text of the first target; for verity `V` (valid) or `C` (corruption was seen).
    pub fn status(&self, name: &str) -> io::Result<String> {
        let mut request = Request::new(name)?;
        // SAFETY: `request` is `data_size` bytes long, laid out as dm-ioctl.h says, and outlives the call.
        unsafe { raw::table_status(self.control.as_raw_fd(), request.as_pointer()) }?;
        let text = request.payload.get(TARGET_BYTES..).unwrap_or_default();
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned())
    }

    fn create_empty(&self, name: &str) -> io::Result<u64> {
        let mut request = Request::new(name)?;
        // SAFETY: `request` is `data_size` bytes long, laid out as dm-ioctl.h says, and outlives the call.
        unsafe { raw::dev_create(self.control.as_raw_fd(), request.as_pointer()) }?;
        Ok(request.header.device)
    }

    fn load(&self, name: &str, target: &Target) -> io::Result<()> {
        let mut request = Request::new(name)?;
        request.header.flags = READ_ONLY;
        request.put_target(target)?;
        // SAFETY: `request` is `data_size` bytes long, laid out as dm-ioctl.h says, and outlives the call.
        unsafe { raw::table_load(self.control.as_raw_fd(), request.as_pointer()) }?;
        Ok(())
    }

    fn resume(&self, name: &str) -> io::Result<()> {
        let mut request = Request::new(name)?;
        // SAFETY: `request` is `data_size` bytes long, laid out as dm-ioctl.h says, and outlives the call.
        unsafe { raw::dev_suspend(self.control.as_raw_fd(), request.as_pointer()) }?;
        Ok(())
    }
}

impl Request {
    fn new(name: &str) -> io::Result<Request> {
        let mut request = Request {
            header: Header {
                version: [4, 0, 0],
                data_size: BUFFER_BYTES as u32,
                data_start: HEADER_BYTES as u32,
                target_count: 0,
                open_count: 0,
                flags: 0,
                event_number: 0,
                padding: 0,
                device: 0,
                name: [0; NAME_BYTES],
                uuid: [0; 129],
                reserved: [0; 7],
            },
            payload: [0; BUFFER_BYTES - HEADER_BYTES],
        };
        copy_text(&mut request.header.name, name)?;
        Ok(request)
    }

    /// The pointer is made from the whole request, because the kernel reads and writes behind the header.
    fn as_pointer(&mut self) -> *mut Header {
        (&raw mut *self).cast()
    }

    /// Appends a `struct dm_target_spec` and its parameters.
    fn put_target(&mut self, target: &Target) -> io::Result<()> {
        let (spec, rest) = self.payload.split_at_mut(TARGET_BYTES);
        let next = (TARGET_BYTES + target.parameters.len() + 1).next_multiple_of(8) as u32;
        let (numbers, target_type) = spec.split_at_mut(24);
        copy_text(target_type, target.kind)?;
        copy_text(rest, target.parameters)?;
        let fields = [0u64.to_ne_bytes(), target.sectors.to_ne_bytes(), pair(0, next)];
        numbers.copy_from_slice(fields.as_flattened());
        self.header.target_count = 1;
        Ok(())
    }
}

fn pair(first: u32, second: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    let (low, high) = bytes.split_at_mut(4);
    low.copy_from_slice(&first.to_ne_bytes());
    high.copy_from_slice(&second.to_ne_bytes());
    bytes
}

/// Copies text and keeps at least one zero byte behind it.
fn copy_text(target: &mut [u8], text: &str) -> io::Result<()> {
    match target.get_mut(..text.len() + 1) {
        Some(room) if !text.as_bytes().contains(&0) => {
            let (bytes, end) = room.split_at_mut(text.len());
            bytes.copy_from_slice(text.as_bytes());
            end.fill(0);
            Ok(())
        }
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

/// Makes /dev/mapper/NAME; there is no udev that would.
fn make_node(name: &str, device: u64) -> io::Result<PathBuf> {
    let path = PathBuf::from("/dev/mapper").join(name);
    // The number comes in the kernel's own coding (huge_encode_dev), which for these numbers is makedev's.
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::BlockDevice, mode, device) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(path),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_layout_of_the_kernel() {
        assert_eq!(size_of::<Header>(), HEADER_BYTES);
        assert_eq!(size_of::<Request>(), BUFFER_BYTES);
    }

    #[test]
    fn a_target_is_laid_out_behind_the_header() {
        let mut request = Request::new("root").unwrap();
        request.put_target(&Target { kind: "verity", sectors: 80, parameters: "1 2" }).unwrap();
        assert_eq!(request.payload[8..16], 80u64.to_ne_bytes());
        assert_eq!(request.payload[20..24], 48u32.to_ne_bytes());
        assert_eq!(&request.payload[24..31], b"verity\0");
        assert_eq!(&request.payload[40..44], b"1 2\0");
    }

    #[test]
    fn names_and_parameters_that_do_not_fit_are_refused() {
        assert!(Request::new(&"n".repeat(128)).is_err());
        assert!(Request::new("a\0b").is_err());
        let mut request = Request::new("root").unwrap();
        let parameters = "p".repeat(4096);
        assert!(request.put_target(&Target { kind: "verity", sectors: 8, parameters: &parameters }).is_err());
    }
}
