//! What keeps a machine from hanging: the hardware watchdog, the boot deadline, the time in emergency mode; and the
//! moments when the boot is over or the system ends.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrite_sys::inherit::{Inherited, keep_open};
use ferrite_sys::reboot::End;
use ferrite_sys::watchdog::Watchdog;
use ferrite_unit::UnitName;

use crate::engine::{Engine, Phase};
use crate::jobs::{Active, JobKind, Mode};
use crate::log::Mark;
use crate::timers::TimerKey;
use crate::transaction::Graph;

const DEVICE: &str = "/dev/watchdog0";
const WATCHDOG_SECONDS: u32 = 60;
const BOOT_DEADLINE: Duration = Duration::from_secs(300);
/// Emergency mode without an administrator.
const EMERGENCY: Duration = Duration::from_secs(300);

/// The watchdog as PID 1 holds it.
#[derive(Debug, Default)]
pub struct Watch {
    hardware: Option<Watchdog>,
    interval: Duration,
}

/// The value of `key=value` on the kernel command line; `-` and `_` are the same.
pub fn option<'a>(command_line: &'a str, key: &str) -> Option<&'a str> {
    let same = |a: &str| a.replace('_', "-") == key.replace('_', "-");
    let pairs = command_line.split_whitespace().rev().filter_map(|word| word.split_once('='));
    pairs.filter(|(k, _)| same(k)).map(|(_, v)| v).next()
}

/// How long emergency and rescue mode wait for a person: `ferrite.emergency-time=SECONDS`.
pub fn emergency_time(command_line: &str) -> Duration {
    let seconds = option(command_line, "ferrite.emergency-time").and_then(|text| text.parse().ok());
    seconds.map_or(EMERGENCY, Duration::from_secs)
}

/// Is this word on the kernel command line, alone or with a value?
pub fn has_word(command_line: &str, key: &str) -> bool {
    let same = |a: &str| a.replace('_', "-") == key.replace('_', "-");
    command_line.split_whitespace().any(|word| same(word.split_once('=').map_or(word, |(key, _)| key)))
}

impl Watch {
    /// Takes the watchdog over from early boot or from the image before this one, which left it ticking.
    pub fn open(command_line: &str, inherited: &mut Inherited) -> (Watch, Option<String>) {
        let wish = option(command_line, "ferrite.watchdog");
        if wish == Some("off") || !Path::new(DEVICE).exists() {
            return (Watch::default(), None);
        }
        let seconds = wish.and_then(|text| text.parse().ok()).unwrap_or(WATCHDOG_SECONDS).max(5);
        let kept = inherited.take_path(Path::new(DEVICE)).map(Watchdog::from);
        match kept.map_or_else(|| Watchdog::open(Path::new(DEVICE)), Ok) {
            Ok(device) => {
                // A driver with a fixed time-out keeps it; then we ping as it needs.
                let set = device.set_timeout(seconds).or_else(|_| device.timeout()).unwrap_or(seconds);
                let interval = Duration::from_millis(u64::from(set.max(3)) * 1000 / 3);
                (Watch { hardware: Some(device), interval }, None)
            }
            Err(error) => (Watch::default(), Some(format!("opening {DEVICE}: {error}, going on without it"))),
        }
    }

    /// Tells the watchdog that we live.
    pub fn ping(&self) {
        if let Some(device) = &self.hardware {
            // A watchdog that does not hear us restarts the machine; there is nothing better to do here.
            let _ = device.ping();
        }
    }

    /// Leaves the watchdog open for the next image of this process, or no longer.
    pub fn hand_over(&self, keep: bool) {
        if let Some(device) = &self.hardware {
            // Otherwise it is closed, ticking, and the next image opens it again.
            let _ = keep_open(device, keep);
        }
    }

    /// Gives the kernel so long for its own part of the end, if the driver can wait that long.
    pub fn lengthen(&mut self, seconds: u32) {
        if let Some(device) = &self.hardware {
            // Otherwise it has the time that the driver has.
            let _ = device.set_timeout(seconds);
            let _ = device.ping();
        }
    }

    /// Stops the watchdog, if its driver allows that.
    pub fn disarm(&mut self) {
        if let Some(device) = self.hardware.take() {
            // One that cannot be stopped restarts the machine: its driver was made so.
            let _ = device.disarm();
        }
    }

    /// How often it must be told; `None`: there is no watchdog.
    pub fn interval(&self) -> Option<Duration> {
        self.hardware.as_ref().map(|_| self.interval)
    }
}

impl Engine {
    /// Arms the deadlines of a boot.
    pub fn arm_deadlines(&mut self) {
        self.ping_hardware();
        let facts = fs::read_to_string("/run/ferrite/boot").unwrap_or_default();
        if facts.lines().any(|line| line == "slot-good=no") {
            let seconds =
                option(&self.settings.command_line, "ferrite.boot-deadline").and_then(|text| text.parse().ok());
            let limit = seconds.map_or(BOOT_DEADLINE, Duration::from_secs);
            self.timers.arm(TimerKey::BootDeadline, Instant::now(), limit);
        }
    }

    /// Pings the hardware watchdog and asks for the next time.
    pub fn ping_hardware(&mut self) {
        self.watch.ping();
        // An announcement of the kernel can be lost; the device itself tells as well.
        self.check_root();
        if let Some(interval) = self.watch.interval() {
            self.timers.arm(TimerKey::Hardware, Instant::now(), interval);
        }
    }

    /// Where the unit of this name stands.
    pub fn state_of(&self, name: &str) -> Active {
        let id = UnitName::parse(name).ok().and_then(|name| self.units.find(&name));
        id.map_or(Active::Inactive, |id| self.active(id))
    }

    /// Starts the default unit; if that is impossible, emergency mode.
    pub fn start_default(&mut self) {
        let wanted = self.settings.default_unit.clone();
        match self.try_start(&wanted) {
            Ok(()) => return,
            Err(error) => {
                self.log.error(&format!("starting {wanted}: {error}, entering emergency mode"));
                self.log.status(Mark::Failed, &format!("Cannot start {wanted}: {error}"));
            }
        }
        self.enter_emergency();
    }

    fn try_start(&mut self, name: &str) -> Result<(), String> {
        let parsed = UnitName::parse(name).map_err(|error| error.to_string())?;
        let id = self.load(&parsed).ok_or_else(|| format!("unit {name} cannot be loaded"))?;
        self.enqueue(id, JobKind::Start, Mode::Replace).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Emergency mode ends by itself: a machine without a person at its console must not wait for ever.
    pub fn enter_emergency(&mut self) {
        if let Err(error) = self.try_start("emergency.target") {
            self.log.error(&format!("starting emergency.target: {error}, waiting for the end of its time"));
        }
        self.bound_emergency();
    }

    /// The time of emergency and rescue mode begins.
    pub fn bound_emergency(&mut self) {
        let limit = match self.settings.real_boot {
            true => emergency_time(&self.settings.command_line),
            false => Duration::from_secs(5),
        };
        self.log.status(Mark::None, &format!("Emergency mode: restarting in {} s.", limit.as_secs()));
        self.timers.arm(TimerKey::Emergency, Instant::now(), limit);
    }

    fn is_any_up(&self, names: [&str; 2]) -> bool {
        names.into_iter().any(|name| !self.state_of(name).is_down())
    }

    /// Its time is over.
    pub fn emergency_over(&mut self) {
        if self.settings.real_boot && self.is_any_up(["emergency.service", "rescue.service"]) {
            // The shell itself waits for a person only so long, and then asks for the restart: look again later.
            self.timers.arm(TimerKey::Emergency, Instant::now(), EMERGENCY);
            return;
        }
        let wanted = self.settings.default_unit.clone();
        if !self.is_any_up(["emergency.target", "rescue.target"]) && self.state_of(&wanted).is_up() {
            // Somebody repaired it and went on.
            return;
        }
        self.log.error("emergency mode lasted long enough, restarting the machine");
        let reason = self.why_not(&wanted);
        self.note_failure(&format!("emergency mode: {reason}"));
        self.begin_shutdown(End::Reboot, 1);
    }

    /// The boot's rush is over: idle services may write to the console.
    pub fn release_idle(&mut self) {
        if let Some((_, writer)) = self.idle.take() {
            // Without the byte each of them goes on by itself after a few seconds.
            let _ = rustix::io::write(&writer, b"1");
        }
    }

    /// Notices that the boot is over, or that everything has stopped.
    pub fn check_phase(&mut self) {
        if self.phase == Phase::Starting && self.jobs.values().all(|job| self.is_idle_job(job)) {
            self.release_idle();
        }
        if !self.jobs.is_empty() || !self.events.is_empty() {
            return;
        }
        match self.phase {
            Phase::Starting => self.boot_over(),
            Phase::Running => self.check_completion(),
            Phase::Stopping(end) => self.finished = Some(end),
        }
    }

    fn is_idle_job(&self, job: &crate::engine::Job) -> bool {
        let service = self.units.get(job.unit).and_then(|runtime| runtime.unit.service());
        service.is_some_and(|service| service.kind == ferrite_unit::service::ServiceType::Idle)
    }

    fn boot_over(&mut self) {
        self.phase = Phase::Running;
        self.limit_anew();
        self.moments.finish = self.now_us();
        let now = self.moments.finish.1;
        let began = self.moments.userspace.1;
        let failed = self.failed_units();
        let own = now.saturating_sub(began) as f64 / 1e6;
        let early = began as f64 / 1e6;
        let version = env!("CARGO_PKG_VERSION");
        let plural = if failed == 1 { "unit" } else { "units" };
        let text = format!("Ferrite {version} is up: {early:.1} s early boot + {own:.1} s, {failed} failed {plural}");
        self.log.info(&text);
        self.log.status(if failed == 0 { Mark::Ok } else { Mark::Failed }, &text);
        self.give_back_memory();
        self.answer_boot_waiters();
        self.look_at_base();
        self.check_completion();
    }

    /// How many units failed.
    pub fn failed_units(&self) -> usize {
        self.units.iter().filter(|(_, runtime)| runtime.active() == Active::Failed).count()
    }

    /// systemd's word for the state of the whole system.
    pub fn system_state(&self) -> &'static str {
        match self.phase {
            Phase::Stopping(_) => "stopping",
            Phase::Starting => "starting",
            Phase::Running if self.state_of("emergency.target").is_up() || self.state_of("rescue.target").is_up() => {
                "maintenance"
            }
            Phase::Running if self.failed_units() > 0 => "degraded",
            Phase::Running => "running",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_whichever_way_they_are_written() {
        assert_eq!(option("quiet ferrite.boot_deadline=5 x", "ferrite.boot-deadline"), Some("5"));
        assert_eq!(option("a=1 a=2", "a"), Some("2"));
        assert_eq!(option("a", "a"), None);
    }
}
