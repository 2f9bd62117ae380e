//! Freezing units: their processes stop where they are, and go on when they are thawed.
//!
//! The kernel does it for a group and everything below it; what it has done so far is read from the group. PID 1 keeps
//! only what was asked for. A unit that is frozen takes no jobs, and whatever ends it ends that too.

use ferrite_control::{ErrorKind, Reply};
use ferrite_unit::{LoadState, UnitKind};

use crate::engine::{Engine, Job};
use crate::groups::Groups;
use crate::jobs::{Active, JobKind, UnitId};
use crate::server::{ClientId, Refusal, error, not_found};
use crate::transaction::Graph;

impl Engine {
    /// Freezes or thaws a unit; the answer comes once the kernel has done it.
    pub fn set_frozen(&mut self, client: ClientId, unit: &str, frozen: bool) -> Option<Reply> {
        let (id, name, group) = match self.freezable(unit) {
            Ok(found) => found,
            Err((kind, text)) => return Some(error(kind, text)),
        };
        let own = self.manager.frozen.contains(&name);
        if !frozen && !own && self.is_frozen_from_above(&group) {
            return Some(error(ErrorKind::UnitRefuses, "Unit is frozen by a parent slice".into()));
        }
        if own == frozen && self.is_settled_frozen(id) {
            return Some(Reply::Done);
        }
        if let Err(fault) = self.groups.watch(id, &group) {
            return Some(error(ErrorKind::Failed, format!("watching the control group {group}: {fault}")));
        }
        if let Err(fault) = self.groups.set(&group, "cgroup.freeze", if frozen { "1" } else { "0" }) {
            return Some(error(ErrorKind::Failed, format!("writing cgroup.freeze of {group}: {fault}")));
        }
        if frozen {
            self.manager.frozen.insert(name);
        } else {
            self.manager.frozen.remove(&name);
        }
        let title = self.title(id);
        self.log.info(&format!("{} {title}.", if frozen { "Freezing" } else { "Thawing" }));
        if self.is_settled_frozen(id) {
            return Some(Reply::Done);
        }
        self.kinds.freezing.push((client, id));
        None
    }

    /// The unit with its name and group, if it can be frozen and thawed now.
    fn freezable(&mut self, unit: &str) -> Result<(UnitId, String, String), Refusal> {
        let (id, name) = self.existing(unit)?;
        let runtime = self.units.get(id).ok_or_else(|| not_found(&name))?;
        let kinds = [UnitKind::Service, UnitKind::Slice, UnitKind::Scope];
        if !kinds.contains(&name.kind()) || runtime.unit.perpetual || self.groups.root().is_none() {
            return Err((ErrorKind::NotSupported, "Unit does not support freeze/thaw".into()));
        }
        if runtime.job.is_some() {
            return Err((ErrorKind::UnitRefuses, "Unit has a pending job".into()));
        }
        if runtime.unit.load != LoadState::Loaded || runtime.active() != Active::Active {
            return Err((ErrorKind::UnitRefuses, "Unit is not active".into()));
        }
        let name = runtime.unit.name.to_string();
        match &runtime.group {
            Some(group) => Ok((id, name, group.clone())),
            None => Err((ErrorKind::UnitRefuses, "Unit has no processes".into())),
        }
    }

    /// Is one of the slices above a group frozen?
    fn is_frozen_from_above(&self, group: &str) -> bool {
        let above = group.rsplit_once('/').map_or("", |(above, _)| above);
        !self.manager.frozen.is_empty() && above.split('/').any(|slice| self.manager.frozen.contains(slice))
    }

    /// systemd's word for it.
    pub fn freezer_state(&self, id: UnitId) -> &'static str {
        let Some(runtime) = self.units.get(id) else { return "running" };
        let Some(group) = runtime.group.as_deref() else { return "running" };
        if self.manager.frozen.is_empty() && self.kinds.freezing.is_empty() {
            return "running";
        }
        let events = self.groups.text(group, "cgroup.events").unwrap_or_default();
        let done = events.lines().any(|line| line == "frozen 1");
        let own = self.manager.frozen.contains(runtime.unit.name.as_str());
        match (own, self.is_frozen_from_above(group), done) {
            (true, _, true) => "frozen",
            (true, _, false) => "freezing",
            (false, true, true) => "frozen-by-parent",
            (false, true, false) => "freezing-by-parent",
            (false, false, true) => "thawing",
            (false, false, false) => "running",
        }
    }

    fn is_settled_frozen(&self, id: UnitId) -> bool {
        matches!(self.freezer_state(id), "running" | "frozen" | "frozen-by-parent")
    }

    /// The kernel told of a group: who waits for this is answered.
    pub fn answer_freezers(&mut self) {
        if self.kinds.freezing.is_empty() {
            return;
        }
        let (done, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.kinds.freezing).into_iter().partition(|(_, id)| self.is_settled_frozen(*id));
        self.kinds.freezing = open;
        for (client, _) in done {
            self.send(client, &Reply::Done);
        }
    }

    /// Can a job do nothing because its unit is frozen? One that has nothing to do ends well.
    pub fn is_held_by_freezer(&self, job: &Job) -> bool {
        if self.manager.frozen.is_empty() {
            return false;
        }
        let Some(runtime) = self.units.get(job.unit) else { return false };
        let idle = match job.kind {
            JobKind::Start => runtime.active().is_up(),
            JobKind::Stop => runtime.active().is_down(),
            JobKind::VerifyActive | JobKind::Nop => true,
            JobKind::Restart | JobKind::TryRestart | JobKind::Reload | JobKind::TryReload | JobKind::ReloadOrStart => {
                false
            }
        };
        let unit = &runtime.unit;
        let frozen = || {
            let group = runtime.group.clone().unwrap_or_else(|| Groups::path(unit.slice().as_ref(), &unit.name));
            self.manager.frozen.contains(unit.name.as_str()) || self.is_frozen_from_above(&group)
        };
        !idle && frozen()
    }

    /// A unit went down: what is started of it next is not frozen.
    pub fn thaw_ended(&mut self, id: UnitId) {
        let Some(runtime) = self.units.get(id) else { return };
        if !self.manager.frozen.remove(runtime.unit.name.as_str()) {
            return;
        }
        if let Some(group) = &runtime.group {
            // A group that is gone is as good.
            let _ = self.groups.set(group, "cgroup.freeze", "0");
        }
        self.answer_freezers();
    }

    /// Everything is to be stopped, which what is frozen cannot be.
    pub fn thaw_all(&mut self) {
        for id in self.units.ids() {
            self.thaw_ended(id);
        }
    }

    /// The next image does not know who waits here.
    pub fn give_up_freezers(&mut self) {
        for (client, id) in std::mem::take(&mut self.kinds.freezing) {
            let text = format!("PID 1 is executed again, {} is {}", self.name(id), self.freezer_state(id));
            self.send(client, &error(ErrorKind::Failed, text));
        }
    }
}
