//! Slot flags and boot record of the disk this start is about.
//!
//! Nothing here stops a boot: a machine whose boot control partition is lost still starts, it only cannot
//! fall back by itself any more, and says so.

use std::path::Path;

use anyhow::anyhow;
use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::slots::{Choice, LATE_FALLBACK_STARTS, Trouble};
use ferrite_layout::snapshot::Snapshot;
use ferrite_layout::{Record, Slot, SlotFlags, SlotState};

use crate::report::Reporter;
use crate::stage::{Failure, Stage, Verdict};

/// What is known of the slots, and where to write it.
#[derive(Debug)]
pub struct Slots {
    device: Option<Bootctl>,
    running: Slot,
    version: String,
    /// The flags, if a whole copy of them was found.
    pub flags: Option<SlotState>,
    /// The boot record of this start.
    pub record: Record,
}

impl Slots {
    /// Reads the boot control partition.
    pub fn open(path: Option<String>, running: Slot, version: &str, report: &mut Reporter) -> Slots {
        let mut slots = Slots {
            device: None,
            running,
            version: version.to_owned(),
            flags: None,
            record: Record::default().start(None, running, version),
        };
        let Some(path) = path else {
            report.warn(Stage::Slots, "the disk has no boot control partition, so this machine cannot fall back");
            return slots;
        };
        let opened = Bootctl::open(Path::new(&path), Access::Write).and_then(|mut device| {
            let contents = device.read()?;
            Ok((device, contents))
        });
        match opened {
            Ok((device, contents)) => {
                slots.device = Some(device);
                slots.flags = contents.flags();
                slots.record =
                    contents.record.clone().unwrap_or_default().start(slots.flags.as_ref(), running, version);
                if let Some(corruption) = slots.record.corruption.filter(|corruption| corruption.slot == running) {
                    report.warn(Stage::Slots, &format!("{corruption}: install the release again"));
                }
                if contents.copies.iter().any(Option::is_none) {
                    let text = match slots.flags {
                        Some(_) => format!("one of the two copies of the slot flags on {path} is damaged"),
                        None => format!(
                            "both copies of the slot flags on {path} are damaged, so this machine cannot fall back"
                        ),
                    };
                    report.warn(Stage::Slots, &text);
                }
            }
            Err(error) => report.warn(Stage::Slots, &format!("{:#}, going on without", anyhow!(error))),
        }
        slots
    }

    /// Writes down that a start begins, or gives the slot up after too many starts that led nowhere.
    pub fn begin(&mut self, report: &mut Reporter) -> Result<(), Failure> {
        report.say(Stage::Slots, &self.describe());
        let starts = self.record.starts;
        let reason = match &self.record.reason {
            Some(reason) => format!("{starts} starts in a row without boot-complete, last: {reason}"),
            None => format!("{starts} starts in a row without boot-complete"),
        };
        if starts >= LATE_FALLBACK_STARTS && self.give_up(Trouble::Starts(starts), &reason, report) {
            return Err(Failure { stage: Stage::Slots, verdict: Verdict::GivenUp, error: anyhow!(reason) });
        }
        self.write_record(report);
        Ok(())
    }

    /// Takes a good slot out of use if the other one is good too; says whether it did.
    pub fn give_up(&mut self, trouble: Trouble, reason: &str, report: &mut Reporter) -> bool {
        let Some(flags) = self.flags.and_then(|flags| flags.late_fallback(self.running, trouble)) else { return false };
        self.record = self.record.fall_back(self.running, reason);
        self.write_record(report);
        let Some(device) = &mut self.device else { return false };
        match device.write_flags(&flags) {
            Ok(()) => {
                self.flags = Some(flags);
                true
            }
            Err(error) => {
                report.warn(Stage::Slots, &format!("{:#}", anyhow!(error)));
                false
            }
        }
    }

    /// Writes down why this start fails.
    pub fn fail(&mut self, reason: &str, report: &mut Reporter) {
        self.record = self.record.fail(reason);
        self.write_record(report);
    }

    /// The slot this start is about.
    pub fn running(&self) -> Slot {
        self.running
    }

    /// Whether the running slot has proved itself; `None` if nobody knows.
    pub fn is_good(&self) -> Option<bool> {
        self.flags.map(|flags| flags.flags(self.running).good())
    }

    /// Tries that the boot loader will still spend on the running slot.
    pub fn tries_left(&self) -> u8 {
        self.flags.map(|flags| flags.flags(self.running).tries()).unwrap_or(0)
    }

    /// The slot that the boot loader will start next, as far as one can tell.
    pub fn next(&self) -> Option<Slot> {
        match self.flags?.choose() {
            Choice::Good(slot) | Choice::Try(slot, _) => Some(slot),
            Choice::LastResort => None,
        }
    }

    /// What everybody may read.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            running: Some(self.running),
            version: Some(self.version.clone()),
            flags: self.flags,
            record: Some(self.record.clone()),
        }
    }

    fn write_record(&mut self, report: &mut Reporter) {
        let Some(device) = &mut self.device else { return };
        if let Err(error) = device.write_record(&self.record) {
            report.warn(Stage::Slots, &format!("{:#}", anyhow!(error)));
        }
    }

    fn describe(&self) -> String {
        let Some(flags) = self.flags else { return format!("running {}, flags unknown", self.running) };
        let word = |slot| match flags.flags(slot) {
            SlotFlags::Good => "good".to_owned(),
            SlotFlags::Trying(tries) => format!("under test, {tries} tries left"),
            SlotFlags::Unusable if slot == self.running => "under test, last try".to_owned(),
            SlotFlags::Unusable => "not usable".to_owned(),
        };
        let starts = self.record.starts;
        let start = if starts > 1 { format!("; start {starts} without boot-complete") } else { String::new() };
        format!("running {}; a {}, b {}{start}", self.running, word(Slot::A), word(Slot::B))
    }
}
