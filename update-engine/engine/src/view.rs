//! What the engine shows of itself. Pure but for reading the slots' flags.

use ferrite_layout::Slot;
use ferrite_unit::civil::Civil;

use crate::choose::Choice;
use crate::config::{Server, Strategy};
use crate::engine::Engine;
use crate::host;
use crate::lock::LockPlace;
use crate::protocol::{Operation, Request, SlotStatus, Status};
use crate::schedule::{ReleaseName, Work};
use crate::status;

/// What is remembered only to be shown.
#[derive(Debug, Clone, Default)]
pub struct Remembered {
    /// Grows with every change.
    pub revision: u64,
    /// Bytes written, of so many.
    pub progress: (u64, u64),
    /// The release that is there or under way, and bytes of its payload.
    pub release: Option<(ReleaseName, u64)>,
    /// The last time the server was asked.
    pub last_check: Option<u64>,
    /// The last time that it could be believed.
    pub last_success: Option<u64>,
    /// What the last work came to.
    pub outcome: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// The channel document has expired.
    pub stale: bool,
    /// Why the restart was refused.
    pub held: Option<String>,
}

impl Remembered {
    /// Some work ended.
    pub fn ended(&mut self, outcome: Result<String, String>) {
        (self.outcome, self.error) = match outcome {
            Ok(text) => (Some(text), None),
            Err(text) => (None, Some(text)),
        };
    }
}

/// What a look found, in words.
pub fn choice_text(choice: &Choice) -> String {
    match choice {
        Choice::UpToDate => "up to date".into(),
        Choice::Blocked(serial) => {
            format!("serial {serial} is there and failed here before: it is blocked (ferrite-update unblock)")
        }
        Choice::NotYet(serial) => format!("serial {serial} is there, this machine's turn comes later"),
        Choice::Held(word) => format!("the server says {word}: later"),
        Choice::OutOfReach { serial, minimum } => {
            format!("serial {serial} needs serial {minimum} first, which the channel does not offer")
        }
        Choice::Take(offer) => format!("{} is there", offer.version),
    }
}

/// What was begun, in words.
pub fn done_text(request: &Request) -> &'static str {
    match request {
        Request::Check => "looking for an update",
        Request::Update => "looking for an update, and installing it",
        Request::Install { .. } => "installing the file",
        Request::Reset => "nothing is under way any more",
        Request::Rollback => "the other slot is started first, restarting",
        Request::Reboot => "restarting",
        Request::Defer { .. } => "the restart is put off",
        Request::Status { .. } | Request::Unblock { .. } | Request::SlotsChanged => "done",
    }
}

/// The whole status.
pub fn status(engine: &Engine) -> Status {
    let (state, view, config) = (&engine.state, &engine.view, &engine.config);
    let snapshot = host::snapshot(&engine.places);
    let circumstances = engine.circumstances();
    let clock = |at: u64| host::clock().saturating_add(at.saturating_sub(engine.now()));
    let reboot_wait = state.reboot_wait(&circumstances);
    let staged = engine.store.staged.as_ref();
    let size = staged.filter(|_| state.staged.is_some()).map(|staged| staged.size_bytes);
    let new = state.staged.as_ref().or(view.release.as_ref().map(|(release, _)| release));
    let fallback = snapshot.record.as_ref().and_then(|record| record.fallback.as_ref());
    let off = engine.why_off();
    Status {
        revision: view.revision,
        operation: operation(engine),
        progress: if view.progress.1 > 0 { view.progress.0 as f64 / view.progress.1 as f64 } else { 0.0 },
        off: off.map(|off| off.text().to_string()),
        board: engine.host.as_ref().map(|host| host.facts.board.clone()).unwrap_or_default(),
        version: engine.host.as_ref().map(|host| host.facts.version.clone()).unwrap_or_default(),
        serial: engine.host.as_ref().map_or(0, |host| host.serial),
        slots: slots(engine),
        group: config.group.clone(),
        server: config.server.as_ref().map(server_text),
        key_set: engine.keys.as_ref().map(|keys| keys.number()),
        channel_number: engine.store.seen(&config.group).number,
        last_check: view.last_check,
        last_success: view.last_success,
        next_check: (off.is_none() && state.work == Work::Waiting).then(|| clock(state.check_at)),
        outcome: view.outcome.clone(),
        error: view.error.clone(),
        stale: view.stale || expired(engine),
        new_version: new.map(|release| release.version.clone()),
        new_serial: new.map(|release| release.serial),
        new_size: size.or(view.release.as_ref().map(|(_, size)| *size)).unwrap_or(0),
        strategy: config.strategy.word().to_string(),
        window: config.window.map(|window| window.to_string()),
        reboot_pending: state.staged.is_some(),
        reboot_at: reboot_wait.map(|wait| host::clock() + wait),
        reboot_held: state.staged.as_ref().and_then(|_| held(engine)),
        lock: lock(engine),
        floor: engine.store.floor,
        blocked: engine.store.blocked.iter().filter(|blocked| blocked.holds(now(engine))).cloned().collect(),
        fallback: fallback.map(|fallback| {
            let version = fallback.version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
            format!("from slot {}{version}: {}", fallback.from, fallback.reason)
        }),
        faults: engine.faults.iter().map(|fault| format!("{}: {}", fault.place, fault.text)).collect(),
    }
}

fn held(engine: &Engine) -> Option<String> {
    match engine.config.strategy {
        Strategy::Off => Some("REBOOT_STRATEGY=off: restart it yourself (ferrite-update reboot)".into()),
        Strategy::EtcdLock => Some(
            "REBOOT_STRATEGY=etcd-lock: this release has no cluster lock, restart it yourself (ferrite-update reboot)"
                .into(),
        ),
        Strategy::Reboot | Strategy::BestEffort | Strategy::FleetLock => engine.view.held.clone(),
    }
}

fn now(engine: &Engine) -> u64 {
    engine.host.as_ref().map_or_else(host::clock, |host| host.now(&engine.store))
}

/// What was believed last has expired by now, also when no server can be asked for something newer.
fn expired(engine: &Engine) -> bool {
    let expires = engine.store.seen(&engine.config.group).expires;
    engine.why_off().is_none() && expires > 0 && now(engine) >= expires
}

fn lock(engine: &Engine) -> Option<String> {
    let lock = engine.store.lock.as_ref()?;
    let blocked =
        engine.store.blocked.iter().find(|blocked| blocked.serial == lock.serial && blocked.holds(now(engine)));
    let LockPlace { server, group } = &lock.place;
    let held = format!("group {group} of {server} is held by this machine");
    Some(match blocked {
        Some(blocked) => {
            format!("{held}: {} failed, and others are kept from it (ferrite-update unblock)", blocked.version)
        }
        None => held,
    })
}

/// `key=value` lines for the login banner; empty when nothing waits for a restart.
pub fn pending_text(engine: &Engine) -> String {
    let Some(staged) = &engine.state.staged else { return String::new() };
    let wait = engine.state.reboot_wait(&engine.circumstances());
    let when = match (held(engine), wait) {
        (Some(held), _) => held,
        // To the minute, so that it stays the same while time passes.
        (None, Some(wait)) => format!("at {}", minute(host::clock() + wait + 30)),
        (None, None) => "not by itself".to_string(),
    };
    format!("version={}\nserial={}\nrestart={when}\n", staged.version, staged.serial)
}

/// A moment in UTC, as the journal's short form of it.
pub fn moment(seconds: u64) -> String {
    let civil = Civil::from_seconds(i64::try_from(seconds).unwrap_or(0));
    let Civil { year, month, day, hour, minute, second } = civil;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

fn minute(seconds: u64) -> String {
    let civil = Civil::from_seconds(i64::try_from(seconds).unwrap_or(0));
    let Civil { year, month, day, hour, minute, .. } = civil;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// How many blocks were forgotten, in words.
pub fn unblocked_text(count: usize, serial: Option<u64>) -> String {
    match (count, serial) {
        (0, Some(serial)) => format!("serial {serial} was not blocked"),
        (0, None) => "no release was blocked".to_string(),
        (1, _) => "1 release is not blocked any more".to_string(),
        (count, _) => format!("{count} releases are not blocked any more"),
    }
}

fn operation(engine: &Engine) -> Operation {
    let (done, all) = engine.view.progress;
    match &engine.state.work {
        Work::Checking(_) => Operation::Checking,
        Work::Installing(_) if all > 0 && done == all => Operation::Verifying,
        Work::Installing(_) => Operation::Downloading,
        Work::Waiting | Work::Locking | Work::Rebooting if engine.state.staged.is_some() => Operation::NeedReboot,
        Work::Waiting if engine.view.release.is_some() && engine.view.error.is_none() => Operation::Available,
        Work::Waiting | Work::Locking | Work::Rebooting => Operation::Idle,
    }
}

fn slots(engine: &Engine) -> Vec<SlotStatus> {
    let snapshot = host::snapshot(&engine.places);
    let staged = engine.store.staged.as_ref().filter(|_| engine.state.staged.is_some());
    let slot = |slot: Slot| {
        let running = snapshot.running == Some(slot);
        let staged = staged.filter(|staged| staged.slot == slot && !running);
        let serial = engine.host.as_ref().filter(|_| running).map(|host| host.serial);
        SlotStatus {
            slot: slot.letter().to_string(),
            state: status::state_word(&snapshot, slot).to_string(),
            version: staged.map(|staged| staged.version.clone()).or_else(|| status::version(&snapshot, slot)),
            serial: serial.or(staged.map(|staged| staged.serial)),
            running,
            next: status::next(&snapshot) == Some(slot),
        }
    };
    if snapshot.running.is_some() { Slot::BOTH.map(slot).to_vec() } else { Vec::new() }
}

fn server_text(server: &Server) -> String {
    match server {
        Server::Web(base) => base.clone(),
        Server::Omaha { url, app } => format!("{url} (omaha, {app})"),
        Server::Folder(path) => format!("file://{path}"),
        Server::Disabled => "disabled".into(),
    }
}
