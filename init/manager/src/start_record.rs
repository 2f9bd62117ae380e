//! Writes into boot control that this start got as far as PID 1, so that a slot that fails later can be told from one
//! whose early boot fails.
//!
//! A child writes, as the disk may hang; it does so while PID 1 reads its units. Nothing is started before it ended,
//! or `ferrite-slots mark-good` could be overtaken by it.

use std::path::Path;
use std::time::Duration;

use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::durable::replace_file;
use ferrite_layout::facts::{BootFacts, FACTS_PATH};
use ferrite_layout::record::{Record, Stage};
use ferrite_layout::snapshot::{SLOTS_PATH, Snapshot};
use ferrite_sys::process::{Child, fork_into};

use crate::log::Log;
use crate::shutdown::wait_bounded;
use crate::watch::Watch;

/// Three sectors are read and one is written.
const WRITE_TIME: Duration = Duration::from_secs(20);

/// Begins; `None` on a machine without slots.
pub fn begin(log: &Log) -> Option<Child> {
    let facts = BootFacts::parse(&std::fs::read_to_string(FACTS_PATH).ok()?);
    facts.slot?;
    let child = fork_into(None, || match write_down(&facts, Path::new(SLOTS_PATH)) {
        Ok(()) => 0,
        Err(error) => {
            log.warning(&format!("{}, going on", ferrite_cli::error_line(&error)));
            0
        }
    });
    child.map_err(|error| log.warning(&format!("making a process that writes into boot control: {error}"))).ok()
}

/// Waits for the end of it.
pub fn finish(child: &Child, watch: &Watch, log: &Log) {
    if wait_bounded(child, WRITE_TIME, watch).is_none() {
        log.warning(&format!("writing into boot control takes longer than {} s, going on", WRITE_TIME.as_secs()));
    }
}

fn write_down(facts: &BootFacts, snapshot: &Path) -> anyhow::Result<()> {
    let Some(running) = facts.slot else { return Ok(()) };
    let mut bootctl = Bootctl::open(Path::new(&facts.bootctl_device), Access::Write)?;
    let contents = bootctl.read()?;
    let record = Record::reached(contents.record.as_ref(), running, &facts.version, Stage::Init);
    if let Some(record) = &record {
        bootctl.write_record(record)?;
    }
    let seen = Snapshot {
        running: facts.slot,
        version: Some(facts.version.clone()).filter(|version| !version.is_empty()),
        flags: contents.flags(),
        record: record.or(contents.record),
    };
    Ok(replace_file(snapshot, seen.render().as_bytes(), 0o644)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::bootctl::Contents;
    use ferrite_layout::{Slot, SlotState, envblock};

    fn partition(record: &Record) -> Vec<u8> {
        let copy = envblock::render(&SlotState::fresh());
        let padding = [0; 4096 - envblock::ENV_BYTES];
        [&copy[..], &padding[..], &copy[..], &padding[..], &record.render()[..]].concat()
    }

    #[test]
    fn the_start_is_in_the_record_and_in_the_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let (device, snapshot) = (folder.path().join("bootctl"), folder.path().join("slots"));
        let early = Record::default().start(None, Slot::A, "1.0");
        std::fs::write(&device, partition(&early)).unwrap();
        let bootctl_device = device.display().to_string();
        let facts = BootFacts { slot: Some(Slot::A), version: "1.0".into(), bootctl_device, ..BootFacts::default() };
        write_down(&facts, &snapshot).unwrap();
        let contents = Contents::parse(&std::fs::read(&device).unwrap());
        assert_eq!(contents.record, Some(early.reach(Stage::Init)));
        let seen = Snapshot::parse(&std::fs::read_to_string(&snapshot).unwrap());
        assert_eq!((seen.running, seen.record), (Some(Slot::A), contents.record));
        assert_eq!(seen.flags, Some(SlotState::fresh()));
    }

    #[test]
    fn a_start_that_is_complete_stays_so() {
        let folder = tempfile::tempdir().unwrap();
        let (device, snapshot) = (folder.path().join("bootctl"), folder.path().join("slots"));
        let complete = Record::default().start(None, Slot::A, "1.0").complete(Slot::A);
        std::fs::write(&device, partition(&complete)).unwrap();
        let bootctl_device = device.display().to_string();
        let facts = BootFacts { slot: Some(Slot::A), version: "1.0".into(), bootctl_device, ..BootFacts::default() };
        write_down(&facts, &snapshot).unwrap();
        assert_eq!(std::fs::read(&device).unwrap(), partition(&complete));
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let facts = BootFacts { slot: Some(Slot::A), bootctl_device: "/nonexistent".into(), ..BootFacts::default() };
        let error = write_down(&facts, Path::new("/nonexistent/slots")).unwrap_err();
        assert_eq!(error.to_string(), "opening boot control partition '/nonexistent'");
    }
}
