//! Finds a file in an uncompressed EROFS image, so that a test can break exactly that file. Pure.
//!
//! Reads what mkfs.erofs writes without compression: inodes of both sizes, plain and inline data.

use anyhow::{Context, bail, ensure};

const BLOCK: u64 = 4096;

/// An image in memory, or the part of a partition that holds one.
#[derive(Debug, Clone, Copy)]
pub struct Erofs<'a> {
    bytes: &'a [u8],
    inodes: u64,
    root: u64,
}

#[derive(Debug)]
struct Inode {
    size: u64,
    inline: bool,
    blocks_at: u64,
    tail_at: u64,
}

impl<'a> Erofs<'a> {
    /// Opens the image.
    pub fn open(bytes: &'a [u8]) -> anyhow::Result<Self> {
        ensure!(number(bytes, 1024, 4)? == 0xe0f5_e1e2, "there is no EROFS here");
        ensure!(number(bytes, 1036, 1)? == 12, "the block size of this EROFS is not 4096");
        Ok(Self { bytes, inodes: number(bytes, 1064, 4)? * BLOCK, root: number(bytes, 1038, 2)? })
    }

    /// Where the first byte of a file lies. `path` is absolute and holds no symbolic links.
    pub fn offset_of(&self, path: &str) -> anyhow::Result<u64> {
        let mut node = self.root;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = self.child(node, name).with_context(|| format!("looking for '{path}' in the root image"))?;
        }
        let inode = self.inode(node)?;
        ensure!(inode.size > 0, "'{path}' is empty");
        Ok(if inode.inline && inode.size < BLOCK { inode.tail_at } else { inode.blocks_at })
    }

    fn child(&self, folder: u64, wanted: &str) -> anyhow::Result<u64> {
        let inode = self.inode(folder)?;
        for start in (0..inode.size).step_by(BLOCK as usize) {
            let length = BLOCK.min(inode.size - start);
            let inline = inode.inline && length < BLOCK;
            let at = if inline { inode.tail_at } else { inode.blocks_at + start };
            let block = slice(self.bytes, at, length)?;
            if let Some(node) = find_entry(block, wanted)? {
                return Ok(node);
            }
        }
        bail!("there is no '{wanted}'")
    }

    fn inode(&self, node: u64) -> anyhow::Result<Inode> {
        let at = self.inodes + node * 32;
        let format = number(self.bytes, at, 2)?;
        let (size, header) = match format & 1 {
            0 => (number(self.bytes, at + 8, 4)?, 32),
            _ => (number(self.bytes, at + 8, 8)?, 64),
        };
        let attributes = match number(self.bytes, at + 2, 2)? {
            0 => 0,
            count => 12 + (count - 1) * 4,
        };
        let inline = match (format >> 1) & 7 {
            0 => false,
            2 => true,
            other => bail!("inode {node} has data layout {other}, which is neither plain nor inline"),
        };
        let blocks_at = number(self.bytes, at + 16, 4)? * BLOCK;
        Ok(Inode { size, inline, blocks_at, tail_at: at + header + attributes })
    }
}

/// Looks a name up in one block of a directory.
fn find_entry(block: &[u8], wanted: &str) -> anyhow::Result<Option<u64>> {
    let count = number(block, 8, 2)? / 12;
    for index in 0..count {
        let start = number(block, index * 12 + 8, 2)?;
        let end = if index + 1 < count { number(block, (index + 1) * 12 + 8, 2)? } else { block.len() as u64 };
        let name = slice(block, start, end.saturating_sub(start))?;
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name == wanted.as_bytes() {
            return Ok(Some(number(block, index * 12, 8)?));
        }
    }
    Ok(None)
}

fn slice(bytes: &[u8], at: u64, length: u64) -> anyhow::Result<&[u8]> {
    let range = at as usize..(at + length) as usize;
    bytes.get(range).with_context(|| format!("the image ends before byte {at}"))
}

fn number(bytes: &[u8], at: u64, length: u64) -> anyhow::Result<u64> {
    Ok(slice(bytes, at, length)?.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}
