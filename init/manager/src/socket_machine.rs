//! The life of a socket unit as a state machine. Pure. States and transitions are systemd's.

use ferrite_unit::command::Command;
use ferrite_unit::kill::KillMode;
use ferrite_unit::socket::Socket;
use serde::{Deserialize, Serialize};

use crate::jobs::Active;
use crate::kinds::Cause;
use crate::machine::{Exit, KillStep};

/// The commands of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketCommand {
    /// `ExecStartPre=`.
    StartPre,
    /// `ExecStartPost=`.
    StartPost,
    /// `ExecStopPre=`.
    StopPre,
    /// `ExecStopPost=`.
    StopPost,
}

impl SocketCommand {
    /// The directive.
    pub fn directive(self) -> &'static str {
        match self {
            SocketCommand::StartPre => "ExecStartPre",
            SocketCommand::StartPost => "ExecStartPost",
            SocketCommand::StopPre => "ExecStopPre",
            SocketCommand::StopPost => "ExecStopPost",
        }
    }

    /// Its commands.
    pub fn commands(self, socket: &Socket) -> &[Command] {
        match self {
            SocketCommand::StartPre => &socket.start_pre,
            SocketCommand::StartPost => &socket.start_post,
            SocketCommand::StopPre => &socket.stop_pre,
            SocketCommand::StopPost => &socket.stop_post,
        }
    }
}

/// Where a socket stands. The number is the command that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum SocketState {
    #[default]
    Dead,
    StartPre(usize),
    StartChown,
    StartPost(usize),
    Listening,
    Running,
    StopPre(usize),
    StopPreSigterm,
    StopPreSigkill,
    StopPost(usize),
    FinalSigterm,
    FinalSigkill,
    Failed,
}

/// A socket: its state and what the state alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SocketMachine {
    /// Where it stands.
    pub state: SocketState,
    /// The first thing that went wrong since the start.
    pub cause: Cause,
    /// Does a control process run?
    pub control: bool,
}

impl SocketMachine {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self.state {
            SocketState::Dead => "dead",
            SocketState::StartPre(_) => "start-pre",
            SocketState::StartChown => "start-chown",
            SocketState::StartPost(_) => "start-post",
            SocketState::Listening => "listening",
            SocketState::Running => "running",
            SocketState::StopPre(_) => "stop-pre",
            SocketState::StopPreSigterm => "stop-pre-sigterm",
            SocketState::StopPreSigkill => "stop-pre-sigkill",
            SocketState::StopPost(_) => "stop-post",
            SocketState::FinalSigterm => "final-sigterm",
            SocketState::FinalSigkill => "final-sigkill",
            SocketState::Failed => "failed",
        }
    }

    /// systemd's active state.
    pub fn active(self) -> Active {
        match self.state {
            SocketState::Dead => Active::Inactive,
            SocketState::StartPre(_) | SocketState::StartChown | SocketState::StartPost(_) => Active::Activating,
            SocketState::Listening | SocketState::Running => Active::Active,
            SocketState::StopPre(_)
            | SocketState::StopPreSigterm
            | SocketState::StopPreSigkill
            | SocketState::StopPost(_)
            | SocketState::FinalSigterm
            | SocketState::FinalSigkill => Active::Deactivating,
            SocketState::Failed => Active::Failed,
        }
    }
}

/// What happened to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEvent {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// All sockets are open.
    Opened,
    /// One of them could not be made.
    NotOpened,
    /// The control process ended.
    Exited(Exit),
    /// The control process could not be made.
    NotMade,
    /// The last process of the control group ended.
    GroupEmpty,
    /// The timer ran out.
    TimedOut,
    /// Something arrived, and the service is being started.
    Triggered,
    /// Something arrived too often.
    TriggerLimitHit,
    /// The service cannot be started, or a socket is broken.
    Broken,
    /// The state or the job of the service changed.
    ServiceChanged(ServiceView),
}

/// What a socket must know of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServiceView {
    /// It was started too often.
    pub limit_hit: bool,
    /// It has a job.
    pub job: bool,
    /// It holds the sockets, or will soon.
    pub active: bool,
    /// Its main process runs.
    pub running: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketEffect {
    /// Make a control process.
    Spawn(SocketCommand, usize),
    /// Make all sockets; the answer is an event.
    Open,
    /// Make the process that gives them to their owner.
    Chown,
    /// Throw away what waits in them.
    Flush,
    /// Wait for something to arrive.
    Watch,
    /// Do not.
    Unwatch,
    /// Close them.
    Close,
    /// Signal the processes.
    Kill(KillStep),
    /// Ask for `TimedOut` after the unit's time.
    ArmTimer,
    /// Do not.
    DisarmTimer,
    /// The unit is over.
    Release,
}

/// What the machine must know of the world.
#[derive(Debug, Clone, Copy)]
pub struct SocketView<'a> {
    /// The settings.
    pub socket: &'a Socket,
    /// Does the control group hold a living process?
    pub populated: bool,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(
    machine: SocketMachine,
    event: SocketEvent,
    view: SocketView<'_>,
) -> Option<(SocketMachine, Vec<SocketEffect>)> {
    let mut turn = Turn { machine, view, effects: Vec::new() };
    turn.take(event)?;
    Some((turn.machine, turn.effects))
}

struct Turn<'a> {
    machine: SocketMachine,
    view: SocketView<'a>,
    effects: Vec<SocketEffect>,
}

impl Turn<'_> {
    fn take(&mut self, event: SocketEvent) -> Option<()> {
        use SocketState as S;
        match (event, self.machine.state) {
            (SocketEvent::Start, S::Dead | S::Failed) => {
                self.machine = SocketMachine::default();
                self.enter_start_pre();
            }
            (SocketEvent::Stop, S::StartPre(_) | S::StartChown | S::StartPost(_)) => {
                self.signal(S::StopPreSigterm, Cause::Success);
            }
            (SocketEvent::Stop, S::Listening | S::Running) => self.enter_stop_pre(Cause::Success),
            (SocketEvent::StartLimitHit, S::Dead | S::Failed) => {
                self.machine.cause = Cause::StartLimitHit;
                self.machine.state = S::Failed;
            }
            (SocketEvent::ResetFailed, S::Failed) => self.machine = SocketMachine::default(),
            (SocketEvent::Opened, S::StartChown) if !self.machine.control => {
                let socket = self.view.socket;
                if socket.user.is_some() || socket.group.is_some() {
                    self.machine.control = true;
                    self.effects.extend([SocketEffect::ArmTimer, SocketEffect::Chown]);
                } else {
                    self.enter_start_post();
                }
            }
            (SocketEvent::NotOpened, S::StartChown) => self.enter_stop_pre(Cause::Resources),
            (SocketEvent::Exited(exit), _) if self.machine.control => self.exited(exit),
            (SocketEvent::NotMade, _) if self.machine.control => self.not_made(),
            (SocketEvent::GroupEmpty, S::StopPreSigterm | S::StopPreSigkill) if !self.machine.control => {
                self.enter_stop_post(Cause::Success);
            }
            (SocketEvent::GroupEmpty, S::FinalSigterm | S::FinalSigkill) if !self.machine.control => {
                self.enter_dead(Cause::Success);
            }
            (SocketEvent::TimedOut, _) => return self.timed_out(),
            (SocketEvent::Triggered, S::Listening) => self.enter_running(),
            (SocketEvent::TriggerLimitHit, S::Listening) => self.enter_stop_pre(Cause::TriggerLimitHit),
            (SocketEvent::Broken, S::Listening | S::Running) => self.enter_stop_pre(Cause::Resources),
            (SocketEvent::ServiceChanged(service), S::Listening | S::Running) if !self.view.socket.accept => {
                return self.service_changed(service);
            }
            _ => return None,
        }
        Some(())
    }

    fn service_changed(&mut self, service: ServiceView) -> Option<()> {
        let running = self.machine.state == SocketState::Running;
        if service.limit_hit {
            self.enter_stop_pre(Cause::ServiceStartLimitHit);
        } else if service.job {
            return None;
        } else if !service.active && running {
            self.enter_listening();
        } else if service.running && !running {
            self.enter_running();
        } else {
            return None;
        }
        Some(())
    }

    fn note(&mut self, cause: Cause) {
        if self.machine.cause == Cause::Success {
            self.machine.cause = cause;
        }
    }

    /// Runs a command of the list, if there is one.
    fn command(&mut self, kind: SocketCommand, index: usize) -> bool {
        if kind.commands(self.view.socket).get(index).is_none() {
            return false;
        }
        self.machine.state = match kind {
            SocketCommand::StartPre => SocketState::StartPre(index),
            SocketCommand::StartPost => SocketState::StartPost(index),
            SocketCommand::StopPre => SocketState::StopPre(index),
            SocketCommand::StopPost => SocketState::StopPost(index),
        };
        self.machine.control = true;
        self.effects.extend([SocketEffect::ArmTimer, SocketEffect::Spawn(kind, index)]);
        true
    }

    fn enter_start_pre(&mut self) {
        if !self.command(SocketCommand::StartPre, 0) {
            self.enter_open();
        }
    }

    fn enter_open(&mut self) {
        self.machine.state = SocketState::StartChown;
        self.effects.push(SocketEffect::Open);
    }

    fn enter_start_post(&mut self) {
        if !self.command(SocketCommand::StartPost, 0) {
            self.enter_listening();
        }
    }

    fn enter_listening(&mut self) {
        let socket = self.view.socket;
        self.machine.state = SocketState::Listening;
        self.effects.push(SocketEffect::DisarmTimer);
        if socket.flush_pending && !socket.accept {
            self.effects.push(SocketEffect::Flush);
        }
        self.effects.push(SocketEffect::Watch);
    }

    fn enter_running(&mut self) {
        self.machine.state = SocketState::Running;
        self.effects.push(SocketEffect::Unwatch);
    }

    fn enter_stop_pre(&mut self, cause: Cause) {
        self.note(cause);
        self.effects.push(SocketEffect::Unwatch);
        if !self.command(SocketCommand::StopPre, 0) {
            self.enter_stop_post(Cause::Success);
        }
    }

    fn enter_stop_post(&mut self, cause: Cause) {
        self.note(cause);
        self.effects.push(SocketEffect::Close);
        if !self.command(SocketCommand::StopPost, 0) {
            self.signal(SocketState::FinalSigterm, Cause::Success);
        }
    }

    fn enter_dead(&mut self, cause: Cause) {
        self.note(cause);
        let good = self.machine.cause == Cause::Success;
        self.machine.state = if good { SocketState::Dead } else { SocketState::Failed };
        self.machine.control = false;
        self.effects.extend([
            SocketEffect::Unwatch,
            SocketEffect::Close,
            SocketEffect::DisarmTimer,
            SocketEffect::Release,
        ]);
    }

    /// Signals what is left and waits for it; with nothing left the next state comes at once.
    fn signal(&mut self, state: SocketState, cause: Cause) {
        self.note(cause);
        let mut state = state;
        loop {
            let step = match state {
                SocketState::StopPreSigterm | SocketState::FinalSigterm => KillStep::Terminate,
                _ => KillStep::Kill,
            };
            if self.anything_left(step) {
                self.machine.state = state;
                self.effects.extend([SocketEffect::Kill(step), SocketEffect::ArmTimer]);
                return;
            }
            state = match state {
                SocketState::StopPreSigterm => SocketState::StopPreSigkill,
                SocketState::FinalSigterm => SocketState::FinalSigkill,
                SocketState::StopPreSigkill => return self.enter_stop_post(Cause::Success),
                _ => return self.enter_dead(Cause::Success),
            };
        }
    }

    fn anything_left(&self, step: KillStep) -> bool {
        let whole = match self.view.socket.kill.mode {
            KillMode::ControlGroup => true,
            KillMode::Mixed => step == KillStep::Kill,
            KillMode::Process | KillMode::None => false,
        };
        self.machine.control || (whole && self.view.populated)
    }

    fn current(&self) -> Option<(SocketCommand, usize)> {
        match self.machine.state {
            SocketState::StartPre(index) => Some((SocketCommand::StartPre, index)),
            SocketState::StartPost(index) => Some((SocketCommand::StartPost, index)),
            SocketState::StopPre(index) => Some((SocketCommand::StopPre, index)),
            SocketState::StopPost(index) => Some((SocketCommand::StopPost, index)),
            _ => None,
        }
    }

    fn exited(&mut self, exit: Exit) {
        self.machine.control = false;
        let current = self.current();
        let command = current.and_then(|(kind, index)| kind.commands(self.view.socket).get(index));
        let cause = if command.is_some_and(|c| c.ignore_failure) { Cause::Success } else { Cause::of(exit) };
        self.note(cause);
        let good = cause == Cause::Success;
        if good
            && let Some((kind, index)) = current
            && self.command(kind, index + 1)
        {
            return;
        }
        match self.machine.state {
            SocketState::StartPre(_) if good => self.enter_open(),
            SocketState::StartPre(_) => self.signal(SocketState::FinalSigterm, cause),
            SocketState::StartChown if good => self.enter_start_post(),
            SocketState::StartPost(_) if good => self.enter_listening(),
            SocketState::StartChown | SocketState::StartPost(_) => self.enter_stop_pre(cause),
            SocketState::StopPre(_) | SocketState::StopPreSigterm | SocketState::StopPreSigkill => {
                self.enter_stop_post(cause);
            }
            SocketState::StopPost(_) | SocketState::FinalSigterm | SocketState::FinalSigkill => self.enter_dead(cause),
            SocketState::Dead | SocketState::Listening | SocketState::Running | SocketState::Failed => {}
        }
    }

    fn not_made(&mut self) {
        self.machine.control = false;
        match self.machine.state {
            SocketState::StartPre(0) => self.enter_dead(Cause::Resources),
            SocketState::StartPre(_) => self.signal(SocketState::FinalSigterm, Cause::Resources),
            SocketState::StartChown | SocketState::StartPost(_) => self.enter_stop_pre(Cause::Resources),
            SocketState::StopPre(_) => self.enter_stop_post(Cause::Resources),
            SocketState::StopPost(0) => self.signal(SocketState::FinalSigterm, Cause::Resources),
            SocketState::StopPost(_) => self.enter_dead(Cause::Resources),
            SocketState::Dead
            | SocketState::Listening
            | SocketState::Running
            | SocketState::StopPreSigterm
            | SocketState::StopPreSigkill
            | SocketState::FinalSigterm
            | SocketState::FinalSigkill
            | SocketState::Failed => {}
        }
    }

    fn timed_out(&mut self) -> Option<()> {
        let kills = self.view.socket.kill.send_sigkill;
        match self.machine.state {
            SocketState::StartPre(_) => self.signal(SocketState::FinalSigterm, Cause::Timeout),
            SocketState::StartChown | SocketState::StartPost(_) => self.enter_stop_pre(Cause::Timeout),
            SocketState::StopPre(_) => self.signal(SocketState::StopPreSigterm, Cause::Timeout),
            SocketState::StopPreSigterm if kills => self.signal(SocketState::StopPreSigkill, Cause::Timeout),
            SocketState::StopPreSigterm | SocketState::StopPreSigkill => self.enter_stop_post(Cause::Timeout),
            SocketState::StopPost(_) => self.signal(SocketState::FinalSigterm, Cause::Timeout),
            SocketState::FinalSigterm if kills => self.signal(SocketState::FinalSigkill, Cause::Timeout),
            SocketState::FinalSigterm | SocketState::FinalSigkill => self.enter_dead(Cause::Timeout),
            SocketState::Dead | SocketState::Listening | SocketState::Running | SocketState::Failed => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(socket: &Socket, events: &[SocketEvent]) -> (SocketMachine, Vec<SocketEffect>) {
        let mut machine = SocketMachine::default();
        let mut last = Vec::new();
        for event in events {
            let view = SocketView { socket, populated: false };
            (machine, last) = step(machine, *event, view).unwrap_or_else(|| panic!("{event:?} in {:?}", machine.state));
        }
        (machine, last)
    }

    const UP: ServiceView = ServiceView { limit_hit: false, job: false, active: true, running: true };
    const DOWN: ServiceView = ServiceView { limit_hit: false, job: false, active: false, running: false };

    #[test]
    fn a_plain_socket_listens_triggers_and_listens_again() {
        use SocketEvent::{Opened, ServiceChanged, Start, Stop, Triggered};
        let socket = Socket::default();
        assert_eq!(run(&socket, &[Start]).1, [SocketEffect::Open]);
        let (machine, effects) = run(&socket, &[Start, Opened]);
        assert_eq!(machine.sub(), "listening");
        assert_eq!(effects, [SocketEffect::DisarmTimer, SocketEffect::Watch]);
        assert_eq!(run(&socket, &[Start, Opened, Triggered]).0.sub(), "running");
        assert_eq!(run(&socket, &[Start, Opened, ServiceChanged(UP)]).0.sub(), "running");
        let again = [Start, Opened, Triggered, ServiceChanged(DOWN)];
        assert_eq!(run(&socket, &again).0.sub(), "listening");
        let limit = ServiceView { limit_hit: true, ..DOWN };
        let (machine, effects) = run(&socket, &[Start, Opened, Triggered, ServiceChanged(limit)]);
        assert_eq!((machine.sub(), machine.cause), ("failed", Cause::ServiceStartLimitHit));
        assert!(effects.contains(&SocketEffect::Close));
        assert_eq!(run(&socket, &[Start, Opened, Stop]).0.sub(), "dead");
    }

    #[test]
    fn commands_run_in_order_and_their_failure_ends_the_start() {
        use SocketEvent::{Exited, Opened, Start, TimedOut};
        let command = |ignore_failure| Command { ignore_failure, ..Command::default() };
        let socket = Socket {
            start_pre: vec![command(true), command(false)],
            user: Some("x".into()),
            stop_post: vec![command(false)],
            ..Socket::default()
        };
        let bad = Exited(Exit::Code(1));
        let good = Exited(Exit::Code(0));
        assert_eq!(run(&socket, &[Start, bad]).0.state, SocketState::StartPre(1));
        let (machine, _) = run(&socket, &[Start, good, bad]);
        assert_eq!((machine.sub(), machine.cause), ("failed", Cause::ExitCode));
        let chown = [Start, good, good, Opened];
        assert_eq!(run(&socket, &chown).1, [SocketEffect::ArmTimer, SocketEffect::Chown]);
        assert_eq!(run(&socket, &[&chown[..], &[good]].concat()).0.sub(), "listening");
        let (machine, effects) = run(&socket, &[&chown[..], &[bad]].concat());
        assert_eq!(machine.sub(), "stop-post");
        assert_eq!(effects.last(), Some(&SocketEffect::Spawn(SocketCommand::StopPost, 0)));
        let (machine, effects) = run(&socket, &[&chown[..], &[bad, TimedOut]].concat());
        assert_eq!(machine.sub(), "final-sigterm");
        assert_eq!(effects[0], SocketEffect::Kill(KillStep::Terminate));
        let (machine, _) = run(&socket, &[&chown[..], &[bad, TimedOut, TimedOut, TimedOut]].concat());
        assert_eq!((machine.sub(), machine.cause), ("failed", Cause::ExitCode));
    }

    #[test]
    fn an_accepting_socket_does_not_care_about_services() {
        let socket = Socket { accept: true, ..Socket::default() };
        let (machine, _) = run(&socket, &[SocketEvent::Start, SocketEvent::Opened]);
        let view = SocketView { socket: &socket, populated: false };
        assert!(step(machine, SocketEvent::ServiceChanged(DOWN), view).is_none());
        assert_eq!(step(machine, SocketEvent::TriggerLimitHit, view).unwrap().0.cause, Cause::TriggerLimitHit);
    }
}
