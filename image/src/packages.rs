//! Debian packages without Debian's package manager: resolve, lock, fetch, unpack, and choose what enters the image.
//!
//! No maintainer script is run and nothing needs privilege. The steps, in order: `mirror` finds the archive,
//! `resolve` asks a private apt for versions (only for `ferrite lock`), `lock` keeps them, `store` fetches and
//! unpacks what the lock names, `compose` makes the tree of a board out of it, `tools` runs programs of the build
//! itself.

mod closure;
pub mod compose;
pub mod lock;
pub mod mirror;
pub mod renew;
pub mod resolve;
mod select;
mod skeleton;
pub mod store;
pub mod tools;
mod unpack;
mod users;
