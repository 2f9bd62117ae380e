//! Swap space: a mark at the end of its first page, which is 4 KiB here. Pure.

use crate::{Filesystem, Kind, bytes, label, uuid};

const MARK_AT: usize = 4096 - 10;
const UUID_AT: usize = 1024 + 12;
const LABEL_AT: usize = 1024 + 28;

/// Recognises swap space of version 1.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if bytes(prefix, MARK_AT, 10)? != b"SWAPSPACE2" {
        return None;
    }
    Some(Filesystem {
        kind: Kind::Swap,
        label: label(bytes(prefix, LABEL_AT, 16)?),
        uuid: uuid(bytes(prefix, UUID_AT, 16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_uuid_of_a_swap_space_are_read() {
        let mut prefix = vec![0; 4096];
        prefix[MARK_AT..].copy_from_slice(b"SWAPSPACE2");
        prefix[UUID_AT..UUID_AT + 16].fill(0xab);
        prefix[LABEL_AT..LABEL_AT + 3].copy_from_slice(b"swp");
        let found = probe(&prefix).unwrap();
        assert_eq!((found.kind, found.label.as_deref()), (Kind::Swap, Some("swp")));
        assert_eq!(found.uuid.as_deref(), Some("abababab-abab-abab-abab-abababababab"));
        assert_eq!(probe(&prefix[..4095]), None);
    }
}
