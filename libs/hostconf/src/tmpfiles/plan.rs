//! All lines together: duplicates, ages of `X` lines, and the order in which everything is done. Pure.
//!
//! What is made comes after the folders it lies in, what is removed after all that lies in it. What is purged comes
//! first, then what is removed and cleaned, then what is made.

use std::collections::BTreeMap;
use std::fmt;

use super::item::{Age, Item, Kind, Times};
use super::parse::{self, Machine, Options};
use crate::fault::{Fault, Place};
use crate::field::is_below;
use ferrite_pattern::matches_path;

/// Lines of all files together.
const LINES_MAX: usize = 200_000;

/// What the command is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// Make and change.
    pub create: bool,
    /// Remove what is old.
    pub clean: bool,
    /// Remove what `r`, `R` and `D` name.
    pub remove: bool,
    /// Remove what lines with `$` have made.
    pub purge: bool,
}

/// What is done with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Make and change.
    Create,
    /// Remove what is old.
    Clean,
    /// Remove.
    Remove,
    /// Remove what it has made.
    Purge,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step<'a> {
    /// What.
    pub operation: Operation,
    /// With which item.
    pub item: &'a Item,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = match self.operation {
            Operation::Create => "create",
            Operation::Clean => "clean",
            Operation::Remove => "remove",
            Operation::Purge => "purge",
        };
        write!(out, "{operation} {} {}", self.item.kind.letter(), self.item.path)
    }
}

/// The items of one path.
#[derive(Debug, Default)]
struct Group {
    items: Vec<Item>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// All lines.
#[derive(Debug, Default)]
pub struct Rules {
    /// Groups in the order of their first line.
    groups: Vec<Group>,
    /// Groups whose path is a name.
    names: BTreeMap<String, usize>,
    /// Groups whose path is a pattern.
    patterns: BTreeMap<String, usize>,
    lines: usize,
    /// What was wrong with lines.
    pub faults: Vec<Fault>,
}

impl Rules {
    /// Reads the text of a file.
    pub fn read(&mut self, file: &str, text: &str, options: &Options, machine: &dyn Machine) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place { file: file.to_string(), line: number + 1 };
            self.lines += 1;
            if self.lines > LINES_MAX {
                self.faults.push(Fault::invalid(&place, format!("More than {LINES_MAX} lines, ignoring the rest.")));
                break;
            }
            match parse::line(line, &place, options, machine, &mut self.faults) {
                Ok(None) => {}
                Ok(Some(item)) => self.add(item),
                Err(fault) => self.faults.push(fault),
            }
        }
        self.set_ages();
    }

    fn add(&mut self, item: Item) {
        let index = if item.kind.takes_pattern() { &mut self.patterns } else { &mut self.names };
        let at = *index.entry(item.path.clone()).or_insert(self.groups.len());
        if at == self.groups.len() {
            self.groups.push(Group::default());
        }
        let Some(group) = self.groups.get_mut(at) else { return };
        let appends = |item: &Item| item.kind == Kind::Write && item.is_forced;
        let is_double = group.items.iter().any(|old| !(old.agrees(&item) || appends(old) && appends(&item)));
        if is_double {
            let message = format!("Duplicate line for path \"{}\", ignoring.", item.path);
            self.faults.push(Fault::notice(&item.place, message));
            return;
        }
        group.items.push(item);
        group.items.sort_by_key(|item| (!item.kind.owns_path(), item.kind.letter()));
    }

    /// An `X` line cleans below it as the folder does that it lies in.
    fn set_ages(&mut self) {
        let folders = self.names.values().filter_map(|at| self.groups.get(*at));
        let folders = folders.flat_map(|group| &group.items).filter(|item| item.kind.is_folder());
        let folders: Vec<(String, Option<Age>)> = folders.map(|item| (item.path.clone(), item.age)).collect();
        let groups = &mut self.groups;
        for item in groups.iter_mut().flat_map(|group| &mut group.items).filter(|item| item.kind == Kind::IgnoreOnly) {
            let mut best: Option<&(String, Option<Age>)> = None;
            for folder in &folders {
                let is_closer = match best {
                    Some((path, _)) => is_below(&folder.0, path) && matches_path(&item.path, &folder.0),
                    None => is_below(&item.path, &folder.0),
                };
                if folder.0 == item.path || is_closer {
                    best = Some(folder);
                }
                if folder.0 == item.path {
                    break;
                }
            }
            // Only the age itself: which times count is the line's own matter.
            if let Some((_, Some(age))) = best {
                let own = item.age.unwrap_or(Age {
                    microseconds: 0,
                    keeps_first_level: false,
                    of_files: Times::ALL,
                    of_folders: Times::OF_FOLDERS,
                });
                item.age = Some(Age { microseconds: age.microseconds, ..own });
            }
        }
    }

    /// Whether a line speaks of this path itself, so that cleaning passes it by.
    pub fn speaks_of(&self, path: &str) -> bool {
        self.names.contains_key(path) || self.patterns.keys().any(|pattern| matches_path(pattern, path))
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Everything that is to be done, in order. `link` must come before.
    pub fn steps(&self, operations: Operations) -> Vec<Step<'_>> {
        let mut steps = Vec::new();
        let phases: [&[(Operation, bool)]; 3] = [
            &[(Operation::Purge, operations.purge)],
            &[(Operation::Remove, operations.remove), (Operation::Clean, operations.clean)],
            &[(Operation::Create, operations.create)],
        ];
        // What makes its path comes before what adjusts paths.
        let order: Vec<usize> = {
            let is_name = |at: &usize| {
                self.groups
                    .get(*at)
                    .and_then(|group| group.items.first())
                    .is_some_and(|item| !item.kind.takes_pattern())
            };
            let (names, patterns): (Vec<usize>, Vec<usize>) = (0..self.groups.len()).partition(is_name);
            names.into_iter().chain(patterns).collect()
        };
        for phase in phases {
            let wanted: Vec<Operation> = phase.iter().filter(|(_, is_on)| *is_on).map(|(what, _)| *what).collect();
            if wanted.is_empty() {
                continue;
            }
            let makes = wanted.contains(&Operation::Create);
            let mut done = vec![false; self.groups.len()];
            for start in &order {
                let chain = if makes { self.ancestors(*start) } else { self.descendants(*start) };
                for at in chain {
                    let Some(is_done) = done.get_mut(at) else { continue };
                    if !std::mem::replace(is_done, true) {
                        let items = self.groups.get(at).map_or(&[][..], |group| &group.items);
                        let each = |item| wanted.iter().map(move |operation| Step { operation: *operation, item });
                        steps.extend(items.iter().flat_map(each));
                    }
                }
            }
        }
        steps
    }

    /// Finds for each path the closest one it lies below; when all files are read.
    pub fn link(&mut self) {
        for group in &mut self.groups {
            group.children.clear();
        }
        for at in 0..self.groups.len() {
            let path = self.groups.get(at).and_then(|group| group.items.first()).map(|item| item.path.clone());
            let mut rest = path.as_deref().unwrap_or_default();
            let mut parent = None;
            while let (None, Some((above, _))) = (parent, rest.rsplit_once('/')) {
                rest = above;
                let path = if above.is_empty() { "/" } else { above };
                parent = self.names.get(path).or_else(|| self.patterns.get(path)).copied();
            }
            let parent = parent.filter(|parent| *parent != at);
            if let Some(group) = self.groups.get_mut(at) {
                group.parent = parent;
            }
            if let Some(parent) = parent.and_then(|parent| self.groups.get_mut(parent)) {
                parent.children.push(at);
            }
        }
    }

    /// The groups above one, the highest first, and itself.
    fn ancestors(&self, start: usize) -> Vec<usize> {
        let mut chain = vec![start];
        while let Some(parent) = chain.last().and_then(|at| self.groups.get(*at)?.parent) {
            chain.push(parent);
        }
        chain.reverse();
        chain
    }

    /// The groups below one, each after those below it, and itself.
    fn descendants(&self, start: usize) -> Vec<usize> {
        let mut chain = Vec::new();
        let mut waiting = vec![start];
        while let Some(at) = waiting.pop() {
            chain.push(at);
            waiting.extend(self.groups.get(at).map_or(&[][..], |group| &group.children));
        }
        chain.reverse();
        chain
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
