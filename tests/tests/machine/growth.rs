//! A10: the first boot on a larger disk makes the state partition grow. Every prefix of its writes leaves a table that
//! can be read and a file system that fits its partition; from a sample of them the machine is booted.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use ferrite_qemu::disk;
use ferrite_tests::write_log::{LoggedWrite, WriteLog};
use ferrite_tests::{Board, Chance, DiskFile, Part, Setup, amount};

const DISK_BYTES: u64 = 20 << 30;
const TABLE_BYTES: u64 = 34 * 512;
const SECTOR: usize = 512;

#[test]
fn growing_is_safe_at_every_write() -> anyhow::Result<()> {
    let setup = Setup::new(Board::Qemu)?.disk_bytes(DISK_BYTES)?.write_log();
    let log = setup.write_log_path();
    let mut machine = setup.boot()?;
    grown(&machine.ssh("df -B1 --output=size /var | tail -1")?)?;
    machine.power_cut()?;

    let log = WriteLog::open(&log)?;
    let table_writes: Vec<usize> = (0..log.writes.len()).filter(|at| touches_the_table(&log.writes[*at])).collect();
    ensure!(table_writes.len() >= 3, "only {} writes to the table were logged", table_writes.len());
    each_table_write_is_flushed_before_the_next(&log, &table_writes)?;
    let folder = tempfile::tempdir().context("making a folder")?;
    every_prefix_can_be_read(&log, &fresh_disk(folder.path(), "replayed")?)?;

    let mut chance = Chance::new();
    let mut cuts = table_writes;
    while cuts.len() > amount::sample_or_all(1, usize::MAX) {
        cuts.swap_remove(chance.below(cuts.len() as u64) as usize);
    }
    for cut in cuts {
        let path = fresh_disk(folder.path(), "cut")?;
        let file = File::options().write(true).open(&path).context("opening the replayed disk")?;
        log.writes[..=cut].iter().try_for_each(|write| log.replay(write, &file))?;
        let mut machine = Setup::with_image(&path)?.boot().with_context(|| format!("cut after write {cut}"))?;
        grown(&machine.ssh("df -B1 --output=size /var | tail -1")?)?;
        machine.power_off()?;
    }
    Ok(())
}

fn grown(size: &str) -> anyhow::Result<()> {
    let size: u64 = size.trim().parse().with_context(|| format!("reading the size '{size}'"))?;
    ensure!(size > 15 << 30, "the state partition has only {size} bytes");
    Ok(())
}

fn fresh_disk(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    disk::copy_sparse(&Board::Qemu.image()?, &path)?;
    disk::grow(&path, DISK_BYTES)?;
    Ok(path)
}

fn touches_the_table(write: &LoggedWrite) -> bool {
    write.length > 0 && (write.offset < TABLE_BYTES || write.offset + write.length > DISK_BYTES - TABLE_BYTES)
}

fn each_table_write_is_flushed_before_the_next(log: &WriteLog, table_writes: &[usize]) -> anyhow::Result<()> {
    for pair in table_writes.windows(2) {
        let between = &log.writes[pair[0]..=pair[1]];
        ensure!(between.iter().any(|write| write.flush), "no flush between the table writes {pair:?}");
    }
    Ok(())
}

/// Replays the log. After each sector of a table write, and after each other write, the disk has to be in order.
fn every_prefix_can_be_read(log: &WriteLog, path: &Path) -> anyhow::Result<()> {
    let file = File::options().write(true).open(path).context("opening the replayed disk")?;
    let disk = DiskFile::open(path)?;
    let uuid = disk.state_uuid()?;
    let state_at = disk.place(Part::State)?.offset;
    for (number, write) in log.writes.iter().enumerate() {
        if touches_the_table(write) {
            for (index, sector) in log.data(write)?.chunks(SECTOR).enumerate() {
                let offset = write.offset + (index * SECTOR) as u64;
                file.write_all_at(sector, offset).context("replaying a sector")?;
                in_order(&disk, uuid).with_context(|| format!("after sector {index} of write {number}"))?;
            }
        } else {
            log.replay(write, &file)?;
            let superblock = state_at..state_at + 4096;
            if superblock.contains(&write.offset) {
                in_order(&disk, uuid).with_context(|| format!("after write {number}"))?;
            }
        }
    }
    in_order(&disk, uuid)
}

/// The table can be read, all partitions are there, and the file system is the old one and fits.
fn in_order(disk: &DiskFile, uuid: [u8; 16]) -> anyhow::Result<()> {
    let table = disk.table()?.table;
    for part in Part::ALL {
        ensure!(table.by_name(part.name()).is_some(), "partition {} is lost", part.name());
    }
    ensure!(disk.state_uuid()? == uuid, "the file system is another one");
    let superblock = disk.read(Part::State, 1024, 1024)?;
    let number = |at: usize| superblock[at..at + 4].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let size = number(4) * (1024 << number(24));
    let place = disk.place(Part::State)?;
    ensure!(size <= place.length, "a file system of {size} bytes in a partition of {} bytes", place.length);
    Ok(())
}
