//! What is known about one block device: from sysfs, the partition table and the first bytes of its content; and the
//! links it asks for, which is pure.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ferrite_layout::gpt;
use ferrite_probe::{Filesystem, PREFIX_BYTES, probe};

use crate::claims::Claim;
use crate::names::{checked, encoded};
use crate::sysfs::Device;
use crate::{disk_id, disk_path};

/// Where a boot sector has the number of its disk, and its length.
const DISK_NUMBER_AT: usize = 440;
const BOOT_SECTOR_BYTES: usize = 512;
/// An array that mirrors a disk shows the disk's file system: it comes first. A CD is for looking at: it comes last.
const ARRAY_PRIORITY: i32 = 100;
const CD_PRIORITY: i32 = -100;

/// One disk or partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BlockDevice {
    /// The name below /dev.
    pub name: String,
    /// Its number, as `8:1`.
    pub number: Option<String>,
    /// The number of the partition; `None` for a whole disk.
    pub partition: Option<u32>,
    /// The name in the partition table.
    pub partition_name: Option<String>,
    /// The GUID in the partition table.
    pub partition_uuid: Option<String>,
    /// The file system on it.
    pub filesystem: Option<Filesystem>,
    /// What the maker calls the disk.
    pub ids: Vec<String>,
    /// Where the disk is plugged in.
    pub paths: Vec<String>,
    /// Which disk since the machine started this is.
    pub sequence: Option<String>,
}

impl BlockDevice {
    /// The links it asks for. Pure.
    pub(crate) fn claim(&self) -> Claim {
        let filesystem = self.filesystem.as_ref();
        let suffix = self.partition.map(|number| format!("-part{number}")).unwrap_or_default();
        let label = |name: Option<&String>| name.and_then(|name| encoded(name));
        let named = [
            ("by-partlabel", label(self.partition_name.as_ref())),
            ("by-partuuid", label(self.partition_uuid.as_ref())),
            ("by-label", label(filesystem.and_then(|found| found.label.as_ref()))),
            ("by-uuid", label(filesystem.and_then(|found| found.uuid.as_ref()))),
            ("by-diskseq", self.sequence.as_ref().and_then(|sequence| checked(format!("{sequence}{suffix}")))),
        ];
        let ids = self.ids.iter().map(|id| ("by-id", checked(format!("{id}{suffix}"))));
        let paths = self.paths.iter().map(|path| ("by-path", checked(format!("{path}{suffix}"))));
        let priority = match self.name.get(..2) {
            Some("md") => ARRAY_PRIORITY,
            Some("sr") => CD_PRIORITY,
            _ => 0,
        };
        let links = named.into_iter().chain(ids).chain(paths);
        let links = links.filter_map(|(folder, name)| Some(format!("disk/{folder}/{}", name?)));
        let number = self.number.iter().filter_map(|number| Some(format!("block/{}", checked(number.clone())?)));
        let first_cd = (self.name == "sr0").then(|| "cdrom".to_string());
        links.chain(number).chain(first_cd).map(|link| (link, priority)).collect()
    }
}

/// Looks at a device; `None` when it is gone or empty.
pub(crate) fn read(root: &Path, name: &str) -> Option<BlockDevice> {
    let device = Device::open(&root.join("sys/class/block").join(name.replace('/', "!")))?;
    if device.attribute("size")?.parse::<u64>().ok()? == 0 {
        return None;
    }
    let dev = root.join("dev");
    let partition = device.property("PARTN").and_then(|number| number.parse().ok());
    let disk = if partition.is_some() { device.parent() } else { Some(device.clone()) };
    let entry = disk.as_ref().zip(partition).and_then(|(disk, number)| entry(&dev, disk, number));
    let is_virtual = device.path().to_string_lossy().contains("/virtual/");
    Some(BlockDevice {
        name: name.to_string(),
        number: device.attribute("dev"),
        partition,
        partition_name: entry.as_ref().and_then(|entry| entry.0.clone()).or_else(|| device.property("PARTNAME")),
        partition_uuid: entry.map(|entry| entry.1),
        filesystem: filesystem(&dev.join(name)),
        ids: disk.as_ref().map(disk_id::ids).unwrap_or_default(),
        paths: disk.as_ref().filter(|_| !is_virtual).map(disk_path::paths).unwrap_or_default(),
        sequence: disk.and_then(|disk| disk.attribute("diskseq")),
    })
}

/// Name and identity of a partition, from the table on the disk: the kernel of Debian 13 does not tell the identity,
/// and cuts the name to seven bits a letter.
fn entry(dev: &Path, disk: &Device, number: u32) -> Option<(Option<String>, String)> {
    let sectors = disk.attribute("size")?.parse().ok()?;
    let mut file = File::open(dev.join(disk.name().replace('!', "/"))).ok()?;
    if let Ok(found) = gpt::read_table(&file, sectors) {
        let entry = found.table.entries.get(&number)?;
        let name = entry.name.trim_end_matches('\0').to_string();
        return Some((Some(name).filter(|name| !name.is_empty()), entry.guid.to_string()));
    }
    let mut sector = [0; BOOT_SECTOR_BYTES];
    file.read_exact(&mut sector).ok()?;
    disk_number(&sector).map(|disk| (None, format!("{disk:08x}-{number:02x}")))
}

/// What tells disks with the old kind of partition table apart.
fn disk_number(sector: &[u8; BOOT_SECTOR_BYTES]) -> Option<u32> {
    let number = sector.get(DISK_NUMBER_AT..DISK_NUMBER_AT + 4)?.try_into().ok().map(u32::from_le_bytes)?;
    (sector.ends_with(&[0x55, 0xaa]) && number != 0).then_some(number)
}

fn filesystem(node: &Path) -> Option<Filesystem> {
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    // Without O_NONBLOCK an optical drive that is empty refuses at once; with it the reading would fail, loudly. An
    // error while reading leaves a shorter prefix.
    let _ = File::open(node).ok()?.take(PREFIX_BYTES as u64).read_to_end(&mut prefix);
    probe(&prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tree::device;
    use ferrite_probe::Kind;

    #[test]
    fn a_partition_asks_for_all_its_links_with_safe_names() {
        let device = BlockDevice {
            name: "vda9".into(),
            number: Some("253:9".into()),
            partition: Some(9),
            partition_name: Some("größe".into()),
            partition_uuid: Some("0a".into()),
            filesystem: Some(Filesystem { kind: Kind::Ext, label: Some("my state/..".into()), uuid: None }),
            ids: vec!["virtio-disk_one".into()],
            paths: vec!["pci-0000:00:05.0".into()],
            sequence: Some("3".into()),
        };
        let links: Vec<String> = device.claim().into_keys().collect();
        assert_eq!(
            links,
            [
                "block/253:9",
                "disk/by-diskseq/3-part9",
                "disk/by-id/virtio-disk_one-part9",
                "disk/by-label/my\\x20state\\x2f..",
                "disk/by-partlabel/größe",
                "disk/by-partuuid/0a",
                "disk/by-path/pci-0000:00:05.0-part9",
            ]
        );
    }

    #[test]
    fn an_array_comes_before_a_disk_and_a_disk_before_a_cd() {
        let priority = |name: &str| {
            let device = BlockDevice { name: name.into(), partition_uuid: Some("x".into()), ..BlockDevice::default() };
            device.claim()["disk/by-partuuid/x"]
        };
        assert!(priority("md127") > priority("sda") && priority("sda") > priority("sr0"));
        let cd = BlockDevice { name: "sr0".into(), ..BlockDevice::default() };
        assert_eq!(cd.claim(), Claim::from([("cdrom".to_string(), CD_PRIORITY)]));
    }

    #[test]
    fn a_partition_is_read_from_sysfs_the_table_and_its_content() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        std::fs::create_dir_all(root.join("dev")).unwrap();
        device(root, "vda", "block", "disk", &[("size", "2048\n"), ("serial", "disk one\n"), ("diskseq", "7\n")]);
        let attributes = [("size", "1024\n"), ("dev", "253:1\n"), ("uevent", "PARTN=1\nPARTNAME=old name\n")];
        device(root, "vda/vda1", "block", "partition", &attributes);
        let mut content = vec![0; 4096];
        content[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        content[1024 + 0x78] = b's';
        std::fs::write(root.join("dev/vda1"), content).unwrap();
        let mut sector = [0; BOOT_SECTOR_BYTES];
        sector[DISK_NUMBER_AT..DISK_NUMBER_AT + 4].copy_from_slice(&[0xef, 0xbe, 0xad, 0xde]);
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(root.join("dev/vda"), sector).unwrap();
        let device = read(root, "vda1").unwrap();
        assert_eq!((device.partition, device.partition_name.as_deref()), (Some(1), Some("old name")));
        assert_eq!(device.partition_uuid.as_deref(), Some("deadbeef-01"));
        assert_eq!(device.filesystem.unwrap().label.as_deref(), Some("s"));
        assert_eq!((device.ids, device.sequence.as_deref()), (vec!["virtio-disk_one".to_string()], Some("7")));
        assert_eq!(read(root, "vdb"), None);
    }
}
