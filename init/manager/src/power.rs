//! The end of the system, up to the point where no unit runs any more; `shutdown` does the rest.

use std::time::{Duration, Instant};

use ferrite_sys::reboot::{End, kexec_is_loaded};
use ferrite_unit::UnitName;

use crate::engine::{Engine, Phase};
use crate::jobs::{JobKind, Mode, UnitId};
use crate::timers::TimerKey;
use crate::transaction::Graph;

/// All units together may take so long to stop.
const SHUTDOWN: Duration = Duration::from_secs(300);
/// Bytes of a word for the firmware.
const ARGUMENT_MAX: usize = 256;

/// Targets that end the system when they are reached, however that came.
const TARGETS: [(&str, End); 6] = [
    ("reboot.target", End::Reboot),
    ("poweroff.target", End::Poweroff),
    ("halt.target", End::Halt),
    ("kexec.target", End::Kexec),
    ("soft-reboot.target", End::SoftReboot),
    ("ctrl-alt-del.target", End::Reboot),
];

/// The target of an end.
pub fn target(end: End) -> &'static str {
    TARGETS.iter().find(|(_, known)| *known == end).map_or("reboot.target", |(name, _)| name)
}

/// The end that a target stands for.
pub fn end_of_target(name: &str) -> Option<End> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, end)| *end)
}

impl Engine {
    /// Begins to end the system. 0: units stop in order; 1: without them; 2: at once. A second wish forces.
    pub fn begin_shutdown(&mut self, end: End, force: u8) {
        let again = matches!(self.phase, Phase::Stopping(_));
        let end = match end {
            End::Kexec if self.settings.real_boot && !kexec_is_loaded() => {
                self.log.warning("no kernel is loaded for kexec, restarting the machine");
                End::Reboot
            }
            end => end,
        };
        if force >= 2 && self.settings.real_boot {
            let error = ferrite_sys::reboot::end(end);
            self.log.error(&format!("ending the machine at once: {error}, ending it in order"));
        }
        self.thaw_all();
        self.enter_stopping(end);
        if force >= 1 || again {
            self.finished = Some(end);
            return;
        }
        self.limit_anew();
        self.release_idle();
        self.timers.disarm(TimerKey::BootDeadline);
        self.timers.disarm(TimerKey::Emergency);
        self.timers.arm(TimerKey::Shutdown, Instant::now(), SHUTDOWN);
        let target = target(end);
        let id = UnitName::parse(target).ok().and_then(|name| self.load(&name));
        let queued = id.map(|id| self.enqueue(id, JobKind::Start, Mode::ReplaceIrreversibly));
        match queued {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                self.log.warning(&format!("starting {target}: {error}, stopping all units instead"));
                self.stop_everything();
            }
            None => self.stop_everything(),
        }
    }

    fn enter_stopping(&mut self, end: End) {
        if !matches!(self.phase, Phase::Stopping(_)) {
            self.moments.shutdown_start = self.now_us();
        }
        self.phase = Phase::Stopping(end);
    }

    fn stop_everything(&mut self) {
        for id in self.units.ids() {
            let busy = self.units.get(id).is_some_and(|r| !r.active().is_down() || r.job.is_some());
            if busy {
                // A unit that cannot be stopped in order is killed in the last phase.
                let _ = self.enqueue(id, JobKind::Stop, Mode::ReplaceIrreversibly);
            }
        }
    }

    /// A target came up. One that ends the system does so although nobody asked PID 1 for it (`OnFailure=`).
    pub fn target_reached(&mut self, id: UnitId) {
        let name = Graph::name(self, id);
        let emergency = matches!(name.as_str(), "emergency.target" | "rescue.target");
        if emergency && self.settings.real_boot && !self.timers.is_armed(TimerKey::Emergency) {
            // However it was reached: a machine without a person at its console must not wait for ever.
            return self.bound_emergency();
        }
        let Some(end) = end_of_target(&name) else { return };
        if !matches!(self.phase, Phase::Stopping(_)) {
            self.enter_stopping(end);
            self.finished = Some(end);
        }
    }

    /// A word for the firmware or the boot loader, used if the system ends by a restart.
    pub fn set_reboot_argument(&mut self, word: Option<String>) {
        self.reboot_argument = word.filter(|word| !word.is_empty() && word.len() <= ARGUMENT_MAX);
    }

    /// Starts a unit that stands for something from outside, such as a power failure; without it, what is usual.
    pub fn start_special(&mut self, name: &str, instead: End) {
        let id = UnitName::parse(name).ok().and_then(|name| self.load(&name));
        let queued = id.map(|id| self.enqueue(id, JobKind::Start, Mode::ReplaceIrreversibly));
        if !matches!(queued, Some(Ok(_))) {
            self.begin_shutdown(instead, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_target_and_each_such_target_an_end() {
        for end in [End::Reboot, End::Poweroff, End::Halt, End::Kexec, End::SoftReboot] {
            assert_eq!(end_of_target(target(end)), Some(end));
        }
        assert_eq!(end_of_target("multi-user.target"), None);
    }
}
