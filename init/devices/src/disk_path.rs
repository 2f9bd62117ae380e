//! Where a disk is plugged in, in the words of /dev/disk/by-path: the buses between the machine and the disk.
//!
//! Only a whole chain counts: a disk behind something that has no lasting name of its own has no path.

use crate::sysfs::Device;

/// Bytes of a name of sysfs at most; longer ones are no hardware.
const MAX_STEP_BYTES: usize = 128;

/// The names of one place; most places have one.
#[derive(Debug, Default, Clone)]
struct Walk {
    /// Each from the disk up.
    plain: Vec<String>,
    /// With the revision of the USB in it, because one socket is on two buses.
    usb: Vec<String>,
    /// As it was before a port of SATA had more than one disk.
    ata: Vec<String>,
    has_usb: bool,
    has_ata: bool,
    is_anchored: bool,
    is_transport_known: bool,
}

impl Walk {
    fn step(&mut self, name: String) {
        self.usb.push(name.clone());
        self.ata.push(name.clone());
        self.plain.push(name);
    }
}

/// The names of the place of a disk.
pub(crate) fn paths(disk: &Device) -> Vec<String> {
    let mut walk = Walk::default();
    let mut next = Some(disk.clone());
    while let Some(device) = next {
        let Some(last) = pass(&device, disk, &mut walk) else { break };
        next = last.parent();
    }
    if walk.plain.is_empty() || !walk.is_anchored || !walk.is_transport_known {
        return Vec::new();
    }
    let joined = |steps: &[String]| steps.iter().rev().cloned().collect::<Vec<_>>().join("-");
    let mut paths = vec![joined(&walk.plain)];
    if walk.has_usb {
        paths.push(joined(&walk.usb));
    }
    if walk.has_ata {
        paths.push(joined(&walk.ata));
    }
    if disk.name().starts_with("vd") && joined(&walk.plain).starts_with("pci-") {
        paths.push(format!("virtio-{}", joined(&walk.plain)));
    }
    paths
}

/// Adds what one device says; the device whose parent is next, or `None` when the walk ends.
fn pass(device: &Device, disk: &Device, walk: &mut Walk) -> Option<Device> {
    let Some(subsystem) = device.subsystem() else { return Some(device.clone()) };
    let name = device.name();
    if name.len() > MAX_STEP_BYTES {
        return None;
    }
    match subsystem.as_str() {
        "scsi" => {
            walk.is_transport_known = true;
            return if device.is_type("scsi_device") { scsi(device, walk) } else { Some(device.clone()) };
        }
        "usb" => {
            walk.is_transport_known = true;
            return Some(usb(device, walk));
        }
        "nvme" => {
            let Some(namespace) = disk.attribute("nsid") else { return Some(device.clone()) };
            walk.step(format!("nvme-{namespace}"));
            (walk.is_anchored, walk.is_transport_known) = (true, true);
        }
        "virtio" => walk.is_transport_known = true,
        "pci" | "acpi" | "xen" => {
            walk.step(format!("{subsystem}-{name}"));
            walk.is_anchored = true;
        }
        "platform" => {
            walk.step(format!("platform-{name}"));
            (walk.is_anchored, walk.is_transport_known) = (true, true);
        }
        _ => return Some(device.clone()),
    }
    Some(last_of(device, &subsystem))
}

/// The last device of the same subsystem on the way up.
fn last_of(device: &Device, subsystem: &str) -> Device {
    let same = |above: &Device| above.subsystem().as_deref() == Some(subsystem);
    device.ancestors().take_while(same).last().unwrap_or_else(|| device.clone())
}

fn usb(device: &Device, walk: &mut Walk) -> Device {
    let is_port = device.is_type("usb_interface") || device.is_type("usb_device");
    let Some((_bus, port)) = device.name().split_once('-').filter(|_| is_port) else { return device.clone() };
    let last = last_of(device, "usb");
    walk.plain.push(format!("usb-0:{port}"));
    walk.ata.push(format!("usb-0:{port}"));
    // The root hub has the revision of its bus: ` 3.00`.
    let revision = last.attribute("version").and_then(|version| Some(version.split_once('.')?.0.to_string()));
    walk.has_usb |= revision.is_some();
    walk.usb.push(format!("usb{}-0:{port}", revision.map(|major| format!("v{major}")).unwrap_or_default()));
    last
}

fn scsi(device: &Device, walk: &mut Walk) -> Option<Device> {
    let mut numbers = device.name().split(':').map(|number| number.parse::<u64>().ok());
    let (Some(Some(host)), Some(Some(bus)), Some(Some(target)), Some(Some(lun)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return None;
    };
    let controller = device.ancestor("scsi", "scsi_host")?;
    let path = device.path().to_string_lossy().into_owned();
    if path.contains("/rport-") {
        walk.is_anchored = true;
        let target = device.ancestor("scsi", "scsi_target")?;
        let port = class_attribute(device, "fc_transport", target.name(), "port_name")?;
        walk.step(format!("fc-{port}-{}", lun_name(lun)));
        return Some(device.clone());
    }
    if path.contains("/end_device-") {
        walk.is_anchored = true;
        walk.step(format!("sas-{}-{}", sas(device)?, lun_name(lun)));
        return Some(device.clone());
    }
    // Networks of disks have names that are not told here.
    if path.contains("/session") {
        return None;
    }
    if path.contains("/ata") {
        let above = controller.parent()?;
        let port = class_attribute(device, "ata_port", above.name(), "port_no")?;
        // Behind a port multiplier the bus counts the disks, elsewhere the target.
        let place = if bus == 0 { format!("ata-{port}.{target}") } else { format!("ata-{port}.{bus}.0") };
        walk.usb.push(place.clone());
        walk.plain.push(place);
        walk.ata.push(format!("ata-{port}"));
        walk.has_ata = true;
        return Some(device.clone());
    }
    if path.contains("/vmbus_") || path.contains("/VMBUS") {
        let guid = controller.parent()?.attribute("device_id")?;
        let guid = guid.strip_prefix('{')?.strip_suffix('}')?.replace('-', "");
        walk.step(format!("vmbus-{guid}-{}", lun_name(lun)));
        return Some(device.clone());
    }
    let first = first_host(&controller).unwrap_or(host);
    walk.step(format!("scsi-{}:{bus}:{target}:{lun}", host.saturating_sub(first)));
    Some(controller)
}

/// Numbers of hosts count over the whole machine; on one controller the lowest is its first.
fn first_host(host: &Device) -> Option<u64> {
    let entries = std::fs::read_dir(host.path().parent()?).ok()?;
    let number = |name: std::ffi::OsString| name.to_str()?.strip_prefix("host")?.parse().ok();
    entries.flatten().filter_map(|entry| number(entry.file_name())).min()
}

/// The place of a disk on a SAS controller: the phy, or the address where many phys lead to it.
fn sas(device: &Device) -> Option<String> {
    let end = device.ancestor("scsi", "scsi_target")?.parent()?;
    let port = end.parent()?;
    let count = class_attribute(device, "sas_port", port.name(), "num_phys")?;
    if count != "1" {
        return class_attribute(device, "sas_device", end.name(), "sas_address");
    }
    let phy = class_attribute(device, "sas_device", end.name(), "phy_identifier")?;
    let expander = class_attribute(device, "sas_device", port.parent()?.name(), "sas_address");
    Some(match expander {
        Some(address) => format!("exp{address}-phy{phy}"),
        None => format!("phy{phy}"),
    })
}

/// An attribute of the device of that name in another class, which sysfs has beside the tree.
fn class_attribute(device: &Device, class: &str, name: &str, attribute: &str) -> Option<String> {
    let sys = device.path().ancestors().find(|path| path.ends_with("sys"))?;
    Device::open(&sys.join("class").join(class).join(name))?.attribute(attribute)
}

/// Small numbers are themselves, larger ones are written as SCSI addresses units.
fn lun_name(lun: u64) -> String {
    if lun < 256 {
        format!("lun-{lun}")
    } else {
        format!("lun-0x{:04x}{:04x}00000000", lun & 0xffff, lun >> 16 & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tree::device;

    /// Path, class, type and attributes of a device.
    type Entry<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn of(name: &str, devices: &[Entry<'_>]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, subsystem, kind, attributes) in devices {
            device(root.path(), path, subsystem, kind, attributes);
        }
        paths(&Device::open(&root.path().join("sys/class/block").join(name)).unwrap())
    }

    #[test]
    fn disks_of_virtual_machines_have_the_paths_of_udev() {
        let pci = ("pci0/0000:00:05.0", "pci", "", &[][..]);
        let virtio = ("pci0/0000:00:05.0/virtio3", "virtio", "", &[][..]);
        let disk = ("pci0/0000:00:05.0/virtio3/block/vdb", "block", "disk", &[][..]);
        assert_eq!(of("vdb", &[pci, virtio, disk]), ["pci-0000:00:05.0", "virtio-pci-0000:00:05.0"]);
        let nvme = ("pci0/0000:00:05.0/nvme/nvme0", "nvme", "", &[][..]);
        let disk = ("pci0/0000:00:05.0/nvme/nvme0/nvme0n1", "block", "disk", &[("nsid", "1\n")][..]);
        assert_eq!(of("nvme0n1", &[pci, nvme, disk]), ["pci-0000:00:05.0-nvme-1"]);
        assert_eq!(of("dm-0", &[("virtual/block/dm-0", "block", "disk", &[])]), Vec::<String>::new());
    }

    #[test]
    fn disks_behind_scsi_usb_and_sata_have_the_paths_of_udev() {
        let below = |top: &str, rest: &str| format!("pci0/0000:00:07.0/{top}{rest}");
        let chain = |top: &str, host: u32| -> Vec<(String, &'static str, &'static str)> {
            let target = format!("/host{host}/target{host}:0:1");
            vec![
                (below(top, &format!("/host{host}")), "scsi", "scsi_host"),
                (below(top, &target), "scsi", "scsi_target"),
                (below(top, &format!("{target}/{host}:0:1:300")), "scsi", "scsi_device"),
                (below(top, &format!("{target}/{host}:0:1:300/block/sda")), "block", "disk"),
            ]
        };
        let run = |top: &str, host: u32, more: &[Entry<'_>]| {
            let chain = chain(top, host);
            let mut all = vec![("pci0/0000:00:07.0", "pci", "", &[][..])];
            all.extend_from_slice(more);
            all.extend(chain.iter().map(|(path, subsystem, kind)| (path.as_str(), *subsystem, *kind, &[][..])));
            of("sda", &all)
        };
        let virtio = ("pci0/0000:00:07.0/virtio4", "virtio", "", &[][..]);
        assert_eq!(run("virtio4", 8, &[virtio]), ["pci-0000:00:07.0-scsi-0:0:1:300"]);
        let usb = [
            ("pci0/0000:00:07.0/usb2", "usb", "usb_device", &[("version", " 3.00\n")][..]),
            ("pci0/0000:00:07.0/usb2/2-1", "usb", "usb_device", &[("version", " 3.00\n")][..]),
            ("pci0/0000:00:07.0/usb2/2-1/2-1:1.0", "usb", "usb_interface", &[][..]),
        ];
        assert_eq!(
            run("usb2/2-1/2-1:1.0", 9, &usb),
            ["pci-0000:00:07.0-usb-0:1:1.0-scsi-0:0:1:300", "pci-0000:00:07.0-usbv3-0:1:1.0-scsi-0:0:1:300"]
        );
        let ata = [
            ("pci0/0000:00:07.0/ata5", "none", "", &[][..]),
            ("pci0/0000:00:07.0/ata5/ata_port/ata5", "ata_port", "", &[("port_no", "2\n")][..]),
        ];
        assert_eq!(run("ata5", 4, &ata), ["pci-0000:00:07.0-ata-2.1", "pci-0000:00:07.0-ata-2"]);
        assert_eq!(lun_name(300), "lun-0x012c000000000000");
    }
}
