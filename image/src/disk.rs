//! Puts the parts of a disk together into one sparse file: partitions, partition tables, boot code.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_layout::Part;
use ferrite_layout::disk::DiskPlan;
use ferrite_layout::gpt_write;

use crate::grub::BOOT_CODE_SIZE;

/// Runs of zero bytes of this length become holes.
const HOLE_BYTES: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;

/// The content of a partition; the rest of it is zero.
pub enum Source {
    /// A file.
    File(PathBuf),
    /// In memory.
    Bytes(Vec<u8>),
}

/// Writes the disk to `path`: under another name first, synced, then renamed.
pub fn assemble(
    plan: &DiskPlan,
    boot_code: &[u8; BOOT_CODE_SIZE],
    parts: &[(Part, Source)],
    path: &Path,
) -> anyhow::Result<()> {
    let folder = path.parent().context("the disk image needs a folder")?;
    let temporary = tempfile::Builder::new().prefix(".disk-").tempfile_in(folder)?;
    let disk = temporary.as_file();
    disk.set_len(plan.disk_bytes())?;
    for (part, source) in parts {
        let extent = plan.extent(*part);
        copy_in(disk, extent.offset_bytes(), extent.size_bytes(), source)
            .with_context(|| format!("writing partition {part}"))?;
    }
    let table = plan.table().bytes(plan.disk_sectors())?;
    gpt_write::apply(&gpt_write::new_disk(boot_code, &table), disk).context("writing the partition table")?;
    disk.sync_all()?;
    publish(temporary, path)
}

/// Gives a finished file its name, readable for everybody as far as the umask allows.
pub fn publish(temporary: tempfile::NamedTempFile, path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    temporary.persist(path).with_context(|| format!("renaming to '{}'", path.display()))?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn copy_in(disk: &File, offset: u64, room: u64, source: &Source) -> anyhow::Result<()> {
    match source {
        Source::Bytes(bytes) => {
            check_size(bytes.len() as u64, room)?;
            copy_sparse(&mut bytes.as_slice(), disk, offset)
        }
        Source::File(path) => {
            let mut file = File::open(path).with_context(|| format!("opening '{}'", path.display()))?;
            check_size(file.metadata()?.len(), room)?;
            copy_sparse(&mut file, disk, offset)
        }
    }
}

fn check_size(size: u64, room: u64) -> anyhow::Result<()> {
    if size > room {
        bail!("{size} bytes do not fit into {room}");
    }
    Ok(())
}

/// Copies but for what is zero; the target is a new file, so zero is what it holds.
pub fn copy_sparse(from: &mut impl Read, mut to: &File, offset: u64) -> anyhow::Result<()> {
    let mut chunk = vec![0u8; CHUNK_BYTES];
    let mut at = offset;
    loop {
        let length = fill(from, &mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        for (index, block) in chunk[..length].chunks(HOLE_BYTES).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                to.seek(SeekFrom::Start(at + (index * HOLE_BYTES) as u64))?;
                to.write_all(block)?;
            }
        }
        at += length as u64;
    }
}

fn fill(from: &mut impl Read, chunk: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match from.read(&mut chunk[length..])? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}
