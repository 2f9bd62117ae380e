//! Copies what is missing from a folder of the image into a folder of the state, never touching what is there.
//!
//! A file appears whole or not at all, also when the machine is cut off.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Most entries of a folder of the image; a larger one does not belong there.
const ENTRIES: usize = 20_000;
const TEMPORARY: &str = ".ferrite-new";

/// Fills `target` from `source`, and makes `target` itself like `source` if it is missing. Returns how many entries it
/// made.
pub fn fill(source: &Path, target: &Path) -> anyhow::Result<usize> {
    let mut made = 0;
    let mut seen = 0;
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        seen += 1;
        if seen > ENTRIES {
            bail!("'{}' has more than {ENTRIES} entries", source.display());
        }
        // Joining an empty path would add a slash.
        let (from, to) = match relative.as_os_str().is_empty() {
            true => (source.to_owned(), target.to_owned()),
            false => (source.join(&relative), target.join(&relative)),
        };
        let image = fs::symlink_metadata(&from).with_context(|| format!("looking at '{}'", from.display()))?;
        let present = match fs::symlink_metadata(&to) {
            Ok(present) => Some(present),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("looking at '{}'", to.display())),
        };
        if present.is_none() && make(&from, &to, &image).with_context(|| format!("making '{}'", to.display()))? {
            made += 1;
        }
        // A link in the place of a folder belongs to the administrator and is not followed.
        if image.is_dir() && present.is_none_or(|present| present.is_dir()) {
            let names = fs::read_dir(&from).with_context(|| format!("listing '{}'", from.display()))?;
            for entry in names {
                pending.push(relative.join(entry?.file_name()));
            }
        }
    }
    Ok(made)
}

/// Makes one entry like that of the image; says whether it did.
fn make(from: &Path, to: &Path, image: &Metadata) -> io::Result<bool> {
    let kind = image.file_type();
    if kind.is_dir() {
        fs::create_dir(to)?;
        chown(to, Some(image.uid()), Some(image.gid()))?;
        fs::set_permissions(to, image.permissions())?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        lchown(to, Some(image.uid()), Some(image.gid()))?;
    } else if kind.is_file() {
        copy_file(from, to, image)?;
    } else {
        // Devices, pipes and sockets do not come from an image.
        return Ok(false);
    }
    Ok(true)
}

fn copy_file(from: &Path, to: &Path, image: &Metadata) -> io::Result<()> {
    let mut temporary = to.as_os_str().to_owned();
    temporary.push(TEMPORARY);
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    // Owner first: changing it would clear set-id bits.
    fchown(&file, Some(image.uid()), Some(image.gid()))?;
    file.set_permissions(fs::Permissions::from_mode(image.mode() & 0o7777))?;
    file.sync_all()?;
    fs::rename(&temporary, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn what_is_missing_is_made_with_its_mode_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (image, state) = (folder.path().join("image"), folder.path().join("state"));
        fs::create_dir_all(image.join("lib/chrony")).unwrap();
        fs::set_permissions(image.join("lib/chrony"), fs::Permissions::from_mode(0o1770)).unwrap();
        fs::write(image.join("lib/kept"), "image").unwrap();
        fs::write(image.join("lib/new"), "image").unwrap();
        fs::set_permissions(image.join("lib/new"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("/run", image.join("run")).unwrap();
        fs::create_dir_all(state.join("lib")).unwrap();
        fs::write(state.join("lib/kept"), "state").unwrap();

        assert_eq!(fill(&image, &state).unwrap(), 3);
        assert_eq!(fs::read_to_string(state.join("lib/kept")).unwrap(), "state");
        assert_eq!(fs::read_to_string(state.join("lib/new")).unwrap(), "image");
        assert_eq!((mode(&state.join("lib/new")), mode(&state.join("lib/chrony"))), (0o640, 0o1770));
        assert_eq!(fs::read_link(state.join("run")).unwrap(), Path::new("/run"));
        assert_eq!(fill(&image, &state).unwrap(), 0);
    }

    #[test]
    fn a_missing_target_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("root");
        fs::create_dir(&image).unwrap();
        fs::set_permissions(&image, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(fill(&image, &folder.path().join("new")).unwrap(), 1);
        assert_eq!(mode(&folder.path().join("new")), 0o700);
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (image, state, other) =
            (folder.path().join("image"), folder.path().join("state"), folder.path().join("other"));
        fs::create_dir_all(image.join("lib/x")).unwrap();
        fs::create_dir_all(&state).unwrap();
        fs::create_dir_all(&other).unwrap();
        symlink(&other, state.join("lib")).unwrap();
        fill(&image, &state).unwrap();
        assert!(!other.join("x").exists());
    }

    #[test]
    fn a_file_that_was_cut_off_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (image, state) = (folder.path().join("image"), folder.path().join("state"));
        fs::create_dir_all(&image).unwrap();
        fs::create_dir_all(&state).unwrap();
        fs::write(image.join("a"), "whole").unwrap();
        fs::write(state.join("a.ferrite-new"), "wh").unwrap();
        fill(&image, &state).unwrap();
        assert_eq!(fs::read_to_string(state.join("a")).unwrap(), "whole");
        assert!(!state.join("a.ferrite-new").exists());
    }
}
