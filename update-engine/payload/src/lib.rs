//! The signed payload and the documents around it: one home for what the build host writes and the machine reads.
//!
//! Nothing here opens a file or a connection: readers and writers are handed in. Nothing that came from outside is
//! parsed before its signatures were checked, but for lengths, which have named limits (`limits`). Times are seconds
//! since 1970, serials are the numbers that releases are compared by.

pub mod limits;

pub mod hash;
pub mod key;
pub mod signature;

pub mod channel;
mod document;
pub mod key_set;

pub mod decode;
pub mod manifest;
pub mod open;
mod wire;

pub mod blocks;
pub mod pack;

pub use channel::Channel;
pub use hash::Hash;
pub use key::{PublicKey, SecretKey};
pub use key_set::{KeySet, Role};
pub use manifest::{Manifest, Op, OpKind, Part, PartRole};
pub use open::Verified;
