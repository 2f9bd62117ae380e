//! What clients are told about units: listings, details, properties.

use ferrite_control::{
    CommandStatus, ConditionResult, ControlGroup, GroupProcess, MAX_UNITS_SHOWN, Reply, UnitDetails, UnitFile,
    UnitSummary,
};
use ferrite_unit::condition::{Condition, Strength, subject_name};
use ferrite_unit::{LoadState, UnitName};

use crate::engine::Engine;
use crate::server::{ClientId, read_some};
use crate::unit_files::{self, Installed, Tree};
use crate::units::Runtime;

/// Processes of a unit that are shown.
const PROCESSES_MAX: usize = 256;
/// Bytes of a command line that are shown.
const COMMAND_MAX: u64 = 4096;

/// `ConditionPathExists=!/etc/x`.
pub fn condition_text(condition: &Condition) -> String {
    let strength = match condition.strength {
        Strength::Condition => "Condition",
        Strength::Assert => "Assert",
    };
    let trigger = if condition.triggering { "|" } else { "" };
    let negation = if condition.negated { "!" } else { "" };
    format!("{strength}{}={trigger}{negation}{}", subject_name(condition.subject), condition.argument)
}

fn comm(pid: i32) -> String {
    String::from_utf8_lossy(&read_some(&format!("/proc/{pid}/comm"), 64)).trim().to_owned()
}

fn command_line(pid: i32) -> String {
    let bytes = read_some(&format!("/proc/{pid}/cmdline"), COMMAND_MAX);
    let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
    if text.is_empty() { format!("[{}]", comm(pid)) } else { text }
}

impl Engine {
    fn summary(&self, runtime: &Runtime) -> UnitSummary {
        UnitSummary {
            name: runtime.unit.name.to_string(),
            description: runtime.unit.description().to_owned(),
            load: runtime.unit.load.as_str().into(),
            active: runtime.cleaner.map_or(runtime.active().as_str(), |_| "maintenance").into(),
            sub: runtime.cleaner.map_or(runtime.sub(), |_| "cleaning").into(),
            job: runtime.job.and_then(|job| self.jobs.get(&job)).map(|job| job.kind.as_str().to_owned()),
        }
    }

    /// All units in the order of their names.
    pub fn summaries(&self) -> Vec<UnitSummary> {
        let mut all: Vec<UnitSummary> = self.units.iter().map(|(_, runtime)| self.summary(runtime)).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// All unit files of the search path.
    pub fn unit_files(&self) -> Vec<UnitFile> {
        unit_files::list(&Tree::running(&self.settings.load_path, self.host.clone()))
    }

    fn installed(&self) -> Installed {
        Installed::read(&self.settings.load_path, self.host.clone())
    }

    /// Everything about one unit.
    pub fn details(&mut self, name: &UnitName) -> Reply {
        let installed = self.installed();
        self.details_of(name, &installed)
    }

    /// Everything about some units, in the order of their names in the request. What cannot be told is left out.
    pub fn some_details(&mut self, client: ClientId, units: &[String]) -> Reply {
        if units.len() > MAX_UNITS_SHOWN {
            let text = format!("more than {MAX_UNITS_SHOWN} units in one request");
            return crate::server::error(ferrite_control::ErrorKind::LimitExceeded, text);
        }
        let installed = self.installed();
        let mut all = Vec::new();
        for name in units.iter().filter_map(|unit| UnitName::parse(unit).ok()) {
            if self.may_load(client, &name)
                && let Reply::Unit(details) = self.details_of(&name, &installed)
            {
                all.push(*details);
            }
        }
        Reply::SomeUnits(all)
    }

    fn details_of(&mut self, name: &UnitName, installed: &Installed) -> Reply {
        if name.is_template() {
            return Reply::Unit(Box::new(self.template_details(name, installed)));
        }
        let Some(id) = self.load(name) else {
            return crate::server::error(ferrite_control::ErrorKind::LimitExceeded, "too many units".into());
        };
        let Some(runtime) = self.units.get(id) else { return Reply::Done };
        let unit = &runtime.unit;
        let times = runtime.times;
        let (enablement, preset) = installed.state_and_preset(&unit.name);
        let mut details = UnitDetails {
            summary: self.summary(runtime),
            fragment_path: unit.fragment.clone(),
            drop_in_paths: unit.drop_ins.clone(),
            documentation: unit.documentation.clone(),
            enablement,
            preset,
            load_error: match &unit.load {
                LoadState::BadSetting(text) | LoadState::Error(text) => Some(text.clone()),
                LoadState::Loaded | LoadState::NotFound | LoadState::Masked => None,
            },
            need_daemon_reload: self.needs_reload(runtime),
            state_change_us: times.change.0,
            state_change_monotonic_us: times.change.1,
            active_enter_us: times.active_enter.0,
            active_enter_monotonic_us: times.active_enter.1,
            inactive_exit_us: times.inactive_exit.0,
            inactive_exit_monotonic_us: times.inactive_exit.1,
            inactive_enter_us: times.inactive_enter.0,
            inactive_enter_monotonic_us: times.inactive_enter.1,
            invocation_id: runtime.invocation.clone(),
            result: runtime.result().into(),
            commands: commands(runtime),
            main_pid: runtime.main_pid,
            main_comm: runtime.main_pid.map(comm).unwrap_or_default(),
            control_pid: runtime.control_pid,
            control_comm: runtime.control_pid.map(comm).unwrap_or_default(),
            status_text: runtime.status_text.clone(),
            restarts: runtime.machine().map_or(0, |machine| machine.restarts),
            what: unit.mount().map(|mount| mount.what.clone()),
            where_path: unit.mount().map(|mount| mount.where_.clone()),
            conditions: conditions(runtime),
            condition_us: times.condition.0,
            condition_met: conditions_met(runtime),
            unsupported: unsupported(runtime),
            control_group: runtime.group.as_deref().map(|group| self.control_group(group)),
            ..UnitDetails::default()
        };
        details.properties = crate::properties::of(self, id, &details, installed);
        Reply::Unit(Box::new(details))
    }

    fn template_details(&self, name: &UnitName, installed: &Installed) -> UnitDetails {
        UnitDetails {
            summary: UnitSummary {
                name: name.to_string(),
                description: name.to_string(),
                load: "stub".into(),
                active: "inactive".into(),
                sub: "dead".into(),
                job: None,
            },
            enablement: installed.state_and_preset(name).0,
            ..UnitDetails::default()
        }
    }

    fn control_group(&self, group: &str) -> ControlGroup {
        let cpu = self.groups.text(group, "cpu.stat").unwrap_or_default();
        let usage = cpu.lines().find_map(|line| line.strip_prefix("usage_usec "));
        let processes = self.groups.processes(group);
        ControlGroup {
            path: group.to_owned(),
            tasks: self.groups.number(group, "pids.current"),
            tasks_max: self.groups.number(group, "pids.max"),
            memory_bytes: self.groups.number(group, "memory.current"),
            memory_peak_bytes: self.groups.number(group, "memory.peak"),
            cpu_us: usage.and_then(|text| text.trim().parse().ok()),
            processes: processes
                .into_iter()
                .take(PROCESSES_MAX)
                .map(|(pid, group)| GroupProcess { pid, command: command_line(pid), group })
                .collect(),
        }
    }
}

/// Was the last start not skipped?
fn conditions_met(runtime: &Runtime) -> bool {
    let unmet = runtime.unmet.and_then(|position| runtime.unit.conditions.get(position));
    let skipped = unmet.is_some_and(|condition| condition.strength == Strength::Condition);
    runtime.times.condition.0 != 0 && !skipped && runtime.result() != "exec-condition"
}

/// What is not done of the unit's settings, by file and line.
fn unsupported(runtime: &crate::units::Runtime) -> Vec<String> {
    let unit = &runtime.unit;
    let place = |path: &str, line: u32, directive: &str| format!("{path}:{line}: {directive}=");
    let bus = unit.bus_name_at.as_ref().filter(|_| runtime.without_bus);
    let never = unit.unsupported.iter().map(|one| place(&one.path, one.line, &one.directive));
    never.chain(bus.map(|(path, line)| place(path, *line, "BusName"))).collect()
}

fn commands(runtime: &Runtime) -> Vec<CommandStatus> {
    let status = |run: &crate::units::CommandRun| CommandStatus {
        directive: run.directive.into(),
        argv: run.argv.clone(),
        pid: run.pid,
        start_us: run.start_us,
        exit_us: run.exit_us,
        code: run.code.into(),
        status: run.status,
    };
    runtime.commands.iter().map(status).collect()
}

fn conditions(runtime: &Runtime) -> Vec<ConditionResult> {
    let unmet = runtime.unmet.and_then(|position| runtime.unit.conditions.get(position));
    unmet.into_iter().map(|condition| ConditionResult { text: condition_text(condition), met: false }).collect()
}
