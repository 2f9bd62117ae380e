//! Whole lives of a machine in a model: releases that are good, do not load, die or are not healthy; the boot loader,
//! early boot, gate and engine played by the functions that decide in them; the power cut at every write, once and
//! twice. Only the contents of the slots are reduced to half-written and whole; `crash` has their bytes.

use std::collections::BTreeSet;

use ferrite_layout::bootctl::Contents;
use ferrite_layout::record::Stage;
use ferrite_layout::slots::{Choice, Trouble};
use ferrite_layout::{Record, Slot, SlotFlags, SlotState};
use ferrite_update_engine::change::{self, Change};
use ferrite_update_engine::store::{Found, Staged, Store};

use crate::cuts::Chance;

const NOW: u64 = 1_800_000_000;

/// What becomes of a release.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Good,
    /// Good as well, and a newer one is there before the machine restarts into it.
    Waits,
    /// The boot loader cannot load it.
    DoesNotLoad,
    /// It ends before its boot is complete.
    Dies,
    /// It runs, and its gate gives it up.
    Unhealthy,
}

/// What a slot holds.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Nothing,
    Half,
    Whole(u64),
}

/// What is on the disk.
#[derive(Clone)]
struct Disk {
    copies: [Option<SlotState>; 2],
    record: Option<Record>,
    slots: [Content; 2],
    store: Store,
}

/// What an engine could do wrong. Each must be found, or the model is blind for it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mistake {
    None,
    ConfirmsBeforeHealth,
    BlocksNothing,
    NotesAfterTheFlags,
    WritesWithoutHiding,
    GivesOneTry,
    FallsBackWithoutDemoting,
}

/// The end of a part of a life.
#[derive(Debug)]
enum End {
    PowerCut,
    Fault(String),
}

/// Counts what is written, and cuts.
struct Power {
    points: usize,
    /// Writes after which the power is cut, in this order.
    cuts: Vec<usize>,
    /// The write under way at the first cut is torn.
    torn: bool,
}

impl Power {
    /// Something is about to be written. The error: the power was cut before; `true`: in the middle.
    fn write(&mut self) -> Result<(), bool> {
        self.points += 1;
        if self.cuts.first() == Some(&self.points) {
            self.cuts.remove(0);
            return Err(std::mem::take(&mut self.torn));
        }
        Ok(())
    }
}

/// A machine, and what the test knows of it.
struct Life {
    disk: Disk,
    power: Power,
    mistake: Mistake,
    kinds: Vec<Kind>,
    newest: u64,
    /// What runs, if the machine is at rest.
    running: Option<(Slot, u64)>,
    /// Releases that were started.
    started: BTreeSet<u64>,
    /// Bad releases that the machine came back from.
    left: BTreeSet<u64>,
}

fn version(serial: u64) -> String {
    format!("1.{serial}")
}

impl Life {
    /// Release 1 runs, the other slot is empty. `kinds` are those of release 2 and on.
    fn new(kinds: &[Kind], mistake: Mistake, power: Power) -> Life {
        let flags = SlotState::fresh();
        let record = Record::default().start(Some(&flags), Slot::A, &version(1)).complete(Slot::A);
        let disk = Disk {
            copies: [Some(flags); 2],
            record: Some(record),
            slots: [Content::Whole(1), Content::Nothing],
            store: Store::default(),
        };
        let kinds = [&[Kind::Good, Kind::Good], kinds].concat();
        Life { disk, power, mistake, kinds, newest: 1, running: None, started: BTreeSet::new(), left: BTreeSet::new() }
    }

    fn kind(&self, serial: u64) -> Kind {
        self.kinds[serial as usize]
    }

    fn content(&self, slot: Slot) -> Content {
        self.disk.slots[slot as usize]
    }

    fn contents(&self) -> Contents {
        Contents { copies: self.disk.copies, record: self.disk.record.clone(), ..Contents::default() }
    }

    fn flags(&self) -> Result<SlotState, End> {
        self.contents().flags().ok_or(End::Fault("no copy of the flags is whole".into()))
    }

    fn write_copy(&mut self, copy: usize, flags: SlotState) -> Result<(), End> {
        match self.power.write() {
            Ok(()) => self.disk.copies[copy] = Some(flags),
            Err(torn) => {
                if torn {
                    self.disk.copies[copy] = None;
                }
                return Err(End::PowerCut);
            }
        }
        Ok(())
    }

    fn write_flags(&mut self, flags: SlotState) -> Result<(), End> {
        self.write_copy(1, flags)?;
        self.write_copy(0, flags)
    }

    /// The boot loader writes to the copy that it has read.
    fn loader_writes(&mut self, flags: SlotState) -> Result<(), End> {
        let copy = if self.disk.copies[0].is_some() { 0 } else { 1 };
        self.write_copy(copy, flags)
    }

    fn write_record(&mut self, record: Record) -> Result<(), End> {
        match self.power.write() {
            Ok(()) => self.disk.record = Some(record),
            Err(torn) => {
                if torn {
                    self.disk.record = None;
                }
                return Err(End::PowerCut);
            }
        }
        Ok(())
    }

    fn write_store(&mut self, store: Store) -> Result<(), End> {
        // A file is replaced as a whole.
        self.power.write().map_err(|_| End::PowerCut)?;
        self.disk.store = store;
        Ok(())
    }

    fn change(&mut self, slot: Slot, serial: u64, change: &Change) -> Result<(), End> {
        let plan = change::plan(&self.contents(), slot, &version(serial), change);
        if let Some(record) = plan.first {
            self.write_record(record)?;
        }
        if let Some(flags) = plan.flags {
            self.write_flags(flags)?;
        }
        plan.record.map_or(Ok(()), |record| self.write_record(record))
    }

    /// One start, from the boot loader to its end. `true`: the machine is at rest.
    fn start(&mut self) -> Result<bool, End> {
        let flags = self.flags()?;
        let slot = match flags.choose() {
            Choice::Good(slot) => slot,
            Choice::Try(slot, after) => {
                self.loader_writes(after)?;
                slot
            }
            Choice::LastResort => return Err(End::Fault(format!("no slot is usable: {flags}"))),
        };
        let Content::Whole(serial) = self.content(slot) else {
            return Err(End::Fault(format!("slot {slot} is started and not whole: {flags}")));
        };
        if let Content::Whole(other) = self.content(slot.other())
            && flags.flags(slot.other()) == SlotFlags::Unusable
            && self.started.contains(&other)
            && !matches!(self.kind(other), Kind::Good | Kind::Waits)
        {
            self.left.insert(other);
        }
        self.started.insert(serial);
        if self.kind(serial) == Kind::DoesNotLoad {
            let after = self.flags()?.load_failed(slot);
            let after = after.ok_or(End::Fault(format!("slot {slot} does not load and there is no other")))?;
            self.loader_writes(after)?;
            return Ok(false);
        }
        self.early_boot(slot, serial)
    }

    fn early_boot(&mut self, slot: Slot, serial: u64) -> Result<bool, End> {
        let flags = self.flags()?;
        let record = self.disk.record.clone().unwrap_or_default().start(Some(&flags), slot, &version(serial));
        if let Some(after) = flags.late_fallback(slot, Trouble::Starts(record.starts)) {
            self.write_record(record.fall_back(slot, "starts in a row"))?;
            self.write_flags(after)?;
            return Ok(false);
        }
        self.write_record(record)?;
        match self.kind(serial) {
            Kind::Dies => Ok(false),
            Kind::Good | Kind::Waits | Kind::DoesNotLoad | Kind::Unhealthy => self.run(slot, serial),
        }
    }

    fn run(&mut self, slot: Slot, serial: u64) -> Result<bool, End> {
        self.change(slot, serial, &Change::Reach(Stage::Init))?;
        self.settle(slot, serial)?;
        let on_trial = !self.flags()?.flags(slot).good();
        if on_trial && self.kind(serial) == Kind::Unhealthy && self.mistake != Mistake::ConfirmsBeforeHealth {
            if self.mistake == Mistake::FallsBackWithoutDemoting {
                let flags = self.flags()?;
                self.write_flags(flags.install_begins(slot.other()).install_done(slot))?;
            } else {
                self.change(slot, serial, &Change::FallBack("not healthy".into()))?;
            }
            return Ok(false);
        }
        self.change(slot, serial, &Change::MarkGood)?;
        self.settle(slot, serial)?;
        self.running = Some((slot, serial));
        self.update(slot, serial)
    }

    fn settle(&mut self, slot: Slot, serial: u64) -> Result<(), End> {
        let flags = self.flags()?;
        let fallback = self.disk.record.clone().and_then(|record| record.fallback);
        let fallback = fallback.as_ref().map(|fallback| (fallback.from, fallback.reason.as_str()));
        let mut store = self.disk.store.clone();
        store.settle(&Found { serial, running: slot, flags, fallback, now: NOW });
        if self.mistake == Mistake::BlocksNothing {
            store.blocked.clear();
        }
        if store != self.disk.store { self.write_store(store) } else { Ok(()) }
    }

    /// What the engine does about the newest release that is not blocked. `true`: nothing.
    fn update(&mut self, running: Slot, serial: u64) -> Result<bool, End> {
        let (blocked, target) = (self.disk.store.blocked_serials(NOW), running.other());
        let Some(newest) = (serial + 1..=self.newest).rev().find(|serial| !blocked.contains(serial)) else {
            return Ok(true);
        };
        if self.left.contains(&newest) {
            return Err(End::Fault(format!("release {newest} failed and is installed again")));
        }
        let mut store = self.disk.store.clone();
        if let Some(staged) = store.staged.as_mut().filter(|staged| !staged.gives_way) {
            staged.gives_way = true;
            self.write_store(store)?;
        }
        let record = self.disk.record.clone().unwrap_or_default();
        self.write_record(record.forget_other())?;
        let hidden = self.flags()?.install_begins(target);
        let staged = Staged {
            serial: newest,
            version: version(newest),
            slot: target,
            floor: 0,
            size_bytes: 1,
            from: None,
            gives_way: true,
        };
        let noted = Store { staged: Some(staged.clone()), ..self.disk.store.clone() };
        if self.mistake != Mistake::WritesWithoutHiding {
            self.write_flags(hidden)?;
        }
        self.disk.slots[target as usize] = Content::Half;
        self.power.write().map_err(|_| End::PowerCut)?;
        self.disk.slots[target as usize] = Content::Whole(newest);
        self.started.remove(&newest);
        if self.mistake != Mistake::NotesAfterTheFlags {
            self.write_store(noted.clone())?;
        }
        let done = hidden.install_done(target);
        let tries = if self.mistake == Mistake::GivesOneTry { 1 } else { 3 };
        self.write_flags(done.with(target, SlotFlags::Trying(tries)))?;
        self.write_store(Store { staged: Some(Staged { gives_way: false, ..staged }), ..noted })?;
        Ok(self.kind(newest) == Kind::Waits)
    }

    /// A machine that was at rest hears of a newer release.
    fn go_on(&mut self, slot: Slot, serial: u64) -> Result<bool, End> {
        self.running = Some((slot, serial));
        self.update(slot, serial)
    }

    /// Starts until the machine is at rest. The power comes back after each cut.
    fn rest(&mut self) -> Result<(), String> {
        for _ in 0..40 {
            let ended = match self.running.take() {
                Some((slot, serial)) => self.go_on(slot, serial),
                None => self.start(),
            };
            match ended {
                Ok(true) => return Ok(()),
                Ok(false) | Err(End::PowerCut) => self.running = None,
                Err(End::Fault(fault)) => return Err(fault),
            }
        }
        Err("the machine never comes to rest".into())
    }

    /// All releases, one after the other; after each the best of them runs and the bad ones are blocked.
    fn live(&mut self) -> Result<(), String> {
        let mut best = 1;
        for serial in 2..self.kinds.len() as u64 {
            self.newest = serial;
            self.rest()?;
            if self.kind(serial) == Kind::Waits {
                continue;
            }
            let good = self.kind(serial) == Kind::Good;
            best = if good { serial } else { best };
            let flags = self.contents().flags().ok_or("no copy of the flags is whole")?;
            let Choice::Good(slot) = flags.choose() else { return Err(format!("no good slot is next: {flags}")) };
            if self.content(slot) != Content::Whole(best) {
                return Err(format!("release {best} should run, {flags}"));
            }
            if self.disk.store.blocked_serials(NOW).contains(&serial) == good {
                return Err(format!("release {serial} is {:?}, blocked: {:?}", self.kind(serial), self.disk.store));
            }
        }
        Ok(())
    }
}

fn lives() -> Vec<Vec<Kind>> {
    use Kind::{Dies, DoesNotLoad, Good, Unhealthy, Waits};
    vec![
        vec![Good, Good, Good],
        vec![Good, Waits, Good],
        vec![Good, Unhealthy, Good],
        vec![Good, Dies, Dies, Good],
        vec![Unhealthy, DoesNotLoad, Good],
        vec![Good, DoesNotLoad, Unhealthy, Dies, Good],
    ]
}

fn live(kinds: &[Kind], mistake: Mistake, cuts: Vec<usize>, torn: bool) -> (Result<(), String>, usize) {
    let mut life = Life::new(kinds, mistake, Power { points: 0, cuts, torn });
    let outcome = life.live();
    (outcome, life.power.points)
}

/// Every single cut and `seconds` second ones for each, before and in the middle of a write. How many cuts, and the
/// first fault.
fn cut_everywhere(kinds: &[Kind], mistake: Mistake, seconds: usize, chance: &mut Chance) -> (usize, Option<String>) {
    let (outcome, points) = live(kinds, mistake, vec![], false);
    if let Err(fault) = outcome {
        return (0, Some(format!("without a cut: {fault}")));
    }
    let mut count = 0;
    for first in 1..=points {
        for torn in [false, true] {
            let after = (0..seconds).map(|_| first + 1 + chance.below(points + 40 - first));
            for cuts in std::iter::once(vec![first]).chain(after.map(|second| vec![first, second])) {
                count += cuts.len();
                if let (Err(fault), _) = live(kinds, mistake, cuts.clone(), torn) {
                    return (count, Some(format!("{kinds:?}, cut at {cuts:?} (torn: {torn}): {fault}")));
                }
            }
        }
    }
    (count, None)
}

#[test]
fn no_cut_in_the_life_of_a_machine_leaves_it_unbootable_or_with_the_wrong_release() {
    let long = std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1");
    let (seconds, wanted) = if long { (700, 1_000_000) } else { (10, 15_000) };
    let mut chance = Chance(3);
    let mut total = 0;
    for kinds in lives() {
        let (count, fault) = cut_everywhere(&kinds, Mistake::None, seconds, &mut chance);
        println!("{kinds:?}: {count} cuts");
        assert_eq!(fault, None);
        total += count;
    }
    assert!(total >= wanted, "{total} cuts, {wanted} wanted");
}

#[test]
fn every_mistake_in_the_life_of_a_machine_is_found() {
    use Mistake::{
        BlocksNothing, ConfirmsBeforeHealth, FallsBackWithoutDemoting, GivesOneTry, NotesAfterTheFlags,
        WritesWithoutHiding,
    };
    let mistakes = [ConfirmsBeforeHealth, BlocksNothing, NotesAfterTheFlags, WritesWithoutHiding, GivesOneTry];
    for mistake in mistakes.into_iter().chain([FallsBackWithoutDemoting]) {
        let mut chance = Chance(3);
        let mut count = 0;
        let fault = lives().iter().find_map(|kinds| {
            let (cuts, fault) = cut_everywhere(kinds, mistake, 30, &mut chance);
            count += cuts;
            fault
        });
        println!("{mistake:?}: after {count} cuts: {fault:?}");
        assert!(fault.is_some(), "{mistake:?} is not found");
    }
}
