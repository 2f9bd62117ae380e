//! Carries out what the machine of automounts decides: sets places up, answers the kernel, starts and stops mounts.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::time::{Duration, Instant};

use ferrite_sys::autofs::{Control, Report, report};
use ferrite_unit::Config;
use ferrite_unit::automount::Automount;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use serde::{Deserialize, Serialize};

use crate::automount_machine::{AutomountEffect, AutomountEvent, AutomountMachine, MountNews, step};
use crate::engine::{Engine, Process, Role};
use crate::jobs::{JobKind, Mode, UnitId};
use crate::kinds::{Cause, KindEvent, KindState, Watched};
use crate::mount_machine::MountState;
use crate::timers::TimerKey;

/// So often is a place unmounted at most, until nothing is left there.
const UNMOUNTS_MAX: usize = 32;

/// What PID 1 holds for an automount.
#[derive(Debug)]
pub struct AutomountPipe {
    /// The kernel's reports.
    pub file: OwnedFd,
    key: u64,
    /// The rest, which is kept when PID 1 executes itself.
    pub known: AutomountKnown,
}

/// What is known of a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutomountKnown {
    /// The device number of the place.
    device: u32,
    /// Answers that the kernel waits for: to those who want the mount.
    waiting: Vec<u32>,
    /// The same: about mounts that expired.
    expired: Vec<u32>,
}

impl Engine {
    fn automount_settings(&self, id: UnitId) -> Option<&Automount> {
        match &self.units.get(id)?.unit.config {
            Config::Automount(automount) => Some(automount),
            _ => None,
        }
    }

    /// Why an automount cannot be started as things stand.
    pub fn automount_refuses(&mut self, id: UnitId) -> Option<String> {
        let place = self.automount_settings(id)?.where_.clone();
        if crate::facts::is_mount_point(&place) {
            return Some(format!("something is mounted at {place} already"));
        }
        if let Err(error) = self.autofs() {
            return Some(format!("this kernel makes no mounts on access (/dev/autofs: {error})"));
        }
        self.trigger_refuses(id)
    }

    fn autofs(&mut self) -> io::Result<&Control> {
        if self.kinds.autofs.is_none() {
            self.kinds.autofs = Some(Control::open()?);
        }
        self.kinds.autofs.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Takes one event of an automount.
    pub fn automount_event(&mut self, id: UnitId, before: AutomountMachine, event: KindEvent) {
        let own = match event {
            KindEvent::Start => AutomountEvent::Start,
            KindEvent::Stop => AutomountEvent::Stop,
            KindEvent::StartLimitHit => AutomountEvent::StartLimitHit,
            KindEvent::ResetFailed => AutomountEvent::ResetFailed,
            KindEvent::TriggeredChanged => AutomountEvent::MountChanged(self.news_of_mount(id)),
            KindEvent::Automount(event) => event,
            _ => return,
        };
        let Some(old) = self.units.get(id).map(|runtime| runtime.active()) else { return };
        let Some((after, effects)) = step(before, own) else {
            return self.kind_meaningless(id, event);
        };
        self.set_kind(id, KindState::Automount(after));
        for effect in effects {
            self.automount_effect(id, effect);
        }
        self.changed(id, old);
    }

    fn news_of_mount(&self, id: UnitId) -> MountNews {
        let mount = self.triggered_unit(id);
        let runtime = mount.and_then(|mount| self.units.get(mount));
        let state = match mount.and_then(|mount| self.kind_state(mount)) {
            Some(KindState::Mount(machine)) => machine.state,
            _ => MountState::Dead,
        };
        MountNews {
            limit_hit: runtime.is_some_and(|runtime| runtime.result() == Cause::StartLimitHit.as_str()),
            job: runtime.is_some_and(|runtime| runtime.job.is_some()),
            state,
        }
    }

    fn automount_effect(&mut self, id: UnitId, effect: AutomountEffect) {
        match effect {
            AutomountEffect::SetUp => {
                if let Err(why) = self.set_automount_up(id) {
                    let title = self.title(id);
                    self.log.error(&format!("{title}: {why}"));
                    self.kind_happened(id, KindEvent::Automount(AutomountEvent::NotSetUp));
                }
            }
            AutomountEffect::TakeAway => self.take_automount_away(id),
            AutomountEffect::AnswerWaiting(there) => {
                let tokens = self.kinds.automounts.get_mut(&id).map(|pipe| std::mem::take(&mut pipe.known.waiting));
                self.answer_kernel(id, tokens.unwrap_or_default(), (!there).then_some(Errno::ENODEV));
            }
            AutomountEffect::AnswerExpired(gone) => {
                let tokens = self.kinds.automounts.get_mut(&id).map(|pipe| std::mem::take(&mut pipe.known.expired));
                self.answer_kernel(id, tokens.unwrap_or_default(), (!gone).then_some(Errno::ENODEV));
            }
            AutomountEffect::WatchIdle => self.watch_idle(id),
            AutomountEffect::IgnoreIdle => self.timers.disarm(TimerKey::Rest(id)),
        }
    }

    fn set_automount_up(&mut self, id: UnitId) -> Result<(), String> {
        let Some(automount) = self.automount_settings(id).cloned() else { return Ok(()) };
        let place = automount.where_.as_str();
        let made = std::fs::DirBuilder::new().recursive(true).mode(automount.directory_mode).create(place);
        made.map_err(|error| format!("making {place}: {error}"))?;
        if std::fs::canonicalize(place).is_ok_and(|path| path.as_os_str() != place) {
            return Err(format!("{place} leads elsewhere, through a link"));
        }
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| format!("making a pipe: {error}"))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(|error| format!("setting up a pipe: {error}"))?;
        let options = mount_options(&automount, &writer);
        let source = format!("ferrite-{}", std::process::id());
        nix::mount::mount(Some(source.as_str()), place, Some("autofs"), MsFlags::empty(), Some(options.as_str()))
            .map_err(|errno| format!("mounting autofs at {place}: {}", errno.desc()))?;
        drop(writer);
        let outcome = self.take_place(id, &automount, reader);
        if outcome.is_err() {
            unmount_all(place);
        }
        outcome.map_err(|error| format!("setting up {place}: {error}"))
    }

    fn take_place(&mut self, id: UnitId, automount: &Automount, reader: OwnedFd) -> io::Result<()> {
        let device = u32::try_from(std::fs::symlink_metadata(&automount.where_)?.dev()).map_err(io::Error::other)?;
        let idle = automount.timeout_idle.finite().unwrap_or_default();
        self.autofs()?.place(&automount.where_, device)?.set_timeout(idle)?;
        self.watch_automount(id, reader, AutomountKnown { device, ..AutomountKnown::default() })
    }

    /// Waits for the kernel's reports.
    pub fn watch_automount(&mut self, id: UnitId, file: OwnedFd, known: AutomountKnown) -> io::Result<()> {
        let key = self.kinds.watch(Watched::Automount(id));
        if let Err(error) = self.epoll.add(&file, key) {
            self.kinds.unwatch(key);
            return Err(error);
        }
        self.kinds.automounts.insert(id, AutomountPipe { file, key, known });
        Ok(())
    }

    /// Gives the place back; whoever waits there learns that nothing comes.
    fn take_automount_away(&mut self, id: UnitId) {
        let known = self.kinds.automounts.get_mut(&id).map(|pipe| std::mem::take(&mut pipe.known));
        if let Some(AutomountKnown { device, waiting, expired }) = known {
            if let Some(pipe) = self.kinds.automounts.get_mut(&id) {
                pipe.known.device = device;
            }
            self.answer_kernel(id, [waiting, expired].concat(), Some(Errno::EHOSTDOWN));
        }
        self.close_automount(id);
        if let Some(automount) = self.automount_settings(id)
            && known_place(automount)
        {
            unmount_all(&automount.where_);
        }
    }

    /// Closes the pipe alone.
    pub fn close_automount(&mut self, id: UnitId) {
        if let Some(pipe) = self.kinds.automounts.remove(&id) {
            // The file is closed right afterwards.
            let _ = self.epoll.remove(&pipe.file);
            self.kinds.unwatch(pipe.key);
        }
    }

    fn answer_kernel(&mut self, id: UnitId, tokens: Vec<u32>, failure: Option<Errno>) {
        let Some(device) = self.kinds.automounts.get(&id).map(|pipe| pipe.known.device) else { return };
        let Some(place) = self.automount_settings(id).map(|automount| automount.where_.clone()) else { return };
        if tokens.is_empty() {
            return;
        }
        let failure = failure.map(|errno| errno as i32);
        let outcome = self.autofs().and_then(|control| {
            let opened = control.place(&place, device)?;
            tokens.iter().try_for_each(|token| opened.answer(*token, failure))
        });
        if let Err(error) = outcome {
            let title = self.title(id);
            self.log.warning(&format!("{title}: answering the kernel: {error}"));
        }
    }

    /// The kernel reports something about a place.
    pub fn automount_ready(&mut self, id: UnitId) {
        let Some(pipe) = self.kinds.automounts.get_mut(&id) else { return };
        match report(&pipe.file) {
            Ok(Some(Report::Missing(token))) => {
                pipe.known.waiting.push(token);
                self.mount_wanted(id);
            }
            Ok(Some(Report::Expired(token))) => {
                pipe.known.expired.push(token);
                self.timers.disarm(TimerKey::Rest(id));
                self.queue_mount(id, JobKind::Stop);
            }
            Ok(None) => {}
            Err(error) => {
                let title = self.title(id);
                self.log.error(&format!("{title}: somebody took the place away: {error}"));
                self.kind_happened(id, KindEvent::Automount(AutomountEvent::HungUp));
            }
        }
    }

    fn mount_wanted(&mut self, id: UnitId) {
        if self.stop_waits(id) {
            let tokens = self.kinds.automounts.get_mut(&id).map(|pipe| std::mem::take(&mut pipe.known.waiting));
            return self.answer_kernel(id, tokens.unwrap_or_default(), Some(Errno::EHOSTDOWN));
        }
        let mounted = matches!(self.news_of_mount(id).state, MountState::Mounted | MountState::Remounting);
        if mounted {
            // It was started before the kernel asked.
            return self.automount_effect(id, AutomountEffect::AnswerWaiting(true));
        }
        if self.queue_mount(id, JobKind::Start) {
            self.kind_happened(id, KindEvent::Automount(AutomountEvent::Wanted));
        }
    }

    fn queue_mount(&mut self, id: UnitId, kind: JobKind) -> bool {
        let outcome = match self.triggered_unit(id) {
            Some(mount) => self.enqueue(mount, kind, Mode::Replace).map(drop).map_err(|error| error.to_string()),
            None => Err("it is not there".to_owned()),
        };
        if let Err(why) = &outcome {
            let title = self.title(id);
            self.log.warning(&format!("{title}: queueing a job for its mount: {why}"));
            self.kind_happened(id, KindEvent::Automount(AutomountEvent::NotQueued));
        }
        outcome.is_ok()
    }

    /// Looks for idle mounts a few times in the time that they may be idle.
    fn watch_idle(&mut self, id: UnitId) {
        let idle = self.automount_settings(id).and_then(|automount| automount.timeout_idle.finite());
        if let Some(idle) = idle.filter(|idle| !idle.is_zero()) {
            self.timers.arm(TimerKey::Rest(id), Instant::now(), (idle / 3).max(Duration::from_secs(1)));
        }
    }

    /// Lets the kernel look for idle mounts, in a child: the call waits for our own answer.
    pub fn look_for_idle(&mut self, id: UnitId) {
        let Some(device) = self.kinds.automounts.get(&id).map(|pipe| pipe.known.device) else { return };
        let Some(path) = self.automount_settings(id).map(|automount| automount.where_.clone()) else { return };
        let made = self.autofs().and_then(|control| {
            let place = control.place(&path, device)?;
            ferrite_sys::process::fork_into(None, || {
                // Nothing left to expire is the good end.
                let _ = place.expire();
                0
            })
        });
        match made {
            Ok(child) => drop(self.processes.insert(child.pid, Process { unit: None, role: Role::Helper })),
            Err(error) => {
                let title = self.title(id);
                self.log.warning(&format!("{title}: looking whether it is idle: {error}"));
            }
        }
        self.watch_idle(id);
    }
}

/// Is there a place that could be taken away?
fn known_place(automount: &Automount) -> bool {
    !automount.where_.is_empty() && automount.where_ != "/"
}

fn mount_options(automount: &Automount, writer: &OwnedFd) -> String {
    use std::os::fd::AsRawFd;
    let extra = automount.extra_options.as_deref().map(|extra| format!(",{extra}")).unwrap_or_default();
    let group = nix::unistd::getpgrp();
    format!("fd={},pgrp={group},minproto=5,maxproto=5,direct{extra}", writer.as_raw_fd())
}

/// Unmounts whatever is at a place, until nothing is left.
fn unmount_all(place: &str) {
    for _ in 0..UNMOUNTS_MAX {
        if nix::mount::umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_err() {
            return;
        }
    }
}
