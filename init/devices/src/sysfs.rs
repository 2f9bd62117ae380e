//! A device of sysfs, its attributes, and the devices it hangs on.
//!
//! Nothing here fails: a device may go away at any moment, and an attribute it has not got is `None`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

const MAX_ATTRIBUTE_BYTES: u64 = 4096;
/// Steps from a disk up to the root of a machine; a deep tree of hubs and switches has about thirty.
const MAX_DEPTH: usize = 64;

/// A folder of sysfs with a `uevent` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    path: PathBuf,
}

impl Device {
    /// The device behind a path, which may be a link of /sys/class.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Some(Self { path: std::fs::canonicalize(path).ok()? })
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in sysfs.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The class or bus it belongs to.
    pub(crate) fn subsystem(&self) -> Option<String> {
        let link = std::fs::read_link(self.path.join("subsystem")).ok()?;
        Some(link.file_name()?.to_str()?.to_string())
    }

    /// A line `KEY=value` of its `uevent` file.
    pub(crate) fn property(&self, key: &str) -> Option<String> {
        let text = small_text(&self.path.join("uevent"), MAX_ATTRIBUTE_BYTES)?;
        text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=').map(str::to_string))
    }

    /// Whether its type is this one, as `usb_interface`.
    pub(crate) fn is_type(&self, kind: &str) -> bool {
        self.property("DEVTYPE").as_deref() == Some(kind)
    }

    /// The text of an attribute; an empty one is none.
    pub(crate) fn attribute(&self, name: &str) -> Option<String> {
        small_text(&self.path.join(name), MAX_ATTRIBUTE_BYTES).filter(|text| !text.is_empty())
    }

    /// The bytes of an attribute.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        small_bytes(&self.path.join(name), MAX_ATTRIBUTE_BYTES)
    }

    /// The device it hangs on.
    pub(crate) fn parent(&self) -> Option<Self> {
        let above = self.path.ancestors().skip(1).take(MAX_DEPTH);
        let found = above.take_while(|path| !path.ends_with("sys/devices")).find(|path| path.join("uevent").exists());
        found.map(|path| Self { path: path.to_path_buf() })
    }

    /// Those it hangs on, the nearest first.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.parent(), Self::parent).take(MAX_DEPTH)
    }

    /// The nearest of these that is of a subsystem and type.
    pub(crate) fn ancestor(&self, subsystem: &str, kind: &str) -> Option<Self> {
        self.ancestors().find(|device| device.subsystem().as_deref() == Some(subsystem) && device.is_type(kind))
    }

    /// The value of the nearest device that has the attribute, itself included.
    pub(crate) fn inherited(&self, name: &str) -> Option<String> {
        self.attribute(name).or_else(|| self.ancestors().find_map(|device| device.attribute(name)))
    }
}

/// The text of a small file without blanks at its ends; `None` when it cannot be read.
pub(crate) fn small_text(path: &Path, limit: u64) -> Option<String> {
    let bytes = small_bytes(path, limit)?;
    Some(String::from_utf8_lossy(&bytes).trim_matches(|letter: char| letter.is_whitespace() || letter == '\0').into())
}

fn small_bytes(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // An attribute of a device that is gone or says EINVAL is an attribute it has not got.
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// A tree like sysfs, for tests.
#[cfg(test)]
pub(crate) mod tree {
    use std::path::Path;

    /// Makes a device below `sys/devices`: its subsystem, its type, and its attributes.
    pub(crate) fn device(root: &Path, path: &str, subsystem: &str, kind: &str, attributes: &[(&str, &str)]) {
        let folder = root.join("sys/devices").join(path);
        std::fs::create_dir_all(&folder).unwrap();
        let class = root.join("sys/class").join(subsystem);
        std::fs::create_dir_all(&class).unwrap();
        std::os::unix::fs::symlink(&class, folder.join("subsystem")).unwrap();
        let link = class.join(folder.file_name().unwrap());
        std::os::unix::fs::symlink(&folder, link).unwrap();
        let kind = if kind.is_empty() { String::new() } else { format!("DEVTYPE={kind}\n") };
        std::fs::write(folder.join("uevent"), kind).unwrap();
        for (name, value) in attributes {
            let file = folder.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            if *name == "uevent" {
                let before = std::fs::read_to_string(&file).unwrap();
                std::fs::write(&file, format!("{before}{value}")).unwrap();
            } else {
                std::fs::write(&file, value).unwrap();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_knows_what_it_hangs_on() {
        let root = tempfile::tempdir().unwrap();
        tree::device(root.path(), "pci0/0000:00:07.0", "pci", "", &[("vendor", "0x1b36\n")]);
        tree::device(root.path(), "pci0/0000:00:07.0/usb2/2-1", "usb", "usb_device", &[("serial", " x \n")]);
        tree::device(root.path(), "pci0/0000:00:07.0/usb2/2-1/host1/block/sda", "block", "disk", &[("empty", "\n")]);
        let disk = Device::open(&root.path().join("sys/class/block/sda")).unwrap();
        let names: Vec<String> = disk.ancestors().map(|device| device.name().to_string()).collect();
        assert_eq!(names, ["2-1", "0000:00:07.0"]);
        assert_eq!(disk.ancestor("usb", "usb_device").unwrap().attribute("serial").as_deref(), Some("x"));
        assert_eq!(disk.inherited("vendor").as_deref(), Some("0x1b36"));
        assert_eq!((disk.attribute("empty"), disk.property("DEVTYPE").as_deref()), (None, Some("disk")));
    }
}
