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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum State {
    #[default]
    Dead,
    Condition(usize),
    StartPre(usize),
    Start(usize),
    StartPost(usize),
    Running,
    Exited,
    Reload(usize),
    ReloadSignal,
    ReloadNotify,
    Stop(usize),
    StopWatchdog,
    StopSigterm,
    StopSigkill,
    StopPost(usize),
    FinalWatchdog,
    FinalSigterm,
    FinalSigkill,
    Failed,
    /// Down for a moment, so that its dependents notice.
    DeadBeforeAutoRestart,
    FailedBeforeAutoRestart,
    /// Down, but files are kept for its next start.
    DeadResourcesPinned,
    AutoRestart,
    /// Its restart is a job already.
    AutoRestartQueued,
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
            State::ReloadNotify => "reload-notify",
            State::Stop(_) => "stop",
            State::StopWatchdog => "stop-watchdog",
            State::StopSigterm => "stop-sigterm",
            State::StopSigkill => "stop-sigkill",
            State::StopPost(_) => "stop-post",
            State::FinalWatchdog => "final-watchdog",
            State::FinalSigterm => "final-sigterm",
            State::FinalSigkill => "final-sigkill",
            State::Failed => "failed",
            State::DeadBeforeAutoRestart => "dead-before-auto-restart",
            State::FailedBeforeAutoRestart => "failed-before-auto-restart",
            State::DeadResourcesPinned => "dead-resources-pinned",
            State::AutoRestart => "auto-restart",
            State::AutoRestartQueued => "auto-restart-queued",
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
    OomKill,
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
            Outcome::OomKill => "oom-kill",
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

/// What the service said last by sd_notify about where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Said {
    #[default]
    Nothing,
    Ready,
    Reloading,
    Stopping,
}

/// A service: its state and what the state alone does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Machine {
    /// Where it stands.
    pub state: State,
    /// The first thing that went wrong since the start.
    pub result: Outcome,
    /// How the last reload went.
    pub reload_result: Outcome,
    /// The main process.
    pub main: MainProcess,
    /// Does a control process run?
    pub control: bool,
    /// What it said last.
    pub said: Said,
    /// Was it stopped on request, so that it must not restart?
    pub stopped: bool,
    /// Restarts in a row by itself.
    pub restarts: u32,
    /// The next start is not one of them.
    pub restarts_over: bool,
    /// Did it lose its name on the message bus?
    pub name_lost: bool,
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
    /// The main process was made.
    MainMade,
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
    /// The main process could not execute its program, and is about to end.
    MainNotExecuted,
    /// `READY=1`; with `reloaded` it tells of a reload that began after we asked for one, all in one message.
    Ready {
        /// Did `RELOADING=1` come along?
        reloaded: bool,
    },
    /// `RELOADING=1`; `fresh`: it began after we asked for it.
    Reloading {
        /// Does its time stamp say so?
        fresh: bool,
    },
    /// `STOPPING=1`.
    Stopping,
    /// The main process is known now.
    MainFound,
    /// No process could be told to be the main one.
    MainUnknown,
    /// The bus name was taken.
    NameTaken,
    /// Nobody owns the bus name, or nobody does any more.
    NameLost,
    /// The last process of the control group ended.
    GroupEmpty,
    /// The timer ran out.
    TimedOut,
    /// The service forgot to say that it lives.
    WatchdogExpired,
    /// The kernel killed one of its processes for want of memory.
    OomKilled,
    /// The job of its automatic restart is queued.
    RestartQueued,
    /// It could not be queued.
    RestartRefused,
}

/// Which signal goes to the processes that `KillMode=` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillStep {
    /// `KillSignal=`.
    Terminate,
    /// `WatchdogSignal=`.
    Abort,
    /// `FinalKillSignal=`.
    Kill,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Make the main process from this `ExecStart=`. It is answered by `MainMade` or `MainNotMade`.
    SpawnMain(usize),
    /// Make a control process.
    SpawnControl(ControlKind, usize),
    /// Signal the processes.
    Kill(KillStep),
    /// End the control process only.
    KillControl,
    /// Ask the main process to reload.
    SignalReload,
    /// Ask those to reload that reload with it.
    PropagateReload,
    /// Ask for `TimedOut` after so long.
    ArmTimer(Duration),
    /// Do not.
    DisarmTimer,
    /// From now on the service must say that it lives.
    ArmWatchdog,
    /// It need not any more.
    DisarmWatchdog,
    /// Look for the main process: the PID file, else the one process that the group holds.
    FindMain {
        /// Wait for the PID file until it is there or the group is empty.
        wait: bool,
    },
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
    /// Is a stop of it queued, so that it must not restart?
    pub stop_queued: bool,
    /// Are files kept for it while it is down?
    pub pinned: bool,
    /// Will the message bus tell when its name is taken?
    pub bus_tells: bool,
}

/// Takes one step. `None`: the event means nothing in this state.
pub fn step(machine: Machine, event: Event, view: View<'_>) -> Option<(Machine, Vec<Effect>)> {
    let mut turn = crate::transitions::Turn { machine, view, effects: Vec::new() };
    turn.take(event)?;
    Some((turn.machine, turn.effects))
}

impl State {
    /// Nothing of it runs, and nothing is on its way.
    pub(crate) fn is_down(self) -> bool {
        matches!(
            self,
            State::Dead
                | State::Failed
                | State::DeadBeforeAutoRestart
                | State::FailedBeforeAutoRestart
                | State::DeadResourcesPinned
        )
    }

    /// Its processes are being signalled for the first time.
    pub(crate) fn is_stop_signal(self) -> bool {
        matches!(self, State::StopWatchdog | State::StopSigterm | State::StopSigkill)
    }

    /// Its processes are being signalled for the last time.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, State::FinalWatchdog | State::FinalSigterm | State::FinalSigkill)
    }
}

/// A duration for the timer; without limit none is armed.
pub(crate) fn timer(span: Span) -> Effect {
    span.finite().map_or(Effect::DisarmTimer, Effect::ArmTimer)
}
