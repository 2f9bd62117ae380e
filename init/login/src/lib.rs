//! What a person sees before and after login, and the host keys of ssh.
//!
//! `banner` is pure: facts in, text out. `gather` reads the facts, `follow` writes the texts while
//! the machine boots. `host_keys` makes missing keys so that no power cut
//! leaves half a key, and never replaces a key that can be read.

pub mod banner;
pub mod command;
pub mod fingerprint;
pub mod follow;
pub mod gather;
pub mod host_keys;
pub mod private_key;
mod program;

pub use program::main;
