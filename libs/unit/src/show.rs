//! Everything that is known of a unit, as pairs of a name and a text, in systemd's names and order. Pure.
//!
//! What depends on a running machine (states, times, process ids) is not here: it is the same for every unit that was
//! only loaded.

use crate::action::EmergencyAction;
use crate::condition::{Strength, subject_name};
use crate::controllers;
use crate::dependency::Says;
use crate::graph::{Graph, Node};
use crate::kill::{Kill, KillMode};
use crate::name::UnitKind;
use crate::resources::Controllers;
use crate::unit::{Config, LoadState, MountNeed, Unit};
use crate::value::{Span, signal_name};

/// Properties in order; a name may occur more than once.
pub type Properties = Vec<(String, String)>;

/// A list of properties in the making.
#[derive(Debug, Default)]
pub(crate) struct Lines(pub Properties);

impl Lines {
    pub(crate) fn put(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.put(name, if value { "yes" } else { "no" });
    }

    pub(crate) fn span(&mut self, name: &str, value: Span) {
        self.put(name, whole_seconds(value));
    }

    pub(crate) fn extend(&mut self, others: Properties) {
        self.0.extend(others);
    }
}

/// A time span that is printed to the second, unless it is shorter than one.
pub(crate) fn whole_seconds(span: Span) -> String {
    match span.finite() {
        Some(duration) => crate::timespan::text(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), 1_000_000),
        None => "infinity".into(),
    }
}

/// All properties of a unit of the graph.
pub fn properties(graph: &Graph, node: &Node) -> Properties {
    let mut lines = Lines::default();
    let unit = &node.unit;
    for alias in &unit.aliases {
        lines.put("Alias", alias.as_str());
    }
    lines.put("Description", unit.description());
    lines.put("Instance", unit.name.instance().unwrap_or("n/a"));
    lines.put("Unit Load State", unit.load.as_str());
    lines.put("Garbage Collection Mode", unit.collect_mode.as_str());
    if has_group(unit.name.kind()) {
        let slice = node.links.get(&crate::Dependency::InSlice).and_then(|slices| slices.keys().next());
        let slice = slice.and_then(|index| graph.get(*index)).map(|slice| slice.unit.name.as_str());
        lines.put("Slice", slice.unwrap_or("n/a"));
        for (name, mask) in [
            ("CGroup own mask", controllers::own(graph, node)),
            ("CGroup members mask", controllers::members(graph, node)),
            ("CGroup delegate mask", controllers::delegated(unit)),
        ] {
            if mask != Controllers::default() {
                lines.put(name, mask.names().collect::<Vec<_>>().join(" "));
            }
        }
    }
    files(&mut lines, unit);
    actions(&mut lines, unit);
    conditions(&mut lines, unit);
    relations(&mut lines, graph, node);
    if unit.load == LoadState::Loaded {
        settings(&mut lines, graph, node);
    }
    lines.0
}

/// Has a unit of this kind a control group?
pub(crate) fn has_group(kind: UnitKind) -> bool {
    match kind {
        UnitKind::Service | UnitKind::Socket | UnitKind::Mount | UnitKind::Swap | UnitKind::Slice | UnitKind::Scope => {
            true
        }
        UnitKind::Target | UnitKind::Device | UnitKind::Automount | UnitKind::Timer | UnitKind::Path => false,
    }
}

fn files(lines: &mut Lines, unit: &Unit) {
    for page in &unit.documentation {
        lines.put("Documentation", page);
    }
    if let Some(path) = &unit.fragment {
        lines.put("Fragment Path", path);
    }
    if let Some(path) = &unit.source_path {
        lines.put("Source Path", path);
    }
    for path in &unit.drop_ins {
        lines.put("DropIn Path", path);
    }
}

fn actions(lines: &mut Lines, unit: &Unit) {
    for (name, action, status) in [
        ("Failure Action", unit.failure_action, unit.failure_action_exit_status),
        ("Success Action", unit.success_action, unit.success_action_exit_status),
    ] {
        if action != EmergencyAction::None {
            lines.put(name, action.as_str());
        }
        if let Some(status) = status {
            lines.put(&format!("{name} Exit Status"), status.to_string());
        }
    }
    if unit.job_timeout != Span::Infinite {
        lines.put("Job Timeout", crate::value::span_text(unit.job_timeout));
    }
    if unit.job_timeout_action != EmergencyAction::None {
        lines.put("Job Timeout Action", unit.job_timeout_action.as_str());
    }
    if let Some(argument) = &unit.job_timeout_reboot_argument {
        lines.put("Job Timeout Reboot Argument", argument);
    }
}

fn conditions(lines: &mut Lines, unit: &Unit) {
    for (strength, prefix) in [(Strength::Condition, "Condition"), (Strength::Assert, "Assert")] {
        for condition in unit.conditions.iter().filter(|c| c.strength == strength) {
            let name = format!("{prefix}{}", subject_name(condition.subject));
            let triggering = if condition.triggering { "|" } else { "" };
            let negated = if condition.negated { "!" } else { "" };
            lines.put(&name, format!("{triggering}{negated}{} untested", condition.argument));
        }
    }
}

fn relations(lines: &mut Lines, graph: &Graph, node: &Node) {
    for (dependency, others) in &node.links {
        let mut named: Vec<(&str, &Says)> = others
            .iter()
            .filter_map(|(index, says)| graph.get(*index).map(|other| (other.unit.name.as_str(), says)))
            .collect();
        named.sort_by_key(|(name, _)| *name);
        for (name, says) in named {
            lines.put(dependency.as_str(), format!("{name} ({says})"));
        }
    }
    for (need, name) in [(MountNeed::Wants, "WantsMountsFor"), (MountNeed::Requires, "RequiresMountsFor")] {
        for (_, path, origin) in node.needs.iter().filter(|(have, ..)| *have == need) {
            let says = Says { origin: (*origin).into(), ..Says::default() };
            lines.put(name, format!("{path} ({says})"));
        }
    }
}

fn settings(lines: &mut Lines, graph: &Graph, node: &Node) {
    let unit = &node.unit;
    lines.flag("StopWhenUnneeded", unit.stop_when_unneeded);
    lines.flag("RefuseManualStart", unit.refuse_manual_start);
    lines.flag("RefuseManualStop", unit.refuse_manual_stop);
    lines.flag("DefaultDependencies", unit.default_dependencies);
    lines.flag("SurviveFinalKillSignal", unit.survive_final_kill_signal);
    lines.put("OnSuccessJobMode", unit.on_success_job_mode.as_str());
    lines.put("OnFailureJobMode", unit.on_failure_job_mode.as_str());
    lines.flag("IgnoreOnIsolate", unit.ignore_on_isolate);
    match &unit.config {
        Config::Service(service) => crate::show_service::properties(lines, unit, service),
        Config::Mount(mount) => crate::show_mount::properties(lines, unit, mount),
        Config::Target => lines.put("Target State", "dead"),
        Config::Slice(_) => {
            lines.put("Slice State", if unit.perpetual { "active" } else { "dead" });
            lines.extend(crate::show_resources::properties(unit));
        }
        Config::Device => {
            lines.put("Device State", "dead");
            for name in ["Device Path", "Sysfs Path", "Found"] {
                lines.put(name, "n/a");
            }
        }
        Config::Socket(socket) => crate::show_kinds::socket(lines, unit, socket),
        Config::Timer(timer) => crate::show_kinds::timer(lines, timer, triggered(graph, node)),
        Config::Path(path) => crate::show_kinds::path(lines, path, triggered(graph, node)),
        Config::Swap(swap) => crate::show_kinds::swap(lines, unit, swap),
        Config::Automount(automount) => crate::show_kinds::automount(lines, automount),
        Config::Scope(scope) => crate::show_kinds::scope(lines, unit, scope),
    }
}

/// The unit that this one starts.
fn triggered<'a>(graph: &'a Graph, node: &Node) -> &'a str {
    let first = node.links.get(&crate::Dependency::Triggers).and_then(|others| others.keys().next());
    first.and_then(|index| graph.get(*index)).map_or("n/a", |other| other.unit.name.as_str())
}

/// How the processes are stopped.
pub(crate) fn kill(lines: &mut Lines, kill: &Kill) {
    let mode = match kill.mode {
        KillMode::ControlGroup => "control-group",
        KillMode::Mixed => "mixed",
        KillMode::Process => "process",
        KillMode::None => "none",
    };
    lines.put("KillMode", mode);
    lines.put("KillSignal", format!("SIG{}", signal_name(kill.signal)));
    lines.put("RestartKillSignal", format!("SIG{}", signal_name(kill.restart_signal.unwrap_or(kill.signal))));
    lines.put("FinalKillSignal", format!("SIG{}", signal_name(kill.final_signal)));
    lines.flag("SendSIGKILL", kill.send_sigkill);
    lines.flag("SendSIGHUP", kill.send_sighup);
}
