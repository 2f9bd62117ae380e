//! The boot sector of FAT12, FAT16 and FAT32, and the volume label in the root directory. Pure.
//!
//! FAT has no magic number of its own: the fields of the boot sector must make sense together. The label of the boot
//! sector may be stale; the entry of the root directory wins when the prefix reaches it.

use crate::{Filesystem, Kind, bytes, label, le16, le32};

/// Where the fields of the extended boot record are: FAT32 moved them.
struct Variant {
    signature: usize,
    serial: usize,
    label: usize,
}

const OLD: Variant = Variant { signature: 38, serial: 39, label: 43 };
const FAT32: Variant = Variant { signature: 66, serial: 67, label: 71 };

const DIRECTORY_ENTRY: usize = 32;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
const MAX_ENTRIES: usize = 512;

/// Recognises FAT.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if bytes(prefix, 510, 2)? != [0x55, 0xaa] || !matches!(prefix.first()?, 0xeb | 0xe9) {
        return None;
    }
    let sector_bytes = usize::from(le16(prefix, 11)?);
    let cluster_sectors = usize::from(*prefix.get(13)?);
    let reserved = usize::from(le16(prefix, 14)?);
    let tables = usize::from(*prefix.get(16)?);
    if !matches!(sector_bytes, 512 | 1024 | 2048 | 4096)
        || !cluster_sectors.is_power_of_two()
        || reserved == 0
        || !matches!(tables, 1 | 2)
        || *prefix.get(21)? < 0xf0
    {
        return None;
    }
    let short_table = usize::from(le16(prefix, 22)?);
    let (variant, table_sectors) =
        if short_table == 0 { (FAT32, usize::try_from(le32(prefix, 36)?).ok()?) } else { (OLD, short_table) };
    if !matches!(prefix.get(variant.signature)?, 0x28 | 0x29) {
        return None;
    }
    let root = reserved.checked_add(tables.checked_mul(table_sectors)?)?.checked_mul(sector_bytes)?;
    let serial = le32(prefix, variant.serial)?;
    Some(Filesystem {
        kind: Kind::Vfat,
        label: directory_label(prefix, root).or_else(|| boot_label(prefix, variant.label)),
        uuid: (serial != 0).then(|| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)),
    })
}

fn boot_label(prefix: &[u8], at: usize) -> Option<String> {
    label(bytes(prefix, at, 11)?).filter(|text| text != "NO NAME")
}

/// The name of the first volume-label entry of the root directory.
fn directory_label(prefix: &[u8], root: usize) -> Option<String> {
    for position in 0..MAX_ENTRIES {
        let entry = bytes(prefix, root.checked_add(position * DIRECTORY_ENTRY)?, DIRECTORY_ENTRY)?;
        let attributes = entry[11];
        if entry[0] == 0 {
            return None;
        }
        let is_label = attributes & ATTRIBUTE_LABEL != 0 && attributes & ATTRIBUTE_LONG_NAME != ATTRIBUTE_LONG_NAME;
        if entry[0] != 0xe5 && is_label {
            return label(&entry[..11]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_sector() -> Vec<u8> {
        let mut prefix = vec![0; 8192];
        prefix[0] = 0xeb;
        prefix[11..13].copy_from_slice(&512u16.to_le_bytes());
        prefix[13] = 1;
        prefix[14] = 1;
        prefix[16] = 2;
        prefix[21] = 0xf8;
        prefix[22] = 2;
        prefix[38] = 0x29;
        prefix[39..43].copy_from_slice(&0x1234_abcdu32.to_le_bytes());
        prefix[43..54].copy_from_slice(b"NO NAME    ");
        prefix[510..512].copy_from_slice(&[0x55, 0xaa]);
        prefix
    }

    #[test]
    fn the_label_of_the_root_directory_wins() {
        let mut prefix = boot_sector();
        assert_eq!(probe(&prefix).unwrap().label, None);
        prefix[5 * 512..5 * 512 + 11].copy_from_slice(b"CIDATA     ");
        prefix[5 * 512 + 11] = ATTRIBUTE_LABEL;
        let found = probe(&prefix).unwrap();
        assert_eq!(found.label.as_deref(), Some("CIDATA"));
        assert_eq!(found.uuid.as_deref(), Some("1234-ABCD"));
    }

    #[test]
    fn a_master_boot_record_is_not_fat() {
        let mut prefix = vec![0; 512];
        prefix[0] = 0xeb;
        prefix[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(probe(&prefix), None);
    }
}
