//! The sheet of a unit: its properties under the names of systemd's interface, in its order, as `systemctl show`
//! prints them. Pure.
//!
//! [`of`] fills in what the unit's files say, and for everything that changes while the machine runs what holds for a
//! unit that never started; PID 1 writes its knowledge over that. Moments are `@microseconds` (`@0`: never), alone or
//! within a value: whoever prints them knows the zone.

use crate::action::EmergencyAction;
use crate::exec::Resource;
use crate::name::UnitKind;
use crate::sandbox::PrivateTmp;
use crate::sheet_exec::{LoadedOrNot, context};
use crate::unit::{Config, LoadState, MountNeed, Unit};
use crate::value::{Span, span_text};
use crate::{sheet_group, sheet_kinds, sheet_service};

/// What `show` prints for a number without a value.
pub const NOT_SET: &str = "[not set]";
/// What it prints for values that it has no text for.
pub const UNPRINTABLE: &str = "[unprintable]";
/// What it prints for a counter of the firewall that does not count.
pub const NO_DATA: &str = "[no data]";
/// Lists of what is allowed, or of what is denied behind a `~`: an empty one of the first sort says something.
pub const ALLOW_LISTS: [&str; 5] = [
    "SystemCallFilter",
    "SystemCallLog",
    "RestrictAddressFamilies",
    "RestrictNetworkInterfaces",
    "RestrictFileSystems",
];

/// Properties in order; a name occurs once for each of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sheet(pub Vec<(String, String)>);

impl Sheet {
    /// Adds a property at the end.
    pub fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.put(name, yes_no(value));
    }

    pub(crate) fn span(&mut self, name: &str, value: Span) {
        self.put(name, span_text(value));
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<&String>) {
        self.put(name, value.cloned().unwrap_or_default());
    }

    pub(crate) fn list<T: AsRef<str>>(&mut self, name: &str, words: impl IntoIterator<Item = T>) {
        self.put(name, words_text(words));
    }

    /// Two lines for a moment: `NameTimestamp` and `NameTimestampMonotonic`.
    pub fn moment(&mut self, name: &str, (wall, monotonic): (u64, u64)) {
        self.put(name, format!("@{wall}"));
        self.put(&format!("{name}Monotonic"), monotonic.to_string());
    }

    /// The value of a property; of several lines the first.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Writes over the line of this name; without such a line nothing happens.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        if let Some((_, old)) = self.0.iter_mut().find(|(have, _)| have == name) {
            *old = value.into();
        }
    }

    /// Writes over the two lines of a moment.
    pub fn set_moment(&mut self, name: &str, (wall, monotonic): (u64, u64)) {
        self.set(name, format!("@{wall}"));
        self.set(&format!("{name}Monotonic"), monotonic.to_string());
    }

    /// Writes over all lines of this name, which must be there as often.
    pub fn set_lines(&mut self, name: &str, lines: impl IntoIterator<Item = String>) {
        let places = self.0.iter_mut().filter(|(have, _)| have == name);
        for ((_, old), line) in places.zip(lines) {
            *old = line;
        }
    }
}

/// `yes` or `no`.
pub fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

/// Words in one value: each as a shell would read it back.
pub fn words_text<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    words.into_iter().map(|word| crate::show_service::quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Adds the limits that units have unless they say otherwise, as the manager tells them.
pub fn default_limits(sheet: &mut Sheet, defaults: &Defaults) {
    crate::sheet_exec::default_limits(sheet, defaults);
}

/// What holds for units that do not say otherwise, and is another on each machine.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Limits of PID 1 itself: (soft, hard); infinite without an entry.
    pub limits: Vec<(Resource, u64, u64)>,
    /// Score for the out-of-memory killer.
    pub oom_score_adjust: i32,
    /// Nanoseconds.
    pub timer_slack_ns: u64,
    /// How long a device is waited for.
    pub device_timeout: Span,
}

/// The sheet of a unit that was loaded and never started.
pub fn of(unit: &Unit, defaults: &Defaults) -> Sheet {
    let mut sheet = Sheet::default();
    let state = if unit.load == LoadState::Loaded { LoadedOrNot::Loaded } else { LoadedOrNot::NotLoaded };
    match &unit.config {
        Config::Service(service) => sheet_service::service(&mut sheet, service, state),
        Config::Socket(socket) => sheet_kinds::socket(&mut sheet, unit, socket),
        Config::Timer(timer) => sheet_kinds::timer(&mut sheet, unit, timer),
        Config::Path(path) => sheet_kinds::path(&mut sheet, unit, path),
        Config::Mount(mount) => sheet_kinds::mount(&mut sheet, mount),
        Config::Swap(swap) => sheet_kinds::swap(&mut sheet, swap),
        Config::Automount(automount) => sheet_kinds::automount(&mut sheet, automount),
        Config::Scope(scope) => sheet_kinds::scope(&mut sheet, scope),
        Config::Device => sheet.put("SysFSPath", ""),
        Config::Target | Config::Slice(_) => {}
    }
    if crate::show::has_group(unit.name.kind()) {
        sheet_group::group(&mut sheet, unit);
    }
    if let Some(exec) = unit.exec() {
        context(&mut sheet, unit, exec, defaults, state);
    }
    if let Some(kill) = unit.kill() {
        sheet_group::kill(&mut sheet, kill);
    }
    names_and_needs(&mut sheet, unit);
    files(&mut sheet, unit);
    abilities(&mut sheet, unit);
    jobs(&mut sheet, unit, defaults);
    limits_and_actions(&mut sheet, unit);
    sheet
}

/// Properties that hold other units, in order.
pub const RELATIONS: [&str; 26] = [
    "Requires",
    "Requisite",
    "Wants",
    "BindsTo",
    "PartOf",
    "Upholds",
    "RequiredBy",
    "RequisiteOf",
    "WantedBy",
    "BoundBy",
    "UpheldBy",
    "ConsistsOf",
    "Conflicts",
    "ConflictedBy",
    "Before",
    "After",
    "OnSuccess",
    "OnSuccessOf",
    "OnFailure",
    "OnFailureOf",
    "Triggers",
    "TriggeredBy",
    "PropagatesReloadTo",
    "ReloadPropagatedFrom",
    "PropagatesStopTo",
    "StopPropagatedFrom",
];

/// Lists that stand behind them.
const MORE_LISTS: [&str; 5] = ["JoinsNamespaceOf", "SliceOf", "RequiresMountsFor", "WantsMountsFor", "Documentation"];

fn names_and_needs(sheet: &mut Sheet, unit: &Unit) {
    sheet.put("Id", unit.name.as_str());
    sheet.list("Names", std::iter::once(&unit.name).chain(&unit.aliases).map(|name| name.as_str()));
    sheet.put("Following", "");
    let mounts = |need: MountNeed| {
        let paths = unit.mounts_for.iter().filter(move |(have, ..)| *have == need);
        words_text(paths.map(|(_, path, _)| path))
    };
    for name in RELATIONS.into_iter().chain(MORE_LISTS) {
        let value = match name {
            "RequiresMountsFor" => mounts(MountNeed::Requires),
            "WantsMountsFor" => mounts(MountNeed::Wants),
            "Documentation" => words_text(&unit.documentation),
            _ => String::new(),
        };
        sheet.put(name, value);
    }
    sheet.put("Description", unit.description());
    sheet.put("AccessSELinuxContext", "");
}

fn files(sheet: &mut Sheet, unit: &Unit) {
    sheet.put("LoadState", unit.load.as_str());
    sheet.put("ActiveState", "inactive");
    sheet.put("FreezerState", "running");
    sheet.put("SubState", "dead");
    sheet.optional("FragmentPath", unit.fragment.as_ref());
    sheet.optional("SourcePath", unit.source_path.as_ref());
    sheet.list("DropInPaths", &unit.drop_ins);
    sheet.put("UnitFileState", "");
    sheet.put("UnitFilePreset", "");
    for name in ["StateChange", "InactiveExit", "ActiveEnter", "ActiveExit", "InactiveEnter"] {
        sheet.moment(&format!("{name}Timestamp"), (0, 0));
    }
}

/// What can be done to the unit.
fn abilities(sheet: &mut Sheet, unit: &Unit) {
    let kind = unit.name.kind();
    let loaded = unit.load == LoadState::Loaded;
    let startable = kind != UnitKind::Device && !(kind == UnitKind::Scope && unit.perpetual);
    let can_start = loaded && startable && !unit.refuse_manual_start;
    sheet.flag("CanStart", can_start);
    sheet.flag("CanStop", kind != UnitKind::Device && !unit.perpetual && !unit.refuse_manual_stop);
    let reloads = match &unit.config {
        Config::Service(service) => {
            !service.reload.is_empty() || service.kind == crate::service::ServiceType::NotifyReload
        }
        Config::Mount(_) => true,
        _ => false,
    };
    sheet.flag("CanReload", reloads);
    sheet.flag("CanIsolate", loaded && unit.allow_isolate && !unit.refuse_manual_start);
    sheet.put("CanClean", cleanable(unit).join(" "));
    let freezes = matches!(kind, UnitKind::Service | UnitKind::Slice | UnitKind::Scope) && !unit.perpetual;
    sheet.flag("CanFreeze", freezes);
    let service = unit.service().map(|service| &service.exec);
    let own_view =
        |exec: &crate::exec::Exec| exec.needs_mount_namespace() || exec.sandbox.private_tmp != PrivateTmp::No;
    sheet.flag("CanLiveMount", loaded && service.is_some_and(|exec| own_view(exec)));
}

/// Kinds of files that `systemctl clean` may remove.
pub fn cleanable(unit: &Unit) -> Vec<&'static str> {
    let mut names = Vec::new();
    if unit.load != LoadState::Loaded {
        return names;
    }
    if let Some(exec) = unit.exec() {
        let kinds = ["runtime", "state", "cache", "logs", "configuration"];
        let with_items = kinds.into_iter().zip(exec.all_directories()).filter(|(_, list)| !list.items.is_empty());
        names.extend(with_items.map(|(name, _)| name));
    }
    match &unit.config {
        Config::Timer(timer) if timer.persistent => names.push("state"),
        Config::Service(service) if service.fd_store_max > 0 => names.push("fdstore"),
        _ => {}
    }
    names
}

fn jobs(sheet: &mut Sheet, unit: &Unit, defaults: &Defaults) {
    sheet.put("Job", "");
    sheet.flag("StopWhenUnneeded", unit.stop_when_unneeded);
    sheet.flag("RefuseManualStart", unit.refuse_manual_start);
    sheet.flag("RefuseManualStop", unit.refuse_manual_stop);
    sheet.flag("AllowIsolate", unit.allow_isolate);
    sheet.flag("DefaultDependencies", unit.default_dependencies);
    sheet.flag("SurviveFinalKillSignal", unit.survive_final_kill_signal);
    sheet.put("OnSuccessJobMode", unit.on_success_job_mode.as_str());
    sheet.put("OnFailureJobMode", unit.on_failure_job_mode.as_str());
    sheet.flag("IgnoreOnIsolate", unit.ignore_on_isolate);
    sheet.flag("NeedDaemonReload", false);
    sheet.put("Markers", "");
    sheet.span("JobTimeoutUSec", unit.job_timeout);
    let unwritten = if unit.name.kind() == UnitKind::Device { defaults.device_timeout } else { unit.job_timeout };
    sheet.span("JobRunningTimeoutUSec", unit.job_running_timeout.unwrap_or(unwritten));
    sheet.put("JobTimeoutAction", unit.job_timeout_action.as_str());
    sheet.optional("JobTimeoutRebootArgument", unit.job_timeout_reboot_argument.as_ref());
}

fn limits_and_actions(sheet: &mut Sheet, unit: &Unit) {
    sheet.flag("ConditionResult", false);
    sheet.flag("AssertResult", false);
    sheet.moment("ConditionTimestamp", (0, 0));
    sheet.moment("AssertTimestamp", (0, 0));
    sheet.put("Conditions", UNPRINTABLE);
    sheet.put("Asserts", UNPRINTABLE);
    sheet.put("LoadError", load_error(unit));
    sheet.flag("Transient", false);
    sheet.flag("Perpetual", unit.perpetual);
    sheet.span("StartLimitIntervalUSec", unit.start_limit_interval);
    sheet.put("StartLimitBurst", unit.start_limit_burst.to_string());
    sheet.put("StartLimitAction", unit.start_limit_action.as_str());
    let status = |status: Option<u8>| status.map_or(NOT_SET.to_owned(), |status| status.to_string());
    let mut action = |name: &str, action: EmergencyAction, code| {
        sheet.put(name, action.as_str());
        sheet.put(&format!("{name}ExitStatus"), status(code));
    };
    action("FailureAction", unit.failure_action, unit.failure_action_exit_status);
    action("SuccessAction", unit.success_action, unit.success_action_exit_status);
    sheet.optional("RebootArgument", unit.reboot_argument.as_ref());
    sheet.put("InvocationID", "");
    sheet.put("CollectMode", unit.collect_mode.as_str());
    sheet.put("Refs", "");
    sheet.put("ActivationDetails", UNPRINTABLE);
    sheet.flag("DebugInvocation", false);
}

/// Why a unit is not there, as an error of the interface and its words.
fn load_error(unit: &Unit) -> String {
    let name = &unit.name;
    match &unit.load {
        LoadState::Loaded => String::new(),
        LoadState::NotFound => format!("org.freedesktop.systemd1.NoSuchUnit \"Unit {name} not found.\""),
        LoadState::Masked => format!("org.freedesktop.systemd1.UnitMasked \"Unit {name} is masked.\""),
        LoadState::BadSetting(_) => {
            format!("org.freedesktop.systemd1.BadUnitSetting \"Unit {name} has a bad unit file setting.\"")
        }
        LoadState::Error(text) => {
            format!("org.freedesktop.systemd1.LoadFailed \"Unit {name} failed to load properly: {text}.\"")
        }
    }
}
