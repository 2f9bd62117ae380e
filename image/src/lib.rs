//! The library behind the `ferrite` command: builds images for boards.
//!
//! `build` is the whole story; the modules below it are its steps, in the order in which bytes come into being. Nothing
//! needs privilege, and the same inputs give the same bytes, wherever and whenever.

pub mod packages;
pub mod tree;
pub mod manifest;

pub mod plan;
pub mod assemble;
pub mod cache;
pub mod workshop;

pub mod depmod;
pub mod kernel;
pub mod cpio;
pub mod initrd;

pub mod erofs;
pub mod uki;
pub mod slot;

pub mod grub;
pub mod fat;
pub mod loader;
pub mod state;
pub mod disk;
