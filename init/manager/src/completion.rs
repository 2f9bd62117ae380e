//! Is the boot complete? `boot-complete.target` says so; until it is up it is tried again as often as what it needs
//! comes up, and a slot under test that does not get there in time restarts the machine.
//!
//! A failed dependency ends the job of the target for good, so a unit that fails once and then restarts by itself would
//! cost a good release its slot.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrite_layout::bootctl::{Access, Bootctl};
use ferrite_layout::{BootFacts, Record, Slot};
use ferrite_sys::reboot::End;
use ferrite_unit::UnitName;

use crate::engine::Engine;
use crate::jobs::{Active, JobKind, Mode, UnitId};
use crate::log::Mark;
use crate::shutdown::bounded_status;
use crate::timers::TimerKey;
use crate::transaction::{Graph, Relation};

/// The target.
const TARGET: &str = "boot-complete.target";
/// From a boot that ended without success to the restart: time to read why.
const BOOT_FAILED: Duration = Duration::from_secs(30);
/// As long as somebody works in a shell of emergency or rescue mode, the deadline waits for so much more.
const WORK: Duration = Duration::from_secs(300);
/// What every service needs.
const BASE: &str = "basic.target";
/// A sector is read and one is written.
const WRITE_TIME: Duration = Duration::from_secs(20);
/// From one try to the next, and how much more each further one waits.
const RETRY: Duration = Duration::from_secs(2);
const RETRIES_MAX: u32 = 30;

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub struct Completion {
    /// There is nothing left to look for.
    over: bool,
    /// The target was found down when nothing was on its way any more.
    missed: bool,
    /// Tries after that.
    retries: u32,
}

/// Where a unit that the target needs stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Up, or run to its end with success; starting the target runs it again.
    Met,
    /// On its way: it starts, stops, or waits to be restarted.
    Open,
    /// Failed, or never started, and nobody works on it.
    Unmet,
}

fn need(active: Active, ran_well: bool) -> Need {
    match active {
        Active::Active | Active::Reloading => Need::Met,
        Active::Activating | Active::Deactivating => Need::Open,
        Active::Inactive if ran_well => Need::Met,
        Active::Inactive | Active::Failed => Need::Unmet,
    }
}

/// The target waits for the unit that is worst off.
fn worst(needs: impl Iterator<Item = Need>) -> Need {
    needs.fold(Need::Met, |worst, need| match (worst, need) {
        (Need::Open, _) | (_, Need::Open) => Need::Open,
        (Need::Unmet, _) | (_, Need::Unmet) => Need::Unmet,
        (Need::Met, Need::Met) => Need::Met,
    })
}

impl Engine {
    fn boot_target(&self) -> Option<UnitId> {
        UnitName::parse(TARGET).ok().and_then(|name| self.units.find(&name))
    }

    /// Looks after the boot when nothing is on its way.
    pub fn check_completion(&mut self) {
        if self.completion.over {
            return;
        }
        let Some(target) = self.boot_target() else {
            self.completion.over = true;
            return;
        };
        if self.active(target).is_up() {
            self.completion.over = true;
            if self.completion.missed {
                self.start_waiting_for(target);
            }
            return;
        }
        self.completion.missed = true;
        match worst(self.units.related(target, Relation::Requires).into_iter().map(|id| self.need_of(id))) {
            Need::Met => self.retry_boot(target),
            Need::Open => {}
            Need::Unmet => self.shorten_deadline(),
        }
    }

    fn need_of(&self, id: UnitId) -> Need {
        let runtime = self.units.get(id);
        let ran_well = runtime.is_some_and(|r| r.times.inactive_exit.0 > 0 && r.result() == "success");
        need(self.active(id), ran_well)
    }

    fn retry_boot(&mut self, target: UnitId) {
        if self.timers.is_armed(TimerKey::BootRetry) || self.completion.retries >= RETRIES_MAX {
            return;
        }
        self.completion.retries += 1;
        self.timers.arm(TimerKey::BootRetry, Instant::now(), RETRY * self.completion.retries);
        self.log.info(&format!("what {TARGET} needs is up now, trying it again"));
        if let Err(error) = self.enqueue(target, JobKind::Start, Mode::Replace) {
            self.log.error(&format!("starting {TARGET}: {error}"));
        }
    }

    /// Starts what failed with the target because it needs it: marking the slot good.
    fn start_waiting_for(&mut self, target: UnitId) {
        for id in self.units.related(target, Relation::RequiredBy) {
            if !self.active(id).is_down() {
                continue;
            }
            if let Err(error) = self.enqueue(id, JobKind::Start, Mode::Replace) {
                let name = Graph::name(self, id);
                self.log.error(&format!("starting {name} after {TARGET}: {error}"));
            }
        }
    }

    /// The slot under test did not reach the target: the reason is recorded and the machine restarts.
    pub fn boot_deadline(&mut self) {
        if self.boot_target().is_some_and(|target| self.active(target).is_up()) {
            return;
        }
        if self.somebody_works() {
            // The shell of emergency or rescue mode: the machine is not taken away from who repairs it.
            self.timers.arm(TimerKey::BootDeadline, Instant::now(), WORK);
            return;
        }
        let culprit = self.boot_culprit();
        let reason = format!("deadline: unit {culprit} not reached");
        self.log.error(&format!("boot is not complete in time, {culprit} is not up, restarting the machine"));
        self.log.status(Mark::Failed, &format!("Boot not complete in time: waiting for {culprit}. Restarting."));
        self.note_failure(&reason);
        self.begin_shutdown(End::Reboot, 0);
    }

    /// The unit that keeps the boot from being complete: one that failed, else one that is still on its way.
    fn boot_culprit(&self) -> String {
        let needed = self.boot_target().map(|id| self.units.related(id, Relation::Requires)).unwrap_or_default();
        let failed = needed.iter().copied().find(|id| self.active(*id) == Active::Failed);
        let waiting = || self.jobs.values().find(|job| job.running).or_else(|| self.jobs.values().next());
        let unmet = || needed.iter().copied().find(|id| self.need_of(*id) != Need::Met);
        let culprit = failed.or_else(|| waiting().map(|job| job.unit)).or_else(unmet);
        culprit.map_or(TARGET.to_owned(), |id| Graph::name(self, id))
    }

    /// Nobody works on what the target needs: no use to wait for the whole deadline.
    fn shorten_deadline(&mut self) {
        let left = self.timers.left(TimerKey::BootDeadline, Instant::now());
        if left.is_none_or(|left| left <= BOOT_FAILED) || self.somebody_works() {
            return;
        }
        let culprit = self.boot_culprit();
        let text = format!("boot cannot be completed, {culprit} is not up: restarting in {} s", BOOT_FAILED.as_secs());
        self.log.error(&text);
        self.log.status(Mark::Failed, &text);
        self.timers.arm(TimerKey::BootDeadline, Instant::now(), BOOT_FAILED);
    }

    fn somebody_works(&self) -> bool {
        ["emergency.service", "rescue.service"].iter().any(|name| self.state_of(name).is_up())
    }

    /// Without the basic system there is neither a console nor a server to log in to: emergency mode, which ends in a
    /// restart, so that the starts are counted and another good slot gets its turn.
    pub fn look_at_base(&mut self) {
        let wanted = self.settings.default_unit.clone();
        let base = UnitName::parse(BASE).ok().and_then(|name| self.units.find(&name));
        let missing = base.is_some_and(|base| !self.active(base).is_up()) && !self.state_of(&wanted).is_up();
        let cared_for = ["emergency.target", "rescue.target"].iter().any(|name| self.state_of(name).is_up());
        if !missing || cared_for {
            return;
        }
        let text = self.why_not(BASE);
        self.log.error(&format!("{text}, entering emergency mode"));
        self.log.status(Mark::Failed, &text);
        self.enter_emergency();
    }

    /// Why a unit is not up: which of those that it needs failed.
    pub fn why_not(&self, name: &str) -> String {
        let mut open: Vec<UnitId> =
            UnitName::parse(name).ok().and_then(|name| self.units.find(&name)).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            if self.active(id) == Active::Failed {
                return format!("{name} is not up: {} failed", Graph::name(self, id));
            }
            for relation in [Relation::Requires, Relation::BindsTo, Relation::Requisite] {
                open.extend(self.units.related(id, relation));
            }
        }
        format!("{name} is not up")
    }

    /// Writes into the boot record why this start fails. By itself: the root may be what is broken.
    pub fn note_failure(&mut self, reason: &str) {
        let facts = &self.root.facts;
        let Some(slot) = facts.slot.filter(|_| self.settings.real_boot) else { return };
        let status = bounded_status(WRITE_TIME, &self.watch, || match write_reason(facts, slot, reason) {
            Ok(()) => 0,
            Err(error) => {
                self.log.error(&format!("writing the reason down: {error:#}"));
                1
            }
        });
        if status.is_none() {
            self.log.error("writing the reason down did not end");
        }
    }
}

fn write_reason(facts: &BootFacts, slot: Slot, reason: &str) -> anyhow::Result<()> {
    let mut bootctl = Bootctl::open(Path::new(&facts.bootctl_device), Access::Write)?;
    let contents = bootctl.read()?;
    let record = Record::of_running(contents.record.as_ref(), slot, &facts.version).fail(reason);
    Ok(bootctl.write_record(&record)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_tried_again_only_when_all_it_needs_is_met() {
        assert_eq!(need(Active::Active, false), Need::Met);
        assert_eq!(need(Active::Inactive, true), Need::Met);
        assert_eq!(need(Active::Inactive, false), Need::Unmet);
        // A failed unit may have run well before.
        assert_eq!(need(Active::Failed, true), Need::Unmet);
        assert_eq!(need(Active::Activating, true), Need::Open);
        assert_eq!(worst([].into_iter()), Need::Met);
        assert_eq!(worst([Need::Met, Need::Unmet, Need::Met].into_iter()), Need::Unmet);
        // As long as one may come up, the deadline stays where it is.
        assert_eq!(worst([Need::Open, Need::Unmet].into_iter()), Need::Open);
    }
}
