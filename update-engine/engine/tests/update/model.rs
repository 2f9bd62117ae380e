//! A disk in memory that records every write, flush and note, in one order: what a power cut may leave is told from the
//! record. Flags are written past every cache, so each is on the disk when its write returns, but it makes nothing else
//! durable; the same holds for a note. Only a flush does.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ferrite_layout::aligned::AlignedBuffer;
use ferrite_layout::bootctl::{Bootctl, Contents, Sectors};
use ferrite_layout::{Record, Slot, SlotState, envblock};
use ferrite_payload::PartRole;
use ferrite_update_engine::disk::{Disk, Piece};
use ferrite_update_engine::progress::{Notes, Progress};

use crate::release::Release;

pub const SECTOR: usize = 512;
const BOOTCTL_BYTES: usize = 32 << 10;
const ROOT_BYTES: usize = 288 << 10;
const BOOT_BYTES: usize = 96 << 10;
/// The copy of the flags that the boot loader looks at when the first one is torn.
pub const SECOND_COPY: usize = 8192;
const ENV: [usize; 2] = [4096, SECOND_COPY];
const RECORD: usize = 12_288;
pub const DISK_BYTES: usize = BOOTCTL_BYTES + 2 * (ROOT_BYTES + BOOT_BYTES);

#[derive(Clone, Debug)]
pub enum Event {
    /// Bytes that a cache may hold back, or (`durable`) that are on the disk.
    Write {
        offset: usize,
        bytes: Vec<u8>,
        durable: bool,
    },
    Flush,
    Note(Progress),
}

/// What a disk with its state partition holds.
#[derive(Clone)]
pub struct Medium {
    pub bytes: Vec<u8>,
    pub note: Option<Progress>,
}

/// Where a partition lies.
pub fn place(slot: Slot, role: PartRole) -> (usize, usize) {
    let slot_begin = BOOTCTL_BYTES + if slot == Slot::A { 0 } else { ROOT_BYTES + BOOT_BYTES };
    match role {
        PartRole::Root => (slot_begin, ROOT_BYTES),
        PartRole::Boot => (slot_begin + ROOT_BYTES, BOOT_BYTES),
    }
}

impl Medium {
    pub fn new(flags: &SlotState, a: &Release, b: Option<&Release>) -> Medium {
        let mut bytes = vec![0; DISK_BYTES];
        for at in ENV {
            bytes[at..at + 1024].copy_from_slice(&envblock::render(flags));
        }
        bytes[RECORD..RECORD + SECTOR].copy_from_slice(&Record::default().render());
        let mut medium = Medium { bytes, note: None };
        medium.fill(Slot::A, a);
        if let Some(b) = b {
            medium.fill(Slot::B, b);
        }
        medium
    }

    fn fill(&mut self, slot: Slot, release: &Release) {
        for role in [PartRole::Root, PartRole::Boot] {
            let (begin, _) = place(slot, role);
            let part = release.part(role);
            self.bytes[begin..begin + part.len()].copy_from_slice(part);
        }
    }

    pub fn flags(&self) -> Option<SlotState> {
        Contents::parse(&self.bytes[..BOOTCTL_BYTES]).flags()
    }

    /// Whether a slot holds a release, to the last byte.
    pub fn holds(&self, slot: Slot, release: &Release) -> bool {
        [PartRole::Root, PartRole::Boot].into_iter().all(|role| {
            let (begin, _) = place(slot, role);
            let part = release.part(role);
            self.bytes[begin..begin + part.len()] == *part
        })
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

/// What the disk does wrong.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// This sector of the disk takes writes and keeps its old content.
    pub lost_sector: Option<usize>,
    /// Writes from this byte of the disk on fail.
    pub bad_from: Option<usize>,
}

/// The disk that an install writes to; clones are the same disk.
#[derive(Clone)]
pub struct ModelDisk {
    medium: Rc<RefCell<Medium>>,
    pub log: Rc<RefCell<Vec<Event>>>,
    faults: Faults,
}

impl ModelDisk {
    pub fn new(medium: &Medium, faults: Faults) -> ModelDisk {
        ModelDisk { medium: Rc::new(RefCell::new(medium.clone())), log: Rc::default(), faults }
    }

    pub fn medium(&self) -> Medium {
        self.medium.borrow().clone()
    }

    pub fn bootctl(&self) -> Bootctl<ModelDisk> {
        Bootctl::over(Path::new("bootctl"), self.clone(), BOOTCTL_BYTES as u64)
    }

    fn put(&self, offset: usize, bytes: &[u8], durable: bool) -> io::Result<()> {
        if self.faults.bad_from.is_some_and(|bad| offset + bytes.len() > bad) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.log.borrow_mut().push(Event::Write { offset, bytes: bytes.to_vec(), durable });
        let mut medium = self.medium.borrow_mut();
        let kept = self.faults.lost_sector.map(|sector| {
            let at = sector * SECTOR;
            (at, medium.bytes[at..at + SECTOR].to_vec())
        });
        medium.write(offset, bytes);
        if let Some((at, old)) = kept {
            medium.write(at, &old);
        }
        Ok(())
    }
}

fn within((begin, size): (usize, usize), offset: u64, length: usize) -> io::Result<usize> {
    let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(length));
    end.filter(|end| *end <= size).map(|end| begin + end - length).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl Disk for ModelDisk {
    fn size_bytes(&mut self, slot: Slot, role: PartRole) -> io::Result<u64> {
        Ok(place(slot, role).1 as u64)
    }

    fn read_back(&mut self, slot: Slot, role: PartRole, length: u64, look: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let at = within(place(slot, role), 0, length as usize)?;
        // In pieces that no block begins with.
        self.medium.borrow().bytes[at..at + length as usize].chunks(7000).for_each(look);
        Ok(())
    }

    fn read(&mut self, slot: Slot, role: PartRole, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = within(place(slot, role), offset, buffer.len())?;
        buffer.copy_from_slice(&self.medium.borrow().bytes[at..at + buffer.len()]);
        Ok(())
    }

    fn write(&mut self, slot: Slot, role: PartRole, piece: Piece) -> io::Result<AlignedBuffer> {
        self.put(within(place(slot, role), piece.offset, piece.bytes().len())?, piece.bytes(), false)?;
        // What was in it is of no use to whoever gets it.
        let mut buffer = piece.buffer;
        buffer.bytes_mut().fill(0xee);
        Ok(buffer)
    }

    fn zero(&mut self, slot: Slot, role: PartRole, offset: u64, length: u64) -> io::Result<()> {
        let zeros = vec![0; length as usize];
        self.put(within(place(slot, role), offset, zeros.len())?, &zeros, false)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.log.borrow_mut().push(Event::Flush);
        Ok(())
    }
}

impl Sectors for ModelDisk {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let at = within((0, BOOTCTL_BYTES), offset, length)?;
        Ok(self.medium.borrow().bytes[at..at + length].to_vec())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.put(within((0, BOOTCTL_BYTES), offset, bytes.len())?, bytes, true)
    }
}

impl Notes for ModelDisk {
    fn load(&mut self) -> io::Result<Option<Progress>> {
        // Through its text, as the file has it.
        Ok(self.medium.borrow().note.as_ref().and_then(|note| Progress::parse(&note.render())))
    }

    fn store(&mut self, progress: &Progress) -> io::Result<()> {
        self.log.borrow_mut().push(Event::Note(progress.clone()));
        self.medium.borrow_mut().note = Some(progress.clone());
        Ok(())
    }
}
