//! Lists of entries: a first entry, and a chain of arrays that double in size. Sorted by offset, so searched by halves.
//!
//! The chain is walked once, when it is built; after that every position is found directly.

use crate::blocks::Blocks;
use crate::fault::Fault;
use crate::file::{Entry, JournalFile};
use crate::format;

/// Arrays double, so even the largest file has few; a chain that is longer is damaged.
const MAX_ARRAYS: usize = 4096;
/// How many entries at the end may be missing; past that, the reader skips them one by one.
const MAX_TRIMMED: u64 = 65_536;
/// How far a search looks past entries that are damaged.
const MAX_PROBES: u64 = 64;

/// A list as the file has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct List {
    /// The first entry, where it does not stand in the arrays.
    pub(crate) first: u64,
    pub(crate) array: u64,
    /// How many entries it has, by its own account.
    pub(crate) count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    /// The offset of the first slot.
    slots: u64,
    /// The position of the first slot in the list.
    start: u64,
}

/// A list, ready to be searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    first: u64,
    pieces: Vec<Piece>,
    count: u64,
    /// Why the list ends before its time.
    pub(crate) fault: Option<Fault>,
}

impl Chain {
    /// Walks the arrays. Damage ends the list, it is no error.
    pub(crate) fn build(file: &JournalFile, blocks: &mut Blocks, list: &List) -> Self {
        let mut chain = Self { first: list.first, ..Self::default() };
        let mut capacity = u64::from(list.first != 0);
        let mut at = list.array;
        while at != 0 && (capacity < list.count || !file.is_closed()) {
            let mut bytes = [0; format::ARRAY_ITEMS as usize];
            let size = match file.object(blocks, at, format::ENTRY_ARRAY, &mut bytes) {
                Ok(size) => size,
                Err(fault) => {
                    chain.fault = Some(fault);
                    break;
                }
            };
            let slots = (size - format::ARRAY_ITEMS) / file.slot_bytes();
            let next = format::le64(&bytes, format::ARRAY_NEXT as usize);
            chain.pieces.push(Piece { slots: at + format::ARRAY_ITEMS, start: capacity });
            capacity += slots;
            if slots == 0 || chain.pieces.len() > MAX_ARRAYS || (next != 0 && next <= at) {
                chain.fault = Some(Fault::new(at, "a chain of entry arrays that does not end"));
                break;
            }
            at = next;
        }
        chain.count = if file.is_closed() { list.count.min(capacity) } else { chain.filled(file, blocks, capacity) };
        chain
    }

    /// How many slots hold something: what was synced stands before the first empty slot, whatever comes after.
    fn filled(&self, file: &JournalFile, blocks: &mut Blocks, capacity: u64) -> u64 {
        let (mut low, mut high) = (0, capacity);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(file, blocks, middle).is_ok_and(|offset| offset != 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Drops entries at the end that are not there: torn off, or out of order because their slot is torn itself.
    pub(crate) fn trim(&mut self, file: &JournalFile, blocks: &mut Blocks) {
        for _ in 0..MAX_TRIMMED.min(self.count) {
            let last = self.get(file, blocks, self.count - 1).unwrap_or(0);
            let before = if self.count > 1 { self.get(file, blocks, self.count - 2).unwrap_or(0) } else { 0 };
            let entry = file.entry(blocks, last).and_then(|entry| {
                // Of a closed file all is there, and reading it would cost time.
                if file.is_closed() { Ok(()) } else { file.is_whole(blocks, &entry) }
            });
            match entry {
                Ok(()) if last > before => return,
                Ok(()) => self.fault = Some(Fault::new(last, "entries out of order")),
                Err(fault) => {
                    if ![last, fault.offset].into_iter().any(|at| file.is_unwritten(blocks, at)) {
                        self.fault = Some(fault);
                    }
                }
            }
            self.count -= 1;
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.count
    }

    /// The offset of the entry at a position.
    pub(crate) fn get(&self, file: &JournalFile, blocks: &mut Blocks, position: u64) -> Result<u64, Fault> {
        if position == 0 && self.first != 0 {
            return Ok(self.first);
        }
        let piece = self.pieces.partition_point(|piece| piece.start <= position).checked_sub(1);
        let Some(piece) = piece.and_then(|piece| self.pieces.get(piece)) else {
            return Err(Fault::new(0, "a list shorter than its count"));
        };
        file.slot(blocks, piece.slots + (position - piece.start) * file.slot_bytes())
    }

    /// The entry at a position.
    pub(crate) fn entry(&self, file: &JournalFile, blocks: &mut Blocks, position: u64) -> Result<Entry, Fault> {
        let offset = self.get(file, blocks, position)?;
        file.entry(blocks, offset)
    }

    /// The first position whose entry is not `before`, which must hold for a prefix of the list. For an entry that
    /// cannot be judged (`None`) the next one decides that can.
    pub(crate) fn search(
        &self,
        file: &JournalFile,
        blocks: &mut Blocks,
        mut before: impl FnMut(&mut Blocks, u64) -> Option<bool>,
    ) -> u64 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let probes = middle..high.min(middle + MAX_PROBES);
            let verdict = probes.into_iter().find_map(|position| {
                let offset = self.get(file, blocks, position).ok().filter(|offset| *offset != 0)?;
                before(blocks, offset).map(|is_before| (position, is_before))
            });
            match verdict {
                Some((position, true)) => low = position + 1,
                Some((_, false)) | None => high = middle,
            }
        }
        low
    }

    /// The first position at or after an offset. `near` is where the last search ended: a walk asks for neighbours.
    pub(crate) fn search_offset(&self, file: &JournalFile, blocks: &mut Blocks, offset: u64, near: &mut u64) -> u64 {
        for position in [*near, *near + 1] {
            let entry = |blocks: &mut Blocks, position: u64| self.get(file, blocks, position).ok();
            let mut is_before = |position| entry(blocks, position) < Some(offset);
            if position <= self.count
                && (position == 0 || is_before(position - 1))
                && (position == self.count || !is_before(position))
            {
                *near = position;
                return position;
            }
        }
        *near = self.search(file, blocks, |_, entry| Some(entry < offset));
        *near
    }
}
