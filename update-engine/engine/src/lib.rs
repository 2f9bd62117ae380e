//! Updates of a running machine, and its slots: which one runs, which one starts next, why the machine fell back.
//!
//! `status` is pure and works for everybody; `change` decides what is written to the boot control partition and writes
//! it. Of an update, `choose` and `plan` decide and are pure; `check` asks a published directory, `install` writes the
//! slot that does not run, and nothing else here touches the contents of a slot.

pub mod change;
pub mod command;
pub mod paths;
pub mod status;

pub mod machine;

pub mod choose;
pub mod plan;

pub mod check;
pub mod http;
pub mod source;

pub mod disk;
pub mod install;
pub mod progress;
