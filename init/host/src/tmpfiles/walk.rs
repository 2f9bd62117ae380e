//! Finding a path below the root, one part at a time, so that nobody can lead it elsewhere.
//!
//! Links are followed as `chroot` would. A folder of an unprivileged user may lead nowhere that belongs to somebody
//! else: such a step is refused, because its owner could have planted the link or the file.

use ferrite_files::Root;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Links are followed this many times.
const LINKS_MAX: usize = 32;
/// The kind of a file system that mounts on access.
const AUTOFS_MAGIC: i64 = 0x187;

/// How a refused step is told.
pub(super) const UNSAFE: &str = "Detected unsafe path transition";

/// Whether a link in the last place is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// It is.
    Follow,
    /// The link itself is meant.
    Keep,
}

/// Whether steps from a user's folder to somebody else's file are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    /// They are.
    Checked,
    /// They are not: it is only looked whether something is there.
    Any,
}

/// Something that was found, opened without any effect on it.
#[derive(Debug)]
pub(super) struct Node {
    /// The open descriptor (`O_PATH`).
    pub fd: OwnedFd,
    /// What it is.
    pub stat: Stat,
}

impl Node {
    /// Its kind.
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens it again, to read or write.
    pub(super) fn reopen(&self, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(CWD, proc_path(&self.fd), flags | OFlags::CLOEXEC, Mode::empty())
    }
}

/// The path under which the kernel has an open descriptor.
pub(super) fn proc_path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Why a path was not found.
#[derive(Debug)]
pub(super) enum Lost {
    /// A step that somebody could have planted.
    Unsafe(String),
    /// The path has `..` in it.
    NotNormal,
    /// It lies where a file system would be mounted on access.
    Automount,
    /// The kernel's word.
    System(Errno),
}

impl From<Errno> for Lost {
    fn from(error: Errno) -> Self {
        Self::System(error)
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsafe(message) => out.write_str(message),
            Self::NotNormal => out.write_str("path not normalized"),
            Self::Automount => out.write_str("it is an automount point"),
            Self::System(error) => out.write_str(&words(*error)),
        }
    }
}

/// The system's words for an error, without its number.
pub(super) fn words(error: Errno) -> String {
    let text = std::io::Error::from(error).to_string();
    text.split(" (os error").next().unwrap_or_default().to_string()
}

/// The root with everything below it.
#[derive(Debug)]
pub(super) struct Tree {
    top: OwnedFd,
    prefix: String,
}

impl Tree {
    /// Opens the root.
    pub(super) fn open(root: &Root) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(root.path(), flags, Mode::empty())?;
        let prefix = if root.is_machine() { String::new() } else { root.path().display().to_string() };
        Ok(Self { top, prefix })
    }

    /// A path as messages have it.
    pub(super) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn top(&self) -> rustix::io::Result<Node> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.top, 0)?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Node { fd, stat })
    }

    /// Finds a path.
    pub(super) fn chase(&self, path: &str, last: Last, safety: Safety) -> Result<Node, Lost> {
        let mut above: Vec<(Node, String)> = Vec::new();
        let (mut here, mut shown) = (self.top()?, String::new());
        let mut todo: Vec<String> = parts(path).rev().map(str::to_string).collect();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                if let Some((parent, name)) = above.pop() {
                    self.check(safety, (&here, &shown), (&parent, &name), path)?;
                    (here, shown) = (parent, name);
                }
                continue;
            }
            let next = open_part(&here, &part)?;
            let next_shown = format!("{shown}/{part}");
            self.check(safety, (&here, &shown), (&next, &next_shown), path)?;
            if next.kind() == FileType::Symlink && !(todo.is_empty() && last == Last::Keep) {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Lost::System(Errno::LOOP));
                }
                let target = rustix::fs::readlinkat(&next.fd, "", Vec::new())?;
                let target = target.to_string_lossy().into_owned();
                if target.starts_with('/') {
                    above.clear();
                    let top = self.top()?;
                    self.check(safety, (&next, &next_shown), (&top, "/"), path)?;
                    (here, shown) = (top, String::new());
                }
                todo.extend(parts(&target).rev().map(str::to_string));
                continue;
            }
            above.push((std::mem::replace(&mut here, next), std::mem::replace(&mut shown, next_shown)));
        }
        Ok(here)
    }

    fn check(&self, safety: Safety, from: (&Node, &str), to: (&Node, &str), path: &str) -> Result<(), Lost> {
        let ((from, from_path), (to, to_path)) = (from, to);
        let is_safe = from.stat.st_uid == 0 || from.stat.st_uid == to.stat.st_uid;
        if safety == Safety::Any || is_safe {
            return Ok(());
        }
        let owner = |node: &Node| if node.stat.st_uid == 0 { "root".to_string() } else { node.stat.st_uid.to_string() };
        let (from_path, to_path, path) = (self.shown(from_path), self.shown(to_path), self.shown(path));
        Err(Lost::Unsafe(format!(
            "{UNSAFE} {from_path} (owned by {}) \u{2192} {to_path} (owned by {}) during \
             canonicalization of {path}.",
            owner(from),
            owner(to)
        )))
    }

    /// The folder that a path lies in, and the last part of the path. For the root itself: `.` in the root.
    pub(super) fn parent<'p>(&self, path: &'p str) -> Result<(Node, &'p str), Lost> {
        if path.split('/').any(|part| part == "..") {
            return Err(Lost::NotNormal);
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let name = if name.is_empty() { "." } else { name };
        Ok((self.chase(folder, Last::Follow, Safety::Checked)?, name))
    }

    /// Whether something is at the path; a link that leads nowhere is nothing.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.chase(path, Last::Follow, Safety::Any).is_ok()
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// Opens one name in a folder without following it.
pub(super) fn open_part(folder: &Node, name: &str) -> Result<Node, Lost> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&folder.fd, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    let is_mounted = stat.st_dev != folder.stat.st_dev;
    if is_mounted && rustix::fs::fstatfs(&fd).is_ok_and(|system| system.f_type == AUTOFS_MAGIC) {
        return Err(Lost::Automount);
    }
    Ok(Node { fd, stat })
}

/// The names in a folder, sorted; `.` and `..` are none.
pub(super) fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(std::ffi::OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

/// Opens a folder to read it, without changing when it was last read if that is allowed.
pub(super) fn open_folder(node: &Node) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(&node.fd, ".", flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(&node.fd, ".", flags, Mode::empty()),
        outcome => outcome,
    }
}
