//! The library behind the `ferrite` command: builds images for boards.

pub mod packages;
pub mod tree;
pub mod manifest;
