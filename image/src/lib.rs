//! The library behind the `ferrite` command: builds images for boards.
//!
//! `build` is the whole story; the modules below it are its steps, in the order in which bytes come into being. Nothing
//! needs privilege, and the same inputs give the same bytes, wherever and whenever.

pub mod assemble;
pub mod build;
pub mod plan;
pub mod progress;
pub mod source;
pub mod version;

pub mod manifest;
pub mod packages;
pub mod programs;
pub mod tree;

pub mod cache;
pub mod workshop;

pub mod cpio;
pub mod depmod;
pub mod initrd;
pub mod kernel;

pub mod erofs;
pub mod slot;
pub mod uki;

pub mod disk;
pub mod fat;
pub mod grub;
pub mod loader;
pub mod sparse;
pub mod state;

pub mod convert;
pub mod output;

pub mod key_folder;
pub mod publish;
pub mod release;
pub mod serve;
pub mod updates;
