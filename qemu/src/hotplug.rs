//! Devices that are plugged into and pulled out of a running guest, by its monitor.
//!
//! A pull is a request: the guest's kernel lets go of the device first, and QEMU tells when it has.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::QemuError;
use crate::guest::Guest;
use crate::qmp::Qmp;
use crate::spec::{DiskBus, Nic, USB_BUS};

/// How long the guest may take to let go; its kernel may be emulated on a busy host.
const PULL_DEADLINE: Duration = Duration::from_secs(180);

/// A disk to be plugged in.
#[derive(Debug, Clone)]
pub struct PluggedDisk<'a> {
    /// What it is called when it is to be pulled.
    pub id: &'a str,
    /// The file, as raw bytes.
    pub file: &'a Path,
    /// How it is attached; USB needs [`crate::MachineSpec::usb`].
    pub bus: DiskBus,
    /// The serial number it tells.
    pub serial: &'a str,
    /// The slot of the PCI bus, where its bus has slots; `None`: the first that is free.
    pub slot: Option<u8>,
}

impl Guest {
    /// Plugs a disk in. The guest may take a while to see it.
    pub fn plug_disk(&mut self, disk: &PluggedDisk<'_>) -> Result<(), QemuError> {
        let node = node(disk.id);
        let file = json!({ "driver": "file", "filename": disk.file });
        let backend = json!({ "driver": "raw", "node-name": node, "discard": "unmap", "file": file });
        self.qmp().command("blockdev-add", backend)?;
        let mut device = json!({ "id": disk.id, "drive": node, "serial": disk.serial });
        let (driver, bus) = match disk.bus {
            DiskBus::VirtioBlk => ("virtio-blk-pci", None),
            DiskBus::Nvme => ("nvme", None),
            DiskBus::Usb => ("usb-storage", Some(format!("{USB_BUS}.0"))),
            DiskBus::VirtioScsi => {
                let controller = controller(disk.id);
                self.qmp().command("device_add", json!({ "driver": "virtio-scsi-pci", "id": controller }))?;
                ("scsi-hd", Some(format!("{controller}.0")))
            }
            // The controller of the usual machine has no port left that can be plugged into.
            DiskBus::Ahci => ("ide-hd", None),
        };
        device["driver"] = driver.into();
        if let Some(bus) = bus {
            device["bus"] = bus.into();
        }
        if let Some(slot) = disk.slot {
            device["addr"] = format!("{slot:#x}").into();
        }
        self.qmp().command("device_add", device).map(drop)
    }

    /// Plugs a network card in, whose other end is a user network of its own: 10.0.9.0/24.
    pub fn plug_nic(&mut self, id: &str, nic: Nic) -> Result<(), QemuError> {
        let backend = json!({ "type": "user", "id": node(id), "net": "10.0.9.0/24" });
        self.qmp().command("netdev_add", backend)?;
        let driver = match nic {
            Nic::VirtioNet => "virtio-net-pci",
            Nic::E1000e => "e1000e",
        };
        let device = json!({ "driver": driver, "id": id, "netdev": node(id), "romfile": "" });
        self.qmp().command("device_add", device).map(drop)
    }

    /// Pulls a disk out and waits until the guest has let go of it.
    pub fn pull_disk(&mut self, id: &str) -> Result<(), QemuError> {
        pull(self.qmp(), id)?;
        self.qmp().command("blockdev-del", json!({ "node-name": node(id) })).map(drop)
    }

    /// Pulls a network card out and waits until the guest has let go of it.
    pub fn pull_nic(&mut self, id: &str) -> Result<(), QemuError> {
        pull(self.qmp(), id)?;
        self.qmp().command("netdev_del", json!({ "id": node(id) })).map(drop)
    }
}

fn pull(qmp: &mut Qmp, id: &str) -> Result<(), QemuError> {
    let before = qmp.event_count();
    qmp.command("device_del", json!({ "id": id }))?;
    let is_it = |data: &Value| data["device"] == id;
    let late = || QemuError::Deadline { what: format!("the end of device {id}"), deadline: PULL_DEADLINE };
    qmp.wait_for_event_with(before, "DEVICE_DELETED", PULL_DEADLINE, is_it).map(drop).ok_or_else(late)
}

/// The part of the host behind a device.
fn node(id: &str) -> String {
    format!("{id}-host")
}

fn controller(id: &str) -> String {
    format!("{id}-controller")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Disk, MachineSpec};

    #[test]
    fn a_disk_is_plugged_into_every_bus_and_a_refusal_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("disk.raw");
        std::fs::write(&file, vec![0; 1 << 20]).expect("a disk");
        let mut spec = MachineSpec::new(Disk::new(&file));
        spec.disks[0].ephemeral = true;
        spec.usb = true;
        let mut guest = Guest::start(&spec, None).expect("a guest");
        for (id, bus) in [("one", DiskBus::Usb), ("two", DiskBus::VirtioScsi), ("three", DiskBus::VirtioBlk)] {
            let slot = (bus == DiskBus::VirtioBlk).then_some(0x10);
            let own = folder.path().join(id);
            std::fs::write(&own, vec![0; 1 << 20]).expect("a disk");
            guest.plug_disk(&PluggedDisk { id, file: &own, bus, serial: "s", slot }).expect("plugged");
        }
        guest.plug_nic("four", Nic::VirtioNet).expect("plugged");
        // Without a system in the guest nobody lets go of a device of PCI; one of USB is just gone.
        guest.pull_disk("one").expect("pulled");
        let error = guest.pull_disk("one").expect_err("it is gone").to_string();
        assert!(error.contains("one"), "{error}");
    }
}
