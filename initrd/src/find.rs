//! Waits for the disk that this start is about, loading modules for whatever appears meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use ferrite_layout::disk::SECTOR_BYTES;
use ferrite_layout::gpt::{Copy, FoundTable, GptError, read_table};
use ferrite_layout::read_at::ReadAt;
use ferrite_layout::{Part, Slot, verity};
use ferrite_sys::block::{PartitionRange, add_partition};
use uuid::Uuid;

use crate::block_devices::{self, BlockDisk};
use crate::command_line::{Hint, Settings, WantedRoot};
use crate::disks::{self, FerriteDisk, Place};
use crate::drivers::Drivers;
use crate::report::Reporter;
use crate::stage::Stage;
use crate::uevents::{News, Uevents};
use crate::watchdog::Guard;

/// How long disks may take to appear; spinning ones behind a controller are slow.
const PATIENCE: Duration = Duration::from_secs(90);
/// Opening a disk whose table the kernel is still reading takes as long as that. Until then only disks with our
/// partitions are looked at: a dying one of somebody else's must not hold up the right one.
const OTHERS_AFTER: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(5);

/// The disk and the slot.
#[derive(Clone, Debug)]
pub struct Found {
    /// The disk.
    pub disk: FerriteDisk,
    /// What was decided.
    pub place: Place,
}

/// What the search needs.
#[derive(Debug)]
pub struct Search<'a> {
    /// Kernel command line.
    pub settings: &'a Settings,
    /// Word of the boot loader.
    pub hint: Hint,
    /// The root.
    pub root: WantedRoot,
    /// Announcements since before the modules were loaded.
    pub uevents: &'a Uevents,
    /// Modules.
    pub drivers: &'a mut Drivers,
    /// Console and log.
    pub report: &'a mut Reporter,
    /// Pinged while waiting.
    pub guard: &'a Guard,
    /// Tables of disks that end too early, by name; the kernel shows their partitions without names.
    pub cut: BTreeMap<String, FoundTable>,
}

/// Which disks to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Those on which the kernel has found our partitions.
    Ours,
    /// Those without partitions too: a table that was cut off shows none.
    All,
}

impl Search<'_> {
    /// Waits until the place is known, or says what is there instead.
    pub fn run(mut self) -> anyhow::Result<Found> {
        let started = Instant::now();
        let mut announced = false;
        loop {
            if let Some(found) = self.look(Which::Ours).map(|disks| self.decide(&disks, false))? {
                return Ok(found);
            }
            if started.elapsed() >= OTHERS_AFTER {
                let disks = self.look(Which::All)?;
                let last_chance = started.elapsed() >= PATIENCE;
                if let Some(found) = self.decide(&disks, last_chance) {
                    return Ok(found);
                }
                if last_chance {
                    bail!("{}", self.explain(&disks));
                }
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            if !announced {
                self.report.say(Stage::Disk, &format!("waiting up to {} s for {}", PATIENCE.as_secs(), self.wanted()));
                announced = true;
            }
            self.guard.ping();
            let news = self.uevents.wait(left.min(PING)).context("waiting for devices")?;
            self.serve(news);
        }
    }

    fn serve(&mut self, news: Vec<News>) {
        for item in news {
            match item {
                News::Device { modalias } => self.drivers.load_for(&modalias, &self.settings.words, self.report),
                News::Lost => self.drivers.coldplug(&self.settings.words, self.report),
                News::Block => {}
            }
        }
    }

    fn look(&mut self, which: Which) -> anyhow::Result<Vec<FerriteDisk>> {
        let blocks = block_devices::list().context("listing '/sys/class/block'")?;
        let mut disks = Vec::new();
        for block in blocks.into_iter().filter(|block| which == Which::All || is_ours(block)) {
            self.guard.ping();
            disks.extend(self.inspect(block));
        }
        Ok(disks)
    }

    /// Reads the table of a disk that has our partitions, or that has none because it was cut off.
    fn inspect(&mut self, mut block: BlockDisk) -> Option<FerriteDisk> {
        if let Some(found) = self.cut.get(&block.name).cloned() {
            return Some(FerriteDisk { block, found, damaged_matches: Vec::new() });
        }
        let ours = is_ours(&block);
        if !ours && !block.partitions.is_empty() {
            return None;
        }
        let path = format!("/dev/{}", block.name);
        let disk = match File::open(&path) {
            Ok(disk) => disk,
            Err(error) => {
                self.report.debug(Stage::Disk, &format!("opening '{path}': {error}"));
                return None;
            }
        };
        // Opening it waited for the kernel to read its table; before, only some of its partitions may have been shown.
        block = block_devices::again(&block.name)?;
        let found = match read_table(&disk, block.sectors) {
            Err(GptError::DiskTooSmall { needed_sectors, .. }) => self.adopt_cut(&disk, &mut block, needed_sectors)?,
            Err(error) if ours => {
                self.report.debug(Stage::Disk, &format!("'{path}': {error}"));
                return None;
            }
            Err(_) => return None,
            Ok(found) => found,
        };
        let damaged_matches = match (found.copy, self.hint.boot_partition) {
            (Copy::Backup, Some(guid)) => numbers_with_guid(&disk, guid),
            (Copy::Backup, None) | (Copy::Primary, _) => Vec::new(),
        };
        Some(FerriteDisk { block, found, damaged_matches })
    }

    /// A disk that ends before its table does: the kernel shows no partition of it. Those that fit are added.
    fn adopt_cut(&mut self, disk: &File, block: &mut BlockDisk, needed_sectors: u64) -> Option<FoundTable> {
        let found = read_table(&Padded(disk), needed_sectors).ok()?;
        found.table.by_name(Part::Bootctl.name())?;
        let path = format!("/dev/{}", block.name);
        self.report.warn(
            Stage::Disk,
            &format!(
                "{path} is too small: it has {} sectors, its partition table needs {needed_sectors}; \
                 using the partitions that fit",
                block.sectors
            ),
        );
        for (&number, entry) in found.table.entries.iter().filter(|(_, entry)| entry.last_lba < block.sectors) {
            let range =
                PartitionRange { number, start_bytes: entry.first_lba * 512, length_bytes: entry.sectors() * 512 };
            if let Err(error) = add_partition(disk, range) {
                self.report.warn(Stage::Disk, &format!("adding partition {number} of {path}: {error}"));
            }
        }
        *block = block_devices::again(&block.name)?;
        self.cut.insert(block.name.clone(), found.clone());
        Some(found)
    }

    /// Takes the named place; a search by content is for starts without a name, or when the named disk never came.
    fn decide(&mut self, disks: &[FerriteDisk], last_chance: bool) -> Option<Found> {
        let mut place = disks::named(disks, self.hint);
        if place.is_none() && (self.hint.boot_partition.is_none() || last_chance) {
            let candidates = disks::candidates(disks, self.hint);
            let matching: Vec<(usize, Slot)> = candidates
                .into_iter()
                .filter(|&(at, slot)| disks.get(at).is_some_and(|disk| self.fits(disk, slot)))
                .collect();
            place = disks::searched(disks, &matching);
            if let (Some(_), Some(guid)) = (&place, self.hint.boot_partition) {
                let text = format!("no disk has the partition {guid} that the boot loader named; searched by content");
                self.report.warn(Stage::Disk, &text);
            }
        }
        let place = place?;
        let disk = disks.get(place.disk)?.clone();
        Some(Found { disk, place })
    }

    fn fits(&self, disk: &FerriteDisk, slot: Slot) -> bool {
        let device = disk.device(Part::root_of(slot)).and_then(|path| File::open(path).ok());
        device.is_some_and(|device| verity::probe(&device, self.root.data_blocks, &self.root.hash).is_ok())
    }

    fn wanted(&self) -> String {
        match self.hint.boot_partition {
            Some(guid) => format!("the disk with partition {guid}"),
            None => format!("a disk with the root {}", short(&self.root.hash.to_string())),
        }
    }

    fn explain(&self, disks: &[FerriteDisk]) -> anyhow::Error {
        let seconds = PATIENCE.as_secs();
        let names: Vec<String> = disks.iter().map(FerriteDisk::path).collect();
        if let Some(name) = self.cut.keys().next() {
            return anyhow!("disk /dev/{name} is too small: the root does not fit on it");
        }
        if let Some(disk) = disks.iter().find(|disk| disk.block.partitions.is_empty()) {
            return without_partitions(&disk.path(), block_devices::logical_block_bytes(&disk.block.name));
        }
        if !names.is_empty() {
            let names = names.join(", ");
            return anyhow!("wrong root hash: no slot on {names} carries the root {}", self.root.hash);
        }
        let others: Vec<String> = block_devices::list().unwrap_or_default().into_iter().map(|disk| disk.name).collect();
        match others.is_empty() {
            true => anyhow!("no disk at all was found within {seconds} s: is its driver in this initrd?"),
            false => anyhow!("no Ferrite disk was found within {seconds} s; there are only {}", others.join(", ")),
        }
    }
}

/// Whether the kernel has found partitions of ours on a disk.
fn is_ours(block: &BlockDisk) -> bool {
    block.partitions.values().any(|partition| Part::from_name(&partition.label).is_some())
}

fn without_partitions(path: &str, logical_block_bytes: Option<u64>) -> anyhow::Error {
    match logical_block_bytes {
        Some(bytes) if bytes != SECTOR_BYTES => {
            anyhow!("disk {path} has sectors of {bytes} bytes: Ferrite's image is made for {SECTOR_BYTES}")
        }
        Some(_) | None => anyhow!("disk {path} has Ferrite's partition table, but the kernel shows no partition of it"),
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Numbers of the entries of the primary table with this GUID, whatever its checksum says.
fn numbers_with_guid(disk: &impl ReadAt, guid: Uuid) -> Vec<u32> {
    let mut entries = [0u8; 128 * 128];
    if disk.read_exact_at(&mut entries, 1024).is_err() {
        return Vec::new();
    }
    let wanted = guid.to_bytes_le();
    let hits = (1u32..).zip(entries.chunks_exact(128)).filter(|(_, entry)| entry.get(16..32) == Some(&wanted[..]));
    hits.map(|(number, _)| number).collect()
}

/// A disk with zeros behind its end.
struct Padded<'a>(&'a File);

impl ReadAt for Padded<'_> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        match ReadAt::read_exact_at(self.0, buffer, offset) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                buffer.fill(0);
                Ok(())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_with_large_sectors_is_refused_by_name() {
        let text = |bytes| without_partitions("/dev/sda", bytes).to_string();
        assert_eq!(text(Some(4096)), "disk /dev/sda has sectors of 4096 bytes: Ferrite's image is made for 512");
        let unknown = "disk /dev/sda has Ferrite's partition table, but the kernel shows no partition of it";
        assert_eq!((text(Some(512)), text(None)), (unknown.to_owned(), unknown.to_owned()));
    }
}
