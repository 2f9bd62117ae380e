//! What a machine runs in: a hypervisor by what the processor and the firmware say, or a container. systemd's words.

use std::fs;
use std::path::Path;

/// The words for hypervisors, in the order in which they are listed.
pub const MACHINES: [&str; 19] = [
    "qemu",
    "bochs",
    "xen",
    "uml",
    "vmware",
    "oracle",
    "microsoft",
    "zvm",
    "parallels",
    "bhyve",
    "qnx",
    "acrn",
    "powervm",
    "apple",
    "sre",
    "google",
    "kvm",
    "amazon",
    "vm-other",
];

/// The words for containers.
pub const CONTAINERS: [&str; 11] = [
    "systemd-nspawn",
    "lxc-libvirt",
    "lxc",
    "openvz",
    "docker",
    "podman",
    "rkt",
    "wsl",
    "proot",
    "pouch",
    "container-other",
];

/// What the firmware says begins with this.
const FIRMWARE: [(&str, &str); 15] = [
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Google Compute Engine", "google"),
];

/// What the processor says in leaf 0x4000_0000.
const PROCESSOR: [(&[u8; 12], &str); 11] = [
    (b"XenVMMXenVMM", "xen"),
    (b"KVMKVMKVM\0\0\0", "kvm"),
    (b"Linux KVM Hv", "kvm"),
    (b"TCGTCGTCGTCG", "qemu"),
    (b"VMwareVMware", "vmware"),
    (b"Microsoft Hv", "microsoft"),
    (b"bhyve bhyve ", "bhyve"),
    (b"QNXQVMBSQG\0\0", "qnx"),
    (b"ACRNACRNACRN", "acrn"),
    (b"SRESRESRESRE", "sre"),
    (b"Apple VZ\0\0\0\0", "apple"),
];

/// What can be seen of the machine.
#[derive(Debug, Default)]
pub struct Signs {
    /// Names in the firmware's tables.
    pub firmware: Vec<String>,
    /// The processor says that a hypervisor is there, and its name.
    pub hypervisor: Option<[u8; 12]>,
}

impl Signs {
    /// Looks at this machine.
    pub fn see() -> Signs {
        let names = ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "product_version"];
        let read = |name: &&str| fs::read_to_string(format!("/sys/class/dmi/id/{name}")).ok();
        Signs { firmware: names.iter().filter_map(read).collect(), hypervisor: hypervisor() }
    }

    /// The hypervisor.
    pub fn machine(&self) -> Option<&'static str> {
        let named = FIRMWARE.iter().find(|(name, _)| self.firmware.iter().any(|text| text.starts_with(name)));
        let firmware = named.map(|(_, word)| *word);
        // These are what they say, whatever hypervisor they are made of; metal of a cloud has none.
        let is_certain = |word: &&str| matches!(*word, "oracle" | "xen" | "parallels" | "google" | "amazon");
        match (firmware.filter(is_certain), self.hypervisor) {
            (Some("amazon" | "google"), None) => None,
            (Some(word), _) => Some(word),
            (None, Some(name)) => {
                let known = PROCESSOR.iter().find(|(known, _)| **known == name);
                known.map(|(_, word)| *word).or(firmware).or(Some("vm-other"))
            }
            (None, None) => firmware,
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn hypervisor() -> Option<[u8; 12]> {
    use std::arch::x86_64::__cpuid;
    /// The bit of leaf 1 that a hypervisor sets.
    const IS_GUEST: u32 = 1 << 31;
    if __cpuid(1).ecx & IS_GUEST == 0 {
        return None;
    }
    let leaf = __cpuid(0x4000_0000);
    let mut name = [0; 12];
    let letters = [leaf.ebx, leaf.ecx, leaf.edx].into_iter().flat_map(u32::to_le_bytes);
    name.iter_mut().zip(letters).for_each(|(place, letter)| *place = letter);
    Some(name)
}

#[cfg(not(target_arch = "x86_64"))]
fn hypervisor() -> Option<[u8; 12]> {
    None
}

/// The container that this system runs in.
pub fn container() -> Option<&'static str> {
    let told = fs::read_to_string("/run/systemd/container").ok();
    let exists = |path: &str| Path::new(path).exists();
    match told.as_deref().map(str::trim) {
        Some("oci") | None if exists("/run/.containerenv") => Some("podman"),
        Some("oci") | None if exists("/.dockerenv") => Some("docker"),
        Some(word) => CONTAINERS.into_iter().find(|known| *known == word).or(Some("container-other")),
        None => None,
    }
}

/// What this system runs in, the innermost first.
pub fn detect() -> Option<&'static str> {
    container().or_else(|| Signs::see().machine())
}

/// `ConditionVirtualization=`.
pub fn is(argument: &str) -> bool {
    match (argument, container(), Signs::see().machine()) {
        ("container", container, _) => container.is_some(),
        ("vm", container, machine) => container.is_none() && machine.is_some(),
        ("private-users", _, _) => has_private_users(),
        (word, container, machine) => match ferrite_unit::value::boolean(word) {
            Ok(wanted) => (container.is_some() || machine.is_some()) == wanted,
            Err(_) => container.or(machine) == Some(word),
        },
    }
}

/// Whether users here are others than those of the machine.
pub fn has_private_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    !words.is_empty() && words != ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(firmware: &[&str], hypervisor: Option<&[u8; 12]>) -> Option<&'static str> {
        let firmware = firmware.iter().map(|text| (*text).to_owned()).collect();
        Signs { firmware, hypervisor: hypervisor.copied() }.machine()
    }

    #[test]
    fn processor_and_firmware_tell_the_hypervisor() {
        let kvm = Some(b"KVMKVMKVM\0\0\0");
        assert_eq!(machine(&["Standard PC (Q35 + ICH9, 2009)\n", "QEMU\n"], kvm), Some("kvm"));
        assert_eq!(machine(&["Standard PC (Q35 + ICH9, 2009)", "QEMU"], Some(b"TCGTCGTCGTCG")), Some("qemu"));
        assert_eq!(machine(&["Standard PC", "QEMU"], None), Some("qemu"));
        assert_eq!(machine(&["t3.micro", "Amazon EC2"], kvm), Some("amazon"));
        assert_eq!(machine(&["c5.metal", "Amazon EC2"], None), None);
        assert_eq!(machine(&["VirtualBox", "innotek GmbH"], kvm), Some("oracle"));
        assert_eq!(machine(&["Droplet", "DigitalOcean"], kvm), Some("kvm"));
        assert_eq!(machine(&["Virtual Machine", "Microsoft Corporation"], Some(b"Microsoft Hv")), Some("microsoft"));
        assert_eq!(machine(&["PowerEdge R640", "Dell Inc."], None), None);
        assert_eq!(machine(&["PowerEdge R640"], Some(b"????????????")), Some("vm-other"));
    }

    #[test]
    fn every_word_that_is_found_is_one_that_is_listed() {
        let found = FIRMWARE.iter().map(|(_, word)| *word).chain(PROCESSOR.iter().map(|(_, word)| *word));
        found.for_each(|word| assert!(MACHINES.contains(&word), "{word}"));
        assert!(detect().is_none_or(|word| MACHINES.contains(&word) || CONTAINERS.contains(&word)));
        assert_eq!(is("yes"), detect().is_some());
        assert!(!is("nothing-of-this-name"));
    }
}
