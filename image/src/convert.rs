//! Other forms of a finished disk: qcow2 by the private qemu-img, and the compressed form that is published.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::sparse;
use crate::workshop::{self, Workshop};

/// Matches of a sparse disk lie far apart: 128 MiB.
const WINDOW_LOG: u32 = 27;
const LEVEL: i32 = 15;

/// Converts a disk to qcow2. qemu-img writes the same bytes for the same disk.
pub fn to_qcow2(shop: &Workshop, raw: &Path, target: &Path) -> anyhow::Result<()> {
    let mut command = shop.tools.command("qemu-img")?;
    workshop::run(command.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(target))
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
