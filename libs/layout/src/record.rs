//! The boot record: one sector that remembers which slot was started, how often in a row, how far it got and why it
//! failed; and what it tells about a fallback. Pure.
//!
//! The boot loader cannot write it. What GRUB did is concluded from the slot flags and from what is missing here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::disk::SECTOR_BYTES;
use crate::gpt::Sector;
use crate::keyvalue;
use crate::slots::{Slot, SlotState};

/// First line of the sector.
pub const RECORD_SIGNATURE: &[u8] = b"FERRITE-BOOT 1\n";
/// Most bytes of a reason.
pub const REASON_BYTES: usize = 110;
/// Most bytes of a version.
pub const VERSION_BYTES: usize = 40;

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
    /// Starts in a row without boot-complete.
    pub starts: u32,
    /// How far the last start got; `None` on a new image.
    pub stage: Option<Stage>,
    /// Why a start of this slot failed, if it could say so.
    pub reason: Option<String>,
    /// The last fallback; kept until the slot that failed boots well again.
    pub fallback: Option<Fallback>,
}

impl Record {
    /// Early boot begins in this slot. Counts the start and finds out whether the boot loader fell back.
    #[must_use]
    pub fn start(&self, flags: Option<&SlotState>, running: Slot, version: &str) -> Record {
        let again = self.slot == Some(running) && self.stage != Some(Stage::Complete);
        let found = flags.and_then(|flags| self.infer_fallback(flags, running));
        Record {
            slot: Some(running),
            version: clean_version(version),
            starts: if again { self.starts.saturating_add(1) } else { 1 },
            stage: Some(Stage::Initrd),
            reason: if again { self.reason.clone() } else { None },
            fallback: found.or_else(|| self.fallback.clone()),
        }
    }

    /// The start got this far.
    #[must_use]
    pub fn reach(&self, stage: Stage) -> Record {
        Record { stage: Some(stage), ..self.clone() }
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
            version: if self.slot == Some(running) { self.version.clone() } else { None },
            starts: 0,
            stage: Some(Stage::Complete),
            reason: None,
            fallback: self.fallback.clone().filter(|fallback| fallback.from != running),
        }
    }

    /// The running slot gives way to the other one on its own decision.
    #[must_use]
    pub fn fall_back(&self, running: Slot, reason: &str) -> Record {
        let version = self.version.clone().filter(|_| self.slot == Some(running));
        let fallback = Fallback { from: running, version, reason: clean_reason(reason) };
        Record { fallback: Some(fallback), ..self.fail(reason) }
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
        line("starts", Some(&self.starts.to_string()));
        line("stage", self.stage.map(Stage::word));
        line("reason", self.reason.as_deref().map(clean_reason).as_deref());
        if let Some(fallback) = &self.fallback {
            line("fallback-from", Some(fallback.from.letter()));
            line("fallback-version", version(&fallback.version).as_deref());
            line("fallback-reason", Some(&clean_reason(&fallback.reason)));
        }
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
            starts: value("starts").and_then(|starts| starts.parse().ok()).unwrap_or(0),
            stage: value("stage").and_then(Stage::parse),
            reason: value("reason").map(clean_reason),
            fallback,
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
