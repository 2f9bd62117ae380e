//! Makes the root file system (EROFS) out of a tree, with owners and modes, by an ordinary user.
//!
//! mkfs.erofs reads the tree as a tar stream, so no file of the image ever lies on the build host with an owner of
//! its own.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use ferrite_boards::Compression;
use uuid::Uuid;

use crate::tree::Tree;
use crate::workshop::Workshop;

/// The arguments of mkfs.erofs, but for the file.
pub fn arguments(uuid: Uuid, epoch: u64, compression: Compression) -> Vec<String> {
    let mut arguments = vec!["--quiet".to_string(), format!("-T{epoch}"), "-U".to_string(), uuid.to_string()];
    match compression {
        Compression::None => {}
        // Clusters of 64 KiB: the best size that still unpacks fast. Level 12 saves nothing and takes far longer.
        Compression::Lz4hc => arguments.extend(["-zlz4hc,level=9", "-C65536"].map(String::from)),
    }
    arguments.push("--tar=f".to_string());
    arguments
}

/// Writes the file system to `path`.
pub fn make(shop: &Workshop, tree: &Tree, arguments: &[String], path: &Path) -> anyhow::Result<()> {
    let mut command = shop.tools.command("mkfs.erofs")?;
    // mkfs.erofs keeps a copy of the stream here while it works.
    command.env("TMPDIR", shop.scratch);
    command.args(arguments).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("starting mkfs.erofs")?;
    let input = child.stdin.take().context("opening the input of mkfs.erofs")?;
    let written = tree.to_tar(std::io::BufWriter::with_capacity(1 << 20, input), shop.epoch);
    let output = child.wait_with_output().context("waiting for mkfs.erofs")?;
    if !output.status.success() {
        bail!("mkfs.erofs failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    written.context("writing the root file system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_fix_time_and_uuid_and_compress_only_when_asked() {
        let uuid = Uuid::from_u128(1);
        let plain = "--quiet -T9 -U 00000000-0000-0000-0000-000000000001 --tar=f";
        assert_eq!(arguments(uuid, 9, Compression::None).join(" "), plain);
        let packed = arguments(uuid, 9, Compression::Lz4hc).join(" ");
        assert!(packed.contains(" -zlz4hc,level=9 -C65536 "), "{packed}");
    }
}
