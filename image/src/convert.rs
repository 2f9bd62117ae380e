//! Other forms of a finished disk: qcow2 by the host's qemu-img, and the compressed form that is published.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

use crate::sparse;

/// Matches of a sparse disk lie far apart: 128 MiB.
const WINDOW_LOG: u32 = 27;
const LEVEL: i32 = 15;

/// Converts a disk to qcow2. qemu-img writes the same bytes for the same disk.
pub fn to_qcow2(raw: &Path, target: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(target);
    match command.output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("--format qcow2 needs qemu-img on this machine: install the package qemu-utils")
        }
        Err(error) => Err(error).context("starting qemu-img"),
        Ok(output) if !output.status.success() => {
            bail!("qemu-img failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim())
        }
        Ok(_) => Ok(()),
    }
}

/// Compresses a disk with zstd and returns the compressed length.
pub fn compress(disk: &Path, target: &Path) -> anyhow::Result<u64> {
    let input = File::open(disk).with_context(|| format!("opening '{}'", disk.display()))?;
    let size = input.metadata()?.len();
    let output = File::create(target).with_context(|| format!("creating '{}'", target.display()))?;
    let mut encoder = zstd::Encoder::new(output, LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(size))?;
    sparse::for_each_chunk(&input, |chunk| encoder.write_all(chunk))
        .with_context(|| format!("compressing '{}'", disk.display()))?;
    Ok(encoder.finish()?.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_disk_unpacks_to_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, target) = (folder.path().join("disk"), folder.path().join("disk.zst"));
        let file = File::create(&disk).unwrap();
        file.set_len(3 << 20).unwrap();
        (&file).write_all(b"boot").unwrap();
        let size = compress(&disk, &target).unwrap();
        assert!(size < 1000, "{size} bytes");
        let unpacked = zstd::decode_all(File::open(&target).unwrap()).unwrap();
        assert!(unpacked == std::fs::read(&disk).unwrap());
    }
}
