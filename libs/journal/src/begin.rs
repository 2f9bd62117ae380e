//! Begins a journal file, and opens one that was closed to go on with it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::appender::Appender;
use crate::blocks::Blocks;
use crate::file::JournalFile;
use crate::format::{self, Header, align};
use crate::id::Id128;
use crate::limits::LEAST_FILE;
use crate::name;

/// Distinct field names are few, whatever the size of the file.
const FIELD_BUCKETS: u64 = 1021;
/// A bucket for so many bytes of the largest size: about one and a half values a bucket when the file is full.
const BYTES_A_BUCKET: u64 = 384;
const LEAST_DATA_BUCKETS: u64 = 509;
/// Files grow in steps of a sixteenth of their largest size, within these.
const LEAST_STEP: u64 = 64 << 10;
const LARGEST_STEP: u64 = 8 << 20;

/// What does not change between the files of a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) machine: Id128,
    pub(crate) seqnum_id: Id128,
    pub(crate) max_file_size: u64,
}

/// The size that a file gets when it must hold `bytes`.
pub(crate) fn grown(bytes: u64, max_file_size: u64) -> u64 {
    let step = align((max_file_size / 16).clamp(LEAST_STEP, LARGEST_STEP));
    bytes.div_ceil(step).saturating_mul(step)
}

/// Takes the space before it is needed, so that a full disk shows before anything is written.
pub(crate) fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), from, to.saturating_sub(from)) {
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(to),
        outcome => Ok(outcome?),
    }
}

/// Begins `system.journal` of a folder. It gets its name when it is whole on the disk.
pub(crate) fn begin(folder: &Path, origin: &Origin) -> io::Result<Appender> {
    let path = folder.join(name::BEGUN);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o640).open(&path)?;
    let outcome = fill(file, origin).and_then(|appender| {
        fs::rename(&path, folder.join(name::CURRENT))?;
        File::open(folder)?.sync_all()?;
        Ok(appender)
    });
    if outcome.is_err() {
        // What is left is removed at the next attempt at the latest.
        let _ = fs::remove_file(&path);
    }
    outcome
}

fn fill(file: File, origin: &Origin) -> io::Result<Appender> {
    let most = origin.max_file_size.max(LEAST_FILE);
    let buckets = (most / BYTES_A_BUCKET).max(LEAST_DATA_BUCKETS);
    let field_object = format::HEADER_BYTES;
    let field_bytes = format::OBJECT_HEADER + FIELD_BUCKETS * format::BUCKET_BYTES;
    let data_object = align(field_object + field_bytes);
    let data_bytes = format::OBJECT_HEADER + buckets * format::BUCKET_BYTES;
    let end = align(data_object + data_bytes);
    let size = grown(end, most);
    let mut file_id = [0; 16];
    random(&mut file_id)?;
    let header = Header {
        incompatible: format::WRITTEN,
        state: format::OFFLINE,
        file_id: Id128(file_id),
        machine: origin.machine,
        seqnum_id: origin.seqnum_id,
        header_size: format::HEADER_BYTES,
        arena_size: size - format::HEADER_BYTES,
        data_table: data_object + format::OBJECT_HEADER,
        data_table_bytes: buckets * format::BUCKET_BYTES,
        field_table: field_object + format::OBJECT_HEADER,
        field_table_bytes: FIELD_BUCKETS * format::BUCKET_BYTES,
        tail_object: data_object,
        objects: 2,
        ..Header::default()
    };
    allocate(&file, 0, size)?;
    file.write_all_at(&format::object_header(format::FIELD_HASH_TABLE, 0, field_bytes), field_object)?;
    file.write_all_at(&format::object_header(format::DATA_HASH_TABLE, 0, data_bytes), data_object)?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()?;
    Appender::new(file, header, end)
}

/// Fills with random bytes.
pub(crate) fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        done += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

/// Why a file that is there is not written on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finished {
    /// It was closed; only it is not ours to go on with.
    Cleanly(String),
    /// It was not closed, or is damaged.
    Uncleanly(String),
}

/// Opens a file to go on with it.
pub(crate) fn resume(path: &Path, machine: Id128) -> io::Result<Result<Appender, Finished>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = vec![0; size.min(format::HEADER_BYTES) as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let header = match Header::decode(&bytes) {
        Ok(header) => header,
        Err(why) => return Ok(Err(Finished::Uncleanly(why))),
    };
    if let Err(finished) = is_ours(&header, machine, size) {
        return Ok(Err(finished));
    }
    let mut object = [0; 16];
    for (kind, table, bytes) in [
        (format::DATA_HASH_TABLE, header.data_table, header.data_table_bytes),
        (format::FIELD_HASH_TABLE, header.field_table, header.field_table_bytes),
    ] {
        file.read_exact_at(&mut object, table.saturating_sub(format::OBJECT_HEADER))?;
        if object != format::object_header(kind, 0, bytes + format::OBJECT_HEADER) {
            return Ok(Err(Finished::Uncleanly("its hash tables are not where it says".into())));
        }
    }
    file.read_exact_at(&mut object, header.tail_object)?;
    let end = align(header.tail_object.saturating_add(format::le64(&object, format::OBJECT_SIZE as usize)));
    if object[0] == 0 || object[0] > format::TAG || end > header.header_size + header.arena_size {
        return Ok(Err(Finished::Uncleanly("its last object is damaged".into())));
    }
    if let Err(why) = ends_well(path, &header)? {
        return Ok(Err(Finished::Uncleanly(why)));
    }
    match Appender::new(file, header, end) {
        Ok(appender) => Ok(Ok(appender)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Finished::Uncleanly(error.to_string()))),
        Err(error) => Err(error),
    }
}

/// Whether the list of all entries ends where the header says.
fn ends_well(path: &Path, header: &Header) -> io::Result<Result<(), String>> {
    let mut blocks = Blocks::default();
    let file = match JournalFile::open(path, 0, &mut blocks)? {
        Ok(file) => file,
        Err(fault) => return Ok(Err(fault.to_string())),
    };
    if let Some(fault) = &file.entries.fault {
        return Ok(Err(fault.to_string()));
    }
    let last = file.last(&mut blocks);
    let (offset, seqnum) = last.map_or((0, 0), |entry| (entry.offset, entry.seqnum));
    // The last slot in use is the one behind which the writer goes on.
    let used = u64::from(header.tail_array_used);
    let slot = u64::from(header.tail_array) + format::ARRAY_ITEMS + (used.saturating_sub(1)) * 4;
    let in_slot = if used == 0 { Ok(0) } else { file.slot(&mut blocks, slot) };
    let agrees = file.entries.len() == header.entries
        && offset == header.tail_entry
        && seqnum == header.tail_seqnum
        && in_slot == Ok(offset);
    Ok(if agrees { Ok(()) } else { Err("its list of entries does not end where it says".into()) })
}

fn is_ours(header: &Header, machine: Id128, size: u64) -> Result<(), Finished> {
    if header.state == format::ARCHIVED {
        return Err(Finished::Cleanly("it was rotated already".into()));
    }
    if header.state != format::OFFLINE {
        return Err(Finished::Uncleanly("it was not closed".into()));
    }
    if header.header_size.checked_add(header.arena_size).is_none_or(|end| end > size) {
        return Err(Finished::Uncleanly("it is shorter than it says".into()));
    }
    if header.machine != machine {
        return Err(Finished::Cleanly(format!("it is of machine {}", header.machine)));
    }
    if header.incompatible != format::WRITTEN || header.compatible != 0 || header.header_size != format::HEADER_BYTES {
        return Err(Finished::Cleanly("it is of another form of the format".into()));
    }
    let holds = |table: u64, bytes: u64| {
        let end = table.checked_add(bytes);
        bytes >= format::BUCKET_BYTES && table.is_multiple_of(8) && end.is_some_and(|end| end <= size)
    };
    if !holds(header.data_table, header.data_table_bytes) || !holds(header.field_table, header.field_table_bytes) {
        return Err(Finished::Uncleanly("its hash tables do not fit".into()));
    }
    Ok(())
}
