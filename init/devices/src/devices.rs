//! All devices with a node: their permissions and links, as they come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::claims::Claims;
use crate::permissions::{self, Node};
use crate::sysfs::Device;
use crate::uevent::{Work, is_node_name};
use crate::written::Written;
use crate::{block, coldplug, nodes};

/// Links of every number of a device to its folder.
const BY_NUMBER: [&str; 2] = ["sys/dev/block", "sys/dev/char"];
/// Nodes that are read only, or written to all the time.
const UNWATCHED: [&str; 3] = ["sr", "ram", "zram"];

/// What is known of the devices.
#[derive(Debug)]
pub(crate) struct Devices {
    root: PathBuf,
    claims: Claims,
    blocks: BTreeSet<String>,
    written: Option<Written>,
}

impl Devices {
    /// Knows no device yet; `written`: who tells of disks that were written to.
    pub(crate) fn new(root: &Path, written: Option<Written>) -> Self {
        Self { root: root.to_path_buf(), claims: Claims::default(), blocks: BTreeSet::new(), written }
    }

    /// How many disks and partitions are known.
    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Who tells of disks that were written to.
    pub(crate) fn written(&self) -> Option<&Written> {
        self.written.as_ref()
    }

    /// Looks at all devices: permissions first, so that who finds a link may use it.
    pub(crate) fn scan(&mut self) {
        let mut found = BTreeMap::new();
        for path in BY_NUMBER.iter().flat_map(|folder| coldplug::entries(&self.root.join(folder))) {
            let Some(device) = Device::open(&path) else { continue };
            let node = device.property("DEVNAME").filter(|name| is_node_name(name));
            if let (Some(node), Some(subsystem)) = (node, device.subsystem()) {
                found.insert(node, subsystem);
            }
        }
        let group_file = self.group_file();
        for (node, subsystem) in &found {
            self.set_permission(node, subsystem, &group_file);
        }
        self.claims.keep(|node| found.contains_key(node));
        self.blocks.retain(|node| found.contains_key(node));
        for (node, subsystem) in &found {
            self.look(node, subsystem);
        }
        self.claims.apply(&self.root.join("dev"));
    }

    /// Follows what the kernel told of.
    pub(crate) fn follow(&mut self, work: &Work) {
        let group_file = self.group_file();
        let mut changed = false;
        for (node, look) in &work.nodes {
            if look.is_new {
                self.set_permission(node, &look.subsystem, &group_file);
            }
            if look.went {
                self.blocks.remove(node);
                changed |= self.claims.remove(node);
            }
            if look.is_there {
                changed |= self.look(node, &look.subsystem);
            }
        }
        if changed {
            self.claims.apply(&self.root.join("dev"));
        }
    }

    /// Looks again at the disks that were written to, and at their partitions.
    pub(crate) fn follow_writers(&mut self) {
        let written = self.written.as_mut().map(Written::take).unwrap_or_default();
        let is_part = |node: &str| {
            let rest = |disk: &String| node.strip_prefix(disk.as_str()).map(|rest| rest.trim_start_matches('p'));
            let number = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
            written.iter().filter_map(rest).any(number)
        };
        let nodes: Vec<String> = self.blocks.iter().filter(|node| is_part(node)).cloned().collect();
        let changed = nodes.into_iter().chain(written.clone()).fold(false, |changed, node| {
            // A disk of which nothing was known may have become one.
            self.look(&node, "block") | changed
        });
        if changed {
            self.claims.apply(&self.root.join("dev"));
        }
    }

    /// What a device asks for now; returns whether that is new.
    fn look(&mut self, node: &str, subsystem: &str) -> bool {
        if subsystem != "block" {
            return nodes::has_links(subsystem) && self.claims.set(node, nodes::claim(&self.root, subsystem, node));
        }
        if !UNWATCHED.iter().any(|stem| node.starts_with(stem))
            && let Some(written) = &mut self.written
        {
            written.watch(&self.root.join("dev"), node);
        }
        match block::read(&self.root, node) {
            Some(device) => {
                self.blocks.insert(node.to_string());
                self.claims.set(node, device.claim())
            }
            None => {
                self.blocks.remove(node);
                self.claims.remove(node)
            }
        }
    }

    fn set_permission(&self, node: &str, subsystem: &str, group_file: &str) {
        let scsi_type = matches!(subsystem, "scsi_generic" | "scsi_tape").then(|| {
            let path = self.root.join("sys/class").join(subsystem).join(node).join("device");
            Device::open(&path)?.attribute("type")?.parse().ok()
        });
        let described = Node { name: node, subsystem, scsi_type: scsi_type.flatten() };
        let Some(permission) = permissions::wanted(&described) else { return };
        match permissions::apply(&self.root.join("dev"), node, permission, group_file) {
            // The device may be gone again; then there is nothing to set.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                eprintln!("warning: permissions of '{node}': {error}, keeping the kernel's");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Read anew each time: an administrator may have made a group.
    fn group_file(&self) -> String {
        std::fs::read_to_string(self.root.join("etc/group")).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tree::device;
    use crate::uevent::{Action, Uevent, work};

    /// A machine with disks, each a file with a file system that is called after it.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for folder in ["dev", "sys/dev/block", "sys/dev/char"] {
                std::fs::create_dir_all(root.path().join(folder)).unwrap();
            }
            Self(root)
        }

        fn plug(&self, name: &str, number: &str, label: &str) {
            let uevent = format!("DEVNAME={name}\n");
            let attributes = [("size", "2048\n"), ("dev", number), ("uevent", &uevent)];
            device(self.0.path(), &format!("pci/{name}"), "block", "disk", &attributes);
            let link = self.0.path().join("sys/dev/block").join(number);
            std::os::unix::fs::symlink(self.0.path().join("sys/devices/pci").join(name), link).unwrap();
            self.write(name, label);
        }

        fn write(&self, name: &str, label: &str) {
            let mut content = vec![0; 4096];
            content[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
            content[1024 + 0x78..1024 + 0x78 + label.len()].copy_from_slice(label.as_bytes());
            std::fs::write(self.0.path().join("dev").join(name), content).unwrap();
        }

        fn pull(&self, name: &str, number: &str) {
            std::fs::remove_dir_all(self.0.path().join("sys/devices/pci").join(name)).unwrap();
            std::fs::remove_file(self.0.path().join("sys/class/block").join(name)).unwrap();
            std::fs::remove_file(self.0.path().join("sys/dev/block").join(number)).unwrap();
            std::fs::remove_file(self.0.path().join("dev").join(name)).unwrap();
        }

        fn devices(&self) -> Devices {
            Devices::new(self.0.path(), Some(Written::open().unwrap()))
        }

        fn link(&self, link: &str) -> Option<String> {
            Some(std::fs::read_link(self.0.path().join("dev/disk").join(link)).ok()?.to_str()?.to_string())
        }
    }

    fn told(action: Action, node: &str) -> Work {
        work(&[Uevent { action, subsystem: "block".into(), node: Some(node.into()), modalias: None }])
    }

    #[test]
    fn disks_come_and_go_with_their_links() {
        let machine = Machine::new();
        machine.plug("sdb", "8:16", "data");
        let mut devices = machine.devices();
        devices.scan();
        assert_eq!((devices.block_count(), machine.link("by-label/data")), (1, Some("../../sdb".into())));
        machine.plug("sda", "8:0", "data");
        devices.follow(&told(Action::Add, "sda"));
        assert_eq!(machine.link("by-label/data"), Some("../../sdb".into()));
        machine.pull("sdb", "8:16");
        devices.follow(&told(Action::Remove, "sdb"));
        assert_eq!(machine.link("by-label/data"), Some("../../sda".into()));
        machine.pull("sda", "8:0");
        devices.follow(&told(Action::Remove, "sda"));
        assert_eq!((devices.block_count(), machine.link("by-label/data")), (0, None));
    }

    #[test]
    fn a_disk_that_is_plugged_again_between_two_looks_is_a_new_one() {
        let machine = Machine::new();
        machine.plug("sda", "8:0", "data");
        machine.plug("sdb", "8:16", "data");
        let mut devices = machine.devices();
        devices.scan();
        assert_eq!(machine.link("by-label/data"), Some("../../sda".into()));
        machine.write("sda", "other");
        let event = |action| Uevent { action, subsystem: "block".into(), node: Some("sda".into()), modalias: None };
        devices.follow(&work(&[event(Action::Remove), event(Action::Add)]));
        assert_eq!(machine.link("by-label/data"), Some("../../sdb".into()));
        assert_eq!(machine.link("by-label/other"), Some("../../sda".into()));
    }

    #[test]
    fn a_scan_finds_what_messages_did_not_tell() {
        let machine = Machine::new();
        machine.plug("sda", "8:0", "one");
        let mut devices = machine.devices();
        devices.scan();
        machine.pull("sda", "8:0");
        machine.plug("sdb", "8:16", "two");
        devices.scan();
        assert_eq!((machine.link("by-label/one"), machine.link("by-label/two")), (None, Some("../../sdb".into())));
        assert_eq!(devices.block_count(), 1);
    }

    #[test]
    fn a_new_file_system_is_found_when_its_maker_closes_the_disk() {
        let machine = Machine::new();
        machine.plug("sda", "8:0", "before");
        let mut devices = machine.devices();
        devices.scan();
        devices.follow_writers();
        machine.write("sda", "after");
        devices.follow_writers();
        assert_eq!((machine.link("by-label/before"), machine.link("by-label/after")), (None, Some("../../sda".into())));
    }
}
