//! The two hashes of the format. Pure.
//!
//! The hash tables use SipHash-2-4 keyed with the file id (files of old systemd: lookup3); the hash over a whole entry
//! is made of lookup3 in either case, so that the same entry has the same hash in every file.

use siphasher::sip::SipHasher24;

use crate::id::Id128;

/// The keyed hash of the tables.
pub(crate) fn keyed(file_id: Id128, bytes: &[u8]) -> u64 {
    SipHasher24::new_with_key(&file_id.0).hash(bytes)
}

/// Bob Jenkins' lookup3 in the form with two results, the first in the upper half.
pub(crate) fn lookup3(bytes: &[u8]) -> u64 {
    // The length counts modulo 2^32 by definition of the hash.
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let mut state = [start; 3];
    let mut rest = bytes;
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = after;
    }
    if !rest.is_empty() {
        let mut block = [0; 12];
        block[..rest.len()].copy_from_slice(rest);
        add(&mut state, &block);
        finish(&mut state);
    }
    u64::from(state[2]) << 32 | u64::from(state[1])
}

fn add(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks_exact(4)) {
        *word = word.wrapping_add(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    }
}

/// One row of the mixing: `x -= z; x ^= z rotated; z += y`, with the three words taking turns.
fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for (first, second, third) in [(4, 6, 8), (16, 19, 4)] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    *state = [a, b, c];
}

fn finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup3_gives_its_authors_values() {
        // The self-test of lookup3.c: seeds 0 and 0.
        assert_eq!(lookup3(b""), 0xdead_beef_dead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551_ce72_26e6);
    }

    #[test]
    fn the_keyed_hash_is_siphash_2_4() {
        // The first and the last vector of the SipHash paper's reference program.
        let key = Id128(std::array::from_fn(|index| u8::try_from(index).unwrap_or(0)));
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(keyed(key, &message), 0xa129_ca61_49be_45e5);
        assert_eq!(keyed(key, b""), 0x726f_db47_dd0e_0e31);
    }
}
