//! The sections of a unit file: which table takes an assignment, and the table of `[Unit]`. Pure.

use crate::action::{CollectMode, EmergencyAction, JobMode};
use crate::condition::{Condition, subject};
use crate::dependency::{Dependency, Origin};
use crate::directive::{self, Known, Table, Value};
use crate::file::{Entry, Problem};
use crate::name::{UnitKind, UnitName};
use crate::specifier::{Host, Specifiers};
use crate::unit::{Config, MountNeed, Unit, Unsupported};
use crate::value::{Parsed, boolean, number, span, wrong};
use crate::{automount, exec, install, kill, mount, path, resources_table, scope, service, swap, timer};

/// Directives named at most that this version does not carry out.
const UNSUPPORTED_MAX: usize = 512;

/// Before version 230 these stood in `[Service]`; packages still write them there.
pub(crate) const MOVED: [&str; 5] =
    ["StartLimitInterval", "StartLimitBurst", "StartLimitAction", "FailureAction", "RebootArgument"];

/// Does a fault in this assignment make the unit unusable? A command or path with `-` before it may be faulty.
fn is_fatal(key: &str, value: &str) -> bool {
    let optional = value.trim_start_matches(['@', ':', '+', '!', '|']).starts_with('-');
    match key {
        "User" | "Group" | "SupplementaryGroups" | "RootDirectory" | "RootImage" | "RootVerity" | "DynamicUser" => true,
        "WorkingDirectory" | "SELinuxContext" | "AppArmorProfile" | "SmackProcessLabel" => !optional,
        "ExecPaths" | "ExecSearchPath" => false,
        key => key.starts_with("Exec") && !optional,
    }
}

impl Unit {
    /// Takes one entry of a file.
    /// An error is a fault that makes the unit unusable.
    pub(crate) fn apply(&mut self, entry: &Entry, host: &Host) -> Result<(), Problem> {
        if !self.has_section(entry) {
            return Ok(());
        }
        let name = self.name.clone();
        let fragment = self.fragment.clone();
        let specifiers = Specifiers { unit: &name, host, fragment: fragment.as_deref() };
        let value = Value { raw: &entry.value, specifiers: &specifiers };
        let outcome = match entry.section.as_ref() {
            "Unit" => self.apply_unit(&entry.key, &value),
            "Install" => directive::find(install::TABLE, &entry.key).map(|apply| apply(&mut self.install, &value)),
            "Service" => self.apply_service(&entry.key, &value),
            "Mount" | "Slice" | "Socket" | "Timer" | "Path" | "Swap" | "Automount" | "Scope" => {
                self.apply_kind(&entry.section, &entry.key, &value)
            }
            _ => return Ok(()),
        };
        match outcome.or_else(|| self.apply_resources(entry, &value)) {
            Some(Ok(())) => {
                if entry.key == "BusName" {
                    self.bus_name_at = Some((entry.path.clone(), entry.line));
                }
                self.without_effect(entry);
            }
            Some(Err(error)) if is_fatal(&entry.key, &entry.value) => {
                let message = format!("{}=: {error}, refusing the unit", entry.key);
                return Err(Problem { path: entry.path.clone(), line: entry.line, message });
            }
            Some(Err(error)) => self.fault(entry, format!("{}=: {error}, ignoring it", entry.key)),
            None => self.unknown(entry),
        }
        Ok(())
    }

    /// Has a unit of this kind such a section? An unknown one is told of once.
    fn has_section(&mut self, entry: &Entry) -> bool {
        let section = entry.section.as_ref();
        if matches!(section, "Unit" | "Install") || section == self.name.kind().section() {
            return true;
        }
        let told = format!("unknown section [{section}] in a {} unit, ignoring it", self.name.kind().suffix());
        if !section.starts_with("X-") && !self.problems.iter().any(|p| p.path == entry.path && p.message == told) {
            self.fault(entry, told);
        }
        false
    }

    /// Takes a setting of the control group.
    fn apply_resources(&mut self, entry: &Entry, value: &Value<'_>) -> Option<Parsed<()>> {
        if !matches!(entry.section.as_ref(), "Service" | "Socket" | "Mount" | "Swap" | "Slice" | "Scope") {
            return None;
        }
        if entry.key == "NetClass" {
            // It did something up to version 234.
            return Some(Ok(()));
        }
        directive::find(resources_table::TABLE, &entry.key).map(|apply| apply(&mut self.resources, value))
    }

    /// The section of a setting that may be changed while the unit runs, if its value is right.
    pub fn section_of(&self, key: &str, value: &str, host: &Host) -> Result<&'static str, String> {
        let section = self.name.kind().section();
        if directive::find(resources_table::TABLE, key).is_none() || value.contains(['\n', '\r']) {
            return Err(format!("{key}= cannot be changed at run time"));
        }
        let mut scratch = self.clone();
        scratch.problems.clear();
        let (path, section_name) = (std::rc::Rc::from(""), std::rc::Rc::from(section));
        let entry = Entry { section: section_name, key: key.to_owned(), value: value.to_owned(), path, line: 0 };
        scratch.apply(&entry, host).map_err(|problem| problem.message)?;
        match scratch.problems.first() {
            Some(problem) => Err(problem.message.clone()),
            None => Ok(section),
        }
    }

    /// The section that a setting belongs into, if its value is right.
    pub fn place_of(&self, key: &str, value: &str, host: &Host) -> Result<&'static str, String> {
        if key.is_empty() || value.contains(['\n', '\r']) {
            return Err(format!("'{key}={value}' is not one setting"));
        }
        for section in [self.name.kind().section(), "Unit"] {
            let mut scratch = self.clone();
            scratch.problems.clear();
            let (path, section_name) = (std::rc::Rc::from(""), std::rc::Rc::from(section));
            let entry = Entry { section: section_name, key: key.to_owned(), value: value.to_owned(), path, line: 0 };
            scratch.apply(&entry, host).map_err(|problem| problem.message)?;
            match scratch.problems.first() {
                None => return Ok(section),
                Some(problem) if problem.message.starts_with("unknown key") => {}
                Some(problem) => return Err(problem.message.clone()),
            }
        }
        Err(format!("unknown key {key}="))
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
        // Backslashes stay as they are: they are part of escaped names.
        for word in value.raw.split_ascii_whitespace() {
            let name = match value.specifiers.expand_name(word) {
                Ok(name) => name,
                Err(error) => {
                    fault = Err(error);
                    continue;
                }
            };
            match UnitName::parse(&name) {
                Ok(other) if self.would_recur(&other, word) => {}
                Ok(other) => match self.name.resolve(other) {
                    Some(other) => self.add(dependency, other, Origin::File),
                    None => fault = Err(wrong(word, "a template that this unit has an instance for")),
                },
                Err(error) => fault = Err(crate::value::ValueError(error.to_string())),
            }
        }
        fault
    }

    /// Does a template name itself with an instance that holds its own? There would be ever more units.
    fn would_recur(&self, other: &UnitName, word: &str) -> bool {
        let own = self.fragment.as_deref().and_then(|path| path.rsplit_once('/')).map(|(_, base)| base);
        let from_template = own.and_then(|base| UnitName::parse(base).ok()).is_some_and(|base| base.is_template());
        let same = other.prefix() == self.name.prefix() && other.kind() == self.name.kind();
        if !from_template || !same || other.instance().is_none() {
            return false;
        }
        let Some((_, instance)) = word.split_once('@') else { return false };
        let instance = instance.rsplit_once('.').map_or(instance, |(instance, _)| instance);
        instance != "%i" && instance.replace("%%", "").split('%').skip(1).any(|rest| rest.starts_with(['i', 'n', 'N']))
    }

    /// `Sockets=`: sockets that the service takes from, besides its own.
    fn take_sockets(&mut self, value: &Value<'_>) -> Parsed<()> {
        let mut fault = Ok(());
        for word in value.raw.split_ascii_whitespace() {
            let word = value.specifiers.expand_name(word)?;
            match UnitName::parse(&word).ok().and_then(|name| self.name.resolve(name)) {
                Some(socket) if socket.kind() == UnitKind::Socket => {
                    for dependency in [Dependency::Wants, Dependency::After, Dependency::TriggeredBy] {
                        self.add(dependency, socket.clone(), Origin::File);
                    }
                }
                Some(_) | None => fault = Err(wrong(&word, "a socket unit")),
            }
        }
        fault
    }

    fn apply_service(&mut self, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
        if MOVED.contains(&key) {
            return directive::find(TABLE, key).map(|apply| apply(self, value));
        }
        if key == "Sockets" {
            return Some(self.take_sockets(value));
        }
        let Config::Service(service) = &mut self.config else { return None };
        if let Some(apply) = directive::find(service::TABLE, key) {
            return Some(apply(service, value));
        }
        if let Some(outcome) = exec::apply(&mut service.exec, key, value) {
            return Some(outcome);
        }
        directive::find(kill::TABLE, key).map(|apply| apply(&mut service.kill, value))
    }

    /// The sections of the kinds beside service; a section that is not the unit's own is not for it.
    fn apply_kind(&mut self, section: &str, key: &str, value: &Value<'_>) -> Option<Parsed<()>> {
        let (exec, kill) = match (&mut self.config, section) {
            (Config::Socket(socket), "Socket") => {
                if let Some(apply) = directive::find(crate::socket_table::TABLE, key) {
                    return Some(apply(socket, value));
                }
                (Some(&mut socket.exec), Some(&mut socket.kill))
            }
            (Config::Mount(mount), "Mount") => {
                if let Some(apply) = directive::find(mount::TABLE, key) {
                    return Some(apply(mount, value));
                }
                (Some(&mut mount.exec), Some(&mut mount.kill))
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
        if let Some(outcome) = exec.and_then(|exec| exec::apply(exec, key, value)) {
            return Some(outcome);
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
            Known::Sandbox | Known::Refused => true,
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

/// Is this a page of documentation?
fn is_page(text: &str) -> bool {
    let kinds = ["http://", "https://", "file:/", "info:", "man:"];
    text.is_ascii() && kinds.iter().any(|kind| text.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()))
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

pub(crate) const TABLE: Table<Unit> = &[
    ("Description", |unit, value| value.optional().map(|text| unit.description = text)),
    ("Documentation", |unit, value| {
        value.extend(&mut unit.documentation)?;
        let wrong_page = unit.documentation.iter().find(|page| !is_page(page)).cloned();
        unit.documentation.retain(|page| is_page(page));
        wrong_page.map_or(Ok(()), |page| Err(wrong(&page, "a page such as man:x(8) or https://...")))
    }),
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
