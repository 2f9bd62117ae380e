//! What a service says of itself through sd_notify, as transitions. Pure.

use crate::machine::{Effect, Outcome, Said, State, timer};
use crate::transitions::Turn;

impl Turn<'_> {
    pub(crate) fn ready(&mut self, reloaded: bool) -> Option<()> {
        self.machine.said = Said::Ready;
        match self.machine.state {
            State::Start(_) if self.service().kind.notifies() => self.enter_start_post(),
            State::ReloadNotify => self.enter_running(Outcome::Success),
            // Its reload began and ended since we asked for it.
            State::ReloadSignal if reloaded => self.enter_running(Outcome::Success),
            _ => Some(()),
        }
    }

    pub(crate) fn reloading(&mut self, fresh: bool) -> Option<()> {
        self.machine.said = Said::Reloading;
        match self.machine.state {
            State::ReloadSignal if fresh => {
                self.machine.state = State::ReloadNotify;
                Some(())
            }
            State::Running => self.enter_reload_by_notify(),
            _ => Some(()),
        }
    }

    pub(crate) fn stopping(&mut self) -> Option<()> {
        self.machine.said = Said::Stopping;
        match self.machine.state {
            State::Running => self.enter_stop_by_notify(),
            _ => Some(()),
        }
    }

    /// It reloads by itself.
    pub(crate) fn enter_reload_by_notify(&mut self) -> Option<()> {
        self.machine.state = State::ReloadNotify;
        self.effects.push(timer(self.service().timeout_start()));
        self.effects.push(Effect::PropagateReload);
        Some(())
    }

    /// It stops by itself, as if it had got the signal already.
    pub(crate) fn enter_stop_by_notify(&mut self) -> Option<()> {
        self.machine.state = State::StopSigterm;
        self.effects.push(Effect::DisarmWatchdog);
        self.effects.push(timer(self.service().timeout_stop));
        Some(())
    }
}
