//! What a plan changes and what it cannot, in systemd's words; and carrying it out.

use std::fs;
use std::io;
use std::path::Path;

use super::{CONFIG, Tree, directory_of};

/// A change of a file; paths are without the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make this link.
    Link {
        /// Where.
        path: String,
        /// What it points to.
        target: String,
    },
    /// Remove a link.
    Unlink(String),
    /// Remove a file or a directory with what is in it (`revert`).
    Remove(String),
}

/// Something to tell besides the changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    Masked(String),
    Dangling(String),
    NoSuchTarget { unit: String, target: String },
    AuxiliaryFailed(String),
}

/// Why a change is not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Something else is there; a link has a target.
    Exists(String, Option<String>),
    /// The unit is masked.
    Masked(String),
    /// A generator or PID 1 itself made it.
    Generated(String),
    /// It lies below a unit directory, but not in it.
    BelowUnits(String),
    /// `%` with a letter that means nothing.
    BadSpecifier(String),
    /// A template without an instance would be pulled in by a plain unit.
    Template { unit: String, target: String },
    /// Not a unit name.
    BadName(String),
    /// The name leads outside the unit directories.
    Linked(String),
    /// One name cannot stand for the other.
    BadAlias(String, Option<String>),
    /// No such unit.
    Missing(String),
    /// The name leads to a unit that is not there.
    Dangling(String),
    /// What the system says.
    System(String, String),
}

impl Fault {
    /// Is there no such unit?
    pub fn is_missing(&self) -> bool {
        matches!(self, Fault::Missing(_))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Exists(path, None) => write!(f, "File '{path}' already exists"),
            Fault::Exists(path, Some(to)) => write!(f, "File '{path}' already exists and is a symlink to {to}"),
            Fault::Masked(name) => write!(f, "Unit {name} is masked"),
            Fault::Generated(name) => write!(f, "Unit {name} is transient or generated"),
            Fault::BelowUnits(path) => write!(f, "File '{path}' is under the systemd unit hierarchy already"),
            Fault::BadSpecifier(text) => write!(f, "Invalid specifier in unit {text}"),
            Fault::Template { unit, target } => write!(
                f,
                "Refusing to operate on template unit {unit} when destination unit {target} is a non-template unit"
            ),
            Fault::BadName(name) => write!(f, "Invalid unit name {name}"),
            Fault::Linked(name) => write!(f, "Refusing to operate on linked unit file {name}"),
            Fault::BadAlias(alias, Some(unit)) => write!(f, "Cannot alias {unit} as {alias}"),
            Fault::BadAlias(name, None) => write!(f, "Invalid unit reference {name}"),
            Fault::Missing(name) => write!(f, "Unit {name} does not exist"),
            Fault::Dangling(name) => write!(f, "Unit {name} is an unresolvable alias"),
            Fault::System(path, text) => write!(f, "Operation on '{path}' failed: {text}"),
        }
    }
}

/// One thing that a plan found, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Change(Change),
    Remark(Remark),
    Fault(Fault),
}

/// What a command does.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Changes, remarks and faults in order.
    pub(super) steps: Vec<Step>,
    /// The first fault ends the command with a failure.
    pub failed: bool,
    /// Whether the units say anything about enabling; `None` where that does not matter.
    pub carries_install: Option<bool>,
}

/// The verb as it stands in complaints: `Failed to enable unit: …`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verb(pub &'static str);

impl Outcome {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.steps.push(Step::Fault(fault));
        self.failed = true;
    }

    /// Is nothing worse than that units are missing?
    pub fn only_lacks_units(&self) -> bool {
        self.steps.iter().all(|step| !matches!(step, Step::Fault(fault) if !fault.is_missing()))
    }

    /// A fault that is told, but does not fail the command.
    pub(super) fn complain(&mut self, fault: Fault) {
        self.steps.push(Step::Fault(fault));
    }

    pub(super) fn remark(&mut self, remark: Remark) {
        self.steps.push(Step::Remark(remark));
    }

    /// Are there changes?
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.steps.iter().filter_map(|step| match step {
            Step::Change(change) => Some(change),
            Step::Remark(_) | Step::Fault(_) => None,
        })
    }

    /// The links that would go.
    pub fn unlinked(&self) -> impl Iterator<Item = &str> {
        self.changes().filter_map(|change| match change {
            Change::Unlink(path) => Some(path.as_str()),
            Change::Link { .. } | Change::Remove(_) => None,
        })
    }

    /// What is told about the changes, and about what is in the way. A quiet command tells faults only.
    pub fn lines(&self, tree: &Tree, verb: Verb, quiet: bool) -> Vec<String> {
        let shown = |path: &str| tree.real(path).display().to_string();
        let mut lines = Vec::new();
        for step in &self.steps {
            let line = match step {
                Step::Fault(fault) => format!("Failed to {} unit: {}", verb.0, in_root(fault, tree)),
                _ if quiet => continue,
                Step::Change(Change::Link { path, target }) => {
                    format!("Created symlink '{}' → '{target}'.", shown(path))
                }
                Step::Change(Change::Unlink(path) | Change::Remove(path)) => format!("Removed '{}'.", shown(path)),
                Step::Remark(Remark::Masked(path)) => format!("Unit {} is masked, ignoring.", shown(path)),
                Step::Remark(Remark::Dangling(path)) => {
                    format!("Unit {} is an alias to a unit that is not present, ignoring.", shown(path))
                }
                Step::Remark(Remark::NoSuchTarget { unit, target }) => {
                    format!("Unit {} is added as a dependency to a non-existent unit {target}.", shown(unit))
                }
                Step::Remark(Remark::AuxiliaryFailed(name)) => {
                    format!("Failed to enable auxiliary unit {name}, ignoring.")
                }
            };
            lines.push(line);
        }
        lines
    }
}

/// Paths in complaints are those of the caller.
fn in_root(fault: &Fault, tree: &Tree) -> Fault {
    let shown = |path: &String| match path.starts_with('/') {
        true => tree.real(path).display().to_string(),
        false => path.clone(),
    };
    match fault {
        Fault::Exists(path, target) => Fault::Exists(shown(path), target.clone()),
        Fault::Masked(path) => Fault::Masked(shown(path)),
        Fault::Generated(path) => Fault::Generated(shown(path)),
        other => other.clone(),
    }
}

impl Tree {
    /// Plans a link; one that leads to the same unit already is left alone.
    pub(super) fn plan_link(&mut self, out: &mut Outcome, target: &str, path: &str, force: bool) -> bool {
        use super::Entry;
        match self.entry(path) {
            Entry::Missing => {}
            Entry::Link(old) if self.leads_alike(path, &old, target) => return true,
            Entry::Link(_) if force => self.plan_unlink(out, path),
            Entry::Link(old) => {
                out.fault(Fault::Exists(path.to_owned(), Some(old)));
                return false;
            }
            Entry::File | Entry::Empty | Entry::Directory | Entry::Other => {
                out.fault(Fault::Exists(path.to_owned(), None));
                return false;
            }
        }
        self.planned.insert(path.to_owned(), Some(target.to_owned()));
        out.steps.push(Step::Change(Change::Link { path: path.to_owned(), target: target.to_owned() }));
        true
    }

    /// Plans the end of a link.
    pub(super) fn plan_unlink(&mut self, out: &mut Outcome, path: &str) {
        self.planned.insert(path.to_owned(), None);
        out.steps.push(Step::Change(Change::Unlink(path.to_owned())));
    }

    /// Two targets are alike when they are one file, or have one name within the unit directories.
    fn leads_alike(&self, link: &str, one: &str, other: &str) -> bool {
        let directory = directory_of(link);
        let (one, other) = (super::absolute(directory, one), super::absolute(directory, other));
        let same_file = |a: &str, b: &str| match (fs::metadata(self.real(a)), fs::metadata(self.real(b))) {
            (Ok(a), Ok(b)) => {
                use std::os::unix::fs::MetadataExt;
                (a.dev(), a.ino()) == (b.dev(), b.ino())
            }
            _ => false,
        };
        one == other
            || same_file(&one, &other)
            || (super::name_of(&one) == super::name_of(&other)
                && self.below_search_path(&one)
                && self.below_search_path(&other))
    }

    /// Carries out the changes in order.
    pub fn apply(&self, outcome: &Outcome) -> io::Result<()> {
        for change in outcome.changes() {
            match change {
                Change::Link { path, target } => self.make_link(path, target)?,
                Change::Unlink(path) => {
                    ignore_missing(fs::remove_file(self.real(path)))?;
                    self.remove_empty_parents(path);
                }
                Change::Remove(path) => {
                    let real = self.real(path);
                    match fs::symlink_metadata(&real) {
                        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&real)?,
                        Ok(_) => fs::remove_file(&real)?,
                        Err(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes a link under another name first, so that there is never none.
    fn make_link(&self, path: &str, target: &str) -> io::Result<()> {
        let real = self.real(path);
        let directory = real.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        let waiting = directory.join(format!(".#{}{:x}", super::name_of(path), std::process::id()));
        ignore_missing(fs::remove_file(&waiting))?;
        std::os::unix::fs::symlink(target, &waiting)?;
        fs::rename(&waiting, &real).inspect_err(|_| drop(fs::remove_file(&waiting)))?;
        fs::File::open(directory)?.sync_all()
    }

    /// `a.target.wants` goes with its last link.
    fn remove_empty_parents(&self, path: &str) {
        let mut directory = directory_of(path);
        while !self.is_config(directory) && directory.starts_with(CONFIG) || directory.starts_with(self.runtime) {
            if self.is_config(directory) || fs::remove_dir(self.real(directory)).is_err() {
                return;
            }
            directory = directory_of(directory);
        }
    }
}

fn ignore_missing(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
