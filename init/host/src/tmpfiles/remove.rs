//! Removing what `r`, `R`, `D` and `--purge` name.

use ferrite_hostconf::tmpfiles::{Item, Kind, Rules};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::apply::{Session, each, lost};
use super::clean::{self, Sweep};
use super::walk::{Lost, Node, names, open_folder, open_part, words};

/// Removes what the item says is to be removed.
pub(super) fn remove(session: &Session<'_>, rules: &Rules, item: &Item) -> Result<(), String> {
    match item.kind {
        Kind::Remove => each(session, item, |path| one(session, path)),
        Kind::RemoveTree => each(session, item, |path| tree(session, rules, path)),
        Kind::EmptiedFolder => content(session, rules, &item.path).map(|_| ()),
        _ => Ok(()),
    }
}

/// Removes what the item has made.
pub(super) fn purge(session: &Session<'_>, rules: &Rules, item: &Item) -> Result<(), String> {
    if item.kind.takes_pattern() {
        each(session, item, |path| tree(session, rules, path))
    } else {
        tree(session, rules, &item.path)
    }
}

fn one(session: &Session<'_>, path: &str) -> Result<(), String> {
    let shown = session.tree.shown(path);
    session.would(|| format!("Would remove \"{shown}\"."));
    if session.is_dry_run {
        return Ok(());
    }
    let (parent, name) = match session.tree.parent(path) {
        Ok(found) => found,
        Err(Lost::System(Errno::NOENT | Errno::NOTDIR) | Lost::Automount) => return Ok(()),
        Err(error) => return Err(lost(session, "open parent of", path, &error)),
    };
    let removed = match rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR),
        outcome => outcome,
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(format!("rm {shown}: {}", words(error))),
    }
}

/// Removes a path with all that is in it, but for what other lines speak of.
fn tree(session: &Session<'_>, rules: &Rules, path: &str) -> Result<(), String> {
    if !content(session, rules, path)? {
        return one(session, path);
    }
    let shown = session.tree.shown(path);
    session.would(|| format!("Would remove directory \"{shown}\"."));
    if session.is_dry_run {
        return Ok(());
    }
    let (parent, name) = session.tree.parent(path).map_err(|error| lost(session, "open parent of", path, &error))?;
    match rustix::fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
        Err(error) => Err(format!("Failed to remove {shown}: {}", words(error))),
    }
}

/// Removes what is in a folder; `false`: there is no folder.
fn content(session: &Session<'_>, rules: &Rules, path: &str) -> Result<bool, String> {
    clean::sweep(session, path, &Sweep { rules, age: None })
}

/// Removes a name with all that is in it, on its own file system only.
pub(super) fn remove_all(parent: &Node, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(&parent.fd, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        outcome => return outcome,
    }
    let Ok(node) = open_part(parent, name) else { return Ok(()) };
    if node.kind() == FileType::Directory && node.stat.st_dev == parent.stat.st_dev {
        for below in names(&open_folder(&node)?)? {
            let below = below.to_str().ok_or(Errno::ILSEQ)?;
            remove_all(&node, below)?;
        }
    }
    rustix::fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR)
}
