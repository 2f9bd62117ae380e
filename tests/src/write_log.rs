//! Reads the log of QEMU's blklogwrites (the format of the kernel's dm-log-writes) and replays it write by write.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::chance::Chance;

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;
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
    /// of what came later any part, because a disk may keep it in a cache; a write may be torn between its sectors.
    pub fn replay_power_cut(&self, count: usize, disk: &File, chance: &mut Chance) -> anyhow::Result<()> {
        let given = self.writes.get(..count).unwrap_or(&self.writes);
        let durable = given.iter().rposition(|write| write.flush).map_or(0, |last| last + 1);
        for (number, write) in given.iter().enumerate() {
            match if number < durable { 1 } else { chance.below(3) } {
                0 => {}
                1 => self.replay(write, disk)?,
                _ => self.replay_torn(write, disk, chance)?,
            }
        }
        Ok(())
    }

    fn replay_torn(&self, write: &LoggedWrite, disk: &File, chance: &mut Chance) -> anyhow::Result<()> {
        if write.discard {
            return Ok(());
        }
        let data = self.data(write)?;
        for (offset, sector) in (write.offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
            if chance.below(2) == 0 {
                disk.write_all_at(sector, offset).context("replaying a sector of a write")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn entry(log: &mut Vec<u8>, sector: u64, data: &[u8], flags: u64) {
        let mut header: Vec<u8> =
            [sector, (data.len() / SECTOR) as u64, flags, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
        header.resize(SECTOR, 0);
        log.extend(header);
        log.extend(data);
    }

    fn log_of_two_writes_a_flush_and_a_write() -> (tempfile::TempDir, WriteLog) {
        let mut bytes: Vec<u8> = [MAGIC, 1, 0, SECTOR as u64].iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(SECTOR, 0);
        entry(&mut bytes, 2, &[1; SECTOR], 0);
        entry(&mut bytes, 3, &[2; 2 * SECTOR], 0);
        entry(&mut bytes, 0, &[], FLUSH);
        entry(&mut bytes, 2, &[3; SECTOR], 0);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        File::create(&path).and_then(|mut file| file.write_all(&bytes)).expect("a log");
        let log = WriteLog::open(&path).expect("it can be read");
        (folder, log)
    }

    #[test]
    fn writes_and_flushes_are_read_in_order() {
        let (_folder, log) = log_of_two_writes_a_flush_and_a_write();
        let seen: Vec<(u64, u64, bool)> = log.writes.iter().map(|w| (w.offset, w.length, w.flush)).collect();
        assert_eq!(seen, [(1024, 512, false), (1536, 1024, false), (0, 0, true), (1024, 512, false)]);
        assert_eq!(log.data(&log.writes[1]).expect("its bytes"), [2; 1024]);
    }

    #[test]
    fn a_power_cut_keeps_what_was_flushed_and_may_lose_the_rest() {
        let (folder, log) = log_of_two_writes_a_flush_and_a_write();
        let mut chance = Chance::new();
        let mut last = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let path = folder.path().join("disk");
            let disk = File::options().create(true).truncate(true).read(true).write(true).open(&path).expect("a disk");
            log.replay_power_cut(4, &disk, &mut chance).expect("replayed");
            let mut bytes = [0; 2];
            disk.read_exact_at(&mut bytes[..1], 1024).expect("the first write");
            disk.read_exact_at(&mut bytes[1..], 2559).expect("the end of the second write");
            assert_eq!(bytes[1], 2, "a flushed write is lost");
            last.insert(bytes[0]);
        }
        assert_eq!(last.into_iter().collect::<Vec<_>>(), [1, 3]);
    }
}
