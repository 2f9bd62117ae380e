//! The primary volume descriptor of a CD image, at 32 KiB. Pure.
//!
//! A CD has no UUID; the creation time of the volume stands for it, as blkid and udev have it.

use crate::{Filesystem, Kind, bytes, label};

const DESCRIPTOR: usize = 32 * 1024;

/// Recognises ISO 9660.
pub(crate) fn probe(prefix: &[u8]) -> Option<Filesystem> {
    if bytes(prefix, DESCRIPTOR, 6)? != b"\x01CD001" {
        return None;
    }
    let created = bytes(prefix, DESCRIPTOR + 813, 16)?;
    Some(Filesystem {
        kind: Kind::Iso9660,
        label: label(bytes(prefix, DESCRIPTOR + 40, 32)?),
        uuid: creation_time(created),
    })
}

/// 16 digits `YYYYMMDDhhmmsscc` as `YYYY-MM-DD-hh-mm-ss-cc`.
fn creation_time(digits: &[u8]) -> Option<String> {
    if !digits.iter().all(u8::is_ascii_digit) || digits.iter().all(|digit| *digit == b'0') {
        return None;
    }
    let text: String = digits.iter().map(|digit| char::from(*digit)).collect();
    let part = |from: usize, to: usize| text.get(from..to);
    Some(format!(
        "{}-{}-{}-{}-{}-{}-{}",
        part(0, 4)?,
        part(4, 6)?,
        part(6, 8)?,
        part(8, 10)?,
        part(10, 12)?,
        part(12, 14)?,
        part(14, 16)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_name_and_creation_time_of_a_cd_are_read() {
        let mut prefix = vec![0; crate::PREFIX_BYTES];
        prefix[DESCRIPTOR..DESCRIPTOR + 6].copy_from_slice(b"\x01CD001");
        prefix[DESCRIPTOR + 40..DESCRIPTOR + 72].copy_from_slice(format!("{:32}", "cidata").as_bytes());
        prefix[DESCRIPTOR + 813..DESCRIPTOR + 829].copy_from_slice(b"2026112513450100");
        let found = probe(&prefix).unwrap();
        assert_eq!(found.label.as_deref(), Some("cidata"));
        assert_eq!(found.uuid.as_deref(), Some("2026-11-25-13-45-01-00"));
    }
}
