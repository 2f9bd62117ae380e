//! Drops what the administrator's copy of /etc has in common with the image's, so that updates reach it.
//!
//! Runs on the upper folder of the overlay before it is mounted. Inside a folder that hides the image's
//! (opaque) nothing is dropped: there the image's file would not appear again.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// More than anybody has in /etc; the rest stays as it is.
const ENTRIES: usize = 50_000;
const OPAQUE: &str = "trusted.overlay.opaque";
const OVERLAY: &[u8] = b"trusted.overlay.";
const CHUNK: usize = 64 << 10;

/// What was dropped and what could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of files and links dropped.
    pub files: usize,
    /// One line each.
    pub problems: Vec<String>,
}

/// Removes files, links and then folders of `upper` that are equal to those of `image`.
pub fn prune(upper: &Path, image: &Path) -> Pruned {
    let mut pruned = Pruned::default();
    let mut folders = vec![PathBuf::new()];
    let mut next = 0;
    let mut seen = 0;
    while let Some(relative) = folders.get(next).cloned() {
        next += 1;
        for name in pruned.note(list(&upper.join(&relative)), &relative).unwrap_or_default() {
            seen += 1;
            if seen > ENTRIES {
                pruned.problems.push(format!("more than {ENTRIES} files, the rest stays"));
                return pruned;
            }
            let path = relative.join(name);
            let outcome = look(&upper.join(&path), &image.join(&path));
            match pruned.note(outcome, &path) {
                Some(Verdict::Equal) => {
                    pruned.files += usize::from(pruned.note(fs::remove_file(upper.join(&path)), &path).is_some());
                }
                Some(Verdict::Merged) => folders.push(path),
                Some(Verdict::Different) | None => {}
            }
        }
    }
    remove_empty(upper, image, &folders);
    pruned
}

impl Pruned {
    fn note<T>(&mut self, outcome: io::Result<T>, path: &Path) -> Option<T> {
        outcome.map_err(|error| self.problems.push(format!("'/etc/{}': {error}", path.display()))).ok()
    }
}

enum Verdict {
    /// The same file or link: it can go.
    Equal,
    /// Both are folders and show through each other.
    Merged,
    /// It stays.
    Different,
}

fn list(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn look(upper: &Path, image: &Path) -> io::Result<Verdict> {
    let ours = fs::symlink_metadata(upper)?;
    let theirs = match fs::symlink_metadata(image) {
        Ok(theirs) => theirs,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Verdict::Different);
        }
        Err(error) => return Err(error),
    };
    if ours.is_dir() && theirs.is_dir() {
        return Ok(if is_opaque(upper)? { Verdict::Different } else { Verdict::Merged });
    }
    let equal = same_attributes(&ours, &theirs)
        && !has_attributes_of_its_own(upper)?
        && match (ours.is_file(), ours.is_symlink()) {
            (true, _) => ours.len() == theirs.len() && same_content(upper, image)?,
            (_, true) => fs::read_link(upper)? == fs::read_link(image)?,
            (false, false) => false,
        };
    Ok(if equal { Verdict::Equal } else { Verdict::Different })
}

fn same_attributes(ours: &Metadata, theirs: &Metadata) -> bool {
    let key = |data: &Metadata| (data.mode(), data.uid(), data.gid());
    key(ours) == key(theirs)
}

fn same_content(ours: &Path, theirs: &Path) -> io::Result<bool> {
    let (mut ours, mut theirs) = (File::open(ours)?, File::open(theirs)?);
    let (mut left, mut right) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    loop {
        left.clear();
        right.clear();
        (&mut ours).take(CHUNK as u64).read_to_end(&mut left)?;
        (&mut theirs).take(CHUNK as u64).read_to_end(&mut right)?;
        if left != right {
            return Ok(false);
        }
        if left.is_empty() {
            return Ok(true);
        }
    }
}

fn is_opaque(folder: &Path) -> io::Result<bool> {
    let mut value = [0u8; 8];
    match lgetxattr(folder, OPAQUE, &mut value[..]) {
        Ok(count) => Ok(value.get(..count) == Some(&b"y"[..])),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        // A longer value is none that we know: leave the folder alone.
        Err(Errno::RANGE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether a file has capabilities, access lists or the like, which the image's would not have.
fn has_attributes_of_its_own(path: &Path) -> io::Result<bool> {
    let mut names = vec![0u8; 4096];
    match llistxattr(path, &mut names[..]) {
        Ok(count) => {
            let listed = names.get(..count).unwrap_or_default().split(|&byte| byte == 0);
            Ok(listed.filter(|name| !name.is_empty()).any(|name| !name.starts_with(OVERLAY)))
        }
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(Errno::RANGE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Folders that hold nothing and look like the image's, the deepest first.
fn remove_empty(upper: &Path, image: &Path, folders: &[PathBuf]) {
    for relative in folders.iter().rev().filter(|relative| !relative.as_os_str().as_bytes().is_empty()) {
        let path = upper.join(relative);
        let same = match (fs::symlink_metadata(&path), fs::symlink_metadata(image.join(relative))) {
            (Ok(ours), Ok(theirs)) => same_attributes(&ours, &theirs),
            (Err(_), _) | (_, Err(_)) => false,
        };
        if same && !has_attributes_of_its_own(&path).unwrap_or(true) {
            // A folder that is not empty stays, and that is all there is to it.
            let _ = fs::remove_dir(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Pair {
        _folder: tempfile::TempDir,
        upper: PathBuf,
        image: PathBuf,
    }

    fn pair() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let (upper, image) = (folder.path().join("upper"), folder.path().join("image"));
        for path in [&upper, &image] {
            fs::create_dir_all(path.join("ssh/conf.d")).unwrap();
        }
        Pair { _folder: folder, upper, image }
    }

    fn write(path: PathBuf, text: &str) {
        fs::write(path, text).unwrap();
    }

    #[test]
    fn equal_files_and_links_go_and_so_do_the_folders_they_leave_empty() {
        let Pair { upper, image, .. } = &pair();
        for root in [upper, image] {
            write(root.join("ssh/conf.d/a"), "same");
            symlink("target", root.join("ssh/link")).unwrap();
        }
        assert_eq!(prune(upper, image), Pruned { files: 2, problems: vec![] });
        assert!(!upper.join("ssh").exists());
        assert!(image.join("ssh/conf.d/a").exists());
    }

    #[test]
    fn anything_that_differs_stays() {
        let Pair { upper, image, .. } = &pair();
        for root in [upper, image] {
            for name in ["content", "mode", "kind", "link"] {
                write(root.join(name), "same");
            }
        }
        write(upper.join("content"), "mine");
        fs::set_permissions(upper.join("mode"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(upper.join("kind")).unwrap();
        fs::create_dir(upper.join("kind")).unwrap();
        write(upper.join("kind/inside"), "x");
        fs::remove_file(upper.join("link")).unwrap();
        symlink("elsewhere", upper.join("link")).unwrap();
        write(upper.join("only-mine"), "x");
        assert_eq!(prune(upper, image), Pruned::default());
        for name in ["content", "mode", "kind/inside", "only-mine"] {
            assert!(upper.join(name).exists(), "{name}");
        }
        assert!(upper.join("link").is_symlink());
    }

    #[test]
    fn a_folder_with_another_mode_stays_though_it_is_empty() {
        let Pair { upper, image, .. } = &pair();
        fs::set_permissions(upper.join("ssh"), fs::Permissions::from_mode(0o700)).unwrap();
        prune(upper, image);
        assert!(upper.join("ssh").exists());
        assert!(!upper.join("ssh/conf.d").exists());
    }

    #[test]
    fn links_between_the_two_are_not_followed() {
        let Pair { upper, image, .. } = &pair();
        fs::remove_dir_all(image.join("ssh")).unwrap();
        symlink(upper.join("ssh"), image.join("ssh")).unwrap();
        write(upper.join("ssh/key"), "mine");
        assert_eq!(prune(upper, image), Pruned::default());
        assert!(upper.join("ssh/key").exists());
    }

    #[test]
    fn large_files_that_differ_at_the_end_stay() {
        let Pair { upper, image, .. } = &pair();
        let mut bytes = vec![7u8; 200_000];
        fs::write(image.join("big"), &bytes).unwrap();
        bytes[199_999] = 8;
        fs::write(upper.join("big"), &bytes).unwrap();
        assert_eq!(prune(upper, image).files, 0);
    }
}
