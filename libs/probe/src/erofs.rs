//! The EROFS superblock at offset 1024. Pure.

use crate::{Filesystem, Kind, bytes, label, le32, uuid};

const SUPERBLOCK: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;

/// Recognises EROFS.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if le32(prefix, SUPERBLOCK)? != MAGIC {
        return None;
    }
    Some(Filesystem {
        kind: Kind::Erofs,
        uuid: uuid(bytes(prefix, SUPERBLOCK + 48, 16)?),
        label: label(bytes(prefix, SUPERBLOCK + 64, 16)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_uuid_of_an_erofs_superblock_are_read() {
        let mut prefix = vec![0; 2048];
        prefix[1024..1028].copy_from_slice(&MAGIC.to_le_bytes());
        prefix[1024 + 48] = 1;
        prefix[1024 + 64..1024 + 68].copy_from_slice(b"root");
        let found = probe(&prefix).unwrap();
        assert_eq!(found.label.as_deref(), Some("root"));
        assert_eq!(found.uuid.as_deref(), Some("01000000-0000-0000-0000-000000000000"));
    }
}
