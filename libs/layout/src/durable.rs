//! Acts: replaces a file so that after a power cut either the old or the new content is there, whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file could not be replaced; the old one is untouched.
#[derive(Debug, thiserror::Error)]
#[error("replacing '{}': {step}", path.display())]
pub struct DurableError {
    path: PathBuf,
    step: &'static str,
    source: io::Error,
}

/// Replaces (or makes) a file: temporary name in the same folder, write, mode, fsync, rename, fsync of the folder.
pub fn replace_file(path: &Path, contents: &[u8], mode: u32) -> Result<(), DurableError> {
    let fail = |step| move |source| DurableError { path: path.to_path_buf(), step, source };
    let folder = folder_of(path);
    let name = path.file_name().ok_or_else(|| fail("no file name")(io::ErrorKind::InvalidInput.into()))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = folder.join(temporary);
    let written = write_synced(&temporary, contents, mode).map_err(fail("writing the new file"));
    let renamed = written.and_then(|()| fs::rename(&temporary, path).map_err(fail("renaming the new file")));
    if renamed.is_err() {
        // The first error is the one to report; what is left over is a hidden file without use.
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    sync_folder(folder).map_err(fail("syncing the folder"))
}

/// Makes renames and new names in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn write_synced(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // A left-over of an earlier process with the same number.
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode & 0o700).open(path)?;
    file.write_all(contents)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_over() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("issue");
        replace_file(&path, b"one", 0o600).expect("it is written");
        replace_file(&path, b"two", 0o664).expect("it is replaced");
        assert_eq!(fs::read(&path).expect("it can be read"), b"two");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777, 0o664);
        assert_eq!(fs::read_dir(folder.path()).expect("it can be listed").count(), 1);
    }

    #[test]
    fn a_failure_names_file_and_step_and_keeps_the_old_content() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let target = folder.path().join("folder");
        fs::create_dir(&target).expect("a folder");
        let error = replace_file(&target, b"x", 0o644).expect_err("a folder is no file");
        assert_eq!(error.to_string(), format!("replacing '{}': renaming the new file", target.display()));
        assert_eq!(fs::read_dir(folder.path()).expect("it can be listed").count(), 1);
        let error = replace_file(&folder.path().join("absent/x"), b"x", 0o644).expect_err("no such folder");
        assert!(error.to_string().ends_with("writing the new file"));
        assert!(replace_file(Path::new("/"), b"x", 0o644).is_err());
    }
}
