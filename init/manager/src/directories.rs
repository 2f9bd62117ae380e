//! Makes the directories of a unit (`StateDirectory=` and its like) and gives them to its user. Runs in the child.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use ferrite_unit::directories::{Directories, Directory};
use ferrite_unit::environment::Environment;
use ferrite_unit::exec::Exec;

use crate::child::Fault;
use crate::sandbox::places::{BASES, inside_another, is_private};

/// Variable and exit code of each kind, in the order of [`BASES`].
const KINDS: [(&str, i32); 5] = [
    ("RUNTIME_DIRECTORY", 233),
    ("STATE_DIRECTORY", 238),
    ("CACHE_DIRECTORY", 239),
    ("LOGS_DIRECTORY", 240),
    ("CONFIGURATION_DIRECTORY", 241),
];

/// Files below a directory that are given to another user.
const FILES_MAX: usize = 1_000_000;

/// Makes all directories and names them in the environment.
pub fn make(exec: &Exec, user: u32, group: u32, environment: &mut Environment) -> Result<(), Fault> {
    for ((base, (variable, code)), directories) in BASES.into_iter().zip(KINDS).zip(exec.all_directories()) {
        let private = is_private(exec, base);
        for (at, item) in directories.items.iter().enumerate() {
            let path = format!("{base}/{}", item.path);
            let kind = Kind { base, private, mode: directories.mode.unwrap_or(0o755), owner: (user, group) };
            let inside = inside_another(directories, at);
            one(&kind, item, inside).map_err(Fault::of(code, &format!("making {path}")))?;
        }
        if !directories.items.is_empty() {
            environment
                .set(variable, &names(directories, base, private && exec.sandbox.mounts.root_directory.is_none()));
        }
    }
    Ok(())
}

fn names(directories: &Directories, base: &str, private: bool) -> String {
    let folder = if private { format!("{base}/private") } else { base.to_owned() };
    directories.paths().map(|name| format!("{folder}/{name}")).collect::<Vec<_>>().join(":")
}

struct Kind<'a> {
    base: &'a str,
    /// Does it lie in `private`, where only the unit itself can come?
    private: bool,
    mode: u32,
    owner: (u32, u32),
}

fn make_parents(path: &str, mode: u32) -> io::Result<()> {
    match path.rsplit_once('/') {
        Some((parent, _)) => fs::DirBuilder::new().recursive(true).mode(mode).create(parent),
        None => Ok(()),
    }
}

fn one(kind: &Kind<'_>, item: &Directory, inside: bool) -> io::Result<()> {
    let public = format!("{}/{}", kind.base, item.path);
    let hidden = format!("{}/private/{}", kind.base, item.path);
    make_parents(&public, 0o755)?;
    let path = if kind.private { &hidden } else { &public };
    if kind.private {
        let folder = format!("{}/private", kind.base);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        make_parents(&hidden, 0o755)?;
        // Of a time when the unit had no user of its own.
        if is_folder(&public) && !Path::new(&hidden).exists() {
            fs::rename(&public, &hidden)?;
        }
    } else if fs::read_link(&public).is_ok_and(|target| target.starts_with("private")) && is_folder(&hidden) {
        fs::remove_file(&public)?;
        fs::rename(&hidden, &public)?;
    }
    let made = match fs::DirBuilder::new().mode(kind.mode).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    // Configuration belongs to the administrator, not to the unit.
    if kind.base == "/etc" {
        if made {
            fs::set_permissions(path, fs::Permissions::from_mode(kind.mode))?;
        }
    } else {
        fs::set_permissions(path, fs::Permissions::from_mode(kind.mode))?;
        give(path, kind.owner)?;
    }
    if kind.private && !inside {
        link(&public, &hidden)?;
    }
    for name in &item.links {
        let place = format!("{}/{name}", kind.base);
        make_parents(&place, 0o755)?;
        link(&place, path)?;
    }
    Ok(())
}

fn is_folder(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|status| status.is_dir())
}

/// Makes a link, in the place of another link only.
fn link(place: &str, target: &str) -> io::Result<()> {
    let base = place.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let goal = target.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>();
    let common = base.iter().zip(&goal).take_while(|(one, other)| one == other).count();
    let up = base.len().saturating_sub(common + 1);
    let down = goal.get(common..).unwrap_or_default();
    let relative = std::iter::repeat_n("..", up).chain(down.iter().copied()).collect::<Vec<_>>().join("/");
    match symlink(&relative, place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read_link(place) {
            Ok(there) if there == Path::new(&relative) => Ok(()),
            Ok(_) => {
                fs::remove_file(place)?;
                symlink(&relative, place)
            }
            Err(_) => Err(error),
        },
        outcome => outcome,
    }
}

/// Gives a directory to a user; if it was another's, all that is in it as well.
fn give(path: &str, owner: (u32, u32)) -> io::Result<()> {
    let status = fs::symlink_metadata(path)?;
    if (status.uid(), status.gid()) == owner {
        return Ok(());
    }
    let mut open = vec![Path::new(path).to_path_buf()];
    let mut seen = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            seen += 1;
            if seen > FILES_MAX {
                return Err(io::Error::other(format!("more than {FILES_MAX} files have another owner")));
            }
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false => lchown(entry.path(), Some(owner.0), Some(owner.1))?,
            }
        }
        // The top one last: if anything goes wrong, the next start begins anew.
        if folder != Path::new(path) {
            lchown(&folder, Some(owner.0), Some(owner.1))?;
        }
    }
    lchown(path, Some(owner.0), Some(owner.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative_and_replace_links_only() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_str().unwrap();
        fs::create_dir_all(format!("{base}/private/a/b")).unwrap();
        fs::create_dir_all(format!("{base}/a")).unwrap();
        link(&format!("{base}/a/b"), &format!("{base}/private/a/b")).unwrap();
        assert_eq!(fs::read_link(format!("{base}/a/b")).unwrap(), Path::new("../private/a/b"));
        link(&format!("{base}/a/b"), &format!("{base}/private/a")).unwrap();
        assert_eq!(fs::read_link(format!("{base}/a/b")).unwrap(), Path::new("../private/a"));
        fs::write(format!("{base}/file"), "").unwrap();
        assert!(link(&format!("{base}/file"), &format!("{base}/a")).is_err());
    }

    #[test]
    fn a_directory_of_a_dynamic_user_is_hidden_and_comes_back() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_str().unwrap();
        let owner = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        let item = Directory { path: "x".into(), ..Directory::default() };
        let kind = |private| Kind { base, private, mode: 0o750, owner };
        one(&kind(false), &item, false).unwrap();
        fs::write(format!("{base}/x/data"), "1").unwrap();
        one(&kind(true), &item, false).unwrap();
        assert_eq!(fs::read_link(format!("{base}/x")).unwrap(), Path::new("private/x"));
        assert_eq!(fs::read_to_string(format!("{base}/private/x/data")).unwrap(), "1");
        assert_eq!(fs::metadata(format!("{base}/private")).unwrap().mode() & 0o7777, 0o700);
        one(&kind(false), &item, false).unwrap();
        assert!(is_folder(&format!("{base}/x")) && !Path::new(&format!("{base}/private/x")).exists());
    }
}
