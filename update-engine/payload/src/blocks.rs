//! Decides which bytes of a part are zeros, which ones the base has too, and which must be sent. Pure, but for the
//! readers that are handed in.
//!
//! It compares blocks of 4 KiB wherever they lie in the base, and knows no file system: EROFS and FAT begin each file
//! at such a block. For bytes that must be sent it says where in the base their older form probably lies: between
//! what was found before and after them.

use std::collections::HashMap;
use std::io;

use ferrite_layout::read_at::ReadAt;
use sha2::{Digest, Sha256};

use crate::limits::{OP_DELTA_BYTES_MAX, OP_OUTPUT_BYTES_MAX};

/// What is compared.
pub const BLOCK_BYTES: u64 = 4096;
/// Shorter runs of known blocks cost more as operations of their own than inside their neighbours.
const COPY_BLOCKS_MIN: u64 = 4;
/// The same for zeros.
const ZERO_BLOCKS_MIN: u64 = 16;
/// Bytes of the base that one patch looks at; more would need more memory on the machine than is promised.
const WINDOW_BYTES_MAX: u64 = 12 << 20;
/// Bytes of the base around the place where the older form should lie.
const MARGIN_BYTES: u64 = 256 << 10;

/// A stretch of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins in the part.
    pub offset: u64,
    /// Its length: at most what one operation makes.
    pub length: u32,
    /// What it is.
    pub content: Content,
}

/// What a stretch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Zeros.
    Zero,
    /// The bytes of the base from here.
    Same(u64),
    /// Something else, and which bytes of the base may help: from, how many.
    New(Option<(u64, u32)>),
}

/// An image with its length.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Its bytes.
    pub bytes: &'a (dyn ReadAt + Sync),
    /// How many.
    pub size: u64,
}

type Sum = [u8; 16];

/// What a block is, for itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zero,
    Same(u64),
    New,
}

struct Run {
    kind: Kind,
    first: u64,
    blocks: u64,
}

/// Cuts a part into stretches, in order and without gaps.
pub fn stretches(part: Image, base: Option<Image>) -> io::Result<Vec<Stretch>> {
    let longest = if base.is_some() { OP_DELTA_BYTES_MAX } else { OP_OUTPUT_BYTES_MAX };
    let index = base.map(Index::read).transpose()?;
    let runs = merge(runs(part, index.as_ref())?);
    let mut stretches = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let begin = run.first * BLOCK_BYTES;
        let end = (begin + run.blocks * BLOCK_BYTES).min(part.size);
        let region = base.and_then(|base| older_form(&runs, number, begin, end, base.size));
        let mut offset = begin;
        while offset < end {
            let length = (end - offset).min(u64::from(longest));
            let content = match run.kind {
                Kind::Zero => Content::Zero,
                Kind::Same(first) => Content::Same(first * BLOCK_BYTES + offset - begin),
                Kind::New => {
                    let share = (offset - begin, length, end - begin);
                    Content::New(region.zip(base).and_then(|(region, base)| window(region, share, base.size)))
                }
            };
            stretches.push(Stretch { offset, length: length as u32, content });
            offset += length;
        }
    }
    Ok(stretches)
}

/// Every block of the base: by number, and the first place of each content.
struct Index {
    sums: Vec<Sum>,
    places: HashMap<Sum, u64>,
}

impl Index {
    fn read(base: Image) -> io::Result<Index> {
        let mut index = Index { sums: Vec::new(), places: HashMap::new() };
        each_block(base, |block| {
            let sum = sum(block);
            let number = index.sums.len() as u64;
            index.sums.push(sum);
            if block.len() as u64 == BLOCK_BYTES {
                index.places.entry(sum).or_insert(number);
            }
        })?;
        Ok(index)
    }

    /// Where the block lies in the base: best right behind the one before.
    fn find(&self, sum: &Sum, behind: Option<u64>) -> Option<u64> {
        let next = behind.map(|block| block + 1);
        let follows = next.filter(|next| self.sums.get(*next as usize) == Some(sum));
        follows.or_else(|| self.places.get(sum).copied())
    }
}

fn runs(part: Image, index: Option<&Index>) -> io::Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut number = 0;
    each_block(part, |block| {
        let behind = match runs.last() {
            Some(Run { kind: Kind::Same(first), blocks, .. }) => Some(first + blocks - 1),
            Some(_) | None => None,
        };
        let whole = block.len() as u64 == BLOCK_BYTES;
        let kind = match index {
            _ if block.iter().all(|byte| *byte == 0) => Kind::Zero,
            Some(index) if whole => index.find(&sum(block), behind).map_or(Kind::New, Kind::Same),
            Some(_) | None => Kind::New,
        };
        match runs.last_mut() {
            Some(run) if continues(run, kind) => run.blocks += 1,
            Some(_) | None => runs.push(Run { kind, first: number, blocks: 1 }),
        }
        number += 1;
    })?;
    Ok(runs)
}

fn continues(run: &Run, kind: Kind) -> bool {
    match (run.kind, kind) {
        (Kind::Zero, Kind::Zero) | (Kind::New, Kind::New) => true,
        (Kind::Same(first), Kind::Same(here)) => first + run.blocks == here,
        (Kind::Zero | Kind::New | Kind::Same(_), _) => false,
    }
}

/// Takes runs that are too short for an operation of their own into their neighbours.
fn merge(runs: Vec<Run>) -> Vec<Run> {
    let mut merged: Vec<Run> = Vec::new();
    for run in runs {
        let kind = match run.kind {
            Kind::Zero if run.blocks < ZERO_BLOCKS_MIN => Kind::New,
            Kind::Same(_) if run.blocks < COPY_BLOCKS_MIN => Kind::New,
            kind => kind,
        };
        match merged.last_mut() {
            Some(last) if last.kind == Kind::New && kind == Kind::New => last.blocks += run.blocks,
            Some(_) | None => merged.push(Run { kind, ..run }),
        }
    }
    merged
}

/// Where in the base the older form of new bytes begins and ends: between what surrounds them, if that makes sense.
fn older_form(runs: &[Run], number: usize, begin: u64, end: u64, base_size: u64) -> Option<(u64, u64)> {
    let before = runs.iter().take(number).rev().find_map(|run| match run.kind {
        Kind::Same(first) => Some((first + run.blocks) * BLOCK_BYTES),
        Kind::Zero | Kind::New => None,
    });
    let after = runs.iter().skip(number + 1).find_map(|run| match run.kind {
        Kind::Same(first) => Some(first * BLOCK_BYTES),
        Kind::Zero | Kind::New => None,
    });
    let length = end - begin;
    let from = before.unwrap_or(begin).min(base_size);
    let to = after.filter(|after| (from..=from + 2 * length + WINDOW_BYTES_MAX).contains(after));
    let to = to.unwrap_or(from + length).min(base_size);
    (base_size > 0).then_some((from, to))
}

/// The part of the older form that belongs to a share (offset, length, of) of the new bytes, with a margin.
fn window((from, to): (u64, u64), (offset, length, whole): (u64, u64, u64), base_size: u64) -> Option<(u64, u32)> {
    let scale = |at: u64| from + ((to - from) as u128 * at as u128 / whole.max(1) as u128) as u64;
    let (begin, end) = (scale(offset), scale(offset + length));
    // A share at the same distance from the start fits where something was only added behind.
    let begin = begin.min(from + offset).saturating_sub(MARGIN_BYTES);
    let end = end.max(begin + length + 2 * MARGIN_BYTES).saturating_add(MARGIN_BYTES).min(base_size);
    let end = end.min(begin + WINDOW_BYTES_MAX);
    let length = end.checked_sub(begin).filter(|length| *length > 0)?;
    u32::try_from(length).ok().map(|length| (begin, length))
}

fn each_block(image: Image, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 256 * BLOCK_BYTES as usize];
    let mut offset = 0;
    while offset < image.size {
        let length = (image.size - offset).min(buffer.len() as u64);
        let piece = buffer.get_mut(..length as usize).unwrap_or_default();
        image.bytes.read_exact_at(piece, offset)?;
        piece.chunks(BLOCK_BYTES as usize).for_each(&mut visit);
        offset += length;
    }
    Ok(())
}

fn sum(block: &[u8]) -> Sum {
    let hash: [u8; 32] = Sha256::digest(block).into();
    let mut sum = [0; 16];
    sum.copy_from_slice(&hash[..16]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: usize = BLOCK_BYTES as usize;

    fn noise(seed: u64, blocks: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..blocks * BLOCK).map(|_| byte()).collect()
    }

    fn cut(part: &Vec<u8>, base: Option<&Vec<u8>>) -> Vec<Stretch> {
        fn image(bytes: &Vec<u8>) -> Image<'_> {
            Image { bytes, size: bytes.len() as u64 }
        }
        stretches(image(part), base.map(image)).expect("memory can be read")
    }

    fn assert_covers(stretches: &[Stretch], size: usize) {
        let end = stretches.iter().fold(0, |end, stretch| {
            assert_eq!(stretch.offset, end);
            assert!((1..=OP_OUTPUT_BYTES_MAX).contains(&stretch.length));
            end + u64::from(stretch.length)
        });
        assert_eq!(end, size as u64);
    }

    #[test]
    fn what_moved_is_found_and_what_is_new_knows_its_older_place() {
        let base = noise(1, 64);
        let part = [&base[20 * BLOCK..40 * BLOCK], &noise(2, 3), &base[44 * BLOCK..64 * BLOCK]].concat();
        let stretches = cut(&part, Some(&base));
        assert_covers(&stretches, part.len());
        let [first, middle, last] = stretches[..] else { panic!("three stretches: {stretches:?}") };
        assert_eq!(first.content, Content::Same(20 * BLOCK_BYTES));
        assert_eq!(last.content, Content::Same(44 * BLOCK_BYTES));
        let Content::New(Some((from, length))) = middle.content else { panic!("{middle:?}") };
        assert!(from <= 40 * BLOCK_BYTES && from + u64::from(length) >= 44 * BLOCK_BYTES);
    }

    #[test]
    fn short_runs_join_their_neighbours_and_long_ones_are_cut() {
        let base = noise(1, 8);
        let part = [&noise(2, 4), &base[..2 * BLOCK], &noise(3, 4), &vec![0; 3 * BLOCK], &noise(4, 1)].concat();
        assert_eq!(cut(&part, Some(&base)).len(), 1);
        let zeros = vec![0; 9 << 20];
        for (base, pieces) in [(None, 2), (Some(&base), 3)] {
            let stretches = cut(&zeros, base);
            assert_covers(&stretches, zeros.len());
            assert!(stretches.len() == pieces && stretches.iter().all(|stretch| stretch.content == Content::Zero));
        }
    }

    #[test]
    fn an_odd_end_an_empty_base_and_a_shorter_base_do_no_harm() {
        let part = noise(1, 3)[..2 * BLOCK + 512].to_vec();
        for base in [Vec::new(), noise(2, 1), part.clone(), noise(3, 9)] {
            let stretches = cut(&part, Some(&base));
            assert_covers(&stretches, part.len());
            for stretch in stretches {
                let (from, length) = match stretch.content {
                    Content::Same(from) => (from, stretch.length),
                    Content::New(Some(window)) => window,
                    Content::New(None) | Content::Zero => continue,
                };
                assert!(from + u64::from(length) <= base.len() as u64);
            }
        }
    }
}
