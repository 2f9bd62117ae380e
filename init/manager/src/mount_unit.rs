//! Carries out what the machine of mounts decides, and follows the kernel's table of mounts.
//!
//! What somebody else mounts gets a unit of its own, so that others can depend on it and see it go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ferrite_unit::mount::Mount;
use ferrite_unit::{Config, LoadState, UnitKind, UnitName};

use crate::control_process::Task;
use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::kinds::{KindEvent, KindState, Watched};
use crate::mount_machine::{MountEffect, MountEvent, MountMachine, MountState, MountView, step};
use crate::mount_table::{self, Mounted, TABLE};
use crate::mounting::{Deed, run};
use crate::timers::TimerKey;

/// From one look at the table to the next, however often it changes.
const INTERVAL: Duration = Duration::from_millis(250);
/// Mounts that get a unit although no file describes them.
const FOREIGN_MAX: usize = 2_000;

/// What is known of the table of mounts.
#[derive(Debug, Default)]
pub struct MountTable {
    /// The open table.
    file: Option<std::fs::File>,
    /// The table as it was seen last.
    pub seen: BTreeMap<String, Mounted>,
    /// When that was.
    at: Option<Instant>,
}

fn name_of(place: &str) -> Option<UnitName> {
    ferrite_unit::escape::unit_of_path(place, UnitKind::Mount)
}

impl Engine {
    /// Takes one event of a mount.
    pub fn mount_event(&mut self, id: UnitId, before: MountMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => MountEvent::Start,
            KindEvent::Stop => MountEvent::Stop,
            KindEvent::Reload => MountEvent::Reload,
            KindEvent::StartLimitHit => MountEvent::StartLimitHit,
            KindEvent::ResetFailed => MountEvent::ResetFailed,
            KindEvent::Exited(exit) => MountEvent::Exited(exit),
            KindEvent::NotMade => MountEvent::NotMade,
            KindEvent::TimedOut => MountEvent::TimedOut,
            KindEvent::Mount(event) => event,
            _ => return,
        };
        let Some(mount) = self.units.get(id).and_then(|runtime| runtime.unit.mount()) else { return };
        let view = MountView { mounted: mount_table::is_mounted(&mount.where_), kills: mount.kill.send_sigkill };
        let Some(old) = self.units.get(id).map(|runtime| runtime.active()) else { return };
        let Some((after, effects)) = step(before, own, view) else {
            return self.kind_meaningless(id, event);
        };
        self.set_kind(id, KindState::Mount(after));
        for effect in effects {
            self.mount_effect(id, effect);
        }
        self.changed(id, old);
    }

    fn mount_effect(&mut self, id: UnitId, effect: MountEffect) {
        match effect {
            MountEffect::Mount => self.spawn_mount(id, Deed::Mount),
            MountEffect::Remount => self.spawn_mount(id, Deed::Remount),
            MountEffect::Unmount => self.spawn_mount(id, Deed::Unmount),
            MountEffect::Kill(step) => self.kill(id, step),
            MountEffect::ArmTimer => {
                let mount = self.units.get(id).and_then(|runtime| runtime.unit.mount());
                match mount.and_then(|mount| mount.timeout.finite()) {
                    Some(after) => self.timers.arm(TimerKey::Unit(id), Instant::now(), after),
                    None => self.timers.disarm(TimerKey::Unit(id)),
                }
            }
            MountEffect::DisarmTimer => self.timers.disarm(TimerKey::Unit(id)),
            MountEffect::Release => self.release(id),
        }
    }

    /// Makes the process that mounts or unmounts: it may hang for ever, PID 1 may not.
    fn spawn_mount(&mut self, id: UnitId, deed: Deed) {
        let Some(mount) = self.units.get(id).and_then(|runtime| runtime.unit.mount()).cloned() else { return };
        self.spawn_task(id, Task::Work("Mount", &|| run(&mount, deed)));
    }

    /// Opens the table of mounts and takes what is there.
    pub fn follow_mounts(&mut self) {
        let key = self.kinds.watch(Watched::Mounts);
        let opened = std::fs::File::open(TABLE).and_then(|file| {
            self.epoll.add_urgent(&file, key)?;
            Ok(file)
        });
        match opened {
            Ok(file) => self.kinds.mounts.file = Some(file),
            Err(error) => {
                self.kinds.unwatch(key);
                self.log.warning(&format!("following {TABLE}: {error}, mounts of others are not seen"));
            }
        }
        self.look_at_mounts();
    }

    /// The table changed. However often it does, it is read only so often.
    pub fn mounts_changed(&mut self) {
        let now = Instant::now();
        let rests = self.kinds.mounts.at.and_then(|at| (at + INTERVAL).checked_duration_since(now));
        match rests.filter(|rest| !rest.is_zero()) {
            Some(rest) if !self.timers.is_armed(TimerKey::Mounts) => self.timers.arm(TimerKey::Mounts, now, rest),
            Some(_) => {}
            None => self.look_at_mounts(),
        }
    }

    /// Reads the table and tells the units of what came and went.
    pub fn look_at_mounts(&mut self) {
        let table = match std::fs::read_to_string(TABLE) {
            Ok(text) => mount_table::parse(&text),
            Err(error) => return self.log.warning(&format!("reading {TABLE}: {error}, keeping what is known")),
        };
        self.kinds.mounts.at = Some(Instant::now());
        let before = std::mem::replace(&mut self.kinds.mounts.seen, table);
        let gone: Vec<String> =
            before.keys().filter(|place| !self.kinds.mounts.seen.contains_key(*place)).cloned().collect();
        let come: Vec<String> = self
            .kinds
            .mounts
            .seen
            .iter()
            .filter(|(place, now)| before.get(*place) != Some(now))
            .map(|m| m.0.clone())
            .collect();
        for place in gone {
            if let Some(id) = name_of(&place).and_then(|name| self.units.find(&name)) {
                self.kind_happened(id, KindEvent::Mount(MountEvent::TableChanged));
            }
        }
        for place in come {
            self.mount_came(&place);
        }
    }

    /// Something is mounted here that was not there before, or is another one now.
    fn mount_came(&mut self, place: &str) {
        let Some(name) = name_of(place) else { return };
        let known = self.units.find(&name);
        let many = self.kinds.mounts.seen.len() > FOREIGN_MAX;
        if known.is_none() && (many || !mount_table::has_unit(place)) {
            return;
        }
        let Some(id) = known.or_else(|| self.load(&name)) else { return };
        self.describe_mount(id, place);
        self.kind_happened(id, KindEvent::Mount(MountEvent::TableChanged));
    }

    /// A mount without a file is what the table says.
    fn describe_mount(&mut self, id: UnitId, place: &str) {
        let Some(mounted) = self.kinds.mounts.seen.get(place).cloned() else { return };
        let Some(runtime) = self.units.get_mut(id) else { return };
        if runtime.unit.fragment.is_some() || !matches!(runtime.unit.load, LoadState::NotFound | LoadState::Loaded) {
            return;
        }
        runtime.unit.load = LoadState::Loaded;
        if let Config::Mount(mount) = &mut runtime.unit.config {
            **mount = Mount {
                what: mounted.what,
                where_: place.to_owned(),
                kind: Some(mounted.kind),
                options: Some(mounted.options),
                ..Mount::default()
            };
        }
    }

    /// After unit files were read anew, mounts without a file are described again.
    pub fn describe_mounts(&mut self) {
        let places: Vec<String> = self.kinds.mounts.seen.keys().cloned().collect();
        for place in places {
            if let Some(id) = name_of(&place).and_then(|name| self.units.find(&name)) {
                self.describe_mount(id, &place);
            }
        }
    }

    /// What the kernel says of a mount unit.
    pub fn mounted_at(&self, id: UnitId) -> Option<&Mounted> {
        let mount = self.units.get(id)?.unit.mount()?;
        self.kinds.mounts.seen.get(&mount.where_)
    }

    /// Was the last reload of a mount in vain?
    pub fn remount_failed(&self, id: UnitId) -> bool {
        matches!(self.kind_state(id), Some(KindState::Mount(machine)) if machine.reload_failed)
    }

    /// Can the mount be mounted again with other options?
    pub fn can_remount(&self, id: UnitId) -> bool {
        matches!(self.kind_state(id), Some(KindState::Mount(machine)) if machine.state == MountState::Mounted)
    }
}
