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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::{Order, Slot, SlotFlags};
    use proptest::prelude::*;

    fn every_state() -> Vec<SlotState> {
        let flags =
            [SlotFlags::Good, SlotFlags::Trying(3), SlotFlags::Trying(2), SlotFlags::Trying(1), SlotFlags::Unusable];
        let mut states = Vec::new();
        for first in Slot::BOTH {
            for a in flags {
                states.extend(flags.map(|b| SlotState { order: Order::beginning_with(first), a, b }));
            }
        }
        states
    }

    #[test]
    fn every_state_is_read_back_and_all_keys_lie_in_the_first_sector() {
        for state in every_state() {
            let block = render(&state);
            assert_eq!(parse(&block), Some(state));
            assert_eq!(parse(&block[..512]), Some(state));
            assert!(writable_by_grub(&block));
            assert!(block[512..].iter().all(|byte| *byte == b'#'));
        }
    }

    #[test]
    fn the_block_is_the_one_that_the_boot_loader_was_tested_with() {
        let text = "# GRUB Environment Block\norder=ab\na_good=1\na_tries=0\nb_good=0\nb_tries=0\nend=1\n";
        let block = render(&SlotState::fresh());
        assert_eq!(&block[..text.len()], text.as_bytes());
        assert_eq!(block[text.len()..], vec![b'#'; 1024 - text.len()]);
    }

    #[test]
    fn a_try_that_grub_spent_in_place_is_read() {
        let state = SlotState::fresh().install_done(Slot::B);
        let mut block = render(&state).to_vec();
        let at = block.windows(9).position(|window| window == b"b_tries=3").expect("the key is there");
        block[at + 8] = b'2';
        assert_eq!(parse(&block), Some(state.with(Slot::B, SlotFlags::Trying(2))));
    }

    #[test]
    fn a_torn_copy_is_not_believed() {
        let block = render(&SlotState::fresh());
        let text = block.iter().rposition(|byte| *byte == b'\n').expect("it has lines") + 1;
        for cut in 0..text {
            let mut torn = block;
            torn[cut..].fill(0);
            assert_eq!(parse(&torn), None, "cut at {cut}");
            assert!(!writable_by_grub(&torn));
        }
        assert_eq!(parse(&[0; 1024]), None);
        assert_eq!(parse(&[0xff; 1024]), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn strange_values_count_as_the_boot_loader_counts_them() {
        let block = b"# GRUB Environment Block\norder=xx\na_good=yes\na_tries=7\nb_good=1\nb_tries=\nend=1\n####";
        let state = SlotState { order: Order::beginning_with(Slot::A), a: SlotFlags::Unusable, b: SlotFlags::Good };
        assert_eq!(parse(block), Some(state));
    }

    proptest! {
        #[test]
        fn hostile_copies_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..1100),
            signed in any::<bool>(),
        ) {
            if signed {
                bytes.splice(0..0, ENV_SIGNATURE.iter().copied());
            }
            let _ = (parse(&bytes), writable_by_grub(&bytes));
        }
    }
}
