//! Appends entries to one journal file.
//!
//! An entry is looked up first, which may fail; then the space that it needs is known; only then is it staged, which
//! cannot fail. So an entry is in the file whole or not at all.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use crate::archive::set_state;
use crate::compression::{MAX_FIELD_BYTES, THRESHOLD_BYTES, compress, decompress};
use crate::format::{self, Header, align, le64};
use crate::hash::lookup3;
use crate::id::Stamp;
use crate::known::{CAPACITY, Known, Memory, Search, Tail};
use crate::staging::Staging;

/// An entry has no more fields (systemd's limit too).
const MAX_FIELDS: usize = 1024;
/// An entry is no larger, so that one message cannot take the daemon's memory.
const MAX_ENTRY_BYTES: usize = 64 << 20;
const MAX_NAME_BYTES: usize = 64;
/// A flush happens by itself at this many bytes.
const FLUSH_BYTES: usize = 256 << 10;
/// Slots of the first entry array of a list, and of the largest.
const FIRST_SLOTS: u64 = 4;
const MOST_SLOTS: u64 = 16 * 1024;
/// Field names that are remembered from one flush to the next.
const MAX_REMEMBERED_FIELDS: usize = 512;
/// Values for each bucket of the hash table, and steps along a chain, that make a new file worth its cost.
const MAX_LOAD: u64 = 4;
const MAX_DEPTH: u64 = 100;

/// Why an entry is not in the file.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file has served its time: the next entry belongs into a new one.
    Full,
    /// The file must become this large first.
    NeedsBytes(u64),
    /// The file is damaged.
    Damaged(String),
    /// The entry is none.
    Invalid(String),
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends before its content".into()),
            _ => Self::Io(error),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct FieldSpot {
    offset: u64,
    head_data: u64,
}

/// A field of the entry in hand.
#[derive(Debug)]
struct Item {
    start: usize,
    name_end: usize,
    end: usize,
    hash: u64,
    known: Option<usize>,
    packed: Option<Vec<u8>>,
}

/// The entry in hand: its payloads one after the other, and what they are. Used again for the next one.
#[derive(Debug, Default)]
struct Sheet {
    payloads: Vec<u8>,
    items: Vec<Item>,
    /// Offsets of the data objects, with their position in memory.
    objects: Vec<(u64, usize)>,
}

impl Sheet {
    /// Lays out and hashes the payloads.
    fn fill(&mut self, header: &Header, fields: &[(&[u8], &[u8])]) {
        self.items.clear();
        self.payloads.clear();
        self.payloads.shrink_to(64 << 10);
        for (name, value) in fields {
            let start = self.payloads.len();
            self.payloads.extend_from_slice(name);
            self.payloads.push(b'=');
            self.payloads.extend_from_slice(value);
            let end = self.payloads.len();
            let hash = header.hash(&self.payloads[start..end]);
            self.items.push(Item { start, name_end: start + name.len(), end, hash, known: None, packed: None });
        }
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) staging: Staging,
    pub(crate) header: Header,
    memory: Memory,
    fields: HashMap<Vec<u8>, FieldSpot>,
    entries: Tail,
    sheet: Sheet,
    /// Shorter fields are not compressed.
    pub(crate) threshold: u64,
}

impl Appender {
    /// Goes on with a file that is empty or was closed; `end` is where its next object begins.
    pub(crate) fn new(file: File, header: Header, end: u64) -> io::Result<Self> {
        let mut appender = Self {
            staging: Staging::new(file, end),
            memory: Memory::default(),
            fields: HashMap::new(),
            entries: Tail::default(),
            sheet: Sheet::default(),
            threshold: THRESHOLD_BYTES,
            header,
        };
        appender.staging.map(appender.header.header_size + appender.header.arena_size);
        let (array, used) = (u64::from(appender.header.tail_array), u64::from(appender.header.tail_array_used));
        let capacity = appender.slots(array)?;
        appender.entries = Tail { head_array: appender.header.entry_array, array, capacity, used };
        Ok(appender)
    }

    pub(crate) fn file(&self) -> &File {
        self.staging.file()
    }

    /// Bytes of the file that are in use or about to be.
    pub(crate) fn end(&self) -> u64 {
        self.staging.end()
    }

    /// Stages an entry.
    pub(crate) fn append(&mut self, stamp: &Stamp, seqnum: u64, fields: &[(&[u8], &[u8])]) -> Result<(), Refused> {
        let buckets = self.header.data_table_bytes / format::BUCKET_BYTES;
        if self.header.data >= buckets * MAX_LOAD || self.header.data_depth > MAX_DEPTH {
            return Err(Refused::Full);
        }
        check(fields)?;
        if self.staging.waiting() >= FLUSH_BYTES || !self.memory.begin(fields.len()) {
            self.flush()?;
            self.memory.begin(fields.len());
        }
        let mut sheet = std::mem::take(&mut self.sheet);
        sheet.fill(&self.header, fields);
        let outcome = self.find_all(&mut sheet).and_then(|()| self.reserve(&sheet));
        if outcome.is_ok() {
            self.stage(stamp, seqnum, &mut sheet);
        }
        self.sheet = sheet;
        outcome
    }

    fn find_all(&mut self, sheet: &mut Sheet) -> Result<(), Refused> {
        for item in &mut sheet.items {
            let payload = &sheet.payloads[item.start..item.end];
            item.known = self.find(item.hash, payload)?;
            match item.known {
                Some(known) => self.memory.pin(known),
                None => {
                    self.find_field(&sheet.payloads[item.start..item.name_end])?;
                    item.packed = compress(payload, self.threshold);
                }
            }
        }
        Ok(())
    }

    /// Whether the entry fits into the bytes that the file has.
    fn reserve(&self, sheet: &Sheet) -> Result<(), Refused> {
        let array = |tail: &Tail| if tail.used == tail.capacity { array_bytes(next_slots(tail)) } else { 0 };
        let of_item = |item: &Item| match item.known.and_then(|known| self.memory.get(known)) {
            Some(known) if known.count == 0 => 0,
            Some(known) => array(&known.tail),
            None => {
                let length = item.packed.as_ref().map_or(item.end - item.start, Vec::len) as u64;
                // The name may be new too.
                align(format::data_payload(true) + length)
                    + align(format::FIELD_PAYLOAD + (item.name_end - item.start) as u64)
            }
        };
        let entry = format::ENTRY_ITEMS + 4 * sheet.items.len() as u64;
        let bytes = sheet.items.iter().map(of_item).sum::<u64>() + align(entry) + array(&self.entries);
        let end = self.end() + bytes;
        if end > u64::from(u32::MAX) {
            return Err(Refused::Full);
        }
        if end > self.header.header_size + self.header.arena_size { Err(Refused::NeedsBytes(end)) } else { Ok(()) }
    }

    /// The position in memory of a value that the file has.
    fn find(&mut self, hash: u64, payload: &[u8]) -> Result<Option<usize>, Refused> {
        match self.memory.search(hash, payload) {
            Search::Found(position) => return Ok(Some(position)),
            Search::Maybe(position) => {
                let offset = self.memory.get(position).map_or(0, |known| known.offset);
                if self.holds(offset, payload)? {
                    return Ok(Some(position));
                }
                self.flush()?;
            }
            // The counters of both are needed from the file.
            Search::Collision => self.flush()?,
            Search::Missing => {}
        }
        let (mut at, tail) = self.staging.pair(self.bucket(hash))?;
        let (mut depth, mut last) = (0, 0);
        while at != 0 {
            let mut bytes = [0; 72];
            self.object(at, format::DATA, &mut bytes)?;
            if le64(&bytes, format::HASH as usize) == hash && self.holds(at, payload)? {
                return self.recall(at, &bytes, hash, payload).map(Some);
            }
            let next = self.staging.word(at + format::NEXT_HASH)?;
            if next != 0 && next <= at {
                return Err(Refused::Damaged(format!("a chain of hashes turns back at byte {at}")));
            }
            (last, at) = (at, next);
            depth += 1;
        }
        // What is new will hang behind it.
        if last != tail {
            return Err(Refused::Damaged(format!("a chain of hashes does not end at byte {tail}")));
        }
        self.header.data_depth = self.header.data_depth.max(depth);
        Ok(None)
    }

    fn bucket(&self, hash: u64) -> u64 {
        let buckets = (self.header.data_table_bytes / format::BUCKET_BYTES).max(1);
        self.header.data_table + hash % buckets * format::BUCKET_BYTES
    }

    fn field_bucket(&self, hash: u64) -> u64 {
        let buckets = (self.header.field_table_bytes / format::BUCKET_BYTES).max(1);
        self.header.field_table + hash % buckets * format::BUCKET_BYTES
    }

    /// The start of an object of this kind; its size.
    fn object(&self, offset: u64, kind: u8, bytes: &mut [u8]) -> Result<u64, Refused> {
        let damaged = || Refused::Damaged(format!("no object of kind {kind} at byte {offset}"));
        if !offset.is_multiple_of(8) || offset < self.header.header_size || offset >= self.end() {
            return Err(damaged());
        }
        self.staging.read(offset, bytes)?;
        let size = le64(bytes, format::OBJECT_SIZE as usize);
        let fits = size >= bytes.len() as u64 && offset.checked_add(size).is_some_and(|end| end <= self.end());
        if bytes.first() == Some(&kind) && fits { Ok(size) } else { Err(damaged()) }
    }

    /// Whether a data object has this payload.
    fn holds(&self, offset: u64, payload: &[u8]) -> Result<bool, Refused> {
        let mut bytes = [0; 72];
        let size = self.object(offset, format::DATA, &mut bytes)?;
        let length = size - format::data_payload(true);
        if length > MAX_FIELD_BYTES || bytes[1] == 0 && length != payload.len() as u64 {
            return Ok(false);
        }
        let mut stored = vec![0; length as usize];
        self.staging.read(offset + format::data_payload(true), &mut stored)?;
        let stored = decompress(bytes[1], stored);
        stored.map(|stored| stored == payload).map_err(|why| Refused::Damaged(format!("{why} at byte {offset}")))
    }

    /// Takes a value of the file into memory.
    fn recall(&mut self, offset: u64, bytes: &[u8], hash: u64, payload: &[u8]) -> Result<usize, Refused> {
        let (array, used) = (u64::from(format::le32(bytes, 64)), u64::from(format::le32(bytes, 68)));
        let tail = Tail { head_array: le64(bytes, 48), array, used, capacity: self.slots(array)? };
        if tail.used > tail.capacity || (tail.array == 0) != (tail.head_array == 0) {
            return Err(Refused::Damaged(format!("a list of entries ends in no array at byte {offset}")));
        }
        self.check_end(&tail)?;
        let known = Known {
            hash,
            entry_hash: lookup3(payload),
            offset,
            first_entry: le64(bytes, format::DATA_ENTRY as usize),
            count: le64(bytes, format::DATA_ENTRY_COUNT as usize),
            tail,
            ..Known::default()
        };
        Ok(self.memory.insert(known, payload))
    }

    /// What comes next into a list comes behind the last one that is in it.
    fn check_end(&self, tail: &Tail) -> Result<(), Refused> {
        let slot = |position: u64| -> Result<u64, Refused> {
            let mut bytes = [0; 4];
            self.staging.read(tail.array + format::ARRAY_ITEMS + 4 * position, &mut bytes)?;
            Ok(u64::from(u32::from_le_bytes(bytes)))
        };
        let is_filled = tail.used == 0 || slot(tail.used - 1)? != 0;
        let is_free = tail.used >= tail.capacity || slot(tail.used)? == 0;
        if tail.array == 0 || is_filled && is_free {
            return Ok(());
        }
        Err(Refused::Damaged(format!("a list does not end where it says at byte {}", tail.array)))
    }

    /// The slots of an entry array; none where there is no array.
    fn slots(&self, array: u64) -> io::Result<u64> {
        if array == 0 {
            return Ok(0);
        }
        let mut bytes = [0; format::ARRAY_ITEMS as usize];
        match self.object(array, format::ENTRY_ARRAY, &mut bytes) {
            Ok(size) => Ok((size - format::ARRAY_ITEMS) / 4),
            Err(Refused::Io(error)) => Err(error),
            Err(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no entry array where one should be")),
        }
    }

    /// Remembers a field name that the file has.
    fn find_field(&mut self, name: &[u8]) -> Result<(), Refused> {
        if self.fields.contains_key(name) {
            return Ok(());
        }
        let hash = self.header.hash(name);
        let (mut at, tail) = self.staging.pair(self.field_bucket(hash))?;
        let mut last = 0;
        while at != 0 {
            let mut bytes = [0; format::FIELD_PAYLOAD as usize];
            let size = self.object(at, format::FIELD, &mut bytes)?;
            if size - format::FIELD_PAYLOAD == name.len() as u64 {
                let mut stored = vec![0; name.len()];
                self.staging.read(at + format::FIELD_PAYLOAD, &mut stored)?;
                if stored == name {
                    let head_data = self.staging.word(at + format::FIELD_HEAD_DATA)?;
                    self.fields.insert(name.to_vec(), FieldSpot { offset: at, head_data });
                    return Ok(());
                }
            }
            let next = self.staging.word(at + format::NEXT_HASH)?;
            if next != 0 && next <= at {
                return Err(Refused::Damaged(format!("a chain of hashes turns back at byte {at}")));
            }
            (last, at) = (at, next);
        }
        if last != tail {
            return Err(Refused::Damaged(format!("a chain of hashes does not end at byte {tail}")));
        }
        Ok(())
    }

    fn stage(&mut self, stamp: &Stamp, seqnum: u64, sheet: &mut Sheet) {
        sheet.objects.clear();
        let mut entry_hash = 0;
        for (index, item) in sheet.items.iter().enumerate() {
            let payload = &sheet.payloads[item.start..item.end];
            let is_repeated = || {
                let mut earlier = sheet.items.iter().take(index).filter(|other| other.hash == item.hash);
                earlier.any(|other| sheet.payloads[other.start..other.end] == *payload)
            };
            let position = match (item.known, self.memory.search(item.hash, payload)) {
                (Some(position), _) | (None, Search::Found(position)) => position,
                // The same field twice in one entry is one value.
                (None, Search::Maybe(position)) if is_repeated() => position,
                (None, _) => self.add_data(item, &sheet.payloads),
            };
            let Some(known) = self.memory.get(position) else { continue };
            sheet.objects.push((known.offset, position));
        }
        // By offset, so that a reader of the entry reads the file in order.
        sheet.objects.sort_unstable();
        sheet.objects.dedup();
        let mut bytes = Vec::with_capacity(64 + 4 * sheet.objects.len());
        for (_, position) in &sheet.objects {
            entry_hash ^= self.memory.get(*position).map_or(0, |known| known.entry_hash);
        }
        let size = format::ENTRY_ITEMS + 4 * sheet.objects.len() as u64;
        bytes.extend_from_slice(&format::object_header(format::ENTRY, 0, size));
        for word in [seqnum, stamp.realtime_us, stamp.monotonic_us] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.extend_from_slice(&stamp.boot.0);
        bytes.extend_from_slice(&entry_hash.to_le_bytes());
        for (offset, _) in &sheet.objects {
            bytes.extend_from_slice(&offset.to_le_bytes()[..4]);
        }
        let entry = self.push(&[&bytes]);
        self.link(entry, stamp, seqnum, &sheet.objects);
    }

    /// Appends an object; the header counts it.
    fn push(&mut self, parts: &[&[u8]]) -> u64 {
        let offset = self.staging.push(parts);
        self.header.tail_object = offset;
        self.header.objects += 1;
        offset
    }

    /// Appends a data object, and a field object where the name is new.
    fn add_data(&mut self, item: &Item, payloads: &[u8]) -> usize {
        let payload = &payloads[item.start..item.end];
        let name = &payloads[item.start..item.name_end];
        let field = match self.fields.get(name) {
            Some(spot) => *spot,
            None => self.add_field(name),
        };
        let (flags, stored) = match &item.packed {
            Some(packed) => (format::OBJECT_ZSTD, packed.as_slice()),
            None => (0, payload),
        };
        let mut head = [0; 72];
        head[..16].copy_from_slice(&format::object_header(format::DATA, flags, 72 + stored.len() as u64));
        head[16..24].copy_from_slice(&item.hash.to_le_bytes());
        head[32..40].copy_from_slice(&field.head_data.to_le_bytes());
        let offset = self.push(&[&head, stored]);
        self.header.data += 1;
        self.hang(self.bucket(item.hash), offset);
        self.staging.set_word(field.offset + format::FIELD_HEAD_DATA, offset);
        if let Some(spot) = self.fields.get_mut(name) {
            spot.head_data = offset;
        }
        let known = Known { hash: item.hash, entry_hash: lookup3(payload), offset, ..Known::default() };
        self.memory.insert(known, payload)
    }

    fn add_field(&mut self, name: &[u8]) -> FieldSpot {
        let hash = self.header.hash(name);
        let mut head = [0; format::FIELD_PAYLOAD as usize];
        let size = format::FIELD_PAYLOAD + name.len() as u64;
        head[..16].copy_from_slice(&format::object_header(format::FIELD, 0, size));
        head[16..24].copy_from_slice(&hash.to_le_bytes());
        let offset = self.push(&[&head, name]);
        self.header.fields += 1;
        self.hang(self.field_bucket(hash), offset);
        let spot = FieldSpot { offset, head_data: 0 };
        self.fields.insert(name.to_vec(), spot);
        spot
    }

    /// Hangs an object to the end of the chain of its bucket.
    fn hang(&mut self, bucket: u64, object: u64) {
        // The search read the bucket; where that failed there is nothing to hang to, and the file was refused.
        let (head, tail) = self.staging.pair(bucket).unwrap_or_default();
        if head == 0 {
            self.staging.set_word(bucket, object);
        } else {
            self.staging.set_word(bucket, head);
            self.staging.set_word(tail + format::NEXT_HASH, object);
        }
        self.staging.set_word(bucket + 8, object);
    }

    /// Enters an entry into the lists of its values and into that of all.
    fn link(&mut self, entry: u64, stamp: &Stamp, seqnum: u64, objects: &[(u64, usize)]) {
        for (_, position) in objects {
            let Some(known) = self.memory.change(*position) else { continue };
            known.count += 1;
            if known.count == 1 {
                known.first_entry = entry;
                continue;
            }
            let mut tail = known.tail;
            enter(&mut self.staging, &mut self.header, &mut tail, entry);
            known.tail = tail;
        }
        enter(&mut self.staging, &mut self.header, &mut self.entries, entry);
        let header = &mut self.header;
        if header.entries == 0 {
            header.head_seqnum = seqnum;
            header.head_realtime = stamp.realtime_us;
        }
        header.entries += 1;
        header.tail_seqnum = seqnum;
        header.tail_realtime = stamp.realtime_us;
        header.tail_monotonic = stamp.monotonic_us;
        header.tail_boot = stamp.boot;
        header.tail_entry = entry;
        header.entry_array = self.entries.head_array;
        header.tail_array = self.entries.array as u32;
        header.tail_array_used = self.entries.used as u32;
    }

    /// The file has this size now.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.header.arena_size = bytes.saturating_sub(self.header.header_size);
        self.staging.map(bytes);
    }

    /// Gives memory back, for a time when little is written.
    pub(crate) fn release(&mut self) {
        if self.staging.waiting() == 0 {
            self.memory = Memory::default();
            self.fields = HashMap::new();
        }
        self.staging.release();
    }

    /// Marks the file, durably.
    pub(crate) fn set_state(&mut self, state: u8) -> io::Result<()> {
        set_state(self.staging.file(), &mut self.header, state)
    }

    /// Writes what is staged.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let counters = self.memory.changed().flat_map(|known| {
            let tail = known.tail.used << 32 | known.tail.array;
            let words = [known.first_entry, known.tail.head_array, known.count, tail];
            (0..).step_by(8).map(|at| known.offset + format::DATA_ENTRY + at).zip(words)
        });
        self.staging.flush(counters, &self.header.encode())?;
        self.memory.clean();
        if self.fields.len() > MAX_REMEMBERED_FIELDS {
            self.fields.clear();
        }
        Ok(())
    }
}

fn check(fields: &[(&[u8], &[u8])]) -> Result<(), Refused> {
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.is_empty() || fields.len() > MAX_FIELDS.min(CAPACITY) {
        return Err(Refused::Invalid(format!("an entry of {} fields, 1 to {MAX_FIELDS} are right", fields.len())));
    }
    if bytes > MAX_ENTRY_BYTES {
        return Err(Refused::Invalid(format!("an entry of {bytes} bytes, at most {MAX_ENTRY_BYTES}")));
    }
    for (name, _) in fields {
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(&b'=') {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(Refused::Invalid(format!("'{name}' is no field name of 1 to {MAX_NAME_BYTES} bytes")));
        }
    }
    Ok(())
}

fn next_slots(tail: &Tail) -> u64 {
    (tail.capacity * 2).clamp(FIRST_SLOTS, MOST_SLOTS)
}

fn array_bytes(slots: u64) -> u64 {
    align(format::ARRAY_ITEMS + 4 * slots)
}

/// Enters an entry into a list, which gets a new array where the last one is full.
fn enter(staging: &mut Staging, header: &mut Header, tail: &mut Tail, entry: u64) {
    if tail.used == tail.capacity {
        let slots = next_slots(tail);
        let mut head = [0; format::ARRAY_ITEMS as usize];
        let size = format::ARRAY_ITEMS + 4 * slots;
        head[..16].copy_from_slice(&format::object_header(format::ENTRY_ARRAY, 0, size));
        let array = staging.push_zeros(&head, 4 * slots as usize);
        header.tail_object = array;
        header.objects += 1;
        header.entry_arrays += 1;
        if tail.array == 0 {
            tail.head_array = array;
        } else {
            staging.set_word(tail.array + format::ARRAY_NEXT, array);
        }
        *tail = Tail { head_array: tail.head_array, array, capacity: slots, used: 0 };
    }
    staging.set_slot(tail.array + format::ARRAY_ITEMS + 4 * tail.used, entry);
    tail.used += 1;
}
