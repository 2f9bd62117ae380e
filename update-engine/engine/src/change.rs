//! Changes of the boot control partition: `plan` decides and is pure, `apply` reads, plans, writes, and refreshes the
//! snapshot for everybody.
//!
//! Flags are written before the record: a power cut between the two then costs a counted start. The other way round
//! it would make early boot report a fallback a second time, without its reason. Only where a slot under test becomes
//! good, its starts are forgotten first: they were counted by its tries, and a good slot gives way at the third start.

use std::path::Path;

use anyhow::Context;
use ferrite_layout::bootctl::{Access, Bootctl, Contents};
use ferrite_layout::durable::replace_file;
use ferrite_layout::record::Stage;
use ferrite_layout::slots::Order;
use ferrite_layout::snapshot::Snapshot;
use ferrite_layout::{BootFacts, Record, Slot, SlotFlags, SlotState};

use crate::paths::Paths;

/// What somebody wants to be noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The running slot booted well.
    MarkGood,
    /// This start got so far.
    Reach(Stage),
    /// This start fails, for this reason.
    Fail(String),
    /// The running slot gives way to the other one, for this reason.
    FallBack(String),
    /// What was installed in this slot, which does not run, is not to be started.
    GiveUp(Slot),
    /// This slot, which does not run, holds a release that is too old to be started again.
    Retire(Slot),
    /// This slot, which is good, is started first from now on.
    Prefer(Slot),
}

/// What is written, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// A boot record that has to be there before the flags change.
    pub first: Option<Record>,
    /// New flags, if a copy of them says something else.
    pub flags: Option<SlotState>,
    /// New boot record, if it says something else.
    pub record: Option<Record>,
}

/// What was done, as a line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Something was written.
    Changed(String),
    /// It was so already.
    Unchanged(String),
}

/// Decides what a change of the running slot writes.
pub fn plan(contents: &Contents, running: Slot, version: &str, change: &Change) -> Plan {
    let base = Record::of_running(contents.record.as_ref(), running, version);
    let mut first = None;
    let (flags, record) = match change {
        Change::MarkGood => {
            let lost =
                SlotState { order: Order::beginning_with(running), a: SlotFlags::Unusable, b: SlotFlags::Unusable };
            let flags = contents.flags().unwrap_or(lost);
            let uncounted = || Record { starts: 0, ..base.clone() };
            first = (!flags.flags(running).good() && base.starts > 0).then(uncounted);
            (Some(flags.mark_good(running)), base.complete(running))
        }
        Change::Reach(stage) => {
            let record = Record::reached(contents.record.as_ref(), running, version, *stage);
            return Plan { first, flags: None, record };
        }
        Change::Fail(reason) => (None, base.fail(reason)),
        Change::FallBack(reason) => {
            let good = |flags: &SlotState| flags.flags(running.other()).good();
            match contents.flags().filter(good) {
                Some(flags) => (Some(flags.demote(running)), base.fall_back(running, reason)),
                None => (None, base.fail(reason)),
            }
        }
        Change::GiveUp(slot) => {
            let flags = contents.flags().filter(|_| *slot != running).map(|flags| flags.install_begins(*slot));
            return only_flags(flags, contents);
        }
        Change::Retire(slot) => {
            // Without a good slot that runs, the other one is the way back however old it is.
            let flags = contents.flags().filter(|flags| *slot != running && flags.flags(running).good());
            return only_flags(flags.map(|flags| flags.install_begins(*slot)), contents);
        }
        Change::Prefer(slot) => {
            let flags = contents.flags().filter(|flags| flags.flags(*slot).good());
            let flags = flags.map(|flags| SlotState { order: Order::beginning_with(*slot), ..flags });
            return only_flags(flags, contents);
        }
    };
    Plan {
        first,
        flags: flags.filter(|flags| contents.copies != [Some(*flags); 2]),
        record: Some(record).filter(|record| contents.record.as_ref() != Some(record)),
    }
}

fn only_flags(flags: Option<SlotState>, contents: &Contents) -> Plan {
    Plan { first: None, flags: flags.filter(|flags| contents.copies != [Some(*flags); 2]), record: None }
}

/// Carries a change out on this machine.
pub fn apply(paths: &Paths, change: &Change) -> anyhow::Result<Outcome> {
    let facts = paths.read_facts()?;
    let Some(running) = facts.slot else {
        return Ok(Outcome::Unchanged("this machine runs from no slot, nothing to change".to_string()));
    };
    if facts.bootctl_device.is_empty() {
        anyhow::bail!("early boot found no boot control partition on the disk of slot {running}");
    }
    let mut bootctl = Bootctl::open(Path::new(&facts.bootctl_device), Access::Write)?;
    let contents = bootctl.read()?;
    let plan = plan(&contents, running, &facts.version, change);
    if let Some(record) = &plan.first {
        bootctl.write_record(record)?;
    }
    if let Some(flags) = &plan.flags {
        bootctl.write_flags(flags)?;
    }
    if let Some(record) = &plan.record {
        bootctl.write_record(record)?;
    }
    refresh(paths, &facts, &bootctl.read()?)?;
    let text = describe(change, running);
    let unchanged = plan.flags.is_none() && plan.record.is_none();
    Ok(if unchanged { Outcome::Unchanged(format!("{text} already")) } else { Outcome::Changed(text) })
}

fn describe(change: &Change, running: Slot) -> String {
    match change {
        Change::MarkGood => format!("slot {running} is marked good"),
        Change::Reach(stage) => format!("slot {running} reached stage {}", stage.word()),
        Change::Fail(reason) => format!("failure of slot {running} is noted: {reason}"),
        Change::FallBack(reason) => format!("slot {running} gives way: {reason}"),
        Change::GiveUp(slot) => format!("what was installed in slot {slot} is given up"),
        Change::Retire(slot) => format!("slot {slot} holds a release below the floor and is not started again"),
        Change::Prefer(slot) => format!("slot {slot} is started first"),
    }
}

/// Tells everybody about new flags.
pub(crate) fn refresh(paths: &Paths, facts: &BootFacts, contents: &Contents) -> anyhow::Result<()> {
    let snapshot = Snapshot {
        running: facts.slot,
        version: Some(facts.version.clone()).filter(|version| !version.is_empty()),
        flags: contents.flags(),
        record: contents.record.clone(),
    };
    replace_file(&paths.snapshot, snapshot.render().as_bytes(), 0o644)
        .context("the slot flags are changed, but status will show old ones")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::envblock;
    use ferrite_layout::record::Fallback;
    use std::fs;

    const ENV: [usize; 2] = [4096, 8192];
    const RECORD: usize = 12_288;

    /// A machine of three files.
    struct Machine {
        folder: tempfile::TempDir,
        paths: Paths,
    }

    impl Machine {
        fn new(running: Option<Slot>, flags: &SlotState, record: &Record) -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut partition = vec![0u8; 1 << 16];
            for at in ENV {
                partition[at..at + 1024].copy_from_slice(&envblock::render(flags));
            }
            partition[RECORD..RECORD + 512].copy_from_slice(&record.render());
            fs::write(folder.path().join("bootctl"), partition).expect("it can be written");
            let facts = BootFacts {
                version: "2.0".into(),
                slot: running,
                bootctl_device: folder.path().join("bootctl").display().to_string(),
                ..BootFacts::default()
            };
            fs::write(folder.path().join("boot"), facts.render()).expect("it can be written");
            let paths = Paths { facts: folder.path().join("boot"), snapshot: folder.path().join("slots") };
            Self { folder, paths }
        }

        fn on_trial() -> Self {
            let flags = SlotState::fresh().install_done(Slot::B).with(Slot::B, SlotFlags::Trying(2));
            Self::new(Some(Slot::B), &flags, &Record::default().start(Some(&flags), Slot::B, "2.0"))
        }

        fn apply(&self, change: &Change) -> Outcome {
            apply(&self.paths, change).expect("the change is made")
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(self.folder.path().join("bootctl")).expect("it can be read")
        }

        fn contents(&self) -> Contents {
            Contents::parse(&self.bytes())
        }
    }

    #[test]
    fn mark_good_makes_flags_record_and_snapshot_say_so() {
        let machine = Machine::on_trial();
        machine.apply(&Change::Reach(Stage::Init));
        assert_eq!(machine.apply(&Change::MarkGood), Outcome::Changed("slot b is marked good".into()));
        let contents = machine.contents();
        let flags = SlotState { order: Order::beginning_with(Slot::B), a: SlotFlags::Good, b: SlotFlags::Good };
        assert_eq!(contents.copies, [Some(flags); 2]);
        let record = contents.record.expect("it is whole");
        assert_eq!((record.starts, record.stage, record.version.as_deref()), (0, Some(Stage::Complete), Some("2.0")));
        let snapshot = machine.paths.read_snapshot().expect("it is there");
        assert_eq!((snapshot.flags, snapshot.record, snapshot.running), (Some(flags), Some(record), Some(Slot::B)));
    }

    #[test]
    fn mark_good_again_and_a_late_stage_write_nothing() {
        let machine = Machine::on_trial();
        machine.apply(&Change::MarkGood);
        let before = machine.bytes();
        assert_eq!(machine.apply(&Change::MarkGood), Outcome::Unchanged("slot b is marked good already".into()));
        assert!(matches!(machine.apply(&Change::Reach(Stage::Init)), Outcome::Unchanged(_)));
        assert_eq!(machine.bytes(), before);
    }

    #[test]
    fn a_failure_is_noted_and_changes_no_flags() {
        let machine = Machine::on_trial();
        let flags = machine.contents().copies;
        machine.apply(&Change::Fail("deadline: unit x.service not reached".into()));
        let contents = machine.contents();
        assert_eq!(
            contents.record.and_then(|record| record.reason).as_deref(),
            Some("deadline: unit x.service not reached")
        );
        assert_eq!(contents.copies, flags);
    }

    #[test]
    fn a_slot_that_gives_way_is_not_tried_again_and_its_reason_is_found_by_the_next_start() {
        let machine = Machine::on_trial();
        machine.apply(&Change::FallBack("health check web: exit status: 1".into()));
        let contents = machine.contents();
        let flags = contents.flags().expect("they are whole");
        assert_eq!((flags.flags(Slot::B), flags.order.first()), (SlotFlags::Unusable, Slot::B));
        let next = contents.record.expect("it is whole").start(Some(&flags), Slot::A, "1.0");
        let fallback = next.fallback.expect("it is found");
        assert_eq!((fallback.from, fallback.reason.as_str()), (Slot::B, "health check web: exit status: 1"));
        // Without a way back the slot keeps its tries.
        let flags = flags.with(Slot::A, SlotFlags::Unusable).with(Slot::B, SlotFlags::Trying(2));
        let lonely = Machine::new(Some(Slot::B), &flags, &Record::default());
        lonely.apply(&Change::FallBack("x".into()));
        assert_eq!(lonely.contents().flags(), Some(flags));
    }

    #[test]
    fn what_was_installed_is_given_up_and_another_good_slot_preferred() {
        let staged = SlotState::fresh().install_done(Slot::B);
        let machine = Machine::new(Some(Slot::A), &staged, &Record::default());
        machine.apply(&Change::GiveUp(Slot::A));
        assert_eq!(machine.contents().flags(), Some(staged), "the running slot is left alone");
        machine.apply(&Change::Prefer(Slot::B));
        assert_eq!(machine.contents().flags(), Some(staged), "it is not good");
        machine.apply(&Change::GiveUp(Slot::B));
        assert_eq!(machine.contents().flags(), Some(SlotState::fresh()));
        let both = SlotState { b: SlotFlags::Good, ..SlotState::fresh() };
        let machine = Machine::new(Some(Slot::A), &both, &Record::default());
        machine.apply(&Change::Prefer(Slot::B));
        assert_eq!(machine.contents().flags().map(|flags| flags.order.first()), Some(Slot::B));
    }

    #[test]
    fn an_old_slot_is_retired_once_the_running_one_is_good() {
        let both = SlotState { order: Order::beginning_with(Slot::B), a: SlotFlags::Good, b: SlotFlags::Good };
        let machine = Machine::new(Some(Slot::B), &both, &Record::default());
        machine.apply(&Change::Retire(Slot::B));
        assert_eq!(machine.contents().flags(), Some(both), "the running slot is left alone");
        assert!(matches!(machine.apply(&Change::Retire(Slot::A)), Outcome::Changed(_)));
        let retired = both.with(Slot::A, SlotFlags::Unusable);
        assert_eq!(machine.contents().copies, [Some(retired); 2]);
        assert!(matches!(machine.apply(&Change::Retire(Slot::A)), Outcome::Unchanged(_)), "again");
        let next = Record::default().start(Some(&retired), Slot::B, "2.0");
        assert_eq!(next.fallback, None, "it is no fallback");
        let trial = both.with(Slot::B, SlotFlags::Trying(1));
        let machine = Machine::new(Some(Slot::B), &trial, &Record::default());
        machine.apply(&Change::Retire(Slot::A));
        assert_eq!(machine.contents().flags(), Some(trial), "it is the way back");
    }

    #[test]
    fn mark_good_after_a_fallback_keeps_the_note_and_ends_the_search_for_the_dead_slot() {
        let flags = SlotState::fresh().install_done(Slot::B).demote(Slot::B);
        let fallback = Fallback { from: Slot::B, version: Some("3.0".into()), reason: "why".into() };
        let record = Record { fallback: Some(fallback.clone()), ..Record::default() }.start(None, Slot::A, "2.0");
        let machine = Machine::new(Some(Slot::A), &flags, &record);
        machine.apply(&Change::MarkGood);
        let contents = machine.contents();
        assert_eq!(contents.flags().map(|flags| flags.order.first()), Some(Slot::A));
        assert_eq!(contents.record.and_then(|record| record.fallback), Some(fallback));
    }

    #[test]
    fn one_torn_copy_is_repaired_and_lost_flags_are_made_anew() {
        let machine = Machine::on_trial();
        for lost in [&ENV[..1], &ENV[..]] {
            let mut bytes = machine.bytes();
            for at in lost {
                bytes[at + 30..at + 512].fill(0);
            }
            fs::write(machine.folder.path().join("bootctl"), bytes).expect("it can be written");
            machine.apply(&Change::MarkGood);
            let [first, second] = machine.contents().copies;
            assert_eq!(first, second);
            assert_eq!(first.map(|flags| (flags.order.first(), flags.b)), Some((Slot::B, SlotFlags::Good)));
        }
    }

    #[test]
    fn a_torn_record_is_begun_again() {
        let machine = Machine::on_trial();
        let mut bytes = machine.bytes();
        bytes[RECORD + 20] = 0;
        fs::write(machine.folder.path().join("bootctl"), bytes).expect("it can be written");
        machine.apply(&Change::Reach(Stage::Init));
        let record = machine.contents().record.expect("it is whole");
        assert_eq!((record.slot, record.starts, record.stage), (Some(Slot::B), 1, Some(Stage::Init)));
    }

    #[test]
    fn a_machine_without_slots_has_nothing_to_change() {
        let machine = Machine::new(None, &SlotState::fresh(), &Record::default());
        let before = machine.bytes();
        assert!(matches!(machine.apply(&Change::MarkGood), Outcome::Unchanged(_)));
        assert_eq!(machine.bytes(), before);
    }

    #[test]
    fn an_error_names_the_file_or_device() {
        let machine = Machine::on_trial();
        fs::remove_file(machine.folder.path().join("bootctl")).expect("it was there");
        let error = apply(&machine.paths, &Change::MarkGood).expect_err("no device");
        let path = machine.folder.path().join("bootctl");
        let line = ferrite_cli::error_line(&error);
        assert!(
            line.starts_with(&format!("error: opening boot control partition '{}': No such file", path.display())),
            "{line}"
        );
        fs::remove_file(&machine.paths.facts).expect("it was there");
        let line = ferrite_cli::error_line(&apply(&machine.paths, &Change::MarkGood).expect_err("no facts"));
        assert!(line.starts_with("error: early boot left no facts (is this a Ferrite machine?): reading "), "{line}");
    }
}
