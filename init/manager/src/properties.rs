//! The properties of a unit under systemd's names, as `systemctl show` prints them.

use std::collections::BTreeMap;

use ferrite_control::UnitDetails;
use ferrite_unit::value::{Span, span_text};

use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::transaction::{Graph, Relation};
use crate::units::Kind;

const RELATIONS: [(&str, Relation); 26] = [
    ("Requires", Relation::Requires),
    ("RequiredBy", Relation::RequiredBy),
    ("Requisite", Relation::Requisite),
    ("RequisiteOf", Relation::RequisiteOf),
    ("Wants", Relation::Wants),
    ("WantedBy", Relation::WantedBy),
    ("BindsTo", Relation::BindsTo),
    ("BoundBy", Relation::BoundBy),
    ("PartOf", Relation::PartOf),
    ("ConsistsOf", Relation::ConsistsOf),
    ("Upholds", Relation::Upholds),
    ("UpheldBy", Relation::UpheldBy),
    ("Conflicts", Relation::Conflicts),
    ("ConflictedBy", Relation::ConflictedBy),
    ("Before", Relation::Before),
    ("After", Relation::After),
    ("OnFailure", Relation::OnFailure),
    ("OnSuccess", Relation::OnSuccess),
    ("OnFailureOf", Relation::OnFailureOf),
    ("OnSuccessOf", Relation::OnSuccessOf),
    ("Triggers", Relation::Triggers),
    ("TriggeredBy", Relation::TriggeredBy),
    ("PropagatesReloadTo", Relation::PropagatesReloadTo),
    ("ReloadPropagatedFrom", Relation::ReloadPropagatedFrom),
    ("PropagatesStopTo", Relation::PropagatesStopTo),
    ("StopPropagatedFrom", Relation::StopPropagatedFrom),
];

fn yes(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn number(value: Option<u64>) -> String {
    value.map_or("[not set]".to_owned(), |value| value.to_string())
}

/// All of them.
pub fn of(engine: &Engine, id: UnitId, details: &UnitDetails) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(out.insert(name.to_owned(), value));
    let Some(runtime) = engine.units.get(id) else { return out };
    let unit = &runtime.unit;
    set("Id", unit.name.to_string());
    let names = std::iter::once(&unit.name).chain(&unit.aliases).map(ToString::to_string).collect::<Vec<_>>();
    set("Names", names.join(" "));
    for (name, relation) in RELATIONS {
        let others = engine.units.related(id, relation);
        if !others.is_empty() {
            set(name, others.iter().map(|other| engine.name(*other)).collect::<Vec<_>>().join(" "));
        }
    }
    set("Description", details.summary.description.clone());
    set("LoadState", details.summary.load.clone());
    set("ActiveState", details.summary.active.clone());
    set("SubState", details.summary.sub.clone());
    set("FragmentPath", unit.fragment.clone().unwrap_or_default());
    set("DropInPaths", unit.drop_ins.join(" "));
    set("UnitFileState", details.enablement.as_str().replace("not-found", ""));
    set("UnitFilePreset", details.preset.clone());
    set("Documentation", unit.documentation.join(" "));
    set("CanStart", yes(details.summary.load == "loaded" && !unit.refuse_manual_start));
    set("CanStop", yes(!unit.refuse_manual_stop));
    set("CanReload", yes(unit.service().is_some_and(|service| !service.reload.is_empty())));
    set("CanIsolate", yes(unit.allow_isolate));
    set("DefaultDependencies", yes(unit.default_dependencies));
    set("StopWhenUnneeded", yes(unit.stop_when_unneeded));
    set("RefuseManualStart", yes(unit.refuse_manual_start));
    set("RefuseManualStop", yes(unit.refuse_manual_stop));
    set("AllowIsolate", yes(unit.allow_isolate));
    set("IgnoreOnIsolate", yes(unit.ignore_on_isolate));
    set("NeedDaemonReload", yes(details.need_daemon_reload));
    set("ConditionResult", yes(details.condition_met));
    set("AssertResult", yes(!runtime.assert_failed));
    set("InvocationID", details.invocation_id.clone());
    set("StartLimitIntervalUSec", span_text(unit.start_limit_interval));
    set("StartLimitBurst", unit.start_limit_burst.to_string());
    set("JobTimeoutUSec", span_text(unit.job_timeout));
    set("Transient", yes(runtime.transient));
    set("Job", runtime.job.unwrap_or(0).to_string());
    for (name, value) in [
        ("StateChangeTimestampMonotonic", details.state_change_monotonic_us),
        ("ActiveEnterTimestampMonotonic", details.active_enter_monotonic_us),
        ("ActiveExitTimestampMonotonic", runtime.times.active_exit.1),
        ("InactiveExitTimestampMonotonic", details.inactive_exit_monotonic_us),
        ("InactiveEnterTimestampMonotonic", details.inactive_enter_monotonic_us),
    ] {
        set(name, value.to_string());
    }
    if let Some(slice) = unit.slice() {
        set("Slice", slice.to_string());
    }
    out.extend(crate::kind_properties::of(engine, id));
    out.extend(process_properties(engine, id, details));
    out
}

/// What only units with processes have.
fn process_properties(engine: &Engine, id: UnitId, details: &UnitDetails) -> BTreeMap<String, String> {
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(out.insert(name.to_owned(), value));
    let Some(runtime) = engine.units.get(id) else { return out };
    let unit = &runtime.unit;
    if let Some(mount) = unit.mount() {
        let mounted = engine.mounted_at(id).cloned().unwrap_or_default();
        let seen =
            |seen: String, written: Option<String>| if seen.is_empty() { written.unwrap_or_default() } else { seen };
        set("Where", mount.where_.clone());
        set("What", seen(mounted.what, Some(mount.what.clone())));
        set("Options", seen(mounted.options, mount.options.clone()));
        set("Type", seen(mounted.kind, mount.kind.clone()));
        set("TimeoutUSec", span_text(mount.timeout));
        set("DirectoryMode", format!("{:04o}", mount.directory_mode));
        set("SloppyOptions", yes(mount.sloppy_options));
        set("LazyUnmount", yes(mount.lazy_unmount));
        set("ForceUnmount", yes(mount.force_unmount));
        set("ReadWriteOnly", yes(mount.read_write_only));
    }
    if !matches!(runtime.kind, Kind::Passive(_) | Kind::Inert) {
        set("Result", details.result.clone());
    }
    if let Some(service) = unit.service() {
        set("Type", service.kind.as_str().into());
        set("Restart", service.restart.as_str().into());
        set("PIDFile", service.pid_file.clone().unwrap_or_default());
        set("RestartUSec", span_text(service.restart_delay));
        set("TimeoutStartUSec", span_text(service.timeout_start()));
        set("TimeoutStopUSec", span_text(service.timeout_stop));
        set("RuntimeMaxUSec", span_text(service.runtime_max));
        set("WatchdogUSec", span_text(service.watchdog.unwrap_or(Span::seconds(0))));
        set("RemainAfterExit", yes(service.remain_after_exit));
        set("StatusText", details.status_text.clone());
        set("NRestarts", details.restarts.to_string());
        set("MainPID", details.main_pid.unwrap_or(0).to_string());
        set("ControlPID", details.control_pid.unwrap_or(0).to_string());
        let main = runtime.commands.iter().rev().find(|run| run.main);
        let code = main.map_or(0, |run| match run.code {
            "exited" => 1,
            "killed" => 2,
            "dumped" => 3,
            _ => 0,
        });
        set("ExecMainPID", main.map_or(0, |run| run.pid).to_string());
        set("ExecMainCode", code.to_string());
        set("ExecMainStatus", main.map_or(0, |run| run.status).to_string());
    }
    if let Some(exec) = unit.exec() {
        set("User", exec.user.clone().unwrap_or_default());
        set("Group", exec.group.clone().unwrap_or_default());
        set("WorkingDirectory", exec.working_directory.clone().unwrap_or_default());
        set("UMask", format!("{:04o}", exec.umask));
        let pairs = exec.environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        set("Environment", pairs.join(" "));
    }
    if let Some(group) = &details.control_group {
        set("ControlGroup", group.path.clone());
        set("TasksCurrent", number(group.tasks));
        set("TasksMax", group.tasks_max.map_or("infinity".to_owned(), |value| value.to_string()));
        set("MemoryCurrent", number(group.memory_bytes));
        set("MemoryPeak", number(group.memory_peak_bytes));
        set("CPUUsageNSec", number(group.cpu_us.map(|us| us.saturating_mul(1000))));
    }
    out.extend(traffic(engine, runtime));
    out
}

/// What `IPAccounting=` counted.
fn traffic(engine: &Engine, runtime: &crate::units::Runtime) -> impl Iterator<Item = (String, String)> {
    const NAMES: [&str; 4] = ["IPIngressBytes", "IPIngressPackets", "IPEgressBytes", "IPEgressPackets"];
    let counted = runtime.group.as_ref().filter(|_| runtime.unit.resources.ip_accounting);
    let traffic = counted.and_then(|group| engine.groups.traffic(group));
    let one =
        move |(at, name): (usize, &str)| (name.to_owned(), number(traffic.and_then(|counts| counts.get(at).copied())));
    NAMES.into_iter().enumerate().map(one)
}
