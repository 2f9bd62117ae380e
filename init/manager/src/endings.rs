//! What the end of a process means for its service. Pure; the second half of the transitions.

use ferrite_unit::service::ServiceType;
use ferrite_unit::value::ExitSet;

use crate::machine::{ControlKind, Effect, Exit, KillStep, MainProcess, Outcome, State};
use crate::transitions::Turn;

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
        let daemon = service.kind != ServiceType::Oneshot;
        let ignored = service.start.get(index).is_some_and(|command| command.ignore_failure);
        let outcome = if ignored { Outcome::Success } else { judge(exit, daemon, &service.success_status) };
        self.note(outcome);
        match self.machine.state {
            State::Start(index) => self.main_exited_in_start(index, outcome),
            State::StartPost(_) | State::Reload(_) | State::ReloadSignal => {
                if self.machine.control {
                    return Some(());
                }
                self.enter_running(outcome)
            }
            State::Running => self.enter_running(outcome),
            State::Stop(_) | State::StopPost(_) => Some(()),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                if self.machine.control {
                    Some(())
                } else {
                    self.enter_stop_post(Outcome::Success)
                }
            }
            State::FinalSigterm | State::FinalSigkill => {
                if self.machine.control || self.waits_for_group() {
                    Some(())
                } else {
                    self.enter_dead()
                }
            }
            State::Dead
            | State::Condition(_)
            | State::StartPre(_)
            | State::Exited
            | State::Failed
            | State::AutoRestart => Some(()),
        }
    }

    /// In the final states the rest of the group is waited for, if the mode covers it.
    fn waits_for_group(&self) -> bool {
        let step = if self.machine.state == State::FinalSigkill { KillStep::Kill } else { KillStep::Terminate };
        self.anything_to_wait_for(step)
    }

    fn main_exited_in_start(&mut self, index: usize, outcome: Outcome) -> Option<()> {
        if outcome != Outcome::Success {
            return self.signal(State::StopSigterm, outcome);
        }
        match self.service().kind {
            ServiceType::Oneshot => {
                let next = index + 1;
                if self.service().start.get(next).is_none() {
                    return self.enter_start_post();
                }
                self.machine.main = MainProcess::Alive;
                self.machine.state = State::Start(next);
                self.effects.push(Effect::SpawnMain(next));
                Some(())
            }
            ServiceType::Notify | ServiceType::NotifyReload | ServiceType::Dbus => {
                self.signal(State::StopSigterm, Outcome::Protocol)
            }
            ServiceType::Exec | ServiceType::Simple | ServiceType::Idle => self.enter_start_post(),
            ServiceType::Forking => Some(()),
        }
    }

    pub(crate) fn control_exited(&mut self, exit: Exit) -> Option<()> {
        if !self.machine.control {
            return None;
        }
        let (kind, index) = self.current_control()?;
        let service = self.service();
        let daemon = service.kind != ServiceType::Oneshot && kind == ControlKind::Start;
        let ignored = kind.commands(service).get(index).is_some_and(|command| command.ignore_failure);
        let mut outcome = if ignored { Outcome::Success } else { judge(exit, daemon, &service.success_status) };
        if kind == ControlKind::Condition && outcome == Outcome::ExitCode && exit != Exit::Code(255) {
            outcome = Outcome::ExecCondition;
        }
        self.control_ended(outcome)
    }

    fn current_control(&self) -> Option<(ControlKind, usize)> {
        Some(match self.machine.state {
            State::Condition(index) => (ControlKind::Condition, index),
            State::StartPre(index) => (ControlKind::StartPre, index),
            State::Start(index) => (ControlKind::Start, index),
            State::StartPost(index) => (ControlKind::StartPost, index),
            State::Reload(index) => (ControlKind::Reload, index),
            State::Stop(index) => (ControlKind::Stop, index),
            State::StopPost(index) => (ControlKind::StopPost, index),
            // A control process that is being killed: its status does not matter any more.
            _ => (ControlKind::Stop, usize::MAX),
        })
    }

    pub(crate) fn control_ended(&mut self, outcome: Outcome) -> Option<()> {
        self.machine.control = false;
        let reloading = matches!(self.machine.state, State::Reload(_));
        if !reloading && !is_waiting(self.machine.state) {
            self.note(outcome);
        }
        if outcome == Outcome::Success
            && let Some((kind, index)) = self.current_control()
            && index != usize::MAX
            && kind != ControlKind::Start
            && self.control(kind, index + 1)
        {
            return Some(());
        }
        match self.machine.state {
            State::Condition(_) if outcome == Outcome::Success => self.enter_start_pre(),
            State::StartPre(_) if outcome == Outcome::Success => self.enter_start(),
            State::Start(_) if outcome == Outcome::Success => {
                self.effects.push(Effect::FindMain);
                Some(())
            }
            State::StartPost(_) if outcome == Outcome::Success => {
                let outcome = self.machine.result;
                self.enter_running(outcome)
            }
            State::Condition(_) | State::StartPre(_) | State::Start(_) | State::StartPost(_) => {
                self.signal(State::StopSigterm, outcome)
            }
            State::Reload(_) => {
                self.machine.reload_failed = outcome != Outcome::Success;
                let outcome = self.machine.result;
                self.enter_running(outcome)
            }
            State::Stop(_) => self.signal(State::StopSigterm, outcome),
            State::StopWatchdog | State::StopSigterm | State::StopSigkill => {
                if self.machine.main == MainProcess::Alive {
                    return Some(());
                }
                self.enter_stop_post(Outcome::Success)
            }
            State::StopPost(_) => self.signal(State::FinalSigterm, outcome),
            State::FinalSigterm | State::FinalSigkill => {
                if self.waits_for_group() {
                    Some(())
                } else {
                    self.enter_dead()
                }
            }
            State::Dead | State::Running | State::Exited | State::ReloadSignal | State::Failed | State::AutoRestart => {
                Some(())
            }
        }
    }
}

fn is_waiting(state: State) -> bool {
    matches!(
        state,
        State::StopWatchdog | State::StopSigterm | State::StopSigkill | State::FinalSigterm | State::FinalSigkill
    )
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
