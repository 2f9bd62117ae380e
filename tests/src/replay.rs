//! Power cuts in the write log of a real machine: after every write, and with any mixture of unflushed sectors of boot
//! control, the boot loader's decision must lead to slots that hold a whole release.
//!
//! The decision is the one of `SlotState::choose`, which `boot_choice` holds against the real GRUB. The contents of a
//! slot are compared only when the flags would start it and its bytes changed since they were compared last.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use ferrite_layout::bootctl::Contents;
use ferrite_layout::slots::Choice;
use ferrite_layout::{Part, Slot};
use ferrite_qemu::disk;

use crate::chance::Chance;
use crate::disk_file::{DiskFile, Place};
use crate::publisher::SlotFiles;
use crate::write_log::{LoggedWrite, SECTOR, WriteLog};

/// Bytes that are compared at once.
const STEP: usize = 1 << 20;

/// A disk on which a log is repeated.
#[derive(Debug)]
pub struct Replay<'a> {
    disk: DiskFile,
    file: File,
    releases: &'a [SlotFiles],
    bootctl: Place,
    slots: [SlotBytes; 2],
    /// Boot control as it is, and as it was at the last flush.
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors of boot control since the last flush.
    pending: Vec<(usize, Vec<u8>)>,
    /// What was looked at.
    pub tally: Tally,
}

/// The bytes of a slot.
#[derive(Debug, Default)]
struct SlotBytes {
    places: Vec<Place>,
    /// Whether they are a whole release; `None`: not known since the last write.
    whole: Option<bool>,
    /// Something was written since the last flush.
    unflushed: bool,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes of the log, each of which is a cut.
    pub writes: usize,
    /// Flushes.
    pub flushes: usize,
    /// Mixtures of unflushed sectors.
    pub mixtures: usize,
    /// Cuts after which the slot under test would be started.
    pub trials: usize,
}

impl<'a> Replay<'a> {
    /// Begins with a copy of this image; a slot must hold one of the releases when it may be started.
    pub fn new(image: &Path, copy: &Path, releases: &'a [SlotFiles]) -> anyhow::Result<Self> {
        disk::copy_sparse(image, copy)?;
        let disk = DiskFile::open(copy)?;
        let file = File::options().read(true).write(true).open(copy).context("opening the replayed disk")?;
        let places = |slot| -> anyhow::Result<SlotBytes> {
            let places = vec![disk.place(Part::root_of(slot))?, disk.place(Part::boot_of(slot))?];
            Ok(SlotBytes { places, ..SlotBytes::default() })
        };
        let slots = [places(Slot::A)?, places(Slot::B)?];
        let bootctl = disk.place(Part::Bootctl)?;
        let now = disk.read_all(Part::Bootctl)?;
        let (durable, pending, tally) = (now.clone(), Vec::new(), Tally::default());
        Ok(Self { disk, file, releases, bootctl, slots, now, durable, pending, tally })
    }

    /// Repeats a log and cuts it after each write. The disk is afterwards what the log left.
    pub fn cut_everywhere(&mut self, log: &WriteLog, chance: &mut Chance) -> anyhow::Result<Tally> {
        for (number, write) in log.writes.iter().enumerate() {
            self.take(log, write)?;
            let spot = || format!("cut after write {} of {}", number + 1, log.writes.len());
            let now = std::mem::take(&mut self.now);
            let checked = self.check(&now);
            self.now = now;
            checked.with_context(spot)?;
            self.tally.writes += 1;
            for sample in 0..if self.pending.is_empty() { 0 } else { 24 } {
                let mixture = self.mixture(sample == 0, chance);
                self.check(&mixture).with_context(|| format!("{}, unflushed sectors of boot control mixed", spot()))?;
                self.tally.mixtures += 1;
            }
        }
        Ok(self.tally)
    }

    /// Takes one write over.
    fn take(&mut self, log: &WriteLog, write: &LoggedWrite) -> anyhow::Result<()> {
        if write.flush {
            self.tally.flushes += 1;
            self.durable.clone_from(&self.now);
            self.pending.clear();
            self.slots.iter_mut().for_each(|slot| slot.unflushed = false);
        }
        if write.length == 0 || write.discard {
            return Ok(());
        }
        log.replay(write, &self.file)?;
        let end = write.offset + write.length;
        let touches = |place: &Place| write.offset < place.offset + place.length && end > place.offset;
        for slot in &mut self.slots {
            if slot.places.iter().any(touches) {
                (slot.whole, slot.unflushed) = (None, true);
            }
        }
        if touches(&self.bootctl) {
            let data = log.data(write)?;
            for (offset, sector) in (write.offset..).step_by(SECTOR).zip(data.chunks(SECTOR)) {
                let Some(at) = offset.checked_sub(self.bootctl.offset) else { continue };
                if let Some(place) = self.now.get_mut(at as usize..at as usize + SECTOR) {
                    place.copy_from_slice(sector);
                    self.pending.push((at as usize, sector.to_vec()));
                }
            }
        }
        Ok(())
    }

    /// What may be left of boot control: of each unflushed sector any version, the old one too.
    fn mixture(&self, nothing: bool, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut order: Vec<usize> = (0..self.pending.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, chance.below(last as u64 + 1) as usize);
        }
        for (at, sector) in order.into_iter().filter_map(|index| self.pending.get(index)) {
            if !nothing && chance.below(2) == 0 {
                bytes[*at..*at + SECTOR].copy_from_slice(sector);
            }
        }
        bytes
    }

    /// The boot loader's decision, and all further ones if the slot under test does not come up.
    fn check(&mut self, bootctl: &[u8]) -> anyhow::Result<()> {
        let mut flags = Contents::parse(bootctl).flags().context("no copy of the flags is whole")?;
        for start in 0..8 {
            let (slot, end) = match flags.choose() {
                Choice::Good(slot) => (slot, true),
                Choice::Try(slot, after) => {
                    self.tally.trials += usize::from(start == 0);
                    flags = after;
                    (slot, false)
                }
                Choice::LastResort => bail!("start {start}: no slot is usable, {flags}"),
            };
            self.check_slot(slot).with_context(|| format!("start {start}, {flags}"))?;
            if end {
                return Ok(());
            }
        }
        Err(anyhow!("the boot loader never leaves the slot under test, {flags}"))
    }

    fn check_slot(&mut self, slot: Slot) -> anyhow::Result<()> {
        let bytes = &self.slots[slot as usize];
        if bytes.unflushed {
            bail!("slot {slot} may be started, and what was written to it is not flushed");
        }
        let whole = match bytes.whole {
            Some(known) => known,
            None => {
                let mut found = false;
                for release in self.releases {
                    found = found || holds(&self.disk, slot, release)?;
                }
                found
            }
        };
        self.slots[slot as usize].whole = Some(whole);
        if whole { Ok(()) } else { Err(anyhow!("slot {slot} may be started and holds no whole release")) }
    }
}

/// Whether a slot holds a release, to the last byte.
pub fn holds(disk: &DiskFile, slot: Slot, release: &SlotFiles) -> anyhow::Result<bool> {
    for (part, path) in [(Part::boot_of(slot), &release.boot), (Part::root_of(slot), &release.root)] {
        let file = File::open(path).with_context(|| format!("opening '{}'", path.display()))?;
        let length = file.metadata().context("asking for the size of a release")?.len();
        for offset in (0..length).step_by(STEP) {
            let mut wanted = vec![0; STEP.min((length - offset) as usize)];
            file.read_exact_at(&mut wanted, offset).with_context(|| format!("reading '{}'", path.display()))?;
            if disk.read(part, offset, wanted.len())? != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
