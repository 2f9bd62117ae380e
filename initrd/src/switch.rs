//! Leaves early boot: the kernel's file systems move over, this one's files go, the root becomes `/`.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use rustix::mount::mount_move;
use rustix::process::{chdir, chroot};

use crate::early_mounts::SYSROOT;
use crate::root::INIT;

/// In the order in which they move; what is mounted below them moves along.
const MOVED: [&str; 4] = ["/sys", "/proc", "/run", "/dev"];
const RAMFS: i64 = 0x8584_58f6;
const TMPFS: i64 = 0x0102_1994;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the root's init. Returns only when that fails.
pub fn switch() -> anyhow::Result<Infallible> {
    for folder in MOVED {
        let target = format!("{SYSROOT}{folder}");
        mount_move(folder, &target).with_context(|| format!("moving '{folder}' to '{target}'"))?;
    }
    free_initramfs();
    chdir(SYSROOT).with_context(|| format!("entering '{SYSROOT}'"))?;
    mount_move(".", "/").context("moving the root to '/'")?;
    chroot(".").context("changing the root")?;
    chdir("/").context("entering the root")?;
    let mut command = Command::new(INIT);
    let command = command.arg0("init").env_clear().env("PATH", PATH).env("TERM", "linux");
    Err(anyhow!(command.exec()).context(format!("executing '{INIT}'")))
}

/// Deletes everything of the initramfs, which would hold memory for ever.
fn free_initramfs() {
    let in_memory = rustix::fs::statfs("/").is_ok_and(|statfs| [RAMFS, TMPFS].contains(&statfs.f_type));
    let Ok(root) = fs::symlink_metadata("/") else { return };
    if in_memory {
        remove_below(Path::new("/"), root.dev());
    }
}

/// Removes what is below a folder and on its device; what cannot be removed only costs memory.
fn remove_below(top: &Path, device: u64) {
    let mut folders = vec![top.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path: PathBuf = entry.path();
            match fs::symlink_metadata(&path) {
                Ok(data) if data.dev() != device => {}
                Ok(data) if data.is_dir() => folders.push(path),
                Ok(_) | Err(_) => {
                    let _ = fs::remove_file(&path);
                }
            }
        }
    }
    for folder in folders.iter().skip(1).rev() {
        let _ = fs::remove_dir(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_below_goes_and_other_file_systems_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let device = fs::metadata(folder.path()).unwrap().dev();
        remove_below(folder.path(), device + 1);
        assert!(folder.path().join("a/b/file").exists());
        remove_below(folder.path(), device);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(Path::new("/etc/passwd").exists());
    }
}
