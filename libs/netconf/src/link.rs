//! A `.link` file, typed: what is set on a link as soon as it appears. Pure.

use crate::matching::{Match, Matches};
use crate::value::Mac;

/// `MACAddressPolicy=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MacPolicy {
    /// As it is.
    #[default]
    None,
    /// The same at every boot.
    Persistent,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its name.
    pub file: String,
    /// Where it is.
    pub path: String,
    /// It cannot be used.
    pub broken: bool,
    /// How many of its lines are wrong.
    pub errors: usize,
    /// Which links it is for.
    pub matching: Match,
    /// The name to give.
    pub name: Option<String>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// The hardware address.
    pub mac: Option<Mac>,
    /// How the hardware address is made.
    pub mac_policy: MacPolicy,
    /// A description in the kernel.
    pub alias: Option<String>,
}

impl Matches for Link {
    fn matching(&mut self) -> &mut Match {
        &mut self.matching
    }
}
