//! What the end of a process means for its service. Pure; the second half of the transitions.

use ferrite_unit::service::{ExitType, NotifyAccess, ServiceType};
use ferrite_unit::value::ExitSet;

use crate::machine::{ControlKind, Effect, Exit, MainProcess, Outcome, Said, State};
use crate::transitions::{Again, Turn};

impl Turn<'_> {
    pub(crate) fn main_exited(&mut self, exit: Exit) -> Option<()> {
        if self.machine.main != MainProcess::Alive {
            return None;
        }
        self.machine.main = MainProcess::Ended(exit);
        let index = match self.machine.state {
            State::Start(index) => index,
            _ => 0,
        };
        let service = self.service();
        let oneshot = service.kind == ServiceType::Oneshot;
        let ignored = service.start.get(index).is_some_and(|command| command.ignore_failure);
        let outcome = if ignored { Outcome::Success } else { judge(exit, !oneshot, &service.success_status) };
        self.note(outcome);
        if let State::Start(index) = self.machine.state
            && oneshot
            && outcome == Outcome::Success
            && self.service().start.get(index + 1).is_some()
        {
            return self.next_main(index + 1);
        }
        if self.service().exit_type == ExitType::Cgroup && self.view.populated {
            // It goes on as long as any of its processes does.
            return Some(());
        }
        self.main_gone(outcome)
    }

    fn next_main(&mut self, index: usize) -> Option<()> {
        self.machine.main = MainProcess::Alive;
        self.machine.state = State::Start(index);
        self.effects.push(crate::machine::timer(self.service().timeout_start()));
        self.effects.push(Effect::SpawnMain(index));
        Some(())
    }

    fn main_gone(&mut self, outcome: Outcome) -> Option<()> {
        let control = self.machine.control;
        match self.machine.state {
            State::Start(_) => self.main_gone_in_start(outcome),
            // Without any process left these states would never end.
            State::StartPost(_) | State::Reload(_) | State::ReloadSignal | State::ReloadNotify if !control => {
                self.enter_stop(outcome)
            }
            State::Running => self.enter_running(outcome),
            state if state.is_stop_signal() && !control => self.enter_stop_post(outcome),
            State::StopPost(_) if !control => self.signal(State::FinalSigterm, outcome),
            state if state.is_final() && !control => self.enter_dead(outcome, Again::Maybe),
            _ => Some(()),
        }
    }

    fn main_gone_in_start(&mut self, outcome: Outcome) -> Option<()> {
        let remains = self.service().remain_after_exit && self.service().notify_access != NotifyAccess::Main;
        match self.service().kind {
            ServiceType::Oneshot if outcome == Outcome::Success => self.enter_start_post(),
            ServiceType::Oneshot => self.signal(State::StopSigterm, outcome),
            ServiceType::Notify | ServiceType::NotifyReload if outcome != Outcome::Success => {
                self.signal(State::StopSigterm, outcome)
            }
            // Another of its processes may still tell that it is ready.
            ServiceType::Notify | ServiceType::NotifyReload if remains => Some(()),
            ServiceType::Notify | ServiceType::NotifyReload => self.signal(State::StopSigterm, Outcome::Protocol),
            ServiceType::Simple | ServiceType::Exec | ServiceType::Idle | ServiceType::Forking | ServiceType::Dbus => {
                self.enter_running(outcome)
            }
        }
    }

    pub(crate) fn control_exited(&mut self, exit: Exit) -> Option<()> {
        if !self.machine.control {
            return None;
        }
        let current = self.current_control();
        let service = self.service();
        let starter = matches!(current, Some((ControlKind::Start, _)));
        let daemon = service.kind != ServiceType::Oneshot && starter;
        let ignored = current
            .and_then(|(kind, index)| kind.commands(service).get(index))
            .is_some_and(|command| command.ignore_failure);
        let mut outcome = if ignored { Outcome::Success } else { judge(exit, daemon, &service.success_status) };
        let condition = matches!(current, Some((ControlKind::Condition, _)));
        if condition && outcome == Outcome::ExitCode && exit != Exit::Code(255) {
            outcome = Outcome::ExecCondition;
        }
        self.control_ended(outcome)
    }

    /// The command that the control process runs; `None` once it is being killed.
    fn current_control(&self) -> Option<(ControlKind, usize)> {
        Some(match self.machine.state {
            State::Condition(index) => (ControlKind::Condition, index),
            State::StartPre(index) => (ControlKind::StartPre, index),
            State::Start(index) => (ControlKind::Start, index),
            State::StartPost(index) => (ControlKind::StartPost, index),
            State::Reload(index) => (ControlKind::Reload, index),
            State::Stop(index) => (ControlKind::Stop, index),
            State::StopPost(index) => (ControlKind::StopPost, index),
            _ => return None,
        })
    }

    fn control_ended(&mut self, outcome: Outcome) -> Option<()> {
        self.machine.control = false;
        if !matches!(self.machine.state, State::Reload(_)) {
            self.note(outcome);
        }
        if outcome == Outcome::Success
            && let Some((kind, index)) = self.current_control()
            && kind != ControlKind::Start
            && self.control(kind, index + 1)
        {
            return Some(());
        }
        let good = outcome == Outcome::Success;
        let main_gone = self.machine.main != MainProcess::Alive;
        match self.machine.state {
            State::Condition(_) if good => self.enter_start_pre(),
            State::StartPre(_) if good => self.enter_start(),
            State::Start(_) if good => {
                let wait = self.service().pid_file.is_some() && self.service().start_post.is_empty();
                self.effects.push(Effect::FindMain { wait });
                Some(())
            }
            State::StartPost(_) if good && self.searches_main() => {
                self.effects.push(Effect::FindMain { wait: self.service().pid_file.is_some() });
                Some(())
            }
            State::StartPost(_) if good => self.enter_running(Outcome::Success),
            State::Condition(_) | State::StartPre(_) | State::Start(_) | State::StartPost(_) | State::Stop(_) => {
                self.signal(State::StopSigterm, outcome)
            }
            State::Reload(_) => self.reload_command_ended(outcome),
            state if state.is_stop_signal() && main_gone => self.enter_stop_post(outcome),
            State::StopPost(_) if main_gone => self.signal(State::FinalSigterm, outcome),
            state if state.is_final() && main_gone => self.enter_dead(outcome, Again::Maybe),
            _ => Some(()),
        }
    }

    /// Is the main process still to be found when the commands after the start are through?
    fn searches_main(&self) -> bool {
        self.service().pid_file.is_some() || self.machine.main == MainProcess::Unknown
    }

    fn reload_command_ended(&mut self, outcome: Outcome) -> Option<()> {
        self.machine.reload_result = outcome;
        if self.machine.said == Said::Reloading {
            self.machine.state = State::ReloadNotify;
            return Some(());
        }
        self.enter_running(Outcome::Success)
    }

    pub(crate) fn control_not_made(&mut self) -> Option<()> {
        self.machine.control = false;
        let fault = Outcome::Resources;
        match self.machine.state {
            State::Condition(0) | State::StartPre(0) => self.enter_dead(fault, Again::Maybe),
            State::Condition(_) | State::StartPre(_) | State::Start(_) | State::Stop(_) => {
                self.signal(State::StopSigterm, fault)
            }
            State::StartPost(0) => self.enter_stop(fault),
            State::StartPost(_) => self.signal(State::StopSigterm, fault),
            State::Reload(_) => {
                self.machine.reload_result = fault;
                self.enter_running(Outcome::Success)
            }
            State::StopPost(0) => self.signal(State::FinalSigterm, fault),
            State::StopPost(_) => self.enter_dead(fault, Again::Maybe),
            _ => None,
        }
    }
}

pub(crate) fn listed(set: &ExitSet, exit: Exit) -> bool {
    match exit {
        Exit::Code(code) => set.codes.contains(&code),
        Exit::Signal(signal) | Exit::Dumped(signal) => set.signals.contains(&signal),
    }
}

/// Was this a clean end? A daemon may end by one of the signals that ask for it.
pub(crate) fn judge(exit: Exit, daemon: bool, success: &ExitSet) -> Outcome {
    const ASKING: [i32; 4] = [1, 2, 13, 15];
    match exit {
        Exit::Code(0) => Outcome::Success,
        exit if listed(success, exit) => Outcome::Success,
        Exit::Code(_) => Outcome::ExitCode,
        Exit::Signal(signal) if daemon && ASKING.contains(&signal) => Outcome::Success,
        Exit::Signal(_) => Outcome::Signal,
        Exit::Dumped(_) => Outcome::CoreDump,
    }
}
