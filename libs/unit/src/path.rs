//! `[Path]`: which paths are watched for what, and which unit starts then. Pure.

use crate::directive::{Table, Value};
use crate::name::{UnitKind, UnitName};
use crate::timer::trigger;
use crate::value::{Parsed, Span, ValueError, boolean, mode, number, span, wrong};

/// Watched paths of one unit at most.
const WATCHES_MAX: usize = 1024;

/// What of a path starts the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watch {
    /// It is there.
    Exists,
    /// Something fits the pattern.
    ExistsGlob,
    /// It was written and closed, or appeared, or went.
    Changed,
    /// The same, and on every write.
    Modified,
    /// It is a directory with something in it.
    DirectoryNotEmpty,
}

impl Watch {
    /// The directive.
    pub fn directive(self) -> &'static str {
        match self {
            Watch::Exists => "PathExists",
            Watch::ExistsGlob => "PathExistsGlob",
            Watch::Changed => "PathChanged",
            Watch::Modified => "PathModified",
            Watch::DirectoryNotEmpty => "DirectoryNotEmpty",
        }
    }
}

/// The settings of a path unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUnit {
    /// What is watched, in the order of the file.
    pub watches: Vec<(Watch, String)>,
    /// `Unit=`.
    pub unit: Option<UnitName>,
    /// `MakeDirectory=`.
    pub make_directory: bool,
    /// `DirectoryMode=`.
    pub directory_mode: u32,
    /// `TriggerLimitIntervalSec=`.
    pub trigger_interval: Span,
    /// `TriggerLimitBurst=`.
    pub trigger_burst: u32,
}

impl Default for PathUnit {
    fn default() -> Self {
        PathUnit {
            watches: Vec::new(),
            unit: None,
            make_directory: false,
            directory_mode: 0o755,
            trigger_interval: Span::seconds(2),
            trigger_burst: 200,
        }
    }
}

impl PathUnit {
    /// The unit that it starts.
    pub fn activates(&self, name: &UnitName) -> Option<UnitName> {
        self.unit.clone().or_else(|| name.with_kind(UnitKind::Service).ok())
    }

    /// Why this path unit cannot run, if it cannot.
    pub(crate) fn verify(&self) -> Result<(), String> {
        if self.watches.is_empty() {
            return Err("path unit has no path such as PathExists=, refusing".into());
        }
        Ok(())
    }
}

fn watch(unit: &mut PathUnit, value: &Value<'_>, kind: Watch) -> Parsed<()> {
    let Some(text) = value.optional()? else {
        // Whatever is emptied, all paths go.
        unit.watches.clear();
        return Ok(());
    };
    let plain = crate::escape::simplify_path(&text).filter(|_| text.starts_with('/'));
    let plain = plain.ok_or_else(|| wrong(&text, "an absolute path without '..'"))?;
    if unit.watches.len() >= WATCHES_MAX {
        return Err(ValueError(format!("more than {WATCHES_MAX} paths")));
    }
    unit.watches.push((kind, format!("/{plain}")));
    Ok(())
}

pub(crate) const TABLE: Table<PathUnit> = &[
    ("PathExists", |unit, value| watch(unit, value, Watch::Exists)),
    ("PathExistsGlob", |unit, value| watch(unit, value, Watch::ExistsGlob)),
    ("PathChanged", |unit, value| watch(unit, value, Watch::Changed)),
    ("PathModified", |unit, value| watch(unit, value, Watch::Modified)),
    ("DirectoryNotEmpty", |unit, value| watch(unit, value, Watch::DirectoryNotEmpty)),
    ("Unit", |unit, value| trigger(&mut unit.unit, value)),
    ("MakeDirectory", |unit, value| boolean(value.raw).map(|flag| unit.make_directory = flag)),
    ("DirectoryMode", |unit, value| mode(value.raw).map(|mode| unit.directory_mode = mode)),
    ("TriggerLimitIntervalSec", |unit, value| span(value.raw).map(|span| unit.trigger_interval = span)),
    ("TriggerLimitBurst", |unit, value| {
        let burst = number(value.raw, 0, i64::from(u32::MAX))?;
        unit.trigger_burst = u32::try_from(burst).unwrap_or(u32::MAX);
        Ok(())
    }),
];
