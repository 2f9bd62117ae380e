//! What is on a block device: the kind, label and UUID of its file system, read from the first bytes. Pure.
//!
//! `probe` takes the first `PREFIX_BYTES` of the device and never trusts a field of them: a short or hostile prefix is
//! simply not recognised. Labels and UUIDs come out in the form `/dev/disk/by-label` and `by-uuid` are known by.

mod btrfs;
mod erofs;
mod ext;
mod fat;
mod iso9660;
mod luks;
mod swap;
mod windows;
mod xfs;

/// How much of a device `probe` wants to see; a shorter prefix is fine, it only recognises less.
pub const PREFIX_BYTES: usize = 68 * 1024;

/// A file system that `probe` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext2, ext3 or ext4.
    Ext,
    /// FAT12, FAT16 or FAT32.
    Vfat,
    /// EROFS, the root image's own.
    Erofs,
    /// A CD image.
    Iso9660,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// exFAT.
    Exfat,
    /// NTFS.
    Ntfs,
    /// Swap space: not to be mounted.
    Swap,
    /// An encrypted volume: not to be mounted before it is opened.
    Luks,
}

impl Kind {
    /// The name `mount -t` takes; for what cannot be mounted the one that `blkid` has.
    pub fn mount_type(self) -> &'static str {
        match self {
            Self::Ext => "ext4",
            Self::Vfat => "vfat",
            Self::Erofs => "erofs",
            Self::Iso9660 => "iso9660",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Exfat => "exfat",
            Self::Ntfs => "ntfs3",
            Self::Swap => "swap",
            Self::Luks => "crypto_LUKS",
        }
    }
}

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filesystem {
    /// Which file system it is.
    pub kind: Kind,
    /// Its label; `None` when it is empty.
    pub label: Option<String>,
    /// Its UUID or serial number in the usual spelling; `None` when it is all zeros.
    pub uuid: Option<String>,
}

/// Recognises the file system of a device by its first bytes.
pub fn probe(prefix: &[u8]) -> Option<Filesystem> {
    luks::probe(prefix)
        .or_else(|| xfs::probe(prefix))
        // Making swap space overwrites an older ext, but not the other way round.
        .or_else(|| ext::probe(prefix))
        .or_else(|| swap::probe(prefix))
        .or_else(|| erofs::probe(prefix))
        .or_else(|| btrfs::probe(prefix))
        .or_else(|| iso9660::probe(prefix))
        .or_else(|| windows::probe(prefix))
        .or_else(|| fat::probe(prefix))
}

/// `length` bytes at `at`, if the prefix reaches that far.
fn bytes(prefix: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    prefix.get(at..at.checked_add(length)?)
}

fn le16(prefix: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes(prefix, at, 2)?.try_into().ok()?))
}

fn le32(prefix: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes(prefix, at, 4)?.try_into().ok()?))
}

/// The text of a padded field: up to the first NUL, blanks at its end dropped.
fn label(field: &[u8]) -> Option<String> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let text = String::from_utf8_lossy(&field[..end]);
    let text = text.trim_end_matches(' ');
    (!text.is_empty()).then(|| text.to_string())
}

/// 16 bytes as 8-4-4-4-12 lower-case hex digits.
fn uuid(field: &[u8]) -> Option<String> {
    if field.len() != 16 || field.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (position, byte) in field.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_or_blank_device_is_nothing() {
        assert_eq!(probe(&[]), None);
        assert_eq!(probe(&[0; PREFIX_BYTES]), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(data in proptest::collection::vec(any::<u8>(), 0..4096), kind in 0usize..10) {
            let mut prefix = vec![0; PREFIX_BYTES];
            prefix[..data.len()].copy_from_slice(&data);
            let magic: (usize, &[u8]) = [
                (1024 + 0x38, &[0x53, 0xef][..]),
                (1024, &[0xe2, 0xe1, 0xf5, 0xe0][..]),
                (0x8000, b"\x01CD001\x01"),
                (510, &[0x55, 0xaa][..]),
                (0, b"XFSB"),
                (0, b"LUKS\xba\xbe"),
                (4086, b"SWAPSPACE2"),
                (0x10040, b"_BHRfS_M"),
                (3, b"EXFAT   "),
                (3, b"NTFS    "),
            ][kind];
            prefix[magic.0..magic.0 + magic.1.len()].copy_from_slice(magic.1);
            let _found = probe(&prefix);
            let _short = probe(&data);
        }
    }
}
