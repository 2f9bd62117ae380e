//! `[Service]`: how a service starts, is watched, restarted and stopped. Pure.

use crate::command::{Command, parse};
use crate::directive::{Apply, Table, Value};
use crate::exec::Exec;
use crate::kill::Kill;
use crate::value::{ExitSet, Parsed, Span, boolean, number, span, wrong};

/// `Type=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceType {
    /// Started once the process exists.
    #[default]
    Simple,
    /// Started once the program was executed.
    Exec,
    /// Started once the first process ended and left a daemon.
    Forking,
    /// Started once the process ended.
    Oneshot,
    /// Started once the process says so.
    Notify,
    /// The same, and reloads by a signal.
    NotifyReload,
    /// As simple, after the rush of the boot.
    Idle,
    /// Started once a bus name is taken.
    Dbus,
}

impl ServiceType {
    const NAMES: [(&'static str, ServiceType); 8] = [
        ("simple", ServiceType::Simple),
        ("exec", ServiceType::Exec),
        ("forking", ServiceType::Forking),
        ("oneshot", ServiceType::Oneshot),
        ("notify", ServiceType::Notify),
        ("notify-reload", ServiceType::NotifyReload),
        ("idle", ServiceType::Idle),
        ("dbus", ServiceType::Dbus),
    ];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// Does the service tell by sd_notify that it is ready?
    pub fn notifies(self) -> bool {
        matches!(self, ServiceType::Notify | ServiceType::NotifyReload)
    }
}

/// `Restart=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// After a clean end.
    OnSuccess,
    /// After any unclean end.
    OnFailure,
    /// After a signal, a time-out or the watchdog.
    OnAbnormal,
    /// After the watchdog.
    OnWatchdog,
    /// After a signal.
    OnAbort,
    /// Always.
    Always,
}

impl Restart {
    const NAMES: [(&'static str, Restart); 7] = [
        ("no", Restart::No),
        ("on-success", Restart::OnSuccess),
        ("on-failure", Restart::OnFailure),
        ("on-abnormal", Restart::OnAbnormal),
        ("on-watchdog", Restart::OnWatchdog),
        ("on-abort", Restart::OnAbort),
        ("always", Restart::Always),
    ];

    /// The word in the unit file.
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// Whose datagrams on the notify socket count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyAccess {
    /// Nobody's.
    #[default]
    None,
    /// The main process's.
    Main,
    /// Main and control processes'.
    Exec,
    /// Every process of the control group.
    All,
}

/// What happens to a service whose start or stop takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeoutMode {
    /// `KillSignal=`.
    #[default]
    Terminate,
    /// `SIGABRT`.
    Abort,
    /// `SIGKILL`.
    Kill,
}

/// The settings of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `Type=`, after defaults.
    pub kind: ServiceType,
    /// Was `Type=` written?
    pub kind_written: bool,
    /// `ExecCondition=`.
    pub condition: Vec<Command>,
    /// `ExecStartPre=`.
    pub start_pre: Vec<Command>,
    /// `ExecStart=`.
    pub start: Vec<Command>,
    /// `ExecStartPost=`.
    pub start_post: Vec<Command>,
    /// `ExecReload=`.
    pub reload: Vec<Command>,
    /// `ExecStop=`.
    pub stop: Vec<Command>,
    /// `ExecStopPost=`.
    pub stop_post: Vec<Command>,
    /// `Restart=`.
    pub restart: Restart,
    /// `RestartSec=`.
    pub restart_delay: Span,
    /// `TimeoutStartSec=`; `None`: the default of the type.
    pub timeout_start_written: Option<Span>,
    /// `TimeoutStopSec=`.
    pub timeout_stop: Span,
    /// `TimeoutAbortSec=`.
    pub timeout_abort: Option<Span>,
    /// `TimeoutStartFailureMode=`.
    pub timeout_start_mode: TimeoutMode,
    /// `TimeoutStopFailureMode=`.
    pub timeout_stop_mode: TimeoutMode,
    /// `RuntimeMaxSec=`.
    pub runtime_max: Span,
    /// `WatchdogSec=`.
    pub watchdog: Option<Span>,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// `GuessMainPID=`.
    pub guess_main_pid: bool,
    /// `PIDFile=`.
    pub pid_file: Option<String>,
    /// `SuccessExitStatus=`.
    pub success_status: ExitSet,
    /// `RestartPreventExitStatus=`.
    pub restart_prevent: ExitSet,
    /// `RestartForceExitStatus=`.
    pub restart_force: ExitSet,
    /// `NotifyAccess=` after defaults.
    pub notify_access: NotifyAccess,
    /// `PermissionsStartOnly=`: only `ExecStart=` takes the user.
    pub permissions_start_only: bool,
    /// `ReloadSignal=`.
    pub reload_signal: i32,
    /// Context of the processes.
    pub exec: Exec,
    /// How they are stopped.
    pub kill: Kill,
}

impl Default for Service {
    fn default() -> Self {
        Service {
            kind: ServiceType::Simple,
            kind_written: false,
            condition: Vec::new(),
            start_pre: Vec::new(),
            start: Vec::new(),
            start_post: Vec::new(),
            reload: Vec::new(),
            stop: Vec::new(),
            stop_post: Vec::new(),
            restart: Restart::No,
            restart_delay: Span::Finite(std::time::Duration::from_millis(100)),
            timeout_start_written: None,
            timeout_stop: Span::seconds(90),
            timeout_abort: None,
            timeout_start_mode: TimeoutMode::Terminate,
            timeout_stop_mode: TimeoutMode::Terminate,
            runtime_max: Span::Infinite,
            watchdog: None,
            remain_after_exit: false,
            guess_main_pid: true,
            pid_file: None,
            success_status: ExitSet::default(),
            restart_prevent: ExitSet::default(),
            restart_force: ExitSet::default(),
            notify_access: NotifyAccess::None,
            permissions_start_only: false,
            reload_signal: 1,
            exec: Exec::default(),
            kill: Kill::default(),
        }
    }
}

impl Service {
    /// `TimeoutStartSec=` with the default of the type.
    pub fn timeout_start(&self) -> Span {
        self.timeout_start_written.unwrap_or(match self.kind {
            ServiceType::Oneshot => Span::Infinite,
            _ => Span::seconds(90),
        })
    }

    /// Fills in what other settings imply.
    pub(crate) fn complete(&mut self) {
        if !self.kind_written {
            let oneshot = self.start.is_empty() && !self.stop.is_empty();
            self.kind = if oneshot { ServiceType::Oneshot } else { ServiceType::Simple };
        }
        let needs_notify = self.kind.notifies() || self.watchdog.is_some_and(|s| s != Span::seconds(0));
        if needs_notify && self.notify_access == NotifyAccess::None {
            self.notify_access = NotifyAccess::Main;
        }
    }

    /// Why this service cannot run, if it cannot.
    pub(crate) fn verify(&self) -> Result<(), String> {
        if self.start.is_empty() && self.stop.is_empty() {
            return Err("service has neither ExecStart= nor ExecStop=, refusing".into());
        }
        if self.kind != ServiceType::Oneshot && self.start.is_empty() {
            return Err("service has no ExecStart=, which only Type=oneshot may leave out, refusing".into());
        }
        if !self.remain_after_exit && self.start.is_empty() {
            return Err("service has no ExecStart= and not RemainAfterExit=yes, refusing".into());
        }
        if self.kind != ServiceType::Oneshot && self.start.len() > 1 {
            return Err("service has more than one ExecStart=, which only Type=oneshot may have, refusing".into());
        }
        if self.kind == ServiceType::Oneshot && matches!(self.restart, Restart::Always | Restart::OnSuccess) {
            return Err(format!("Restart={} goes with no service of Type=oneshot, refusing", self.restart.as_str()));
        }
        if self.kind == ServiceType::Dbus {
            return Err("Type=dbus needs a message bus, which this version does not have, refusing".into());
        }
        Ok(())
    }
}

fn commands(list: &mut Vec<Command>, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        list.clear();
        return Ok(());
    }
    list.extend(parse(value.raw, value.specifiers)?);
    Ok(())
}

fn timeout_mode(text: &str) -> Parsed<TimeoutMode> {
    match text {
        "terminate" => Ok(TimeoutMode::Terminate),
        "abort" => Ok(TimeoutMode::Abort),
        "kill" => Ok(TimeoutMode::Kill),
        other => Err(wrong(other, "terminate, abort or kill")),
    }
}

fn exit_set(set: &mut ExitSet, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        *set = ExitSet::default();
        return Ok(());
    }
    set.add(&value.text()?)
}

fn pid_file(service: &mut Service, value: &Value<'_>) -> Parsed<()> {
    service.pid_file = value.optional()?.map(|path| if path.starts_with('/') { path } else { format!("/run/{path}") });
    if let Some(path) = &mut service.pid_file
        && let Some(rest) = path.strip_prefix("/var/run/")
    {
        *path = format!("/run/{rest}");
    }
    Ok(())
}

macro_rules! set {
    ($field:ident, $read:expr) => {{
        let apply: Apply<Service> = |service, value| {
            service.$field = $read(value.raw)?;
            Ok(())
        };
        apply
    }};
}

fn timeout(text: &str) -> Parsed<Span> {
    span(text).map(Span::zero_is_infinite)
}

pub(crate) const TABLE: Table<Service> = &[
    ("Type", |service, value| {
        let found = ServiceType::NAMES.iter().find(|(name, _)| *name == value.raw);
        service.kind = found.map(|(_, kind)| *kind).ok_or_else(|| wrong(value.raw, "a type of service"))?;
        service.kind_written = true;
        Ok(())
    }),
    ("ExecCondition", |service, value| commands(&mut service.condition, value)),
    ("ExecStartPre", |service, value| commands(&mut service.start_pre, value)),
    ("ExecStart", |service, value| commands(&mut service.start, value)),
    ("ExecStartPost", |service, value| commands(&mut service.start_post, value)),
    ("ExecReload", |service, value| commands(&mut service.reload, value)),
    ("ExecStop", |service, value| commands(&mut service.stop, value)),
    ("ExecStopPost", |service, value| commands(&mut service.stop_post, value)),
    ("Restart", |service, value| {
        let found = Restart::NAMES.iter().find(|(name, _)| *name == value.raw);
        service.restart = found.map(|(_, restart)| *restart).ok_or_else(|| wrong(value.raw, "a Restart= setting"))?;
        Ok(())
    }),
    ("RestartSec", set!(restart_delay, span)),
    ("TimeoutStartSec", set!(timeout_start_written, |t| timeout(t).map(Some))),
    ("TimeoutStopSec", set!(timeout_stop, timeout)),
    ("TimeoutAbortSec", set!(timeout_abort, |t| timeout(t).map(Some))),
    ("TimeoutSec", |service, value| {
        let both = timeout(value.raw)?;
        service.timeout_start_written = Some(both);
        service.timeout_stop = both;
        Ok(())
    }),
    ("TimeoutStartFailureMode", set!(timeout_start_mode, timeout_mode)),
    ("TimeoutStopFailureMode", set!(timeout_stop_mode, timeout_mode)),
    ("RuntimeMaxSec", set!(runtime_max, timeout)),
    ("WatchdogSec", set!(watchdog, |t| span(t).map(|s| Some(s).filter(|s| *s != Span::seconds(0))))),
    ("RemainAfterExit", set!(remain_after_exit, boolean)),
    ("GuessMainPID", set!(guess_main_pid, boolean)),
    ("PIDFile", pid_file),
    ("SuccessExitStatus", |service, value| exit_set(&mut service.success_status, value)),
    ("RestartPreventExitStatus", |service, value| exit_set(&mut service.restart_prevent, value)),
    ("RestartForceExitStatus", |service, value| exit_set(&mut service.restart_force, value)),
    ("NotifyAccess", |service, value| {
        service.notify_access = match value.raw {
            "none" => NotifyAccess::None,
            "main" => NotifyAccess::Main,
            "exec" => NotifyAccess::Exec,
            "all" => NotifyAccess::All,
            other => return Err(wrong(other, "none, main, exec or all")),
        };
        Ok(())
    }),
    ("PermissionsStartOnly", set!(permissions_start_only, boolean)),
    ("ReloadSignal", set!(reload_signal, crate::value::signal)),
    ("SysVStartPriority", |_, value| number(value.raw, 0, i64::MAX).map(|_| ())),
];
