//! `/run/ferrite/slots`: flags and boot record as everybody may read them. Pure. Written by early boot and by
//! `ferrite-slots` whenever they change the boot control partition.

use std::fmt::Write as _;

use crate::keyvalue;
use crate::record::Record;
use crate::slots::{Slot, SlotState};

/// Where the snapshot lies.
pub const SLOTS_PATH: &str = "/run/ferrite/slots";

/// What is known about the slots at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// The slot this machine runs from.
    pub running: Option<Slot>,
    /// The version that runs.
    pub version: Option<String>,
    /// The flags; `None` when no copy of them is whole.
    pub flags: Option<SlotState>,
    /// The boot record; `None` when it is torn or absent.
    pub record: Option<Record>,
}

impl Snapshot {
    /// The text of the file.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(running) = self.running {
            let _ = writeln!(text, "running={running}");
        }
        if let Some(version) = &self.version {
            let _ = writeln!(text, "running-version={}", keyvalue::clean(version, 64));
        }
        for (key, value) in self.flags.iter().flat_map(SlotState::pairs) {
            let _ = writeln!(text, "{key}={value}");
        }
        if let Some(record) = &self.record {
            let _ = writeln!(text, "record=1\n{}", record.lines().trim_end());
        }
        text
    }

    /// Reads the text of the file.
    pub fn parse(text: &str) -> Snapshot {
        let pairs = keyvalue::parse(text);
        Snapshot {
            running: pairs.get("running").and_then(|slot| Slot::parse(slot)),
            version: pairs.get("running-version").map(|version| version.to_string()),
            flags: pairs.contains_key("order").then(|| SlotState::from_pairs(&pairs)),
            record: pairs.contains_key("record").then(|| Record::from_pairs(&pairs)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::Corruption;
    use crate::record::{Fallback, Stage};

    #[test]
    fn a_snapshot_is_read_back() {
        let record = Record {
            slot: Some(Slot::A),
            version: Some("1.0".into()),
            other_version: Some("0.9".into()),
            starts: 1,
            stage: Some(Stage::Init),
            reason: None,
            fallback: Some(Fallback { from: Slot::B, version: None, reason: "why".into() }),
            corruption: Some(Corruption { slot: Slot::A, block: None }),
        };
        let full = Snapshot {
            running: Some(Slot::A),
            version: Some("1.0".into()),
            flags: Some(SlotState::fresh()),
            record: Some(record),
        };
        for snapshot in [full.clone(), Snapshot::default(), Snapshot { record: None, ..full }] {
            assert_eq!(Snapshot::parse(&snapshot.render()), snapshot);
        }
    }
}
