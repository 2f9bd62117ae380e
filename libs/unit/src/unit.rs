//! A typed unit and the `[Unit]` section. Pure: made from the entries of its files.

use crate::action::{CollectMode, EmergencyAction, JobMode};
use crate::automount::{self, Automount};
use crate::condition::{Condition, Strength, subject};
pub use crate::dependency::Dependency;
use crate::dependency::Origin;
use crate::directive::{self, Known, Table, Value};
use crate::exec::Exec;
use crate::file::{Entry, Problem};
use crate::install::{self, Install};
use crate::kill::Kill;
use crate::mount::{self, Mount};
use crate::name::{UnitKind, UnitName};
use crate::path::{self, PathUnit};
use crate::resources::Resources;
use crate::scope::{self, Scope};
use crate::service::{self, Service};
use crate::slice::Slice;
use crate::socket::Socket;
use crate::specifier::{Host, Specifiers};
use crate::swap::{self, Swap};
use crate::timer::{self, Timer};
use crate::value::{Parsed, Span, boolean, number, span, wrong};
use crate::{exec, kill, resources_table};

/// Units that one unit may name.
pub const DEPENDENCIES_MAX: usize = 4096;
/// Directives named at most that this version does not carry out.
const UNSUPPORTED_MAX: usize = 512;

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
    pub resources: Resources,
    /// The part of its kind.
    pub config: Config,
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
            ignore_on_isolate: matches!(name.kind(), UnitKind::Slice | UnitKind::Device | UnitKind::Scope),
            name,
            aliases: Vec::new(),
            load: LoadState::NotFound,
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
            resources: Resources::default(),
            config,
            unsupported: Vec::new(),
            problems: Vec::new(),
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

    /// The slice it belongs to.
    pub fn slice(&self) -> Option<UnitName> {
        let written = self.resources.slice.as_deref().and_then(|s| UnitName::parse(s).ok());
        let default = match (self.name.kind(), self.name.at()) {
            (UnitKind::Service, Some(_)) => {
                format!("system-{}.slice", crate::escape::escape(self.name.prefix()))
            }
            (UnitKind::Service | UnitKind::Socket | UnitKind::Mount | UnitKind::Swap | UnitKind::Scope, _) => {
                "system.slice".into()
            }
            _ => return written,
        };
        written.or_else(|| UnitName::parse(&default).ok())
    }

    /// Takes one entry of a file.
    pub(crate) fn apply(&mut self, entry: &Entry, host: &Host) {
        let name = self.name.clone();
        let fragment = self.fragment.clone();
        let specifiers = Specifiers { unit: &name, host, fragment: fragment.as_deref() };
        let value = Value { raw: &entry.value, specifiers: &specifiers };
        let outcome = match entry.section.as_ref() {
            "Unit" => self.apply_unit(&entry.key, &value),
            "Install" => directive::find(install::TABLE, &entry.key).map(|apply| apply(&mut self.install, &value)),
            "Service" => self.apply_service(&entry.key, &value),
            "Mount" => self.apply_mount(&entry.key, &value),
            "Slice" | "Socket" | "Timer" | "Path" | "Swap" | "Automount" | "Scope" => {
                self.apply_kind(&entry.section, &entry.key, &value)
            }
            section if section.starts_with("X-") => return,
            section => {
                self.fault(entry, format!("unknown section [{section}], ignoring {}=", entry.key));
                return;
            }
        };
        match outcome.or_else(|| self.apply_resources(entry, &value)) {
            Some(Ok(())) => self.without_effect(entry),
            Some(Err(error)) => self.fault(entry, format!("{}=: {error}, ignoring it", entry.key)),
            None => self.unknown(entry),
        }
    }

    /// Takes a setting of the control group.
    fn apply_resources(&mut self, entry: &Entry, value: &Value<'_>) -> Option<Parsed<()>> {
        if !matches!(entry.section.as_ref(), "Service" | "Socket" | "Mount" | "Swap" | "Slice" | "Scope") {
            return None;
        }
        directive::find(resources_table::TABLE, &entry.key).map(|apply| apply(&mut self.resources, value))
    }

    fn apply_unit(&mut self, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
        if let Some(dependency) = Dependency::of_directive(key) {
            return Some(self.depend(dependency, value));
        }
        if let Some((strength, subject)) = subject(key) {
            if value.is_empty() {
                // As in systemd, an empty condition of any kind clears all of its strength.
                self.conditions.retain(|c| c.strength != strength);
                return Some(Ok(()));
            }
            return Some(value.text().and_then(|text| Condition::parse(strength, subject, &text)).map(|condition| {
                self.conditions.push(condition);
            }));
        }
        match key {
            "ConditionNull" | "AssertNull" => Some(Ok(())),
            _ => directive::find(TABLE, key).map(|apply| apply(self, value)),
        }
    }

    fn depend(&mut self, dependency: Dependency, value: &Value<'_>) -> Parsed<()> {
        // The empty assignment does not reset dependencies.
        let mut fault = Ok(());
        for word in value.words()? {
            match UnitName::parse(&word) {
                Ok(other) if other.is_template() => match self.name.instance().map(|i| other.with_instance(i)) {
                    Some(Ok(other)) => self.add(dependency, other, Origin::File),
                    _ => fault = Err(wrong(&word, "a unit (it is a template)")),
                },
                Ok(other) => self.add(dependency, other, Origin::File),
                Err(error) => fault = Err(crate::value::ValueError(error.to_string())),
            }
        }
        fault
    }

    fn apply_service(&mut self, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
        // Before version 230 these stood in [Service]; packages still write them there.
        if matches!(key, "StartLimitInterval" | "StartLimitBurst" | "StartLimitAction" | "FailureAction") {
            return directive::find(TABLE, key).map(|apply| apply(self, value));
        }
        let Config::Service(service) = &mut self.config else { return None };
        if let Some(apply) = directive::find(service::TABLE, key) {
            return Some(apply(service, value));
        }
        if let Some(apply) = directive::find(exec::TABLE, key) {
            return Some(apply(&mut service.exec, value));
        }
        directive::find(kill::TABLE, key).map(|apply| apply(&mut service.kill, value))
    }

    fn apply_mount(&mut self, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
        let Config::Mount(mount) = &mut self.config else { return None };
        if let Some(apply) = directive::find(mount::TABLE, key) {
            return Some(apply(mount, value));
        }
        if let Some(apply) = directive::find(exec::TABLE, key) {
            return Some(apply(&mut mount.exec, value));
        }
        directive::find(kill::TABLE, key).map(|apply| apply(&mut mount.kill, value))
    }

    /// The sections of the kinds beside service and mount; a section that is not the unit's own is not for it.
    fn apply_kind(&mut self, section: &str, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
        let (exec, kill) = match (&mut self.config, section) {
            (Config::Socket(socket), "Socket") => {
                if let Some(apply) = directive::find(crate::socket_table::TABLE, key) {
                    return Some(apply(socket, value));
                }
                (Some(&mut socket.exec), Some(&mut socket.kill))
            }
            (Config::Swap(swap), "Swap") => {
                if let Some(apply) = directive::find(swap::TABLE, key) {
                    return Some(apply(swap, value));
                }
                (Some(&mut swap.exec), Some(&mut swap.kill))
            }
            (Config::Scope(scope), "Scope") => {
                if let Some(apply) = directive::find(scope::TABLE, key) {
                    return Some(apply(scope, value));
                }
                (None, Some(&mut scope.kill))
            }
            (Config::Slice(slice), "Slice") => {
                return (key == "Slice").then(|| value.optional().map(|written| slice.slice = written));
            }
            (Config::Timer(timer), "Timer") => return directive::find(timer::TABLE, key).map(|f| f(timer, value)),
            (Config::Path(path), "Path") => return directive::find(path::TABLE, key).map(|f| f(path, value)),
            (Config::Automount(automount), "Automount") => {
                return directive::find(automount::TABLE, key).map(|f| f(automount, value));
            }
            _ => return None,
        };
        if let (Some(exec), Some(apply)) = (exec, directive::find(exec::TABLE, key)) {
            return Some(apply(exec, value));
        }
        let (kill, apply) = (kill?, directive::find(kill::TABLE, key)?);
        Some(apply(kill, value))
    }

    fn fault(&mut self, entry: &Entry, message: String) {
        if self.problems.len() >= crate::file::PROBLEMS_MAX {
            return;
        }
        self.problems.push(Problem { path: entry.path.clone(), line: entry.line, message });
    }

    fn unknown(&mut self, entry: &Entry) {
        if entry.key.starts_with("X-") {
            return;
        }
        if directive::known(&entry.key) == Known::Unknown {
            self.fault(entry, format!("unknown key {}= in section [{}], ignoring it", entry.key, entry.section));
            return;
        }
        self.without_effect(entry);
    }

    /// Notes a directive that this version does not carry out.
    fn without_effect(&mut self, entry: &Entry) {
        let sandbox = match directive::known(&entry.key) {
            Known::Sandbox => true,
            Known::Other => false,
            Known::Unknown => return,
        };
        if entry.value.is_empty() || (sandbox && boolean(&entry.value) == Ok(false)) {
            return;
        }
        if self.unsupported.len() < UNSUPPORTED_MAX && !self.unsupported.iter().any(|u| u.directive == entry.key) {
            let (path, line) = (entry.path.clone(), entry.line);
            self.unsupported.push(Unsupported { directive: entry.key.clone(), path, line, sandbox });
        }
    }
}

fn exit_status(value: &Value<'_>) -> Parsed<Option<u8>> {
    if value.is_empty() {
        return Ok(None);
    }
    Ok(u8::try_from(number(value.raw, 0, 255)?).ok())
}

fn paths(unit: &mut Unit, need: MountNeed, value: &Value<'_>) -> Parsed<()> {
    let mut fault = Ok(());
    for path in value.words()? {
        if !unit.need_mounts(need, &path, Origin::File) {
            fault = Err(wrong(&path, "an absolute path without '..'"));
        }
    }
    fault
}

const TABLE: Table<Unit> = &[
    ("Description", |unit, value| value.optional().map(|text| unit.description = text)),
    ("Documentation", |unit, value| value.extend(&mut unit.documentation)),
    ("RequiresMountsFor", |unit, value| paths(unit, MountNeed::Requires, value)),
    ("WantsMountsFor", |unit, value| paths(unit, MountNeed::Wants, value)),
    ("DefaultDependencies", |unit, value| boolean(value.raw).map(|flag| unit.default_dependencies = flag)),
    ("StopWhenUnneeded", |unit, value| boolean(value.raw).map(|flag| unit.stop_when_unneeded = flag)),
    ("RefuseManualStart", |unit, value| boolean(value.raw).map(|flag| unit.refuse_manual_start = flag)),
    ("RefuseManualStop", |unit, value| boolean(value.raw).map(|flag| unit.refuse_manual_stop = flag)),
    ("AllowIsolate", |unit, value| boolean(value.raw).map(|flag| unit.allow_isolate = flag)),
    ("IgnoreOnIsolate", |unit, value| boolean(value.raw).map(|flag| unit.ignore_on_isolate = flag)),
    ("IgnoreOnSnapshot", |_, _| Ok(())),
    ("SourcePath", |unit, value| value.path().map(|path| unit.source_path = path)),
    ("CollectMode", |unit, value| CollectMode::parse(value.raw).map(|mode| unit.collect_mode = mode)),
    ("SurviveFinalKillSignal", |unit, value| boolean(value.raw).map(|flag| unit.survive_final_kill_signal = flag)),
    ("JobTimeoutSec", |unit, value| span(value.raw).map(|s| unit.job_timeout = s.zero_is_infinite())),
    ("StartLimitIntervalSec", |unit, value| span(value.raw).map(|s| unit.start_limit_interval = s)),
    ("StartLimitInterval", |unit, value| span(value.raw).map(|s| unit.start_limit_interval = s)),
    ("StartLimitBurst", |unit, value| {
        unit.start_limit_burst = u32::try_from(number(value.raw, 0, i64::from(u32::MAX))?).unwrap_or(u32::MAX);
        Ok(())
    }),
    ("StartLimitAction", |unit, value| EmergencyAction::parse(value.raw).map(|a| unit.start_limit_action = a)),
    ("FailureAction", |unit, value| EmergencyAction::parse(value.raw).map(|a| unit.failure_action = a)),
    ("SuccessAction", |unit, value| EmergencyAction::parse(value.raw).map(|a| unit.success_action = a)),
    ("FailureActionExitStatus", |unit, value| exit_status(value).map(|s| unit.failure_action_exit_status = s)),
    ("SuccessActionExitStatus", |unit, value| exit_status(value).map(|s| unit.success_action_exit_status = s)),
    ("JobRunningTimeoutSec", |unit, value| {
        span(value.raw).map(|s| unit.job_running_timeout = Some(s.zero_is_infinite()))
    }),
    ("JobTimeoutAction", |unit, value| EmergencyAction::parse(value.raw).map(|a| unit.job_timeout_action = a)),
    ("JobTimeoutRebootArgument", |unit, value| value.optional().map(|t| unit.job_timeout_reboot_argument = t)),
    ("RebootArgument", |unit, value| value.optional().map(|t| unit.reboot_argument = t)),
    ("OnSuccessJobMode", |unit, value| JobMode::parse(value.raw).map(|mode| unit.on_success_job_mode = mode)),
    ("OnFailureJobMode", |unit, value| JobMode::parse(value.raw).map(|mode| unit.on_failure_job_mode = mode)),
    ("OnFailureIsolate", |unit, value| {
        let isolate = boolean(value.raw)?;
        unit.on_failure_job_mode = if isolate { JobMode::Isolate } else { JobMode::Replace };
        Ok(())
    }),
];

/// Do the conditions of this strength exist at all?
pub fn has_conditions(unit: &Unit, strength: Strength) -> bool {
    unit.conditions.iter().any(|c| c.strength == strength)
}
