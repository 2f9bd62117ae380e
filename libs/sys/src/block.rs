//! Ioctls of block devices and of a mounted ext4.
//!
//! A partition can be resized in the kernel's table while other partitions of its disk are
//! mounted; `reread_partitions` is refused then.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

mod raw {
    nix::ioctl_read!(blkgetsize64, 0x12, 114, u64);
    nix::ioctl_none!(blkrrpart, 0x12, 95);
    nix::ioctl_none!(blkflsbuf, 0x12, 97);
    nix::ioctl_write_ptr_bad!(blkpg, 0x1269, super::BlkpgArgument);
    nix::ioctl_write_ptr!(ext4_resize_fs, b'f', 16, u64);
}

const ADD: i32 = 1;
const DELETE: i32 = 2;
const RESIZE: i32 = 3;

/// Where a partition lies, as the kernel is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// Number of the partition in its table, from 1.
    pub number: u32,
    /// First byte on the disk.
    pub start_bytes: u64,
    /// Length in bytes.
    pub length_bytes: u64,
}

/// `struct blkpg_partition` of linux/blkpg.h.
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg` of linux/blkpg.h.
#[repr(C)]
#[doc(hidden)]
pub struct BlkpgArgument {
    operation: i32,
    flags: i32,
    data_length: i32,
    data: *mut BlkpgPartition,
}

/// Size of a block device.
pub fn size_bytes(device: impl AsFd) -> io::Result<u64> {
    let mut size = 0u64;
    // SAFETY: the kernel writes one u64 into `size`, which outlives the call.
    unsafe { raw::blkgetsize64(device.as_fd().as_raw_fd(), &mut size) }?;
    Ok(size)
}

/// Lets the kernel read the partition table again; refused while a partition is in use.
pub fn reread_partitions(disk: impl AsFd) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    unsafe { raw::blkrrpart(disk.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Writes back and drops the buffered pages of a block device.
pub fn flush_buffers(device: impl AsFd) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    unsafe { raw::blkflsbuf(device.as_fd().as_raw_fd()) }?;
    Ok(())
}

/// Adds a partition to the kernel's table.
pub fn add_partition(disk: impl AsFd, range: PartitionRange) -> io::Result<()> {
    change_partition(disk, ADD, range)
}

/// Removes a partition from the kernel's table.
pub fn delete_partition(disk: impl AsFd, number: u32) -> io::Result<()> {
    change_partition(disk, DELETE, PartitionRange { number, start_bytes: 0, length_bytes: 0 })
}

/// Changes the length of a partition in the kernel's table; its start must stay.
pub fn resize_partition(disk: impl AsFd, range: PartitionRange) -> io::Result<()> {
    change_partition(disk, RESIZE, range)
}

fn change_partition(disk: impl AsFd, operation: i32, range: PartitionRange) -> io::Result<()> {
    let too_large = || io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = BlkpgPartition {
        start: range.start_bytes.try_into().map_err(|_| too_large())?,
        length: range.length_bytes.try_into().map_err(|_| too_large())?,
        number: range.number.try_into().map_err(|_| too_large())?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument =
        BlkpgArgument { operation, flags: 0, data_length: size_of::<BlkpgPartition>() as i32, data: &mut partition };
    // SAFETY: `argument` and the partition it points to have the layout of linux/blkpg.h and outlive the call.
    unsafe { raw::blkpg(disk.as_fd().as_raw_fd(), &argument) }?;
    Ok(())
}

/// Grows the mounted ext4 that `inside` (any open file or folder of it) belongs to.
pub fn grow_ext4(inside: impl AsFd, blocks: u64) -> io::Result<()> {
    // SAFETY: the kernel reads one u64 from `blocks`, which outlives the call.
    unsafe { raw::ext4_resize_fs(inside.as_fd().as_raw_fd(), &blocks) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_size_the_kernel_expects() {
        assert_eq!(size_of::<BlkpgPartition>(), 152);
        assert_eq!(size_of::<BlkpgArgument>(), 24);
    }

    #[test]
    fn an_ordinary_file_is_not_a_block_device() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(size_bytes(&file).is_err());
        assert!(reread_partitions(&file).is_err());
        let range = PartitionRange { number: 1, start_bytes: 1 << 20, length_bytes: 1 << 20 };
        assert!(resize_partition(&file, range).is_err());
    }

    #[test]
    fn a_range_beyond_the_kernels_numbers_is_refused() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let range = PartitionRange { number: 1, start_bytes: u64::MAX, length_bytes: 1 };
        assert_eq!(add_partition(&file, range).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
