//! Everything that is there when the system starts: modules for all devices, permissions, terminals, disk links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::devices::Devices;
use crate::modules::Loader;
use crate::terminals;
use crate::written::Written;

/// A driver may bring devices that want drivers: a controller, its hub, the disk on it.
const MAX_ROUNDS: usize = 10;
const MAX_DEVICES: usize = 100_000;
const MAX_ALIAS_BYTES: u64 = 4096;
/// Classes whose devices have an alias but no bus.
const CLASSES: [&str; 2] = ["input", "dmi"];

/// What was found.
#[derive(Debug)]
pub(crate) struct Present {
    /// The devices with a node.
    pub devices: Devices,
    /// The aliases whose modules were loaded.
    pub aliases: BTreeSet<String>,
}

/// Loads the modules of all devices, names disks, sets permissions.
pub fn coldplug(root: &Path) -> anyhow::Result<()> {
    let mut aliases = BTreeSet::new();
    load_modules(root, &mut aliases)?;
    set_up(root, None, aliases);
    Ok(())
}

/// The same for the daemon, which goes on without modules when their index cannot be read.
pub(crate) fn present(root: &Path, written: Option<Written>) -> Present {
    let mut aliases = BTreeSet::new();
    if let Err(error) = load_modules(root, &mut aliases) {
        eprintln!("warning: loading modules: {error:#}, going on without them");
    }
    set_up(root, written, aliases)
}

fn set_up(root: &Path, written: Option<Written>, aliases: BTreeSet<String>) -> Present {
    terminals::mark_unused(root);
    let mut devices = Devices::new(root, written);
    devices.scan();
    eprintln!("{} device aliases, {} block devices", aliases.len(), devices.block_count());
    Present { devices, aliases }
}

fn load_modules(root: &Path, seen: &mut BTreeSet<String>) -> anyhow::Result<()> {
    let mut loader = Loader::open(root)?;
    let mut count = 0;
    for _round in 0..MAX_ROUNDS {
        let new: Vec<String> = aliases(root).into_iter().filter(|alias| seen.insert(alias.clone())).collect();
        if new.is_empty() {
            break;
        }
        count += loader.load(new.iter().map(String::as_str));
    }
    eprintln!("{count} modules loaded");
    Ok(())
}

/// The modalias of every device on a bus.
pub(crate) fn aliases(root: &Path) -> BTreeSet<String> {
    let sys = root.join("sys");
    let mut folders: Vec<PathBuf> = CLASSES.iter().map(|class| sys.join("class").join(class)).collect();
    folders.extend(entries(&sys.join("bus")).into_iter().map(|bus| bus.join("devices")));
    let mut found = BTreeSet::new();
    for folder in folders {
        for device in entries(&folder) {
            let path = device.join("modalias");
            let text = crate::sysfs::small_text(&path, MAX_ALIAS_BYTES);
            found.extend(text.filter(|text| !text.is_empty()));
        }
    }
    found
}

/// The entries of a folder; one that is not there has none.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().take(MAX_DEVICES).map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_all_buses_and_of_input_are_found_once() {
        let root = tempfile::tempdir().unwrap();
        for (device, alias) in [
            ("bus/pci/devices/0000:00:01.0", "pci:v1\n"),
            ("bus/virtio/devices/virtio0", "virtio:d1\n"),
            ("bus/virtio/devices/virtio1", "virtio:d1\n"),
            ("class/input/input0", "input:b0\n"),
            ("bus/usb/devices/empty", ""),
        ] {
            let folder = root.path().join("sys").join(device);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("modalias"), alias).unwrap();
        }
        let found: Vec<String> = aliases(root.path()).into_iter().collect();
        assert_eq!(found, ["input:b0", "pci:v1", "virtio:d1"]);
    }
}
