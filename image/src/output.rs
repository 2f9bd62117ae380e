//! The files of a finished image: names, sums, and what build.json says of them.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{disk, sparse};

/// A file of the output folder.
#[derive(Clone, Debug, Serialize)]
pub struct Artefact {
    /// Path below the output folder.
    pub file: String,
    /// What it is.
    pub what: &'static str,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// What build.json says: the same for the same inputs, so it has no times and no sizes that depend on the host.
#[derive(Clone, Debug, Serialize)]
pub struct BuildRecord {
    /// Name of the board.
    pub board: String,
    /// Version of the image.
    pub version: String,
    /// Serial of the release, for machines; 0 is none.
    pub serial: u64,
    /// The time that every file is dated, in seconds since 1970.
    pub epoch: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Hash of the root's verity tree.
    pub root_hash: String,
    /// Blocks of the root, 4096 bytes each.
    pub blocks: u64,
    /// The kernel command line.
    pub command_line: String,
    /// Sizes in bytes of what is inside the disk.
    pub sizes: Sizes,
    /// The files.
    pub artefacts: Vec<Artefact>,
}

/// Sizes in bytes of what is inside the disk.
#[derive(Clone, Debug, Serialize)]
pub struct Sizes {
    /// All files of the root.
    pub files: u64,
    /// Root file system with its hash tree.
    pub root: u64,
    /// Unified kernel image.
    pub kernel: u64,
    /// The initrd in it.
    pub initrd: u64,
}

/// Begins the names of scratch folders and files.
pub const SCRATCH: &str = ".build-";

/// Makes the output folder ours until the returned file is closed, and removes what a stopped build left there.
pub fn claim(folder: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("creating '{}'", folder.display()))?;
    let path = folder.join(".lock");
    let lock = File::create(&path).with_context(|| format!("creating '{}'", path.display()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => bail!("another build writes to '{}'", folder.display()),
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking '{}'", path.display())),
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
            let removed = match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            removed.with_context(|| format!("removing '{}'", entry.path().display()))?;
        }
    }
    Ok(lock)
}

/// Describes a file of the output folder.
pub fn describe(folder: &Path, file: &str, what: &'static str) -> anyhow::Result<Artefact> {
    let path = folder.join(file);
    let reader = File::open(&path).with_context(|| format!("opening '{}'", path.display()))?;
    let size = reader.metadata()?.len();
    let mut hasher = Sha256::new();
    sparse::for_each_chunk(&reader, |chunk| {
        hasher.update(chunk);
        Ok(())
    })
    .with_context(|| format!("reading '{}'", path.display()))?;
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Artefact { file: file.to_string(), what, size, sha256 })
}

/// Text of SHA256SUMS.
pub fn sums(artefacts: &[Artefact]) -> String {
    artefacts.iter().map(|artefact| format!("{}  {}\n", artefact.sha256, artefact.file)).collect()
}

/// Replaces a file of the output folder.
pub fn write(folder: &Path, file: &str, content: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(file);
    let mut temporary = tempfile::Builder::new().prefix(SCRATCH).tempfile_in(folder)?;
    temporary.write_all(content).with_context(|| format!("writing '{}'", path.display()))?;
    disk::publish(temporary, &path)
}

/// Moves a finished part from the scratch folder, which lies in the output folder.
pub fn take(folder: &Path, from: &Path, file: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(file);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating '{}'", parent.display()))?;
    }
    fs::rename(from, &path).with_context(|| format!("renaming to '{}'", path.display()))?;
    Ok(path)
}

/// Bytes that a file really takes on the build host.
pub fn allocated(path: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(path).with_context(|| format!("looking at '{}'", path.display()))?.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one_build_and_remains_of_a_stopped_one_go() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".build-old")).unwrap();
        fs::write(folder.path().join(".build-old/root.img"), b"x").unwrap();
        fs::write(folder.path().join("kept.raw"), b"x").unwrap();
        let lock = claim(folder.path()).unwrap();
        assert!(!folder.path().join(".build-old").exists() && folder.path().join("kept.raw").exists());
        assert!(claim(folder.path()).unwrap_err().to_string().starts_with("another build writes to"));
        drop(lock);
        assert!(claim(folder.path()).is_ok());
    }

    #[test]
    fn sums_are_in_the_form_that_sha256sum_checks() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.raw", b"abc").unwrap();
        let artefact = describe(folder.path(), "a.raw", "disk").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a.raw\n";
        assert_eq!((artefact.size, sums(&[artefact])), (3, expected.to_string()));
    }
}
