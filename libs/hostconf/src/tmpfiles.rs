//! tmpfiles.d: files, folders, links and devices that are made, changed, cleaned and removed. Lines are read, merged
//! and ordered into steps. Pure: what is on the disk is looked at by whoever carries the steps out.

pub mod acl;
pub mod attributes;
pub mod item;
pub mod parse;
pub mod plan;

pub use item::{Age, Data, Item, Kind, Mode, Owner, Times};
pub use parse::{Machine, Options};
pub use plan::{Operations, Rules, Step};
