//! Builds the view of a unit's processes on a stage, then makes it their root. Runs in the child.
//!
//! Until the last moment the machine's own view is the root, so that sources are found whatever is mounted over them.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::Path;

use ferrite_sys::mounts::{Flag, change};
use ferrite_unit::escape::is_below;
use ferrite_unit::sandbox::Propagation;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{Mode as FileMode, OFlags, ResolveFlags};

use super::places::STAGE;
use super::view::{Entry, Mode, View, put_in_order};
use crate::mount_table;

/// Links followed at most before the places are known.
const ROUNDS_MAX: usize = 64;
/// Files and folders that show nothing, by kind.
const HIDDEN: &str = "/run/ferrite/hidden";

/// What failed, and at which place.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {path}")]
pub struct StageError {
    doing: &'static str,
    path: String,
    source: io::Error,
}

type Outcome<T> = Result<T, StageError>;

fn at<T>(doing: &'static str, path: &str, outcome: Result<T, impl Into<io::Error>>) -> Outcome<T> {
    outcome.map_err(|error| StageError { doing, path: path.to_owned(), source: error.into() })
}

const NOTHING: Option<&str> = None;

fn bind(source: &str, target: &str, recursive: bool) -> nix::Result<()> {
    let flags = if recursive { MsFlags::MS_BIND | MsFlags::MS_REC } else { MsFlags::MS_BIND };
    mount(Some(source), target, NOTHING, flags, NOTHING)
}

fn make_folder(path: &str, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Builds the view and enters it.
pub fn enter(view: &View) -> Outcome<()> {
    let root = format!("{STAGE}/root");
    for folder in ["root", "tmp", "dev", "new"] {
        let path = format!("{STAGE}/{folder}");
        at("making", &path, make_folder(&path, 0o755))?;
    }
    at("making files that show nothing in", HIDDEN, make_hidden())?;
    at("leaving the machine's view", "/", nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS))?;
    let slave = MsFlags::MS_SLAVE | MsFlags::MS_REC;
    at("cutting the mounts off", "/", mount(NOTHING, "/", NOTHING, slave, NOTHING))?;
    let source = view.root.as_deref().unwrap_or("/");
    at("showing", source, bind(source, &root, true))?;
    if view.own_tmp {
        own_tmp()?;
    }
    let mut builder = Builder { root: root.clone(), entries: view.entries.clone() };
    builder.build()?;
    for (target, path) in &view.links {
        let place = format!("{root}{path}");
        match std::os::unix::fs::symlink(target, &place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return at("linking", path, Err(error)),
            _ => {}
        }
    }
    builder.flags()?;
    at("changing the root to", source, switch_root(&root))?;
    let propagation = match view.propagation {
        Some(Propagation::Private) => MsFlags::MS_PRIVATE,
        Some(Propagation::Slave) => MsFlags::MS_SLAVE,
        Some(Propagation::Shared) | None => MsFlags::MS_SHARED,
    };
    at("setting MountFlags= of", "/", mount(NOTHING, "/", NOTHING, propagation | MsFlags::MS_REC, NOTHING))
}

/// One file of each kind that nobody can read, made once.
fn make_hidden() -> io::Result<()> {
    use nix::sys::stat::{Mode as NodeMode, SFlag, makedev, mknod};
    make_folder(HIDDEN, 0o755)?;
    let exists = |name: &str| Path::new(&format!("{HIDDEN}/{name}")).exists();
    if !exists("dir") {
        match fs::DirBuilder::new().mode(0o000).create(format!("{HIDDEN}/dir")) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let kinds = [
        ("reg", SFlag::S_IFREG),
        ("fifo", SFlag::S_IFIFO),
        ("sock", SFlag::S_IFSOCK),
        ("chr", SFlag::S_IFCHR),
        ("blk", SFlag::S_IFBLK),
    ];
    for (name, kind) in kinds.into_iter().filter(|(name, _)| !exists(name)) {
        // Inside a container no devices can be made; the place is hidden by a socket then.
        match mknod(format!("{HIDDEN}/{name}").as_str(), kind, NodeMode::empty(), makedev(0, 0)) {
            Err(nix::errno::Errno::EEXIST) => {}
            Err(nix::errno::Errno::EPERM) if matches!(name, "chr" | "blk") => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// The file system of a /tmp and a /var/tmp that nobody else sees.
fn own_tmp() -> Outcome<()> {
    let path = format!("{STAGE}/tmp");
    let flags = MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME | MsFlags::MS_NOSUID;
    let options = Some("mode=0700,size=10%,nr_inodes=400k");
    at("mounting", &path, mount(Some("tmpfs"), path.as_str(), Some("tmpfs"), flags, options))?;
    for folder in ["tmp", "var-tmp"] {
        let path = format!("{path}/{folder}");
        at("making", &path, make_folder(&path, 0o777))?;
        at("opening", &path, fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)))?;
    }
    Ok(())
}

/// Makes the stage the root and takes the machine's view away.
fn switch_root(root: &str) -> io::Result<()> {
    let old = rustix::fs::open("/", OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, FileMode::empty())?;
    nix::unistd::chdir(root)?;
    match nix::unistd::pivot_root(".", ".") {
        Ok(()) => {
            rustix::process::fchdir(&old)?;
            mount(NOTHING, ".", NOTHING, MsFlags::MS_SLAVE | MsFlags::MS_REC, NOTHING)?;
            umount2(".", MntFlags::MNT_DETACH)?;
        }
        // The root is the first file system of the kernel, which cannot be exchanged, only covered.
        Err(nix::errno::Errno::EINVAL) => {
            mount(Some("."), "/", NOTHING, MsFlags::MS_MOVE, NOTHING)?;
            nix::unistd::chroot(".")?;
        }
        Err(error) => return Err(error.into()),
    }
    nix::unistd::chdir("/")?;
    Ok(())
}

/// A mount of the stage: its place and its flags.
struct Mounted {
    path: String,
    automatic: bool,
}

/// All mounts at or below a place, in the order they were made.
fn mounts_below(prefix: &str) -> io::Result<Vec<Mounted>> {
    let text = fs::read_to_string(mount_table::TABLE)?;
    let below = mount_table::lines(&text).filter(|line| is_below(&line.place, prefix));
    Ok(below.map(|line| Mounted { automatic: line.kind == "autofs", path: line.place }).collect())
}

fn is_mount_point(path: &str) -> io::Result<bool> {
    const MOUNT_ROOT: u64 = 0x2000;
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW | rustix::fs::AtFlags::NO_AUTOMOUNT;
    let status = rustix::fs::statx(rustix::fs::CWD, path, flags, rustix::fs::StatxFlags::TYPE)?;
    Ok(status.stx_attributes.bits() & MOUNT_ROOT != 0)
}

/// Unmounts everything at and below a place.
fn clear(place: &str) {
    // What cannot be unmounted is covered.
    for mounted in mounts_below(place).unwrap_or_default().iter().rev() {
        let _ = umount2(mounted.path.as_str(), MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
}

/// What a path below the root leads to.
enum Found {
    /// Here.
    Here,
    /// Somewhere else, through links.
    Elsewhere(String),
    /// Nowhere; the path of what would have to be made.
    Missing(String),
}

struct Builder {
    root: String,
    entries: Vec<Entry>,
}

impl Builder {
    fn place(&self, path: &str) -> String {
        if path == "/" { self.root.clone() } else { format!("{}{path}", self.root) }
    }

    /// Mounts everything; where a link was followed, the list is put in order anew.
    fn build(&mut self) -> Outcome<()> {
        for _ in 0..ROUNDS_MAX {
            let Some(at) = self.entries.iter().position(|entry| !entry.applied && !entry.skipped) else {
                return Ok(());
            };
            let mut next = at;
            let mut moved = false;
            while let Some(entry) = self.entries.get(next).cloned() {
                if !entry.applied && !entry.skipped {
                    match self.find(&entry.path)? {
                        Found::Elsewhere(path) => {
                            if let Some(entry) = self.entries.get_mut(next) {
                                entry.path = path;
                            }
                            moved = true;
                            break;
                        }
                        found => {
                            let applied = self.one(&entry, &found)?;
                            if let Some(entry) = self.entries.get_mut(next) {
                                (entry.applied, entry.skipped) = (applied, !applied);
                                if let Found::Missing(path) = found {
                                    entry.path = path;
                                }
                            }
                        }
                    }
                }
                next += 1;
            }
            if moved {
                put_in_order(&mut self.entries);
            }
        }
        let path = self.entries.iter().find(|entry| !entry.applied && !entry.skipped).map(|entry| entry.path.clone());
        at("following links to", &path.unwrap_or_default(), Err(io::Error::from_raw_os_error(nix::libc::ELOOP)))
    }

    /// Follows links below the root.
    fn find(&self, path: &str) -> Outcome<Found> {
        match self.resolve(path) {
            Ok(found) if found == path => Ok(Found::Here),
            Ok(found) => Ok(Found::Elsewhere(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.missing(path),
            Err(error) => at("looking for", path, Err(error)),
        }
    }

    /// Where a path would be: its parents that exist, without links, and the rest as it stands.
    fn missing(&self, path: &str) -> Outcome<Found> {
        let mut existing = path;
        let mut rest = String::new();
        while let Some((parent, name)) = existing.rsplit_once('/') {
            rest = format!("/{name}{rest}");
            existing = if parent.is_empty() { "/" } else { parent };
            if let Ok(found) = self.resolve(existing) {
                let whole = format!("{}{rest}", if found == "/" { "" } else { &found });
                return Ok(if whole == path { Found::Missing(whole) } else { Found::Elsewhere(whole) });
            }
            if existing == "/" {
                break;
            }
        }
        Ok(Found::Missing(path.to_owned()))
    }

    fn resolve(&self, path: &str) -> io::Result<String> {
        let open = OFlags::PATH | OFlags::CLOEXEC;
        let root = rustix::fs::open(&self.root, open | OFlags::DIRECTORY, FileMode::empty())?;
        let file = rustix::fs::openat2(&root, path, open, FileMode::empty(), ResolveFlags::IN_ROOT)?;
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        let found = fs::read_link(format!("/proc/self/fd/{descriptor}"))?;
        let found = found.to_string_lossy();
        let below = found.strip_prefix(self.root.as_str()).filter(|below| below.is_empty() || below.starts_with('/'));
        match below {
            Some("") => Ok("/".to_owned()),
            Some(below) => Ok(below.to_owned()),
            None => Err(io::Error::other(format!("it leads to {found}, out of the new root"))),
        }
    }

    /// Mounts one entry. `false`: it is missing, and may be.
    fn one(&self, entry: &Entry, found: &Found) -> Outcome<bool> {
        let place = self.place(&entry.path);
        let missing = matches!(found, Found::Missing(_));
        match &entry.mode {
            Mode::Inaccessible => self.hide(entry, &place, missing),
            Mode::ReadOnly | Mode::ReadWrite | Mode::ReadWriteImplicit | Mode::Execute | Mode::NoExecute => {
                if missing && entry.optional {
                    return Ok(false);
                }
                if !at("looking at", &entry.path, is_mount_point(&place))? {
                    at("mounting", &entry.path, bind(&place, &place, true))?;
                }
                Ok(true)
            }
            Mode::Bind { source, recursive } => self.show(entry, source, *recursive, &place, missing),
            Mode::Empty => self.tmpfs(entry, &place, "mode=0755,size=4m,nr_inodes=1k"),
            Mode::Tmpfs { options } => self.tmpfs(entry, &place, options),
            Mode::Run => {
                if !missing && at("looking at", &entry.path, is_mount_point(&place))? {
                    return Ok(true);
                }
                self.tmpfs(entry, &place, "mode=0755,size=20%,nr_inodes=800k")
            }
            Mode::BindDevices => self.machine("/dev", &place, missing),
            Mode::BindSystem => self.machine("/sys", &place, missing),
            Mode::PrivateDevices => {
                super::devices::build(&format!("{STAGE}/dev")).map_err(|source| StageError {
                    doing: "making devices for",
                    path: entry.path.clone(),
                    source,
                })?;
                self.take(&format!("{STAGE}/dev"), entry, &place)
            }
            Mode::PrivateSystem => self.fresh("sysfs", "", "/sys", entry, &place),
            Mode::Processes { options } => self.fresh("proc", options, "/proc", entry, &place),
            Mode::PrivateGroups => {
                self.fresh("cgroup2", "nsdelegate,memory_recursiveprot", "/sys/fs/cgroup", entry, &place)
            }
            Mode::MessageQueues => {
                at("making", &entry.path, make_folder(&place, 0o755))?;
                clear(&place);
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RELATIME;
                at("mounting", &entry.path, mount(Some("mqueue"), place.as_str(), Some("mqueue"), flags, NOTHING))?;
                Ok(true)
            }
        }
    }

    /// Covers a place with something of its kind that shows nothing.
    fn hide(&self, entry: &Entry, place: &str, missing: bool) -> Outcome<bool> {
        if missing && entry.optional {
            return Ok(false);
        }
        clear(place);
        let kind = at("looking at", &entry.path, fs::symlink_metadata(place))?.file_type();
        let name = match () {
            () if kind.is_dir() => "dir",
            () if kind.is_file() => "reg",
            () if kind.is_fifo() => "fifo",
            () if kind.is_char_device() && Path::new(HIDDEN).join("chr").exists() => "chr",
            () if kind.is_block_device() && Path::new(HIDDEN).join("blk").exists() => "blk",
            () => "sock",
        };
        at("hiding", &entry.path, bind(&format!("{HIDDEN}/{name}"), place, false))?;
        Ok(true)
    }

    /// Shows something of the machine at a place, which is made if it is missing.
    fn show(&self, entry: &Entry, source: &str, recursive: bool, place: &str, missing: bool) -> Outcome<bool> {
        let status = match fs::metadata(source) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && entry.optional => return Ok(false),
            status => at("looking for", source, status)?,
        };
        if missing {
            let made = match (status.is_dir(), place.rsplit_once('/')) {
                (true, _) | (_, None) => make_folder(place, 0o755),
                (false, Some((parent, _))) => make_folder(parent, 0o755).and_then(|()| fs::write(place, "")),
            };
            at("making", &entry.path, made)?;
        }
        at("showing", source, bind(source, place, recursive))?;
        Ok(true)
    }

    fn tmpfs(&self, entry: &Entry, place: &str, options: &str) -> Outcome<bool> {
        at("making", &entry.path, make_folder(place, 0o755))?;
        clear(place);
        let (flags, data) = options_of(options);
        let flags = flags | MsFlags::MS_NODEV | MsFlags::MS_STRICTATIME;
        at("mounting", &entry.path, mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(data.as_str())))?;
        Ok(true)
    }

    /// The machine's own, unless something is mounted there.
    fn machine(&self, source: &str, place: &str, missing: bool) -> Outcome<bool> {
        if missing {
            at("making", source, make_folder(place, 0o755))?;
        }
        if !at("looking at", source, is_mount_point(place))? {
            at("showing", source, bind(source, place, true))?;
        }
        Ok(true)
    }

    /// A new file system of the kernel; without the right to mount one, the machine's stays.
    fn fresh(&self, kind: &str, options: &str, source: &str, entry: &Entry, place: &str) -> Outcome<bool> {
        let new = format!("{STAGE}/new");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NODEV;
        let options = Some(options).filter(|options| !options.is_empty());
        let mounted = match mount(Some(kind), new.as_str(), Some(kind), flags, options) {
            // An older kernel does not know the options.
            Err(nix::errno::Errno::EINVAL) if options.is_some() => {
                mount(Some(kind), new.as_str(), Some(kind), flags, NOTHING)
            }
            outcome => outcome,
        };
        match mounted {
            Ok(()) => self.take(&new, entry, place),
            Err(nix::errno::Errno::EPERM | nix::errno::Errno::EACCES) => {
                self.machine(source, place, !Path::new(place).exists())
            }
            Err(error) => at("mounting", &entry.path, Err(error)),
        }
    }

    /// Moves what was mounted on the stage to its place.
    fn take(&self, from: &str, entry: &Entry, place: &str) -> Outcome<bool> {
        at("making", &entry.path, make_folder(place, 0o755))?;
        clear(place);
        at("mounting", &entry.path, mount(Some(from), place, NOTHING, MsFlags::MS_MOVE, NOTHING))?;
        Ok(true)
    }

    /// Sets the flags of all mounts, now that all are there.
    fn flags(&self) -> Outcome<()> {
        let places: Vec<String> = self.entries.iter().map(|entry| self.place(&entry.path)).collect();
        let of_execution = |entry: &&Entry| matches!(entry.mode, Mode::Execute | Mode::NoExecute);
        let executed: Vec<String> = self.entries.iter().filter(of_execution).map(|e| self.place(&e.path)).collect();
        for entry in self.entries.iter().filter(|entry| entry.applied) {
            // Nothing is mounted below these, or what is there keeps its own flags.
            let alone = matches!(entry.mode, Mode::Empty | Mode::Tmpfs { .. } | Mode::PrivateDevices);
            if entry.is_read_only() || entry.mode == Mode::PrivateDevices {
                self.set(entry, &[Flag::ReadOnly], &[], &places, alone)?;
            }
        }
        for entry in self.entries.iter().filter(|entry| entry.applied) {
            let alone = matches!(entry.mode, Mode::Empty | Mode::Tmpfs { .. });
            if entry.is_no_execute() {
                self.set(entry, &[Flag::NoExecute], &[], &executed, alone)?;
            } else if entry.is_execute() {
                self.set(entry, &[], &[Flag::NoExecute], &executed, alone)?;
            }
            if entry.no_suid {
                self.set(entry, &[Flag::NoSuid], &[], &[], alone)?;
            }
        }
        Ok(())
    }

    /// Sets flags of a place and of what is mounted below it, but not of what lies in other places of the list.
    fn set(&self, entry: &Entry, set: &[Flag], clear: &[Flag], others: &[String], alone: bool) -> Outcome<()> {
        let place = self.place(&entry.path);
        at("protecting", &entry.path, change(Path::new(&place), set, clear))?;
        if alone {
            return Ok(());
        }
        let other = |path: &str| {
            let inner = |other: &&String| **other != place && is_below(other, &place);
            others.iter().filter(inner).any(|other| is_below(path, other))
        };
        for mounted in at("reading the mounts below", &entry.path, mounts_below(&place))? {
            if mounted.path == place || mounted.automatic || other(&mounted.path) {
                continue;
            }
            // Of what is covered by another mount nothing can be seen either.
            let _ = change(Path::new(&mounted.path), set, clear);
        }
        Ok(())
    }
}

/// Mount options that are flags, and those that the file system reads.
fn options_of(text: &str) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "nosuid" => flags |= MsFlags::MS_NOSUID,
            "nodev" => flags |= MsFlags::MS_NODEV,
            "noexec" => flags |= MsFlags::MS_NOEXEC,
            "noatime" => flags |= MsFlags::MS_NOATIME,
            "relatime" => flags |= MsFlags::MS_RELATIME,
            "strictatime" => flags |= MsFlags::MS_STRICTATIME,
            "suid" | "dev" | "exec" | "defaults" => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_mounts_are_decoded() {
        assert_eq!(crate::facts::unoctal("/a\\040b\\134c\\9"), "/a b\\c\\9");
        assert!(mounts_below("/proc").unwrap().iter().any(|mounted| mounted.path == "/proc"));
        assert!(is_mount_point("/proc").unwrap() && !is_mount_point("/proc/self").unwrap());
    }

    #[test]
    fn options_are_told_from_flags() {
        let (flags, data) = options_of("mode=0755,noexec,size=1m,exec");
        assert_eq!((flags, data.as_str()), (MsFlags::MS_NOEXEC, "mode=0755,size=1m"));
    }
}
