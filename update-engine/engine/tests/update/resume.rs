//! Installs that are cancelled, cut off and begun again: they end where one that ran through ends, and no byte of an
//! operation that was written and noted is fetched a second time.

use ferrite_layout::{Slot, SlotState};
use ferrite_update_engine::install::{InstallError, Outcome};
use ferrite_update_engine::source::SourceError;

use crate::model::{Faults, Medium, ModelDisk};
use crate::release::{Release, verified};
use crate::run::{Memory, install};

fn disk(old: &Release) -> ModelDisk {
    ModelDisk::new(&Medium::new(&SlotState::fresh(), old, None), Faults::default())
}

const DONE: Outcome = Outcome::Installed { slot: Slot::B, serial: 2 };

#[test]
fn an_install_that_is_cancelled_after_each_operation_still_ends_and_fetches_each_blob_once() {
    let (old, new) = (Release::new(1), Release::new(2));
    for payload in [new.payload(None), new.payload(Some(&old))] {
        let (disk, machine) = (disk(&old), old.machine(Slot::A));
        let mut source = Memory::new(&payload);
        let (head, ops) = (verified(&payload).head_bytes(), verified(&payload).manifest().ops.len());
        let mut runs = 0;
        loop {
            runs += 1;
            assert!(runs <= ops + 1, "it does not come to an end");
            match install(&disk, &machine, &mut source, Some(1)) {
                Err(InstallError::Source(SourceError::Cancelled)) => {
                    let flags = disk.medium().flags().expect("they are whole");
                    assert_eq!(flags, SlotState::fresh(), "the slot is not started before the end");
                }
                outcome => {
                    assert_eq!(outcome.expect("it is installed"), DONE);
                    break;
                }
            }
        }
        assert!(disk.medium().holds(Slot::B, &new));
        assert!(runs > 4);
        // The head is read each time, and a reader may take the start of the next blob before it is told to stop.
        let blobs = source.read.get() - runs as u64 * head;
        assert_eq!(blobs, payload.len() as u64 - head, "{runs} runs");
    }
}

#[test]
fn a_connection_that_breaks_all_the_time_is_taken_up_where_it_broke() {
    let (old, new) = (Release::new(1), Release::new(2));
    let payload = new.payload(None);
    let disk = disk(&old);
    let mut source = Memory { breaks_after: Some(700), ..Memory::new(&payload) };
    assert_eq!(install(&disk, &old.machine(Slot::A), &mut source, None).expect("it is installed"), DONE);
    assert_eq!(source.read.get(), payload.len() as u64, "nothing was read twice");
    let mut dead = Memory { breaks_after: Some(0), ..Memory::new(&payload) };
    let error = install(&disk, &Release::new(1).machine(Slot::B), &mut dead, None).expect_err("nothing comes");
    assert!(error.to_string().starts_with("reading 'memory'"), "{error}");
}

/// Each outage is longer than the patience of one install.
#[test]
fn an_outage_costs_what_was_received_of_one_operation() {
    let (old, new) = (Release::new(1), Release::new(2));
    let payload = new.payload(None);
    let disk = disk(&old);
    let opened = verified(&payload);
    let longest = opened.manifest().ops.iter().map(|op| u64::from(op.blob_length)).max().expect("there are some");
    let mut source = Memory::new(&payload);
    let steps = 9;
    for step in 1..=steps {
        source.dead_from = Some(opened.head_bytes() + (opened.total_bytes() - opened.head_bytes()) * step / 10);
        let error = install(&disk, &old.machine(Slot::A), &mut source, None).expect_err("nothing comes any more");
        assert!(matches!(error, InstallError::Source(SourceError::Read { .. })), "{error}");
    }
    source.dead_from = None;
    assert_eq!(install(&disk, &old.machine(Slot::A), &mut source, None).expect("it is installed"), DONE);
    let most = opened.total_bytes() + steps * (opened.head_bytes() + longest);
    assert!(source.read.get() <= most, "{} bytes were read, {most} at most", source.read.get());
}

#[test]
fn installing_again_changes_nothing_and_a_newer_release_takes_the_place() {
    let (old, new, newer) = (Release::new(1), Release::new(2), Release::new(3));
    let (disk, machine) = (disk(&old), old.machine(Slot::A));
    let payload = new.payload(None);
    install(&disk, &machine, &mut Memory::new(&payload), None).expect("it is installed");
    let events = disk.log.borrow().len();
    let again = install(&disk, &machine, &mut Memory::new(&payload), None);
    assert_eq!(again.expect("it is there"), Outcome::Staged(Slot::B));
    assert_eq!(disk.log.borrow().len(), events, "nothing was written");
    install(&disk, &machine, &mut Memory::new(&newer.payload(None)), None).expect("it is installed");
    assert!(disk.medium().holds(Slot::B, &newer));
    // Half of another one, and the first again: its note is not believed for bytes of the other.
    let payload = Release::new(4).payload(None);
    install(&disk, &machine, &mut Memory::new(&payload), Some(3)).expect_err("it is cancelled");
    install(&disk, &machine, &mut Memory::new(&newer.payload(None)), None).expect("it is installed");
    assert!(disk.medium().holds(Slot::B, &newer));
}

#[test]
fn a_note_that_lies_costs_one_more_try_and_never_a_wrong_slot() {
    let (old, new) = (Release::new(1), Release::new(2));
    let (disk, machine) = (disk(&old), old.machine(Slot::A));
    let payload = new.payload(None);
    install(&disk, &machine, &mut Memory::new(&payload), Some(2)).expect_err("it is cancelled");
    let mut medium = disk.medium();
    let note = medium.note.as_mut().expect("it was noted");
    let ops = verified(&payload).manifest().ops.len();
    note.step = ferrite_update_engine::progress::Step::Writing { ops, held: None };
    let disk = ModelDisk::new(&medium, Faults::default());
    let error = install(&disk, &machine, &mut Memory::new(&payload), None).expect_err("most of it is missing");
    assert!(matches!(error, InstallError::ReadBack { .. }), "{error}");
    assert_eq!(disk.medium().flags(), Some(SlotState::fresh()));
    assert_eq!(install(&disk, &machine, &mut Memory::new(&payload), None).expect("it is installed"), DONE);
}
