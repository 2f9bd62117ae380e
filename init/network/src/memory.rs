//! What a daemon that starts again in the same boot must know and cannot ask the kernel for: what routers said, and
//! which links were switched off already. Pure.
//!
//! It lies in /run beside the report, so that a boot begins without it; times are those of the clock since boot.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::router::Learned;

/// Bytes at most that are read back.
pub(crate) const MAX_BYTES: u64 = 4 << 20;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// By the index of the link.
    pub routers: BTreeMap<u32, Learned>,
    /// Links with `ActivationPolicy=down` that had their turn.
    pub switched_off: BTreeSet<u32>,
}

impl Memory {
    /// Reads it; a missing or damaged file is none.
    pub(crate) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Its text.
    pub(crate) fn render(&self) -> String {
        // Numbers, addresses and names always are texts.
        serde_json::to_string(self).map(|text| text + "\n").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_nothing() {
        let memory = Memory { routers: BTreeMap::from([(7, Learned::default())]), switched_off: BTreeSet::from([3]) };
        assert_eq!(Memory::parse(&memory.render()), memory);
        for text in ["", "{", "{\"routers\":7}", "\0"] {
            assert_eq!(Memory::parse(text), Memory::default(), "{text:?}");
        }
    }
}
