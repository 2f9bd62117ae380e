//! Whether a service that went down comes up again by itself, and when. Pure.

use std::time::Duration;

use ferrite_unit::service::{Restart, Service, ServiceType};
use ferrite_unit::value::{ExitSet, Span};

use crate::endings::listed;
use crate::machine::{MainProcess, Outcome, State};
use crate::transitions::Turn;

impl Turn<'_> {
    /// Where a service stands that is down without a failure.
    pub(crate) fn dead_state(&self) -> State {
        if self.view.pinned { State::DeadResourcesPinned } else { State::Dead }
    }

    pub(crate) fn shall_restart(&self) -> bool {
        if self.machine.stopped {
            return false;
        }
        let exit = match self.machine.main {
            MainProcess::Ended(exit) => Some(exit),
            MainProcess::Unknown | MainProcess::Alive => None,
        };
        let within = |set: &ExitSet| exit.is_some_and(|exit| listed(set, exit));
        let result = self.machine.result;
        if within(&self.service().restart_prevent) {
            return false;
        }
        if within(&self.service().restart_force) {
            return self.service().kind != ServiceType::Oneshot || result != Outcome::Success;
        }
        match self.service().restart {
            Restart::No => false,
            Restart::Always => result != Outcome::ExecCondition,
            Restart::OnSuccess => result == Outcome::Success,
            Restart::OnFailure => !matches!(result, Outcome::Success | Outcome::ExecCondition),
            Restart::OnAbnormal => !matches!(result, Outcome::Success | Outcome::ExitCode | Outcome::ExecCondition),
            Restart::OnWatchdog => result == Outcome::Watchdog,
            Restart::OnAbort => matches!(result, Outcome::Signal | Outcome::CoreDump),
        }
    }

    /// The delay before the next start.
    pub(crate) fn restart_delay(&self) -> Span {
        delay(self.service(), if self.machine.restarts_over { 0 } else { self.machine.restarts })
    }
}

/// `RestartSec=`, growing to `RestartMaxDelaySec=` in `RestartSteps=` equal ratios, after so many restarts.
pub(crate) fn delay(service: &Service, restarts: u32) -> Span {
    let (Span::Finite(first), Span::Finite(last)) = (service.restart_delay, service.restart_max_delay) else {
        return service.restart_delay;
    };
    let next = restarts.saturating_add(1);
    if next <= 1 || service.restart_steps == 0 || first.is_zero() || first >= last {
        return service.restart_delay;
    }
    if next > service.restart_steps {
        return service.restart_max_delay;
    }
    let ratio = last.as_secs_f64() / first.as_secs_f64();
    let exponent = f64::from(next - 1) / f64::from(service.restart_steps);
    let seconds = first.as_secs_f64() * ratio.powf(exponent);
    Duration::try_from_secs_f64(seconds).map_or(service.restart_max_delay, Span::Finite)
}
