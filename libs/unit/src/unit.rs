//! A typed unit. Pure: made from the entries of its files (`section`).

use crate::action::{CollectMode, EmergencyAction, JobMode};
use crate::automount::Automount;
use crate::condition::{Condition, Strength};
pub use crate::dependency::Dependency;
use crate::dependency::Origin;
use crate::exec::Exec;
use crate::file::Problem;
use crate::install::Install;
use crate::kill::Kill;
use crate::mount::Mount;
use crate::name::{UnitKind, UnitName};
use crate::path::PathUnit;
use crate::resources::Resources;
use crate::scope::Scope;
use crate::service::Service;
use crate::shared::Shared;
use crate::slice::Slice;
use crate::socket::Socket;
use crate::swap::Swap;
use crate::timer::Timer;
use crate::value::Span;

/// Units that one unit may name.
pub const DEPENDENCIES_MAX: usize = 4096;

/// What became of loading a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadState {
    /// It can be started.
    Loaded,
    /// There is no file.
    NotFound,
    /// Its settings contradict each other.
    BadSetting(String),
    /// Its files cannot be read.
    Error(String),
    /// Its file is empty or leads to /dev/null.
    Masked,
}

impl LoadState {
    /// The word that systemctl prints.
    pub fn as_str(&self) -> &'static str {
        match self {
            LoadState::Loaded => "loaded",
            LoadState::NotFound => "not-found",
            LoadState::BadSetting(_) => "bad-setting",
            LoadState::Error(_) => "error",
            LoadState::Masked => "masked",
        }
    }
}

/// How much a unit needs the mounts of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountNeed {
    /// It cannot start without them.
    Requires,
    /// They are started along.
    Wants,
}

/// A directive that this version does not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name.
    pub directive: String,
    /// Where it stands.
    pub path: std::rc::Rc<str>,
    /// The line.
    pub line: u32,
    /// Does leaving it out give the process more rights than its author wanted?
    pub sandbox: bool,
}

/// The part of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Config {
    /// A service.
    Service(Box<Service>),
    /// A mount.
    Mount(Box<Mount>),
    /// A target.
    Target,
    /// A slice.
    Slice(Box<Slice>),
    /// A socket.
    Socket(Box<Socket>),
    /// A timer.
    Timer(Box<Timer>),
    /// A watched path.
    Path(Box<PathUnit>),
    /// Swap space.
    Swap(Box<Swap>),
    /// A mount made on access.
    Automount(Box<Automount>),
    /// Processes that somebody else started.
    Scope(Box<Scope>),
    /// A device, which has no settings.
    Device,
}

/// A loaded unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// Other names.
    pub aliases: Vec<UnitName>,
    /// What became of loading it.
    pub load: LoadState,
    /// Is it there as long as the machine runs?
    pub perpetual: bool,
    /// Its file.
    pub fragment: Option<String>,
    /// Its drop-ins in the order they were read.
    pub drop_ins: Vec<String>,
    /// `Description=`.
    pub description: Option<String>,
    /// `Documentation=`.
    pub documentation: Vec<String>,
    /// Relations in the order they were made, each once for each origin.
    pub dependencies: Vec<(Dependency, UnitName, Origin)>,
    /// Paths whose mounts it needs: `RequiresMountsFor=`, `WantsMountsFor=` and what other settings imply; canonical.
    pub mounts_for: Vec<(MountNeed, String, Origin)>,
    /// Conditions and assertions.
    pub conditions: Vec<Condition>,
    /// `DefaultDependencies=`.
    pub default_dependencies: bool,
    /// `StopWhenUnneeded=`.
    pub stop_when_unneeded: bool,
    /// `RefuseManualStart=`.
    pub refuse_manual_start: bool,
    /// `RefuseManualStop=`.
    pub refuse_manual_stop: bool,
    /// `AllowIsolate=`.
    pub allow_isolate: bool,
    /// `IgnoreOnIsolate=`.
    pub ignore_on_isolate: bool,
    /// `JobTimeoutSec=`.
    pub job_timeout: Span,
    /// `StartLimitIntervalSec=`.
    pub start_limit_interval: Span,
    /// `StartLimitBurst=`.
    pub start_limit_burst: u32,
    /// `StartLimitAction=`.
    pub start_limit_action: EmergencyAction,
    /// `FailureAction=`.
    pub failure_action: EmergencyAction,
    /// `SuccessAction=`.
    pub success_action: EmergencyAction,
    /// `FailureActionExitStatus=`.
    pub failure_action_exit_status: Option<u8>,
    /// `SuccessActionExitStatus=`.
    pub success_action_exit_status: Option<u8>,
    /// `JobRunningTimeoutSec=`.
    pub job_running_timeout: Option<Span>,
    /// `JobTimeoutAction=`.
    pub job_timeout_action: EmergencyAction,
    /// `JobTimeoutRebootArgument=`.
    pub job_timeout_reboot_argument: Option<String>,
    /// `RebootArgument=`.
    pub reboot_argument: Option<String>,
    /// `OnSuccessJobMode=`.
    pub on_success_job_mode: JobMode,
    /// `OnFailureJobMode=`.
    pub on_failure_job_mode: JobMode,
    /// `CollectMode=`.
    pub collect_mode: CollectMode,
    /// `SourcePath=`.
    pub source_path: Option<String>,
    /// `SurviveFinalKillSignal=`.
    pub survive_final_kill_signal: bool,
    /// `[Install]`.
    pub install: Install,
    /// What its control group may use.
    pub resources: Shared<Resources>,
    /// The part of its kind.
    pub config: Config,
    /// File and line of the last `BusName=`.
    pub bus_name_at: Option<(std::rc::Rc<str>, u32)>,
    /// Directives that this version does not carry out.
    pub unsupported: Vec<Unsupported>,
    /// Faults of its files.
    pub problems: Vec<Problem>,
}

impl Unit {
    /// A unit without any file.
    pub fn new(name: UnitName) -> Unit {
        let config = match name.kind() {
            UnitKind::Service => Config::Service(Box::default()),
            UnitKind::Mount => Config::Mount(Box::default()),
            UnitKind::Target => Config::Target,
            UnitKind::Slice => Config::Slice(Box::default()),
            UnitKind::Socket => Config::Socket(Box::default()),
            UnitKind::Timer => Config::Timer(Box::default()),
            UnitKind::Path => Config::Path(Box::default()),
            UnitKind::Swap => Config::Swap(Box::default()),
            UnitKind::Automount => Config::Automount(Box::default()),
            UnitKind::Scope => Config::Scope(Box::default()),
            UnitKind::Device => Config::Device,
        };
        Unit {
            ignore_on_isolate: !matches!(
                name.kind(),
                UnitKind::Service | UnitKind::Socket | UnitKind::Target | UnitKind::Timer | UnitKind::Path
            ),
            name,
            aliases: Vec::new(),
            load: LoadState::NotFound,
            perpetual: false,
            fragment: None,
            drop_ins: Vec::new(),
            description: None,
            documentation: Vec::new(),
            dependencies: Vec::new(),
            mounts_for: Vec::new(),
            conditions: Vec::new(),
            default_dependencies: true,
            stop_when_unneeded: false,
            refuse_manual_start: false,
            refuse_manual_stop: false,
            allow_isolate: false,
            job_timeout: Span::Infinite,
            start_limit_interval: Span::seconds(10),
            start_limit_burst: 5,
            start_limit_action: EmergencyAction::None,
            failure_action: EmergencyAction::None,
            success_action: EmergencyAction::None,
            failure_action_exit_status: None,
            success_action_exit_status: None,
            job_running_timeout: None,
            job_timeout_action: EmergencyAction::None,
            job_timeout_reboot_argument: None,
            reboot_argument: None,
            on_success_job_mode: JobMode::Fail,
            on_failure_job_mode: JobMode::Replace,
            collect_mode: CollectMode::Inactive,
            source_path: None,
            survive_final_kill_signal: false,
            install: Install::default(),
            resources: Shared::default(),
            config,
            bus_name_at: None,
            unsupported: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Once everything is said: takes no more memory than that needs.
    pub fn settle(&mut self) {
        self.dependencies.shrink_to_fit();
        self.install.shrink();
        self.resources.settle();
        match &mut self.config {
            Config::Service(service) => {
                service.shrink();
                service.exec.settle_all();
            }
            Config::Socket(socket) => socket.exec.settle_all(),
            Config::Mount(mount) => mount.exec.settle_all(),
            Config::Swap(swap) => swap.exec.settle_all(),
            Config::Automount(_)
            | Config::Timer(_)
            | Config::Path(_)
            | Config::Slice(_)
            | Config::Scope(_)
            | Config::Target
            | Config::Device => {}
        }
    }

    /// `Description=`, or the name.
    pub fn description(&self) -> &str {
        self.description.as_deref().unwrap_or(self.name.as_str())
    }

    /// The context of its processes, if it has any.
    pub fn exec(&self) -> Option<&Exec> {
        match &self.config {
            Config::Service(service) => Some(&service.exec),
            Config::Mount(mount) => Some(&mount.exec),
            Config::Socket(socket) => Some(&socket.exec),
            Config::Swap(swap) => Some(&swap.exec),
            Config::Target
            | Config::Slice(_)
            | Config::Timer(_)
            | Config::Path(_)
            | Config::Automount(_)
            | Config::Scope(_)
            | Config::Device => None,
        }
    }

    /// How its processes are stopped, if it has any.
    pub fn kill(&self) -> Option<&Kill> {
        match &self.config {
            Config::Service(service) => Some(&service.kill),
            Config::Mount(mount) => Some(&mount.kill),
            Config::Socket(socket) => Some(&socket.kill),
            Config::Swap(swap) => Some(&swap.kill),
            Config::Scope(scope) => Some(&scope.kill),
            Config::Target
            | Config::Slice(_)
            | Config::Timer(_)
            | Config::Path(_)
            | Config::Automount(_)
            | Config::Device => None,
        }
    }

    /// The service part.
    pub fn service(&self) -> Option<&Service> {
        match &self.config {
            Config::Service(service) => Some(service),
            _ => None,
        }
    }

    /// The mount part.
    pub fn mount(&self) -> Option<&Mount> {
        match &self.config {
            Config::Mount(mount) => Some(mount),
            _ => None,
        }
    }

    /// The unit that this one starts when something happens.
    pub fn activates(&self) -> Option<UnitName> {
        match &self.config {
            Config::Socket(socket) => socket.activates(&self.name),
            Config::Timer(timer) => timer.activates(&self.name),
            Config::Path(path) => path.activates(&self.name),
            Config::Automount(automount) => automount.activates(&self.name),
            Config::Service(_)
            | Config::Mount(_)
            | Config::Target
            | Config::Slice(_)
            | Config::Swap(_)
            | Config::Scope(_)
            | Config::Device => None,
        }
    }

    /// Is there such a relation?
    pub fn has(&self, dependency: Dependency, other: &str) -> bool {
        self.dependencies.iter().any(|(kind, name, _)| *kind == dependency && name.as_str() == other)
    }

    /// Adds a relation once for each origin; a unit has none to itself.
    pub fn add(&mut self, dependency: Dependency, other: UnitName, origin: Origin) {
        let entry = (dependency, other, origin);
        if entry.1 != self.name && self.dependencies.len() < DEPENDENCIES_MAX && !self.dependencies.contains(&entry) {
            self.dependencies.push(entry);
        }
    }

    /// Notes a path that the unit needs, once; `false` when it is no plain absolute path.
    pub(crate) fn need_mounts(&mut self, need: MountNeed, path: &str, origin: Origin) -> bool {
        let Some(plain) = crate::escape::simplify_path(path).filter(|_| path.starts_with('/')) else { return false };
        let plain = format!("/{plain}");
        let known = self.mounts_for.iter().any(|(have, place, _)| *have == need && *place == plain);
        if !known && self.mounts_for.len() < DEPENDENCIES_MAX {
            self.mounts_for.push((need, plain, origin));
        }
        true
    }

    /// The slice it belongs to; none for kinds without a control group.
    pub fn slice(&self) -> Option<UnitName> {
        let written = self.resources.slice.as_deref().and_then(|s| UnitName::parse(s).ok());
        let default = match (self.name.kind(), self.name.instance()) {
            (UnitKind::Slice, _) => return crate::defaults::parent_slice(&self.name),
            (UnitKind::Target | UnitKind::Device | UnitKind::Automount | UnitKind::Timer | UnitKind::Path, _) => {
                return None;
            }
            (_, Some(_)) => format!("system-{}.slice", crate::escape::escape(self.name.prefix())),
            _ if self.perpetual || self.mount().is_some_and(Mount::is_extrinsic) => "-.slice".into(),
            _ => "system.slice".into(),
        };
        written.or_else(|| UnitName::parse(&default).ok())
    }
}

/// Do the conditions of this strength exist at all?
pub fn has_conditions(unit: &Unit, strength: Strength) -> bool {
    unit.conditions.iter().any(|c| c.strength == strength)
}
