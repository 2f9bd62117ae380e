//! What `ferrite-slots status` shows. Pure.

use ferrite_cli::Table;
use ferrite_layout::slots::Choice;
use ferrite_layout::snapshot::Snapshot;
use ferrite_layout::{Slot, SlotFlags};
use serde_json::{Value, json};

/// What a slot is to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Good,
    Trying(u8),
    Failed,
    Empty,
    Unknown,
}

impl Condition {
    fn of(snapshot: &Snapshot, slot: Slot) -> Condition {
        let failed = snapshot
            .record
            .as_ref()
            .is_some_and(|record| record.fallback.as_ref().is_some_and(|fallback| fallback.from == slot));
        match snapshot.flags.map(|flags| flags.flags(slot)) {
            Some(SlotFlags::Good) => Condition::Good,
            Some(SlotFlags::Trying(tries)) => Condition::Trying(tries),
            // The last try of the running slot was spent to start it.
            Some(SlotFlags::Unusable) if snapshot.running == Some(slot) => Condition::Trying(0),
            Some(SlotFlags::Unusable) if failed => Condition::Failed,
            Some(SlotFlags::Unusable) => Condition::Empty,
            None => Condition::Unknown,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Condition::Good => "good",
            Condition::Trying(_) => "trying",
            Condition::Failed => "failed",
            Condition::Empty => "empty",
            Condition::Unknown => "unknown",
        }
    }

    fn tries(self) -> Option<u8> {
        match self {
            Condition::Trying(tries) => Some(tries),
            Condition::Good | Condition::Failed | Condition::Empty | Condition::Unknown => None,
        }
    }
}

/// The slot that the boot loader starts next; `None` when it cannot be said.
pub(crate) fn next(snapshot: &Snapshot) -> Option<Slot> {
    match snapshot.flags?.choose() {
        Choice::Good(slot) | Choice::Try(slot, _) => Some(slot),
        Choice::LastResort => None,
    }
}

/// The version in a slot, as far as it is known.
pub(crate) fn version(snapshot: &Snapshot, slot: Slot) -> Option<String> {
    let record = snapshot.record.as_ref();
    let failed = record.and_then(|record| record.fallback.as_ref()).filter(|fallback| fallback.from == slot);
    let running = snapshot.version.clone().filter(|_| snapshot.running == Some(slot));
    running.or_else(|| failed.and_then(|fallback| fallback.version.clone())).or_else(|| record?.version_of(slot))
}

/// What a slot is to a person, in a word.
pub(crate) fn state_word(snapshot: &Snapshot, slot: Slot) -> &'static str {
    Condition::of(snapshot, slot).word()
}

/// The status for a person.
pub fn text(snapshot: &Snapshot) -> String {
    let mut table = Table::with_heading(["SLOT", "STATE", "TRIES", "VERSION", ""]);
    for slot in Slot::BOTH {
        let condition = Condition::of(snapshot, slot);
        let tries = condition.tries().map_or("-".to_string(), |tries| format!("{tries} left"));
        let running = snapshot.running == Some(slot);
        let mark = match (running, next(snapshot) == Some(slot)) {
            (true, true) => "running, starts next",
            (true, false) => "running",
            (false, true) => "starts next",
            (false, false) => "",
        };
        let version = version(snapshot, slot).unwrap_or("-".to_string());
        table.row([slot.letter(), condition.word(), &tries, &version, mark]);
    }
    let mut text = table.render();
    if snapshot.flags.is_none() {
        text.push_str("\nno whole copy of the slot flags was found; the boot loader will start slot a\n");
    } else if next(snapshot).is_none() {
        text.push_str("\nno slot is usable; the boot loader will try slot a, then b\n");
    }
    if let Some(fallback) = snapshot.record.as_ref().and_then(|record| record.fallback.as_ref()) {
        let version = fallback.version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
        text.push_str(&format!("\nlast fallback: from slot {}{version}: {}\n", fallback.from, fallback.reason));
    }
    if let Some(corruption) = snapshot.record.as_ref().and_then(|record| record.corruption) {
        text.push_str(&format!("\n{corruption}: install the release again\n"));
    }
    text
}

/// The status for a script.
pub fn json(snapshot: &Snapshot) -> Value {
    let slots: Vec<Value> = Slot::BOTH
        .into_iter()
        .map(|slot| {
            let condition = Condition::of(snapshot, slot);
            json!({
                "slot": slot.letter(),
                "state": condition.word(),
                "tries": condition.tries(),
                "version": version(snapshot, slot),
                "running": snapshot.running == Some(slot),
                "next": next(snapshot) == Some(slot),
            })
        })
        .collect();
    let record = snapshot.record.as_ref();
    let fallback = record.and_then(|record| record.fallback.as_ref()).map(
        |fallback| json!({ "from": fallback.from.letter(), "version": fallback.version, "reason": fallback.reason }),
    );
    json!({
        "running": snapshot.running.map(Slot::letter),
        "next": next(snapshot).map(Slot::letter),
        "order": snapshot.flags.map(|flags| flags.order.text()),
        "slots": slots,
        "starts": record.map(|record| record.starts),
        "stage": record.and_then(|record| record.stage).map(|stage| stage.word()),
        "failure": record.and_then(|record| record.reason.clone()),
        "fallback": fallback,
        "corrupt": record.and_then(|record| record.corruption).map(|corruption| corruption.slot.letter()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::corruption::{BadBlock, Corruption};
    use ferrite_layout::record::{Fallback, Stage};
    use ferrite_layout::{Record, SlotState};

    fn running_a(flags: SlotState) -> Snapshot {
        let record = Record::default().start(None, Slot::A, "1.0").reach(Stage::Init);
        Snapshot { running: Some(Slot::A), version: Some("1.0".into()), flags: Some(flags), record: Some(record) }
    }

    fn fallen_back() -> Snapshot {
        let reason = "started 3 times, last reached early boot".to_string();
        let mut snapshot = running_a(SlotState::fresh());
        if let Some(record) = &mut snapshot.record {
            record.fallback = Some(Fallback { from: Slot::B, version: Some("1.1".into()), reason });
        }
        snapshot
    }

    #[test]
    fn a_person_sees_both_slots_what_starts_next_and_the_last_fallback() {
        assert_eq!(
            text(&fallen_back()),
            "SLOT  STATE   TRIES  VERSION\n\
             a     good    -      1.0      running, starts next\n\
             b     failed  -      1.1\n\n\
             last fallback: from slot b (1.1): started 3 times, last reached early boot\n"
        );
        assert_eq!(
            text(&running_a(SlotState::fresh().install_done(Slot::B))),
            "SLOT  STATE   TRIES   VERSION\n\
             a     good    -       1.0      running\n\
             b     trying  3 left  -        starts next\n"
        );
    }

    #[test]
    fn a_slot_on_its_last_try_an_empty_slot_and_lost_flags_are_told_apart() {
        let mut last_try = running_a(SlotState::fresh().install_done(Slot::A).with(Slot::A, SlotFlags::Unusable));
        assert!(text(&last_try).contains("a     trying  0 left  1.0      running\nb     empty"), "{}", text(&last_try));
        assert!(text(&last_try).contains("no slot is usable; the boot loader will try slot a, then b"));
        last_try.flags = None;
        assert!(text(&last_try).contains("no whole copy of the slot flags was found"));
    }

    #[test]
    fn a_corrupt_root_that_nothing_can_replace_is_told() {
        let mut snapshot = running_a(SlotState::fresh());
        let block = BadBlock::from_announcement("0,4711");
        let found = Corruption { slot: Slot::A, block };
        snapshot.record = snapshot.record.map(|record| record.find_corrupt(found));
        let told = "\nthe root of slot a is corrupt at data block 4711: install the release again\n";
        assert!(text(&snapshot).ends_with(told), "{}", text(&snapshot));
        assert_eq!(json(&snapshot)["corrupt"], "a");
    }

    #[test]
    fn a_script_sees_the_same() {
        let value = json(&fallen_back());
        assert_eq!(value["running"], "a");
        assert_eq!(value["next"], "a");
        assert_eq!(
            value["slots"][1],
            json!({
                "slot": "b", "state": "failed", "tries": null, "version": "1.1", "running": false, "next": false,
            })
        );
        assert_eq!(value["fallback"]["reason"], "started 3 times, last reached early boot");
        assert_eq!(json(&Snapshot::default())["next"], Value::Null);
    }
}
