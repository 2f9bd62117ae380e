//! The life of a service as a state machine. Pure: `step` takes a state and an event, gives the next state and effects.
//!
//! States, results and transitions are systemd's, so that what administrators read in `systemctl status` fits.

use std::time::Duration;

use ferrite_unit::command::Command;
use ferrite_unit::service::Service;
use ferrite_unit::value::Span;
use serde::{Deserialize, Serialize};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this status.
    Code(u8),
    /// By a signal.
    Signal(i32),
    /// By a signal, and left a core.
    Dumped(i32),
}

/// The commands of a service that run beside the main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlKind {
    /// `ExecCondition=`.
    Condition,
    /// `ExecStartPre=`.
    StartPre,
    /// `ExecStart=` of a forking service.
    Start,
    /// `ExecStartPost=`.
    StartPost,
    /// `ExecReload=`.
    Reload,
    /// `ExecStop=`.
    Stop,
    /// `ExecStopPost=`.
    StopPost,
}

impl ControlKind {
    /// The directive.
    pub fn directive(self) -> &'static str {
        match self {
            ControlKind::Condition => "ExecCondition",
            ControlKind::StartPre => "ExecStartPre",
            ControlKind::Start => "ExecStart",
            ControlKind::StartPost => "ExecStartPost",
            ControlKind::Reload => "ExecReload",
            ControlKind::Stop => "ExecStop",
            ControlKind::StopPost => "ExecStopPost",
        }
    }

    /// Its commands.
    pub fn commands(self, service: &Service) -> &[Command] {
        match self {
            ControlKind::Condition => &service.condition,
            ControlKind::StartPre => &service.start_pre,
            ControlKind::Start => &service.start,
            ControlKind::StartPost => &service.start_post,
            ControlKind::Reload => &service.reload,
            ControlKind::Stop => &service.stop,
            ControlKind::StopPost => &service.stop_post,
        }
    }
}

/// Where a service stands. The number is the command that runs. These names are kept when PID 1 executes itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum State {
    Dead,
    Condition(usize),
    StartPre(usize),
    Start(usize),
    StartPost(usize),
    Running,
    Exited,
    Reload(usize),
    ReloadSignal,
    Stop(usize),
    StopWatchdog,
    StopSigterm,
    StopSigkill,
    StopPost(usize),
    FinalSigterm,
    FinalSigkill,
    Failed,
    AutoRestart,
}

impl State {
    /// systemd's sub state.
    pub fn sub(self) -> &'static str {
        match self {
            State::Dead => "dead",
            State::Condition(_) => "condition",
            State::StartPre(_) => "start-pre",
            State::Start(_) => "start",
            State::StartPost(_) => "start-post",
            State::Running => "running",
            State::Exited => "exited",
            State::Reload(_) => "reload",
            State::ReloadSignal => "reload-signal",
            State::Stop(_) => "stop",
            State::StopWatchdog => "stop-watchdog",
            State::StopSigterm => "stop-sigterm",
            State::StopSigkill => "stop-sigkill",
            State::StopPost(_) => "stop-post",
            State::FinalSigterm => "final-sigterm",
            State::FinalSigkill => "final-sigkill",
            State::Failed => "failed",
            State::AutoRestart => "auto-restart",
        }
    }
}

/// Why a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Outcome {
    #[default]
    Success,
    Resources,
    Protocol,
    Timeout,
    ExitCode,
    Signal,
    CoreDump,
    Watchdog,
    StartLimitHit,
    ExecCondition,
}

impl Outcome {
    /// systemd's `Result=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Success => "success",
            Outcome::Resources => "resources",
            Outcome::Protocol => "protocol",
            Outcome::Timeout => "timeout",
            Outcome::ExitCode => "exit-code",
            Outcome::Signal => "signal",
            Outcome::CoreDump => "core-dump",
            Outcome::Watchdog => "watchdog",
            Outcome::StartLimitHit => "start-limit-hit",
            Outcome::ExecCondition => "exec-condition",
        }
    }
}

/// What is known of the main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MainProcess {
    /// There is none, or nobody knows which it is.
    #[default]
    Unknown,
    /// It runs.
    Alive,
    /// It ended.
    Ended(Exit),
}

/// A service: its state and what the state alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Machine {
    /// Where it stands.
    pub state: State,
    /// The first thing that went wrong since the start.
    pub result: Outcome,
    /// The main process.
    pub main: MainProcess,
    /// Does a control process run?
    pub control: bool,
    /// Was the last reload in vain?
    pub reload_failed: bool,
    /// Was it stopped on request, so that it must not restart?
    pub stopped: bool,
    /// Restarts in a row by itself.
    pub restarts: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            state: State::Dead,
            result: Outcome::Success,
            main: MainProcess::Unknown,
            control: false,
            reload_failed: false,
            stopped: false,
            restarts: 0,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A start job runs.
    Start,
    /// A stop job runs.
    Stop,
    /// A reload job runs.
    Reload,
    /// The starts came too fast after one another.
    StartLimitHit,
    /// An administrator forgives the failure.
    ResetFailed,
    /// The main process ended.
    MainExited(Exit),
    /// The control process ended.
    ControlExited(Exit),
    /// The main process could not be made.
    MainNotMade,
    /// The control process could not be made.
    ControlNotMade,
    /// The program of the main process was executed.
    MainExecuted,
    /// `READY=1`.
    Ready,
    /// `RELOADING=1`.
    Reloading,
    /// `STOPPING=1`.
    Stopping,
    /// The main process of a forking service is known now.
    MainFound,
    /// A forking service left no process that could be told to be the main one.
    MainUnknown,
    /// The last process of the control group ended.
    GroupEmpty,
    /// The timer ran out.
    TimedOut,
    /// The service forgot to say that it lives.
    WatchdogExpired,
}

/// Which signal goes to the processes that `KillMode=` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillStep {
    /// `KillSignal=`.
    Terminate,
    /// `SIGABRT`.
    Abort,
    /// `SIGKILL`.
    Kill,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Make the main process from this `ExecStart=`.
    SpawnMain(usize),
    /// Make a control process.
    SpawnControl(ControlKind, usize),
    /// Signal the processes.
    Kill(KillStep),
    /// End the control process only.
    KillControl,
    /// Ask the main process to reload.
    SignalReload,
    /// Ask for `TimedOut` after so long.
    ArmTimer(Duration),
    /// Do not.
    DisarmTimer,
    /// Look for the main process of a forking service.
    FindMain,
    /// Tell the dependents that it failed or ended, although it restarts.
    Ended(State),
    /// Queue the job of an automatic restart.
    RequestRestart,
    /// The service is over: remove its directories, close its files.
    Release,
}

/// What the machine must know of the world.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The settings.
    pub service: &'a Service,
    /// Does the control group hold a living process?
    pub populated: bool,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(machine: Machine, event: Event, view: View<'_>) -> Option<(Machine, Vec<Effect>)> {
    let mut turn = crate::transitions::Turn { machine, view, effects: Vec::new() };
    turn.take(event)?;
    Some((turn.machine, turn.effects))
}

/// A duration for the timer; without limit none is armed.
pub(crate) fn timer(span: Span) -> Effect {
    span.finite().map_or(Effect::DisarmTimer, Effect::ArmTimer)
}
