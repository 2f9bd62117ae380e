//! Updates of a running machine, and its slots: which one runs, which one starts next, why the machine fell back.
//!
//! `ferrite-slots` (`command`) shows and changes the slots' flags and marks a slot good; `update-engine` (`daemon`)
//! looks for releases, installs and restarts; its clients are in `client`. What decides is pure: `status` and
//! `change` for the flags, `choose`, `plan` and `schedule` for updates, `gate` for a slot under test. What acts is
//! thin: `check` asks a published directory, `install` writes the slot that does not run, and nothing else touches
//! the contents of a slot.

pub mod change;
pub mod command;
pub mod paths;
pub mod status;

pub mod config;
pub mod machine;
pub mod window;

pub mod choose;
pub mod plan;
pub mod schedule;

pub mod confirm;
pub mod gate;

pub mod check;
pub mod http;
pub mod omaha;
pub mod source;

pub mod devices;
pub mod disk;
pub mod install;
pub mod progress;
mod read_ahead;
mod same;
mod uncached;
mod writer;

pub mod daemon;
pub mod engine;
pub mod settle;

pub mod fleet_lock;
pub mod host;
pub mod lock;
pub mod people;
pub mod places;
pub mod protocol;
pub mod steered;
pub mod store;
pub mod view;
pub mod worker;

pub mod bar;
pub mod client;
pub mod compatible;
pub mod talk;
