//! What must not be installed, and disks that fail: the running slot stays as it was, and the other one is not started.

use ferrite_layout::{Slot, SlotFlags, SlotState};
use ferrite_payload::PartRole;
use ferrite_payload::pack::Identity;
use ferrite_update_engine::install::InstallError;
use ferrite_update_engine::machine::Machine;

use crate::model::{Faults, Medium, ModelDisk, place};
use crate::release::{Release, both_good, role, seal};
use crate::run::{Memory, install};

/// Releases 1 (runs) and 2.
struct Case {
    old: Release,
    new: Release,
    machine: Machine,
    before: Medium,
}

impl Case {
    fn new() -> Case {
        let (old, new) = (Release::new(1), Release::new(2));
        let before = Medium::new(&both_good(Slot::A), &old, Some(&Release::new(9)));
        Case { machine: old.machine(Slot::A), old, new, before }
    }

    fn payload_as(&self, change: impl Fn(&mut Identity)) -> Vec<u8> {
        let mut identity = self.new.identity(None);
        change(&mut identity);
        let (manifest, blobs) = self.new.pack_as(&identity, None);
        seal(&manifest, &blobs)
    }

    /// Refused before a byte of the disk changed.
    fn refused(&self, machine: &Machine, source: &mut Memory) -> String {
        let disk = ModelDisk::new(&self.before, Faults::default());
        let error = install(&disk, machine, source, None).expect_err("it is refused");
        assert!(disk.log.borrow().is_empty(), "something was written: {error}");
        error.to_string()
    }

    /// Refused on the way: the running slot is as before, and the other one is out of use.
    fn stopped(&self, source: &mut Memory, faults: Faults) -> InstallError {
        let disk = ModelDisk::new(&self.before, faults);
        let error = install(&disk, &self.machine, source, None).expect_err("it is refused");
        let medium = disk.medium();
        assert!(medium.holds(Slot::A, &self.old), "{error}");
        let flags = medium.flags().expect("they are whole");
        assert_eq!(flags, SlotState::fresh(), "{error}");
        assert_eq!(flags.b, SlotFlags::Unusable);
        error
    }
}

#[test]
fn what_is_not_for_this_machine_is_refused_before_anything_changes() {
    let case = Case::new();
    let machine = case.machine.clone();
    let blocked = Machine { blocked: [2].into(), ..machine.clone() };
    let below = Machine { floor: 3, ..machine.clone() };
    let newer = Machine { serial: 2, ..machine.clone() };
    let older = Machine { serial: 0, ..machine.clone() };
    let good = case.payload_as(|_| {});
    let delta = case.new.payload(Some(&case.old));
    let mut other_build = Release::new(7);
    other_build.serial = 1;
    let other_delta = case.new.payload(Some(&other_build));
    let cases: Vec<(Vec<u8>, &Machine, &str)> = vec![
        (case.payload_as(|id| id.board = "metal".into()), &machine, "payload is for board metal, this machine is qemu"),
        (
            case.payload_as(|id| id.product = "x".into()),
            &machine,
            "payload is for product x, this machine runs ferrite",
        ),
        (good.clone(), &newer, "payload has serial 2, this machine runs serial 2: only a newer release is installed"),
        (good.clone(), &below, "payload has serial 2, nothing below 3 is installed on this machine any more"),
        (good.clone(), &blocked, "serial 2 failed on this machine before and is blocked"),
        (other_delta, &machine, "payload is a delta from serial 1, this machine runs serial 1 or another build of it"),
        (delta, &older, "payload is a delta from serial 1, this machine runs serial 0"),
    ];
    for (payload, machine, wanted) in cases {
        let error = case.refused(machine, &mut Memory::new(&payload));
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn unsigned_short_long_and_foreign_payloads_are_refused_before_anything_changes() {
    let case = Case::new();
    let good = case.payload_as(|_| {});
    let lengthened = [good.as_slice(), b"x"].concat();
    let mut unsigned = good.clone();
    let head = crate::release::verified(&good).head_bytes() as usize;
    unsigned[head - 96..head].fill(0);
    for (payload, wanted) in [
        (&unsigned[..], "payload has 1 valid signatures of release keys, 2 are needed"),
        (&good[..good.len() - 1], "'memory' has"),
        (&lengthened, "'memory' has"),
        (&good[..100], "'memory' ends at byte 100"),
        (b"PK\x03\x04 and so on, a file of another kind", "this is no payload of Ferrite"),
        (b"", "'memory' ends at byte 0"),
    ] {
        let error = case.refused(&case.machine, &mut Memory::new(payload));
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn without_a_way_back_nothing_is_installed() {
    let case = Case::new();
    let payload = case.payload_as(|_| {});
    let trial = SlotState::fresh().with(Slot::A, SlotFlags::Trying(2));
    let on_trial = Case { before: Medium::new(&trial, &case.old, None), ..Case::new() };
    let error = on_trial.refused(&case.machine, &mut Memory::new(&payload));
    assert!(error.starts_with("running slot a has not been marked good yet"), "{error}");
    let mut lost = Case::new();
    lost.before.bytes[4096..8192 + 1024].fill(0);
    let error = lost.refused(&case.machine, &mut Memory::new(&payload));
    assert!(error.contains("ags"), "{error}");
}

/// The length is not told, so it is found out on the way.
#[test]
fn short_endless_and_changed_sources_are_refused_before_the_slot_is_started() {
    let case = Case::new();
    let good = case.payload_as(|_| {});
    let untold = |bytes: &[u8]| Memory { told_length: None, ..Memory::new(bytes) };
    let error = case.stopped(&mut untold(&good[..good.len() - 5]), Faults::default());
    assert!(error.to_string().contains("ends at byte"), "{error}");
    let error = case.stopped(&mut untold(&[good.as_slice(), &[0; 100]].concat()), Faults::default());
    assert!(matches!(error, InstallError::Endless(_)), "{error}");
    let head = crate::release::verified(&good).head_bytes() as usize;
    for at in (head..good.len()).step_by(4099) {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        let error = case.stopped(&mut untold(&changed), Faults::default());
        assert!(error.to_string().contains("are not the signed ones"), "byte {at}: {error}");
    }
    // Of another release, from some byte on: signed too, but not for this place.
    let other = Release::new(5).payload(None);
    let mixed = [&good[..head + 3000], &other[other.len().min(head + 3000)..]].concat();
    case.stopped(&mut untold(&mixed), Faults::default());
}

#[test]
fn a_disk_that_fails_or_lies_is_noticed_before_the_slot_is_started() {
    let case = Case::new();
    let good = case.payload_as(|_| {});
    for role in [PartRole::Root, PartRole::Boot] {
        let (begin, _) = place(Slot::B, role);
        let error = case.stopped(&mut Memory::new(&good), Faults { bad_from: Some(begin + 9000), ..Faults::default() });
        assert!(matches!(error, InstallError::Disk { what: "writing", .. }), "{error}");
        // The old release's byte stays where the new one has another.
        let sector = (begin + 1024) / 512;
        let lies = Faults { lost_sector: Some(sector), ..Faults::default() };
        let error = case.stopped(&mut Memory::new(&good), lies);
        assert!(matches!(error, InstallError::ReadBack { .. }), "{error}");
    }
}

#[test]
fn a_root_without_its_hash_is_refused_though_it_is_signed() {
    let case = Case::new();
    let (mut manifest, blobs) = case.new.pack_as(&case.new.identity(None), None);
    manifest.parts[0].verity_root = Release::new(3).root_hash();
    let error = case.stopped(&mut Memory::new(&seal(&manifest, &blobs)), Faults::default());
    assert!(matches!(error, InstallError::Verity(_)), "{error}");
}

#[test]
fn a_damaged_running_slot_makes_a_delta_ask_for_the_full_payload() {
    let mut case = Case::new();
    let delta = case.new.payload(Some(&case.old));
    let (begin, _) = place(Slot::A, PartRole::Root);
    let (from, length) = (begin + 20_480 + 65_536 + 100, 8192);
    case.before.bytes[from..from + length].fill(0x77);
    let disk = ModelDisk::new(&case.before, Faults::default());
    let error = install(&disk, &case.machine, &mut Memory::new(&delta), None).expect_err("the base is damaged");
    assert!(error.wants_full(), "{error}");
    let full = case.new.payload(None);
    install(&disk, &case.machine, &mut Memory::new(&full), None).expect("the full payload needs no base");
    assert!(disk.medium().holds(Slot::B, &case.new));
}

/// Signatures are checked by the keys of the machine, not by those of the payload.
#[test]
fn keys_of_somebody_else_do_not_help() {
    let case = Case::new();
    let (manifest, blobs) = case.new.pack_as(&case.new.identity(None), None);
    let foreign = [11, 12, 13].map(crate::release::key);
    assert!(foreign.iter().all(|key| !role().has(key)));
    let mut payload = Vec::new();
    let keys: Vec<_> = foreign.iter().collect();
    ferrite_payload::pack::write(&manifest, &keys, 3, &mut blobs.as_slice(), &mut payload).expect("it is written");
    let error = case.refused(&case.machine, &mut Memory::new(&payload));
    assert!(error.contains("(3 by unknown keys, 0 wrong)"), "{error}");
}
