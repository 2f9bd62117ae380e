//! An entry as the command shows it.

use std::io;

use ferrite_journal_file::{Id128, Reader};

use crate::fields::Fields;

/// An entry.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// When it was received, in microseconds since 1970.
    pub realtime_us: u64,
    /// When it was received, in microseconds since the kernel started.
    pub monotonic_us: u64,
    /// Which start of the machine.
    pub boot: Id128,
    /// Its place in the journal.
    pub cursor: String,
    /// Its number.
    pub seqnum: u64,
    /// What the number counts in.
    pub seqnum_id: Id128,
    /// Its fields.
    pub fields: Fields,
}

impl Record {
    /// Reads the entry that the reader stands on.
    pub fn read(&mut self, reader: &mut Reader) -> io::Result<()> {
        self.realtime_us = reader.realtime_us();
        (self.monotonic_us, self.boot) = reader.monotonic();
        self.cursor = reader.cursor();
        self.seqnum = reader.seqnum();
        self.seqnum_id = reader.seqnum_id();
        self.fields.clear();
        let fields = &mut self.fields;
        reader.fields(|name, value| fields.push(name, value))
    }

    /// When it happened, by its sender if that is known.
    pub fn shown_realtime_us(&self) -> u64 {
        self.fields.number("_SOURCE_REALTIME_TIMESTAMP").filter(|us| *us > 0).unwrap_or(self.realtime_us)
    }

    /// When it happened, by the clock of the boot.
    pub fn shown_monotonic_us(&self) -> u64 {
        self.fields.number("_SOURCE_MONOTONIC_TIMESTAMP").unwrap_or(self.monotonic_us)
    }
}
