//! What runs of a unit, written over what its files say: the properties that `systemctl show` prints.

use ferrite_control::{Properties, UnitDetails};
use ferrite_unit::command::Command;
use ferrite_unit::service::Service;
use ferrite_unit::sheet::{self, Defaults, NOT_SET, Sheet};
use ferrite_unit::sheet_kinds::{calendar_times, monotonic_times};
use ferrite_unit::sheet_service::{Flags, Run, command_text};
use ferrite_unit::timer::Timer;
use ferrite_unit::unit::Config;
use ferrite_unit::value::{Span, span_text};
use ferrite_unit::{Dependency, LoadState, UnitName};

use crate::accounts::Accounts;
use crate::engine::Engine;
use crate::jobs::UnitId;
use crate::transaction::{Graph, Relation};
use crate::unit_files::Installed;
use crate::units::{CommandRun, Kind, Runtime};

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

/// All of them.
pub fn of(engine: &Engine, id: UnitId, details: &UnitDetails, installed: &Installed) -> Properties {
    let Some(runtime) = engine.units.get(id) else { return Properties::default() };
    let mut sheet = sheet::of(&runtime.unit, &engine.defaults());
    names(&mut sheet, engine, id, runtime);
    if let Some(name) = runtime.unit.fragment.as_deref().and_then(|path| path.rsplit('/').next())
        && let Ok(name) = UnitName::parse(name)
    {
        sheet.set("UnitFilePreset", installed.preset_of(&name));
    }
    states(&mut sheet, runtime, details);
    sheet.set("FreezerState", engine.freezer_state(id));
    if let Some(job) = runtime.job {
        sheet.set("Job", job.to_string());
    }
    if !matches!(runtime.kind, Kind::Passive(_) | Kind::Inert) {
        sheet.set("Result", details.result.clone());
    }
    sheet.set("ControlPID", runtime.control_pid.unwrap_or(0).to_string());
    match &runtime.unit.config {
        Config::Service(service) => service_state(&mut sheet, engine, runtime, service, details),
        Config::Socket(_) => socket(&mut sheet, engine, id, runtime),
        Config::Timer(settings) => timer(&mut sheet, engine, id, settings),
        Config::Mount(_) => mounted(&mut sheet, engine, id),
        Config::Device => {
            sheet.set("SysFSPath", crate::device_unit::sysfs_path(&runtime.unit.name).unwrap_or_default());
        }
        Config::Target
        | Config::Slice(_)
        | Config::Path(_)
        | Config::Swap(_)
        | Config::Automount(_)
        | Config::Scope(_) => {}
    }
    account(&mut sheet, runtime);
    crate::usage::of(&mut sheet, engine, runtime, details);
    Properties(sheet.0)
}

fn names(sheet: &mut Sheet, engine: &Engine, id: UnitId, runtime: &Runtime) {
    let unit = &runtime.unit;
    let mut names = vec![unit.name.as_str()];
    names.extend(unit.aliases.iter().chain(&runtime.other_names).map(|name| name.as_str()));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    sheet.set("Names", sheet::words_text(names));
    for (name, relation) in RELATIONS {
        let others = engine.units.related(id, relation);
        if !others.is_empty() {
            sheet.set(name, sheet::words_text(others.iter().map(|other| engine.name(*other))));
        }
    }
    let joined = unit.dependencies.iter().filter(|(kind, ..)| *kind == Dependency::JoinsNamespaceOf);
    sheet.set("JoinsNamespaceOf", sheet::words_text(joined.map(|(_, name, _)| name.as_str())));
    if matches!(unit.config, Config::Slice(_)) {
        let members = engine.units.iter().filter(|(_, other)| {
            other.unit.load == LoadState::Loaded && other.unit.slice().as_ref() == Some(&unit.name)
        });
        sheet.set("SliceOf", sheet::words_text(members.map(|(_, other)| other.unit.name.as_str())));
    }
}

fn states(sheet: &mut Sheet, runtime: &Runtime, details: &UnitDetails) {
    sheet.set("Description", details.summary.description.clone());
    sheet.set("ActiveState", details.summary.active.clone());
    sheet.set("SubState", details.summary.sub.clone());
    sheet.set("UnitFileState", details.enablement.as_str().replace("not-found", ""));
    let times = runtime.times;
    for (name, moment) in [
        ("StateChangeTimestamp", times.change),
        ("InactiveExitTimestamp", times.inactive_exit),
        ("ActiveEnterTimestamp", times.active_enter),
        ("ActiveExitTimestamp", times.active_exit),
        ("InactiveEnterTimestamp", times.inactive_enter),
        ("ConditionTimestamp", times.condition),
        ("AssertTimestamp", times.assertion),
    ] {
        sheet.set_moment(name, moment);
    }
    sheet.set("ConditionResult", sheet::yes_no(details.condition_met));
    sheet.set("AssertResult", sheet::yes_no(!runtime.assert_failed));
    sheet.set("NeedDaemonReload", sheet::yes_no(details.need_daemon_reload));
    sheet.set("InvocationID", details.invocation_id.clone());
    sheet.set("Transient", sheet::yes_no(runtime.transient));
    if crate::collect::is_perpetual(runtime.unit.name.as_str()) {
        sheet.set("Perpetual", "yes");
        sheet.set("CanStop", "no");
    }
}

/// How a run of a command went.
fn run_of(run: &CommandRun) -> Run {
    Run { start_us: run.start_us, exit_us: run.exit_us, pid: run.pid, code: run.code, status: run.status }
}

/// The lines of a list of commands with what is known of each: the last run of its place.
fn command_lines(commands: &[Command], runs: &[&CommandRun], flags: Flags) -> Vec<String> {
    let line = |(place, command): (usize, &Command)| {
        let last = runs.iter().skip(place).step_by(commands.len().max(1)).next_back();
        command_text(command, flags, last.map(|run| run_of(run)).unwrap_or_default())
    };
    commands.iter().enumerate().map(line).collect()
}

fn set_commands(sheet: &mut Sheet, runtime: &Runtime, name: &str, commands: &[Command]) {
    let runs: Vec<&CommandRun> = runtime.commands.iter().filter(|run| run.directive == name).collect();
    if !runs.is_empty() {
        sheet.set_lines(name, command_lines(commands, &runs, Flags::Short));
        sheet.set_lines(&format!("{name}Ex"), command_lines(commands, &runs, Flags::Words));
    }
}

fn service_state(sheet: &mut Sheet, engine: &Engine, runtime: &Runtime, service: &Service, details: &UnitDetails) {
    sheet.set("MainPID", runtime.main_pid.unwrap_or(0).to_string());
    sheet.set("StatusText", runtime.status_text.clone());
    sheet.set("StatusErrno", runtime.status_errno.to_string());
    sheet.set("NFileDescriptorStore", runtime.stored.len().to_string());
    sheet.set("NRestarts", details.restarts.to_string());
    sheet.set("RestartUSecNext", span_text(crate::restarts::delay(service, details.restarts)));
    if let Some(access) = runtime.notify_access {
        sheet.set("NotifyAccess", access.as_str());
    }
    // Once it was started, it is known whether it is watched.
    if runtime.times.inactive_exit.0 != 0 {
        let setting = service.watchdog.unwrap_or(Span::seconds(0));
        sheet.set("WatchdogUSec", span_text(runtime.watchdog_override.map_or(setting, Span::Finite)));
    }
    for (name, commands) in service.commands() {
        set_commands(sheet, runtime, name, commands);
    }
    let Some(main) = runtime.commands.iter().rev().find(|run| run.main) else { return };
    let moment = |wall| engine.moment_of(wall);
    sheet.set_moment("ExecMainStartTimestamp", moment(main.start_us));
    sheet.set_moment("ExecMainExitTimestamp", moment(main.exit_us));
    let code = match main.code {
        "exited" => 1,
        "killed" => 2,
        "dumped" => 3,
        _ => 0,
    };
    sheet.set("ExecMainPID", main.pid.to_string());
    sheet.set("ExecMainCode", code.to_string());
    sheet.set("ExecMainStatus", main.status.to_string());
}

fn socket(sheet: &mut Sheet, engine: &Engine, id: UnitId, runtime: &Runtime) {
    let open = engine.kinds.sockets.get(&id);
    let connections = engine.kinds.connections.values().filter(|connection| connection.socket == id).count();
    sheet.set("NConnections", connections.to_string());
    sheet.set("NAccepted", open.map_or(0, |open| open.accepted).to_string());
    sheet.set("NRefused", open.map_or(0, |open| open.refused).to_string());
    let Config::Socket(socket) = &runtime.unit.config else { return };
    for (name, commands) in [
        ("ExecStartPre", &socket.start_pre),
        ("ExecStartPost", &socket.start_post),
        ("ExecStopPre", &socket.stop_pre),
        ("ExecStopPost", &socket.stop_post),
    ] {
        set_commands(sheet, runtime, name, commands);
    }
}

fn timer(sheet: &mut Sheet, engine: &Engine, id: UnitId, timer: &Timer) {
    let Some(data) = engine.kinds.timers.get(&id) else { return };
    let next = |place: usize| data.next.each.get(place).copied().flatten().unwrap_or(0);
    sheet.set_lines("TimersMonotonic", monotonic_times(timer, next));
    sheet.set_lines("TimersCalendar", calendar_times(timer, next));
    sheet.set("NextElapseUSecRealtime", format!("@{}", data.next.wall.unwrap_or(0)));
    sheet.set("NextElapseUSecMonotonic", data.next.monotonic.unwrap_or(u64::MAX).to_string());
    sheet.set("LastTriggerUSec", format!("@{}", data.last.wall));
    sheet.set("LastTriggerUSecMonotonic", data.last.monotonic.to_string());
}

/// What is mounted counts more than what is written.
fn mounted(sheet: &mut Sheet, engine: &Engine, id: UnitId) {
    let Some(mounted) = engine.mounted_at(id) else { return };
    for (name, seen) in [("What", &mounted.what), ("Options", &mounted.options), ("Type", &mounted.kind)] {
        if !seen.is_empty() {
            sheet.set(name, seen.clone());
        }
    }
}

/// The numbers of the user and the group, while there are processes.
fn account(sheet: &mut Sheet, runtime: &Runtime) {
    let Some(exec) = runtime.unit.exec() else { return };
    if (runtime.main_pid.is_none() && runtime.control_pid.is_none()) || (exec.user.is_none() && exec.group.is_none()) {
        return;
    }
    let accounts = Accounts::read();
    let user = exec.user.as_deref().and_then(|name| accounts.user(name));
    let own_group = user.as_ref().map(|user| user.gid);
    let group = exec.group.as_deref().and_then(|name| accounts.group(name)).or(own_group);
    let text = |number: Option<u32>| number.map_or(NOT_SET.to_owned(), |number| number.to_string());
    sheet.set("UID", text(user.map(|user| user.uid)));
    sheet.set("GID", text(group));
}

impl Engine {
    /// What holds for units that do not say otherwise.
    pub fn defaults(&self) -> Defaults {
        use ferrite_unit::exec::Resource as R;
        use rustix::process::{Resource as K, getrlimit};
        let pairs = [
            (R::Cpu, K::Cpu),
            (R::Fsize, K::Fsize),
            (R::Data, K::Data),
            (R::Stack, K::Stack),
            (R::Core, K::Core),
            (R::Rss, K::Rss),
            (R::Nofile, K::Nofile),
            (R::As, K::As),
            (R::Nproc, K::Nproc),
            (R::Memlock, K::Memlock),
            (R::Locks, K::Locks),
            (R::Sigpending, K::Sigpending),
            (R::Msgqueue, K::Msgqueue),
            (R::Nice, K::Nice),
            (R::Rtprio, K::Rtprio),
            (R::Rttime, K::Rttime),
        ];
        let limit = |(resource, number)| {
            let limit = getrlimit(number);
            (resource, limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX))
        };
        let score = crate::server::read_some("/proc/self/oom_score_adj", 16);
        Defaults {
            limits: pairs.into_iter().map(limit).collect(),
            oom_score_adjust: String::from_utf8_lossy(&score).trim().parse().unwrap_or(0),
            timer_slack_ns: 50_000,
            device_timeout: Span::seconds(90),
        }
    }

    /// A moment of the wall clock on both clocks, as they run now.
    pub fn moment_of(&self, wall_us: u64) -> (u64, u64) {
        if wall_us == 0 {
            return (0, 0);
        }
        let (wall, monotonic) = self.now_us();
        (wall_us, monotonic.saturating_sub(wall.saturating_sub(wall_us)))
    }
}
