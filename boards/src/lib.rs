//! What kind of machine an image is for: boards are data, read from one YAML file each.
//!
//! `Board::load` opens the file and those it extends; everything else is pure. No crate matches on a board's name:
//! whatever differs between two boards has a key here.

mod board;
mod glob;
mod merge;
mod raw;

pub use board::{Board, Compression, DiskSizes, Group, Link, Package, User};
pub use glob::Glob;
pub use merge::BoardError;
