//! The table of units: what was loaded, what runs of it, and how the units are linked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ferrite_unit::service::NotifyAccess;
use ferrite_unit::{Dependency, Unit, UnitName};

use crate::draft::Sources;
use crate::file_store::Stored;
use crate::jobs::{Active, JobId, UnitId};
use crate::kinds::KindState;
use crate::machine::{Exit, Machine, State};
use crate::sets::{IdSet, Links};
use crate::transaction::Relation;

/// Units at most.
pub const UNITS_MAX: usize = 20_000;
/// Commands of one start that are remembered.
const COMMANDS_MAX: usize = 64;

/// The state of a unit by its kind.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A service.
    Service(Machine),
    /// A target or slice: active or not.
    Passive(bool),
    /// Any other kind that runs.
    Other(KindState),
    /// A kind that this version cannot run.
    Inert,
}

/// A command that ran.
#[derive(Debug, Clone, Default)]
pub struct CommandRun {
    /// Is it the main process?
    pub main: bool,
    /// Its directive.
    pub directive: &'static str,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Process id.
    pub pid: i32,
    /// When it started (wall clock, microseconds).
    pub start_us: u64,
    /// When it ended; 0 while it runs.
    pub exit_us: u64,
    /// `exited`, `killed`, `dumped` or empty.
    pub code: &'static str,
    /// Status or signal.
    pub status: i32,
}

/// When the active state changed: (wall clock, since kernel start), microseconds; 0 for never.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct Times {
    pub change: (u64, u64),
    pub active_enter: (u64, u64),
    pub active_exit: (u64, u64),
    pub inactive_exit: (u64, u64),
    pub inactive_enter: (u64, u64),
    /// When the conditions were looked at.
    pub condition: (u64, u64),
    /// When the assertions were looked at.
    pub assertion: (u64, u64),
}

impl Times {
    /// All of them, in a fixed order.
    pub fn list(&self) -> [(u64, u64); 7] {
        let Times { change, active_enter, active_exit, inactive_exit, inactive_enter, condition, assertion } = *self;
        [change, active_enter, active_exit, inactive_exit, inactive_enter, condition, assertion]
    }

    /// The opposite; what is missing never happened. An older image kept only the wall clock of the conditions.
    pub fn of_list(list: &[(u64, u64)], condition: u64) -> Times {
        let at = |place: usize| list.get(place).copied().unwrap_or_default();
        Times {
            change: at(0),
            active_enter: at(1),
            active_exit: at(2),
            inactive_exit: at(3),
            inactive_enter: at(4),
            condition: list.get(5).copied().unwrap_or((condition, 0)),
            assertion: at(6),
        }
    }
}

/// A unit and everything we know of it now.
#[derive(Debug)]
pub struct Runtime {
    /// What its files say.
    pub unit: Box<Unit>,
    /// Its links to other units.
    pub links: Links,
    /// The units whose files or settings name this one: as long as one of them stays, this one does.
    pub named_by: IdSet,
    /// The units that it names.
    pub names: IdSet,
    /// Further names under which it was asked for.
    pub other_names: Vec<UnitName>,
    /// Its state.
    pub kind: Kind,
    /// Its job.
    pub job: Option<JobId>,
    /// When it changed.
    pub times: Times,
    /// Its control group below the root of all groups.
    pub group: Option<String>,
    /// Was everything in the group killed at once? See `Engine::make_group`.
    pub group_killed: bool,
    /// Processes of its group that the kernel has killed for want of memory.
    pub memory_kills: u64,
    /// The main process.
    pub main_pid: Option<i32>,
    /// The control process.
    pub control_pid: Option<i32>,
    /// The process that removes its files for a client.
    pub cleaner: Option<i32>,
    /// `STATUS=`.
    pub status_text: String,
    /// `ERRNO=`.
    pub status_errno: i32,
    /// `NOTIFYACCESS=`, in place of the setting.
    pub notify_access: Option<NotifyAccess>,
    /// `WATCHDOG_USEC=`, in place of the setting.
    pub watchdog_override: Option<Duration>,
    /// When the last reload was asked for, in microseconds of the monotonic clock.
    pub reload_began_us: u64,
    /// Its end started another unit, which may ask how it ended: it is kept until something else happens to it.
    pub spared: bool,
    /// Processes that a starting service left and that ended before it was known which is the main one.
    pub early_ends: Vec<(i32, Exit)>,
    /// The last process that was named as the main one and is none of the unit's.
    pub stranger: std::cell::Cell<i32>,
    /// Files that it stored with PID 1.
    pub stored: Vec<Stored>,
    /// When jobs were queued because other units were up or down, for a limit.
    pub automatic_jobs: Vec<Instant>,
    /// The last starts, for the limit.
    pub starts: Vec<Instant>,
    /// Identifies the running start.
    pub invocation: String,
    /// Commands of this start.
    pub commands: Vec<CommandRun>,
    /// The condition that was not met at the last start.
    pub unmet: Option<usize>,
    /// Did the last assertion fail, or was none made yet?
    pub assert_failed: bool,
    /// Its files as they were read.
    pub sources: Sources,
    /// Were the warnings about its files written?
    pub warned: bool,
    /// The unit whose /tmp and namespaces it shares, if that is another one (`JoinsNamespaceOf=`).
    pub joined: Option<String>,
    /// Was something of it written for whoever keeps the log?
    pub log_exported: bool,
    /// Is it of `Type=dbus`, and was there no bus to ask?
    pub without_bus: bool,
    /// Does its file go with it?
    pub transient: bool,
    /// Is it among the units that were changed?
    changed: bool,
}

impl Runtime {
    /// A unit that does not run.
    pub fn new(unit: Box<Unit>) -> Runtime {
        let kind = idle(&unit);
        Runtime {
            unit,
            links: Links::default(),
            named_by: IdSet::default(),
            names: IdSet::default(),
            other_names: Vec::new(),
            kind,
            job: None,
            times: Times::default(),
            group: None,
            group_killed: false,
            memory_kills: 0,
            main_pid: None,
            control_pid: None,
            cleaner: None,
            status_text: String::new(),
            status_errno: 0,
            notify_access: None,
            watchdog_override: None,
            reload_began_us: 0,
            spared: false,
            early_ends: Vec::new(),
            stranger: std::cell::Cell::new(0),
            stored: Vec::new(),
            automatic_jobs: Vec::new(),
            starts: Vec::new(),
            invocation: String::new(),
            commands: Vec::new(),
            unmet: None,
            assert_failed: true,
            sources: Sources::default(),
            warned: false,
            joined: None,
            log_exported: false,
            without_bus: false,
            transient: false,
            changed: false,
        }
    }

    /// Notes a command that was started; of very many the oldest are forgotten.
    pub fn note_command(&mut self, run: CommandRun) {
        if self.commands.len() >= COMMANDS_MAX {
            self.commands.remove(0);
        }
        // Most services have one.
        self.commands.reserve_exact(1);
        self.commands.push(run);
    }

    /// Is there a main process that PID 1 made, and of whose end it is told?
    pub fn has_own_main(&self) -> bool {
        let lives = |run: &CommandRun| run.main && run.exit_us == 0 && Some(run.pid) == self.main_pid;
        self.commands.iter().any(lives)
    }

    /// systemd's active state.
    pub fn active(&self) -> Active {
        match self.kind {
            Kind::Service(machine) => service_active(&machine, self.unit.service().is_some_and(is_idle)),
            Kind::Passive(true) => Active::Active,
            Kind::Other(state) => state.active(),
            Kind::Passive(false) | Kind::Inert => Active::Inactive,
        }
    }

    /// systemd's sub state.
    pub fn sub(&self) -> &'static str {
        match self.kind {
            Kind::Service(machine) => machine.state.sub(),
            Kind::Passive(true) => "active",
            Kind::Other(state) => state.sub(),
            Kind::Passive(false) | Kind::Inert => "dead",
        }
    }

    /// The service machine.
    pub fn machine(&self) -> Option<&Machine> {
        match &self.kind {
            Kind::Service(machine) => Some(machine),
            Kind::Passive(_) | Kind::Other(_) | Kind::Inert => None,
        }
    }

    /// systemd's `Result=`.
    pub fn result(&self) -> &'static str {
        match self.kind {
            Kind::Service(machine) => machine.result.as_str(),
            Kind::Other(state) => state.cause().as_str(),
            Kind::Passive(_) | Kind::Inert => "success",
        }
    }
}

fn idle(unit: &Unit) -> Kind {
    use ferrite_unit::Config;
    match &unit.config {
        Config::Service(_) => Kind::Service(Machine::default()),
        Config::Target => Kind::Passive(false),
        Config::Slice(_) => Kind::Passive(crate::collect::is_perpetual(unit.name.as_str())),
        Config::Mount(_)
        | Config::Socket(_)
        | Config::Timer(_)
        | Config::Path(_)
        | Config::Swap(_)
        | Config::Automount(_)
        | Config::Scope(_)
        | Config::Device => KindState::idle(unit).map_or(Kind::Inert, Kind::Other),
    }
}

fn is_idle(service: &ferrite_unit::service::Service) -> bool {
    service.kind == ferrite_unit::service::ServiceType::Idle
}

/// An idle service counts as started as soon as its start began, so that nothing waits for it.
fn service_active(machine: &Machine, idle: bool) -> Active {
    match machine.state {
        State::Dead | State::DeadBeforeAutoRestart | State::DeadResourcesPinned => Active::Inactive,
        State::Failed | State::FailedBeforeAutoRestart => Active::Failed,
        State::Condition(_) | State::StartPre(_) | State::Start(_) | State::StartPost(_) if idle => Active::Active,
        State::Condition(_)
        | State::StartPre(_)
        | State::Start(_)
        | State::StartPost(_)
        | State::AutoRestart
        | State::AutoRestartQueued => Active::Activating,
        State::Running | State::Exited => Active::Active,
        State::Reload(_) | State::ReloadSignal | State::ReloadNotify => Active::Reloading,
        State::Stop(_)
        | State::StopWatchdog
        | State::StopSigterm
        | State::StopSigkill
        | State::StopPost(_)
        | State::FinalWatchdog
        | State::FinalSigterm
        | State::FinalSigkill => Active::Deactivating,
    }
}

/// All units by number and by name.
#[derive(Debug, Default)]
pub struct Table {
    entries: Vec<Option<Box<Runtime>>>,
    names: BTreeMap<UnitName, UnitId>,
    /// Places of units that were forgotten.
    free: Vec<usize>,
    /// Units that were perhaps changed since somebody asked, and those that were forgotten.
    changed: Vec<UnitId>,
    gone: Vec<UnitName>,
}

impl Table {
    /// The unit of a number, as long as it is not forgotten.
    pub fn get(&self, id: UnitId) -> Option<&Runtime> {
        self.entries.get(id.0)?.as_deref()
    }

    /// The unit of a number, to change it.
    pub fn get_mut(&mut self, id: UnitId) -> Option<&mut Runtime> {
        let runtime = self.entries.get_mut(id.0)?.as_deref_mut()?;
        if !std::mem::replace(&mut runtime.changed, true) {
            self.changed.push(id);
        }
        Some(runtime)
    }

    /// The unit of a number, to change what its files and those of others say.
    fn get_settings(&mut self, id: UnitId) -> Option<&mut Runtime> {
        self.entries.get_mut(id.0)?.as_deref_mut()
    }

    /// Takes the names of units that were forgotten, and the units that were perhaps changed, since the last time.
    pub fn take_changed(&mut self) -> (Vec<UnitName>, Vec<UnitId>) {
        let changed = std::mem::take(&mut self.changed);
        for id in &changed {
            if let Some(runtime) = self.get_settings(*id) {
                runtime.changed = false;
            }
        }
        (std::mem::take(&mut self.gone), changed)
    }

    /// The number of a name or alias.
    pub fn find(&self, name: &UnitName) -> Option<UnitId> {
        self.names.get(name).copied()
    }

    /// Puts a unit under one of the `free_numbers`.
    pub fn put(&mut self, id: UnitId, runtime: Runtime) {
        while self.entries.len() <= id.0 {
            self.free.push(self.entries.len());
            self.entries.push(None);
        }
        if let Some(place) = self.entries.get_mut(id.0) {
            *place = Some(Box::new(runtime));
            if let Some(place) = self.free.iter().rposition(|place| *place == id.0) {
                self.free.swap_remove(place);
            }
        }
    }

    /// Numbers for new units: the places of forgotten ones, then all from this one on.
    pub fn free_numbers(&self) -> (Vec<usize>, usize) {
        (self.free.clone(), self.entries.len())
    }

    /// Forgets a unit with its names and links. Its number may be given to another one.
    pub fn remove(&mut self, id: UnitId) {
        let Some(runtime) = self.entries.get_mut(id.0).and_then(Option::take) else { return };
        let gone = runtime.unit.name.clone();
        let linked: BTreeSet<UnitId> = runtime.links.all().collect();
        for other in linked {
            if let Some(other) = self.get_settings(other) {
                other.links.remove(id);
            }
        }
        for other in runtime.names.iter() {
            if let Some(other) = self.get_settings(*other) {
                other.named_by.remove(id);
            }
        }
        for other in runtime.named_by.iter() {
            if let Some(other) = self.get_settings(*other) {
                other.names.remove(id);
            }
        }
        for name in std::iter::once(runtime.unit.name).chain(runtime.unit.aliases).chain(runtime.other_names) {
            if self.names.get(&name) == Some(&id) {
                self.names.remove(&name);
            }
        }
        self.free.push(id.0);
        self.gone.push(gone);
    }

    /// How many units there are.
    pub fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Is there still room for names that anybody may ask for?
    pub fn has_room_for_guests(&self) -> bool {
        self.count() < UNITS_MAX / 4
    }

    /// Makes further names known.
    pub fn add_names(&mut self, names: BTreeMap<UnitName, UnitId>) {
        for (name, id) in names {
            if let Some(runtime) = self.get_settings(id)
                && runtime.unit.name != name
                && !runtime.unit.aliases.contains(&name)
                && !runtime.other_names.contains(&name)
            {
                runtime.other_names.push(name.clone());
            }
            self.names.insert(name, id);
        }
    }

    /// Forgets all names and links, before they are made anew.
    pub fn forget_relations(&mut self) {
        self.names.clear();
        for runtime in self.entries.iter_mut().flatten() {
            runtime.other_names.clear();
            runtime.links.clear();
            runtime.names.clear();
            runtime.named_by.clear();
        }
    }

    /// Gives back the memory that was kept for further relations.
    pub fn shrink(&mut self) {
        for runtime in self.entries.iter_mut().flatten() {
            runtime.links.shrink();
            runtime.names.shrink();
            runtime.named_by.shrink();
        }
    }

    /// All units.
    pub fn iter(&self) -> impl Iterator<Item = (UnitId, &Runtime)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(number, runtime)| Some((UnitId(number), runtime.as_deref()?)))
    }

    /// All numbers.
    pub fn ids(&self) -> Vec<UnitId> {
        self.iter().map(|(id, _)| id).collect()
    }

    /// Links two units, both ways.
    pub fn link(&mut self, from: UnitId, dependency: Dependency, to: UnitId) {
        if from == to {
            return;
        }
        self.refer(from, to);
        if let Some(relation) = relation(dependency) {
            self.relate(from, relation, to);
        }
    }

    /// Puts two units into a relation, both ways.
    pub fn relate(&mut self, from: UnitId, relation: Relation, to: UnitId) {
        if from == to || self.get(to).is_none() {
            return;
        }
        if let Some(runtime) = self.get_settings(from) {
            runtime.links.insert(relation, to);
        }
        if let Some(runtime) = self.get_settings(to) {
            runtime.links.insert(relation.inverse(), from);
        }
    }

    /// Notes that one unit names another, which is then kept as long as the first one is.
    pub fn refer(&mut self, from: UnitId, to: UnitId) {
        if let Some(runtime) = self.get_settings(from) {
            runtime.names.insert(to);
        }
        if let Some(runtime) = self.get_settings(to) {
            runtime.named_by.insert(from);
        }
    }

    /// The units that stand in this relation.
    pub fn related(&self, id: UnitId, relation: Relation) -> Vec<UnitId> {
        self.get(id).map(|runtime| runtime.links.of(relation).collect()).unwrap_or_default()
    }
}

/// The relation as transactions know it; `None` for those that have no part in them.
pub fn relation(dependency: Dependency) -> Option<Relation> {
    Some(match dependency {
        Dependency::Requires => Relation::Requires,
        Dependency::Requisite => Relation::Requisite,
        Dependency::Wants => Relation::Wants,
        Dependency::BindsTo => Relation::BindsTo,
        Dependency::PartOf => Relation::PartOf,
        Dependency::Upholds => Relation::Upholds,
        Dependency::RequiredBy => Relation::RequiredBy,
        Dependency::RequisiteOf => Relation::RequisiteOf,
        Dependency::WantedBy => Relation::WantedBy,
        Dependency::BoundBy => Relation::BoundBy,
        Dependency::ConsistsOf => Relation::ConsistsOf,
        Dependency::UpheldBy => Relation::UpheldBy,
        Dependency::Conflicts => Relation::Conflicts,
        Dependency::ConflictedBy => Relation::ConflictedBy,
        Dependency::Before => Relation::Before,
        Dependency::After => Relation::After,
        Dependency::OnSuccess => Relation::OnSuccess,
        Dependency::OnSuccessOf => Relation::OnSuccessOf,
        Dependency::OnFailure => Relation::OnFailure,
        Dependency::OnFailureOf => Relation::OnFailureOf,
        Dependency::PropagatesReloadTo => Relation::PropagatesReloadTo,
        Dependency::ReloadPropagatedFrom => Relation::ReloadPropagatedFrom,
        Dependency::PropagatesStopTo => Relation::PropagatesStopTo,
        Dependency::StopPropagatedFrom => Relation::StopPropagatedFrom,
        Dependency::Triggers => Relation::Triggers,
        Dependency::TriggeredBy => Relation::TriggeredBy,
        Dependency::JoinsNamespaceOf => Relation::JoinsNamespaceOf,
        Dependency::InSlice | Dependency::SliceOf => return None,
    })
}
