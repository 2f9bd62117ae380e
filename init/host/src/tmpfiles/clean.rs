//! Removing what nobody has touched for its age, and everything in a folder that is to be emptied.
//!
//! Left alone: what another line speaks of, other file systems, devices, sockets that somebody listens on, files with
//! the sticky bit, and what somebody holds locked. A folder's own times stay as they were.

use std::collections::BTreeSet;

use ferrite_hostconf::tmpfiles::{Age, Item, Kind, Rules, Times};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Statx, StatxAttributes, StatxFlags, Timespec};
use rustix::io::Errno;

use super::apply::{Session, each, lost};
use super::walk::{Last, Lost, Safety, names, open_folder, words};

/// Folders in folders.
const DEPTH_MAX: usize = 256;

/// What goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sweep<'a> {
    /// All lines: what they speak of stays.
    pub rules: &'a Rules,
    /// How old it must be; `None`: everything goes.
    pub age: Option<Age>,
}

/// Cleans what the item names.
pub(super) fn clean(session: &Session<'_>, rules: &Rules, item: &Item) -> Result<(), String> {
    let Some(age) = item.age else { return Ok(()) };
    let sweep_one = |path: &str| sweep(session, path, &Sweep { rules, age: Some(age) }).map(|_| ());
    match item.kind {
        Kind::Folder | Kind::EmptiedFolder | Kind::Subvolume(_) | Kind::Copy => {
            // What could not be cleaned was told, and is no failure of the command.
            if let Err(message) = sweep_one(&item.path) {
                eprintln!("{message}");
            }
            Ok(())
        }
        Kind::Existing | Kind::Ignore | Kind::IgnoreOnly => each(session, item, sweep_one),
        _ => Ok(()),
    }
}

/// Goes through a folder; `Ok(false)`: there is no folder.
pub(super) fn sweep(session: &Session<'_>, path: &str, sweep: &Sweep<'_>) -> Result<bool, String> {
    let node = match session.tree.chase(path, Last::Keep, Safety::Checked) {
        Ok(node) => node,
        Err(Lost::System(Errno::NOENT | Errno::NOTDIR) | Lost::Automount) => return Ok(false),
        Err(error) => return Err(lost(session, "open directory", path, &error)),
    };
    if node.kind() != FileType::Directory {
        return Ok(false);
    }
    let shown = session.tree.shown(path);
    let failed = |error| format!("Failed to open directory {shown}: {}", words(error));
    let folder = open_folder(&node).map_err(failed)?;
    let own = look(&folder, "").map_err(failed)?;
    let cutoff = sweep.age.map(|age| session.now - i128::from(age.microseconds) * 1000);
    let mut sweeper = Sweeper { session, sweep, cutoff, sockets: None, failures: Vec::new() };
    let is_mount = own.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
    sweeper.folder(&folder, path, &own, Level { depth: 0, is_mount });
    let failures = sweeper.failures;
    if failures.is_empty() { Ok(true) } else { Err(failures.join("\n")) }
}

#[derive(Clone, Copy)]
struct Level {
    depth: usize,
    is_mount: bool,
}

struct Sweeper<'a> {
    session: &'a Session<'a>,
    sweep: &'a Sweep<'a>,
    /// What is younger stays; nanoseconds since 1970.
    cutoff: Option<i128>,
    sockets: Option<BTreeSet<String>>,
    failures: Vec<String>,
}

fn look(folder: &OwnedFd, name: &str) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    rustix::fs::statx(folder, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME)
}

impl Sweeper<'_> {
    fn folder(&mut self, folder: &OwnedFd, path: &str, own: &Statx, level: Level) {
        let found = match names(folder) {
            Ok(found) => found,
            Err(error) => {
                return self.failures.push(format!(
                    "Failed to read '{}': {}",
                    self.session.tree.shown(path),
                    words(error)
                ));
            }
        };
        let mut is_changed = false;
        for name in found {
            let Some(name) = name.to_str() else { continue };
            let Ok(data) = look(folder, name) else { continue };
            let below = if path == "/" { format!("/{name}") } else { format!("{path}/{name}") };
            let is_other_system = data.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
                || (data.stx_dev_major, data.stx_dev_minor) != (own.stx_dev_major, own.stx_dev_minor);
            if is_other_system || self.sweep.rules.speaks_of(&below) {
                continue;
            }
            match FileType::from_raw_mode(u32::from(data.stx_mode)) {
                FileType::Directory => self.sub_folder(folder, name, &below, &data, level),
                kind => is_changed |= self.file(folder, name, &below, (&data, kind), level),
            }
        }
        if is_changed && self.cutoff.is_some() && !self.session.is_dry_run {
            let times =
                rustix::fs::Timestamps { last_access: time(own.stx_atime), last_modification: time(own.stx_mtime) };
            if let Err(error) = rustix::fs::futimens(folder, &times) {
                let path = self.session.tree.shown(path);
                eprintln!("Failed to revert timestamps of '{path}', ignoring: {}", words(error));
            }
        }
    }

    fn sub_folder(&mut self, folder: &OwnedFd, name: &str, path: &str, data: &Statx, level: Level) {
        if level.is_mount && name == "lost+found" && data.stx_uid == 0 {
            return;
        }
        let shown = self.session.tree.shown(path);
        if level.depth >= DEPTH_MAX {
            eprintln!("Reached max depth on \"{shown}\".");
        } else {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
                Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
                outcome => outcome,
            };
            let inner = match opened {
                Ok(inner) => inner,
                Err(Errno::NOENT) => return,
                Err(error) => {
                    eprintln!("Opening directory \"{shown}\" failed, ignoring: {}", words(error));
                    return;
                }
            };
            if !self.session.is_dry_run && rustix::fs::flock(&inner, FlockOperation::NonBlockingLockExclusive).is_err()
            {
                return;
            }
            self.folder(&inner, path, data, Level { depth: level.depth + 1, is_mount: false });
        }
        let keeps = level.depth == 0 && self.sweep.age.is_some_and(|age| age.keeps_first_level);
        if keeps || !self.is_old(data, self.sweep.age.map(|age| age.of_folders)) {
            return;
        }
        self.session.would(|| format!("Would remove directory \"{shown}\""));
        if self.session.is_dry_run {
            return;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => eprintln!("Failed to remove directory \"{shown}\", ignoring: {}", words(error)),
        }
    }

    /// `true`: it is gone.
    fn file(
        &mut self,
        folder: &OwnedFd,
        name: &str,
        path: &str,
        (data, kind): (&Statx, FileType),
        level: Level,
    ) -> bool {
        let is_quota = level.is_mount
            && kind == FileType::RegularFile
            && data.stx_uid == 0
            && matches!(name, ".journal" | "aquota.user" | "aquota.group");
        let keeps = level.depth == 0 && self.sweep.age.is_some_and(|age| age.keeps_first_level);
        let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        if u32::from(data.stx_mode) & 0o1000 != 0 || is_quota || is_device || keeps {
            return false;
        }
        let shown = self.session.tree.shown(path);
        if kind == FileType::Socket && self.is_listened_on(&shown) {
            return false;
        }
        if !self.is_old(data, self.sweep.age.map(|age| age.of_files)) {
            return false;
        }
        self.session.would(|| format!("Would remove \"{shown}\""));
        if self.session.is_dry_run {
            return true;
        }
        // The lock is held until the file is gone.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty());
        if let Ok(file) = &file
            && rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::AGAIN)
        {
            return false;
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => true,
            Err(error) => {
                eprintln!("Failed to remove \"{shown}\", ignoring: {}", words(error));
                true
            }
        }
    }

    fn is_old(&self, data: &Statx, times: Option<Times>) -> bool {
        let (Some(cutoff), Some(times)) = (self.cutoff, times) else { return true };
        let has = |flag: StatxFlags| data.stx_mask & flag.bits() != 0;
        let young = |counts: bool, time: rustix::fs::StatxTimestamp, flag: StatxFlags| {
            counts && has(flag) && nanoseconds(time) >= cutoff
        };
        !(young(times.modification, data.stx_mtime, StatxFlags::MTIME)
            || young(times.access, data.stx_atime, StatxFlags::ATIME)
            || young(times.change, data.stx_ctime, StatxFlags::CTIME)
            || young(times.birth, data.stx_btime, StatxFlags::BTIME))
    }

    /// Whether the kernel knows the socket; what cannot be asked counts as in use.
    fn is_listened_on(&mut self, path: &str) -> bool {
        if self.sockets.is_none() {
            let Ok(table) = std::fs::read_to_string("/proc/net/unix") else { return true };
            let path = |line: &str| line.split_whitespace().nth(7).map(str::to_string);
            self.sockets = Some(table.lines().skip(1).filter_map(path).collect());
        }
        self.sockets.as_ref().is_none_or(|sockets| sockets.contains(path))
    }
}

fn nanoseconds(time: rustix::fs::StatxTimestamp) -> i128 {
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

fn time(time: rustix::fs::StatxTimestamp) -> Timespec {
    Timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_nsec.into() }
}
