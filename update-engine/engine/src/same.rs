//! Whether bytes that pass are those that the operations of a part make. Pure.

use ferrite_payload::{Hash, Op, OpKind};
use sha2::{Digest, Sha256};

use crate::uncached::ZEROS;

/// Compares the bytes of a part, piece by piece, with the signed sums of its operations, which cover it without a gap.
/// Zeros are compared with zeros, which takes a tenth of the time of a sum.
pub(crate) struct Same<'a, I> {
    ops: I,
    /// The operation whose bytes pass, and how many of them are to come.
    now: Option<(&'a Op, usize)>,
    hasher: Sha256,
    differs: bool,
}

impl<'a, I: Iterator<Item = &'a Op>> Same<'a, I> {
    pub(crate) fn new(mut ops: I) -> Self {
        let now = ops.next().map(|op| (op, op.length as usize));
        Self { ops, now, hasher: Sha256::new(), differs: false }
    }

    /// The next bytes of the part.
    pub(crate) fn take(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let Some((op, left)) = self.now else {
                self.differs = true;
                return;
            };
            let (these, rest) = piece.split_at_checked(left).unwrap_or((piece, &[]));
            match op.kind {
                OpKind::Zero => self.differs |= !is_zero(these),
                OpKind::Copy | OpKind::Zstd | OpKind::Patch => self.hasher.update(these),
            }
            piece = rest;
            self.now = match left - these.len() {
                0 => self.end(op),
                left => Some((op, left)),
            };
        }
    }

    fn end(&mut self, op: &Op) -> Option<(&'a Op, usize)> {
        if op.kind != OpKind::Zero {
            self.differs |= Hash::from_bytes(self.hasher.finalize_reset().into()) != op.sha256;
        }
        self.ops.next().map(|op| (op, op.length as usize))
    }

    /// All bytes have passed, and were the right ones.
    pub(crate) fn is_all(&self) -> bool {
        self.now.is_none() && !self.differs
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.get(..chunk.len()) == Some(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(kind: OpKind, offset: u64, bytes: &[u8]) -> Op {
        Op {
            part: 0,
            kind,
            offset,
            length: bytes.len() as u32,
            base_offset: 0,
            base_length: 0,
            blob_length: 0,
            blob_sha256: Hash::default(),
            sha256: Hash::of(bytes),
        }
    }

    fn is_same(ops: &[Op], bytes: &[u8], piece: usize) -> bool {
        let mut same = Same::new(ops.iter());
        bytes.chunks(piece).for_each(|piece| same.take(piece));
        same.is_all()
    }

    #[test]
    fn every_changed_missing_or_further_byte_is_noticed_however_the_bytes_are_cut() {
        let parts: [(OpKind, Vec<u8>); 4] = [
            (OpKind::Zstd, (0..100).collect()),
            (OpKind::Zero, vec![0; 70]),
            (OpKind::Zero, vec![0; 30]),
            (OpKind::Patch, vec![9; 50]),
        ];
        let good: Vec<u8> = parts.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut offset = 0;
        let ops = parts.map(|(kind, bytes)| {
            offset += bytes.len() as u64;
            op(kind, offset - bytes.len() as u64, &bytes)
        });
        for piece in [1, 7, 50, 100, 170, 1000] {
            assert!(is_same(&ops, &good, piece), "{piece}");
            for at in 0..good.len() {
                let mut changed = good.clone();
                changed[at] ^= 1;
                assert!(!is_same(&ops, &changed, piece), "byte {at} in pieces of {piece}");
            }
            assert!(!is_same(&ops, &good[..good.len() - 1], piece));
            assert!(!is_same(&ops, &[&good[..], &[0]].concat(), piece));
            assert!(!is_same(&ops, &[], piece));
        }
    }

    #[test]
    fn long_zeros_are_looked_at_to_their_end() {
        let mut bytes = vec![0; ZEROS.len() * 2 + 10];
        assert!(is_zero(&bytes));
        *bytes.last_mut().expect("a byte") = 1;
        assert!(!is_zero(&bytes));
    }
}
