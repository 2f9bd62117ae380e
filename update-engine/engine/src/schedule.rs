//! What the engine does next. Pure: one function holds every transition; time, chance and the state of the machine
//! are arguments.
//!
//! A release is installed in the background and the restart comes last: window, then lock, then the window once more,
//! as the lock may have taken its time.

use std::path::PathBuf;

use crate::config::Strategy;

/// From the engine's start to its first check, and what chance adds at most.
pub const FIRST_CHECK_S: u64 = 20;
const FIRST_CHECK_FUZZ_S: u64 = 40;
/// From one check to the next, less or more.
pub const INTERVAL_S: u64 = 45 * 60;
const FUZZ_S: u64 = 10 * 60;
/// After a failure; doubled with each further one.
const RETRY_S: u64 = 5 * 60;
/// Never longer.
pub const BACKOFF_MAX_S: u64 = 4 * 3600;
/// A slot under test is asked for its state again.
const ON_TRIAL_S: u64 = 30;
/// A restart that was refused is tried again.
const REBOOT_RETRY_S: u64 = 60;
/// Who is logged in may put a restart off for so long, once for a release.
pub const DEFER_MAX_S: u64 = 600;
/// A restart waits so long for those who are logged in, once for a release.
pub const PEOPLE_S: u64 = 600;

/// A release, as far as the schedule knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseName {
    /// Its serial.
    pub serial: u64,
    /// Its version.
    pub version: String,
}

/// What a check is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To know.
    Look,
    /// To install what there is.
    Update,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Waiting,
    /// A look at the server.
    Checking(Wish),
    /// A slot is written. `None`: a file, whose release is not known yet.
    Installing(Option<ReleaseName>),
    /// The lock of the cluster is asked for.
    Locking,
    /// The machine goes down.
    Rebooting,
}

/// The engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What is under way.
    pub work: Work,
    /// What starts next.
    pub staged: Option<ReleaseName>,
    /// When to look for something new.
    pub check_at: u64,
    /// Checks and installs that failed in a row.
    pub failures: u32,
    /// Not before.
    pub reboot_at: u64,
    /// Somebody has put the restart off already.
    pub deferred: bool,
    /// Those who are logged in were told of the restart, which comes then if they have not gone before.
    pub people_until: Option<u64>,
}

/// What the engine knows when it decides. Times are seconds since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Now.
    pub now: u64,
    /// A number by chance.
    pub chance: u32,
    /// Whether updates are possible at all.
    pub enabled: bool,
    /// The running slot is not marked good yet.
    pub on_trial: bool,
    /// The other slot is marked good.
    pub way_back: bool,
    /// When to restart.
    pub strategy: Strategy,
    /// Seconds until the reboot window opens.
    pub window_wait: u64,
    /// Somebody is logged in.
    pub people: bool,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Time,
    /// Somebody wants to know, or to update.
    Asked(Wish),
    /// Somebody brought a payload.
    AskedFile(PathBuf),
    /// The check ended: this is there.
    Offered(ReleaseName),
    /// The check ended: nothing to do.
    NothingNew,
    /// Check or install failed; this is still in the other slot, whole.
    Failed(Option<ReleaseName>),
    /// The slot was written, or held the release already.
    Installed(ReleaseName),
    /// Somebody stops what is under way and gives up what was installed.
    AskedReset,
    /// Somebody wants to go back to the other slot.
    AskedRollback,
    /// Somebody wants the restart now.
    AskedReboot,
    /// Somebody wants it later.
    AskedDefer(u64),
    /// The lock is ours.
    LockTaken,
    /// It is not.
    LockRefused,
    /// PID 1 did not take the order.
    RebootRefused,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look at the server.
    Check,
    /// Install what was offered.
    Install,
    /// Install a file.
    InstallFile(PathBuf),
    /// Stop the install.
    Cancel,
    /// The other slot is not started next.
    Unstage,
    /// The other slot is started next, what runs is blocked.
    RollBack,
    /// Ask for the lock.
    TakeLock,
    /// Give it back.
    ReleaseLock,
    /// Tell those who are logged in that the machine restarts in so many seconds.
    TellPeople(u64),
    /// Restart the machine.
    Reboot,
}

/// What somebody asked for is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One thing at a time.
    #[error("the engine is at work: see `ferrite-update status`, stop it with `update_engine_client -reset_status`")]
    Busy,
    /// Switched off.
    #[error("updates are off")]
    Off,
    /// There would be no way back.
    #[error("the running slot is not marked good yet: wait until it is (ferrite-slots status)")]
    OnTrial,
    /// Nothing to go back to.
    #[error("the other slot is not marked good: there is nothing to go back to")]
    NoWayBack,
    /// Nothing to start.
    #[error("nothing is installed that waits for a restart")]
    NothingStaged,
    /// Twice.
    #[error("the restart was put off before; set REBOOT_STRATEGY=off in /etc/coreos/update.conf to keep it off")]
    DeferredBefore,
}

impl State {
    /// At the start of the engine.
    pub fn new(staged: Option<ReleaseName>, now: u64, chance: u32) -> State {
        let check_at = now + FIRST_CHECK_S + u64::from(chance) % FIRST_CHECK_FUZZ_S;
        State { work: Work::Waiting, staged, check_at, failures: 0, reboot_at: 0, deferred: false, people_until: None }
    }

    /// When `Event::Time` may do something next.
    pub fn wake_at(&self, circumstances: &Circumstances) -> u64 {
        let now = circumstances.now;
        let reboot = match self.reboot_wait(circumstances) {
            Some(_) if self.nobody_was_told(circumstances) => now,
            wait => wait.map_or(u64::MAX, |wait| now + wait),
        };
        match self.work {
            Work::Waiting => self.check_at.min(reboot),
            Work::Checking(_) | Work::Installing(_) | Work::Locking | Work::Rebooting => u64::MAX,
        }
    }

    /// Seconds until the machine restarts by itself; `None`: it does not.
    pub fn reboot_wait(&self, circumstances: &Circumstances) -> Option<u64> {
        let people = match (circumstances.people, self.people_until) {
            (false, _) => 0,
            (true, None) => PEOPLE_S,
            (true, Some(until)) => until.saturating_sub(circumstances.now),
        };
        Some(self.wait_without_people(circumstances)?.max(people))
    }

    fn wait_without_people(&self, circumstances: &Circumstances) -> Option<u64> {
        self.staged.as_ref()?;
        match circumstances.strategy {
            // The lock is no part of this release: machines that want it are restarted by hand.
            Strategy::Off | Strategy::EtcdLock => None,
            Strategy::Reboot | Strategy::BestEffort | Strategy::FleetLock => {
                Some(circumstances.window_wait.max(self.reboot_at.saturating_sub(circumstances.now)))
            }
        }
    }

    /// The restart could be, but for those who are logged in and do not know of it.
    fn nobody_was_told(&self, circumstances: &Circumstances) -> bool {
        let due = self.wait_without_people(circumstances) == Some(0);
        due && circumstances.people && self.people_until.is_none()
    }

    fn after_success(mut self, now: u64, chance: u32) -> State {
        self.failures = 0;
        self.check_at = now + INTERVAL_S - FUZZ_S + u64::from(chance) % (2 * FUZZ_S + 1);
        State { work: Work::Waiting, ..self }
    }

    fn after_failure(mut self, now: u64, chance: u32) -> State {
        let wait = RETRY_S.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX_S * 3 / 4);
        self.failures = self.failures.saturating_add(1);
        // Machines that a server turned away together do not come back together.
        self.check_at = now + wait + u64::from(chance) % (wait / 3 + 1);
        State { work: Work::Waiting, ..self }
    }
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(
    state: &State,
    event: &Event,
    circumstances: &Circumstances,
) -> Result<Option<(State, Vec<Effect>)>, Refusal> {
    match event {
        Event::Asked(_)
        | Event::AskedFile(_)
        | Event::AskedReset
        | Event::AskedRollback
        | Event::AskedReboot
        | Event::AskedDefer(_) => asked(state, event, circumstances).map(Some),
        Event::Time
        | Event::Offered(_)
        | Event::NothingNew
        | Event::Failed(_)
        | Event::Installed(_)
        | Event::LockTaken
        | Event::LockRefused
        | Event::RebootRefused => Ok(happened(state, event, circumstances)),
    }
}

/// Somebody wants something, which may be refused.
fn asked(state: &State, event: &Event, circumstances: &Circumstances) -> Result<(State, Vec<Effect>), Refusal> {
    let next = |work: Work, effects: Vec<Effect>| Ok((State { work, ..state.clone() }, effects));
    let staged = state.staged.is_some();
    match (&state.work, event) {
        (Work::Installing(_), Event::AskedReset) => return next(state.work.clone(), vec![Effect::Cancel]),
        (Work::Waiting, _) => {}
        (Work::Checking(_) | Work::Installing(_) | Work::Locking | Work::Rebooting, _) => return Err(Refusal::Busy),
    }
    match event {
        Event::Asked(wish) => {
            may_install(circumstances)?;
            next(Work::Checking(*wish), vec![Effect::Check])
        }
        Event::AskedFile(path) => {
            may_install(circumstances)?;
            let state = State { work: Work::Installing(None), staged: None, ..state.clone() };
            Ok((state, vec![Effect::InstallFile(path.clone())]))
        }
        Event::AskedReset => {
            let effects = if staged { vec![Effect::Unstage] } else { vec![] };
            Ok((State { staged: None, ..state.clone() }, effects))
        }
        Event::AskedRollback if !circumstances.way_back => Err(Refusal::NoWayBack),
        Event::AskedRollback => {
            let state = State { staged: None, work: Work::Rebooting, ..state.clone() };
            Ok((state, vec![Effect::RollBack, Effect::Reboot]))
        }
        Event::AskedReboot | Event::AskedDefer(_) if !staged => Err(Refusal::NothingStaged),
        // Who asks for it by hand has decided about window and lock.
        Event::AskedReboot => next(Work::Rebooting, vec![Effect::Reboot]),
        Event::AskedDefer(_) if state.deferred => Err(Refusal::DeferredBefore),
        Event::AskedDefer(seconds) => {
            let reboot_at = circumstances.now + (*seconds).min(DEFER_MAX_S);
            Ok((State { reboot_at, deferred: true, ..state.clone() }, vec![]))
        }
        Event::Time
        | Event::Offered(_)
        | Event::NothingNew
        | Event::Failed(_)
        | Event::Installed(_)
        | Event::LockTaken
        | Event::LockRefused
        | Event::RebootRefused => next(state.work.clone(), vec![]),
    }
}

/// Something came about.
fn happened(state: &State, event: &Event, circumstances: &Circumstances) -> Option<(State, Vec<Effect>)> {
    let Circumstances { now, chance, .. } = *circumstances;
    let next = |work: Work, effects: Vec<Effect>| Some((State { work, ..state.clone() }, effects));
    match (&state.work, event) {
        (Work::Waiting, Event::Time) => time_passed(state, circumstances),
        (Work::Checking(wish), Event::Offered(release)) => {
            let newer = state.staged.as_ref().is_none_or(|staged| staged.serial < release.serial);
            if *wish == Wish::Update && newer {
                let work = Work::Installing(Some(release.clone()));
                Some((State { work, staged: None, ..state.clone() }, vec![Effect::Install]))
            } else {
                Some((state.clone().after_success(now, chance), vec![]))
            }
        }
        (Work::Checking(_), Event::NothingNew) => Some((state.clone().after_success(now, chance), vec![])),
        (Work::Checking(_) | Work::Installing(_), Event::Failed(staged)) => {
            let state = State { staged: staged.clone(), ..state.clone() };
            Some((state.after_failure(now, chance), vec![]))
        }
        (Work::Installing(_), Event::Installed(release)) => {
            let staged = Some(release.clone());
            let state = State { staged, deferred: false, reboot_at: 0, people_until: None, ..state.clone() };
            let state = state.after_success(now, chance);
            time_passed(&state, circumstances).or(Some((state, vec![])))
        }
        (Work::Locking, Event::LockTaken) => match state.reboot_wait(circumstances) {
            Some(0) => next(Work::Rebooting, vec![Effect::Reboot]),
            Some(_) | None => next(Work::Waiting, vec![Effect::ReleaseLock]),
        },
        (Work::Locking, Event::LockRefused) => Some((again_later(state, now), vec![])),
        (Work::Rebooting, Event::RebootRefused) => Some((again_later(state, now), vec![Effect::ReleaseLock])),
        (Work::Waiting | Work::Checking(_) | Work::Installing(_) | Work::Locking | Work::Rebooting, _) => None,
    }
}

fn again_later(state: &State, now: u64) -> State {
    State { work: Work::Waiting, reboot_at: now + REBOOT_RETRY_S, ..state.clone() }
}

fn may_install(circumstances: &Circumstances) -> Result<(), Refusal> {
    match (circumstances.enabled, circumstances.on_trial) {
        (false, _) => Err(Refusal::Off),
        (true, true) => Err(Refusal::OnTrial),
        (true, false) => Ok(()),
    }
}

/// The restart comes before the next check: a newer release finds the machine after it.
fn time_passed(state: &State, circumstances: &Circumstances) -> Option<(State, Vec<Effect>)> {
    let now = circumstances.now;
    if state.nobody_was_told(circumstances) {
        let state = State { people_until: Some(now + PEOPLE_S), ..state.clone() };
        return Some((state, vec![Effect::TellPeople(PEOPLE_S)]));
    }
    if state.reboot_wait(circumstances) == Some(0) {
        return Some((State { work: Work::Locking, ..state.clone() }, vec![Effect::TakeLock]));
    }
    if now < state.check_at {
        return None;
    }
    if !circumstances.enabled {
        return Some((State { check_at: now + INTERVAL_S, ..state.clone() }, vec![]));
    }
    if circumstances.on_trial {
        return Some((State { check_at: now + ON_TRIAL_S, ..state.clone() }, vec![]));
    }
    Some((State { work: Work::Checking(Wish::Update), ..state.clone() }, vec![Effect::Check]))
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
