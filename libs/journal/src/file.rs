//! One journal file, read: objects by their offsets, values by their hash. Nothing in the file is trusted.
//!
//! A file that is being written, or was when the power went, has counters that lag or lead. They are used only where
//! the file was closed; otherwise an index ends where its slots do.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::blocks::Blocks;
use crate::chain::{Chain, List};
use crate::compression::{MAX_FIELD_BYTES, decompress};
use crate::fault::Fault;
use crate::format::{self, Header, le32, le64};
use crate::id::Id128;

/// More fields than an entry can have (systemd's limit is 1024; twice that for good measure).
const MAX_ITEMS: u64 = 2048;
const COMPRESSED: u8 = format::OBJECT_XZ | format::OBJECT_LZ4 | format::OBJECT_ZSTD;
/// What the kernel writes to a disk at once.
const PAGE_BYTES: u64 = 4096;
/// Steps along one chain of a hash table; honest chains are shorter by far.
const MAX_CHAIN_STEPS: u32 = 1 << 16;

/// A file that is open.
#[derive(Debug)]
pub(crate) struct JournalFile {
    pub(crate) path: PathBuf,
    file: File,
    /// The name of the file in the cache of blocks.
    key: u32,
    pub(crate) header: Header,
    /// Bytes that the file has.
    pub(crate) size: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) inode: (u64, u64),
    /// The index of all entries.
    pub(crate) entries: Chain,
}

/// The fixed part of an entry, and its data objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) seqnum: u64,
    pub(crate) realtime_us: u64,
    pub(crate) monotonic_us: u64,
    pub(crate) boot: Id128,
    pub(crate) xor_hash: u64,
    pub(crate) items: u64,
}

/// The fixed part of a data object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Data {
    pub(crate) offset: u64,
    pub(crate) flags: u8,
    pub(crate) size: u64,
    pub(crate) hash: u64,
    pub(crate) next_hash: u64,
    pub(crate) next_field: u64,
    pub(crate) list: List,
}

impl JournalFile {
    /// Opens a file; the inner error is that it is no journal file that can be read.
    pub(crate) fn open(path: &Path, key: u32, blocks: &mut Blocks) -> io::Result<Result<Self, Fault>> {
        let file = File::open(path)?;
        let mut opened = Self {
            path: path.to_path_buf(),
            file,
            key,
            header: Header::default(),
            size: 0,
            disk_bytes: 0,
            inode: (0, 0),
            entries: Chain::default(),
        };
        Ok(opened.reload(blocks).map(|()| opened))
    }

    /// Reads header and index anew.
    pub(crate) fn reload(&mut self, blocks: &mut Blocks) -> Result<(), Fault> {
        blocks.forget(self.key);
        let metadata = self.file.metadata().map_err(|error| Fault::new(0, format!("stat failed ({error})")))?;
        self.size = metadata.len();
        self.disk_bytes = metadata.blocks().saturating_mul(512);
        self.inode = (metadata.dev(), metadata.ino());
        let mut bytes = vec![0; self.size.min(format::HEADER_BYTES) as usize];
        self.read(blocks, 0, &mut bytes)?;
        self.header = Header::decode(&bytes).map_err(|why| Fault::new(0, why))?;
        let list = List { first: 0, array: self.header.entry_array, count: self.header.entries };
        let mut entries = Chain::build(self, blocks, &list);
        entries.trim(self, blocks);
        // An array of slots may be among what was not written.
        entries.fault = entries.fault.filter(|fault| !self.is_unwritten(blocks, fault.offset));
        self.entries = entries;
        Ok(())
    }

    /// Whether the file changed since it was loaded: how it is noticed that a live file grew.
    pub(crate) fn has_changed(&mut self, blocks: &mut Blocks) -> bool {
        blocks.forget(self.key);
        let mut bytes = vec![0; self.size.min(format::HEADER_BYTES) as usize];
        let header = self.read(blocks, 0, &mut bytes).ok().and_then(|()| Header::decode(&bytes).ok());
        header.is_none_or(|header| header != self.header)
    }

    /// The last entry; `None` where there is none.
    pub(crate) fn last(&self, blocks: &mut Blocks) -> Option<Entry> {
        self.entries.entry(self, blocks, self.entries.len().checked_sub(1)?).ok()
    }

    pub(crate) fn is_live(&self) -> bool {
        self.header.state != format::ARCHIVED
    }

    /// Whether counters of indexes can be trusted.
    pub(crate) fn is_closed(&self) -> bool {
        self.header.state != format::ONLINE
    }

    pub(crate) fn read(&self, blocks: &mut Blocks, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        blocks.read(self.key, &self.file, offset, buffer)
    }

    pub(crate) fn word(&self, blocks: &mut Blocks, offset: u64) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.read(blocks, offset, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The first `bytes.len()` bytes of an object, which is of this kind and lies within the file; its size.
    pub(crate) fn object(&self, blocks: &mut Blocks, offset: u64, kind: u8, bytes: &mut [u8]) -> Result<u64, Fault> {
        if !offset.is_multiple_of(8) || offset < self.header.header_size {
            return Err(Fault::new(offset, "an offset to no object"));
        }
        self.read(blocks, offset, bytes)?;
        let size = le64(bytes, format::OBJECT_SIZE as usize);
        if bytes.first() != Some(&kind) {
            return Err(Fault::new(offset, format!("an object of kind {}, not {kind}", bytes.first().unwrap_or(&0))));
        }
        if size < bytes.len() as u64 || offset.checked_add(size).is_none_or(|end| end > self.size) {
            return Err(Fault::new(offset, format!("an object of {size} bytes does not fit")));
        }
        Ok(size)
    }

    /// Whether an object, or a part of it, never reached the disk before the power went: the rest of a page is empty.
    pub(crate) fn is_unwritten(&self, blocks: &mut Blocks, offset: u64) -> bool {
        let mut head = [0; format::OBJECT_HEADER as usize];
        if self.is_closed() {
            return false;
        }
        // The end of the file is told to the disk with its pages.
        if offset.saturating_add(format::OBJECT_HEADER) > self.size {
            return true;
        }
        if self.read(blocks, offset, &mut head).is_err() {
            return false;
        }
        // The page that is missing may hold the size itself.
        let size = le64(&head, format::OBJECT_SIZE as usize).clamp(format::OBJECT_HEADER, MAX_FIELD_BYTES);
        let end = offset.saturating_add(size);
        if end > self.size {
            return true;
        }
        let mut at = offset;
        loop {
            let next = (at / PAGE_BYTES + 1) * PAGE_BYTES;
            let mut bytes = vec![0; (next.min(self.size) - at) as usize];
            if self.read(blocks, at, &mut bytes).is_ok() && bytes.iter().all(|byte| *byte == 0) {
                return true;
            }
            if next >= end {
                return false;
            }
            at = next;
        }
    }

    /// Bytes of an item of an entry.
    fn item_bytes(&self) -> u64 {
        if self.header.is_compact() { 4 } else { 16 }
    }

    /// Bytes of a slot of an entry array.
    pub(crate) fn slot_bytes(&self) -> u64 {
        if self.header.is_compact() { 4 } else { 8 }
    }

    pub(crate) fn slot(&self, blocks: &mut Blocks, offset: u64) -> Result<u64, Fault> {
        if !self.header.is_compact() {
            return self.word(blocks, offset);
        }
        let mut bytes = [0; 4];
        self.read(blocks, offset, &mut bytes)?;
        Ok(u64::from(u32::from_le_bytes(bytes)))
    }

    pub(crate) fn entry(&self, blocks: &mut Blocks, offset: u64) -> Result<Entry, Fault> {
        let mut bytes = [0; format::ENTRY_ITEMS as usize];
        let size = self.object(blocks, offset, format::ENTRY, &mut bytes)?;
        let items = (size - format::ENTRY_ITEMS) / self.item_bytes();
        if items == 0 || items > MAX_ITEMS {
            return Err(Fault::new(offset, format!("an entry of {items} fields")));
        }
        let mut boot = Id128::default();
        boot.0.copy_from_slice(&bytes[40..56]);
        let seqnum = le64(&bytes, 16);
        if seqnum == 0 {
            return Err(Fault::new(offset, "an entry without a number"));
        }
        Ok(Entry {
            offset,
            seqnum,
            realtime_us: le64(&bytes, 24),
            monotonic_us: le64(&bytes, 32),
            boot,
            xor_hash: le64(&bytes, 56),
            items,
        })
    }

    /// The offsets of the data objects of an entry.
    pub(crate) fn items(&self, blocks: &mut Blocks, entry: &Entry, items: &mut Vec<u64>) -> Result<(), Fault> {
        let item = self.item_bytes() as usize;
        let mut bytes = vec![0; (entry.items as usize).saturating_mul(item)];
        self.read(blocks, entry.offset + format::ENTRY_ITEMS, &mut bytes)?;
        items.clear();
        if item == 4 {
            items.extend(bytes.chunks_exact(4).map(|chunk| u64::from(le32(chunk, 0))));
        } else {
            items.extend(bytes.chunks_exact(16).map(|chunk| le64(chunk, 0)));
        }
        Ok(())
    }

    pub(crate) fn data(&self, blocks: &mut Blocks, offset: u64) -> Result<Data, Fault> {
        let mut bytes = [0; 64];
        let size = self.object(blocks, offset, format::DATA, &mut bytes)?;
        if size <= format::data_payload(self.header.is_compact()) {
            return Err(Fault::new(offset, "a value without content"));
        }
        Ok(Data {
            offset,
            flags: bytes[1],
            size,
            hash: le64(&bytes, 16),
            next_hash: le64(&bytes, 24),
            next_field: le64(&bytes, 32),
            list: List { first: le64(&bytes, 40), array: le64(&bytes, 48), count: le64(&bytes, 56) },
        })
    }

    /// `NAME=value`, uncompressed.
    pub(crate) fn payload(&self, blocks: &mut Blocks, data: &Data) -> Result<Vec<u8>, Fault> {
        let start = format::data_payload(self.header.is_compact());
        let length = data.size.saturating_sub(start);
        if length > MAX_FIELD_BYTES {
            return Err(Fault::new(data.offset, format!("a field of {length} bytes, at most {MAX_FIELD_BYTES}")));
        }
        let mut bytes = vec![0; length as usize];
        self.read(blocks, data.offset + start, &mut bytes)?;
        let payload = decompress(data.flags, bytes).map_err(|why| Fault::new(data.offset, why))?;
        self.check(data, &payload)?;
        Ok(payload)
    }

    /// What was written when the power went may be there in part: its hash tells.
    fn check(&self, data: &Data, payload: &[u8]) -> Result<(), Fault> {
        if self.is_closed() || self.header.hash(payload) == data.hash {
            return Ok(());
        }
        Err(Fault::new(data.offset, "a value that its hash contradicts"))
    }

    /// Whether all values of an entry are there.
    pub(crate) fn is_whole(&self, blocks: &mut Blocks, entry: &Entry) -> Result<(), Fault> {
        let mut items = Vec::new();
        self.items(blocks, entry, &mut items)?;
        for item in items {
            let data = self.data(blocks, item)?;
            self.payload(blocks, &data)?;
        }
        Ok(())
    }

    /// The same into a buffer that is used again, in one read where the value is short.
    pub(crate) fn read_payload(&self, blocks: &mut Blocks, offset: u64, payload: &mut Vec<u8>) -> Result<(), Fault> {
        let data = self.data(blocks, offset)?;
        let start = format::data_payload(self.header.is_compact());
        let length = data.size - start;
        if data.flags & COMPRESSED != 0 || length > MAX_FIELD_BYTES {
            *payload = self.payload(blocks, &data)?;
            return Ok(());
        }
        payload.resize(length as usize, 0);
        self.read(blocks, offset + start, payload)?;
        self.check(&data, payload)
    }

    /// The offset where the chain of a hash begins; 0 where it is empty.
    fn bucket(&self, blocks: &mut Blocks, table: u64, bytes: u64, hash: u64) -> Result<u64, Fault> {
        let buckets = bytes / format::BUCKET_BYTES;
        if buckets == 0 || table.checked_add(bytes).is_none_or(|end| end > self.size) {
            return Err(Fault::new(table, "a hash table that does not fit"));
        }
        self.word(blocks, table + hash % buckets * format::BUCKET_BYTES)
    }

    /// The data object of `NAME=value`.
    pub(crate) fn find_data(&self, blocks: &mut Blocks, payload: &[u8]) -> Result<Option<Data>, Fault> {
        let hash = self.header.hash(payload);
        let mut at = self.bucket(blocks, self.header.data_table, self.header.data_table_bytes, hash)?;
        for _ in 0..MAX_CHAIN_STEPS {
            if at == 0 {
                return Ok(None);
            }
            let data = self.data(blocks, at)?;
            if data.hash == hash && self.payload(blocks, &data)? == payload {
                return Ok(Some(data));
            }
            at = rising(at, data.next_hash)?;
        }
        Err(Fault::new(at, "a chain of hashes without an end"))
    }

    /// The first data object of a field; 0 where the file does not know the field.
    pub(crate) fn find_field(&self, blocks: &mut Blocks, name: &[u8]) -> Result<u64, Fault> {
        let hash = self.header.hash(name);
        let mut at = self.bucket(blocks, self.header.field_table, self.header.field_table_bytes, hash)?;
        for _ in 0..MAX_CHAIN_STEPS {
            if at == 0 {
                return Ok(0);
            }
            let field = self.field(blocks, at)?;
            if field.hash == hash && field.name == name {
                return Ok(field.head_data);
            }
            at = rising(at, field.next_hash)?;
        }
        Err(Fault::new(at, "a chain of hashes without an end"))
    }

    pub(crate) fn field(&self, blocks: &mut Blocks, offset: u64) -> Result<Field, Fault> {
        let mut bytes = [0; format::FIELD_PAYLOAD as usize];
        let size = self.object(blocks, offset, format::FIELD, &mut bytes)?;
        let length = size - format::FIELD_PAYLOAD;
        if length == 0 || length > 4096 {
            return Err(Fault::new(offset, format!("a field name of {length} bytes")));
        }
        let mut name = vec![0; length as usize];
        self.read(blocks, offset + format::FIELD_PAYLOAD, &mut name)?;
        Ok(Field { hash: le64(&bytes, 16), next_hash: le64(&bytes, 24), head_data: le64(&bytes, 32), name })
    }

    /// Calls `each` for every data object of a field, the newest first.
    pub(crate) fn values(
        &self,
        blocks: &mut Blocks,
        name: &[u8],
        mut each: impl FnMut(&mut Blocks, &Data) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut at = self.find_field(blocks, name)?;
        while at != 0 {
            let data = self.data(blocks, at)?;
            each(blocks, &data)?;
            if data.next_field >= at {
                return Err(Fault::new(at, "a list of values that turns back"));
            }
            at = data.next_field;
        }
        Ok(())
    }

    /// Calls `each` for every field name of the file.
    pub(crate) fn field_names(&self, blocks: &mut Blocks, mut each: impl FnMut(Vec<u8>)) -> Result<(), Fault> {
        for bucket in 0..self.header.field_table_bytes / format::BUCKET_BYTES {
            let mut at = self.bucket(blocks, self.header.field_table, self.header.field_table_bytes, bucket)?;
            while at != 0 {
                let field = self.field(blocks, at)?;
                at = rising(at, field.next_hash)?;
                each(field.name);
            }
        }
        Ok(())
    }
}

/// A field object.
#[derive(Debug)]
pub(crate) struct Field {
    hash: u64,
    next_hash: u64,
    head_data: u64,
    name: Vec<u8>,
}

/// Chains of hashes are appended to, so they lead to the end of the file; what does not would never end.
fn rising(at: u64, next: u64) -> Result<u64, Fault> {
    if next != 0 && next <= at { Err(Fault::new(at, "a chain of hashes that turns back")) } else { Ok(next) }
}
