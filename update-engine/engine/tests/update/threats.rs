//! Every class of bytes of everything that comes from outside, flipped, cut, lengthened, swapped between releases and
//! replayed (D3). The disk notes each write: nothing that was not signed gets to a slot, and no slot is started.

use std::collections::BTreeMap;

use ferrite_layout::{Slot, SlotFlags, SlotState};
use ferrite_payload::channel::{Channel, Expected};
use ferrite_payload::{KeySet, PartRole};
use ferrite_update_engine::check::look;
use ferrite_update_engine::choose::Choice;
use ferrite_update_engine::source::{Repository, Source, SourceError};

use crate::machine::key_set;
use crate::model::{Event, Faults, Medium, ModelDisk, place};
use crate::release::{Release, both_good, key, listed, verified};
use crate::run::{Memory, install};

const NOW: u64 = 1_750_000_000;

fn everything() -> bool {
    std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1")
}

/// Installs on a disk with an older release in the other slot. Whatever was written to a slot is a byte of `signed` in
/// its place; the slots' flags are as before, or keep the boot loader away from the slot that was written.
fn attack(payload: &[u8], signed: &Release, what: &str) -> bool {
    let old = Release::new(1);
    let before = Medium::new(&both_good(Slot::A), &old, Some(&Release::new(9)));
    let disk = ModelDisk::new(&before, Faults::default());
    let mut source = Memory { told_length: None, ..Memory::new(payload) };
    let accepted = install(&disk, &old.machine(Slot::A), &mut source, None).is_ok();
    let medium = disk.medium();
    assert!(medium.holds(Slot::A, &old), "{what}: the running slot was changed");
    let log = disk.log.borrow();
    let hidden = SlotState::fresh();
    for event in log.iter() {
        let Event::Write { offset, bytes, durable: false } = event else { continue };
        let part = [PartRole::Root, PartRole::Boot].into_iter().find_map(|role| {
            let (begin, size) = place(Slot::B, role);
            (begin..begin + size).contains(offset).then(|| (signed.part(role), offset - begin))
        });
        let (image, at) = part.unwrap_or_else(|| panic!("{what}: a write to byte {offset}"));
        assert!(image.get(at..at + bytes.len()) == Some(bytes), "{what}: unsigned bytes at {offset}");
    }
    if !accepted {
        let flags = medium.flags().expect("they are whole");
        let untouched = log.is_empty() && flags == both_good(Slot::A);
        assert!(untouched || flags == hidden && flags.b == SlotFlags::Unusable, "{what}: {flags}");
    }
    accepted
}

#[test]
fn no_changed_payload_writes_an_unsigned_byte_or_starts_a_slot() {
    let new = Release::new(2);
    let good = new.payload(None);
    assert!(attack(&good, &new, "as it is"));
    let head = verified(&good).head_bytes() as usize;
    // All of the head by hand, a sample of it each time; the blobs at places that meet every operation.
    let (head_step, blob_step) = if everything() { (1, 37) } else { (11, 1511) };
    for at in (0..head).step_by(head_step).chain((head..good.len()).step_by(blob_step)) {
        for bit in if everything() { 0..8 } else { 0..1 } {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            assert!(!attack(&changed, &new, &format!("bit {bit} of byte {at}")), "byte {at}");
        }
    }
    for length in (0..head).step_by(head_step * 7).chain((head..good.len()).step_by(blob_step * 5)) {
        assert!(!attack(&good[..length], &new, "cut"), "{length} bytes");
    }
    for more in [1, 96, 5000] {
        assert!(!attack(&[good.as_slice(), &vec![7; more]].concat(), &new, "lengthened"));
    }
}

#[test]
fn parts_of_two_signed_releases_make_no_third_one() {
    let [new, other] = [2, 3].map(Release::new);
    let (one, two) = (new.payload(None), other.payload(None));
    let heads = [&one, &two].map(|payload| verified(payload).head_bytes() as usize);
    assert_eq!(heads[0], heads[1], "they are made alike");
    let (head, signatures) = (heads[0], heads[0] - 2 * 96);
    for (what, mixed) in [
        ("manifest of one, the rest of another", [&one[..signatures], &two[signatures..]].concat()),
        ("signatures of another", [&one[..signatures], &two[signatures..head], &one[head..]].concat()),
        ("blobs of another", [&one[..head], &two[head..]].concat()),
        ("the second half of another", [&one[..one.len() / 2], &two[two.len().min(one.len() / 2)..]].concat()),
    ] {
        assert!(!attack(&mixed, &new, what), "{what}");
    }
    let delta = new.payload(Some(&Release::new(1)));
    let mixed = [&delta[..verified(&delta).head_bytes() as usize], &one[head..]].concat();
    assert!(!attack(&mixed, &new, "the head of a delta with a full payload"));
    // The one that runs, made anew and well signed.
    let mut replayed = Release::new(40);
    replayed.serial = 1;
    assert!(!attack(&replayed.payload(None), &replayed, "replayed"));
}

/// A published directory in memory.
#[derive(Clone, Default)]
struct Published(BTreeMap<String, Vec<u8>>);

impl Repository for Published {
    fn small(&mut self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let found = self.0.get(path).cloned();
        assert!(found.as_ref().is_none_or(|bytes| bytes.len() as u64 <= limit));
        Ok(found)
    }

    fn payload(&mut self, path: &str) -> Box<dyn Source> {
        unreachable!("{path} is not asked for")
    }
}

fn document(name: &str, number: u64) -> Vec<u8> {
    let payload = new_payload();
    let mut document = Channel::empty("ferrite", name);
    (document.number, document.issued, document.expires) = (number, NOW - 10, NOW + 10);
    document.releases.push(listed(2, &payload));
    document.seal(&[&key(22)]).expect("it is sealed").into_bytes()
}

fn new_payload() -> Vec<u8> {
    Release::new(2).payload(None)
}

/// What a machine of release 1 that has seen document 4 makes of it.
fn chosen(published: &Published) -> Option<Choice> {
    let trusted = KeySet::parse_trusted(key_set(1, &[21]).as_bytes()).expect("a key set");
    let expected = Expected { product: "ferrite", channel: "stable", seen: 4, now: NOW, clock: None };
    let machine = Release::new(1).machine(Slot::A);
    look(&mut published.clone(), &trusted, &expected, &machine).ok().map(|(_, choice)| choice)
}

#[test]
fn no_changed_document_offers_anything() {
    let good = Published(BTreeMap::from([
        ("channel/stable.json".to_string(), document("stable", 5)),
        ("root.2.json".to_string(), key_set(2, &[22]).into_bytes()),
    ]));
    let offer = chosen(&good).expect("it is believed");
    assert!(matches!(offer, Choice::Take(_)));
    let with = |path: &str, bytes: Vec<u8>| {
        let mut changed = good.clone();
        changed.0.insert(path.to_string(), bytes);
        chosen(&changed)
    };
    for (path, bytes) in &good.0 {
        for at in (0..bytes.len()).step_by(if everything() { 1 } else { 3 }) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 7);
            // A byte of the envelope's blanks, or of an escape with two texts, may change nothing.
            let outcome = with(path, changed);
            assert!(outcome.is_none() || outcome.as_ref() == Some(&offer), "{path}, byte {at}: {outcome:?}");
        }
        for length in (0..bytes.trim_ascii_end().len()).step_by(17) {
            assert_eq!(with(path, bytes[..length].to_vec()), None, "{path} cut to {length} bytes");
        }
        assert_eq!(with(path, [bytes.as_slice(), b"{}"].concat()), None, "{path} lengthened");
    }
    for (what, path, bytes) in [
        ("another channel's", "channel/stable.json", document("beta", 5)),
        ("replayed", "channel/stable.json", document("stable", 3)),
        ("of an older set's key", "root.2.json", key_set(1, &[22]).into_bytes()),
        ("a set that leaves one out", "root.2.json", key_set(3, &[22]).into_bytes()),
        ("a document in the place of a set", "root.2.json", document("stable", 5)),
        ("a set in the place of a document", "channel/stable.json", key_set(2, &[22]).into_bytes()),
    ] {
        assert_eq!(with(path, bytes), None, "{what}");
    }
}
