//! dm-verity: root hash, superblock, hash tree and the line that the kernel wants. Pure but for the reader and writer
//! it is given.
//!
//! Format version 1 with SHA-256 and blocks of 4096 bytes, byte for byte what veritysetup makes: the superblock in the
//! first block after the data, then the tree, top level first.

use std::fmt;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use crate::read_at::ReadAt;

/// Bytes of a data block and of a hash block.
pub const BLOCK_BYTES: usize = 4096;

const HASH_BYTES: usize = 32;
const MAX_SALT_BYTES: usize = 256;
const SIGNATURE: &[u8; 8] = b"verity\0\0";
/// 16 TiB of data; keeps every product below in range.
const MAX_DATA_BLOCKS: u64 = 1 << 32;

/// What is wrong with a verity device.
#[derive(Debug, thiserror::Error)]
pub enum VerityError {
    /// Not a root hash.
    #[error("root hash '{0}' is not 64 hexadecimal digits")]
    RootHash(String),
    /// No superblock where one must be.
    #[error("no verity superblock at block {0}")]
    NoSuperblock(u64),
    /// A superblock that we do not make.
    #[error("verity superblock has {0}")]
    Unsupported(String),
    /// Superblock and command line disagree.
    #[error("verity superblock is for {found} data blocks, {expected} were expected")]
    Blocks {
        /// Blocks according to the superblock.
        found: u64,
        /// Blocks asked for.
        expected: u64,
    },
    /// The tree belongs to another root.
    #[error("wrong root hash: the top hash block digests to {found}, not to {expected}")]
    WrongRoot {
        /// Digest of what is on the device.
        found: RootHash,
        /// Digest asked for.
        expected: RootHash,
    },
    /// Nothing to hash.
    #[error("verity needs 2 to 2^32 data blocks, not {0}")]
    Size(u64),
    /// Reading or writing failed.
    #[error("reading or writing verity blocks")]
    Io(#[from] io::Error),
}

/// The hash that stands for a whole root file system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootHash([u8; HASH_BYTES]);

impl RootHash {
    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, VerityError> {
        let wrong = || VerityError::RootHash(text.chars().take(80).collect());
        let mut hash = [0u8; HASH_BYTES];
        if text.len() != 2 * HASH_BYTES {
            return Err(wrong());
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| digits.get(at).and_then(|c| char::from(*c).to_digit(16));
            let value = digit(0).zip(digit(1)).map(|(high, low)| high * 16 + low).ok_or_else(wrong)?;
            *byte = value as u8;
        }
        Ok(Self(hash))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Identifies the tree; free to choose.
    pub uuid: [u8; 16],
    /// Blocks of data before the superblock.
    pub data_blocks: u64,
    /// Hashed before each block; at most 256 bytes.
    pub salt: Vec<u8>,
}

impl Superblock {
    /// Reads the block after the data. `None`: there is no superblock here.
    pub fn parse(block: &[u8]) -> Option<Result<Self, VerityError>> {
        let rest = block.strip_prefix(SIGNATURE)?;
        Some(parse_fields(rest))
    }

    /// The whole block.
    pub fn to_block(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0u8; BLOCK_BYTES];
        let salt = self.salt.get(..MAX_SALT_BYTES).unwrap_or(&self.salt);
        block[0..8].copy_from_slice(SIGNATURE);
        block[8..12].copy_from_slice(&1u32.to_le_bytes());
        block[12..16].copy_from_slice(&1u32.to_le_bytes());
        block[16..32].copy_from_slice(&self.uuid);
        block[32..38].copy_from_slice(b"sha256");
        block[64..68].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        block[68..72].copy_from_slice(&(BLOCK_BYTES as u32).to_le_bytes());
        block[72..80].copy_from_slice(&self.data_blocks.to_le_bytes());
        block[80..82].copy_from_slice(&(salt.len() as u16).to_le_bytes());
        block[88..88 + salt.len()].copy_from_slice(salt);
        block
    }

    /// Bytes of data, superblock and tree together.
    pub fn total_bytes(&self) -> u64 {
        (self.data_blocks + 1 + tree_blocks(self.data_blocks)) * BLOCK_BYTES as u64
    }

    /// The parameters of the kernel's verity target; `device` is a path or `major:minor`.
    pub fn target_parameters(&self, device: &str, root: &RootHash, options: &[&str]) -> String {
        let blocks = self.data_blocks;
        let salt = if self.salt.is_empty() { "-".to_string() } else { hex(&self.salt) };
        let mut line = format!("1 {device} {device} 4096 4096 {blocks} {} sha256 {root} {salt}", blocks + 1);
        if !options.is_empty() {
            line.push_str(&format!(" {} {}", options.len(), options.join(" ")));
        }
        line
    }

    /// Length of the verity target in 512-byte sectors.
    pub fn target_sectors(&self) -> u64 {
        self.data_blocks * (BLOCK_BYTES as u64 / 512)
    }
}

fn parse_fields(rest: &[u8]) -> Result<Superblock, VerityError> {
    let field = |at: usize, length: usize| {
        let start = at - SIGNATURE.len();
        rest.get(start..start + length).ok_or_else(|| VerityError::Unsupported("too few bytes".to_string()))
    };
    let number = |at: usize, length: usize| {
        field(at, length).map(|bytes| bytes.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    let expect = |what: &str, at: usize, length: usize, wanted: u64| match number(at, length)? {
        found if found == wanted => Ok(()),
        found => Err(VerityError::Unsupported(format!("{what} {found}"))),
    };
    expect("version", 8, 4, 1)?;
    expect("hash type", 12, 4, 1)?;
    expect("data block size", 64, 4, BLOCK_BYTES as u64)?;
    expect("hash block size", 68, 4, BLOCK_BYTES as u64)?;
    if field(32, 32)? != b"sha256\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" {
        return Err(VerityError::Unsupported("a hash that is not sha256".to_string()));
    }
    let data_blocks = number(72, 8)?;
    if !(2..=MAX_DATA_BLOCKS).contains(&data_blocks) {
        return Err(VerityError::Size(data_blocks));
    }
    let salt_bytes = number(80, 2)? as usize;
    if salt_bytes > MAX_SALT_BYTES {
        return Err(VerityError::Unsupported(format!("a salt of {salt_bytes} bytes")));
    }
    let mut uuid = [0u8; 16];
    uuid.copy_from_slice(field(16, 16)?);
    Ok(Superblock { uuid, data_blocks, salt: field(88, salt_bytes)?.to_vec() })
}

/// Looks for the root with this hash on a device: its superblock stands after `data_blocks` blocks.
pub fn probe(device: &(impl ReadAt + ?Sized), data_blocks: u64, root: &RootHash) -> Result<Superblock, VerityError> {
    if !(2..=MAX_DATA_BLOCKS).contains(&data_blocks) {
        return Err(VerityError::Size(data_blocks));
    }
    let offset = data_blocks * BLOCK_BYTES as u64;
    let mut block = [0u8; BLOCK_BYTES];
    device.read_exact_at(&mut block, offset)?;
    let superblock = Superblock::parse(&block).ok_or(VerityError::NoSuperblock(data_blocks))??;
    if superblock.data_blocks != data_blocks {
        return Err(VerityError::Blocks { found: superblock.data_blocks, expected: data_blocks });
    }
    device.read_exact_at(&mut block, offset + BLOCK_BYTES as u64)?;
    let found = RootHash(digest(&superblock.salt, &block));
    if found != *root {
        return Err(VerityError::WrongRoot { found, expected: *root });
    }
    Ok(superblock)
}

/// The tree of a device; a GiB of data makes 8 MiB of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTree {
    /// What the tree belongs to.
    pub superblock: Superblock,
    /// The hash of its top block.
    pub root: RootHash,
    levels: Vec<Vec<u8>>,
}

impl HashTree {
    /// Hashes `data_blocks` blocks from the reader, one at a time.
    pub fn build(data: &mut impl Read, data_blocks: u64, salt: &[u8], uuid: [u8; 16]) -> Result<Self, VerityError> {
        if !(2..=MAX_DATA_BLOCKS).contains(&data_blocks) {
            return Err(VerityError::Size(data_blocks));
        }
        if salt.len() > MAX_SALT_BYTES {
            return Err(VerityError::Unsupported(format!("a salt of {} bytes", salt.len())));
        }
        let mut lowest = Vec::new();
        let mut block = vec![0u8; BLOCK_BYTES];
        for _ in 0..data_blocks {
            data.read_exact(&mut block)?;
            lowest.extend_from_slice(&digest(salt, &block));
        }
        let mut levels = Vec::new();
        let mut level = lowest;
        while level.len() > HASH_BYTES {
            level.resize(level.len().next_multiple_of(BLOCK_BYTES), 0);
            let above = level.chunks_exact(BLOCK_BYTES).flat_map(|block| digest(salt, block)).collect();
            levels.push(std::mem::replace(&mut level, above));
        }
        let mut root = [0u8; HASH_BYTES];
        root.copy_from_slice(&level);
        let superblock = Superblock { uuid, data_blocks, salt: salt.to_vec() };
        Ok(Self { superblock, root: RootHash(root), levels })
    }

    /// Writes superblock and tree; they belong right after the data.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.superblock.to_block())?;
        self.levels.iter().rev().try_for_each(|level| out.write_all(level))
    }
}

/// Blocks of the tree without the superblock.
pub fn tree_blocks(data_blocks: u64) -> u64 {
    let mut total = 0;
    let mut blocks = data_blocks;
    while blocks > 1 {
        blocks = blocks.div_ceil((BLOCK_BYTES / HASH_BYTES) as u64);
        total += blocks;
    }
    total
}

fn digest(salt: &[u8], block: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(salt);
    hasher.update(block);
    hasher.finalize().into()
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: &[u8] =
        &[0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
    const UUID: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    fn data(blocks: usize) -> Vec<u8> {
        (0..blocks).flat_map(|block| [(block * 7 + 3) as u8; BLOCK_BYTES]).collect()
    }

    fn sealed(blocks: usize) -> (Vec<u8>, HashTree) {
        let mut device = data(blocks);
        let tree = HashTree::build(&mut data(blocks).as_slice(), blocks as u64, SALT, UUID).expect("data can be read");
        tree.write_to(&mut device).expect("memory can be written");
        (device, tree)
    }

    /// Made by veritysetup 2.6.1: format --data-blocks=300 --salt=0011..ff --uuid=01020304-0506-...; two levels.
    #[test]
    fn superblock_and_tree_are_those_of_veritysetup() {
        let (device, tree) = sealed(300);
        assert_eq!(tree.root.to_string(), "d8d4ffb666c57cab7e02b633357b80a2ee76aa9a156128d0a9f2e12b008f6197");
        let appended = hex(&Sha256::digest(&device[300 * BLOCK_BYTES..]));
        assert_eq!(appended, "ee907859314e545ee5bd37fa7863421ba4ea704324b68cb18def06d8be5a80f1");
        assert_eq!(device.len() as u64, tree.superblock.total_bytes());
    }

    #[test]
    fn a_root_is_found_by_its_hash_only() {
        let (device, tree) = sealed(130);
        assert_eq!(probe(&device, 130, &tree.root).expect("it is there"), tree.superblock);
        let other = RootHash::parse(&"0".repeat(64)).expect("64 digits");
        assert!(matches!(probe(&device, 130, &other), Err(VerityError::WrongRoot { .. })));
        assert!(matches!(probe(&device, 129, &tree.root), Err(VerityError::NoSuperblock(129))));
        assert!(matches!(probe(&device, 5000, &tree.root), Err(VerityError::Io(_))));
        assert!(matches!(probe(&device, u64::MAX, &tree.root), Err(VerityError::Size(_))));
        assert!(matches!(probe(&device, 1, &tree.root), Err(VerityError::Size(1))));
    }

    #[test]
    fn a_superblock_for_another_length_is_refused() {
        let (mut device, tree) = sealed(4);
        let wrong = Superblock { data_blocks: 5, ..tree.superblock.clone() };
        device[4 * BLOCK_BYTES..5 * BLOCK_BYTES].copy_from_slice(&wrong.to_block());
        assert!(matches!(probe(&device, 4, &tree.root), Err(VerityError::Blocks { found: 5, expected: 4 })));
    }

    #[test]
    fn the_kernel_gets_the_line_it_wants() {
        let (_, tree) = sealed(130);
        assert_eq!(
            tree.superblock.target_parameters("254:3", &tree.root, &["restart_on_corruption", "ignore_zero_blocks"]),
            format!(
                "1 254:3 254:3 4096 4096 130 131 sha256 {} 00112233445566778899aabbccddeeff 2 restart_on_corruption \
                 ignore_zero_blocks",
                tree.root
            )
        );
        let unsalted = Superblock { salt: Vec::new(), ..tree.superblock.clone() };
        assert!(unsalted.target_parameters("/dev/vda5", &tree.root, &[]).ends_with(&format!("{} -", tree.root)));
        assert_eq!(tree.superblock.target_sectors(), 1040);
    }

    #[test]
    fn a_root_hash_is_64_hexadecimal_digits() {
        let text = "D8d4ffb666c57cab7e02b633357b80a2ee76aa9a156128d0a9f2e12b008f6197";
        assert_eq!(RootHash::parse(text).expect("64 digits").to_string(), text.to_lowercase());
        for wrong in ["", "00", &text[1..], &format!("{text}0"), &text.replace('D', "+"), &"\u{e9}".repeat(32)] {
            assert!(RootHash::parse(wrong).is_err(), "'{wrong}'");
        }
    }

    #[test]
    fn the_size_of_a_tree_is_known_beforehand() {
        let cases = [(2, 1), (128, 1), (129, 3), (300, 4), (16384, 129), (16385, 132), (262_144, 2065)];
        for (data_blocks, wanted) in cases {
            assert_eq!(tree_blocks(data_blocks), wanted, "{data_blocks}");
        }
    }

    proptest! {
        #[test]
        fn hostile_superblocks_never_panic(
            at in 0usize..512,
            bytes in proptest::collection::vec(any::<u8>(), 1..128),
            length in 0usize..4096,
        ) {
            let mut block = sealed(2).1.superblock.to_block().to_vec();
            for (place, byte) in block.iter_mut().skip(at).zip(bytes) {
                *place = byte;
            }
            let _ = Superblock::parse(&block[..length]);
            if let Some(Ok(superblock)) = Superblock::parse(&block) {
                prop_assert!(superblock.salt.len() <= 256);
                prop_assert!(superblock.total_bytes() > 0 && superblock.target_sectors() > 0);
                let again = Superblock::parse(&superblock.to_block()).expect("a superblock").expect("ours");
                prop_assert_eq!(again, superblock);
            }
        }
    }
}
