//! The superblock of XFS, at the very beginning. Pure.

use crate::{Filesystem, Kind, bytes, label, uuid};

/// Recognises XFS.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if bytes(prefix, 0, 4)? != b"XFSB" {
        return None;
    }
    Some(Filesystem { kind: Kind::Xfs, label: label(bytes(prefix, 108, 12)?), uuid: uuid(bytes(prefix, 32, 16)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_uuid_of_xfs_are_read() {
        let mut prefix = vec![0; 512];
        prefix[..4].copy_from_slice(b"XFSB");
        prefix[32..48].fill(0xab);
        prefix[108..120].copy_from_slice(b"twelve bytes");
        let found = probe(&prefix).unwrap();
        assert_eq!((found.kind, found.label.as_deref()), (Kind::Xfs, Some("twelve bytes")));
        assert_eq!(found.uuid.as_deref(), Some("abababab-abab-abab-abab-abababababab"));
    }
}
