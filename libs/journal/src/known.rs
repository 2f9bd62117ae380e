//! The values that a writer remembers: where they are in the file, and their counters, which reach the file at a flush.
//!
//! Most fields of an entry have a value that the entries before it had; those are found here, without a read. What was
//! not used for a while makes room, so that the memory has a bound.

use crate::staging::NumberMap;

/// How many values are remembered: some entries' worth more than an entry can have.
pub(crate) const CAPACITY: usize = 2048;
/// Longer values are compared in the file.
const MAX_KEPT_BYTES: usize = 192;

/// A list of entries that grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The first array; 0 where there is none.
    pub(crate) head_array: u64,
    /// The last array, the slots it has, and how many of them are filled.
    pub(crate) array: u64,
    pub(crate) capacity: u64,
    pub(crate) used: u64,
}

/// A value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) hash: u64,
    /// Its hash in that of an entry.
    pub(crate) entry_hash: u64,
    pub(crate) offset: u64,
    pub(crate) first_entry: u64,
    pub(crate) count: u64,
    pub(crate) tail: Tail,
    pub(crate) payload: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) is_dirty: bool,
    pub(crate) was_used: bool,
    /// The entry that needs it at the moment.
    pub(crate) pinned: u64,
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    Found(usize),
    /// A value with this hash and length is remembered, but too long to be kept: compare it in the file.
    Maybe(usize),
    /// Another value with the same hash is remembered.
    Collision,
    Missing,
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    values: Vec<Known>,
    index: NumberMap<usize>,
    dirty: Vec<usize>,
    hand: usize,
    turn: u64,
}

impl Memory {
    /// Begins an entry; whether it has room for that many values. If not, a flush makes it.
    pub(crate) fn begin(&mut self, fields: usize) -> bool {
        self.turn += 1;
        self.dirty.len() + fields <= CAPACITY
    }

    pub(crate) fn search(&self, hash: u64, payload: &[u8]) -> Search {
        let Some(position) = self.index.get(&hash) else { return Search::Missing };
        match self.values.get(*position) {
            Some(known) if known.length != payload.len() => Search::Collision,
            Some(known) if payload.len() > MAX_KEPT_BYTES => {
                debug_assert_eq!(known.hash, hash);
                Search::Maybe(*position)
            }
            Some(known) if known.payload == payload => Search::Found(*position),
            Some(_) => Search::Collision,
            None => Search::Missing,
        }
    }

    /// Keeps a value until the entry is done.
    pub(crate) fn pin(&mut self, position: usize) {
        if let Some(known) = self.values.get_mut(position) {
            known.pinned = self.turn;
            known.was_used = true;
        }
    }

    pub(crate) fn get(&self, position: usize) -> Option<&Known> {
        self.values.get(position)
    }

    /// A value whose counters are about to change.
    pub(crate) fn change(&mut self, position: usize) -> Option<&mut Known> {
        let known = self.values.get_mut(position)?;
        if !std::mem::replace(&mut known.is_dirty, true) {
            self.dirty.push(position);
        }
        Some(known)
    }

    /// Remembers a value in place of one that was not used for long. It is pinned.
    pub(crate) fn insert(&mut self, mut known: Known, payload: &[u8]) -> usize {
        let position = self.victim();
        if let Some(old) = self.values.get_mut(position) {
            if self.index.get(&old.hash) == Some(&position) {
                self.index.remove(&old.hash);
            }
            known.payload = std::mem::take(&mut old.payload);
            known.payload.clear();
            if payload.len() <= MAX_KEPT_BYTES {
                known.payload.extend_from_slice(payload);
            }
            known.length = payload.len();
            known.pinned = self.turn;
            self.index.insert(known.hash, position);
            *old = known;
        }
        position
    }

    fn victim(&mut self) -> usize {
        if self.values.len() < CAPACITY {
            self.values.push(Known::default());
            return self.values.len() - 1;
        }
        // `begin` saw to it that some value is neither dirty nor pinned; the second round finds it.
        for _ in 0..2 * CAPACITY {
            self.hand = (self.hand + 1) % CAPACITY;
            let known = &mut self.values[self.hand];
            if !known.is_dirty && known.pinned != self.turn && !std::mem::take(&mut known.was_used) {
                break;
            }
        }
        self.hand
    }

    /// The values whose counters are newer than those in the file.
    pub(crate) fn changed(&self) -> impl Iterator<Item = &Known> {
        self.dirty.iter().filter_map(|position| self.values.get(*position))
    }

    /// The counters are in the file now.
    pub(crate) fn clean(&mut self) {
        for position in self.dirty.drain(..) {
            if let Some(known) = self.values.get_mut(position) {
                known.is_dirty = false;
            }
        }
    }
}
