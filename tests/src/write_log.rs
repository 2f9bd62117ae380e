//! Reads the log of QEMU's blklogwrites (the format of the kernel's dm-log-writes) and replays it write by write.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::chance::Chance;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// One write of a guest to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedWrite {
    /// Where on the disk, in bytes.
    pub offset: u64,
    /// How many bytes; zero for a flush.
    pub length: u64,
    /// Whether everything before it is durable after it.
    pub flush: bool,
    /// Whether the range is thrown away instead of written.
    pub discard: bool,
    /// Where the bytes stand in the log.
    data_at: u64,
}

/// A log.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    /// The writes in the order in which the guest gave them.
    pub writes: Vec<LoggedWrite>,
}

impl WriteLog {
    /// Reads the list of writes.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("opening write log '{}'", path.display()))?;
        let length = file.metadata().context("asking for the size of the write log")?.len();
        let word = |at: u64| read_word(&file, at);
        ensure!(word(0)? == MAGIC, "'{}' is no write log", path.display());
        let sector = word(24)? & 0xffff_ffff;
        let mut writes = Vec::new();
        // The count in the superblock is only written now and then; the entries themselves are the truth.
        let mut at = sector;
        while at + sector <= length {
            let (start, sectors, flags) = (word(at)?, word(at + 8)?, word(at + 16)?);
            let discard = flags & DISCARD != 0;
            let stored = if discard || flags & MARK != 0 { 0 } else { sectors * sector };
            if at + sector + stored > length || (start == 0 && sectors == 0 && flags == 0) {
                break;
            }
            let data_at = at + sector;
            writes.push(LoggedWrite {
                offset: start * sector,
                length: sectors * sector,
                flush: flags & FLUSH != 0,
                discard,
                data_at,
            });
            at += sector + stored;
        }
        Ok(Self { file, writes })
    }

    /// The bytes of a write.
    pub fn data(&self, write: &LoggedWrite) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; write.length as usize];
        if !write.discard {
            self.file.read_exact_at(&mut bytes, write.data_at).context("reading the write log")?;
        }
        Ok(bytes)
    }

    /// Repeats one write on another disk. A discarded range is left as it is, which is allowed.
    pub fn replay(&self, write: &LoggedWrite, disk: &File) -> anyhow::Result<()> {
        if write.discard {
            return Ok(());
        }
        disk.write_all_at(&self.data(write)?, write.offset).context("replaying a write")
    }
}

impl WriteLog {
    /// Makes the disk what a power cut after the first `count` writes may leave: everything up to the last flush, and
    /// of what came later any part, because a disk may keep it in a cache.
    pub fn replay_power_cut(&self, count: usize, disk: &File, chance: &mut Chance) -> anyhow::Result<()> {
        let given = self.writes.get(..count).unwrap_or(&self.writes);
        let durable = given.iter().rposition(|write| write.flush).map_or(0, |last| last + 1);
        for (number, write) in given.iter().enumerate() {
            if number < durable || chance.below(2) == 0 {
                self.replay(write, disk)?;
            }
        }
        Ok(())
    }

    /// How many writes had been given when the log was so long.
    pub fn count_at(&self, log_bytes: u64) -> usize {
        self.writes.iter().take_while(|write| write.data_at + write.length <= log_bytes).count()
    }
}

fn read_word(file: &File, at: u64) -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).context("reading the write log")?;
    Ok(u64::from_le_bytes(bytes))
}
