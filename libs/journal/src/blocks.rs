//! A small cache of blocks of files, shared by all files of a reader.
//!
//! Files are read with `pread`, so that a bad sector or a file that shrinks is an error and never a signal, and the
//! memory of a reader has a bound that does not depend on the size of the journal.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::fault::Fault;

/// Large enough to read the log in order with few calls, small enough to look up a hash with little waste.
const BLOCK_BYTES: u64 = 16 * 1024;
/// 1 MiB in all.
const BLOCKS: usize = 64;

#[derive(Debug)]
struct Block {
    key: (u32, u64),
    used: bool,
    bytes: Vec<u8>,
}

/// The cache.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    blocks: Vec<Block>,
    index: HashMap<(u32, u64), usize>,
    last: usize,
    hand: usize,
}

impl Blocks {
    /// Fills `buffer` from `offset` of the file that is called `key` here.
    pub(crate) fn read(&mut self, key: u32, file: &File, offset: u64, buffer: &mut [u8]) -> Result<(), Fault> {
        if buffer.len() as u64 > BLOCK_BYTES {
            return file.read_exact_at(buffer, offset).map_err(|error| Fault::new(offset, describe(&error)));
        }
        let mut done = 0;
        while done < buffer.len() {
            let at = offset.checked_add(done as u64).ok_or_else(|| Fault::new(offset, "offset out of range"))?;
            let within = (at % BLOCK_BYTES) as usize;
            let block = self.block(key, file, at / BLOCK_BYTES)?;
            let part = self.blocks[block].bytes.get(within..).unwrap_or_default();
            let count = part.len().min(buffer.len() - done);
            if count == 0 {
                return Err(Fault::new(at, "the file ends before its content"));
            }
            buffer[done..done + count].copy_from_slice(&part[..count]);
            done += count;
        }
        Ok(())
    }

    /// Forgets the blocks of one file, because it may have changed.
    pub(crate) fn forget(&mut self, key: u32) {
        for (position, block) in self.blocks.iter_mut().enumerate() {
            if block.key.0 == key && self.index.get(&block.key) == Some(&position) {
                self.index.remove(&block.key);
                block.used = false;
            }
        }
    }

    fn block(&mut self, key: u32, file: &File, number: u64) -> Result<usize, Fault> {
        let key = (key, number);
        if self.blocks.get(self.last).is_some_and(|block| block.key == key) && self.index.get(&key) == Some(&self.last)
        {
            return Ok(self.last);
        }
        if let Some(position) = self.index.get(&key) {
            self.blocks[*position].used = true;
            self.last = *position;
            return Ok(*position);
        }
        let position = self.victim();
        let block = &mut self.blocks[position];
        block.key = key;
        block.used = true;
        block.bytes.resize(BLOCK_BYTES as usize, 0);
        let count = read_most(file, number * BLOCK_BYTES, &mut block.bytes)?;
        block.bytes.truncate(count);
        self.index.insert(key, position);
        self.last = position;
        Ok(position)
    }

    /// A place for a new block: a free one, or that of a block not used for the longest time, roughly.
    fn victim(&mut self) -> usize {
        if self.blocks.len() < BLOCKS {
            self.blocks.push(Block { key: (u32::MAX, u64::MAX), used: false, bytes: Vec::new() });
            return self.blocks.len() - 1;
        }
        loop {
            let position = self.hand;
            self.hand = (self.hand + 1) % BLOCKS;
            let block = &mut self.blocks[position];
            if !std::mem::take(&mut block.used) {
                if self.index.get(&block.key) == Some(&position) {
                    self.index.remove(&block.key);
                }
                return position;
            }
        }
    }
}

fn read_most(file: &File, offset: u64, buffer: &mut [u8]) -> Result<usize, Fault> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::new(offset, describe(&error))),
        }
    }
    Ok(done)
}

fn describe(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the file ends before its content".into(),
        _ => format!("reading failed ({error})"),
    }
}
