//! Renews the lock file: what `ferrite lock` does.

use super::lock::{Lock, Locked, TOOLS};
use super::resolve::Resolver;
use super::store::Store;
use super::tools::PACKAGES;
use anyhow::{Context, Result};
use ferrite_boards::Board;
use std::collections::{BTreeMap, BTreeSet};

/// A new lock and how it differs from the old one.
#[derive(Debug)]
pub struct Renewed {
    /// The new lock; equal to the old one if nothing changed.
    pub lock: Lock,
    /// One line a change.
    pub changes: Vec<String>,
}

/// Whether the build's own tools are in a lock file: they are in the tree's, not in that of a board of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithTools {
    /// They are.
    Yes,
    /// They are not.
    No,
}

/// Resolves all boards and the tools anew. `now` becomes the lock's time if anything changed.
pub fn renew(store: &Store<'_>, boards: &[Board], tools: WithTools, old: Option<&Lock>, now: u64) -> Result<Renewed> {
    let mirror = store.mirror()?;
    let resolver = Resolver::update(&store.cache().folder().join("apt"), &mirror)?;
    let mut sections = BTreeMap::new();
    for board in boards {
        let mut names: Vec<&str> = board.packages.iter().map(|package| package.name.as_str()).collect();
        names.push(&board.kernel);
        let packages = resolver.resolve(&names).with_context(|| format!("for board {}", board.name))?;
        sections.insert(board.name.clone(), packages);
    }
    if tools == WithTools::Yes {
        let packages = resolver.resolve(&PACKAGES).context("for the build's own tools")?;
        sections.insert(TOOLS.to_owned(), packages);
    }
    let none = Lock::default();
    let changes = changes(old.unwrap_or(&none), &sections);
    let epoch = match old {
        Some(old) if changes.is_empty() => old.epoch,
        Some(_) | None => now,
    };
    Ok(Renewed { lock: Lock { epoch, sections }, changes })
}

fn changes(old: &Lock, new: &BTreeMap<String, Vec<Locked>>) -> Vec<String> {
    let empty = Vec::new();
    let names: BTreeSet<&String> = old.sections.keys().chain(new.keys()).collect();
    let mut lines = Vec::new();
    for section in names {
        let by_name = |packages: &[Locked]| -> BTreeMap<String, Locked> {
            packages.iter().map(|package| (package.name.clone(), package.clone())).collect()
        };
        let before = by_name(old.sections.get(section).unwrap_or(&empty));
        let after = by_name(new.get(section).unwrap_or(&empty));
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            match (before.get(name), after.get(name)) {
                (Some(old), Some(new)) if old == new => {}
                (Some(old), Some(new)) => lines.push(format!("{section}: {name} {} -> {}", old.version, new.version)),
                (Some(old), None) => lines.push(format!("{section}: {name} {} removed", old.version)),
                (None, Some(new)) => lines.push(format!("{section}: {name} {} added", new.version)),
                (None, None) => {}
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::lock::Archive;
    use super::*;

    fn package(name: &str, version: &str) -> Locked {
        Locked {
            name: name.into(),
            version: version.into(),
            arch: "amd64".into(),
            archive: Archive::Main,
            path: format!("pool/{name}"),
            size_bytes: 1,
            sha256: "ab".repeat(32),
        }
    }

    #[test]
    fn a_renewal_says_what_changed() {
        let section = |packages: &[Locked]| BTreeMap::from([("qemu".to_owned(), packages.to_vec())]);
        let old = Lock { epoch: 5, sections: section(&[package("a", "1"), package("b", "1"), package("c", "1")]) };
        let new = section(&[package("b", "2"), package("c", "1"), package("d", "1")]);
        assert_eq!(changes(&old, &new), ["qemu: a 1 removed", "qemu: b 1 -> 2", "qemu: d 1 added"]);
        assert!(changes(&old, &old.sections).is_empty());
    }
}
