//! Changes of the boot control partition: `plan` decides and is pure, `apply` reads, plans, writes, and refreshes the
//! snapshot for everybody.
//!
//! Flags are written before the record: a power cut between the two then costs a counted start. The other way round
//! it would make early boot report a fallback a second time, without its reason.

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
}

/// What is written, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
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
    let present = contents.record.clone().filter(|record| record.slot == Some(running));
    let base = present.unwrap_or_else(|| {
        // Early boot could not write the record of this start: begin one, keep what is known of the last fallback.
        let fallback = contents.record.as_ref().and_then(|record| record.fallback.clone());
        Record { fallback, ..Record::default() }.start(None, running, version)
    });
    let (flags, record) = match change {
        Change::MarkGood => {
            let lost =
                SlotState { order: Order::beginning_with(running), a: SlotFlags::Unusable, b: SlotFlags::Unusable };
            (Some(contents.flags().unwrap_or(lost).mark_good(running)), base.complete(running))
        }
        // A start that is complete stays so: a restarted unit must not begin to count again.
        Change::Reach(stage) if base.stage < Some(*stage) => (None, base.reach(*stage)),
        Change::Reach(_) => (None, base),
        Change::Fail(reason) => (None, base.fail(reason)),
    };
    Plan {
        flags: flags.filter(|flags| contents.copies != [Some(*flags); 2]),
        record: Some(record).filter(|record| contents.record.as_ref() != Some(record)),
    }
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
    }
}

fn refresh(paths: &Paths, facts: &BootFacts, contents: &Contents) -> anyhow::Result<()> {
    let snapshot = Snapshot {
        running: facts.slot,
        version: Some(facts.version.clone()).filter(|version| !version.is_empty()),
        flags: contents.flags(),
        record: contents.record.clone(),
    };
    replace_file(&paths.snapshot, snapshot.render().as_bytes(), 0o644)
        .context("the slot flags are changed, but status will show old ones")
}
