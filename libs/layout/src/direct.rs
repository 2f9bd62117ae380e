//! Acts: reads and writes sectors of a device past the page cache, so that only the named sectors go to the disk: a
//! cached write of one sector goes out as a whole page, and a power cut could spoil its neighbours.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::aligned::AlignedBuffer;

/// What a caller means to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and write.
    Write,
}

/// An open device. Where it refuses such access, it is used through the page cache, each write still synced.
#[derive(Debug)]
pub struct DirectFile {
    path: PathBuf,
    file: File,
    access: Access,
}

impl DirectFile {
    /// Opens the device.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        let file = match open_file(path, access, Caching::Direct) {
            Err(error) if refuses_direct(&error) => open_file(path, access, Caching::Cached),
            outcome => outcome,
        }?;
        Ok(Self { path: path.to_path_buf(), file, access })
    }

    /// Length of the device.
    pub fn size_bytes(&mut self) -> io::Result<u64> {
        self.file.seek(SeekFrom::End(0))
    }

    /// Reads whole sectors.
    pub fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.retry_cached(|file| {
            let mut buffer = AlignedBuffer::new(length);
            file.read_exact_at(buffer.bytes_mut(), offset)?;
            Ok(buffer.bytes().to_vec())
        })
    }

    /// Writes whole sectors; they are on the disk when it returns.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.retry_cached(|file| {
            let buffer = AlignedBuffer::holding(bytes);
            file.write_all_at(buffer.bytes(), offset)?;
            file.sync_data()
        })
    }

    /// Some devices take O_DIRECT when opened and refuse it for a single sector.
    fn retry_cached<T>(&mut self, work: impl Fn(&File) -> io::Result<T>) -> io::Result<T> {
        match work(&self.file) {
            Err(error) if refuses_direct(&error) => {
                self.file = open_file(&self.path, self.access, Caching::Cached)?;
                work(&self.file)
            }
            outcome => outcome,
        }
    }
}

#[derive(Clone, Copy)]
enum Caching {
    Direct,
    Cached,
}

fn open_file(path: &Path, access: Access, caching: Caching) -> io::Result<File> {
    let direct = match caching {
        Caching::Direct => libc::O_DIRECT,
        Caching::Cached => 0,
    };
    let write = access == Access::Write;
    OpenOptions::new().read(true).write(write).custom_flags(libc::O_DSYNC | libc::O_CLOEXEC | direct).open(path)
}

fn refuses_direct(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}
