//! Kernel modules: the index files of a kernel, and which modules to load in which order.
//!
//! Writer (`ferrite`, when it builds an image) and readers (early boot, ferrite-devices) share this
//! crate. Everything is pure but `Catalog::read`, which opens the index files of a folder.

pub mod alias;
pub mod catalog;
pub mod index;
pub mod kmod_index;
pub mod name;
pub mod parameters;
pub mod plan;
pub mod trie;

pub use catalog::Catalog;
pub use name::ModuleName;
pub use plan::{Need, Step};
