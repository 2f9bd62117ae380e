//! `[Service]`: how a service starts, is watched, restarted and stopped. Pure.

use crate::choice::word;
pub use crate::choice::{ExitType, NotifyAccess, OomPolicy, OpenFile, Restart, RestartMode, ServiceType, TimeoutMode};
use crate::command::{self, Command};
use crate::directive::{Apply, Table, Value};
use crate::exec::{Exec, Preserve};
use crate::kill::Kill;
use crate::shared::Shared;
use crate::value::{ExitSet, Parsed, Span, boolean, number, span, wrong};

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
    /// `RootDirectoryStartOnly=`.
    pub root_directory_start_only: bool,
    /// `ExitType=`.
    pub exit_type: ExitType,
    /// `RestartMode=`.
    pub restart_mode: RestartMode,
    /// `RestartSteps=`.
    pub restart_steps: u32,
    /// `RestartMaxDelaySec=`.
    pub restart_max_delay: Span,
    /// `RuntimeRandomizedExtraSec=`.
    pub runtime_random_extra: Span,
    /// `BusName=`.
    pub bus_name: Option<String>,
    /// `OOMPolicy=` after defaults.
    pub oom_policy: OomPolicy,
    /// Was `OOMPolicy=` written?
    pub oom_policy_written: bool,
    /// `FileDescriptorStoreMax=`.
    pub fd_store_max: u32,
    /// `FileDescriptorStorePreserve=`.
    pub fd_store_preserve: Preserve,
    /// `OpenFile=`.
    pub open_files: Vec<OpenFile>,
    /// `USBFunctionDescriptors=`.
    pub usb_descriptors: Option<String>,
    /// `USBFunctionStrings=`.
    pub usb_strings: Option<String>,
    /// Context of the processes.
    pub exec: Shared<Exec>,
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
            root_directory_start_only: false,
            exit_type: ExitType::Main,
            restart_mode: RestartMode::Normal,
            restart_steps: 0,
            restart_max_delay: Span::Infinite,
            runtime_random_extra: Span::seconds(0),
            bus_name: None,
            oom_policy: OomPolicy::Stop,
            oom_policy_written: false,
            fd_store_max: 0,
            fd_store_preserve: Preserve::Restart,
            open_files: Vec::new(),
            usb_descriptors: None,
            usb_strings: None,
            exec: Shared::default(),
            kill: Kill::default(),
        }
    }
}

impl Service {
    /// Takes no more memory than it needs.
    pub(crate) fn shrink(&mut self) {
        let (before, after) = ([&mut self.condition, &mut self.start_pre], [&mut self.start_post, &mut self.reload]);
        let last = [&mut self.start, &mut self.stop, &mut self.stop_post];
        before.into_iter().chain(after).chain(last).for_each(Vec::shrink_to_fit);
    }

    /// `TimeoutStartSec=` with the default of the type.
    pub fn timeout_start(&self) -> Span {
        self.timeout_start_written.unwrap_or(match self.kind {
            ServiceType::Oneshot => Span::Infinite,
            _ => Span::seconds(90),
        })
    }

    /// Its commands by directive, in the order in which they run.
    pub fn commands(&self) -> [(&'static str, &[Command]); 7] {
        [
            ("ExecCondition", &self.condition),
            ("ExecStartPre", &self.start_pre),
            ("ExecStart", &self.start),
            ("ExecStartPost", &self.start_post),
            ("ExecReload", &self.reload),
            ("ExecStop", &self.stop),
            ("ExecStopPost", &self.stop_post),
        ]
    }

    /// Fills in what other settings imply.
    pub(crate) fn complete(&mut self, delegate: bool) {
        if !self.kind_written {
            self.kind = match (&self.bus_name, self.start.is_empty()) {
                (Some(_), _) => ServiceType::Dbus,
                (None, false) => ServiceType::Simple,
                (None, true) => ServiceType::Oneshot,
            };
        }
        let watched = self.watchdog.is_some_and(|s| s != Span::seconds(0));
        let needs_notify = self.kind.notifies() || watched || self.fd_store_max > 0;
        if needs_notify && self.notify_access == NotifyAccess::None {
            self.notify_access = NotifyAccess::Main;
        }
        if !self.oom_policy_written {
            self.oom_policy = if delegate { OomPolicy::Continue } else { OomPolicy::Stop };
        }
        if self.restart_max_delay < self.restart_delay {
            self.restart_delay = self.restart_max_delay;
        }
    }

    /// Why this service cannot run, if it cannot. One that only ends the machine needs no command.
    pub(crate) fn verify(&self, ends_machine: bool) -> Result<(), String> {
        if let Some((directive, _)) = self.commands().iter().find(|(_, list)| list.iter().any(|c| c.words.is_empty())) {
            return Err(format!("service has an empty command line in {directive}=, refusing"));
        }
        if self.start.is_empty() && self.stop.is_empty() && !ends_machine {
            return Err("service has neither ExecStart= nor ExecStop= nor SuccessAction=, refusing".into());
        }
        if self.kind != ServiceType::Oneshot && self.start.is_empty() {
            return Err("service has no ExecStart=, which only Type=oneshot may leave out, refusing".into());
        }
        if !self.remain_after_exit && self.start.is_empty() && !ends_machine {
            return Err("service has no ExecStart= and not RemainAfterExit=yes, refusing".into());
        }
        if self.kind != ServiceType::Oneshot && self.start.len() > 1 {
            return Err("service has more than one ExecStart=, which only Type=oneshot may have, refusing".into());
        }
        if self.kind == ServiceType::Oneshot && matches!(self.restart, Restart::Always | Restart::OnSuccess) {
            return Err(format!("Restart={} goes with no service of Type=oneshot, refusing", self.restart.as_str()));
        }
        if self.kind == ServiceType::Oneshot && self.exit_type == ExitType::Cgroup {
            return Err("ExitType=cgroup goes with no service of Type=oneshot, refusing".into());
        }
        if self.kind == ServiceType::Dbus && self.bus_name.is_none() {
            return Err("service of Type=dbus has no BusName=, refusing".into());
        }
        Ok(())
    }
}

fn unsigned(text: &str) -> Parsed<u32> {
    Ok(u32::try_from(number(text, 0, i64::from(u32::MAX))?).unwrap_or(u32::MAX))
}

fn exit_set(set: &mut ExitSet, value: &Value<'_>) -> Parsed<()> {
    if value.is_empty() {
        *set = ExitSet::default();
        return Ok(());
    }
    set.add(&value.text()?)
}

fn pid_file(service: &mut Service, value: &Value<'_>) -> Parsed<()> {
    let Some(path) = value.optional()? else {
        service.pid_file = None;
        return Ok(());
    };
    let path = if path.starts_with('/') { path } else { format!("/run/{path}") };
    let plain = crate::escape::simplify_path(&path).ok_or_else(|| wrong(&path, "a path without '..'"))?;
    if ["dev", "sys", "proc"].iter().any(|top| plain.split('/').next() == Some(top)) {
        return Err(wrong(&path, "a path outside of /dev, /sys and /proc"));
    }
    let plain = plain.strip_prefix("var/run/").map_or(plain.clone(), |rest| format!("run/{rest}"));
    service.pid_file = Some(format!("/{plain}"));
    Ok(())
}

fn bus_name(service: &mut Service, value: &Value<'_>) -> Parsed<()> {
    let name = value.optional()?;
    if let Some(name) = &name {
        let part = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            !part.is_empty() && part.chars().all(allowed) && !part.starts_with(|c: char| c.is_ascii_digit())
        };
        if name.len() > 255 || !name.contains('.') || !name.split('.').all(part) {
            return Err(wrong(name, "a bus name such as org.example.Name"));
        }
    }
    service.bus_name = name;
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
        service.kind = word(&ServiceType::NAMES, value.raw)?;
        service.kind_written = true;
        Ok(())
    }),
    ("ExecCondition", |service, value| command::assign(&mut service.condition, value)),
    ("ExecStartPre", |service, value| command::assign(&mut service.start_pre, value)),
    ("ExecStart", |service, value| command::assign(&mut service.start, value)),
    ("ExecStartPost", |service, value| command::assign(&mut service.start_post, value)),
    ("ExecReload", |service, value| command::assign(&mut service.reload, value)),
    ("ExecStop", |service, value| command::assign(&mut service.stop, value)),
    ("ExecStopPost", |service, value| command::assign(&mut service.stop_post, value)),
    ("Restart", set!(restart, |t| word(&Restart::NAMES, t))),
    ("RestartMode", set!(restart_mode, |t| word(&RestartMode::NAMES, t))),
    ("RestartSteps", set!(restart_steps, unsigned)),
    ("RestartMaxDelaySec", set!(restart_max_delay, span)),
    ("ExitType", set!(exit_type, |t| word(&ExitType::NAMES, t))),
    ("RestartSec", set!(restart_delay, span)),
    ("TimeoutStartSec", set!(timeout_start_written, |t| timeout(t).map(Some))),
    ("TimeoutStopSec", set!(timeout_stop, timeout)),
    ("TimeoutAbortSec", set!(timeout_abort, |t: &str| if t.is_empty() { Ok(None) } else { span(t).map(Some) })),
    ("TimeoutSec", |service, value| {
        let both = timeout(value.raw)?;
        service.timeout_start_written = Some(both);
        service.timeout_stop = both;
        Ok(())
    }),
    ("TimeoutStartFailureMode", set!(timeout_start_mode, |t| word(&TimeoutMode::NAMES, t))),
    ("TimeoutStopFailureMode", set!(timeout_stop_mode, |t| word(&TimeoutMode::NAMES, t))),
    ("RuntimeMaxSec", set!(runtime_max, span)),
    ("WatchdogSec", set!(watchdog, |t| span(t).map(|s| Some(s).filter(|s| *s != Span::seconds(0))))),
    ("RemainAfterExit", set!(remain_after_exit, boolean)),
    ("GuessMainPID", set!(guess_main_pid, boolean)),
    ("PIDFile", pid_file),
    ("SuccessExitStatus", |service, value| exit_set(&mut service.success_status, value)),
    ("RestartPreventExitStatus", |service, value| exit_set(&mut service.restart_prevent, value)),
    ("RestartForceExitStatus", |service, value| exit_set(&mut service.restart_force, value)),
    ("NotifyAccess", set!(notify_access, |t| word(&NotifyAccess::NAMES, t))),
    ("RuntimeRandomizedExtraSec", set!(runtime_random_extra, span)),
    ("RootDirectoryStartOnly", set!(root_directory_start_only, boolean)),
    ("BusName", |service, value| bus_name(service, value)),
    ("BusPolicy", |_, _| Ok(())),
    ("OOMPolicy", |service, value| {
        service.oom_policy = word(&OomPolicy::NAMES, value.raw)?;
        service.oom_policy_written = true;
        Ok(())
    }),
    ("FileDescriptorStoreMax", set!(fd_store_max, unsigned)),
    ("FileDescriptorStorePreserve", |service, value| {
        service.fd_store_preserve = Preserve::parse(value.raw)?;
        Ok(())
    }),
    ("OpenFile", |service, value| {
        match value.optional()? {
            Some(text) => service.open_files.push(OpenFile::parse(&text)?),
            None => service.open_files.clear(),
        }
        Ok(())
    }),
    ("USBFunctionDescriptors", |service, value| value.path().map(|path| service.usb_descriptors = path)),
    ("USBFunctionStrings", |service, value| value.path().map(|path| service.usb_strings = path)),
    ("PermissionsStartOnly", set!(permissions_start_only, boolean)),
    ("ReloadSignal", set!(reload_signal, crate::value::signal)),
    ("SysVStartPriority", |_, value| number(value.raw, 0, i64::MAX).map(|_| ())),
];
