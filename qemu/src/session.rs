//! What is kept about a machine that a person runs: its disk, its key, where it is reached while it runs.
//!
//! One folder a machine. A lock on the folder says whether it runs, so that a session file left behind means nothing.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::disk;
use crate::error::QemuError;

/// The folder of one machine.
#[derive(Debug, Clone)]
pub struct StateFolder {
    path: PathBuf,
}

/// How to reach the machine that runs now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Session {
    /// The port of 127.0.0.1 that leads to ssh.
    pub port: u16,
    /// The throw-away key, when it opens the machine.
    pub key: Option<PathBuf>,
    /// Host keys seen so far.
    pub known_hosts: PathBuf,
}

/// Where the disk of a machine came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskOrigin {
    /// There was none: a copy of the image was made.
    Fresh,
    /// The disk of the last run is used.
    Kept,
    /// The image has changed: a new copy was made, the old disk was put aside.
    Renewed,
}

/// Held while the machine runs.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl StateFolder {
    /// Opens the folder `base/name`, which is made if needed.
    pub fn open(base: &Path, name: &str) -> Result<Self, QemuError> {
        let path = base.join(name);
        fs::create_dir_all(&path).map_err(QemuError::file("making", &path))?;
        // ssh and QEMU run elsewhere or print these names: make them hold everywhere.
        let path = fs::canonicalize(&path).map_err(QemuError::file("finding", &path))?;
        Ok(Self { path })
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes the lock; `None` while another process runs the machine.
    pub fn try_lock(&self) -> Result<Option<RunLock>, QemuError> {
        let path = self.file("lock");
        let file = File::create(&path).map_err(QemuError::file("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(RunLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(QemuError::file("locking", path)(source)),
        }
    }

    /// The disk of the machine, copied from `image` if there is none yet or the image is another one than last time.
    pub fn disk(&self, image: &Path) -> Result<(PathBuf, DiskOrigin), QemuError> {
        let stamp = image_stamp(image)?;
        let extension = image.extension().map_or("raw".into(), |extension| extension.to_string_lossy().into_owned());
        let (path, stamp_file) = (self.file(&format!("disk.{extension}")), self.file("disk.image"));
        let known = fs::read_to_string(&stamp_file).ok();
        if path.exists() && known.as_deref() == Some(stamp.as_str()) {
            return Ok((path, DiskOrigin::Kept));
        }
        let origin = match path.exists() {
            true => {
                let aside = self.file(&format!("disk.old.{extension}"));
                fs::rename(&path, &aside).map_err(QemuError::file("putting aside", &path))?;
                DiskOrigin::Renewed
            }
            false => DiskOrigin::Fresh,
        };
        disk::copy_sparse(image, &path)?;
        // A new disk makes new host keys.
        let hosts = self.file("known_hosts");
        if hosts.exists() {
            fs::remove_file(&hosts).map_err(QemuError::file("removing", &hosts))?;
        }
        fs::write(&stamp_file, stamp).map_err(QemuError::file("writing", &stamp_file))?;
        Ok((path, origin))
    }

    /// Says how the running machine is reached.
    pub fn save_session(&self, session: &Session) -> Result<(), QemuError> {
        let path = self.file("session.json");
        let text = serde_json::to_string(session).unwrap_or_default();
        fs::write(&path, text).map_err(QemuError::file("writing", path))
    }

    /// How the running machine is reached; `None` when it does not run.
    pub fn session(&self) -> Result<Option<Session>, QemuError> {
        if self.try_lock()?.is_some() {
            return Ok(None);
        }
        let path = self.file("session.json");
        let text = fs::read_to_string(&path).map_err(QemuError::file("reading", &path))?;
        Ok(serde_json::from_str(&text).ok())
    }
}

/// What tells two builds of an image apart: its line in SHA256SUMS where there is one, else its size and time.
fn image_stamp(image: &Path) -> Result<String, QemuError> {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let sums = fs::read_to_string(image.with_file_name("SHA256SUMS")).unwrap_or_default();
    if let Some(line) = sums.lines().find(|line| line.split_whitespace().nth(1) == Some(name.as_ref())) {
        return Ok(line.into());
    }
    let metadata = fs::metadata(image).map_err(QemuError::file("reading", image))?;
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Ok(format!("{} {} {name}", metadata.len(), changed.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_kept_until_the_image_changes_and_then_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("i.raw");
        fs::write(&image, "one").expect("an image");
        fs::write(folder.path().join("SHA256SUMS"), "11  i.raw\n").expect("sums");
        let state = StateFolder::open(folder.path(), "qemu").expect("a state folder");
        let (disk, origin) = state.disk(&image).expect("a disk");
        assert_eq!(origin, DiskOrigin::Fresh);
        fs::write(&disk, "used").expect("a guest's write");
        assert_eq!(state.disk(&image).expect("the disk").1, DiskOrigin::Kept);
        fs::write(folder.path().join("SHA256SUMS"), "22  i.raw\n").expect("sums");
        assert_eq!(state.disk(&image).expect("a new disk").1, DiskOrigin::Renewed);
        assert_eq!(fs::read_to_string(state.file("disk.old.raw")).expect("the old disk"), "used");
        assert_eq!(fs::read_to_string(disk).expect("the new disk"), "one");
    }

    #[test]
    fn a_session_counts_only_while_the_machine_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(folder.path(), "qemu").expect("a state folder");
        let lock = state.try_lock().expect("a lock").expect("it is free");
        state.save_session(&Session { port: 7, key: None, known_hosts: "k".into() }).expect("saved");
        assert_eq!(state.session().expect("read").expect("running").port, 7);
        assert!(state.try_lock().expect("asked").is_none());
        drop(lock);
        assert!(state.session().expect("read").is_none());
    }
}
