//! The language of `.network`, `.netdev` and `.link` files: sections, keys, precedence, and what matches a link. Pure.
//!
//! Opens no file: whoever reads a machine hands in the files of all folders (`read`), and asks which one a link gets.
//! One table a section says all its keys; docs/network.md is made from the same tables.

pub mod command_line;
pub mod fault;
pub mod link;
pub mod matching;
pub mod netdev;
pub mod network;
pub mod read;
pub mod route;
pub mod value;

mod key;
mod link_table;
mod netdev_table;
mod network_table;
mod route_table;
mod sections;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;

pub use fault::{Fault, Severity};
pub use link::Link;
pub use matching::{LinkFacts, Match};
pub use netdev::Netdev;
pub use network::Network;
pub use read::{Config, Content, FOLDERS, SourceFile, read};
pub use value::{Mac, Prefixed};
