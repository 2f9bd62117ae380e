//! What the processes of a unit share as long as it is up: its /tmp, its network, its user.
//!
//! It is kept in files below /run, so that it outlives PID 1 being executed anew. The first child that needs it makes
//! it; PID 1 puts it aside when the unit is over, and a process of its own removes it, as that may take long.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use ferrite_unit::exec::Exec;
use ferrite_unit::sandbox::PrivateTmp;
use nix::mount::{MntFlags, umount2};

use super::places::{BASES, is_private};
use crate::accounts::{Accounts, User};

/// A folder a unit.
const FOLDER: &str = "/run/ferrite/shared";
/// A file a user that exists only as long as its units.
const USERS: &str = "/run/ferrite/dynamic";
/// Numbers of such users.
const NUMBERS: std::ops::RangeInclusive<u32> = 61_184..=65_519;
/// Files removed at most of a /tmp.
const DEPTH_MAX: usize = 1024;

/// The folder of a unit.
pub fn folder(unit: &str) -> String {
    format!("{FOLDER}/{unit}")
}

/// Does a unit share anything?
pub fn shares(exec: &Exec) -> bool {
    let sandbox = &exec.sandbox;
    sandbox.private_tmp == PrivateTmp::Connected
        || sandbox.private_network
        || sandbox.private_ipc
        || sandbox.dynamic_user
}

/// Locks a folder, making it first, until the file is closed.
pub fn lock(folder: &str) -> io::Result<fs::File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = fs::File::open(folder)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

/// The folders that a unit sees as /tmp and /var/tmp; made if they are not there.
pub fn temporary(unit: &str, boot: &str) -> io::Result<(String, String)> {
    let folder = folder(unit);
    let _lock = lock(&folder)?;
    let one = |name: &str, base: &str| -> io::Result<String> {
        let note = format!("{folder}/{name}");
        if let Ok(path) = fs::read_to_string(&note)
            && Path::new(&format!("{path}/tmp")).is_dir()
        {
            return Ok(path);
        }
        // Tools that clean /tmp up know this name and spare it.
        let path = made_folder(&format!("{base}/systemd-private-{boot}-{unit}-"))?;
        let inner = format!("{path}/tmp");
        fs::DirBuilder::new().mode(0o777).create(&inner)?;
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777))?;
        fs::write(&note, &path)?;
        Ok(path)
    };
    Ok((one("tmp", "/tmp")?, one("var-tmp", "/var/tmp")?))
}

/// Makes a folder whose name nobody can guess.
fn made_folder(prefix: &str) -> io::Result<String> {
    for _ in 0..64 {
        let random: String = crate::spawn::new_invocation().chars().take(6).collect();
        let path = format!("{prefix}{random}");
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// The user of a unit with `DynamicUser=`; one of that name in the files is taken as it is.
pub fn dynamic_user(exec: &Exec, unit: &str, accounts: &Accounts) -> io::Result<User> {
    let name = exec.user.as_deref().unwrap_or(unit);
    if let Some(user) = accounts.user(name) {
        return Ok(user);
    }
    let _lock = lock(USERS)?;
    let path = format!("{USERS}/{name}");
    let mut file = fs::File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let known = text.lines().next().and_then(|line| line.parse().ok());
    let number = match known {
        Some(number) => number,
        None => free_number(exec, name, accounts)?,
    };
    if known.is_none() {
        file.rewind()?;
        writeln!(file, "{number}")?;
    }
    // The units that use it, one a line.
    if !text.lines().skip(1).any(|line| line == unit) {
        writeln!(file, "{unit}")?;
    }
    let user =
        User { name: name.into(), uid: number, gid: number, home: "/".into(), shell: "/usr/sbin/nologin".into() };
    publish(&user, accounts)?;
    Ok(user)
}

/// The number of a user that exists only as long as its units.
pub fn dynamic_number(name: &str) -> Option<u32> {
    fs::read_to_string(format!("{USERS}/{name}")).ok()?.lines().next()?.parse().ok()
}

/// The account files of the machine with one user more.
pub fn published(name: &str) -> [(String, String); 2] {
    [
        (format!("{USERS}/.{name}.passwd"), "/etc/passwd".to_owned()),
        (format!("{USERS}/.{name}.group"), "/etc/group".to_owned()),
    ]
}

fn publish(user: &User, accounts: &Accounts) -> io::Result<()> {
    let User { name, uid, gid, home, shell } = user;
    let [passwd, group] = published(name);
    let with = |text: &str, line: String| {
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{newline}{line}\n")
    };
    let users = with(accounts.passwd_text(), format!("{name}:x:{uid}:{gid}:Dynamic User:{home}:{shell}"));
    let groups = with(accounts.group_text(), format!("{name}:x:{gid}:"));
    for (path, text) in [(passwd.0, users), (group.0, groups)] {
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    }
    // Whoever reads them has to come there.
    fs::set_permissions(USERS, fs::Permissions::from_mode(0o755))
}

/// A number that nobody has: the owner of what the unit left last time, one made of the name, or the next free one.
fn free_number(exec: &Exec, name: &str, accounts: &Accounts) -> io::Result<u32> {
    let mut taken: Vec<u32> = accounts.numbers();
    for entry in fs::read_dir(USERS)? {
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        taken.extend(text.lines().next().and_then(|line| line.parse::<u32>().ok()));
    }
    let left = BASES.into_iter().zip(exec.all_directories()).filter(|(base, _)| is_private(exec, base));
    let owners = left.flat_map(|(base, directories)| {
        directories.paths().map(move |path| fs::metadata(format!("{base}/private/{path}"))).collect::<Vec<_>>()
    });
    let owners = owners.flatten().map(|status| status.uid());
    let size = NUMBERS.end() - NUMBERS.start() + 1;
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte)) % size;
    let others = (0..size).map(|step| NUMBERS.start() + (hash + step) % size);
    let mut candidates = owners.chain(others).filter(|number| NUMBERS.contains(number));
    let free = candidates.find(|number| !taken.contains(number));
    free.ok_or_else(|| io::Error::other("no number is left for another dynamic user"))
}

/// Puts aside what a unit shared; the outcome is what [`remove`] takes. Called by PID 1; never takes long.
pub fn put_aside(unit: &str) -> Option<String> {
    let aside = format!("{FOLDER}/.{unit}.{}", crate::clock::wall_us());
    fs::rename(folder(unit), &aside).ok().map(|()| aside)
}

/// Removes what was put aside, and lets the dynamic user of the unit go. In a process of its own.
pub fn remove(aside: Option<&str>, user: Option<&str>, unit: &str) -> io::Result<()> {
    if let Some(user) = user {
        leave_user(user, unit)?;
    }
    let Some(aside) = aside else { return Ok(()) };
    for name in ["tmp", "var-tmp"] {
        let Ok(path) = fs::read_to_string(format!("{aside}/{name}")) else { continue };
        remove_tree(&path)?;
    }
    for name in ["net", "ipc"] {
        // There is none, unless the unit had one.
        let _ = umount2(format!("{aside}/{name}").as_str(), MntFlags::MNT_DETACH);
    }
    fs::remove_dir_all(aside)
}

/// Removes one of our folders in /tmp: what others put there may be deep, and full of links, but has no mounts.
fn remove_tree(path: &str) -> io::Result<()> {
    let ours = ["/tmp/systemd-private-", "/var/tmp/systemd-private-"].iter().any(|prefix| path.starts_with(prefix));
    if !ours || path.split('/').count() > DEPTH_MAX {
        return Err(io::Error::other(format!("{path} is none of our folders")));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn leave_user(name: &str, unit: &str) -> io::Result<()> {
    let _lock = lock(USERS)?;
    let path = format!("{USERS}/{name}");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let mut lines = text.lines();
    let number = lines.next().unwrap_or("");
    let users: Vec<&str> = lines.filter(|line| *line != unit).collect();
    if !users.is_empty() {
        return fs::write(&path, format!("{number}\n{}\n", users.join("\n")));
    }
    for (file, _) in published(name) {
        // Another start may have failed before it was made.
        let _ = fs::remove_file(file);
    }
    fs::remove_file(&path)
}
