//! Making files, folders, pipes, links and devices, and writing to files.
//!
//! Everything is done relative to the open folder that was checked, so nobody can move it away in between.

use std::fs::File;
use std::io::Write;

use ferrite_hostconf::tmpfiles::{Data, Item, Kind};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dev, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::apply::{Session, lost};
use super::permissions::{self, Creation};
use super::remove::remove_all;
use super::walk::{Last, Lost, Node, Safety, words};

/// Makes what the item names.
pub(super) fn make(session: &Session<'_>, item: &Item) -> Result<(), String> {
    let path = session.tree.shown(&item.path);
    if session.is_dry_run {
        let what = match (item.kind, &item.data) {
            (Kind::File, _) if !item.is_forced => format!("create file {path}"),
            (Kind::File | Kind::Truncate, _) => format!("truncate {path}"),
            (Kind::Subvolume(_), _) => format!("create subvolume {path}"),
            (Kind::Pipe, _) => format!("create fifo {path}"),
            (Kind::Link, Data::Path(target)) => format!("create symlink {path} -> {target}"),
            (Kind::Character | Kind::Block, _) => format!("create device node {path}"),
            _ => format!("create directory {path}"),
        };
        eprintln!("Would {what}");
        return Ok(());
    }
    let (parent, name) =
        session.tree.parent(&item.path).map_err(|error| lost(session, "open parent of", &item.path, &error))?;
    match item.kind {
        Kind::File if !item.is_forced => new_file(session, item, &parent, name, &path),
        Kind::File | Kind::Truncate => emptied_file(session, item, &parent, name, &path),
        Kind::Folder | Kind::EmptiedFolder | Kind::Subvolume(_) => folder(session, item, &parent, name, &path),
        _ => special(session, item, &parent, name, &path),
    }
}

fn mode_of(item: &Item) -> Mode {
    Mode::from_raw_mode(item.mode.bits)
}

fn open_existing(parent: &Node, name: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(&parent.fd, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn kind_of(fd: &OwnedFd) -> Result<FileType, String> {
    let stat = rustix::fs::fstat(fd).map_err(|error| format!("fstat() failed: {}", words(error)))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn put(item: &Item, fd: OwnedFd, path: &str) -> Result<OwnedFd, String> {
    let mut file = File::from(fd);
    if let Data::Bytes(bytes) = &item.data {
        file.write_all(bytes).map_err(|error| format!("Failed to write file \"{path}\": {error}"))?;
    }
    Ok(file.into())
}

fn new_file(session: &Session<'_>, item: &Item, parent: &Node, name: &str, path: &str) -> Result<(), String> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = flags | OFlags::WRONLY | OFlags::CLOEXEC;
    match rustix::fs::openat(&parent.fd, name, flags, mode_of(item)) {
        Ok(fd) => {
            let fd = put(item, fd, path)?;
            permissions::set(session, item, &fd, &item.path, Creation::New)
        }
        // A root that cannot be written to says so only when the file is not there.
        Err(Errno::EXIST) => {
            let fd = open_existing(parent, name);
            let fd = fd.map_err(|error| format!("Failed to reopen file {path}: {}", words(error)))?;
            if kind_of(&fd)? != FileType::RegularFile {
                return Err(format!("{path} exists and is not a regular file."));
            }
            permissions::set(session, item, &fd, &item.path, Creation::Existing)
        }
        Err(error) => Err(format!("Failed to create file {path}: {}", words(error))),
    }
}

fn emptied_file(session: &Session<'_>, item: &Item, parent: &Node, name: &str, path: &str) -> Result<(), String> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut creation = Creation::Existing;
    let mut opened = rustix::fs::openat(&parent.fd, name, flags, Mode::empty());
    if let Err(Errno::NOENT) = opened {
        creation = Creation::New;
        opened = rustix::fs::openat(&parent.fd, name, flags | OFlags::CREATE, mode_of(item));
    }
    let (fd, is_read_only) = match opened {
        Ok(fd) => (fd, false),
        // What is empty already and has its mode needs no change.
        Err(Errno::ROFS) => {
            creation = Creation::Existing;
            let message = || format!("Cannot create file {path} on a read-only file system.");
            (open_existing(parent, name).map_err(|_| message())?, true)
        }
        Err(error) => return Err(format!("Failed to open/create file {path}: {}", words(error))),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|error| format!("fstat({path}) failed: {}", words(error)))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(format!("{path} exists and is not a regular file."));
    }
    let failed = |error| format!("Failed to truncate file {path}: {}", words(error));
    let is_filled = matches!(&item.data, Data::Bytes(bytes) if !bytes.is_empty());
    if is_read_only && (stat.st_size > 0 || is_filled) {
        return Err(failed(Errno::ROFS));
    }
    if stat.st_size > 0 {
        rustix::fs::ftruncate(&fd, 0).map_err(failed)?;
    }
    let fd = if is_read_only { fd } else { put(item, fd, path)? };
    permissions::set(session, item, &fd, &item.path, creation)
}

fn folder(session: &Session<'_>, item: &Item, parent: &Node, name: &str, path: &str) -> Result<(), String> {
    let made = rustix::fs::mkdirat(&parent.fd, name, mode_of(item));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match (rustix::fs::openat(&parent.fd, name, flags, Mode::empty()), made) {
        (Ok(fd), _) => fd,
        (Err(Errno::NOTDIR), _) => {
            eprintln!("\"{path}\" already exists and is not a directory.");
            return Ok(());
        }
        (Err(_), Err(error)) | (Err(error), Ok(())) => {
            return Err(format!("Failed to create directory or subvolume \"{path}\": {}", words(error)));
        }
    };
    let creation = if made.is_ok() { Creation::New } else { Creation::Existing };
    permissions::set(session, item, &fd, &item.path, creation)
}

/// Pipes, links and devices: what is there and of another kind stays, unless the line says `+`.
fn special(session: &Session<'_>, item: &Item, parent: &Node, name: &str, path: &str) -> Result<(), String> {
    let (what, kind) = match item.kind {
        Kind::Pipe => ("FIFO", FileType::Fifo),
        Kind::Link => ("symlink", FileType::Symlink),
        Kind::Block => ("device node", FileType::BlockDevice),
        _ => ("device node", FileType::CharacterDevice),
    };
    let mut creation = Creation::Existing;
    let failed = |error: Errno| format!("Failed to create {what} '{path}': {}", words(error));
    match new_node(item, kind, parent, name) {
        Ok(()) => creation = Creation::New,
        Err(Errno::EXIST) => {}
        // In a container devices may be forbidden.
        Err(Errno::PERM | Errno::ACCESS) if matches!(item.kind, Kind::Character | Kind::Block) => return Ok(()),
        Err(error) if open_existing(parent, name).is_err() => return Err(failed(error)),
        Err(_) => {}
    }
    let fd = open_existing(parent, name).map_err(failed)?;
    let is_good = kind_of(&fd)? == kind && is_target(item, &fd);
    let fd = match (is_good, item.is_forced) {
        (true, _) => fd,
        (false, false) => {
            if item.kind != Kind::Link {
                let article = if item.kind == Kind::Pipe { "a FIFO" } else { "a device node" };
                eprintln!("\"{path}\" already exists and is not {article}.");
            }
            return Ok(());
        }
        (false, true) => {
            replace(item, kind, parent, name).map_err(failed)?;
            creation = Creation::New;
            open_existing(parent, name).map_err(failed)?
        }
    };
    if kind_of(&fd)? != kind {
        return Err(format!("What was just created at {path} is no {what}, refusing."));
    }
    permissions::set(session, item, &fd, &item.path, creation)
}

fn is_target(item: &Item, fd: &OwnedFd) -> bool {
    let Data::Path(target) = &item.data else { return true };
    rustix::fs::readlinkat(fd, "", Vec::new()).is_ok_and(|found| found.as_bytes() == target.as_bytes())
}

fn new_node(item: &Item, kind: FileType, parent: &Node, name: &str) -> Result<(), Errno> {
    match &item.data {
        Data::Path(target) => rustix::fs::symlinkat(target, &parent.fd, name),
        Data::Device(major, minor) => {
            let device: Dev = rustix::fs::makedev(*major, *minor);
            rustix::fs::mknodat(&parent.fd, name, kind, mode_of(item), device)
        }
        _ => rustix::fs::mknodat(&parent.fd, name, kind, mode_of(item), 0),
    }
}

/// Puts the new one in the place of what is there, at once; a folder must be removed before.
fn replace(item: &Item, kind: FileType, parent: &Node, name: &str) -> Result<(), Errno> {
    // Nobody can take a name beforehand that he cannot guess.
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let temporary = format!(".#{:016x}", u64::from_ne_bytes(random));
    new_node(item, kind, parent, &temporary)?;
    match rustix::fs::renameat(&parent.fd, &temporary, &parent.fd, name) {
        Ok(()) => Ok(()),
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
            let done =
                remove_all(parent, name).and_then(|()| rustix::fs::renameat(&parent.fd, &temporary, &parent.fd, name));
            if done.is_err() {
                // The first failure is the one to tell.
                let _ = rustix::fs::unlinkat(&parent.fd, &temporary, AtFlags::empty());
            }
            done
        }
        Err(error) => {
            let _ = rustix::fs::unlinkat(&parent.fd, &temporary, AtFlags::empty());
            Err(error)
        }
    }
}

/// Writes to a file that exists, of whatever kind.
pub(super) fn write(session: &Session<'_>, item: &Item, path: &str) -> Result<(), String> {
    let shown = session.tree.shown(path);
    let node = match session.tree.chase(path, Last::Follow, Safety::Checked) {
        Ok(node) => node,
        Err(Lost::System(Errno::NOENT)) => return Ok(()),
        Err(error) => return Err(lost(session, "open path", path, &error)),
    };
    session.would(|| format!("Would write to \"{shown}\""));
    if !session.is_dry_run {
        let append = if item.is_forced { OFlags::APPEND } else { OFlags::empty() };
        let fd = node.reopen(OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | append);
        let fd = fd.map_err(|error| format!("Failed to open file \"{shown}\": {}", words(error)))?;
        put(item, fd, &shown)?;
    }
    permissions::set(session, item, &node.fd, path, Creation::Existing)
}
