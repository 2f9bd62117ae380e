//! The partitions of the two slots, as an install sees them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ferrite_layout::Slot;
use ferrite_layout::direct::{Access, DirectFile};
use ferrite_payload::PartRole;

/// What is read past the cache is a multiple of this.
pub const READ_ALIGNMENT: u64 = 4096;

/// A disk with two slots. What was written may be lost, reordered or torn until a flush has returned.
pub trait Disk {
    /// Length of a partition.
    fn size_bytes(&mut self, slot: Slot, role: PartRole) -> io::Result<u64>;
    /// Reads what is on the disk, not what a cache holds; offset and length are multiples of [`READ_ALIGNMENT`], or
    /// reach to the end of the partition.
    fn read_back(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Reads anything from anywhere, through the cache.
    fn read(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes.
    fn write(&mut self, slot: Slot, role: PartRole, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Returns when all that was written is on the disk.
    fn flush(&mut self) -> io::Result<()>;
}

/// Files or devices, by slot and role. Only the slot that is to be written is opened for writing.
#[derive(Debug)]
pub struct FileDisk {
    target: Slot,
    parts: Vec<OpenPart>,
}

#[derive(Debug)]
struct OpenPart {
    slot: Slot,
    role: PartRole,
    path: PathBuf,
    file: File,
}

impl FileDisk {
    /// Opens four partitions; `path` tells where each one is.
    pub fn open(target: Slot, path: impl Fn(Slot, PartRole) -> PathBuf) -> io::Result<FileDisk> {
        let mut parts = Vec::new();
        for slot in Slot::BOTH {
            for role in [PartRole::Root, PartRole::Boot] {
                let path = path(slot, role);
                let file = OpenOptions::new().read(true).write(slot == target).open(&path);
                let named = |error: io::Error| io::Error::new(error.kind(), format!("'{}': {error}", path.display()));
                parts.push(OpenPart { slot, role, file: file.map_err(named)?, path });
            }
        }
        Ok(FileDisk { target, parts })
    }

    fn part(&mut self, slot: Slot, role: PartRole) -> io::Result<&mut OpenPart> {
        let found = self.parts.iter_mut().find(|part| part.slot == slot && part.role == role);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for FileDisk {
    fn size_bytes(&mut self, slot: Slot, role: PartRole) -> io::Result<u64> {
        self.part(slot, role)?.file.seek(SeekFrom::End(0))
    }

    fn read_back(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        read_direct(&self.part(slot, role)?.path, offset, buffer)
    }

    fn read(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.part(slot, role)?.file.read_exact_at(buffer, offset)
    }

    fn write(&mut self, slot: Slot, role: PartRole, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.part(slot, role)?.file.write_all_at(bytes, offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        let target = self.target;
        self.parts.iter().filter(|part| part.slot == target).try_for_each(|part| part.file.sync_all())
    }
}

fn read_direct(path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let read = DirectFile::open(path, Access::Read)?.read(offset, buffer.len())?;
    buffer.copy_from_slice(&read);
    Ok(())
}
