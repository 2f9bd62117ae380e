//! Acts: reads the boot control partition and writes one sector of it at a time, past every cache, then reads it back.
//!
//! The partition is never mounted and no file in it is ever truncated, renamed or made anew: GRUB reads the same bytes.
//! Where the sectors lie and in which order they are written is decided by the pure half at the top.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::disk::SECTOR_BYTES;
use crate::envblock::{self, ENV_BYTES, ENV_SIGNATURE};
use crate::fat;
use crate::gpt::Sector;
use crate::record::{RECORD_SIGNATURE, Record};
use crate::slots::SlotState;

/// Most bytes of the partition that are read.
const LIMIT_BYTES: u64 = 4 * 1024 * 1024;
const ALIGNMENT: usize = 4096;

/// The boot control partition could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BootctlError {
    /// Opening failed.
    #[error("opening boot control partition '{}'", path.display())]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("reading boot control partition '{}'", path.display())]
    Read {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Writing failed.
    #[error("writing boot control partition '{}' at byte {offset}", path.display())]
    Write {
        /// The device.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The device took the write and gives other bytes back.
    #[error("boot control partition '{}' gives back other bytes than were written at byte {offset}", path.display())]
    Verify {
        /// The device.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// There is nothing to write to.
    #[error("boot control partition '{}' holds no {what}", path.display())]
    NotFound {
        /// The device.
        path: PathBuf,
        /// `slot flags` or `boot record`.
        what: &'static str,
    },
}

/// Where the three files lie in the partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locations {
    /// boot0.env, which GRUB reads first, and boot1.env.
    pub env: [Option<u64>; 2],
    /// record.bin.
    pub record: Option<u64>,
}

/// What the partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contents {
    /// Where it was read.
    pub locations: Locations,
    /// Each copy of the flags; `None` when it is torn or absent.
    pub copies: [Option<SlotState>; 2],
    /// The boot record; `None` when it is torn or absent.
    pub record: Option<Record>,
}

impl Contents {
    /// Reads a whole partition.
    pub fn parse(partition: &[u8]) -> Contents {
        let locations = locate(partition);
        let at = |offset: Option<u64>| offset.and_then(|offset| partition.get(offset as usize..)).unwrap_or_default();
        let copy = |offset| envblock::parse(at(offset).get(..ENV_BYTES).unwrap_or_default());
        let [first, second] = locations.env;
        Contents { locations, copies: [copy(first), copy(second)], record: Record::parse(at(locations.record)) }
    }

    /// The flags that the boot loader goes by: the first copy that is whole.
    pub fn flags(&self) -> Option<SlotState> {
        self.copies.into_iter().flatten().next()
    }
}

/// Finds the files by their folder entries, and by their first lines where those are damaged.
pub fn locate(partition: &[u8]) -> Locations {
    let scan = |signature: &'static [u8]| {
        let sectors = partition.chunks(SECTOR_BYTES as usize).enumerate();
        sectors.filter(move |(_, s)| s.starts_with(signature)).map(|(number, _)| number as u64 * SECTOR_BYTES)
    };
    let listed = [fat::find_file(partition, b"BOOT0   ENV"), fat::find_file(partition, b"BOOT1   ENV")];
    let env = if listed.iter().all(Option::is_some) {
        listed
    } else {
        let mut found = scan(ENV_SIGNATURE);
        [found.next(), found.next()]
    };
    let record = fat::find_file(partition, b"RECORD  BIN").or_else(|| scan(RECORD_SIGNATURE).next());
    Locations { env, record }
}

/// One sector to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectorWrite {
    /// Offset in the partition, in bytes.
    pub offset: u64,
    /// What.
    pub sector: Sector,
}

/// The writes that change the flags, each to be on the disk before the next: the second copy, then the first, which the
/// boot loader believes. The rest of a copy is put right too if it is not all padding, or GRUB could not write to it.
pub fn flag_writes(partition: &[u8], locations: &Locations, flags: &SlotState) -> Vec<SectorWrite> {
    let [first, second] = locations.env;
    let mut writes = Vec::new();
    for offset in [second, first].into_iter().flatten() {
        let rest = offset + SECTOR_BYTES;
        let present = partition.get(rest as usize..offset as usize + ENV_BYTES).unwrap_or_default();
        if present.iter().any(|byte| *byte != b'#') {
            writes.push(SectorWrite { offset: rest, sector: [b'#'; SECTOR_BYTES as usize] });
        }
        writes.push(SectorWrite { offset, sector: envblock::render_sector(flags) });
    }
    writes
}

/// What a caller means to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and write.
    Write,
}

/// An open boot control partition.
#[derive(Debug)]
pub struct Bootctl {
    path: PathBuf,
    device: File,
    access: Access,
    size_bytes: u64,
}

impl Bootctl {
    /// Opens the device past the page cache, or through it where the device does not allow that.
    pub fn open(path: &Path, access: Access) -> Result<Self, BootctlError> {
        let fail = |source| BootctlError::Open { path: path.to_path_buf(), source };
        let device = match open_device(path, access, Caching::Direct) {
            Err(error) if refuses_direct(&error) => open_device(path, access, Caching::Cached),
            outcome => outcome,
        };
        let mut device = device.map_err(fail)?;
        let size_bytes = device.seek(SeekFrom::End(0)).map_err(fail)?.min(LIMIT_BYTES);
        Ok(Self { path: path.to_path_buf(), device, access, size_bytes })
    }

    /// Reads everything.
    pub fn read(&mut self) -> Result<Contents, BootctlError> {
        Ok(Contents::parse(&self.read_partition()?))
    }

    /// Writes the flags: second copy, then first, each read back.
    pub fn write_flags(&mut self, flags: &SlotState) -> Result<(), BootctlError> {
        let partition = self.read_partition()?;
        let writes = flag_writes(&partition, &locate(&partition), flags);
        if writes.is_empty() {
            return Err(BootctlError::NotFound { path: self.path.clone(), what: "slot flags" });
        }
        writes.iter().try_for_each(|write| self.write_sector(write))
    }

    /// Writes the boot record and reads it back.
    pub fn write_record(&mut self, record: &Record) -> Result<(), BootctlError> {
        let found = locate(&self.read_partition()?).record;
        let offset = found.ok_or_else(|| BootctlError::NotFound { path: self.path.clone(), what: "boot record" })?;
        self.write_sector(&SectorWrite { offset, sector: record.render() })
    }

    fn read_partition(&mut self) -> Result<Vec<u8>, BootctlError> {
        let size = usize::try_from(self.size_bytes).unwrap_or(0);
        let outcome = self.retry_cached(|device| read_aligned(device, 0, size));
        outcome.map_err(|source| BootctlError::Read { path: self.path.clone(), source })
    }

    fn write_sector(&mut self, write: &SectorWrite) -> Result<(), BootctlError> {
        let offset = write.offset;
        let outcome = self.retry_cached(|device| {
            let mut buffer = AlignedBuffer::new(write.sector.len());
            buffer.bytes_mut().copy_from_slice(&write.sector);
            device.write_all_at(buffer.bytes(), offset)?;
            device.sync_data()?;
            read_aligned(device, offset, write.sector.len())
        });
        match outcome {
            Ok(present) if present == write.sector => Ok(()),
            Ok(_) => Err(BootctlError::Verify { path: self.path.clone(), offset }),
            Err(source) => Err(BootctlError::Write { path: self.path.clone(), offset, source }),
        }
    }

    /// Some devices take O_DIRECT when opened and refuse it for a single sector.
    fn retry_cached<T>(&mut self, work: impl Fn(&File) -> io::Result<T>) -> io::Result<T> {
        match work(&self.device) {
            Err(error) if refuses_direct(&error) => {
                self.device = open_device(&self.path, self.access, Caching::Cached)?;
                work(&self.device)
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

fn open_device(path: &Path, access: Access, caching: Caching) -> io::Result<File> {
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

fn read_aligned(device: &File, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = AlignedBuffer::new(length);
    device.read_exact_at(buffer.bytes_mut(), offset)?;
    Ok(buffer.bytes().to_vec())
}

/// Memory at a page boundary, as O_DIRECT wants it.
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    fn new(length: usize) -> Self {
        let memory = vec![0u8; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}
