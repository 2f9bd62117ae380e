//! The folders above what a line makes; with `=`, what is in their place and no folder gives way to them.

use ferrite_hostconf::tmpfiles::{Item, Kind};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::apply::{Session, lost};
use super::remove::remove_all;
use super::walk::{Last, Lost, Safety, words};

const FOLDER_MODE: u32 = 0o755;

/// Makes the folders above the item's path.
pub(super) fn make(session: &Session<'_>, item: &Item) -> Result<(), String> {
    let folder = item.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_there = session.tree.chase(folder, Last::Follow, Safety::Any);
    let is_there = is_there.is_ok_and(|node| node.kind() == FileType::Directory);
    if !is_there {
        let ends = folder.char_indices().filter(|(at, c)| *c == '/' && *at > 0).map(|(at, _)| at);
        for end in ends.chain([folder.len()]) {
            one(session, item, folder.get(..end).unwrap_or_default())?;
        }
    }
    if item.replaces { replace_last(session, item) } else { Ok(()) }
}

/// A failure shows when the path itself is made.
fn one(session: &Session<'_>, item: &Item, path: &str) -> Result<(), String> {
    match session.tree.chase(path, Last::Follow, Safety::Checked) {
        Ok(node) if node.kind() == FileType::Directory || !item.replaces => return Ok(()),
        Ok(_) => remove_wrong(session, path)?,
        Err(Lost::System(Errno::NOENT)) => {
            if item.replaces && session.tree.chase(path, Last::Keep, Safety::Any).is_ok() {
                remove_wrong(session, path)?;
            }
        }
        Err(error) if item.replaces => return Err(lost(session, "open path", path, &error)),
        Err(_) => return Ok(()),
    }
    if session.is_dry_run {
        return Ok(());
    }
    let Ok((parent, name)) = session.tree.parent(path) else { return Ok(()) };
    let made = rustix::fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(FOLDER_MODE));
    match made {
        Err(error) if error != Errno::EXIST && item.replaces => {
            Err(format!("Failed to mkdir \"{}\": {}", session.tree.shown(path), words(error)))
        }
        _ => Ok(()),
    }
}

fn replace_last(session: &Session<'_>, item: &Item) -> Result<(), String> {
    let wanted = match item.kind {
        Kind::File | Kind::Truncate => FileType::RegularFile,
        Kind::Folder | Kind::EmptiedFolder | Kind::Subvolume(_) => FileType::Directory,
        Kind::Pipe => FileType::Fifo,
        Kind::Link => FileType::Symlink,
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        _ => return Ok(()),
    };
    match session.tree.chase(&item.path, Last::Keep, Safety::Any) {
        Ok(node) if node.kind() != wanted => remove_wrong(session, &item.path),
        _ => Ok(()),
    }
}

fn remove_wrong(session: &Session<'_>, path: &str) -> Result<(), String> {
    let (parent, name) = session.tree.parent(path).map_err(|error| lost(session, "open parent of", path, &error))?;
    let shown = session.tree.shown(path);
    let Ok(stat) = rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
    eprintln!("Wrong file type 0o{:o}; rm -rf \"{shown}\"", stat.st_mode & 0o170_000);
    if stat.st_dev != parent.stat.st_dev {
        return Err(format!("Not removing \"{shown}\" because it is a mount point."));
    }
    session.would(|| format!("Would remove {shown}"));
    if session.is_dry_run {
        return Ok(());
    }
    remove_all(&parent, name).map_err(|error| format!("Failed to remove \"{shown}\": {}", words(error)))
}
