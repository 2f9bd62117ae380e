//! What is to be written to a journal file, in the order that keeps every prefix of the writes a sound file.
//!
//! New objects gather at the end; changes to objects that are in the file already are remembered as words. A flush
//! writes the new objects, then the changed words, then the header. Nothing points to what is not there yet, wherever
//! the writes are cut, and a flush that failed can be repeated. The words go through memory that is shared with the
//! file: they are many, small and all over it, and a system call for each would cost more than all the rest.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::unix::fs::FileExt;

use ferrite_sys::mapping::Mapping;

use crate::format::align;

/// A hasher for numbers that are spread well, or nearly.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }
}

/// A map whose keys are numbers.
pub(crate) type NumberMap<T> = HashMap<u64, T, BuildHasherDefault<NumberHasher>>;

#[derive(Debug, Clone, Copy)]
struct Patch {
    offset: u64,
    value: u64,
    bytes: usize,
}

/// The part of a file that is not written yet.
#[derive(Debug)]
pub(crate) struct Staging {
    file: File,
    /// The file as memory, where it can be had.
    mapping: Option<Mapping>,
    /// Where the new objects begin: the end of what is in the file.
    start: u64,
    fresh: Vec<u8>,
    /// Changed words of eight bytes, which are read back while they wait.
    words: NumberMap<u64>,
    /// Slots of entry arrays that were filled; they are not read back.
    slots: Vec<Patch>,
    patches: Vec<Patch>,
    run: Vec<u8>,
    /// All writes in their order, to be cut anywhere by a test.
    #[cfg(test)]
    pub(crate) log: Vec<(u64, Vec<u8>)>,
}

impl Staging {
    pub(crate) fn new(file: File, end: u64) -> Self {
        Self {
            file,
            mapping: None,
            start: end,
            fresh: Vec::new(),
            words: NumberMap::default(),
            slots: Vec::new(),
            patches: Vec::new(),
            run: Vec::new(),
            #[cfg(test)]
            log: Vec::new(),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file has this size now, and its space is its own.
    pub(crate) fn map(&mut self, bytes: u64) {
        // Without a mapping the same is done with system calls.
        self.mapping = Mapping::new(&self.file, bytes).ok();
    }

    /// Gives memory back, for a time when little is written.
    pub(crate) fn release(&mut self) {
        if let Some(mapping) = &self.mapping {
            mapping.release();
        }
        self.fresh.shrink_to(4096);
        self.slots.shrink_to(64);
        self.patches.shrink_to(64);
        self.words.shrink_to(64);
    }

    /// Where the next object will begin.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.fresh.len() as u64
    }

    /// Bytes of new objects that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.fresh.len()
    }

    /// Appends an object that is made of these parts; its offset.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> u64 {
        let offset = self.end();
        for part in parts {
            self.fresh.extend_from_slice(part);
        }
        self.fresh.resize(align(self.fresh.len() as u64) as usize, 0);
        offset
    }

    /// Appends an object that is `zeros` bytes longer than its head.
    pub(crate) fn push_zeros(&mut self, head: &[u8], zeros: usize) -> u64 {
        let offset = self.end();
        self.fresh.extend_from_slice(head);
        let length = self.fresh.len() + zeros;
        self.fresh.resize(align(length as u64) as usize, 0);
        offset
    }

    /// Where an offset lies in the new objects.
    fn within(&self, offset: u64) -> Option<usize> {
        offset.checked_sub(self.start).and_then(|within| usize::try_from(within).ok())
    }

    /// Reads what an object holds apart from words that may have changed.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let Some(within) = self.within(offset) else { return self.read_file(offset, buffer) };
        let end = within.saturating_add(buffer.len());
        let part = self.fresh.get(within..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn read_file(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match &self.mapping {
            Some(mapping) if offset.saturating_add(buffer.len() as u64) <= mapping.length() => {
                mapping.read(offset, buffer)
            }
            Some(_) | None => self.file.read_exact_at(buffer, offset),
        }
    }

    /// A word that may wait to be written.
    pub(crate) fn word(&self, offset: u64) -> io::Result<u64> {
        if let Some(word) = self.words.get(&offset) {
            return Ok(*word);
        }
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Two words next to each other.
    pub(crate) fn pair(&self, offset: u64) -> io::Result<(u64, u64)> {
        let mut bytes = [0; 16];
        let (one, other) = (self.words.get(&offset), self.words.get(&(offset + 8)));
        if let (Some(one), Some(other)) = (one, other) {
            return Ok((*one, *other));
        }
        self.read(offset, &mut bytes)?;
        let read = |at: usize| crate::format::le64(&bytes, at);
        Ok((one.copied().unwrap_or_else(|| read(0)), other.copied().unwrap_or_else(|| read(8))))
    }

    pub(crate) fn set_word(&mut self, offset: u64, value: u64) {
        if !self.set_fresh(offset, &value.to_le_bytes()) {
            self.words.insert(offset, value);
        }
    }

    /// Fills a slot of an entry array.
    pub(crate) fn set_slot(&mut self, offset: u64, entry: u64) {
        if !self.set_fresh(offset, &entry.to_le_bytes()[..4]) {
            self.slots.push(Patch { offset, value: entry, bytes: 4 });
        }
    }

    fn set_fresh(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let place = self.within(offset).and_then(|at| self.fresh.get_mut(at..at.checked_add(bytes.len())?));
        place.map(|place| place.copy_from_slice(bytes)).is_some()
    }

    /// Writes everything that waits; `counters` are words that the caller kept to itself until now.
    pub(crate) fn flush(&mut self, counters: impl Iterator<Item = (u64, u64)>, header: &[u8]) -> io::Result<()> {
        let mut words: Vec<Patch> = std::mem::take(&mut self.patches);
        words.clear();
        for (offset, value) in counters {
            if !self.set_fresh(offset, &value.to_le_bytes()) {
                words.push(Patch { offset, value, bytes: 8 });
            }
        }
        words.extend(self.words.iter().map(|(offset, value)| Patch { offset: *offset, value: *value, bytes: 8 }));
        let outcome = self.write_all(&mut words, header);
        self.patches = words;
        outcome?;
        self.start = self.end();
        self.fresh.clear();
        self.words.clear();
        self.slots.clear();
        // A burst must not keep its memory for ever.
        self.fresh.shrink_to(512 << 10);
        self.slots.shrink_to(16 << 10);
        self.patches.shrink_to(16 << 10);
        Ok(())
    }

    fn write_all(&mut self, words: &mut [Patch], header: &[u8]) -> io::Result<()> {
        self.file.write_all_at(&self.fresh, self.start)?;
        #[cfg(test)]
        self.log.push((self.start, self.fresh.clone()));
        // Slots before words: an array is full before it leads to the next one.
        let mut slots = std::mem::take(&mut self.slots);
        let outcome = self.write_patches(&mut slots);
        self.slots = slots;
        outcome?;
        self.write_patches(words)?;
        self.file.write_all_at(header, 0)?;
        #[cfg(test)]
        self.log.push((0, header.to_vec()));
        Ok(())
    }

    /// Patches that touch each other go into one write.
    fn write_patches(&mut self, patches: &mut [Patch]) -> io::Result<()> {
        patches.sort_unstable_by_key(|patch| patch.offset);
        let Self { file, mapping, run, .. } = self;
        #[cfg(test)]
        let log = &mut self.log;
        let mut write = |offset: u64, bytes: &[u8]| {
            #[cfg(test)]
            log.push((offset, bytes.to_vec()));
            match mapping {
                Some(mapping) if offset + bytes.len() as u64 <= mapping.length() => mapping.write(offset, bytes),
                Some(_) | None => file.write_all_at(bytes, offset),
            }
        };
        run.clear();
        let mut begin = 0;
        for patch in patches {
            if patch.offset != begin + run.len() as u64 {
                write(begin, run)?;
                run.clear();
                begin = patch.offset;
            }
            run.extend_from_slice(&patch.value.to_le_bytes()[..patch.bytes]);
        }
        write(begin, run)
    }
}
