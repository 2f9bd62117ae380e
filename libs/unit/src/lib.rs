//! The unit-file language: names, grammar, values and typed units. Pure: opens no file and asks nobody.
//!
//! Whoever loads units hands in the files through [`load::Files`] and the machine's facts through [`condition::Facts`].

pub mod address;
pub mod automount;
pub mod command;
pub mod condition;
pub mod device;
pub mod environment;
pub mod escape;
pub mod exec;
pub mod file;
pub mod install;
pub mod kill;
pub mod load;
pub mod mount;
pub mod name;
pub mod path;
pub mod scope;
pub mod service;
pub mod slice;
pub mod socket;
pub mod specifier;
pub mod swap;
pub mod timer;
pub mod unit;
pub mod value;
pub mod words;

mod defaults;
mod directive;
mod socket_table;

#[cfg(test)]
mod kinds_tests;

pub use load::{Files, LoadPath, Loaded, Loader};
pub use name::{UnitKind, UnitName};
pub use unit::{Config, Dependency, LoadState, Unit};
