//! The first superblock of btrfs, 64 KiB into the device. Pure.

use crate::{Filesystem, Kind, bytes, label, uuid};

const SUPERBLOCK: usize = 64 * 1024;

/// Recognises btrfs; every device of one file system has its label and UUID.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if bytes(prefix, SUPERBLOCK + 0x40, 8)? != b"_BHRfS_M" {
        return None;
    }
    Some(Filesystem {
        kind: Kind::Btrfs,
        label: label(bytes(prefix, SUPERBLOCK + 0x12b, 256)?),
        uuid: uuid(bytes(prefix, SUPERBLOCK + 0x20, 16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_uuid_of_btrfs_are_read() {
        let mut prefix = vec![0; crate::PREFIX_BYTES];
        prefix[SUPERBLOCK + 0x40..SUPERBLOCK + 0x48].copy_from_slice(b"_BHRfS_M");
        prefix[SUPERBLOCK + 0x20..SUPERBLOCK + 0x30].fill(0xab);
        prefix[SUPERBLOCK + 0x12b..SUPERBLOCK + 0x12f].copy_from_slice(b"pool");
        let found = probe(&prefix).unwrap();
        assert_eq!((found.kind, found.label.as_deref()), (Kind::Btrfs, Some("pool")));
        assert_eq!(found.uuid.as_deref(), Some("abababab-abab-abab-abab-abababababab"));
    }
}
