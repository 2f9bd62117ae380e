//! The unit-file language: names, grammar, values and typed units. Pure: opens no file and asks nobody.
//!
//! Whoever loads units hands in the files through [`load::Files`] and the machine's facts through [`condition::Facts`].

pub mod command;
pub mod condition;
pub mod environment;
pub mod escape;
pub mod exec;
pub mod file;
pub mod install;
pub mod kill;
pub mod load;
pub mod mount;
pub mod name;
pub mod service;
pub mod specifier;
pub mod unit;
pub mod value;
pub mod words;

mod defaults;
mod directive;

pub use load::{Files, LoadPath, Loaded, Loader};
pub use name::{UnitKind, UnitName};
pub use unit::{Config, Dependency, LoadState, Unit};
