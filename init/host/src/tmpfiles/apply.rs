//! Carrying out the steps of a plan, one after the other; a step that fails does not keep the others from being tried.

use std::cell::OnceCell;

use ferrite_hostconf::tmpfiles::plan::Operation;
use ferrite_hostconf::tmpfiles::{Item, Kind, Rules, Step};
use rustix::fs::FileType;

use super::walk::{Last, Lost, Node, Safety, Tree, UNSAFE, names, open_folder, open_part, words};
use super::{attributes, clean, copy, make, matching, parents, permissions, remove};

/// What all steps share.
#[derive(Debug)]
pub(super) struct Session<'a> {
    /// The root.
    pub tree: &'a Tree,
    /// Nothing is changed, but said.
    pub is_dry_run: bool,
    /// Nanoseconds since 1970.
    pub now: i128,
    protected: OnceCell<bool>,
}

impl<'a> Session<'a> {
    /// A session of now.
    pub(super) fn new(tree: &'a Tree, is_dry_run: bool, now: i128) -> Self {
        Self { tree, is_dry_run, now, protected: OnceCell::new() }
    }

    /// Says what would be done, when nothing is.
    pub(super) fn would(&self, message: impl FnOnce() -> String) {
        if self.is_dry_run {
            eprintln!("{}", message());
        }
    }

    /// Whether the kernel lets nobody link to files of others; otherwise a link could be changed instead of a file.
    pub(super) fn hard_links_are_protected(&self) -> bool {
        let read = || std::fs::read_to_string("/proc/sys/fs/protected_hardlinks");
        *self.protected.get_or_init(|| read().is_ok_and(|text| text.trim() == "1"))
    }
}

/// Carries everything out; `false`: something failed.
pub(super) fn apply(session: &Session<'_>, rules: &Rules, steps: &[Step<'_>]) -> bool {
    let mut is_good = true;
    for step in steps {
        let item = step.item;
        let outcome = match step.operation {
            Operation::Create => create(session, item),
            Operation::Remove => remove::remove(session, rules, item),
            Operation::Clean => clean::clean(session, rules, item),
            Operation::Purge if item.is_purged => remove::purge(session, rules, item),
            Operation::Purge => Ok(()),
        };
        if let Err(message) = outcome {
            let is_ignored = item.may_fail && step.operation == Operation::Create;
            // A line that may fail counts on it.
            if !is_ignored || !message.starts_with(UNSAFE) {
                eprintln!("{message}{}", if is_ignored { ", ignoring" } else { "" });
            }
            is_good &= is_ignored;
        }
    }
    is_good
}

/// Makes or changes what the item names.
fn create(session: &Session<'_>, item: &Item) -> Result<(), String> {
    match item.kind {
        Kind::Ignore | Kind::IgnoreOnly | Kind::Remove | Kind::RemoveTree => Ok(()),
        Kind::Write | Kind::Existing | Kind::Adjust | Kind::Xattrs | Kind::Attributes | Kind::Acl => {
            each(session, item, |path| one(session, item, path))
        }
        Kind::AdjustTree | Kind::XattrsTree | Kind::AttributesTree | Kind::AclTree => {
            each(session, item, |path| tree(session, item, path))
        }
        Kind::File
        | Kind::Truncate
        | Kind::Folder
        | Kind::EmptiedFolder
        | Kind::Subvolume(_)
        | Kind::Pipe
        | Kind::Link
        | Kind::Character
        | Kind::Block
        | Kind::Copy => {
            parents::make(session, item)?;
            if item.kind == Kind::Copy { copy::copy(session, item) } else { make::make(session, item) }
        }
    }
}

/// Does something with every path that matches; all are tried, the first failure is told at the end.
pub(super) fn each(
    session: &Session<'_>,
    item: &Item,
    mut action: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let mut failures = Vec::new();
    for path in matching::paths(session.tree, &item.path) {
        failures.extend(action(&path).err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// What a failed search is told as.
pub(super) fn lost(session: &Session<'_>, doing: &str, path: &str, error: &Lost) -> String {
    match error {
        Lost::Unsafe(message) => message.clone(),
        Lost::Automount => format!("Skipping {}: it is an automount point", session.tree.shown(path)),
        Lost::NotNormal | Lost::System(_) => format!("Failed to {doing} '{}': {error}", session.tree.shown(path)),
    }
}

fn one(session: &Session<'_>, item: &Item, path: &str) -> Result<(), String> {
    if item.kind == Kind::Write {
        return make::write(session, item, path);
    }
    // A folder that `e` names may be reached by a link.
    let last = if item.kind == Kind::Existing { Last::Follow } else { Last::Keep };
    let node = match session.tree.chase(path, last, Safety::Checked) {
        Ok(node) => node,
        Err(Lost::System(rustix::io::Errno::NOENT)) if item.kind == Kind::Existing => return Ok(()),
        Err(Lost::Automount) => return Ok(()),
        Err(error) => return Err(lost(session, "open path", path, &error)),
    };
    if item.kind == Kind::Existing && node.kind() != FileType::Directory {
        eprintln!("'{}' already exists and is not a directory.", session.tree.shown(path));
        return Ok(());
    }
    act(session, item, &node, path)
}

fn act(session: &Session<'_>, item: &Item, node: &Node, path: &str) -> Result<(), String> {
    match item.kind {
        Kind::Adjust | Kind::AdjustTree | Kind::Existing => permissions::set_existing(session, item, node, path),
        _ => attributes::set(session, item, node, path),
    }
}

/// The same for everything below a path, without following links.
fn tree(session: &Session<'_>, item: &Item, path: &str) -> Result<(), String> {
    let top = match session.tree.chase(path, Last::Keep, Safety::Checked) {
        Ok(node) => node,
        Err(Lost::Automount) => return Ok(()),
        Err(error) => return Err(lost(session, "open path", path, &error)),
    };
    let mut failures = Vec::new();
    let mut waiting = vec![(top, path.to_string())];
    while let Some((node, path)) = waiting.pop() {
        failures.extend(act(session, item, &node, &path).err());
        if node.kind() != FileType::Directory {
            continue;
        }
        let found = match open_folder(&node).and_then(|folder| names(&folder)) {
            Ok(found) => found,
            Err(error) => {
                failures.push(format!("Failed to opendir() '{}': {}", session.tree.shown(&path), words(error)));
                continue;
            }
        };
        for name in found {
            let Some(name) = name.to_str() else { continue };
            let below = format!("{path}/{name}");
            match open_part(&node, name) {
                Ok(next) => waiting.push((next, below)),
                Err(Lost::System(rustix::io::Errno::NOENT) | Lost::Automount) => {}
                Err(error) => failures.push(lost(session, "open file", &below, &error)),
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}
