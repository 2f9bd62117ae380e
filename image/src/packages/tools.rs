//! The programs of the build: unpacked Debian packages run through their own dynamic loader, whatever the host is.
//!
//! So mkfs, mtools and grub-mkimage are the same version with the same libraries everywhere, and an image does not
//! depend on the machine it was built on.

use super::lock::{Lock, Locked};
use super::store::Store;
use crate::tree::Tree;
use anyhow::{Context, Result, bail};
use ferrite_layout::verity::hex;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of the build's programs and of the boot artefacts that images take from Debian.
pub const PACKAGES: [&str; 14] = [
    "dosfstools",
    "e2fsprogs",
    "erofs-utils",
    "grub-common",
    "grub-efi-amd64-bin",
    "grub-efi-amd64-signed",
    "grub-pc-bin",
    "libc-bin",
    "mtools",
    "qemu-utils",
    "shim-helpers-amd64-signed",
    "shim-signed",
    "systemd-boot-efi",
    "zstd",
];

/// Those of them that put files of theirs on the disk, outside the root.
pub const BOOT_PACKAGES: [&str; 5] =
    ["grub-efi-amd64-signed", "grub-pc-bin", "shim-helpers-amd64-signed", "shim-signed", "systemd-boot-efi"];

const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Folders a program is looked for in.
const PROGRAM_DIRS: [&str; 2] = ["usr/bin", "usr/sbin"];

/// The unpacked tool packages.
#[derive(Debug, Clone)]
pub struct Tools {
    root: PathBuf,
    epoch: u64,
}

impl Tools {
    /// Fetches and unpacks the tool packages of the lock file, unless that was done before.
    pub fn open(store: &Store<'_>, lock: &Lock) -> Result<Self> {
        let packages = lock.tools();
        if packages.is_empty() {
            bail!("the lock file has no section 'tools': run `ferrite lock`");
        }
        let root = store.cache().entry("tools", &key(packages));
        if !root.is_dir() {
            store.fetch(packages)?;
            unpack(store, packages, &root).context("unpacking the build's own tools")?;
        }
        Ok(Self { root, epoch: lock.epoch })
    }

    /// Where a file of the tool packages is on the build host, for example `/usr/lib/grub/i386-pc`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A command that runs a program of the tool packages with an environment that does not depend on the host.
    pub fn command(&self, program: &str) -> Result<Command> {
        let file = PROGRAM_DIRS.iter().map(|dir| self.root.join(dir).join(program)).find(|path| path.exists());
        let file = file.with_context(|| format!("no tool package of the lock file has the program {program}"))?;
        let mut command = Command::new(self.root.join(LOADER));
        command.arg("--library-path").arg(self.root.join(LIBRARIES)).arg("--argv0").arg(program).arg(file);
        command.env_clear().envs(self.environment());
        Ok(command)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |path: &str| self.root.join(path).display().to_string();
        vec![
            ("PATH", "/nonexistent".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TZ", "UTC".to_owned()),
            ("SOURCE_DATE_EPOCH", self.epoch.to_string()),
            ("E2FSPROGS_FAKE_TIME", self.epoch.to_string()),
            ("MKE2FS_CONFIG", path("etc/mke2fs.conf")),
            ("MTOOLSRC", "/dev/null".to_owned()),
            ("MTOOLS_SKIP_CHECK", "1".to_owned()),
            ("GCONV_PATH", path("usr/lib/x86_64-linux-gnu/gconv")),
        ]
    }
}

/// A name for this set of packages: another lock gives another folder.
fn key(packages: &[Locked]) -> String {
    let mut hasher = Sha256::new();
    for package in packages {
        hasher.update(package.sha256.as_bytes());
    }
    hex(&hasher.finalize()[..8])
}

fn unpack(store: &Store<'_>, packages: &[Locked], root: &Path) -> Result<()> {
    let parent = store.cache().folder().join("tools");
    fs::create_dir_all(&parent).with_context(|| format!("making '{}'", parent.display()))?;
    let mut tree = Tree::new();
    for package in packages {
        let mut files = store.open(package)?;
        files.retain(|path, _| !["/usr/share/doc/", "/usr/share/locale/"].iter().any(|skip| path.starts_with(skip)));
        tree.merge(files)?;
    }
    // Modes without write permission would keep the folder from being removed later.
    for (_, node) in tree.iter_mut() {
        node.mode = (node.mode & 0o755) | 0o600;
    }
    let temporary = tempfile::tempdir_in(&parent)?;
    tree.write_to_dir(temporary.path())?;
    match fs::rename(temporary.path(), root) {
        Ok(()) => {
            // The folder has its final name: nothing is left to clean up under the temporary one.
            let _ = temporary.keep();
            Ok(())
        }
        // Another build was faster.
        Err(_) if root.is_dir() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("keeping '{}'", root.display())),
    }
}
