//! The GRUB environment block that holds the slot flags: 1024 bytes, of which only the first sector ever changes. Pure.
//!
//! A copy is believed only with `end=1`, its last line: a torn copy has none. GRUB is lenient about everything else,
//! and so is this reader: both must come to the same flags.

use crate::disk::SECTOR_BYTES;
use crate::gpt::Sector;
use crate::keyvalue;
use crate::slots::SlotState;

/// Bytes of a copy.
pub const ENV_BYTES: usize = 1024;
/// First line of a copy.
pub const ENV_SIGNATURE: &[u8] = b"# GRUB Environment Block\n";

/// Reads the first 512 or all 1024 bytes of a copy. `None`: torn or not a copy.
pub fn parse(bytes: &[u8]) -> Option<SlotState> {
    let body = bytes.strip_prefix(ENV_SIGNATURE)?;
    let text = body.split(|byte| *byte == b'#').next().unwrap_or_default();
    let pairs = keyvalue::parse(std::str::from_utf8(text).ok()?);
    (pairs.get("end") == Some(&"1")).then(|| SlotState::from_pairs(&pairs))
}

/// Whether GRUB could write to this copy: the rest of it is all padding.
pub fn writable_by_grub(bytes: &[u8]) -> bool {
    let text_end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.len() == ENV_BYTES && text_end <= SECTOR_BYTES as usize && bytes[text_end..].iter().all(|byte| *byte == b'#')
}

/// The first sector of a copy; what follows is all `#`.
pub fn render_sector(state: &SlotState) -> Sector {
    let mut sector = [b'#'; SECTOR_BYTES as usize];
    let mut text = ENV_SIGNATURE.to_vec();
    for (key, value) in state.pairs() {
        text.extend_from_slice(format!("{key}={value}\n").as_bytes());
    }
    text.extend_from_slice(b"end=1\n");
    for (place, byte) in sector.iter_mut().zip(text) {
        *place = byte;
    }
    sector
}

/// A whole copy.
pub fn render(state: &SlotState) -> [u8; ENV_BYTES] {
    let mut block = [b'#'; ENV_BYTES];
    block[..SECTOR_BYTES as usize].copy_from_slice(&render_sector(state));
    block
}
