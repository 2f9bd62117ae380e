//! What becomes of releases in the slots: proved, failed, given up, overwritten, rolled back; and the lock of the
//! cluster, which goes with them. Acts; deciding what to remember is `store`'s.

use anyhow::Context;
use ferrite_layout::durable::replace_file;
use ferrite_layout::{Slot, SlotFlags};

use crate::change::{self, Change};
use crate::config::{Server, Strategy};
use crate::engine::Engine;
use crate::host;
use crate::lock::LockPlace;
use crate::omaha::Told;
use crate::people;
use crate::schedule::{Event, ReleaseName, Work};
use crate::store::{Found, HeldLock, Staged};
use crate::view;
use crate::worker::Job;

/// Giving the lock back is tried again after so long.
const LOCK_RETRY_S: u64 = 60;
/// For whoever logs in: that a release waits for a restart. Absent when none does.
pub const PENDING_PATH: &str = "/run/ferrite/update-pending";

impl Engine {
    /// Brings the memory in line with the slots. A slot that was marked good gives the lock back.
    pub(crate) fn settle(&mut self) -> anyhow::Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        let snapshot = host::snapshot(&self.places);
        let Some(flags) = snapshot.flags else { return Ok(()) };
        let fallback = snapshot.record.as_ref().and_then(|record| record.fallback.as_ref());
        let found = Found {
            serial: host.serial,
            running: host.running,
            flags,
            fallback: fallback.map(|fallback| (fallback.from, fallback.reason.as_str())),
            now: host.now(&self.store),
        };
        // Before the memory says that it is done: a power cut in between makes it be done again.
        if let Some(slot) = self.store.retired(&found) {
            self.change_slots(&Change::Retire(slot))?;
        }
        let before = self.store.clone();
        self.store.settle(&found);
        self.on_trial = !flags.flags(host.running).good();
        if self.store != before {
            let failed = self.store.blocked.iter().filter(|blocked| !before.blocked.contains(blocked));
            let mut told = None;
            for blocked in failed {
                eprintln!("release {} failed and is blocked: {}", blocked.version, blocked.reason);
                told = Some(Told::Failed);
            }
            if self.store.staged.is_none() && told.is_none() && !self.on_trial {
                told = before.staged.as_ref().filter(|staged| staged.serial == found.serial).map(|_| Told::Running);
            }
            self.save()?;
            if let Some(told) = told {
                self.report(told)?;
            }
        }
        self.give_lock_back()?;
        self.view.revision += 1;
        Ok(())
    }

    /// The engine could not note that it installed something: a release that would not be known when it fails is not
    /// started.
    pub(crate) fn not_remembered(&mut self, slot: Slot, error: &anyhow::Error) -> anyhow::Result<()> {
        eprintln!("{error:#}, giving the release up");
        self.view.ended(Err(format!("noting what was installed: {error:#}")));
        self.store.staged = None;
        self.change_slots(&Change::GiveUp(slot))?;
        self.event(&Event::Failed(None))
    }

    /// Tells a server that steers what became of a release.
    fn report(&mut self, told: Told) -> anyhow::Result<()> {
        match &self.config.server {
            Some(Server::Omaha { .. }) => self.job(Job::Report(self.config.clone(), told)),
            Some(Server::Web(_) | Server::Folder(_) | Server::Disabled) | None => Ok(()),
        }
    }

    /// `ferrite-slots` marked the running slot good, and what follows from that is done before anything else.
    pub(crate) fn notice_proof(&mut self) -> anyhow::Result<()> {
        if self.on_trial && !self.circumstances().on_trial { self.settle() } else { Ok(()) }
    }

    pub(crate) fn roll_back(&mut self) -> anyhow::Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        let running = Staged {
            serial: host.serial,
            version: host.facts.version.clone(),
            slot: host.running,
            floor: 0,
            size_bytes: 0,
            from: None,
            gives_way: false,
        };
        let (other, now) = (host.running.other(), host.now(&self.store));
        // First, or the machine would install it again from the other slot.
        self.store.block(&running, "rolled back by an administrator", now);
        self.store.staged = None;
        self.save()?;
        self.change_slots(&Change::Prefer(other))
    }

    pub(crate) fn change_slots(&self, change: &Change) -> anyhow::Result<()> {
        match change::apply(&self.places.boot(), change)? {
            change::Outcome::Changed(text) | change::Outcome::Unchanged(text) => println!("{text}"),
        }
        Ok(())
    }

    /// What waits for the restart is about to be overwritten.
    pub(crate) fn give_way(&mut self) -> anyhow::Result<()> {
        match &mut self.store.staged {
            Some(staged) => {
                staged.gives_way = true;
                self.save()
            }
            None => Ok(()),
        }
    }

    /// After an install that failed: what was there before may be there still.
    pub(crate) fn still_staged(&mut self) -> anyhow::Result<()> {
        let flags = host::snapshot(&self.places).flags;
        let Some(staged) = &mut self.store.staged else { return Ok(()) };
        match flags.map(|flags| flags.flags(staged.slot)) {
            Some(SlotFlags::Trying(_)) => staged.gives_way = false,
            Some(SlotFlags::Good | SlotFlags::Unusable) | None => self.store.staged = None,
        }
        self.save()
    }

    pub(crate) fn staged_name(&self) -> Option<ReleaseName> {
        let staged = self.store.staged.as_ref().filter(|staged| Some(staged.slot) != self.running())?;
        Some(ReleaseName { serial: staged.serial, version: staged.version.clone() })
    }

    fn lock_place(&self) -> Option<LockPlace> {
        let server = self.config.lock_server.clone().filter(|_| self.config.strategy == Strategy::FleetLock)?;
        Some(LockPlace { server, group: self.config.lock_group.clone() })
    }

    pub(crate) fn take_lock(&mut self) -> anyhow::Result<()> {
        // What was to be given back is wanted again.
        self.lock_due = None;
        self.job(Job::TakeLock(self.config.clone(), self.lock_place()))
    }

    /// The lock is ours: it is remembered before the restart, which may come at once.
    pub(crate) fn keep_lock(&mut self) -> anyhow::Result<()> {
        let (Some(place), Some(staged)) = (self.lock_place(), &self.state.staged) else { return Ok(()) };
        self.store.lock = Some(HeldLock { serial: staged.serial, place });
        self.save()
    }

    pub(crate) fn release_lock(&mut self) -> anyhow::Result<()> {
        self.lock_due = None;
        match &self.store.lock {
            Some(lock) => self.job(Job::ReleaseLock(self.config.clone(), lock.place.clone())),
            None => Ok(()),
        }
    }

    /// Gives the lock back if its release proved itself or is out of the question.
    pub(crate) fn give_lock_back(&mut self) -> anyhow::Result<()> {
        let Some(host) = &self.host else { return Ok(()) };
        let at_rest = match self.state.work {
            Work::Waiting | Work::Checking(_) | Work::Installing(_) => true,
            Work::Locking | Work::Rebooting => false,
        };
        let done = self.store.lock_is_done(host.serial, host.now(&self.store));
        if at_rest && !self.on_trial && done { self.release_lock() } else { Ok(()) }
    }

    pub(crate) fn lock_released(&mut self, outcome: Result<(), String>) -> anyhow::Result<()> {
        match outcome {
            Ok(()) => {
                println!("the lock for the restart is given back");
                self.store.lock = None;
                self.save()
            }
            Err(reason) => {
                eprintln!("giving the lock for the restart back: {reason}, trying again");
                self.lock_due = Some(self.now() + LOCK_RETRY_S);
                Ok(())
            }
        }
    }

    pub(crate) fn tell_people(&self, seconds: u64) {
        let version = self.state.staged.as_ref().map(|staged| staged.version.clone()).unwrap_or_default();
        let at = view::moment(host::clock() + seconds);
        let text = format!("This machine restarts at {at} into release {version} (ferrite-update defer: once, later)");
        println!("{text}");
        people::tell(&self.places, &people::terminals(&self.places), &text);
    }

    /// Tells whoever logs in, through a file that the login banner is made from.
    pub(crate) fn announce(&mut self) {
        let text = view::pending_text(self);
        if text == self.announced {
            return;
        }
        let path = self.places.path(PENDING_PATH);
        let written = if text.is_empty() {
            // It may never have been there.
            let _ = std::fs::remove_file(&path);
            Ok(())
        } else {
            replace_file(&path, text.as_bytes(), 0o644).context("telling whoever logs in of the restart")
        };
        if let Err(error) = written {
            eprintln!("{error:#}, going on");
        }
        self.announced = text;
    }
}
