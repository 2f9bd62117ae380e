//! Disks and partitions as the kernel shows them in /sys/class/block.

use std::collections::BTreeMap;
use std::path::Path;

const CLASS: &str = "/sys/class/block";

/// A partition that the kernel has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Kernel name, such as `vda5`.
    pub name: String,
    /// Name in the partition table, such as `ferrite-root-a`.
    pub label: String,
}

/// A whole disk and the partitions that the kernel has found on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockDisk {
    /// Kernel name, such as `vda`.
    pub name: String,
    /// Size in 512-byte sectors.
    pub sectors: u64,
    /// Partitions by number.
    pub partitions: BTreeMap<u32, Partition>,
}

/// Lists the disks that could hold a system, in the order of their names.
pub fn list() -> std::io::Result<Vec<BlockDisk>> {
    let mut disks = Vec::new();
    for entry in std::fs::read_dir(CLASS)? {
        let Ok(entry) = entry else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        // A device that goes away while it is looked at is not there.
        let Ok(folder) = path.canonicalize() else { continue };
        if !folder.join("partition").exists() && may_hold_a_system(&name) {
            disks.extend(read_disk(name, &folder));
        }
    }
    disks.sort_by(|a, b| order(&a.name).cmp(&order(&b.name)));
    Ok(disks)
}

/// Looks at one disk again.
pub fn again(disk: &str) -> Option<BlockDisk> {
    read_disk(disk.to_owned(), &Path::new(CLASS).join(disk).canonicalize().ok()?)
}

/// Bytes of a sector as the disk counts them in its partition table.
pub fn logical_block_bytes(disk: &str) -> Option<u64> {
    number(&Path::new(CLASS).join(disk).join("queue/logical_block_size"))
}

fn read_disk(name: String, folder: &Path) -> Option<BlockDisk> {
    let sectors = number(&folder.join("size")).filter(|&sectors| sectors > 0)?;
    let mut partitions = BTreeMap::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let partition = entry.path();
        if let Some(number) = number(&partition.join("partition")) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let uevent = std::fs::read_to_string(partition.join("uevent")).unwrap_or_default();
            let number = number.try_into().unwrap_or(u32::MAX);
            partitions.insert(number, Partition { name, label: label(&uevent).to_owned() });
        }
    }
    Some(BlockDisk { name, sectors, partitions })
}

fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn label(uevent: &str) -> &str {
    uevent.lines().find_map(|line| line.strip_prefix("PARTNAME=")).unwrap_or_default()
}

/// Optical and floppy drives may block for long when they are read; the others hold no partitions.
fn may_hold_a_system(name: &str) -> bool {
    !["loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd"].iter().any(|prefix| name.starts_with(prefix))
}

/// Orders `sda` before `sdb` before `sdaa`, `nvme2n1` before `nvme10n1`.
fn order(name: &str) -> (usize, &str) {
    (name.len(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_as_people_count() {
        let mut names = ["sdaa", "nvme10n1", "sdb", "vda", "nvme2n1", "sda"];
        names.sort_by_key(|name| order(name));
        assert_eq!(names, ["sda", "sdb", "vda", "sdaa", "nvme2n1", "nvme10n1"]);
    }

    #[test]
    fn drives_that_cannot_hold_a_system_are_not_looked_at() {
        for (name, expected) in [("vda", true), ("nvme0n1", true), ("mmcblk0", true), ("sr0", false), ("loop3", false)]
        {
            assert_eq!(may_hold_a_system(name), expected, "{name}");
        }
    }

    #[test]
    fn the_label_comes_from_the_uevent_file() {
        assert_eq!(label("MAJOR=254\nPARTN=5\nPARTNAME=ferrite-root-a\n"), "ferrite-root-a");
        assert_eq!(label("MAJOR=254\n"), "");
    }
}
