//! Power cuts at every write of real installs: the boot loader's decision on what is left, by the same code that the
//! slots' flags are defined by, and the install that follows the cut.

use ferrite_layout::slots::Choice;
use ferrite_layout::{Slot, SlotState};
use ferrite_update_engine::change::{self, Change};
use ferrite_update_engine::install::Outcome;
use ferrite_update_engine::machine::Machine;

use crate::cuts::{Cuts, Promise};
use crate::model::{self, Event, Faults, Medium, ModelDisk};
use crate::release::{Release, both_good};
use crate::run::{Memory, install};

/// An install and the disk before it.
struct History {
    name: &'static str,
    before: Medium,
    machine: Machine,
    payload: Vec<u8>,
    old: Release,
    new: Release,
    /// A release that waits in the other slot, or ran there before.
    other: Option<Release>,
}

fn histories() -> Vec<History> {
    let [first, second, third] = [1, 2, 3].map(Release::new);
    let fresh = SlotState::fresh();
    let staged = fresh.install_begins(Slot::B).install_done(Slot::B);
    let a = first.machine(Slot::A);
    let history = |name, before, machine, payload: Vec<u8>, old: &Release, new: &Release, other: Option<&Release>| {
        History { name, before, machine, payload, old: old.clone(), new: new.clone(), other: other.cloned() }
    };
    vec![
        history(
            "first update",
            Medium::new(&fresh, &first, None),
            a.clone(),
            second.payload(None),
            &first,
            &second,
            None,
        ),
        history(
            "delta",
            Medium::new(&fresh, &first, None),
            a.clone(),
            second.payload(Some(&first)),
            &first,
            &second,
            None,
        ),
        history(
            "second update, over a good slot",
            Medium::new(&both_good(Slot::B), &first, Some(&second)),
            second.machine(Slot::B),
            third.payload(None),
            &second,
            &third,
            Some(&first),
        ),
        history(
            "a newer release while one waits",
            Medium::new(&staged, &first, Some(&second)),
            a,
            third.payload(None),
            &first,
            &third,
            Some(&second),
        ),
    ]
}

impl History {
    fn target(&self) -> Slot {
        self.machine.running.other()
    }

    fn promise<'a>(&'a self, allowed: &'a [&'a Release]) -> Promise<'a> {
        Promise { running: self.machine.running, old: &self.old, allowed }
    }

    fn allowed(&self) -> Vec<&Release> {
        std::iter::once(&self.new).chain(&self.other).collect()
    }

    /// A whole install, recorded.
    fn record(&self) -> Vec<Event> {
        let disk = ModelDisk::new(&self.before, Faults::default());
        let outcome = install(&disk, &self.machine, &mut Memory::new(&self.payload), None);
        assert_eq!(outcome.expect("it is installed"), self.installed(), "{}", self.name);
        assert!(disk.medium().holds(self.target(), &self.new), "{}", self.name);
        disk.log.take()
    }

    fn installed(&self) -> Outcome {
        Outcome::Installed { slot: self.target(), serial: self.new.serial }
    }

    /// The engine after the cut: it installs to the end, or finds that it had done so. Returns what it wrote.
    fn recover(&self, left: &Medium) -> Result<Vec<Event>, String> {
        let disk = ModelDisk::new(left, Faults::default());
        let outcome = install(&disk, &self.machine, &mut Memory::new(&self.payload), None);
        let outcome = outcome.map_err(|error| format!("recovery: {error}"))?;
        if outcome != self.installed() && outcome != Outcome::Staged(self.target()) {
            return Err(format!("recovery: {outcome:?}"));
        }
        let medium = disk.medium();
        let waits = medium.flags().is_some_and(|flags| flags.flags(self.target()).usable());
        if !waits || !medium.holds(self.target(), &self.new) {
            return Err("recovery left another release than it installed".to_string());
        }
        Ok(disk.log.take())
    }

    /// Cuts a record everywhere; the second cut is in the recovery of some states.
    fn cut<'a>(&'a self, log: &[Event], allowed: &'a [&'a Release], effort: Effort) -> Cuts<'a> {
        let mut cuts = Cuts::new(self.promise(allowed), effort.seed, effort.recover_every);
        let mut second = Cuts::new(self.promise(allowed), effort.seed + 1, usize::MAX);
        let mut recovered = 0;
        cuts.enumerate(&self.before, log, effort.samples, &mut |left| {
            let events = self.recover(left)?;
            recovered += 1;
            if recovered % 4 == 1 {
                second.enumerate(left, &events, 2, &mut |_| Ok(()));
            }
            Ok(())
        });
        cuts.faults.append(&mut second.faults);
        cuts.distinct.append(&mut second.distinct);
        cuts
    }
}

#[derive(Clone, Copy)]
struct Effort {
    samples: usize,
    recover_every: usize,
    seed: u64,
}

fn everything() -> bool {
    std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1")
}

fn effort() -> Effort {
    let seed = std::env::var("FERRITE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let samples = if everything() { 2_500 } else { 500 };
    Effort { samples, recover_every: 40, seed }
}

#[test]
fn after_every_cut_the_boot_loader_picks_a_whole_release_and_the_install_goes_on() {
    let mut total = 0;
    for history in histories() {
        let allowed = history.allowed();
        let cuts = history.cut(&history.record(), &allowed, effort());
        let (distinct, faults) = (cuts.distinct.len(), cuts.faults);
        println!("{}: {distinct} distinct states", history.name);
        assert!(faults.is_empty(), "{}: {} faults, the first: {}", history.name, faults.len(), faults[0]);
        total += distinct;
    }
    let wanted = if everything() { 40_000 } else { 10_000 };
    assert!(total >= wanted, "{total} distinct states, {wanted} wanted");
}

/// A release that proved itself says that what it took the place of must not start again.
#[test]
fn a_cut_while_the_old_slot_is_retired_never_costs_the_running_one() {
    let [old, new] = [1, 2].map(Release::new);
    let before = Medium::new(&both_good(Slot::B), &old, Some(&new));
    let disk = ModelDisk::new(&before, Faults::default());
    let mut bootctl = disk.bootctl();
    let contents = bootctl.read().expect("it is read");
    let plan = change::plan(&contents, Slot::B, "1.2", &Change::Retire(Slot::A));
    bootctl.write_flags(&plan.flags.expect("they change")).expect("they are written");
    let log = disk.log.take();
    let allowed = [&old];
    let promise = Promise { running: Slot::B, old: &new, allowed: &allowed };
    let mut cuts = Cuts::new(promise, 1, 1);
    cuts.enumerate(&before, &log, 4, &mut |left| {
        // Whatever was left: doing it again ends it.
        let disk = ModelDisk::new(left, Faults::default());
        let mut bootctl = disk.bootctl();
        let contents = bootctl.read().map_err(|error| error.to_string())?;
        let plan = change::plan(&contents, Slot::B, "1.2", &Change::Retire(Slot::A));
        plan.flags.map_or(Ok(()), |flags| bootctl.write_flags(&flags)).map_err(|error| error.to_string())?;
        let flags = disk.medium().flags().ok_or("no flags are left")?;
        let retired = !flags.flags(Slot::A).usable() && flags.choose() == Choice::Good(Slot::B);
        if retired { Ok(()) } else { Err(format!("it is not retired: {flags}")) }
    });
    assert!(cuts.faults.is_empty() && cuts.count >= 6, "{} states: {:?}", cuts.count, cuts.faults);
}

/// Mistakes of order that an installer could make. Each must be found, or the model is blind for it.
#[test]
fn every_seeded_mistake_is_found() {
    type Mistake = fn(Vec<Event>, Slot) -> Vec<Event>;
    let mistakes: [(&str, Mistake); 10] = [
        ("no flush at all", |log, _| log.into_iter().filter(|event| !matches!(event, Event::Flush)).collect()),
        ("the slot is not hidden first", |mut log, _| {
            let flags = flag_writes(&log);
            if flags.len() > 2 {
                flags.into_iter().take(2).rev().for_each(|at| drop(log.remove(at)));
            }
            log
        }),
        ("the slot is started before it is written", |mut log, _| {
            let flips: Vec<usize> = flag_writes(&log).split_off(2);
            let moved: Vec<Event> = flips.into_iter().rev().map(|at| log.remove(at)).collect();
            moved.into_iter().for_each(|event| log.insert(2, event));
            log
        }),
        ("no last flush", |mut log, _| {
            let last = log.iter().rposition(|event| matches!(event, Event::Flush)).expect("there is one");
            log.remove(last);
            log
        }),
        ("noted before it is on the disk", |mut log, _| {
            let noted = (1..log.len()).filter(|at| matches!(log[*at], Event::Note(_)));
            let pairs: Vec<usize> = noted.filter(|at| matches!(log[at - 1], Event::Flush)).collect();
            pairs.into_iter().for_each(|at| log.swap(at - 1, at));
            log
        }),
        ("one copy of the flags", |log, _| {
            let second = |event: &Event| matches!(event, Event::Write { offset: model::SECOND_COPY, .. });
            let spoilt = Event::Write { offset: model::SECOND_COPY, bytes: vec![0; model::SECTOR], durable: true };
            std::iter::once(spoilt).chain(log.into_iter().filter(|event| !second(event))).collect()
        }),
        ("the slot is hidden in one copy only", |mut log, _| {
            let flags = flag_writes(&log);
            if flags.len() > 2 {
                log.remove(flags[1]);
            }
            log
        }),
        ("the flags go through the cache", |log, _| {
            let cached = |event| match event {
                Event::Write { offset, bytes, .. } => Event::Write { offset, bytes, durable: false },
                Event::Flush | Event::Note(_) => event,
            };
            log.into_iter().map(cached).collect()
        }),
        ("a write that the disk has lost, and nobody reads back", |mut log, _| {
            let lost = log.iter().position(|event| matches!(event, Event::Write { durable: false, .. }));
            log.remove(lost.expect("something is written"));
            log
        }),
        ("a write to the running slot", |mut log, running| {
            let (begin, _) = model::place(running, ferrite_payload::PartRole::Root);
            let bytes = vec![0x5a; model::SECTOR];
            log.insert(4, Event::Write { offset: begin, bytes, durable: false });
            log
        }),
    ];
    for (what, mistake) in mistakes {
        let first_fault = histories().iter().find_map(|history| {
            let log = mistake(history.record(), history.machine.running);
            let effort = Effort { samples: 6, recover_every: 3, seed: 1 };
            let fault = history.cut(&log, &history.allowed(), effort).faults.into_iter().next();
            fault.map(|fault| format!("{}: {fault}", history.name))
        });
        println!("{what}: {first_fault:?}");
        assert!(first_fault.is_some(), "{what} is not found");
    }
}

fn flag_writes(log: &[Event]) -> Vec<usize> {
    let is_flags = |at: &usize| matches!(&log[*at], Event::Write { durable: true, .. });
    (0..log.len()).filter(is_flags).collect()
}
