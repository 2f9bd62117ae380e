//! The ext2/3/4 superblock: 1024 bytes at offset 1024. Pure.

use crate::{Filesystem, Kind, bytes, label, le16, uuid};

const SUPERBLOCK: usize = 1024;
const MAGIC: u16 = 0xef53;

/// Recognises ext2, ext3 and ext4.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if le16(prefix, SUPERBLOCK + 0x38)? != MAGIC {
        return None;
    }
    Some(Filesystem {
        kind: Kind::Ext,
        label: label(bytes(prefix, SUPERBLOCK + 0x78, 16)?),
        uuid: uuid(bytes(prefix, SUPERBLOCK + 0x68, 16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_uuid_of_an_ext4_superblock_are_read() {
        let mut prefix = vec![0; 4096];
        prefix[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        prefix[1024 + 0x68..1024 + 0x78].copy_from_slice(&[0xab; 16]);
        prefix[1024 + 0x78..1024 + 0x7d].copy_from_slice(b"state");
        let found = probe(&prefix).unwrap();
        assert_eq!(found.label.as_deref(), Some("state"));
        assert_eq!(found.uuid.as_deref(), Some("abababab-abab-abab-abab-abababababab"));
    }
}
