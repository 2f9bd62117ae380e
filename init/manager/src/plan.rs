//! `ferrite-init plan`: the jobs that starting a unit of a root would queue, from nothing. Needs no running system.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_unit::graph::{Graph as Units, Index};
use ferrite_unit::{Dependency, LoadState, UnitName};

use crate::jobs::{Active, JobKind, Mode, UnitId};
use crate::transaction::{Fault, Graph, Relation, plan as plan_jobs};
use crate::units::relation;

/// Units of a root as the planner sees them; only what is always there is up.
struct Cold<'a> {
    units: &'a Units,
    indices: Vec<Index>,
    ids: BTreeMap<Index, UnitId>,
}

impl Cold<'_> {
    fn unit(&self, id: UnitId) -> Option<&ferrite_unit::Unit> {
        self.units.get(*self.indices.get(id.0)?).map(|node| &node.unit)
    }
}

impl Graph for Cold<'_> {
    fn related(&self, unit: UnitId, wanted: Relation) -> Vec<UnitId> {
        let node = self.indices.get(unit.0).and_then(|index| self.units.get(*index));
        let links = node.into_iter().flat_map(|node| &node.links);
        let fits = |dependency: Dependency| relation(dependency) == Some(wanted);
        links
            .filter(|(dependency, _)| fits(**dependency))
            .flat_map(|(_, others)| others.keys())
            .filter_map(|index| self.ids.get(index).copied())
            .collect()
    }

    fn active(&self, unit: UnitId) -> Active {
        let perpetual = self.unit(unit).is_some_and(|unit| crate::collect::is_perpetual(unit.name.as_str()));
        if perpetual { Active::Active } else { Active::Inactive }
    }

    fn refuses_start(&self, unit: UnitId) -> Option<(Fault, String)> {
        let unit = self.unit(unit)?;
        let (fault, words) = match &unit.load {
            LoadState::Loaded => return None,
            LoadState::NotFound => (Fault::NotFound, "not found."),
            LoadState::BadSetting(_) => (Fault::BadSetting, "has a bad unit file setting."),
            LoadState::Error(_) => (Fault::Unreadable, "failed to load properly."),
            LoadState::Masked => (Fault::Masked, "is masked."),
        };
        Some((fault, format!("Unit {} {words}", unit.name)))
    }

    fn applies(&self, unit: UnitId, kind: JobKind) -> bool {
        let reloads = matches!(kind, JobKind::Reload | JobKind::TryReload | JobKind::ReloadOrStart);
        !reloads && (kind != JobKind::Stop || self.active(unit) != Active::Active)
    }

    fn queued(&self, _unit: UnitId) -> Option<(JobKind, bool)> {
        None
    }

    fn waiting(&self, _unit: UnitId) -> Option<JobKind> {
        None
    }

    fn name(&self, unit: UnitId) -> String {
        self.unit(unit).map(|unit| unit.name.to_string()).unwrap_or_default()
    }

    fn isolated(&self) -> Vec<UnitId> {
        Vec::new()
    }
}

/// Prints the jobs of each named unit, in the order of their names.
pub fn plan(arguments: impl Iterator<Item = String>, unit_path: Option<&str>) -> Result<()> {
    let mut root = None;
    let mut wanted = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--root" => root = Some(arguments.next().context("--root needs a folder")?),
            other => match other.strip_prefix("--root=") {
                Some(place) => root = Some(place.to_owned()),
                None if other.starts_with("--") => bail!("unknown option '{other}' of plan, see --help"),
                None => wanted.push(UnitName::parse(other)?),
            },
        }
    }
    let units = crate::dump::load_root(root.as_deref(), unit_path, &wanted)?;
    let mut out = std::io::stdout().lock();
    for name in &wanted {
        for (unit, kind) in jobs(&units, name)? {
            writeln!(out, "{unit} {kind}").context("writing the jobs")?;
        }
    }
    Ok(())
}

/// The jobs that starting a unit queues: their units and their kinds.
fn jobs(units: &Units, name: &UnitName) -> Result<Vec<(String, &'static str)>> {
    let planned = start(units, name)?;
    for note in &planned.notes {
        eprintln!("{note}");
    }
    let mut jobs = planned.jobs;
    jobs.sort();
    Ok(jobs)
}

/// What starting a unit from nothing needs.
pub struct Planned {
    /// The jobs: their units and their kinds.
    pub jobs: Vec<(String, &'static str)>,
    /// A line for each thing that was dropped to make the jobs fit.
    pub notes: Vec<String>,
}

/// Plans the start of a unit.
pub fn start(units: &Units, name: &UnitName) -> Result<Planned> {
    let mut indices: Vec<Index> = units.iter().filter_map(|node| units.index(&node.unit.name)).collect();
    indices.sort_unstable();
    let ids = indices.iter().enumerate().map(|(number, index)| (*index, UnitId(number))).collect();
    let cold = Cold { units, indices, ids };
    let index = units.index(name).ok_or_else(|| anyhow!("unit {name} cannot be loaded"))?;
    let id = cold.ids.get(&index).copied().ok_or_else(|| anyhow!("unit {name} cannot be loaded"))?;
    let planned = plan_jobs(&cold, id, JobKind::Start, Mode::Replace)?;
    let jobs = planned.jobs.into_iter().map(|(unit, kind)| (cold.name(unit), kind.as_str())).collect();
    Ok(Planned { jobs, notes: planned.notes })
}
