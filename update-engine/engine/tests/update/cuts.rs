//! What a power cut may leave of a recorded install: everything up to a flush, and of what came later any sectors, in
//! any mixture of old and new; the sector of flags that was under way whole, absent or spoilt.

use std::collections::{BTreeMap, BTreeSet};

use ferrite_layout::Slot;
use ferrite_layout::slots::Choice;
use ferrite_payload::Hash;

use crate::model::{Event, Medium, SECTOR};
use crate::release::Release;

/// Chances that can be repeated.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// What must hold after every cut.
pub struct Promise<'a> {
    pub running: Slot,
    /// What the running slot holds.
    pub old: &'a Release,
    /// What the other slot may be started with.
    pub allowed: &'a [&'a Release],
}

impl Promise<'_> {
    /// The boot loader's decision on this disk, and all further ones if the slot it picks does not come up.
    pub fn check(&self, medium: &Medium) -> Result<(), String> {
        let mut flags = medium.flags().ok_or("no copy of the flags is whole")?;
        for start in 0..8 {
            let slot = match flags.choose() {
                Choice::Good(slot) => slot,
                Choice::Try(slot, after) => {
                    flags = after;
                    slot
                }
                Choice::LastResort => return Err(format!("start {start}: no slot is usable, {flags}")),
            };
            if slot == self.running {
                let whole = medium.holds(slot, self.old);
                return if whole { Ok(()) } else { Err(format!("running slot {slot} was changed, {flags}")) };
            }
            if !self.allowed.iter().any(|release| medium.holds(slot, release)) {
                return Err(format!("start {start}: slot {slot} is no whole release, {flags}"));
            }
            // It is a good release; that it fails nevertheless must lead back.
            flags = flags.load_failed(slot).filter(|_| flags.flags(slot).good()).unwrap_or(flags);
        }
        Err(format!("no way back to slot {}, {flags}", self.running))
    }
}

type Overlay = BTreeMap<usize, Vec<u8>>;

/// The states that were looked at.
pub struct Cuts<'a> {
    pub promise: Promise<'a>,
    pub distinct: BTreeSet<Hash>,
    pub faults: Vec<String>,
    pub chance: Chance,
    /// Every so many states, recovery is tried.
    pub recover_every: usize,
    pub count: usize,
}

impl<'a> Cuts<'a> {
    pub fn new(promise: Promise<'a>, seed: u64, recover_every: usize) -> Cuts<'a> {
        Cuts { promise, distinct: BTreeSet::new(), faults: Vec::new(), chance: Chance(seed), recover_every, count: 0 }
    }

    /// Cuts a record at every event; `samples` mixtures of sectors at each.
    pub fn enumerate(
        &mut self,
        before: &Medium,
        log: &[Event],
        samples: usize,
        recover: &mut dyn FnMut(&Medium) -> Result<(), String>,
    ) {
        let mut durable = before.clone();
        let mut pending: Vec<(usize, Vec<u8>)> = Vec::new();
        self.mixtures(&durable, &pending, samples, recover, 0);
        for (number, event) in log.iter().enumerate() {
            if let Event::Write { offset, bytes, durable: true } = event {
                for spoilt in [vec![0; SECTOR], vec![0xff; SECTOR], [&bytes[..40], &vec![b'#'; SECTOR - 40]].concat()] {
                    let overlay = Overlay::from([(*offset, spoilt)]);
                    self.look(&durable, &overlay, recover, number);
                }
            }
            match event {
                Event::Write { offset, bytes, durable: true } => durable.write(*offset, bytes),
                Event::Write { offset, bytes, durable: false } => {
                    pending.extend(bytes.chunks(SECTOR).enumerate().map(|(i, s)| (offset + i * SECTOR, s.to_vec())));
                }
                Event::Flush => pending.drain(..).for_each(|(offset, sector)| durable.write(offset, &sector)),
                Event::Note(note) => durable.note = Some(note.clone()),
            }
            self.mixtures(&durable, &pending, samples, recover, number + 1);
        }
    }

    fn mixtures(
        &mut self,
        durable: &Medium,
        pending: &[(usize, Vec<u8>)],
        samples: usize,
        recover: &mut dyn FnMut(&Medium) -> Result<(), String>,
        number: usize,
    ) {
        let pick = |wanted: &mut dyn FnMut(usize) -> bool| -> Overlay {
            pending.iter().enumerate().filter(|(index, _)| wanted(*index)).map(|(_, write)| write.clone()).collect()
        };
        self.look(durable, &pick(&mut |_| false), recover, number);
        if pending.is_empty() {
            return;
        }
        self.look(durable, &pick(&mut |_| true), recover, number);
        for sample in 0..samples {
            let count = pending.len();
            let (from, length) = (self.chance.below(count), 1 + self.chance.below(count));
            let inside = |index: usize| (from..from + length).contains(&index);
            let overlay = match sample % 3 {
                0 => pick(&mut |index| !inside(index)),
                1 => pick(&mut |index| inside(index)),
                _ => {
                    let mut chance = Chance(self.chance.below(usize::MAX) as u64);
                    pick(&mut |_| chance.below(2) == 0)
                }
            };
            self.look(durable, &overlay, recover, number);
        }
    }

    fn look(
        &mut self,
        durable: &Medium,
        overlay: &Overlay,
        recover: &mut dyn FnMut(&Medium) -> Result<(), String>,
        number: usize,
    ) {
        let mut medium = durable.clone();
        overlay.iter().for_each(|(offset, sector)| medium.write(*offset, sector));
        let note = medium.note.as_ref().map(|note| note.render()).unwrap_or_default();
        if !self.distinct.insert(Hash::of_pieces(&[&medium.bytes, &note])) {
            return;
        }
        self.count += 1;
        let mut outcome = self.promise.check(&medium);
        if outcome.is_ok() && self.count.is_multiple_of(self.recover_every) {
            outcome = recover(&medium);
        }
        if let Err(fault) = outcome {
            self.faults.push(format!("cut after event {number}, {} late sectors written: {fault}", overlay.len()));
        }
    }
}
