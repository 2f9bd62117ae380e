//! The transitions of a service. Pure: one method for each way into a state. The ends of processes are in `endings`.

use ferrite_unit::kill::KillMode;
use ferrite_unit::service::{Restart, Service, ServiceType, TimeoutMode};
use ferrite_unit::value::ExitSet;

use crate::endings::listed;
use crate::machine::{ControlKind, Effect, Event, KillStep, Machine, MainProcess, Outcome, State, View, timer};

/// One step in the making.
pub(crate) struct Turn<'a> {
    pub machine: Machine,
    pub view: View<'a>,
    pub effects: Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn service(&self) -> &Service {
        self.view.service
    }

    /// Picks the transition.
    pub fn take(&mut self, event: Event) -> Option<()> {
        match event {
            Event::Start => self.start(),
            Event::Stop => self.stop_requested(),
            Event::Reload => self.reload(),
            Event::StartLimitHit => self.start_limit_hit(),
            Event::ResetFailed => self.reset_failed(),
            Event::MainExited(exit) => self.main_exited(exit),
            Event::ControlExited(exit) => self.control_exited(exit),
            Event::MainNotMade => {
                self.machine.main = MainProcess::Unknown;
                self.signal(State::StopSigterm, Outcome::Resources)
            }
            Event::ControlNotMade => self.control_ended(Outcome::Resources),
            Event::MainExecuted => self.main_executed(),
            Event::Ready => self.ready(),
            Event::Reloading => self.reloading(),
            Event::Stopping => self.stopping(),
            Event::MainFound => self.main_found(),
            Event::MainUnknown => match self.machine.state {
                State::Start(_) if !self.machine.control => self.enter_start_post(),
                _ => None,
            },
            Event::GroupEmpty => self.group_empty(),
            Event::TimedOut => self.timed_out(),
            Event::WatchdogExpired => match self.machine.state {
                State::StartPost(_) | State::Running | State::Reload(_) | State::ReloadSignal | State::Start(_) => {
                    self.signal(State::StopWatchdog, Outcome::Watchdog)
                }
                _ => None,
            },
        }
    }

    fn start(&mut self) -> Option<()> {
        if !matches!(self.machine.state, State::Dead | State::Failed | State::AutoRestart) {
            return None;
        }
        let restarts = if self.machine.state == State::AutoRestart { self.machine.restarts } else { 0 };
        self.machine = Machine { restarts, ..Machine::default() };
        if self.control(ControlKind::Condition, 0) {
            return Some(());
        }
        self.enter_start_pre()
    }

    fn start_limit_hit(&mut self) -> Option<()> {
        if !matches!(self.machine.state, State::Dead | State::Failed | State::AutoRestart) {
            return None;
        }
        self.note(Outcome::StartLimitHit);
        self.machine.state = State::Failed;
        self.effects.push(Effect::DisarmTimer);
        Some(())
    }

    fn reset_failed(&mut self) -> Option<()> {
        if self.machine.state == State::Failed {
            self.machine.state = State::Dead;
        }
        self.machine.result = Outcome::Success;
        self.machine.restarts = 0;
        self.machine.reload_failed = false;
        Some(())
    }

    fn stop_requested(&mut self) -> Option<()> {
        self.machine.stopped = true;
        match self.machine.state {
            State::Dead | State::Failed => None,
            State::AutoRestart => {
                self.machine.state = State::Dead;
                self.effects.push(Effect::DisarmTimer);
                Some(())
            }
            // The commands of the start are cut short; what runs is signalled.
            State::Condition(_) | State::StartPre(_) | State::Start(_) | State::StartPost(_) => {
                self.signal(State::StopSigterm, Outcome::Success)
            }
            State::Reload(_) | State::ReloadSignal => self.signal(State::StopSigterm, Outcome::Success),
            State::Running | State::Exited => self.enter_stop(Outcome::Success),
            State::Stop(_)
            | State::StopWatchdog
            | State::StopSigterm
            | State::StopSigkill
            | State::StopPost(_)
            | State::FinalSigterm
            | State::FinalSigkill => Some(()),
        }
    }

    fn reload(&mut self) -> Option<()> {
        if !matches!(self.machine.state, State::Running | State::Exited) {
            return None;
        }
        self.machine.reload_failed = false;
        if self.service().kind == ServiceType::NotifyReload {
            self.machine.state = State::ReloadSignal;
            self.effects.push(Effect::SignalReload);
            self.effects.push(timer(self.service().timeout_start()));
            return Some(());
        }
        if !self.control(ControlKind::Reload, 0) {
            return None;
        }
        Some(())
    }

    /// Starts command `index` of a kind, if there is one.
    pub(crate) fn control(&mut self, kind: ControlKind, index: usize) -> bool {
        if kind.commands(self.service()).get(index).is_none() {
            return false;
        }
        let (state, limit) = match kind {
            ControlKind::Condition => (State::Condition(index), self.service().timeout_start()),
            ControlKind::StartPre => (State::StartPre(index), self.service().timeout_start()),
            ControlKind::Start => (State::Start(index), self.service().timeout_start()),
            ControlKind::StartPost => (State::StartPost(index), self.service().timeout_start()),
            ControlKind::Reload => (State::Reload(index), self.service().timeout_start()),
            ControlKind::Stop => (State::Stop(index), self.service().timeout_stop),
            ControlKind::StopPost => (State::StopPost(index), self.service().timeout_stop),
        };
        self.machine.state = state;
        self.machine.control = true;
        self.effects.push(timer(limit));
        self.effects.push(Effect::SpawnControl(kind, index));
        true
    }

    pub(crate) fn note(&mut self, outcome: Outcome) {
        if self.machine.result == Outcome::Success {
            self.machine.result = outcome;
        }
    }

    pub(crate) fn enter_start_pre(&mut self) -> Option<()> {
        if self.control(ControlKind::StartPre, 0) {
            return Some(());
        }
        self.enter_start()
    }

    pub(crate) fn enter_start(&mut self) -> Option<()> {
        let kind = self.service().kind;
        if kind == ServiceType::Forking {
            self.control(ControlKind::Start, 0);
            return Some(());
        }
        if self.service().start.is_empty() {
            return self.enter_start_post();
        }
        self.machine.main = MainProcess::Alive;
        self.machine.state = State::Start(0);
        match kind {
            ServiceType::Simple | ServiceType::Idle => {
                self.effects.push(Effect::SpawnMain(0));
                self.enter_start_post()
            }
            ServiceType::Exec
            | ServiceType::Oneshot
            | ServiceType::Notify
            | ServiceType::NotifyReload
            | ServiceType::Dbus
            | ServiceType::Forking => {
                self.effects.push(timer(self.service().timeout_start()));
                self.effects.push(Effect::SpawnMain(0));
                Some(())
            }
        }
    }

    pub(crate) fn enter_start_post(&mut self) -> Option<()> {
        if self.control(ControlKind::StartPost, 0) {
            return Some(());
        }
        self.enter_running(Outcome::Success)
    }

    /// Settles in `Running` or `Exited`, or stops, by what is alive.
    pub(crate) fn enter_running(&mut self, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        if outcome != Outcome::Success {
            return self.signal(State::StopSigterm, outcome);
        }
        let alive = match self.machine.main {
            MainProcess::Alive => true,
            MainProcess::Ended(_) => false,
            MainProcess::Unknown => self.view.populated,
        };
        if alive {
            self.machine.state = State::Running;
            self.effects.push(timer(self.service().runtime_max));
            Some(())
        } else if self.service().remain_after_exit {
            self.machine.state = State::Exited;
            self.effects.push(Effect::DisarmTimer);
            Some(())
        } else {
            self.enter_stop(Outcome::Success)
        }
    }

    fn enter_stop(&mut self, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        if self.control(ControlKind::Stop, 0) {
            return Some(());
        }
        self.signal(State::StopSigterm, Outcome::Success)
    }

    /// Would a signal reach anything whose end we then see?
    pub(crate) fn anything_to_wait_for(&self, step: KillStep) -> bool {
        let mode = self.service().kill.mode;
        if mode == KillMode::None {
            return false;
        }
        let whole_group = mode == KillMode::ControlGroup || (mode == KillMode::Mixed && step == KillStep::Kill);
        self.machine.main == MainProcess::Alive || self.machine.control || (whole_group && self.view.populated)
    }

    /// Goes into one of the states that signal and wait; passes on when there is nothing to wait for.
    pub(crate) fn signal(&mut self, state: State, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        let mut state = state;
        // At most four rounds: term, kill, stop-post, final term, final kill only ever go forward.
        for _ in 0..4 {
            let step = match state {
                State::StopWatchdog => KillStep::Abort,
                State::StopSigkill | State::FinalSigkill => KillStep::Kill,
                _ => KillStep::Terminate,
            };
            if self.anything_to_wait_for(step) {
                self.machine.state = state;
                let limit = match step {
                    KillStep::Abort => self.service().timeout_abort.unwrap_or(self.service().timeout_stop),
                    KillStep::Terminate | KillStep::Kill => self.service().timeout_stop,
                };
                self.effects.push(Effect::Kill(step));
                self.effects.push(timer(limit));
                return Some(());
            }
            let mixed_rest = self.service().kill.mode == KillMode::Mixed
                && self.service().kill.send_sigkill
                && self.view.populated
                && step == KillStep::Terminate;
            state = match state {
                State::FinalSigterm if mixed_rest => State::FinalSigkill,
                State::StopSigterm if mixed_rest => State::StopSigkill,
                State::FinalSigterm | State::FinalSigkill => return self.enter_dead(),
                _ => {
                    if self.control(ControlKind::StopPost, 0) {
                        return Some(());
                    }
                    State::FinalSigterm
                }
            };
        }
        self.enter_dead()
    }

    pub(crate) fn enter_stop_post(&mut self, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        if self.control(ControlKind::StopPost, 0) {
            return Some(());
        }
        self.signal(State::FinalSigterm, Outcome::Success)
    }

    pub(crate) fn enter_dead(&mut self) -> Option<()> {
        let end = match self.machine.result {
            Outcome::Success | Outcome::ExecCondition => State::Dead,
            _ => State::Failed,
        };
        if self.shall_restart() {
            self.effects.push(Effect::Ended(end));
            self.effects.push(Effect::Release);
            self.effects.push(timer(self.service().restart_delay));
            self.machine.state = State::AutoRestart;
            self.machine.restarts = self.machine.restarts.saturating_add(1);
        } else {
            self.machine.state = end;
            self.effects.push(Effect::DisarmTimer);
            self.effects.push(Effect::Release);
        }
        Some(())
    }

    fn shall_restart(&self) -> bool {
        if self.machine.stopped {
            return false;
        }
        let exit = match self.machine.main {
            MainProcess::Ended(exit) => Some(exit),
            MainProcess::Unknown | MainProcess::Alive => None,
        };
        let within = |set: &ExitSet| exit.is_some_and(|exit| listed(set, exit));
        if within(&self.service().restart_prevent) {
            return false;
        }
        if within(&self.service().restart_force) {
            return true;
        }
        let result = self.machine.result;
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

    fn main_executed(&mut self) -> Option<()> {
        match (self.machine.state, self.service().kind) {
            (State::Start(_), ServiceType::Exec) => self.enter_start_post(),
            _ => None,
        }
    }

    fn main_found(&mut self) -> Option<()> {
        self.machine.main = MainProcess::Alive;
        match (self.machine.state, self.service().kind) {
            (State::Start(_), ServiceType::Forking) if !self.machine.control => self.enter_start_post(),
            _ => Some(()),
        }
    }

    fn ready(&mut self) -> Option<()> {
        match self.machine.state {
            State::Start(_) if self.service().kind.notifies() => self.enter_start_post(),
            State::ReloadSignal => self.enter_running(Outcome::Success),
            _ => None,
        }
    }

    fn reloading(&mut self) -> Option<()> {
        if self.machine.state != State::Running {
            return None;
        }
        self.machine.state = State::ReloadSignal;
        self.effects.push(timer(self.service().timeout_start()));
        Some(())
    }

    fn stopping(&mut self) -> Option<()> {
        if !matches!(self.machine.state, State::Running | State::ReloadSignal) {
            return None;
        }
        self.machine.state = State::StopSigterm;
        self.effects.push(timer(self.service().timeout_stop));
        Some(())
    }

    fn group_empty(&mut self) -> Option<()> {
        let alone = self.machine.main != MainProcess::Alive && !self.machine.control;
        match self.machine.state {
            State::Start(_) if alone && self.service().kind != ServiceType::Exec => {
                // A forking service that left nothing behind, or a notifying one that went away silently.
                self.enter_stop_post(Outcome::Protocol)
            }
            State::Running if alone => self.enter_running(Outcome::Success),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill if alone => {
                self.enter_stop_post(Outcome::Success)
            }
            State::FinalSigterm | State::FinalSigkill if alone => self.enter_dead(),
            _ => None,
        }
    }

    fn timed_out(&mut self) -> Option<()> {
        let start_mode = self.service().timeout_start_mode;
        let stop_mode = self.service().timeout_stop_mode;
        let kill_allowed = self.service().kill.send_sigkill;
        match self.machine.state {
            State::Condition(_) | State::StartPre(_) | State::Start(_) | State::StartPost(_) => {
                self.signal(stop_state(start_mode), Outcome::Timeout)
            }
            State::Running => self.enter_stop(Outcome::Timeout),
            State::Reload(_) => {
                self.machine.control = false;
                self.machine.reload_failed = true;
                self.effects.push(Effect::KillControl);
                let outcome = self.machine.result;
                self.enter_running(outcome)
            }
            State::ReloadSignal => {
                self.machine.reload_failed = true;
                self.enter_running(Outcome::Success)
            }
            State::Stop(_) => self.signal(stop_state(stop_mode), Outcome::Timeout),
            State::StopSigterm if stop_mode == TimeoutMode::Abort => self.signal(State::StopWatchdog, Outcome::Timeout),
            State::StopWatchdog | State::StopSigterm if kill_allowed => {
                self.signal(State::StopSigkill, Outcome::Timeout)
            }
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                self.forget();
                self.enter_stop_post(Outcome::Timeout)
            }
            State::StopPost(_) => self.signal(State::FinalSigterm, Outcome::Timeout),
            State::FinalSigterm if kill_allowed => self.signal(State::FinalSigkill, Outcome::Timeout),
            State::FinalSigterm | State::FinalSigkill => {
                self.note(Outcome::Timeout);
                self.forget();
                self.machine.stopped = true;
                self.enter_dead()
            }
            State::AutoRestart => {
                self.effects.push(Effect::RequestRestart);
                Some(())
            }
            State::Dead | State::Exited | State::Failed => None,
        }
    }

    /// Gives processes up that did not even end by SIGKILL.
    fn forget(&mut self) {
        self.machine.control = false;
        if self.machine.main == MainProcess::Alive {
            self.machine.main = MainProcess::Unknown;
        }
    }
}

fn stop_state(mode: TimeoutMode) -> State {
    match mode {
        TimeoutMode::Terminate => State::StopSigterm,
        TimeoutMode::Abort => State::StopWatchdog,
        TimeoutMode::Kill => State::StopSigkill,
    }
}
