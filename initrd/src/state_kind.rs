//! What the state partition holds, and what to do when it cannot be mounted. Pure.
//!
//! A file system is made only where there is nothing: zeros, or what an earlier start left behind when it was
//! cut off while it made one. Anything else that cannot be read is somebody's data and stays untouched.

/// How much of the beginning must be zero to count as nothing.
pub const HEAD_BYTES: usize = 64 << 10;
/// Size of the mark at the end of the partition; the file system leaves it out while it is made.
pub const MARK_BYTES: usize = 4096;

const MARK: &[u8] = b"FERRITE-STATE 1: a file system is being made here\n";
const SUPERBLOCK: usize = 1024;
const MAGIC: [u8; 2] = [0x53, 0xef];
const STATE_WITH_ERRORS: u16 = 2;
const INCOMPAT_64BIT: u32 = 0x80;

/// What the first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing but zeros.
    Empty,
    /// An ext4 superblock.
    Ext4 {
        /// Blocks of the file system.
        blocks: u64,
        /// Bytes of a block.
        block_bytes: u64,
        /// The kernel has found errors in it before.
        with_errors: bool,
    },
    /// Something else.
    Foreign,
}

/// Looks at the first `HEAD_BYTES` of the partition.
pub fn classify(head: &[u8]) -> Content {
    if head.iter().all(|&byte| byte == 0) {
        return Content::Empty;
    }
    superblock(head).unwrap_or(Content::Foreign)
}

fn superblock(head: &[u8]) -> Option<Content> {
    let field = |offset: usize, length: usize| {
        let bytes = head.get(SUPERBLOCK + offset..)?.get(..length)?;
        Some(bytes.iter().rev().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte)))
    };
    if head.get(SUPERBLOCK + 56..SUPERBLOCK + 58)? != MAGIC {
        return None;
    }
    let low = field(4, 4)?;
    let high = if field(96, 4)? as u32 & INCOMPAT_64BIT != 0 { field(0x150, 4)? } else { 0 };
    let shift = field(24, 4)?;
    if shift > 6 {
        return None;
    }
    Some(Content::Ext4 {
        blocks: high << 32 | low,
        block_bytes: 1024 << shift,
        with_errors: field(58, 2)? as u16 & STATE_WITH_ERRORS != 0,
    })
}

/// The last bytes of the partition while a file system is made.
pub fn mark() -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.resize(MARK_BYTES, 0);
    bytes
}

/// Whether a file system fills the partition. A mark inside it is only the content of some file.
pub fn covers(content: Content, partition_bytes: u64) -> bool {
    match content {
        Content::Ext4 { blocks, block_bytes, .. } => blocks.saturating_mul(block_bytes) >= partition_bytes,
        Content::Empty | Content::Foreign => false,
    }
}

/// Whether a file system was being made when the machine was cut off, if none covers these last bytes.
pub fn is_mark(tail: &[u8]) -> bool {
    tail.starts_with(MARK)
}

/// Why there is no mounted state partition yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It holds nothing.
    Empty,
    /// It carries the mark of a file system that was being made, and so was never used.
    Unfinished,
    /// It cannot be mounted.
    Unmountable,
    /// It cannot be mounted even after it was checked.
    UnmountableAfterCheck,
    /// There is no such partition, it cannot be read, or no file system could be made in it.
    Unusable,
}

/// Whether the slot that runs has proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It has, or nobody knows: then a machine that runs is worth more than one that restarts for ever.
    Good,
    /// It is under test, and the other slot may do better.
    UnderTest,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Make a file system.
    Create,
    /// Run e2fsck once and try again.
    Check,
    /// Go on with a state in memory.
    Volatile,
    /// Give up this start.
    Fail,
}

/// The whole policy.
pub fn remedy(trouble: Trouble, trust: Trust) -> Remedy {
    match (trouble, trust) {
        (Trouble::Empty | Trouble::Unfinished, _) => Remedy::Create,
        (Trouble::Unmountable, _) => Remedy::Check,
        (Trouble::UnmountableAfterCheck | Trouble::Unusable, Trust::Good) => Remedy::Volatile,
        (Trouble::UnmountableAfterCheck | Trouble::Unusable, Trust::UnderTest) => Remedy::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ext4(blocks: u32, state: u8) -> Vec<u8> {
        let mut head = vec![0; HEAD_BYTES];
        head[SUPERBLOCK + 4..SUPERBLOCK + 8].copy_from_slice(&blocks.to_le_bytes());
        head[SUPERBLOCK + 24] = 2;
        head[SUPERBLOCK + 56..SUPERBLOCK + 58].copy_from_slice(&MAGIC);
        head[SUPERBLOCK + 58] = state;
        head
    }

    #[test]
    fn zeros_are_nothing_and_one_bit_is_something() {
        assert_eq!(classify(&vec![0; HEAD_BYTES]), Content::Empty);
        let mut head = vec![0; HEAD_BYTES];
        head[HEAD_BYTES - 1] = 1;
        assert_eq!(classify(&head), Content::Foreign);
    }

    #[test]
    fn a_superblock_tells_size_and_errors() {
        let clean = Content::Ext4 { blocks: 65536, block_bytes: 4096, with_errors: false };
        assert_eq!(classify(&ext4(65536, 1)), clean);
        let broken = Content::Ext4 { blocks: 65536, block_bytes: 4096, with_errors: true };
        assert_eq!(classify(&ext4(65536, 3)), broken);
    }

    #[test]
    fn the_upper_half_of_the_size_counts_only_with_its_feature() {
        let mut head = ext4(1, 1);
        head[SUPERBLOCK + 0x150] = 1;
        assert!(matches!(classify(&head), Content::Ext4 { blocks: 1, .. }));
        head[SUPERBLOCK + 96] = 0x80;
        assert!(matches!(classify(&head), Content::Ext4 { blocks: 0x1_0000_0001, .. }));
    }

    #[test]
    fn an_absurd_block_size_and_a_short_head_are_foreign() {
        let mut head = ext4(1, 1);
        head[SUPERBLOCK + 24] = 60;
        assert_eq!(classify(&head), Content::Foreign);
        assert_eq!(classify(&ext4(1, 1)[..1100]), Content::Foreign);
    }

    #[test]
    fn a_mark_outside_a_file_system_means_unfinished_and_inside_it_nothing() {
        for (blocks, expected) in [(99, false), (100, true), (101, true)] {
            let content = Content::Ext4 { blocks, block_bytes: 4096, with_errors: false };
            assert_eq!(covers(content, 409_600), expected, "{blocks} blocks");
        }
        assert!(!covers(Content::Foreign, 409_600) && !covers(Content::Empty, 409_600));
        assert!(is_mark(&mark()) && !is_mark(&vec![0; MARK_BYTES]));
        assert_eq!(mark().len(), MARK_BYTES);
    }

    #[test]
    fn data_that_cannot_be_read_is_never_overwritten() {
        use {Remedy::*, Trouble::*, Trust::*};
        for (trouble, good, under_test) in [
            (Empty, Create, Create),
            (Unfinished, Create, Create),
            (Unmountable, Check, Check),
            (UnmountableAfterCheck, Volatile, Fail),
            (Unusable, Volatile, Fail),
        ] {
            assert_eq!((remedy(trouble, Good), remedy(trouble, UnderTest)), (good, under_test), "{trouble:?}");
        }
    }
}
