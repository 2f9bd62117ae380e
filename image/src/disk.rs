//! Puts the parts of a disk together into one sparse file: partitions, partition tables, boot code.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_layout::Part;
use ferrite_layout::disk::DiskPlan;
use ferrite_layout::gpt_write;

use crate::grub::BOOT_CODE_SIZE;
use crate::{output, sparse};

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
    let temporary = tempfile::Builder::new().prefix(output::SCRATCH).tempfile_in(folder)?;
    let disk = temporary.as_file();
    disk.set_len(plan.disk_bytes())?;
    // The tables first: their writer syncs after each step, which is cheap while the file is still empty.
    let table = plan.table().bytes(plan.disk_sectors())?;
    gpt_write::apply(&gpt_write::new_disk(boot_code, &table), disk).context("writing the partition table")?;
    for (part, source) in parts {
        let extent = plan.extent(*part);
        copy_in(disk, extent.offset_bytes(), extent.size_bytes(), source)
            .with_context(|| format!("writing partition {part}"))?;
    }
    disk.sync_all()?;
    publish(temporary, path)
}

/// Gives a finished file its name, readable for everybody as far as the umask allows.
pub fn publish(temporary: tempfile::NamedTempFile, path: &Path) -> anyhow::Result<()> {
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
            disk.write_all_at(bytes, offset)?;
            Ok(())
        }
        Source::File(path) => {
            let file = File::open(path).with_context(|| format!("opening '{}'", path.display()))?;
            check_size(file.metadata()?.len(), room)?;
            copy_sparse(&file, disk, offset)
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
fn copy_sparse(from: &File, to: &File, offset: u64) -> anyhow::Result<()> {
    let mut block = vec![0u8; CHUNK_BYTES];
    for range in sparse::data_ranges(from)? {
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(CHUNK_BYTES as u64) as usize;
            from.read_exact_at(&mut block[..length], at)?;
            write_sparse(to, offset + at, &block[..length])?;
            at += length as u64;
        }
    }
    Ok(())
}

/// Writes runs of blocks that are not zero, each run at once.
fn write_sparse(to: &File, offset: u64, bytes: &[u8]) -> anyhow::Result<()> {
    let is_zero = |block: &[u8]| block.iter().all(|&byte| byte == 0);
    let blocks: Vec<&[u8]> = bytes.chunks(HOLE_BYTES).collect();
    let mut at = offset;
    for run in blocks.chunk_by(|left, right| is_zero(left) == is_zero(right)) {
        let length: usize = run.iter().map(|block| block.len()).sum();
        let start = (at - offset) as usize;
        if !is_zero(run[0]) {
            to.write_all_at(&bytes[start..start + length], at)?;
        }
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_layout::disk::Sizes;
    use ferrite_layout::gpt;
    use uuid::Uuid;

    #[test]
    fn parts_lie_where_the_table_says_and_zeros_take_no_room() {
        let plan = DiskPlan::new(&Sizes::default(), Uuid::from_u128(1)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (source, path) = (folder.path().join("part"), folder.path().join("disk.raw"));
        let mut content = vec![0u8; 300 << 10];
        content[..4].copy_from_slice(b"head");
        content[200 << 10..][..4].copy_from_slice(b"tail");
        fs::write(&source, &content).unwrap();
        let parts = [(Part::Bios, Source::Bytes(b"core".to_vec())), (Part::RootA, Source::File(source))];
        assemble(&plan, &[0x90; BOOT_CODE_SIZE], &parts, &path).unwrap();

        let disk = File::open(&path).unwrap();
        let found = gpt::read_table(&disk, plan.disk_sectors()).unwrap();
        let (_, entry) = found.table.by_name("ferrite-root-a").unwrap();
        let mut back = vec![1u8; content.len()];
        disk.read_exact_at(&mut back, entry.first_lba * 512).unwrap();
        assert!(back == content);
        let mut start = [0u8; 4];
        disk.read_exact_at(&mut start, plan.extent(Part::Bios).offset_bytes()).unwrap();
        assert_eq!((&start, sparse::data_ranges(&disk).unwrap().len() > 2), (b"core", true));
        let allocated: u64 = sparse::data_ranges(&disk).unwrap().iter().map(|range| range.end - range.start).sum();
        assert!(allocated < 1 << 20, "{allocated} bytes of data");
    }

    #[test]
    fn a_part_that_is_too_large_leaves_no_disk_behind() {
        let plan = DiskPlan::new(&Sizes::default(), Uuid::from_u128(1)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let parts = [(Part::Bios, Source::Bytes(vec![1; (1 << 20) + 1]))];
        let error = assemble(&plan, &[0; BOOT_CODE_SIZE], &parts, &folder.path().join("disk.raw")).unwrap_err();
        assert_eq!(format!("{error:#}"), "writing partition ferrite-bios: 1048577 bytes do not fit into 1048576");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
