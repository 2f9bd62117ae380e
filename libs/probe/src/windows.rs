//! exFAT and NTFS, as sticks from other systems have them: told by their boot sectors. Pure.
//!
//! Their labels are files in the file system, which is not read here.

use crate::{Filesystem, Kind, bytes, le32};

/// Recognises exFAT and NTFS.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    let serial = |text: String, is_set: bool| is_set.then_some(text);
    match bytes(prefix, 3, 8)? {
        b"EXFAT   " => {
            let number = le32(prefix, 100)?;
            let text = format!("{:04X}-{:04X}", number >> 16, number & 0xffff);
            Some(Filesystem { kind: Kind::Exfat, label: None, uuid: serial(text, number != 0) })
        }
        b"NTFS    " => {
            let number = u64::from_le_bytes(bytes(prefix, 0x48, 8)?.try_into().ok()?);
            Some(Filesystem { kind: Kind::Ntfs, label: None, uuid: serial(format!("{number:016X}"), number != 0) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_of_exfat_and_ntfs_are_read() {
        let mut prefix = vec![0; 512];
        prefix[3..11].copy_from_slice(b"EXFAT   ");
        prefix[100..104].copy_from_slice(&0x1234_abcd_u32.to_le_bytes());
        assert_eq!(probe(&prefix).unwrap().uuid.as_deref(), Some("1234-ABCD"));
        prefix[3..11].copy_from_slice(b"NTFS    ");
        prefix[0x48..0x50].copy_from_slice(&0x0123_4567_89ab_cdef_u64.to_le_bytes());
        let found = probe(&prefix).unwrap();
        assert_eq!((found.kind, found.uuid.as_deref()), (Kind::Ntfs, Some("0123456789ABCDEF")));
    }
}
