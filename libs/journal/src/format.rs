//! Where everything is in a journal file: the header, and the fixed parts of objects. Pure.
//!
//! All numbers are little-endian and all objects begin at multiples of 8. The size of an object is exact, not padded.

use crate::id::Id128;

/// The first eight bytes of a file.
pub(crate) const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
/// The header that we write (systemd 254 and later).
pub(crate) const HEADER_BYTES: u64 = 272;
/// The shortest header that exists.
pub(crate) const OLDEST_HEADER_BYTES: u64 = 208;

/// `incompatible_flags`.
pub(crate) const COMPRESSED_XZ: u32 = 1;
pub(crate) const COMPRESSED_LZ4: u32 = 1 << 1;
pub(crate) const KEYED_HASH: u32 = 1 << 2;
pub(crate) const COMPRESSED_ZSTD: u32 = 1 << 3;
pub(crate) const COMPACT: u32 = 1 << 4;
/// What this crate reads. Files with xz are opened too: only their compressed fields are out of reach.
pub(crate) const READABLE: u32 = COMPRESSED_XZ | COMPRESSED_LZ4 | KEYED_HASH | COMPRESSED_ZSTD | COMPACT;
/// What this crate writes.
pub(crate) const WRITTEN: u32 = KEYED_HASH | COMPRESSED_ZSTD | COMPACT;

/// `flags` of a data object.
pub(crate) const OBJECT_XZ: u8 = 1;
pub(crate) const OBJECT_LZ4: u8 = 1 << 1;
pub(crate) const OBJECT_ZSTD: u8 = 1 << 2;

/// `state`.
pub(crate) const OFFLINE: u8 = 0;
pub(crate) const ONLINE: u8 = 1;
pub(crate) const ARCHIVED: u8 = 2;

/// Kinds of objects.
pub(crate) const DATA: u8 = 1;
pub(crate) const FIELD: u8 = 2;
pub(crate) const ENTRY: u8 = 3;
pub(crate) const DATA_HASH_TABLE: u8 = 4;
pub(crate) const FIELD_HASH_TABLE: u8 = 5;
pub(crate) const ENTRY_ARRAY: u8 = 6;
pub(crate) const TAG: u8 = 7;

/// Offsets inside objects.
pub(crate) const OBJECT_SIZE: u64 = 8;
pub(crate) const OBJECT_HEADER: u64 = 16;
pub(crate) const HASH: u64 = 16;
pub(crate) const NEXT_HASH: u64 = 24;
pub(crate) const DATA_ENTRY: u64 = 40;
pub(crate) const DATA_ENTRY_COUNT: u64 = 56;
pub(crate) const FIELD_HEAD_DATA: u64 = 32;
pub(crate) const FIELD_PAYLOAD: u64 = 40;
pub(crate) const ENTRY_ITEMS: u64 = 64;
pub(crate) const ARRAY_NEXT: u64 = 16;
pub(crate) const ARRAY_ITEMS: u64 = 24;
pub(crate) const BUCKET_BYTES: u64 = 16;

/// Offset of a data object's payload.
pub(crate) fn data_payload(compact: bool) -> u64 {
    if compact { 72 } else { 64 }
}

/// Rounds up to where the next object may begin.
pub(crate) fn align(offset: u64) -> u64 {
    offset.saturating_add(7) & !7
}

pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    let word = at.checked_add(4).and_then(|end| bytes.get(at..end)).and_then(|part| part.try_into().ok());
    u32::from_le_bytes(word.unwrap_or_default())
}

pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    let word = at.checked_add(8).and_then(|end| bytes.get(at..end)).and_then(|part| part.try_into().ok());
    u64::from_le_bytes(word.unwrap_or_default())
}

fn id(bytes: &[u8], at: usize) -> Id128 {
    let part = at.checked_add(16).and_then(|end| bytes.get(at..end)).and_then(|part| part.try_into().ok());
    Id128(part.unwrap_or_default())
}

/// The head of a file. Fields that an old header lacks are zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) compatible: u32,
    pub(crate) incompatible: u32,
    pub(crate) state: u8,
    pub(crate) file_id: Id128,
    pub(crate) machine: Id128,
    pub(crate) tail_boot: Id128,
    pub(crate) seqnum_id: Id128,
    pub(crate) header_size: u64,
    pub(crate) arena_size: u64,
    pub(crate) data_table: u64,
    pub(crate) data_table_bytes: u64,
    pub(crate) field_table: u64,
    pub(crate) field_table_bytes: u64,
    pub(crate) tail_object: u64,
    pub(crate) objects: u64,
    pub(crate) entries: u64,
    pub(crate) tail_seqnum: u64,
    pub(crate) head_seqnum: u64,
    pub(crate) entry_array: u64,
    pub(crate) head_realtime: u64,
    pub(crate) tail_realtime: u64,
    pub(crate) tail_monotonic: u64,
    pub(crate) data: u64,
    pub(crate) fields: u64,
    pub(crate) tags: u64,
    pub(crate) entry_arrays: u64,
    pub(crate) data_depth: u64,
    pub(crate) field_depth: u64,
    pub(crate) tail_array: u32,
    pub(crate) tail_array_used: u32,
    pub(crate) tail_entry: u64,
}

impl Header {
    /// Reads a header; the reason where the bytes are none that this crate can use.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.get(..8) != Some(SIGNATURE) {
            return Err("not a journal file (no signature)".into());
        }
        let header_size = le64(bytes, 88);
        if (bytes.len() as u64) < OLDEST_HEADER_BYTES || !(OLDEST_HEADER_BYTES..1 << 20).contains(&header_size) {
            return Err(format!("the header has {header_size} bytes, at least {OLDEST_HEADER_BYTES} are right"));
        }
        let incompatible = le32(bytes, 12);
        if incompatible & !READABLE != 0 {
            return Err(format!("format flags {:#x} are of a newer journal", incompatible & !READABLE));
        }
        let known = usize::try_from(header_size).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = &bytes[..known];
        Ok(Self {
            compatible: le32(bytes, 8),
            incompatible,
            state: bytes[16],
            file_id: id(bytes, 24),
            machine: id(bytes, 40),
            tail_boot: id(bytes, 56),
            seqnum_id: id(bytes, 72),
            header_size,
            arena_size: le64(bytes, 96),
            data_table: le64(bytes, 104),
            data_table_bytes: le64(bytes, 112),
            field_table: le64(bytes, 120),
            field_table_bytes: le64(bytes, 128),
            tail_object: le64(bytes, 136),
            objects: le64(bytes, 144),
            entries: le64(bytes, 152),
            tail_seqnum: le64(bytes, 160),
            head_seqnum: le64(bytes, 168),
            entry_array: le64(bytes, 176),
            head_realtime: le64(bytes, 184),
            tail_realtime: le64(bytes, 192),
            tail_monotonic: le64(bytes, 200),
            data: le64(bytes, 208),
            fields: le64(bytes, 216),
            tags: le64(bytes, 224),
            entry_arrays: le64(bytes, 232),
            data_depth: le64(bytes, 240),
            field_depth: le64(bytes, 248),
            tail_array: le32(bytes, 256),
            tail_array_used: le32(bytes, 260),
            tail_entry: le64(bytes, 264),
        })
    }

    /// The bytes of our header.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(272);
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&self.compatible.to_le_bytes());
        bytes.extend_from_slice(&self.incompatible.to_le_bytes());
        bytes.extend_from_slice(&[self.state, 0, 0, 0, 0, 0, 0, 0]);
        for id in [self.file_id, self.machine, self.tail_boot, self.seqnum_id] {
            bytes.extend_from_slice(&id.0);
        }
        let words = [
            self.header_size,
            self.arena_size,
            self.data_table,
            self.data_table_bytes,
            self.field_table,
            self.field_table_bytes,
            self.tail_object,
            self.objects,
            self.entries,
            self.tail_seqnum,
            self.head_seqnum,
            self.entry_array,
            self.head_realtime,
            self.tail_realtime,
            self.tail_monotonic,
            self.data,
            self.fields,
            self.tags,
            self.entry_arrays,
            self.data_depth,
            self.field_depth,
            u64::from(self.tail_array_used) << 32 | u64::from(self.tail_array),
            self.tail_entry,
        ];
        for word in words {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn is_compact(&self) -> bool {
        self.incompatible & COMPACT != 0
    }

    /// The hash of the tables of this file.
    pub(crate) fn hash(&self, bytes: &[u8]) -> u64 {
        if self.incompatible & KEYED_HASH != 0 {
            crate::hash::keyed(self.file_id, bytes)
        } else {
            crate::hash::lookup3(bytes)
        }
    }
}

/// The start of an object: kind, flags, size.
pub(crate) fn object_header(kind: u8, flags: u8, size: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = kind;
    bytes[1] = flags;
    bytes[8..].copy_from_slice(&size.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = Header {
            incompatible: WRITTEN,
            state: ONLINE,
            file_id: Id128([7; 16]),
            header_size: HEADER_BYTES,
            entries: 12,
            field_depth: 3,
            tail_array: 0x1234,
            tail_array_used: 9,
            tail_entry: 0x5678,
            ..Header::default()
        };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_BYTES);
        assert_eq!(Header::decode(&bytes), Ok(header));
    }

    #[test]
    fn what_is_no_header_is_refused_with_a_reason() {
        assert!(Header::decode(b"").is_err());
        assert!(Header::decode(&[0; 272]).is_err());
        let mut bytes = Header { header_size: HEADER_BYTES, ..Header::default() }.encode();
        assert!(Header::decode(&bytes[..100]).is_err());
        bytes[12] = 0x80;
        assert!(Header::decode(&bytes).is_err_and(|why| why.contains("newer")));
    }
}
