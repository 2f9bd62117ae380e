//! Checks a whole journal file: every object, hash and index.
//!
//! Of a file that is being written, or was not closed, only what its entries lead to is checked: its counters may lag,
//! and entries after the last `sync` may have reached the disk in part. What is empty there was not written, no damage.

use std::io;
use std::path::Path;

use crate::blocks::Blocks;
use crate::chain::Chain;
use crate::fault::Fault;
use crate::file::{Data, Entry, JournalFile};
use crate::format;
use crate::hash::lookup3;

/// Checks a file. The outer error is that it cannot be opened.
pub fn verify(file: &Path) -> io::Result<Result<(), Fault>> {
    let mut blocks = Blocks::default();
    Ok(match JournalFile::open(file, 0, &mut blocks)? {
        Ok(file) => Check { file: &file, blocks, items: Vec::new() }.run(),
        Err(fault) => Err(fault),
    })
}

#[derive(Debug, Default)]
struct Counts {
    objects: u64,
    entries: u64,
    data: u64,
    fields: u64,
    arrays: u64,
    tags: u64,
    /// Values in entries, and entries in the lists of values.
    items: u64,
    listed: u64,
}

struct Check<'a> {
    file: &'a JournalFile,
    blocks: Blocks,
    items: Vec<u64>,
}

impl Check<'_> {
    fn run(&mut self) -> Result<(), Fault> {
        if let Some(fault) = &self.file.entries.fault {
            return Err(fault.clone());
        }
        self.entries()?;
        if self.file.is_closed() { self.objects() } else { Ok(()) }
    }

    /// The list of all entries, and what they hold.
    fn entries(&mut self) -> Result<(), Fault> {
        let (mut before, mut seqnum) = (0, 0);
        for position in 0..self.file.entries.len() {
            let offset = self.file.entries.get(self.file, &mut self.blocks, position)?;
            let entry = match self.file.entry(&mut self.blocks, offset) {
                Err(_) if self.file.is_unwritten(&mut self.blocks, offset) => continue,
                outcome => outcome?,
            };
            if offset <= before || entry.seqnum <= seqnum {
                return Err(Fault::new(offset, "entries out of order"));
            }
            (before, seqnum) = (offset, entry.seqnum);
            if let Err(fault) = self.entry(&entry)
                && ![offset, fault.offset].into_iter().any(|at| self.file.is_unwritten(&mut self.blocks, at))
            {
                return Err(fault);
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Fault> {
        let mut items = std::mem::take(&mut self.items);
        self.file.items(&mut self.blocks, entry, &mut items)?;
        let mut hash = 0;
        for offset in &items {
            let data = self.file.data(&mut self.blocks, *offset)?;
            let payload = self.file.payload(&mut self.blocks, &data)?;
            if data.hash != self.file.header.hash(&payload) {
                return Err(Fault::new(*offset, "a value that its hash contradicts"));
            }
            let is_keyed = self.file.header.incompatible & format::KEYED_HASH != 0;
            hash ^= if is_keyed { lookup3(&payload) } else { data.hash };
        }
        self.items = items;
        if hash == entry.xor_hash {
            Ok(())
        } else {
            Err(Fault::new(entry.offset, "an entry that its hash contradicts"))
        }
    }

    /// All objects in their order, and the counters of the header.
    fn objects(&mut self) -> Result<(), Fault> {
        let header = &self.file.header;
        let mut counts = Counts::default();
        let mut at = header.header_size;
        loop {
            let mut bytes = [0; format::OBJECT_HEADER as usize];
            self.file.read(&mut self.blocks, at, &mut bytes)?;
            let size = self.file.object(&mut self.blocks, at, bytes[0], &mut bytes)?;
            counts.objects += 1;
            self.object(bytes[0], at, &mut counts)?;
            if at >= header.tail_object {
                break;
            }
            at = format::align(at + size);
        }
        if at != header.tail_object {
            return Err(Fault::new(at, "the header's last object is not where an object begins"));
        }
        let known = [
            (counts.objects, header.objects, "objects"),
            (counts.entries, header.entries, "entries"),
            (counts.entries, self.file.entries.len(), "entries of its list"),
            (counts.data, header.data, "values"),
            (counts.fields, header.fields, "fields"),
            (counts.arrays, header.entry_arrays, "entry arrays"),
            (counts.tags, header.tags, "tags"),
            (counts.items, counts.listed, "places in the lists of values"),
        ];
        // Headers of old systemd lack some counters.
        let has_counters = header.header_size >= 240;
        match known.into_iter().find(|(found, said, _)| has_counters && found != said) {
            Some((found, said, what)) => Err(Fault::new(0, format!("{found} {what} are found, {said} are said"))),
            None => Ok(()),
        }
    }

    fn object(&mut self, kind: u8, offset: u64, counts: &mut Counts) -> Result<(), Fault> {
        match kind {
            format::DATA => {
                counts.data += 1;
                let data = self.file.data(&mut self.blocks, offset)?;
                counts.listed += self.data(&data)?;
            }
            format::FIELD => {
                counts.fields += 1;
                self.file.field(&mut self.blocks, offset)?;
            }
            format::ENTRY => {
                counts.entries += 1;
                counts.items += self.file.entry(&mut self.blocks, offset)?.items;
            }
            format::ENTRY_ARRAY => counts.arrays += 1,
            format::TAG => counts.tags += 1,
            format::DATA_HASH_TABLE | format::FIELD_HASH_TABLE => {}
            other => return Err(Fault::new(offset, format!("an object of the unknown kind {other}"))),
        }
        Ok(())
    }

    /// A value is found by its hash, and its list names the entries that hold it; how many.
    fn data(&mut self, data: &Data) -> Result<u64, Fault> {
        let payload = self.file.payload(&mut self.blocks, data)?;
        if self.file.find_data(&mut self.blocks, &payload)?.is_none_or(|found| found.offset != data.offset) {
            return Err(Fault::new(data.offset, "a value that is not found by its hash"));
        }
        let list = Chain::build(self.file, &mut self.blocks, &data.list);
        if list.len() != data.list.count {
            return Err(Fault::new(data.offset, "a list of entries shorter than its count"));
        }
        let mut before = 0;
        for position in 0..list.len() {
            let entry = list.entry(self.file, &mut self.blocks, position)?;
            let mut items = std::mem::take(&mut self.items);
            self.file.items(&mut self.blocks, &entry, &mut items)?;
            if entry.offset <= before || !items.contains(&data.offset) {
                return Err(Fault::new(
                    data.offset,
                    format!("a list that wrongly names the entry at {}", entry.offset),
                ));
            }
            self.items = items;
            before = entry.offset;
        }
        Ok(list.len())
    }
}
