//! The partitions of the two slots, as an install sees them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use ferrite_layout::Slot;
use ferrite_layout::aligned::AlignedBuffer;
use ferrite_payload::PartRole;

use crate::read_ahead::read_ahead;
use crate::uncached::{Access, Uncached};
use crate::writer::{Job, Writer};

/// A disk with two slots. What was written may be lost, reordered or torn until a flush has returned.
pub trait Disk {
    /// Length of a partition.
    fn size_bytes(&mut self, slot: Slot, role: PartRole) -> io::Result<u64>;
    /// Reads the beginning of a partition from the disk, not from a cache, and shows it piece by piece, in order.
    fn read_back(&mut self, slot: Slot, role: PartRole, length: u64, look: &mut dyn FnMut(&[u8])) -> io::Result<()>;
    /// Reads anything from anywhere, through the cache.
    fn read(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes; gives a buffer for what comes next. A write that fails may be told by a later one or by the flush.
    fn write(&mut self, slot: Slot, role: PartRole, piece: Piece) -> io::Result<AlignedBuffer>;
    /// Writes zeros.
    fn zero(&mut self, slot: Slot, role: PartRole, offset: u64, length: u64) -> io::Result<()>;
    /// Returns when all that was written is on the disk.
    fn flush(&mut self) -> io::Result<()>;
}

/// Bytes for a place of a partition.
#[derive(Debug)]
pub struct Piece {
    /// Where they go.
    pub offset: u64,
    /// A buffer that they are in.
    pub buffer: AlignedBuffer,
    /// The first of them in the buffer; what is before is not written.
    pub from: usize,
}

impl Piece {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.bytes().get(self.from..).unwrap_or_default()
    }
}

/// Files or devices, by slot and role. Only the slot that is to be written is opened for writing.
#[derive(Debug)]
pub struct FileDisk {
    parts: Vec<OpenPart>,
    writer: Writer,
}

#[derive(Debug)]
struct OpenPart {
    slot: Slot,
    role: PartRole,
    path: PathBuf,
    file: File,
    /// Of the slot that is written.
    target: Option<Arc<Uncached>>,
}

impl FileDisk {
    /// Opens four partitions; `path` tells where each one is.
    pub fn open(target: Slot, path: impl Fn(Slot, PartRole) -> PathBuf) -> io::Result<FileDisk> {
        let mut parts = Vec::new();
        for slot in Slot::BOTH {
            for role in [PartRole::Root, PartRole::Boot] {
                let path = path(slot, role);
                let named = |error: io::Error| io::Error::new(error.kind(), format!("'{}': {error}", path.display()));
                let file = OpenOptions::new().read(true).open(&path).map_err(named)?;
                let open = || Uncached::open(&path, Access::Write).map(Arc::new).map_err(named);
                let target = (slot == target).then(open).transpose()?;
                parts.push(OpenPart { slot, role, file, path, target });
            }
        }
        Ok(FileDisk { parts, writer: Writer::default() })
    }

    fn part(&mut self, slot: Slot, role: PartRole) -> io::Result<&mut OpenPart> {
        let found = self.parts.iter_mut().find(|part| part.slot == slot && part.role == role);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn target(&mut self, slot: Slot, role: PartRole) -> io::Result<Arc<Uncached>> {
        self.part(slot, role)?.target.clone().ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }
}

impl Disk for FileDisk {
    fn size_bytes(&mut self, slot: Slot, role: PartRole) -> io::Result<u64> {
        self.part(slot, role)?.file.seek(SeekFrom::End(0))
    }

    fn read_back(&mut self, slot: Slot, role: PartRole, length: u64, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let file = Uncached::open(&self.part(slot, role)?.path, Access::Read)?;
        read_ahead(&file, length, look)
    }

    fn read(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.part(slot, role)?.file.read_exact_at(buffer, offset)
    }

    fn write(&mut self, slot: Slot, role: PartRole, piece: Piece) -> io::Result<AlignedBuffer> {
        let file = self.target(slot, role)?;
        self.writer.write(Job { file, piece })
    }

    fn zero(&mut self, slot: Slot, role: PartRole, offset: u64, length: u64) -> io::Result<()> {
        self.target(slot, role)?.zero(offset, length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.finish()?;
        self.parts.iter().filter_map(|part| part.target.as_ref()).try_for_each(|file| file.sync())
    }
}
