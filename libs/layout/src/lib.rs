//! The disk: its partitions, the two slots and their flags, verity, and the facts of a boot.
//!
//! The only home of these formats: the image writes them, early boot reads them, the update engine changes them.
//! Everything is pure but the modules that say "acts" in their first line: `bootctl`, `direct`, `durable`, `gpt_write`.

pub mod disk;
pub mod gpt;
pub mod gpt_grow;
pub mod gpt_write;
pub mod read_at;
pub mod verity;

mod keyvalue;

pub mod envblock;
pub mod fat;
pub mod record;
pub mod severity;
pub mod slots;

pub mod aligned;
pub mod bootctl;
pub mod corruption;
pub mod direct;
pub mod durable;
pub mod facts;
mod pieces;
pub mod snapshot;

#[cfg(test)]
mod golden;

pub use disk::Part;
pub use facts::BootFacts;
pub use record::Record;
pub use slots::{Slot, SlotFlags, SlotState};
pub use verity::RootHash;
