//! Reads of the boot control partition what somebody needs, in small pieces, so that a bad sector costs what lies in it
//! and nothing else. Pure, but for the device that is handed in.

use std::io;

use crate::bootctl::{Locations, locate};
use crate::direct::DirectFile;
use crate::disk::SECTOR_BYTES;
use crate::envblock::ENV_BYTES;
use crate::fat;

/// A piece of a search; the files lie in one each.
const PIECE_BYTES: usize = 4096;
/// Reads that fail before no more are tried: each may take a dying disk half a minute.
const FAILURES_MAX: usize = 24;

/// Sectors that can be read and written.
pub trait Sectors {
    /// Reads whole sectors.
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// Writes whole sectors; they are on the disk when it returns.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Sectors for DirectFile {
    fn read(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        DirectFile::read(self, offset, length)
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        DirectFile::write(self, offset, bytes)
    }
}

/// The partition as far as it was needed and could be read; everything else is zeros, which is nobody's content.
pub fn read_partition(device: &mut impl Sectors, size: usize) -> io::Result<Vec<u8>> {
    let mut pieces = Pieces { device, bytes: vec![0; size], failures: 0, error: None };
    pieces.read_all(0, PIECE_BYTES);
    // Our entries are the first of the folder.
    if let Some(folder) = fat::folder(&pieces.bytes).filter(|folder| *folder < size) {
        pieces.read_all(folder, PIECE_BYTES);
    }
    let mut locations = locate(&pieces.bytes);
    if [locations.env[0], locations.env[1], locations.record].contains(&None) {
        (0..size).step_by(PIECE_BYTES).skip(1).for_each(|offset| pieces.read_all(offset, PIECE_BYTES));
        locations = locate(&pieces.bytes);
    }
    pieces.read_files(&locations);
    let Pieces { bytes, error, .. } = pieces;
    let nothing = bytes.iter().all(|byte| *byte == 0);
    match error {
        Some(error) if nothing => Err(error),
        Some(_) | None => Ok(bytes),
    }
}

struct Pieces<'a, D> {
    device: &'a mut D,
    bytes: Vec<u8>,
    failures: usize,
    error: Option<io::Error>,
}

impl<D: Sectors> Pieces<'_, D> {
    fn read_files(&mut self, locations: &Locations) {
        for offset in locations.env.into_iter().flatten() {
            // The boot loader reads a copy as a whole or not at all.
            if !self.read(offset as usize, ENV_BYTES) {
                self.fill(offset as usize, &[0; ENV_BYTES]);
            }
        }
        if let Some(offset) = locations.record {
            self.read(offset as usize, SECTOR_BYTES as usize);
        }
    }

    /// Reads a piece, sector by sector if it cannot be read at once.
    fn read_all(&mut self, offset: usize, length: usize) {
        let length = length.min(self.bytes.len().saturating_sub(offset));
        if !self.read(offset, length) {
            for sector in (offset..offset + length).step_by(SECTOR_BYTES as usize) {
                self.read(sector, (SECTOR_BYTES as usize).min(offset + length - sector));
            }
        }
    }

    fn read(&mut self, offset: usize, length: usize) -> bool {
        if self.failures >= FAILURES_MAX {
            return false;
        }
        match self.device.read(offset as u64, length) {
            Ok(bytes) => {
                self.fill(offset, &bytes);
                true
            }
            Err(error) => {
                self.failures += 1;
                self.error = Some(error);
                false
            }
        }
    }

    fn fill(&mut self, offset: usize, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(offset).zip(bytes) {
            *place = *byte;
        }
    }
}
