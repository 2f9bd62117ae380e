//! A block of the running root that does not match its hash: what is known of it, and what the machine does about it.
//! Pure.
//!
//! The block is never served, whatever is decided here: the kernel answers every read of it with an I/O error.

use std::fmt;

use crate::bootctl::Contents;
use crate::record::Record;
use crate::slots::{Choice, Slot, SlotState, Trouble};

/// Name of the device-mapper device below the root, which early boot makes and PID 1 watches.
pub const ROOT_MAPPING: &str = "root";

/// Which half of the root partition a block lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The file system.
    Data,
    /// The hash tree behind it.
    Tree,
}

/// A block that does not match its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadBlock {
    /// Where it lies.
    pub area: Area,
    /// Its number, counted in blocks of 4096 bytes from the start of the partition.
    pub number: u64,
}

impl BadBlock {
    /// Reads what the kernel announces: `0,NUMBER` is a data block, `1,NUMBER` one of the hash tree.
    pub fn from_announcement(value: &str) -> Option<BadBlock> {
        let (area, number) = value.split_once(',')?;
        let area = match area {
            "0" => Area::Data,
            "1" => Area::Tree,
            _ => return None,
        };
        Some(BadBlock { area, number: number.parse().ok()? })
    }
}

impl fmt::Display for BadBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.area {
            Area::Data => write!(f, "data block {}", self.number),
            Area::Tree => write!(f, "hash block {}", self.number),
        }
    }
}

/// A slot whose root was found corrupt when no other slot could take over. The note stays until the slot is installed
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corruption {
    /// The slot.
    pub slot: Slot,
    /// The block, if the kernel said which.
    pub block: Option<BadBlock>,
}

impl Corruption {
    /// The value of the record's line.
    pub(crate) fn value(&self) -> String {
        match self.block {
            Some(BadBlock { area: Area::Data, number }) => format!("{} data {number}", self.slot),
            Some(BadBlock { area: Area::Tree, number }) => format!("{} tree {number}", self.slot),
            None => self.slot.to_string(),
        }
    }

    /// Reads the value of the record's line. A block that cannot be read is not known.
    pub(crate) fn from_value(value: &str) -> Option<Corruption> {
        let mut words = value.split(' ');
        let slot = Slot::parse(words.next()?)?;
        let area = match words.next() {
            Some("data") => Some(Area::Data),
            Some("tree") => Some(Area::Tree),
            Some(_) | None => None,
        };
        let number = words.next().and_then(|number| number.parse().ok());
        Some(Corruption { slot, block: area.zip(number).map(|(area, number)| BadBlock { area, number }) })
    }
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the root of slot {} is corrupt", self.slot)?;
        self.block.map_or(Ok(()), |block| write!(f, " at {block}"))
    }
}

/// What the machine does once everything is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Restarts; the boot loader is expected to start this slot.
    Restart(Option<Slot>),
    /// Stays up and reachable, with I/O errors where the root is corrupt: restarting was tried, there is nothing else.
    Stay,
}

/// What is written, in this order, and what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The boot record.
    pub record: Record,
    /// New flags, if another slot takes over.
    pub flags: Option<SlotState>,
    /// What follows.
    pub then: Then,
}

/// Decides what a running machine does about a corrupt block.
///
/// A good slot gives way to another good one. A slot under test spends its tries. Where neither leads anywhere the
/// machine restarts once, as the fault may have been the memory's or the bus's; when it comes back, it stays up.
pub fn answer(contents: &Contents, running: Slot, version: &str, block: Option<BadBlock>) -> Answer {
    let corruption = Corruption { slot: running, block };
    let reason = corruption.to_string();
    let record = Record::of_running(contents.record.as_ref(), running, version);
    let flags = contents.flags();
    if let Some(after) = flags.and_then(|flags| flags.late_fallback(running, Trouble::CorruptRoot)) {
        return Answer {
            record: record.fall_back(running, &reason),
            flags: Some(after),
            then: Then::Restart(next(&after)),
        };
    }
    let next = flags.as_ref().and_then(next);
    let under_test = flags.is_some_and(|flags| !flags.flags(running).good());
    if under_test {
        return Answer { record: record.fail(&reason), flags: None, then: Then::Restart(next) };
    }
    let known = record.corruption.is_some_and(|known| known.slot == running);
    let leads_elsewhere = next.is_some_and(|next| next != running);
    let then = if known && !leads_elsewhere { Then::Stay } else { Then::Restart(next) };
    Answer { record: record.find_corrupt(corruption), flags: None, then }
}

fn next(flags: &SlotState) -> Option<Slot> {
    match flags.choose() {
        Choice::Good(slot) | Choice::Try(slot, _) => Some(slot),
        Choice::LastResort => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stage;
    use crate::slots::{Order, SlotFlags};

    const BLOCK: BadBlock = BadBlock { area: Area::Data, number: 4711 };

    fn running_a(a: SlotFlags, b: SlotFlags) -> Contents {
        let flags = SlotState { order: Order::beginning_with(Slot::A), a, b };
        let record = Record::default().start(Some(&flags), Slot::A, "1.0").reach(Stage::Complete);
        Contents { copies: [Some(flags); 2], record: Some(record), ..Contents::default() }
    }

    fn after(contents: &Contents, answer: &Answer) -> Contents {
        let copies = answer.flags.map_or(contents.copies, |flags| [Some(flags); 2]);
        Contents { copies, record: Some(answer.record.clone()), ..Contents::default() }
    }

    #[test]
    fn the_announcement_of_the_kernel_is_read() {
        assert_eq!(BadBlock::from_announcement("0,4711"), Some(BLOCK));
        assert_eq!(BadBlock::from_announcement("1,3").map(|block| block.to_string()).as_deref(), Some("hash block 3"));
        for wrong in ["", "2,1", "0", "0,", "0,-1", "0,1,2"] {
            assert_eq!(BadBlock::from_announcement(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_note_is_read_back() {
        let tree = BadBlock { area: Area::Tree, number: u64::MAX };
        for block in [Some(BLOCK), Some(tree), None] {
            let note = Corruption { slot: Slot::B, block };
            assert_eq!(Corruption::from_value(&note.value()), Some(note));
        }
        let strange = Corruption { slot: Slot::A, block: None };
        for value in ["a data", "a data x", "a else 3"] {
            assert_eq!(Corruption::from_value(value), Some(strange), "{value}");
        }
        assert_eq!(Corruption::from_value("c data 3"), None);
    }

    #[test]
    fn a_good_slot_gives_way_to_a_good_one_and_the_reason_is_told_there() {
        let contents = running_a(SlotFlags::Good, SlotFlags::Good);
        let answer = answer(&contents, Slot::A, "1.0", Some(BLOCK));
        assert_eq!(answer.then, Then::Restart(Some(Slot::B)));
        let flags = answer.flags.expect("slot a is taken out");
        assert_eq!(flags.choose(), Choice::Good(Slot::B));
        let started = answer.record.start(Some(&flags), Slot::B, "0.9");
        let fallback = started.fallback.expect("it is noted");
        assert_eq!((fallback.from, fallback.version.as_deref()), (Slot::A, Some("1.0")));
        assert_eq!(fallback.reason, "the root of slot a is corrupt at data block 4711");
    }

    #[test]
    fn a_slot_under_test_keeps_its_flags_and_the_reason_outlasts_its_tries() {
        let mut contents = running_a(SlotFlags::Unusable, SlotFlags::Good);
        let first = answer(&contents, Slot::A, "1.0", Some(BLOCK));
        assert_eq!((first.flags, first.then), (None, Then::Restart(Some(Slot::B))));
        contents.record = Some(first.record.reach(Stage::Init));
        let started = contents.record.as_ref().map(|record| record.start(contents.flags().as_ref(), Slot::A, "1.0"));
        assert_eq!(
            started.and_then(|record| record.reason).as_deref(),
            Some("the root of slot a is corrupt at data block 4711")
        );
        let trying = running_a(SlotFlags::Trying(2), SlotFlags::Good);
        assert_eq!(answer(&trying, Slot::A, "1.0", None).then, Then::Restart(Some(Slot::A)));
    }

    #[test]
    fn the_only_good_slot_restarts_once_and_then_stays_up_until_it_is_installed_again() {
        let contents = running_a(SlotFlags::Good, SlotFlags::Unusable);
        let first = answer(&contents, Slot::A, "1.0", Some(BLOCK));
        assert_eq!((first.flags, first.then), (None, Then::Restart(Some(Slot::A))));
        let mut contents = after(&contents, &first);
        let started = first.record.start(contents.flags().as_ref(), Slot::A, "1.0");
        contents.record = Some(started.complete(Slot::A));
        let second = answer(&contents, Slot::A, "1.0", Some(BLOCK));
        assert_eq!((second.flags, second.then), (None, Then::Stay));
        // From slot b slot a is installed again.
        contents.record = Some(second.record.start(None, Slot::B, "1.1").forget_other().start(None, Slot::A, "1.2"));
        assert_eq!(answer(&contents, Slot::A, "1.2", None).then, Then::Restart(Some(Slot::A)));
    }

    #[test]
    fn an_installed_slot_that_waits_for_its_turn_gets_it() {
        let mut contents = running_a(SlotFlags::Good, SlotFlags::Unusable);
        let waiting = SlotState::fresh().install_done(Slot::B);
        contents.copies = [Some(waiting); 2];
        for _ in 0..2 {
            let answer = answer(&contents, Slot::A, "1.0", Some(BLOCK));
            assert_eq!((answer.flags, answer.then), (None, Then::Restart(Some(Slot::B))));
            contents = after(&contents, &answer);
        }
    }

    #[test]
    fn lost_flags_do_not_make_it_restart_for_ever() {
        let lost = Contents::default();
        let first = answer(&lost, Slot::B, "1.0", None);
        assert_eq!((first.flags, first.then), (None, Then::Restart(None)));
        assert_eq!(answer(&after(&lost, &first), Slot::B, "1.0", None).then, Then::Stay);
    }
}
