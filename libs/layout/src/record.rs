//! The boot record: one sector that remembers which slot was started, how often in a row, how far it got and why it
//! failed; and what it tells about a fallback. Pure.
//!
//! The boot loader cannot write it. What GRUB did is concluded from the slot flags and from what is missing here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::corruption::Corruption;
use crate::disk::SECTOR_BYTES;
use crate::gpt::Sector;
use crate::keyvalue;
use crate::slots::{Slot, SlotState};

/// First line of the sector.
pub const RECORD_SIGNATURE: &[u8] = b"FERRITE-BOOT 1\n";
/// Most bytes of a reason.
pub const REASON_BYTES: usize = 110;
/// Most bytes of a version.
pub const VERSION_BYTES: usize = 32;

/// How far a start got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Early boot.
    Initrd,
    /// PID 1 of the root.
    Init,
    /// boot-complete.target.
    Complete,
}

impl Stage {
    /// Reads the word of the record.
    pub fn parse(text: &str) -> Option<Stage> {
        match text {
            "initrd" => Some(Stage::Initrd),
            "init" => Some(Stage::Init),
            "complete" => Some(Stage::Complete),
            _ => None,
        }
    }

    /// The word of the record.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Initrd => "initrd",
            Stage::Init => "init",
            Stage::Complete => "complete",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Stage::Initrd => "early boot",
            Stage::Init => "the start of services",
            Stage::Complete => "boot-complete",
        }
    }
}

/// A slot was given up for the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// The slot that failed.
    pub from: Slot,
    /// The version in it, if it got far enough to say.
    pub version: Option<String>,
    /// Why, as far as known.
    pub reason: String,
}

/// What the sector says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The slot that was started last.
    pub slot: Option<Slot>,
    /// The version in it.
    pub version: Option<String>,
    /// The version in the other slot, if that ran before.
    pub other_version: Option<String>,
    /// Starts in a row without boot-complete.
    pub starts: u32,
    /// How far the last start got; `None` on a new image.
    pub stage: Option<Stage>,
    /// Why a start of this slot failed, if it could say so.
    pub reason: Option<String>,
    /// The last fallback; kept until the slot that failed boots well again.
    pub fallback: Option<Fallback>,
    /// A root that was found corrupt with no other slot to go to; kept until that slot is installed again.
    pub corruption: Option<Corruption>,
}

impl Record {
    /// The record of the start that runs now. If early boot could not write it, one is begun, and what is known of
    /// earlier starts is kept.
    #[must_use]
    pub fn of_running(recorded: Option<&Record>, running: Slot, version: &str) -> Record {
        match recorded {
            Some(record) if record.slot == Some(running) => record.clone(),
            Some(Record { fallback, corruption, .. }) => {
                let kept = Record { fallback: fallback.clone(), corruption: *corruption, ..Record::default() };
                kept.start(None, running, version)
            }
            None => Record::default().start(None, running, version),
        }
    }

    /// Early boot begins in this slot. Counts the start and finds out whether the boot loader fell back.
    #[must_use]
    pub fn start(&self, flags: Option<&SlotState>, running: Slot, version: &str) -> Record {
        let again = self.slot == Some(running) && self.stage != Some(Stage::Complete);
        let found = flags.and_then(|flags| self.infer_fallback(flags, running));
        Record {
            slot: Some(running),
            version: clean_version(version),
            other_version: self.version_of(running.other()),
            starts: if again { self.starts.saturating_add(1) } else { 1 },
            stage: Some(Stage::Initrd),
            reason: if again { self.reason.clone() } else { None },
            fallback: found.or_else(|| self.fallback.clone()),
            corruption: self.corruption,
        }
    }

    /// The start got this far.
    #[must_use]
    pub fn reach(&self, stage: Stage) -> Record {
        Record { stage: Some(stage), ..self.clone() }
    }

    /// The record to write when the start that runs now got this far; `None` when there is nothing new. A start that is
    /// complete stays so: a unit that is restarted must not begin to count again.
    pub fn reached(recorded: Option<&Record>, running: Slot, version: &str, stage: Stage) -> Option<Record> {
        let base = Record::of_running(recorded, running, version);
        let record = if base.stage < Some(stage) { base.reach(stage) } else { base };
        Some(record).filter(|record| recorded != Some(record))
    }

    /// This start fails, and this is why. The text is cleaned and cut.
    #[must_use]
    pub fn fail(&self, reason: &str) -> Record {
        Record { reason: Some(clean_reason(reason)), ..self.clone() }
    }

    /// boot-complete: counting ends. The note of a fallback goes when the slot that had failed runs well now.
    #[must_use]
    pub fn complete(&self, running: Slot) -> Record {
        Record {
            slot: Some(running),
            version: self.version_of(running),
            other_version: self.version_of(running.other()),
            starts: 0,
            stage: Some(Stage::Complete),
            reason: None,
            fallback: self.fallback.clone().filter(|fallback| fallback.from != running),
            // Starting well proves nothing about a block that is read later.
            corruption: self.corruption,
        }
    }

    /// The running slot gives way to the other one on its own decision.
    #[must_use]
    pub fn fall_back(&self, running: Slot, reason: &str) -> Record {
        let version = self.version_of(running);
        let fallback = Fallback { from: running, version, reason: clean_reason(reason) };
        Record { fallback: Some(fallback), ..self.fail(reason) }
    }

    /// The version in a slot, as far as the record knows. An installation makes it wrong: see `forget_other`.
    pub fn version_of(&self, slot: Slot) -> Option<String> {
        match self.slot {
            Some(recorded) if recorded == slot => self.version.clone(),
            Some(_) => self.other_version.clone(),
            None => None,
        }
    }

    /// The slot that does not run is about to be overwritten.
    #[must_use]
    pub fn forget_other(&self) -> Record {
        let corruption = self.corruption.filter(|corruption| Some(corruption.slot) == self.slot);
        // What failed there is gone: a note of a fallback is from now on one of what is written now.
        let fallback = self.fallback.clone().filter(|fallback| Some(fallback.from) == self.slot);
        Record { other_version: None, corruption, fallback, ..self.clone() }
    }

    /// The root of the running slot is corrupt, and no other slot can take over.
    #[must_use]
    pub fn find_corrupt(&self, corruption: Corruption) -> Record {
        Record { corruption: Some(corruption), ..self.clone() }
    }

    /// Whether the running slot is a fallback that has not been noted yet.
    ///
    /// It is when the boot loader was to begin with the other slot, which is out of use now.
    fn infer_fallback(&self, flags: &SlotState, running: Slot) -> Option<Fallback> {
        let wanted = running.other();
        let noted = self.slot == Some(running)
            && self.stage != Some(Stage::Complete)
            && self.fallback.as_ref().is_some_and(|fallback| fallback.from == wanted);
        if flags.order.first() != wanted || flags.flags(wanted).usable() || noted {
            return None;
        }
        let decided = self.fallback.as_ref().filter(|fallback| fallback.from == wanted && self.slot == Some(wanted));
        if let Some(fallback) = decided {
            return Some(fallback.clone());
        }
        let reason = if self.slot != Some(wanted) {
            "never reached early boot: the boot loader could not load it, or its kernel did not start".to_string()
        } else if self.stage == Some(Stage::Complete) {
            "could not be loaded by the boot loader".to_string()
        } else {
            self.unfinished_starts()
        };
        let version = self.version.clone().filter(|_| self.slot == Some(wanted));
        Some(Fallback { from: wanted, version, reason: clean_reason(&reason) })
    }

    fn unfinished_starts(&self) -> String {
        let times = match self.starts {
            1 => "once".to_string(),
            2 => "twice".to_string(),
            starts => format!("{starts} times"),
        };
        match (&self.reason, self.stage) {
            (Some(reason), _) => format!("started {times}: {reason}"),
            (None, Some(stage)) => format!("started {times}, last reached {}", stage.description()),
            (None, None) => format!("started {times}"),
        }
    }

    /// The lines between signature and checksum.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: Option<&str>| {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{key}={value}");
            }
        };
        let version = |version: &Option<String>| version.as_deref().and_then(clean_version);
        line("slot", self.slot.map(Slot::letter));
        line("version", version(&self.version).as_deref());
        line("other-version", version(&self.other_version).as_deref());
        line("starts", Some(&self.starts.to_string()));
        line("stage", self.stage.map(Stage::word));
        line("reason", self.reason.as_deref().map(clean_reason).as_deref());
        if let Some(fallback) = &self.fallback {
            line("fallback-from", Some(fallback.from.letter()));
            line("fallback-version", version(&fallback.version).as_deref());
            line("fallback-reason", Some(&clean_reason(&fallback.reason)));
        }
        line("corrupt", self.corruption.map(|corruption| corruption.value()).as_deref());
        text
    }

    pub(crate) fn from_pairs(pairs: &BTreeMap<&str, &str>) -> Record {
        let value = |key: &str| pairs.get(key).copied();
        let fallback = value("fallback-from").and_then(Slot::parse).map(|from| Fallback {
            from,
            version: value("fallback-version").and_then(clean_version),
            reason: clean_reason(value("fallback-reason").unwrap_or("unknown")),
        });
        Record {
            slot: value("slot").and_then(Slot::parse),
            version: value("version").and_then(clean_version),
            other_version: value("other-version").and_then(clean_version),
            starts: value("starts").and_then(|starts| starts.parse().ok()).unwrap_or(0),
            stage: value("stage").and_then(Stage::parse),
            reason: value("reason").map(clean_reason),
            fallback,
            corruption: value("corrupt").and_then(Corruption::from_value),
        }
    }

    /// The sector.
    pub fn render(&self) -> Sector {
        let mut text = RECORD_SIGNATURE.to_vec();
        text.extend_from_slice(self.lines().as_bytes());
        let sum = format!("crc={:08x}\n", crc32fast::hash(&text));
        text.extend_from_slice(sum.as_bytes());
        let mut sector = [b'#'; SECTOR_BYTES as usize];
        for (place, byte) in sector.iter_mut().zip(text) {
            *place = byte;
        }
        sector
    }

    /// Reads the sector. `None`: torn, or not a record.
    pub fn parse(sector: &[u8]) -> Option<Record> {
        let sector = sector.get(..SECTOR_BYTES as usize).unwrap_or(sector);
        let body = sector.strip_prefix(RECORD_SIGNATURE)?;
        let at = body.windows(5).rposition(|window| window == b"\ncrc=")? + 1;
        let (lines, sum) = (body.get(..at)?, body.get(at + 4..at + 12)?);
        let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
        let summed = sector.get(..RECORD_SIGNATURE.len() + at)?;
        if crc32fast::hash(summed) != sum {
            return None;
        }
        Some(Record::from_pairs(&keyvalue::parse(std::str::from_utf8(lines).ok()?)))
    }
}

fn clean_reason(reason: &str) -> String {
    let clean = keyvalue::clean(reason, REASON_BYTES);
    if clean.is_empty() { "unknown".to_string() } else { clean }
}

fn clean_version(version: &str) -> Option<String> {
    Some(keyvalue::clean(version, VERSION_BYTES)).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::{Area, BadBlock};
    use crate::slots::{Choice, SlotFlags, Trouble};
    use proptest::prelude::*;

    /// A machine of flags and record only: GRUB and early boot played by the functions that describe them.
    struct Machine {
        flags: SlotState,
        record: Record,
    }

    impl Machine {
        /// Slot a runs and is good; the engine has just installed 2.0 into slot b.
        fn with_update() -> Self {
            let record = Record::default().start(Some(&SlotState::fresh()), Slot::A, "1.0").complete(Slot::A);
            Self { flags: SlotState::fresh().install_begins(Slot::B).install_done(Slot::B), record }
        }

        /// GRUB chooses and spends a try.
        fn choose(&mut self) -> Slot {
            match self.flags.choose() {
                Choice::Good(slot) => slot,
                Choice::Try(slot, after) => {
                    self.flags = after;
                    slot
                }
                Choice::LastResort => Slot::A,
            }
        }

        fn start(&mut self) -> Slot {
            let slot = self.choose();
            let version = if slot == Slot::A { "1.0" } else { "2.0" };
            self.record = self.record.start(Some(&self.flags), slot, version);
            slot
        }

        fn mark_good(&mut self, slot: Slot) {
            self.flags = self.flags.mark_good(slot);
            self.record = self.record.complete(slot);
        }

        fn fallback(&self) -> (Slot, Option<&str>, &str) {
            let fallback = self.record.fallback.as_ref().expect("a fallback is noted");
            (fallback.from, fallback.version.as_deref(), fallback.reason.as_str())
        }
    }

    #[test]
    fn a_slot_that_dies_in_early_boot_three_times_is_given_up_with_its_version() {
        let mut machine = Machine::with_update();
        for _ in 0..3 {
            assert_eq!(machine.start(), Slot::B);
        }
        assert_eq!(machine.start(), Slot::A);
        assert_eq!(machine.fallback(), (Slot::B, Some("2.0"), "started 3 times, last reached early boot"));
        machine.mark_good(Slot::A);
        assert_eq!(machine.start(), Slot::A);
        assert_eq!(machine.fallback().2, "started 3 times, last reached early boot", "the note stays");
        assert_eq!(machine.record.starts, 1);
    }

    #[test]
    fn a_recorded_reason_is_told() {
        let mut machine = Machine::with_update();
        for _ in 0..3 {
            machine.start();
            machine.record = machine.record.reach(Stage::Init).fail("deadline: unit x.service not reached");
        }
        machine.start();
        assert_eq!(machine.fallback().2, "started 3 times: deadline: unit x.service not reached");
    }

    #[test]
    fn a_slot_that_never_reaches_early_boot_is_told_apart() {
        let mut machine = Machine::with_update();
        assert_eq!(machine.choose(), Slot::B);
        machine.flags = machine.flags.load_failed(Slot::B).expect("slot a is usable");
        assert_eq!(machine.start(), Slot::A);
        let reason = "never reached early boot: the boot loader could not load it, or its kernel did not start";
        assert_eq!(machine.fallback(), (Slot::B, None, reason));
    }

    #[test]
    fn a_good_slot_that_the_boot_loader_took_out_is_told_apart() {
        let mut machine = Machine::with_update();
        machine.start();
        machine.mark_good(Slot::B);
        machine.flags = machine.flags.load_failed(Slot::B).expect("slot a is good");
        assert_eq!(machine.start(), Slot::A);
        assert_eq!(machine.fallback(), (Slot::B, Some("2.0"), "could not be loaded by the boot loader"));
    }

    #[test]
    fn a_fallback_that_is_cut_before_it_is_marked_good_keeps_its_first_reason() {
        let mut machine = Machine::with_update();
        for _ in 0..3 {
            machine.start();
        }
        for _ in 0..2 {
            machine.start();
            assert_eq!(machine.fallback().2, "started 3 times, last reached early boot");
        }
        assert_eq!(machine.record.starts, 2);
    }

    #[test]
    fn a_good_slot_that_begins_to_fail_gives_way_at_its_third_start() {
        let mut machine = Machine::with_update();
        machine.start();
        machine.mark_good(Slot::B);
        let mut starts = 0;
        loop {
            assert_eq!(machine.start(), Slot::B);
            starts += 1;
            if let Some(flags) = machine.flags.late_fallback(Slot::B, Trouble::Starts(machine.record.starts)) {
                machine.record = machine.record.fall_back(Slot::B, "3 starts in a row did not complete");
                machine.flags = flags;
                break;
            }
        }
        assert_eq!(starts, 3);
        assert_eq!(machine.start(), Slot::A);
        assert_eq!(machine.fallback(), (Slot::B, Some("2.0"), "3 starts in a row did not complete"));
    }

    #[test]
    fn the_note_goes_when_the_slot_that_failed_runs_well() {
        let mut machine = Machine::with_update();
        for _ in 0..4 {
            machine.start();
        }
        machine.mark_good(Slot::A);
        machine.flags = machine.flags.install_begins(Slot::B).install_done(Slot::B);
        assert_eq!(machine.start(), Slot::B);
        assert!(machine.record.fallback.is_some(), "a trial proves nothing yet");
        machine.mark_good(Slot::B);
        assert_eq!(machine.record.fallback, None);
    }

    #[test]
    fn a_second_update_that_fails_too_gets_its_own_reason() {
        let mut machine = Machine::with_update();
        for _ in 0..4 {
            machine.start();
        }
        machine.mark_good(Slot::A);
        machine.flags = machine.flags.install_begins(Slot::B).install_done(Slot::B);
        assert_eq!(machine.choose(), Slot::B);
        machine.flags = machine.flags.load_failed(Slot::B).expect("slot a is good");
        machine.start();
        assert!(machine.fallback().2.starts_with("never reached early boot"));
    }

    #[test]
    fn an_ordinary_start_and_a_cut_installation_are_no_fallback() {
        let mut machine = Machine::with_update();
        machine.flags = SlotState::fresh();
        machine.start();
        assert_eq!(machine.record.fallback, None);
        machine.flags = machine.flags.install_begins(Slot::B);
        machine.start();
        assert_eq!((machine.record.fallback.as_ref(), machine.record.starts), (None, 2));
        let lost = Record::default().start(None, Slot::A, "1.0");
        assert_eq!((lost.fallback, lost.starts), (None, 1));
    }

    #[test]
    fn the_version_of_the_other_slot_is_remembered_until_it_is_overwritten() {
        let mut machine = Machine::with_update();
        machine.start();
        machine.mark_good(Slot::B);
        machine.start();
        let record = &machine.record;
        assert_eq!(
            (record.version_of(Slot::A).as_deref(), record.version_of(Slot::B).as_deref()),
            (Some("1.0"), Some("2.0"))
        );
        assert_eq!(record.forget_other().version_of(Slot::A), None);
        assert_eq!(Record::default().version_of(Slot::A), None);
    }

    #[test]
    fn a_record_is_read_back_and_a_torn_one_is_not() {
        let record = Machine::with_update().record.fail("x\ny=z").fall_back(Slot::A, &"long ".repeat(100));
        let sector = record.render();
        assert_eq!(Record::parse(&sector), Some(record));
        let end = sector.iter().rposition(|byte| *byte == b'\n').expect("it has lines") + 1;
        for at in 0..end - 1 {
            let mut torn = sector;
            torn[at..].fill(0);
            assert_eq!(Record::parse(&torn), None, "cut at {at}");
            let mut flipped = sector;
            flipped[at] ^= 0x11;
            assert_eq!(Record::parse(&flipped), None, "flipped at {at}");
        }
        assert_eq!(Record::parse(&[]), None);
    }

    fn any_slot() -> impl Strategy<Value = Slot> {
        any::<bool>().prop_map(|first| if first { Slot::A } else { Slot::B })
    }

    proptest! {
        #[test]
        fn any_record_fits_its_sector(
            slot in any_slot(),
            from in any_slot(),
            starts in any::<u32>(),
            number in any::<u64>(),
            version in "\\PC{0,80}",
            reason in "\\PC{0,300}",
        ) {
            let version = Some(version);
            let fallback = Some(Fallback { from, version: version.clone(), reason: reason.clone() });
            let other_version = version.clone();
            let stage = Some(Stage::Complete);
            let reason = Some(reason);
            let block = Some(BadBlock { area: Area::Tree, number });
            let corruption = Some(Corruption { slot, block });
            let record = Record { slot: Some(slot), version, other_version, starts, stage, reason, fallback, corruption };
            let parsed = Record::parse(&record.render()).expect("what was rendered is read");
            prop_assert_eq!(Record::parse(&parsed.render()), Some(parsed.clone()));
            prop_assert_eq!((parsed.slot, parsed.starts, parsed.corruption), (Some(slot), starts, corruption));
        }

        #[test]
        fn hostile_sectors_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..600),
            signed in any::<bool>(),
        ) {
            if signed {
                bytes.splice(0..0, b"FERRITE-BOOT 1\nslot=a\ncrc=".iter().copied());
            }
            let _ = Record::parse(&bytes);
        }

        #[test]
        fn no_start_panics_or_loses_the_count(starts in any::<u32>(), slot in any_slot(), good in any::<bool>()) {
            let flags = SlotState::fresh().with(slot, if good { SlotFlags::Good } else { SlotFlags::Unusable });
            let record = Record { slot: Some(slot), starts, stage: Some(Stage::Init), ..Record::default() };
            prop_assert_eq!(record.start(Some(&flags), slot, "v").starts, starts.saturating_add(1));
        }
    }
}
