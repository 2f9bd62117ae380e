//! The unit-file language: names, grammar, values and typed units. Pure: opens no file and asks nobody.
//!
//! Whoever loads units hands in the files through [`load::Files`] and the machine's facts through [`condition::Facts`].

pub mod action;
pub mod address;
pub mod amount;
pub mod automount;
pub mod calendar;
pub mod capability;
pub mod choice;
pub mod civil;
pub mod command;
pub mod condition;
pub mod cpu_set;
pub mod dependency;
pub mod device;
pub mod directives;
pub mod directories;
pub mod elapse;
pub mod environment;
pub mod errno;
pub mod escape;
pub mod exec;
pub mod file;
pub mod file_system;
pub mod graph;
pub mod install;
pub mod kill;
pub mod load;
pub mod mount;
pub mod name;
pub mod names;
pub mod path;
pub mod resources;
pub mod sandbox;
pub mod scope;
pub mod service;
pub mod shared;
pub mod sheet;
pub mod sheet_kinds;
pub mod sheet_service;
pub mod show;
pub mod slice;
pub mod socket;
pub mod specifier;
pub mod swap;
pub mod syscall;
pub mod timer;
pub mod timespan;
pub mod timestamp;
pub mod unescape;
pub mod unit;
pub mod value;
pub mod version;
pub mod words;
pub mod zone;

mod controllers;
mod defaults;
mod directive;
mod implied;
mod lists;
mod mounts_table;
mod resources_table;
mod sandbox_table;
mod section;
mod sheet_exec;
mod sheet_group;
mod show_exec;
mod show_kinds;
mod show_mount;
mod show_resources;
mod show_service;
mod socket_family;
mod socket_table;
mod syscall_groups;
mod syscall_numbers;

#[cfg(test)]
mod context_tests;
#[cfg(test)]
mod kinds_tests;

pub use dependency::Dependency;
pub use load::{Files, LoadPath, Loaded, Loader, Resolution, Stamp};
pub use name::{UnitKind, UnitName};
pub use unit::{Config, LoadState, Unit};
