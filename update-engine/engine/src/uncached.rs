//! A partition that is read and written past the page cache: no second copy of what is written, and what is read back
//! comes from the disk. Acts.
//!
//! Where the device or the alignment allows no such access, the cache is used, and emptied before it is read.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
use rustix::io::Errno;

/// Some zeros.
pub(crate) static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What is to be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// An open partition.
#[derive(Debug)]
pub(crate) struct Uncached {
    /// `None` where such access is refused from the start.
    direct: Option<File>,
    cached: File,
}

impl Uncached {
    pub(crate) fn open(path: &Path, access: Access) -> io::Result<Uncached> {
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            options.read(true).write(access == Access::Write).custom_flags(flags.bits() as i32).open(path)
        };
        let cached = open(OFlags::empty())?;
        let direct = match open(OFlags::DIRECT) {
            Err(error) if is_refusal(&error) => None,
            outcome => Some(outcome?),
        };
        Ok(Uncached { direct, cached })
    }

    /// Nothing is durable before [`Uncached::sync`].
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.direct.as_ref().map(|file| file.write_all_at(bytes, offset)) {
            Some(Err(error)) if is_refusal(&error) => self.cached.write_all_at(bytes, offset),
            Some(outcome) => outcome,
            None => self.cached.write_all_at(bytes, offset),
        }
    }

    /// The device makes the zeros itself if it can, and takes no room for them if it need not.
    pub(crate) fn zero(&self, offset: u64, length: u64) -> io::Result<()> {
        for how in [FallocateFlags::PUNCH_HOLE, FallocateFlags::ZERO_RANGE] {
            if fallocate(&self.cached, how | FallocateFlags::KEEP_SIZE, offset, length).is_ok() {
                return Ok(());
            }
        }
        // Whatever is wrong with the disk shows itself here too.
        let mut done = 0;
        while done < length {
            let piece = (length - done).min(ZEROS.len() as u64);
            self.cached.write_all_at(ZEROS.get(..piece as usize).unwrap_or_default(), offset + done)?;
            done += piece;
        }
        Ok(())
    }

    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.direct.as_ref().map(|file| file.read_exact_at(buffer, offset)) {
            Some(Err(error)) if is_refusal(&error) => self.read_cached(buffer, offset),
            Some(outcome) => outcome,
            None => self.read_cached(buffer, offset),
        }
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        fadvise(&self.cached, offset, NonZero::new(buffer.len() as u64), Advice::DontNeed)?;
        self.cached.read_exact_at(buffer, offset)
    }

    /// Returns when all that was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.cached.sync_all()
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::aligned::AlignedBuffer;

    #[test]
    fn aligned_and_odd_pieces_and_zeros_land_where_they_belong() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part");
        std::fs::write(&path, vec![7; 64 << 10]).expect("it can be written");
        let file = Uncached::open(&path, Access::Write).expect("it opens");
        file.write(AlignedBuffer::holding(&[1; 8192]).bytes(), 4096).expect("an aligned piece");
        file.write(&[2; 100], 16_390).expect("an odd piece");
        file.zero(20_480, 8192).expect("zeros");
        file.zero(40_001, 3).expect("odd zeros");
        file.sync().expect("it is flushed");
        let mut wanted = vec![7; 64 << 10];
        wanted[4096..12_288].fill(1);
        wanted[16_390..16_490].fill(2);
        wanted[20_480..28_672].fill(0);
        wanted[40_001..40_004].fill(0);
        assert_eq!(std::fs::read(&path).expect("it can be read"), wanted);
        let file = Uncached::open(&path, Access::Read).expect("it opens");
        let mut buffer = AlignedBuffer::new(64 << 10);
        file.read(buffer.bytes_mut(), 0).expect("an aligned piece");
        assert_eq!(buffer.bytes(), wanted);
        let mut odd = [0; 5];
        file.read(&mut odd, 16_388).expect("an odd piece");
        assert_eq!(odd, [7, 7, 2, 2, 2]);
        assert!(file.write(&odd, 0).is_err(), "it is open for reading only");
        assert!(file.read(buffer.bytes_mut(), 4096).is_err(), "it ends before");
    }
}
