//! The header of an encrypted volume, LUKS version 1 or 2. Pure.

use crate::{Filesystem, Kind, bytes, label};

/// Recognises LUKS; its UUID is text, and only version 2 has a label.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if bytes(prefix, 0, 6)? != b"LUKS\xba\xbe" {
        return None;
    }
    let version = u16::from_be_bytes(bytes(prefix, 6, 2)?.try_into().ok()?);
    let name = if version == 2 { label(bytes(prefix, 24, 48)?) } else { None };
    Some(Filesystem { kind: Kind::Luks, label: name, uuid: label(bytes(prefix, 168, 40)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_and_uuid_of_both_versions_are_read() {
        let mut prefix = vec![0; 512];
        prefix[..6].copy_from_slice(b"LUKS\xba\xbe");
        prefix[168..176].copy_from_slice(b"0a1b2c3d");
        prefix[24..27].copy_from_slice(b"aes");
        for (version, name) in [(1, None), (2, Some("aes"))] {
            prefix[7] = version;
            let found = probe(&prefix).unwrap();
            assert_eq!((found.label.as_deref(), found.uuid.as_deref()), (name, Some("0a1b2c3d")));
        }
    }
}
