//! The transitions of a service. Pure: one method for each way into a state. The ends of processes are in `endings`,
//! what a service says of itself in `sayings`, when it restarts in `restarts`.

use ferrite_unit::kill::KillMode;
use ferrite_unit::service::{ExitType, OomPolicy, RestartMode, Service, ServiceType, TimeoutMode};
use ferrite_unit::value::Span;

use crate::machine::{ControlKind, Effect, Event, KillStep, Machine, MainProcess, Outcome, Said, State, View, timer};

/// May a service that goes down come up again by itself?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    Maybe,
    Never,
}

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
            Event::MainMade => self.main_made(),
            Event::MainExited(exit) => self.main_exited(exit),
            Event::ControlExited(exit) => self.control_exited(exit),
            Event::MainNotMade => self.main_not_made(),
            Event::ControlNotMade => self.control_not_made(),
            Event::MainExecuted => self.main_executed(),
            Event::MainNotExecuted => self.main_reported(),
            Event::Ready { reloaded } => self.ready(reloaded),
            Event::Reloading { fresh } => self.reloading(fresh),
            Event::Stopping => self.stopping(),
            Event::MainFound => self.main_found(),
            Event::MainUnknown => self.search_over(),
            Event::NameTaken => self.name_changed(false),
            Event::NameLost => self.name_changed(true),
            Event::GroupEmpty => self.group_empty(),
            Event::TimedOut => self.timed_out(),
            Event::WatchdogExpired => match self.machine.state {
                State::Start(_)
                | State::StartPost(_)
                | State::Running
                | State::Reload(_)
                | State::ReloadSignal
                | State::ReloadNotify => self.signal(State::StopWatchdog, Outcome::Watchdog),
                _ => None,
            },
            Event::OomKilled => self.oom_killed(),
            Event::RestartQueued => {
                if !matches!(self.machine.state, State::AutoRestart) {
                    return None;
                }
                self.machine.restarts = self.machine.restarts.saturating_add(1);
                self.machine.restarts_over = false;
                self.machine.state = State::AutoRestartQueued;
                self.effects.push(Effect::DisarmTimer);
                Some(())
            }
            Event::RestartRefused => match self.machine.state {
                State::AutoRestart => self.enter_dead(Outcome::Resources, Again::Never),
                _ => None,
            },
        }
    }

    fn start(&mut self) -> Option<()> {
        if !self.machine.state.is_down() && self.machine.state != State::AutoRestartQueued {
            return None;
        }
        let restarts = if self.machine.restarts_over { 0 } else { self.machine.restarts };
        self.machine = Machine { restarts, ..Machine::default() };
        let first = !self.service().condition.is_empty() || !self.service().start_pre.is_empty();
        if first && self.is_crowded() {
            return self.enter_dead(Outcome::Resources, Again::Maybe);
        }
        if self.control(ControlKind::Condition, 0) {
            return Some(());
        }
        self.enter_start_pre()
    }

    fn start_limit_hit(&mut self) -> Option<()> {
        if !self.machine.state.is_down() && self.machine.state != State::AutoRestartQueued {
            return None;
        }
        self.enter_dead(Outcome::StartLimitHit, Again::Never)
    }

    fn reset_failed(&mut self) -> Option<()> {
        if self.machine.state == State::Failed {
            self.machine.state = self.dead_state();
        }
        self.machine.result = Outcome::Success;
        self.machine.reload_result = Outcome::Success;
        self.machine.restarts = 0;
        self.machine.restarts_over = false;
        Some(())
    }

    fn stop_requested(&mut self) -> Option<()> {
        self.machine.stopped = true;
        match self.machine.state {
            State::Dead | State::Failed | State::DeadResourcesPinned => None,
            // An automatic restart is given up.
            State::AutoRestart
            | State::AutoRestartQueued
            | State::DeadBeforeAutoRestart
            | State::FailedBeforeAutoRestart => {
                self.machine.state = self.dead_state();
                self.machine.restarts_over = true;
                self.effects.push(Effect::DisarmTimer);
                Some(())
            }
            // The commands of the start are cut short; what runs is signalled.
            State::Condition(_)
            | State::StartPre(_)
            | State::Start(_)
            | State::StartPost(_)
            | State::Reload(_)
            | State::ReloadSignal
            | State::ReloadNotify => self.signal(State::StopSigterm, Outcome::Success),
            State::Running | State::Exited => self.enter_stop(Outcome::Success),
            State::Stop(_)
            | State::StopWatchdog
            | State::StopSigterm
            | State::StopSigkill
            | State::StopPost(_)
            | State::FinalWatchdog
            | State::FinalSigterm
            | State::FinalSigkill => Some(()),
        }
    }

    fn reload(&mut self) -> Option<()> {
        if !matches!(self.machine.state, State::Running | State::Exited) {
            return None;
        }
        if matches!(self.machine.said, Said::Reloading | Said::Stopping) {
            self.machine.said = Said::Nothing;
        }
        self.machine.reload_result = Outcome::Success;
        let signalled = self.service().kind == ServiceType::NotifyReload && self.machine.main == MainProcess::Alive;
        if signalled {
            self.effects.push(Effect::SignalReload);
        }
        if self.control(ControlKind::Reload, 0) {
            return Some(());
        }
        if !signalled {
            return None;
        }
        self.machine.state = State::ReloadSignal;
        self.effects.push(timer(self.service().timeout_start()));
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

    /// The first fault of a start is its result.
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
        self.machine.main = MainProcess::Unknown;
        if self.is_crowded() {
            return self.signal(State::StopSigterm, Outcome::Resources);
        }
        if kind == ServiceType::Forking {
            if self.control(ControlKind::Start, 0) {
                return Some(());
            }
            return self.signal(State::StopSigterm, Outcome::Resources);
        }
        self.machine.state = State::Start(0);
        if self.service().start.is_empty() {
            return match kind {
                ServiceType::Oneshot => self.enter_start_post(),
                // The file changed under a running start.
                _ => self.signal(State::StopSigterm, Outcome::Resources),
            };
        }
        self.machine.main = MainProcess::Alive;
        let limit = match kind {
            ServiceType::Simple | ServiceType::Idle => Span::Infinite,
            _ => self.service().timeout_start(),
        };
        self.effects.push(timer(limit));
        self.effects.push(Effect::SpawnMain(0));
        Some(())
    }

    /// Do processes of an earlier run hold the service that must not be killed, and must not run beside new ones?
    fn is_crowded(&self) -> bool {
        let kill = &self.service().kill;
        let whole = matches!(kill.mode, KillMode::Mixed | KillMode::ControlGroup);
        whole && !kill.send_sigkill && self.view.populated
    }

    /// The main process exists: for the plain types this is the start.
    fn main_made(&mut self) -> Option<()> {
        match (self.machine.state, self.service().kind) {
            // Commands after the start find the program already running.
            (State::Start(_), ServiceType::Simple | ServiceType::Idle) if self.service().start_post.is_empty() => {
                self.enter_start_post()
            }
            _ => None,
        }
    }

    fn main_reported(&mut self) -> Option<()> {
        match (self.machine.state, self.service().kind) {
            (State::Start(_), ServiceType::Simple | ServiceType::Idle) => self.enter_start_post(),
            _ => None,
        }
    }

    fn main_not_made(&mut self) -> Option<()> {
        self.machine.main = MainProcess::Unknown;
        match self.machine.state {
            State::Start(0) => self.signal(State::StopSigterm, Outcome::Resources),
            _ => self.enter_stop(Outcome::Resources),
        }
    }

    pub(crate) fn enter_start_post(&mut self) -> Option<()> {
        if self.service().watchdog.is_some() {
            self.effects.push(Effect::ArmWatchdog);
        }
        if self.control(ControlKind::StartPost, 0) {
            return Some(());
        }
        self.enter_running(Outcome::Success)
    }

    /// Does the service live on?
    fn is_good(&self) -> bool {
        if self.service().kind == ServiceType::Dbus && self.machine.name_lost {
            return false;
        }
        match (self.machine.main, self.service().exit_type) {
            (MainProcess::Alive, _) => true,
            (MainProcess::Ended(_), ExitType::Main) => false,
            (MainProcess::Ended(_), ExitType::Cgroup) | (MainProcess::Unknown, _) => self.view.populated,
        }
    }

    /// Settles in `Running` or `Exited`, or stops, by what is alive and what the service said last.
    pub(crate) fn enter_running(&mut self, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        self.machine.control = false;
        if self.machine.result != Outcome::Success {
            return self.signal(State::StopSigterm, outcome);
        }
        if self.is_good() {
            return match self.machine.said {
                Said::Reloading => self.enter_reload_by_notify(),
                Said::Stopping => self.enter_stop_by_notify(),
                Said::Nothing | Said::Ready => {
                    self.machine.state = State::Running;
                    self.effects.push(timer(self.service().runtime_max));
                    Some(())
                }
            };
        }
        if self.service().remain_after_exit {
            self.machine.state = State::Exited;
            self.effects.push(Effect::DisarmTimer);
            self.effects.push(Effect::DisarmWatchdog);
            return Some(());
        }
        self.enter_stop(Outcome::Success)
    }

    pub(crate) fn enter_stop(&mut self, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        self.machine.control = false;
        self.effects.push(Effect::DisarmWatchdog);
        if self.control(ControlKind::Stop, 0) {
            return Some(());
        }
        self.signal(State::StopSigterm, Outcome::Success)
    }

    /// Would a signal reach anything whose end we then see?
    fn anything_to_wait_for(&self, step: KillStep) -> bool {
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
        self.effects.push(Effect::DisarmWatchdog);
        let harsh = self.service().kill.send_sigkill;
        let mut state = state;
        // At most four rounds: term, kill, stop-post, final term, final kill only ever go forward.
        for _ in 0..5 {
            let step = match state {
                State::StopWatchdog | State::FinalWatchdog => KillStep::Abort,
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
            state = match state {
                State::StopWatchdog | State::StopSigterm if harsh => State::StopSigkill,
                State::FinalWatchdog | State::FinalSigterm if harsh => State::FinalSigkill,
                State::FinalWatchdog | State::FinalSigterm | State::FinalSigkill => {
                    return self.enter_dead(Outcome::Success, Again::Maybe);
                }
                _ if self.control(ControlKind::StopPost, 0) => return Some(()),
                _ => State::FinalSigterm,
            };
        }
        self.enter_dead(Outcome::Success, Again::Maybe)
    }

    pub(crate) fn enter_stop_post(&mut self, outcome: Outcome) -> Option<()> {
        self.note(outcome);
        self.machine.control = false;
        if self.control(ControlKind::StopPost, 0) {
            return Some(());
        }
        self.signal(State::FinalSigterm, Outcome::Success)
    }

    pub(crate) fn enter_dead(&mut self, outcome: Outcome, again: Again) -> Option<()> {
        self.note(outcome);
        self.machine.control = false;
        self.effects.push(Effect::DisarmWatchdog);
        let down = self.dead_state();
        let (end, between) = match self.machine.result {
            Outcome::Success => (down, Some(State::DeadBeforeAutoRestart)),
            Outcome::ExecCondition => (down, None),
            _ => (State::Failed, Some(State::FailedBeforeAutoRestart)),
        };
        let restarts = again == Again::Maybe && !self.view.stop_queued && self.shall_restart();
        match between.filter(|_| restarts) {
            Some(between) => {
                if self.service().restart_mode != RestartMode::Direct {
                    self.effects.push(Effect::Ended(between));
                }
                self.machine.state = State::AutoRestart;
                self.effects.push(Effect::Release);
                self.effects.push(timer(self.restart_delay()));
            }
            None => {
                self.machine.state = end;
                self.machine.restarts_over = true;
                self.effects.push(Effect::DisarmTimer);
                self.effects.push(Effect::Release);
            }
        }
        self.machine.stopped = false;
        Some(())
    }

    /// Its name on the message bus was taken, or nobody owns it.
    fn name_changed(&mut self, lost: bool) -> Option<()> {
        self.machine.name_lost = lost;
        match (self.machine.state, self.service().kind) {
            (State::Start(_), ServiceType::Dbus) if !lost => self.enter_start_post(),
            (State::Running, ServiceType::Dbus) => self.enter_running(Outcome::Success),
            _ => Some(()),
        }
    }

    fn main_executed(&mut self) -> Option<()> {
        match (self.machine.state, self.service().kind) {
            (State::Start(_), ServiceType::Exec) => self.enter_start_post(),
            (State::Start(_), ServiceType::Dbus) if !self.view.bus_tells => {
                self.machine.name_lost = false;
                self.enter_start_post()
            }
            _ => self.main_reported(),
        }
    }

    fn main_found(&mut self) -> Option<()> {
        self.machine.main = MainProcess::Alive;
        self.search_over().or(Some(()))
    }

    /// The search for the main process is over, with or without success.
    fn search_over(&mut self) -> Option<()> {
        match self.machine.state {
            State::Start(_) if !self.machine.control && self.service().kind == ServiceType::Forking => {
                self.enter_start_post()
            }
            State::StartPost(_) if !self.machine.control => self.enter_running(Outcome::Success),
            _ => None,
        }
    }

    fn group_empty(&mut self) -> Option<()> {
        let alone = self.machine.main != MainProcess::Alive && !self.machine.control;
        let searching = self.service().pid_file.is_some() && alone;
        match self.machine.state {
            State::Start(_) if alone && self.service().kind.notifies() => self.enter_stop_post(Outcome::Protocol),
            State::Start(_) if alone && self.service().exit_type == ExitType::Cgroup => self.enter_start_post(),
            State::Start(_) if searching => self.enter_stop_post(Outcome::Protocol),
            State::StartPost(_) if searching => self.enter_stop(Outcome::Protocol),
            State::Running => self.enter_running(Outcome::Success),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill if alone => {
                self.enter_stop_post(Outcome::Success)
            }
            State::StopPost(_) | State::FinalWatchdog | State::FinalSigterm | State::FinalSigkill if alone => {
                self.enter_dead(Outcome::Success, Again::Maybe)
            }
            _ => None,
        }
    }

    fn timed_out(&mut self) -> Option<()> {
        let start_mode = self.service().timeout_start_mode;
        let stop_mode = self.service().timeout_stop_mode;
        let harsh = self.service().kill.send_sigkill;
        match self.machine.state {
            State::Condition(_) | State::StartPre(_) | State::Start(_) | State::StartPost(_) => self.force(start_mode),
            State::Running => self.enter_stop(Outcome::Timeout),
            State::Reload(_) | State::ReloadSignal | State::ReloadNotify => {
                self.effects.push(Effect::KillControl);
                self.machine.reload_result = Outcome::Timeout;
                self.machine.said = Said::Nothing;
                self.enter_running(Outcome::Success)
            }
            State::Stop(_) => self.force(stop_mode),
            State::StopSigterm if stop_mode == TimeoutMode::Abort => self.signal(State::StopWatchdog, Outcome::Timeout),
            State::StopWatchdog | State::StopSigterm if harsh => self.signal(State::StopSigkill, Outcome::Timeout),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => self.enter_stop_post(Outcome::Timeout),
            State::StopPost(_) => match stop_mode {
                TimeoutMode::Terminate => self.signal(State::FinalSigterm, Outcome::Timeout),
                TimeoutMode::Abort => self.signal(State::FinalWatchdog, Outcome::Timeout),
                TimeoutMode::Kill if harsh => self.signal(State::FinalSigkill, Outcome::Timeout),
                TimeoutMode::Kill => self.enter_dead(Outcome::Timeout, Again::Never),
            },
            State::FinalSigterm if stop_mode == TimeoutMode::Abort => {
                self.signal(State::FinalWatchdog, Outcome::Timeout)
            }
            State::FinalWatchdog | State::FinalSigterm if harsh => self.signal(State::FinalSigkill, Outcome::Timeout),
            State::FinalWatchdog | State::FinalSigterm => self.enter_dead(Outcome::Timeout, Again::Never),
            State::FinalSigkill => self.enter_dead(Outcome::Timeout, Again::Maybe),
            State::AutoRestart => {
                self.effects.push(Effect::RequestRestart);
                Some(())
            }
            State::Dead
            | State::Exited
            | State::Failed
            | State::DeadBeforeAutoRestart
            | State::FailedBeforeAutoRestart
            | State::DeadResourcesPinned
            | State::AutoRestartQueued => None,
        }
    }

    /// A start or stop took too long.
    fn force(&mut self, mode: TimeoutMode) -> Option<()> {
        match mode {
            TimeoutMode::Terminate => self.signal(State::StopSigterm, Outcome::Timeout),
            TimeoutMode::Abort => self.signal(State::StopWatchdog, Outcome::Timeout),
            TimeoutMode::Kill if self.service().kill.send_sigkill => self.signal(State::StopSigkill, Outcome::Timeout),
            TimeoutMode::Kill => self.enter_stop_post(Outcome::Timeout),
        }
    }

    fn oom_killed(&mut self) -> Option<()> {
        let policy = self.service().oom_policy;
        let outcome = Outcome::OomKill;
        if policy == OomPolicy::Continue {
            return None;
        }
        match (self.machine.state, policy) {
            (State::Running | State::Exited, OomPolicy::Stop) => self.enter_stop(outcome),
            (
                State::Condition(_)
                | State::StartPre(_)
                | State::Start(_)
                | State::StartPost(_)
                | State::Stop(_)
                | State::Reload(_)
                | State::ReloadSignal
                | State::ReloadNotify,
                OomPolicy::Stop,
            ) => self.signal(State::StopSigterm, outcome),
            (state, _) if state.is_stop_signal() && state != State::StopSigkill => {
                self.signal(State::StopSigkill, outcome)
            }
            (State::StopPost(_) | State::FinalWatchdog | State::FinalSigterm, _) => {
                self.signal(State::FinalSigkill, outcome)
            }
            (State::StopSigkill | State::FinalSigkill, _) => {
                self.note(outcome);
                Some(())
            }
            (state, _) if state.is_down() || matches!(state, State::AutoRestart | State::AutoRestartQueued) => None,
            (_, _) => self.signal(State::StopSigkill, outcome),
        }
    }
}
