//! Links of devices that are no disks: the clock of the machine, ports of a hypervisor.

use std::path::Path;

use crate::claims::Claim;
use crate::names::replaced;
use crate::sysfs::Device;

/// The clock that is not the system's own has the link only when nothing else asks.
const OTHER_CLOCK: i32 = -100;

/// Whether devices of a class ask for links.
pub(crate) fn has_links(subsystem: &str) -> bool {
    matches!(subsystem, "rtc" | "virtio-ports" | "ptp")
}

/// The links that a device asks for.
pub(crate) fn claim(root: &Path, subsystem: &str, node: &str) -> Claim {
    let path = root.join("sys/class").join(subsystem).join(node);
    let attribute = |name: &str| Device::open(&path).and_then(|device| device.attribute(name));
    let links = match subsystem {
        // The clock that the kernel took the time from.
        "rtc" if attribute("hctosys").as_deref() == Some("1") => Some(("rtc".to_string(), 0)),
        "rtc" if node == "rtc0" => Some(("rtc".to_string(), OTHER_CLOCK)),
        "virtio-ports" => port(attribute("name").as_deref()).map(|link| (link, 0)),
        "ptp" => match attribute("clock_name").as_deref() {
            Some("KVM virtual PTP") => Some(("ptp_kvm".to_string(), 0)),
            Some("hyperv") => Some(("ptp_hyperv".to_string(), 0)),
            Some(_) | None => None,
        },
        _ => None,
    };
    links.into_iter().collect()
}

/// Programs such as the agent of QEMU know their port by the name that the hypervisor gives it.
fn port(name: Option<&str>) -> Option<String> {
    Some(format!("virtio-ports/{}", crate::names::checked(replaced(name?))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tree::device;

    #[test]
    fn the_clock_and_named_ports_have_links() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        device(root, "pnp/rtc0", "rtc", "", &[("hctosys", "0\n")]);
        device(root, "pnp/rtc1", "rtc", "", &[("hctosys", "1\n")]);
        device(root, "pci/vport1p1", "virtio-ports", "", &[("name", "org.qemu.guest_agent.0\n")]);
        device(root, "pci/vport1p2", "virtio-ports", "", &[("name", "../x\n")]);
        device(root, "pci/vport1p3", "virtio-ports", "", &[]);
        device(root, "ptp/ptp0", "ptp", "", &[("clock_name", "KVM virtual PTP\n")]);
        let links = |subsystem: &str, node: &str| claim(root, subsystem, node).into_iter().next();
        assert_eq!(links("rtc", "rtc0"), Some(("rtc".into(), OTHER_CLOCK)));
        assert_eq!(links("rtc", "rtc1"), Some(("rtc".into(), 0)));
        assert_eq!(links("virtio-ports", "vport1p1").unwrap().0, "virtio-ports/org.qemu.guest_agent.0");
        assert_eq!(links("virtio-ports", "vport1p2").unwrap().0, "virtio-ports/.._x");
        assert_eq!(links("virtio-ports", "vport1p3"), None);
        assert_eq!(links("ptp", "ptp0").unwrap().0, "ptp_kvm");
        assert_eq!(links("tty", "tty0"), None);
        assert!(has_links("rtc") && !has_links("tty"));
    }
}
