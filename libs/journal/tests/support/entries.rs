//! Entries for tests: made, written, read back, and compared.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};

use ferrite_journal_file::{Id128, Limits, Reader, Stamp, Writer};

/// The machine of all tests.
pub const MACHINE: Id128 = Id128([0x4d; 16]);

/// An entry as a test thinks of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub realtime_us: u64,
    pub monotonic_us: u64,
    pub boot: Id128,
    /// Sorted, each once.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    pub fn new(realtime_us: u64, fields: &[(&str, &str)]) -> Self {
        let mut fields: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        fields.sort();
        fields.dedup();
        Self { realtime_us, monotonic_us: realtime_us % 1_000_000_000, boot: Id128([0xb0; 16]), fields }
    }

    pub fn stamp(&self) -> Stamp {
        Stamp { realtime_us: self.realtime_us, monotonic_us: self.monotonic_us, boot: self.boot }
    }

    pub fn borrowed(&self) -> Vec<(&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
    }
}

/// The `number`th message of a service, as journald would write it.
pub fn message(number: u64, unit: &str) -> Entry {
    let realtime_us = 1_700_000_000_000_000 + number * 1_000;
    Entry::new(
        realtime_us,
        &[
            ("MESSAGE", &format!("{unit} says hello for the {number}th time")),
            ("PRIORITY", if number.is_multiple_of(7) { "3" } else { "6" }),
            ("SYSLOG_IDENTIFIER", unit),
            ("_BOOT_ID", "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0"),
            ("_COMM", unit),
            ("_GID", "0"),
            ("_HOSTNAME", "machine"),
            ("_MACHINE_ID", "4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d4d"),
            ("_PID", "77"),
            ("_SOURCE_REALTIME_TIMESTAMP", &(realtime_us - 5).to_string()),
            ("_SYSTEMD_UNIT", &format!("{unit}.service")),
            ("_TRANSPORT", "stdout"),
            ("_UID", "0"),
        ],
    )
}

/// Limits that do not come into play.
pub fn generous() -> Limits {
    Limits { max_use: 1 << 32, keep_free: 0, max_file_size: 16 << 20, max_files: 100 }
}

pub fn writer(folder: &Path) -> Writer {
    Writer::open(folder, MACHINE, generous()).expect("the folder opens").0
}

/// Writes entries and closes the file.
pub fn write(folder: &Path, entries: &[Entry]) {
    let mut writer = writer(folder);
    for entry in entries {
        writer.stage(&entry.stamp(), &entry.borrowed()).expect("it is written");
    }
    writer.flush().expect("it is flushed");
}

/// The entry under the reader.
pub fn current(reader: &mut Reader) -> Entry {
    let mut fields = Vec::new();
    reader.fields(|name, value| fields.push((name.to_vec(), value.to_vec()))).expect("fields");
    fields.sort();
    let (monotonic_us, boot) = reader.monotonic();
    Entry { realtime_us: reader.realtime_us(), monotonic_us, boot, fields }
}

/// Everything from here to the end.
pub fn rest(reader: &mut Reader) -> Vec<Entry> {
    let mut entries = Vec::new();
    while reader.next().expect("it reads") {
        entries.push(current(reader));
    }
    entries
}

/// Everything from here back to the beginning, in the order of time.
pub fn rest_backwards(reader: &mut Reader) -> Vec<Entry> {
    let mut entries = Vec::new();
    while reader.previous().expect("it reads") {
        entries.push(current(reader));
    }
    entries.reverse();
    entries
}

/// Everything in a folder.
pub fn read(folder: &Path) -> Vec<Entry> {
    rest(&mut Reader::open_folders(&[folder]).expect("the folder opens"))
}

/// The journal files of a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|item| item.expect("an entry").path()).collect();
    files.sort();
    files
}
