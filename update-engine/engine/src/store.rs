//! What the engine remembers from one start to the next: a small file on the state partition, replaced as a whole.
//! Deciding what to remember is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use ferrite_layout::durable::replace_file;
use ferrite_layout::{Slot, SlotState};
use serde::{Deserialize, Serialize};

use crate::lock::LockPlace;

/// Bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// A release that failed is tried again after so long.
pub const BLOCK_SECONDS: u64 = 7 * 24 * 3600;
/// Releases and channels that are remembered.
const ENTRIES_MAX: usize = 16;

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Store {
    /// Nothing with a lower serial is installed.
    pub floor: u64,
    /// What was believed last, by channel.
    pub channels: BTreeMap<String, Seen>,
    /// Releases that failed here.
    pub blocked: Vec<Blocked>,
    /// The release that was installed last, until it has proved itself or failed.
    pub staged: Option<Staged>,
    /// The lock that this machine took for a restart and has not given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<HeldLock>,
}

/// A lock of the cluster that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// The release that the machine restarted into with it.
    pub serial: u64,
    /// Where it was taken; the configuration may say something else by now.
    pub place: LockPlace,
}

/// The last document of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// When it was signed.
    pub issued: u64,
    /// Until when it holds; 0 in a memory of an older engine.
    #[serde(default)]
    pub expires: u64,
}

/// A release that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// Its serial.
    pub serial: u64,
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: u64,
    /// How often it was tried.
    #[serde(default = "once")]
    pub count: u32,
}

impl Blocked {
    /// Whether it is kept from being installed now. A clock that went back does not hold a release for ever.
    pub fn holds(&self, now: u64) -> bool {
        now.saturating_sub(self.since) < BLOCK_SECONDS && self.since <= now.saturating_add(86_400)
    }
}

fn once() -> u32 {
    1
}

/// A release in the other slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Its serial.
    pub serial: u64,
    /// Its version.
    pub version: String,
    /// Where it is.
    #[serde(with = "slot_letter")]
    pub slot: Slot,
    /// What it makes the floor, once it has booted well.
    pub floor: u64,
    /// Bytes of its payload.
    pub size_bytes: u64,
    /// Serial of the release that it was installed from, which is in the slot that it leaves.
    #[serde(default)]
    pub from: Option<u64>,
    /// Its flags are about to change: it is being written over, or is whole and to be started next. That its slot is
    /// not usable is a failure of its own only if the machine says that it fell back from there.
    #[serde(default)]
    pub gives_way: bool,
}

/// How the machine was found when the engine started, or when its slot was marked good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// Serial of the release that runs.
    pub serial: u64,
    /// Its slot.
    pub running: Slot,
    /// The flags.
    pub flags: SlotState,
    /// Why the machine fell back, and from where.
    pub fallback: Option<(Slot, &'a str)>,
    /// The time.
    pub now: u64,
}

impl Store {
    /// The slot that was left for a release which proved itself, if that release says that nothing as old as what is in
    /// it may start again.
    pub fn retired(&self, found: &Found) -> Option<Slot> {
        let staged = self.staged.as_ref().filter(|staged| staged.slot == found.running)?;
        let proved = staged.serial == found.serial && found.flags.flags(found.running).good();
        let outdated = staged.from.is_some_and(|from| from < staged.floor.min(staged.serial));
        (proved && outdated).then(|| found.running.other())
    }

    /// Brings the memory in line with what runs. Blocks a release that was left again, raises the floor for one that
    /// proved itself, forgets failures of releases that are not newer than what runs.
    pub fn settle(&mut self, found: &Found) {
        // A release under test may fail, and what runs then is older than what is blocked.
        let on_trial = !found.flags.flags(found.running).good();
        self.blocked.retain(|blocked| on_trial || blocked.serial > found.serial);
        let Some(staged) = self.staged.clone() else { return };
        let flags = found.flags.flags(staged.slot);
        if staged.slot == found.running {
            if staged.serial != found.serial {
                let reason = format!("its image says serial {}, its payload {}", found.serial, staged.serial);
                self.block(&staged, &reason, found.now);
                self.staged = None;
            } else if flags.good() {
                self.floor = self.floor.max(staged.floor.min(staged.serial));
                self.staged = None;
            }
        } else if !flags.usable() {
            let told = found.fallback.filter(|(from, _)| *from == staged.slot).map(|(_, reason)| reason);
            if told.is_some() || !staged.gives_way {
                self.block(&staged, told.unwrap_or("it did not start well"), found.now);
            }
            self.staged = None;
        } else if flags.good() {
            // It proved itself and the machine went back later.
            self.staged = None;
        }
    }

    /// Remembers a failure.
    pub fn block(&mut self, staged: &Staged, reason: &str, now: u64) {
        let (serial, version) = (staged.serial, staged.version.clone());
        let before = self.blocked.iter().find(|blocked| blocked.serial == serial).map_or(0, |blocked| blocked.count);
        self.blocked.retain(|blocked| blocked.serial != serial);
        let count = before.saturating_add(1);
        self.blocked.push(Blocked { serial, version, reason: reason.to_string(), since: now, count });
        let surplus = self.blocked.len().saturating_sub(ENTRIES_MAX);
        self.blocked.drain(..surplus);
    }

    /// Forgets one block, or all; how many there were.
    pub fn unblock(&mut self, serial: Option<u64>) -> usize {
        let before = self.blocked.len();
        self.blocked.retain(|blocked| serial.is_some_and(|serial| serial != blocked.serial));
        before - self.blocked.len()
    }

    /// Serials that are not installed now.
    pub fn blocked_serials(&self, now: u64) -> BTreeSet<u64> {
        self.blocked.iter().filter(|blocked| blocked.holds(now)).map(|blocked| blocked.serial).collect()
    }

    /// Whether the lock can be given back: the release that it was taken for runs and proved itself, or nobody is
    /// afraid of it any more. A bad release stops with the machines that hold the lock.
    pub fn lock_is_done(&self, serial: u64, now: u64) -> bool {
        self.lock
            .as_ref()
            .is_some_and(|lock| lock.serial <= serial || !self.blocked_serials(now).contains(&lock.serial))
    }

    /// What was believed of a channel.
    pub fn seen(&self, channel: &str) -> Seen {
        self.channels.get(channel).copied().unwrap_or_default()
    }

    /// Remembers a document that was believed.
    pub fn see(&mut self, channel: &str, seen: Seen) {
        if self.channels.len() >= ENTRIES_MAX && !self.channels.contains_key(channel) {
            self.channels.pop_first();
        }
        self.channels.insert(channel.to_string(), seen);
    }

    /// The latest time that somebody signed something: no clock of ours is before it.
    pub fn latest_issue(&self) -> u64 {
        self.channels.values().map(|seen| seen.issued).max().unwrap_or(0)
    }

    /// Reads the file; one that is damaged counts as none and is told.
    pub fn load(path: &Path) -> anyhow::Result<Store> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Store::default()),
            file => file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)),
        }
        .with_context(|| format!("reading '{}'", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("reading '{}'", path.display()))
    }

    /// Replaces the file; it is on the disk when this returns.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self).context("writing the memory of the engine")?;
        Ok(replace_file(path, &text, 0o644)?)
    }
}

mod slot_letter {
    use ferrite_layout::Slot;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(slot: &Slot, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(slot.letter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slot, D::Error> {
        let text = String::deserialize(deserializer)?;
        Slot::parse(&text).ok_or_else(|| D::Error::custom("a slot is a or b"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::SlotFlags;

    const NOW: u64 = 1_800_000_000;

    fn staged() -> Staged {
        let (slot, from) = (Slot::B, Some(2));
        Staged { serial: 3, version: "1.3".into(), slot, floor: 2, size_bytes: 9, from, gives_way: false }
    }

    fn store() -> Store {
        Store { staged: Some(staged()), floor: 1, ..Store::default() }
    }

    fn found(serial: u64, running: Slot, b: SlotFlags) -> Found<'static> {
        let flags = SlotState::fresh().with(Slot::B, b);
        Found { serial, running, flags, fallback: Some((Slot::B, "died")), now: NOW }
    }

    #[test]
    fn what_became_of_the_staged_release_decides_over_block_and_floor() {
        let cases = [
            ("it waits for the restart", found(2, Slot::A, SlotFlags::Trying(3)), true, 1, None),
            ("it has tries left", found(2, Slot::A, SlotFlags::Trying(1)), true, 1, None),
            ("it is on trial", found(3, Slot::B, SlotFlags::Unusable), true, 1, None),
            ("it is good", found(3, Slot::B, SlotFlags::Good), false, 2, None),
            ("it was left", found(2, Slot::A, SlotFlags::Unusable), false, 1, Some("died")),
            ("good, then rolled back", found(2, Slot::A, SlotFlags::Good), false, 1, None),
            (
                "its image has no serial",
                found(0, Slot::B, SlotFlags::Good),
                false,
                1,
                Some("its image says serial 0, its payload 3"),
            ),
        ];
        for (what, found, remains, floor, blocked) in cases {
            let mut store = store();
            store.settle(&found);
            assert_eq!((store.staged.is_some(), store.floor), (remains, floor), "{what}");
            assert_eq!(store.blocked.first().map(|blocked| blocked.reason.as_str()), blocked, "{what}");
            let once = store.clone();
            store.settle(&found);
            assert_eq!(store, once, "{what}: again");
        }
    }

    #[test]
    fn a_fallback_from_the_other_slot_is_not_its_reason() {
        let mut store = store();
        store.settle(&Found { fallback: Some((Slot::A, "old")), ..found(2, Slot::A, SlotFlags::Unusable) });
        assert_eq!(store.blocked[0].reason, "it did not start well");
    }

    #[test]
    fn a_release_that_is_overwritten_has_not_failed() {
        let staged = Staged { gives_way: true, ..staged() };
        let mut store = Store { staged: Some(staged), ..Store::default() };
        store.settle(&found(2, Slot::A, SlotFlags::Trying(3)));
        assert!(store.staged.is_some(), "the other one has not begun");
        let hidden = Found { fallback: None, ..found(2, Slot::A, SlotFlags::Unusable) };
        store.settle(&hidden);
        assert_eq!(store, Store::default());
    }

    #[test]
    fn a_release_whose_start_was_cut_off_from_its_note_is_blocked_if_the_machine_came_back_from_it() {
        let staged = Staged { gives_way: true, ..staged() };
        let mut store = Store { staged: Some(staged), ..Store::default() };
        store.settle(&found(2, Slot::A, SlotFlags::Unusable));
        assert_eq!((store.blocked.len(), store.blocked[0].reason.as_str()), (1, "died"));
    }

    #[test]
    fn a_block_ends_after_a_week_with_a_newer_release_and_when_told() {
        let blocked = |serial| {
            let mut store = Store::default();
            store.block(&Staged { serial, ..staged() }, "x", NOW);
            store
        };
        for (serial, now, remains) in [
            (3, NOW, 1),
            (3, NOW + BLOCK_SECONDS - 1, 1),
            (3, NOW + BLOCK_SECONDS, 0),
            (2, NOW, 0),
            (1, NOW, 0),
            // The clock was wrong when it was noted.
            (3, NOW - 400 * 86_400, 0),
        ] {
            let mut store = blocked(serial);
            store.settle(&Found { now, ..found(2, Slot::A, SlotFlags::Good) });
            assert_eq!(store.blocked_serials(now).len(), remains, "serial {serial} at {now}");
        }
        let mut store = blocked(3);
        assert_eq!((store.unblock(Some(4)), store.unblock(Some(3)), store.unblock(None)), (0, 1, 0));
    }

    #[test]
    fn a_release_that_fails_again_is_counted() {
        let mut store = Store::default();
        let late = NOW + BLOCK_SECONDS;
        for (now, count) in [(NOW, 1), (late, 2)] {
            assert!(store.blocked_serials(now).is_empty());
            store.block(&staged(), "x", now);
            store.settle(&Found { now, ..found(2, Slot::A, SlotFlags::Unusable) });
            assert_eq!((store.blocked[0].count, store.blocked_serials(now).len()), (count, 1));
        }
    }

    #[test]
    fn the_slot_that_was_left_is_retired_only_for_a_floor_above_it_and_only_when_the_new_one_is_good() {
        let with = |floor, from| Store { staged: Some(Staged { floor, from, ..staged() }), ..Store::default() };
        let good = found(3, Slot::B, SlotFlags::Good);
        for (what, store, found, retired) in [
            ("a floor above it", with(3, Some(2)), good.clone(), Some(Slot::A)),
            ("a floor at it", with(2, Some(2)), good.clone(), None),
            ("a floor above all", with(9, Some(2)), good.clone(), Some(Slot::A)),
            ("it is not known what is there", with(3, None), good.clone(), None),
            ("on trial", with(3, Some(2)), found(3, Slot::B, SlotFlags::Trying(1)), None),
            ("left again", with(3, Some(2)), found(2, Slot::A, SlotFlags::Good), None),
            ("another release runs", with(3, Some(2)), found(4, Slot::B, SlotFlags::Good), None),
            ("no release waits", Store::default(), good, None),
        ] {
            assert_eq!(store.retired(&found), retired, "{what}");
        }
    }

    #[test]
    fn the_lock_is_kept_while_its_release_is_blocked() {
        let place = LockPlace { server: "http://lock/".into(), group: "default".into() };
        let mut store = Store { lock: Some(HeldLock { serial: 3, place }), ..Store::default() };
        assert!(store.lock_is_done(3, NOW), "its release runs");
        assert!(store.lock_is_done(2, NOW), "it was given up");
        store.block(&staged(), "x", NOW);
        assert!(!store.lock_is_done(2, NOW));
        assert!(store.lock_is_done(2, NOW + BLOCK_SECONDS));
        store.unblock(Some(3));
        assert!(store.lock_is_done(2, NOW));
        assert!(!Store::default().lock_is_done(3, NOW), "there is none");
    }

    #[test]
    fn a_newer_release_under_test_does_not_end_a_block() {
        let mut store = Store::default();
        store.block(&Staged { serial: 3, ..staged() }, "x", NOW);
        store.settle(&found(4, Slot::B, SlotFlags::Trying(2)));
        assert_eq!(store.blocked.len(), 1, "it may fail, and release 3 would be taken again");
        store.settle(&found(4, Slot::B, SlotFlags::Good));
        assert_eq!(store.blocked.len(), 0);
    }

    #[test]
    fn the_file_is_read_back_and_stays_small() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state.json");
        assert_eq!(Store::load(&path).expect("there is none"), Store::default());
        let mut store = store();
        for serial in 0..100 {
            store.block(&Staged { serial, ..staged() }, &"x".repeat(110), NOW);
            store.see(
                &format!("channel-{serial}"),
                Seen { number: serial, issued: NOW + serial, expires: NOW + serial + 9 },
            );
        }
        assert_eq!((store.blocked.len(), store.channels.len(), store.latest_issue()), (16, 16, NOW + 99));
        store.save(&path).expect("it is written");
        assert_eq!(Store::load(&path).expect("it is read"), store);
        assert!(std::fs::metadata(&path).expect("it is there").len() < 8192);
        std::fs::write(&path, "{").expect("it can be written");
        assert!(Store::load(&path).expect_err("it is damaged").to_string().contains("state.json"));
    }
}
