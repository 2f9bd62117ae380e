//! What is known about one block device: from sysfs, the partition table and the first bytes of its content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ferrite_probe::{Filesystem, PREFIX_BYTES, probe};

const MAX_ATTRIBUTE_BYTES: u64 = 4096;

/// One disk or partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BlockDevice {
    /// The name below /dev.
    pub name: String,
    /// The number of the partition; `None` for a whole disk.
    pub partition: Option<u32>,
    /// The name in the partition table.
    pub partition_name: Option<String>,
    /// The GUID in the partition table.
    pub partition_uuid: Option<String>,
    /// The file system on it.
    pub filesystem: Option<Filesystem>,
    /// What the maker calls the disk: `virtio-SERIAL`, `nvme-MODEL_SERIAL`, `scsi-SERIAL`.
    pub id: Option<String>,
}

/// Looks at a device; `None` when it is gone or empty.
pub(crate) fn read(root: &Path, name: &str) -> Option<BlockDevice> {
    let sys = root.join("sys/class/block").join(name.replace('/', "!"));
    let uevent = small_text(&sys.join("uevent"), MAX_ATTRIBUTE_BYTES)?;
    let field =
        |key: &str| uevent.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_string);
    let sectors: u64 = small_text(&sys.join("size"), 64)?.parse().ok()?;
    if sectors == 0 {
        return None;
    }
    let dev = root.join("dev");
    let partition = field("PARTN").and_then(|number| number.parse().ok());
    let disk = if partition.is_some() { parent(&sys) } else { Some(name.to_string()) };
    let disk_sys = disk.as_ref().map(|disk| root.join("sys/class/block").join(disk.replace('/', "!")));
    let partition_uuid = match (&disk, &disk_sys, partition) {
        (Some(disk), Some(disk_sys), Some(number)) => partition_uuid(&dev.join(disk), disk_sys, number),
        _ => None,
    };
    Some(BlockDevice {
        name: name.to_string(),
        partition,
        partition_name: field("PARTNAME"),
        partition_uuid,
        filesystem: filesystem(&dev.join(name)),
        id: disk_sys.and_then(|sys| disk_id(&sys, disk.as_deref().unwrap_or(name))),
    })
}

/// The disk of a partition: its folder in sysfs contains the partition's.
fn parent(sys: &Path) -> Option<String> {
    let real = std::fs::canonicalize(sys).ok()?;
    Some(real.parent()?.file_name()?.to_str()?.replace('!', "/"))
}

/// From the table on the disk: the kernel of Debian 13 does not tell the GUID.
fn partition_uuid(disk: &Path, disk_sys: &Path, number: u32) -> Option<String> {
    let sectors = small_text(&disk_sys.join("size"), 64)?.parse().ok()?;
    let found = ferrite_layout::gpt::read_table(&open(disk)?, sectors).ok()?;
    Some(found.table.entries.get(&number)?.guid.to_string())
}

fn filesystem(node: &Path) -> Option<Filesystem> {
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    // An error while reading leaves a shorter prefix.
    let _ = open(node)?.take(PREFIX_BYTES as u64).read_to_end(&mut prefix);
    probe(&prefix)
}

/// Without O_NONBLOCK an optical drive that is empty refuses at once; with it the reading would fail, loudly.
fn open(node: &Path) -> Option<File> {
    File::open(node).ok()
}

fn disk_id(sys: &Path, name: &str) -> Option<String> {
    let text = |file: &str| small_text(&sys.join(file), MAX_ATTRIBUTE_BYTES).filter(|text| !text.is_empty());
    if name.starts_with("vd") {
        return Some(format!("virtio-{}", text("serial")?));
    }
    if name.starts_with("nvme") {
        return Some(format!("nvme-{}_{}", text("device/model")?, text("device/serial")?));
    }
    // Page 80h of the vital product data: four bytes of header, then the serial number.
    let page = small_bytes(&sys.join("device/vpd_pg80"), MAX_ATTRIBUTE_BYTES)?;
    let serial = String::from_utf8_lossy(page.get(4..)?).trim_matches(['\0', ' ']).to_string();
    (!serial.is_empty()).then(|| format!("scsi-{serial}"))
}

/// The text of a small file without blanks at its ends; `None` when it cannot be read.
pub(crate) fn small_text(path: &Path, limit: u64) -> Option<String> {
    let bytes = small_bytes(path, limit)?;
    Some(String::from_utf8_lossy(&bytes).trim().to_string())
}

fn small_bytes(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // An attribute of a device that is gone or says EINVAL is an attribute it has not got.
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_read_from_sysfs_and_its_content() {
        let root = tempfile::tempdir().unwrap();
        let disk = root.path().join("sys/devices/vda");
        std::fs::create_dir_all(disk.join("vda1")).unwrap();
        std::fs::create_dir_all(root.path().join("sys/class/block")).unwrap();
        std::fs::create_dir_all(root.path().join("dev")).unwrap();
        for (name, target) in [("vda", "../../devices/vda"), ("vda1", "../../devices/vda/vda1")] {
            std::os::unix::fs::symlink(target, root.path().join("sys/class/block").join(name)).unwrap();
        }
        std::fs::write(disk.join("size"), "2048\n").unwrap();
        std::fs::write(disk.join("serial"), "disk one\n").unwrap();
        std::fs::write(disk.join("vda1/size"), "1024\n").unwrap();
        std::fs::write(disk.join("vda1/uevent"), "DEVNAME=vda1\nPARTN=1\nPARTNAME=ferrite-esp\n").unwrap();
        let mut content = vec![0; 4096];
        content[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        content[1024 + 0x78] = b's';
        std::fs::write(root.path().join("dev/vda1"), content).unwrap();
        let device = read(root.path(), "vda1").unwrap();
        assert_eq!((device.partition, device.partition_name.as_deref()), (Some(1), Some("ferrite-esp")));
        assert_eq!(device.filesystem.unwrap().label.as_deref(), Some("s"));
        assert_eq!(device.id.as_deref(), Some("virtio-disk one"));
        assert_eq!(read(root.path(), "vdb"), None);
    }
}
