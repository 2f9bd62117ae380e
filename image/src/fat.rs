//! Makes FAT file systems with mkfs.vfat and mtools: ESP, boot slots, boot control, oem.
//!
//! Directory entries are written in the order of the list, each file in one run of clusters behind the one before it,
//! so the bytes follow from the contents alone. File modes and times come from here, never from umask or clock.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;

use crate::workshop::{self, Workshop};

/// What kind of file system is made.
#[derive(Clone, Debug)]
pub struct FatPlan {
    /// Length of the file in bytes.
    pub size: u64,
    /// Volume label, upper case, at most 11 characters.
    pub label: &'static str,
    /// Volume id.
    pub volume_id: u32,
    /// 12, 16 or 32.
    pub bits: u8,
    /// Sectors of 512 bytes in a cluster.
    pub cluster_sectors: u8,
    /// Sectors before the first allocation table, where the data is to begin at a certain place.
    pub reserved_sectors: Option<u8>,
    /// Files by path (`EFI/BOOT/BOOTX64.EFI`), in the order they are laid down.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Writes the file system to `path`.
pub fn make(shop: &Workshop, plan: &FatPlan, path: &Path) -> anyhow::Result<()> {
    let image = File::create(path).with_context(|| format!("creating '{}'", path.display()))?;
    image.set_len(plan.size)?;
    let mut format = shop.tools.command("mkfs.vfat")?;
    format.args(["--invariant", "-n", plan.label, "-i", &format!("{:08x}", plan.volume_id)]);
    format.args(["-F", &plan.bits.to_string(), "-s", &plan.cluster_sectors.to_string()]);
    if let Some(reserved) = plan.reserved_sectors {
        format.args(["-a", "-R", &reserved.to_string()]);
    }
    workshop::run(format.arg(path))?;
    for directory in directories(plan) {
        let mut make = shop.tools.command("mmd")?;
        workshop::run(make.arg("-i").arg(path).arg(format!("::{directory}")))?;
    }
    for (name, content) in &plan.files {
        let source = shop.scratch.join("fat-source");
        fs::write(&source, content).with_context(|| format!("writing '{}'", source.display()))?;
        fs::set_permissions(&source, Permissions::from_mode(0o644))?;
        let date = SystemTime::UNIX_EPOCH + Duration::from_secs(shop.epoch);
        File::options().write(true).open(&source)?.set_times(FileTimes::new().set_modified(date).set_accessed(date))?;
        let mut copy = shop.tools.command("mcopy")?;
        workshop::run(copy.args(["-m", "-i"]).arg(path).arg(&source).arg(format!("::{name}")))?;
        fs::remove_file(&source)?;
    }
    Ok(())
}

fn directories(plan: &FatPlan) -> BTreeSet<String> {
    let parents = |name: &str| name.match_indices('/').map(|(at, _)| name[..at].to_string()).collect::<Vec<_>>();
    plan.files.iter().flat_map(|(name, _)| parents(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_made_once_and_before_what_they_hold() {
        let files = ["EFI/BOOT/A", "EFI/BOOT/B", "EFI/debian/C", "D"].map(|name| (name.to_string(), Vec::new()));
        let plan = FatPlan {
            size: 0,
            label: "X",
            volume_id: 0,
            bits: 16,
            cluster_sectors: 1,
            reserved_sectors: None,
            files: files.into(),
        };
        assert_eq!(Vec::from_iter(directories(&plan)), ["EFI", "EFI/BOOT", "EFI/debian"]);
    }
}
