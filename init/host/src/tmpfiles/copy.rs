//! Copying files and trees (`C`): modes, owners, times and links with them. What exists stays; a folder that has
//! something in it is filled up only with `C+`.

use std::fs::File;

use ferrite_hostconf::tmpfiles::{Data, Item};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::apply::{Session, lost};
use super::permissions::{self, Creation};
use super::walk::{Last, Node, Safety, names, open_folder, open_part, words};

/// Folders in folders.
const DEPTH_MAX: usize = 2048;

/// One object that is copied.
struct Job {
    source: Node,
    parent: Node,
    name: String,
    depth: usize,
}

/// Copies what the item names.
pub(super) fn copy(session: &Session<'_>, item: &Item) -> Result<(), String> {
    let Data::Path(from) = &item.data else { return Ok(()) };
    let (shown_from, shown) = (session.tree.shown(from), session.tree.shown(&item.path));
    session.would(|| format!("Would copy tree \"{shown_from}\" to \"{shown}\""));
    if session.is_dry_run {
        return Ok(());
    }
    let (parent, name) =
        session.tree.parent(&item.path).map_err(|error| lost(session, "open parent of", &item.path, &error))?;
    let source = session.tree.chase(from, Last::Keep, Safety::Any);
    let source = source.map_err(|error| lost(session, "open path", from, &error))?;
    let followed = session.tree.chase(from, Last::Follow, Safety::Any);
    let wanted = followed.map_err(|error| lost(session, "open path", from, &error))?.kind();
    let target = Node { fd: dup(&parent)?, stat: parent.stat };
    let outcome = copy_tree(item, Job { source, parent: target, name: name.to_string(), depth: 0 });
    let made = match (open_part(&parent, name), outcome) {
        (Ok(made), _) => made,
        (Err(_), Err(error)) => return Err(format!("Failed to copy files to {shown}: {}", words(error))),
        (Err(error), Ok(())) => return Err(lost(session, "open", &item.path, &error)),
    };
    if made.kind() != wanted {
        return Ok(());
    }
    permissions::set(session, item, &made.fd, &item.path, Creation::New)
}

fn dup(node: &Node) -> Result<rustix::fd::OwnedFd, String> {
    rustix::io::fcntl_dupfd_cloexec(&node.fd, 0).map_err(|error| format!("dup() failed: {}", words(error)))
}

/// Copies depth first; the first failure ends it.
fn copy_tree(item: &Item, first: Job) -> Result<(), Errno> {
    let mut waiting = vec![first];
    // Folders get their times when everything is in them.
    let mut folders = Vec::new();
    while let Some(job) = waiting.pop() {
        let made = one(item, &job);
        let is_top = job.depth == 0;
        let is_new = match made {
            Ok(()) => true,
            Err(Errno::EXIST) if job.source.kind() == FileType::Directory => false,
            Err(Errno::EXIST) if !is_top && item.is_forced => continue,
            Err(error) => return Err(error),
        };
        if job.source.kind() != FileType::Directory {
            continue;
        }
        if job.depth >= DEPTH_MAX {
            return Err(Errno::LOOP);
        }
        let target = open_part(&job.parent, &job.name).map_err(|_| Errno::NOTDIR)?;
        if target.kind() != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if !is_new && !item.is_forced && !names(&open_folder(&target)?)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        for name in names(&open_folder(&job.source)?)? {
            let name = name.to_str().ok_or(Errno::ILSEQ)?.to_string();
            let Ok(source) = open_part(&job.source, &name) else { continue };
            let parent = Node { fd: rustix::io::fcntl_dupfd_cloexec(&target.fd, 0)?, stat: target.stat };
            waiting.push(Job { source, parent, name, depth: job.depth + 1 });
        }
        if is_new {
            folders.push((job, target));
        }
    }
    for (job, target) in folders.iter().rev() {
        let folder = open_folder(target)?;
        rustix::fs::futimens(&folder, &times(&job.source))?;
    }
    Ok(())
}

fn times(node: &Node) -> Timestamps {
    let stat = &node.stat;
    let time =
        |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn one(item: &Item, job: &Job) -> Result<(), Errno> {
    let Job { source, parent, name, .. } = job;
    let mode = Mode::from_raw_mode(source.stat.st_mode & 0o7777);
    let user = Uid::from_raw(item.user.map_or(source.stat.st_uid, |owner| owner.id));
    let group = Gid::from_raw(item.group.map_or(source.stat.st_gid, |owner| owner.id));
    match source.kind() {
        FileType::Directory => rustix::fs::mkdirat(&parent.fd, name, Mode::RWXU)?,
        FileType::RegularFile => return file(job, mode, (user, group)),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&source.fd, "", Vec::new())?;
            rustix::fs::symlinkat(&target, &parent.fd, name)?;
        }
        kind => rustix::fs::mknodat(&parent.fd, name, kind, mode, source.stat.st_rdev)?,
    }
    rustix::fs::chownat(&parent.fd, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    match source.kind() {
        FileType::Symlink => rustix::fs::utimensat(&parent.fd, name, &times(source), AtFlags::SYMLINK_NOFOLLOW),
        _ => rustix::fs::chmodat(&parent.fd, name, mode, AtFlags::empty()),
    }
}

fn file(job: &Job, mode: Mode, (user, group): (Uid, Gid)) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = rustix::fs::openat(&job.parent.fd, &job.name, flags, Mode::RUSR | Mode::WUSR)?;
    let from = job.source.reopen(OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK);
    let filled = from.and_then(|from| {
        let (mut from, mut to) = (File::from(from), File::from(target));
        let copied = std::io::copy(&mut from, &mut to);
        copied.map_err(|error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))?;
        rustix::fs::fchown(&to, Some(user), Some(group))?;
        rustix::fs::fchmod(&to, mode)?;
        rustix::fs::futimens(&to, &times(&job.source))
    });
    if filled.is_err() {
        // Half a file is worse than none; the first failure is the one to tell.
        let _ = rustix::fs::unlinkat(&job.parent.fd, &job.name, AtFlags::empty());
    }
    filled
}
