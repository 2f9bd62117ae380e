//! Watches the device below the root: once the kernel has found a block that does not match its hash, this is written
//! down for the slot and the machine goes where `ferrite_layout::corruption` says.
//!
//! Nothing here reads the root. The program itself was read to its end by early boot, what it has touched since is kept
//! in memory, and writing down is rehearsed once so that it has been touched. If a page is lost all the same, PID 1
//! dies, the kernel restarts the machine, and early boot finds the corrupt program.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::corruption::{self, BadBlock, ROOT_MAPPING, Then};
use ferrite_layout::durable::replace_file;
use ferrite_layout::facts::{BootFacts, FACTS_PATH};
use ferrite_layout::snapshot::{SLOTS_PATH, Snapshot};
use ferrite_layout::{Record, Slot, SlotFlags, SlotState, envblock};
use ferrite_sys::dm::Mapper;
use ferrite_sys::mapper_events::MapperEvents;
use ferrite_sys::reboot::End;

use crate::engine::{Engine, Phase, keys};
use crate::log::{Log, Mark};
use crate::shutdown::bounded_status;

/// What the kernel calls the block in its announcement.
const BLOCK: &str = "DM_VERITY_ERR_BLOCK_NR";
/// The device's word for "a block did not match".
const CORRUPT: &str = "C";
/// Two sectors are read and up to five are written.
const WRITE_TIME: Duration = Duration::from_secs(20);

/// What the root is watched with.
#[derive(Debug, Default)]
pub struct RootWatch {
    events: Option<MapperEvents>,
    mapper: Option<Mapper>,
    /// What early boot found out.
    pub facts: BootFacts,
    /// The first corrupt block decides; the kernel tells of each read of it.
    answered: bool,
}

impl Engine {
    /// Begins to watch, on a machine whose root early boot verified.
    pub fn watch_root(&mut self) {
        if !self.settings.real_boot {
            return;
        }
        if let Err(error) = ferrite_sys::memory::keep() {
            self.log.warning(&format!("keeping PID 1 in memory: {error}, going on without"));
        }
        if let Err(error) = rehearse() {
            self.log.warning(&format!("rehearsing for a corrupt root: {error:#}, going on without"));
        }
        self.root.facts = std::fs::read_to_string(FACTS_PATH).map(|text| BootFacts::parse(&text)).unwrap_or_default();
        if self.root.facts.root_hash.is_empty() {
            return;
        }
        let opened = MapperEvents::open().and_then(|events| self.epoll.add(&events, keys::ROOT).map(|()| events));
        match opened {
            Ok(events) => self.root.events = Some(events),
            Err(error) => self.log.warning(&format!("listening for corruption of the root: {error}, looking for it")),
        }
        match Mapper::open() {
            Ok(mapper) => self.root.mapper = Some(mapper),
            Err(error) => self.log.error(&format!("opening the device mapper: {error}, the root is not watched")),
        }
        // What happened before the socket was there.
        self.check_root();
    }

    /// Looks whether the root is whole. The device itself is believed, not the announcement.
    pub fn check_root(&mut self) {
        let announced = self.root.events.as_ref().map(|events| events.take(BLOCK)).unwrap_or_default();
        let Some(mapper) = &self.root.mapper else { return };
        if self.root.answered {
            return;
        }
        match mapper.status(ROOT_MAPPING) {
            Ok(status) if status.starts_with(CORRUPT) => {}
            Ok(_) => return,
            Err(error) => {
                self.log.error(&format!("asking the device below the root: {error}, the root is not watched"));
                self.root.mapper = None;
                return;
            }
        }
        self.root.answered = true;
        let block = announced.iter().find_map(|value| BadBlock::from_announcement(value));
        self.root_is_corrupt(block);
    }

    fn root_is_corrupt(&mut self, block: Option<BadBlock>) {
        let place = block.map_or(String::new(), |block| format!(" at {block}"));
        let what = match self.root.facts.slot {
            Some(slot) => format!("The root of slot {slot} is corrupt{place}"),
            None => format!("The root is corrupt{place}"),
        };
        self.log.error(&what);
        let (facts, log) = (&self.root.facts, &self.log);
        let status = bounded_status(WRITE_TIME, &self.watch, || code(write_down(facts, block, log)));
        let then = status.and_then(from_code).unwrap_or_else(|| {
            self.log.error("writing the corruption down did not end");
            without_record(&self.root.facts)
        });
        let (text, restarts) = match then {
            Then::Restart(Some(slot)) => (format!("{what}. Restarting into slot {slot}."), true),
            Then::Restart(None) => (format!("{what}. Restarting."), true),
            Then::Stay => (format!("{what}. No other slot works: staying up, install the release again."), false),
        };
        self.log.error(&text);
        self.log.status(Mark::Failed, &text);
        // A machine that ends already goes on ending the way it was asked to.
        if restarts && !matches!(self.phase, Phase::Stopping(_)) {
            self.begin_shutdown(End::Reboot, 1);
        }
    }
}

/// Writes the corruption down; runs in a child, as the disk may hang.
fn write_down(facts: &BootFacts, block: Option<BadBlock>, log: &Log) -> Then {
    let Some(slot) = facts.slot else { return without_record(facts) };
    match record(facts, slot, block) {
        Ok((then, snapshot)) => {
            // For everybody to read; without it what happened is told at the next start only.
            if let Err(error) = replace_file(Path::new(SLOTS_PATH), snapshot.render().as_bytes(), 0o644) {
                log.warning(&format!("writing {SLOTS_PATH}: {error}"));
            }
            then
        }
        Err(error) => {
            log.error(&format!("writing the corruption down: {error:#}"));
            without_record(facts)
        }
    }
}

/// Writes record and flags of the boot control partition.
fn record(facts: &BootFacts, slot: Slot, block: Option<BadBlock>) -> anyhow::Result<(Then, Snapshot)> {
    let mut bootctl = Bootctl::open(Path::new(&facts.bootctl_device), Access::Write)?;
    let contents = bootctl.read()?;
    let answer = corruption::answer(&contents, slot, &facts.version, block);
    let recorded = bootctl.write_record(&answer.record);
    match &answer.flags {
        // Where to go counts more than why.
        Some(flags) => bootctl.write_flags(flags)?,
        None => recorded?,
    }
    let snapshot = Snapshot {
        running: Some(slot),
        version: Some(facts.version.clone()).filter(|version| !version.is_empty()),
        flags: answer.flags.or(contents.flags()),
        record: Some(answer.record),
    };
    Ok((answer.then, snapshot))
}

/// Does all of that once on a partition in memory.
fn rehearse() -> anyhow::Result<()> {
    let file = File::from(rustix::fs::memfd_create(c"bootctl", rustix::fs::MemfdFlags::CLOEXEC)?);
    let flags = SlotState::fresh().with(Slot::B, SlotFlags::Good);
    file.write_all_at(&small_partition(&flags), 0)?;
    let bootctl_device = format!("/proc/self/fd/{}", file.as_raw_fd());
    let facts = BootFacts { bootctl_device, version: "rehearsal".into(), ..BootFacts::default() };
    let (then, snapshot) = record(&facts, Slot::A, BadBlock::from_announcement("0,1"))?;
    anyhow::ensure!(then == Then::Restart(Some(Slot::B)), "it would not go to the other slot: {}", snapshot.render());
    Ok(())
}

/// A boot control partition with nothing but the three files.
fn small_partition(flags: &SlotState) -> Vec<u8> {
    let copy = envblock::render(flags);
    let record = Record::default().start(Some(flags), Slot::A, "").render();
    let padding = [0; 4096 - envblock::ENV_BYTES];
    [&copy[..], &padding[..], &copy[..], &padding[..], &record[..]].concat()
}

/// Nothing can be written down. A good slot stays up, or it might restart for ever; one under test restarts, as its
/// tries are counted by the boot loader. A machine from the network fetches its root again.
fn without_record(facts: &BootFacts) -> Then {
    match (facts.slot, facts.slot_good) {
        (Some(_), Some(true) | None) => Then::Stay,
        (Some(_), Some(false)) | (None, _) => Then::Restart(None),
    }
}

const CODES: [(i32, Then); 4] = [
    (10, Then::Restart(None)),
    (11, Then::Restart(Some(Slot::A))),
    (12, Then::Restart(Some(Slot::B))),
    (13, Then::Stay),
];

/// As the status of a child.
fn code(then: Then) -> i32 {
    CODES.iter().find(|(_, known)| *known == then).map_or(0, |(code, _)| *code)
}

fn from_code(status: i32) -> Option<Then> {
    CODES.iter().find(|(code, _)| *code == status).map(|(_, then)| *then)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::bootctl::Contents;

    #[test]
    fn every_decision_survives_the_way_from_the_child() {
        for (_, then) in CODES {
            assert_eq!(from_code(code(then)), Some(then));
        }
        assert_eq!((from_code(0), from_code(-1), from_code(1)), (None, None, None));
    }

    #[test]
    fn without_a_record_only_a_slot_under_test_restarts() {
        let facts = |slot_good| BootFacts { slot: Some(Slot::A), slot_good, ..BootFacts::default() };
        assert_eq!(without_record(&facts(Some(true))), Then::Stay);
        assert_eq!(without_record(&facts(None)), Then::Stay);
        assert_eq!(without_record(&facts(Some(false))), Then::Restart(None));
        assert_eq!(without_record(&BootFacts::default()), Then::Restart(None));
    }

    #[test]
    fn the_rehearsal_ends_well() {
        rehearse().unwrap();
    }

    #[test]
    fn record_and_flags_reach_the_boot_control_partition() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("bootctl");
        let flags = SlotState::fresh().with(Slot::B, SlotFlags::Good);
        std::fs::write(&device, small_partition(&flags)).unwrap();
        let facts = BootFacts {
            slot: Some(Slot::A),
            version: "2.0".into(),
            bootctl_device: device.display().to_string(),
            ..BootFacts::default()
        };
        let block = BadBlock::from_announcement("0,7");
        let (then, snapshot) = record(&facts, Slot::A, block).unwrap();
        assert_eq!((then, snapshot.flags), (Then::Restart(Some(Slot::B)), Some(flags.demote(Slot::A))));
        let contents = Contents::parse(&std::fs::read(&device).unwrap());
        assert_eq!(contents.flags(), Some(flags.demote(Slot::A)));
        let reason = contents.record.and_then(|record| record.fallback).map(|fallback| fallback.reason);
        assert_eq!(reason.as_deref(), Some("the root of slot a is corrupt at data block 7"));
    }
}
