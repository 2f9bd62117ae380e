//! The journal on disk: writes and reads journal files that stock `journalctl --file` also writes and reads.
//!
//! The format is systemd's (keyed hash, compact, zstd for large fields); docs/journal.md says why. Files are read with
//! plain reads; small changes are written through a mapping that turns a bad block into an error, not a signal.
//!
//! Writing: [`Writer::append`] makes an entry visible to readers at once; in a burst, [`Writer::stage`] each entry and
//! [`Writer::flush`] once. [`Writer::sync`] makes everything so far survive a power cut. Reading: [`Reader`] merges all
//! files of its folders and walks them in both directions, through matches.

mod id;
mod limits;
mod name;

mod appender;
mod archive;
mod begin;
mod known;
mod staging;
mod vacuum;
mod writer;

mod blocks;
mod chain;
mod cursor;
mod fault;
mod file;
mod filter;
mod reader;
mod verify;

mod compression;
mod format;
mod hash;

#[cfg(test)]
mod cuts;

pub use fault::Fault;
pub use id::{Id128, Stamp};
pub use limits::Limits;
pub use name::CURRENT;
pub use reader::{Boot, Reader};
pub use vacuum::{Bounds, Vacuumed, vacuum};
pub use verify::verify;
pub use writer::{Note, Writer};
