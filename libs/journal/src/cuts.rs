//! Test: the writes of a journal file, cut after every single byte.
//!
//! Each cut leaves a file that is opened and read. What was flushed before is there, whole and in order, and is found
//! by its matches; what comes after it is a prefix of what was being written.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::appender::Appender;
use crate::begin::{Origin, begin};
use crate::format;
use crate::id::{Id128, Stamp};
use crate::reader::Reader;

/// Entries and how many of them each flush ended with.
const ENTRIES: u64 = 24;
const FLUSHES: [u64; 5] = [1, 2, 7, 8, 24];

fn fields(number: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    let unit = if number.is_multiple_of(2) { "even.service" } else { "odd.service" };
    vec![
        (b"MESSAGE".to_vec(), format!("message {number}").into_bytes()),
        (b"_SYSTEMD_UNIT".to_vec(), unit.into()),
        (format!("FIELD_{}", number % 5).into_bytes(), b"value".to_vec()),
    ]
}

fn append(appender: &mut Appender, number: u64) {
    let fields = fields(number);
    let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    let stamp = Stamp { realtime_us: 1000 + number, monotonic_us: number, boot: Id128([1; 16]) };
    appender.append(&stamp, number + 1, &fields).expect("it is staged");
}

/// The numbers of the entries that are read, which must be whole.
fn read(path: &Path, unit: Option<&str>) -> Vec<u64> {
    let mut reader = Reader::open_files(&[path]).expect("the file is readable");
    if let Some(unit) = unit {
        reader.add_match(b"_SYSTEMD_UNIT", unit.as_bytes());
    }
    let mut numbers = Vec::new();
    while reader.next().expect("it reads") {
        let number = reader.seqnum() - 1;
        let mut found = Vec::new();
        reader.fields(|name, value| found.push((name.to_vec(), value.to_vec()))).expect("fields");
        let mut wanted = fields(number);
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "entry {number} is whole");
        numbers.push(number);
    }
    numbers
}

#[test]
fn a_file_that_is_cut_at_any_byte_keeps_what_was_flushed() {
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin { machine: Id128([2; 16]), seqnum_id: Id128([3; 16]), max_file_size: 1 << 19 };
    let mut appender = begin(folder.path(), &origin).expect("a file");
    appender.set_state(format::ONLINE).expect("it is marked");
    let path = folder.path().join("cut.journal");
    std::fs::copy(folder.path().join(crate::name::CURRENT), &path).expect("a copy");
    let cut = OpenOptions::new().write(true).open(&path).expect("the copy");
    let mut flushed = 0;
    let mut cuts = 0;
    for number in 0..ENTRIES {
        append(&mut appender, number);
        if !FLUSHES.contains(&(number + 1)) {
            continue;
        }
        let before = appender.staging.log.len();
        appender.flush().expect("it is flushed");
        for (offset, bytes) in &appender.staging.log[before..] {
            for (at, byte) in (*offset..).zip(bytes) {
                cut.write_all_at(&[*byte], at).expect("a byte");
                cuts += 1;
                let found = read(&path, None);
                assert!(found.len() as u64 >= flushed && found.len() as u64 <= number + 1, "{found:?} at {at}");
                assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?} at {at}");
                if cuts % 8 == 0 {
                    let odd = read(&path, Some("odd.service"));
                    let safe = (0..flushed).filter(|number| !number.is_multiple_of(2));
                    assert!(safe.eq(odd.iter().copied().filter(|number| *number < flushed)), "{odd:?} at {at}");
                }
            }
        }
        flushed = number + 1;
        assert_eq!(read(&path, None).len() as u64, flushed);
    }
    assert!(cuts > 5000);
}
