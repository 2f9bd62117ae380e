//! The slots of a running machine: which one runs, which one starts next, and why the machine fell back.
//!
//! `status` is pure and works for everybody; `change` decides what is written to the boot control partition and writes
//! it. Nothing here ever touches the contents of a slot.

pub mod change;
pub mod command;
pub mod paths;
pub mod status;
