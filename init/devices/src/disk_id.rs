//! What the maker calls a disk: its names below /dev/disk/by-id. `ids` reads sysfs, the rest is pure.
//!
//! No disk is asked anything: the kernel has read the pages that matter, and a disk that hangs cannot hold up others.

use crate::names::replaced;
use crate::sysfs::Device;

/// Header of the pages 80h, 83h and 89h of the vital product data.
const PAGE_HEADER: usize = 4;
/// Where the answer to IDENTIFY DEVICE is in page 89h.
const IDENTIFY_AT: usize = 60;
/// Descriptors of a page at most.
const MAX_DESCRIPTORS: usize = 64;

/// The names of a whole disk, without the suffix of a partition.
pub(crate) fn ids(disk: &Device) -> Vec<String> {
    let name = disk.name();
    let is_a = |prefix: &str| name.starts_with(prefix);
    let found = if is_a("vd") {
        disk.inherited("serial").map(|serial| format!("virtio-{}", replaced(&serial))).into_iter().collect()
    } else if is_a("nvme") {
        nvme(disk)
    } else if is_a("sd") || is_a("sr") {
        scsi_disk(disk)
    } else if is_a("mmcblk") {
        let text = |attribute| Some(replaced(&disk.inherited(attribute)?));
        text("name").zip(text("serial")).map(|(name, serial)| format!("mmc-{name}_{serial}")).into_iter().collect()
    } else if is_a("dm-") {
        let text = |attribute| Some(replaced(&disk.attribute(attribute)?));
        let name = text("dm/name").map(|name| format!("dm-name-{name}"));
        name.into_iter().chain(text("dm/uuid").map(|uuid| format!("dm-uuid-{uuid}"))).collect()
    } else {
        Vec::new()
    };
    let is_whole = |id: &String| !id.ends_with(['-', '_']);
    found.into_iter().filter(is_whole).collect()
}

fn nvme(disk: &Device) -> Vec<String> {
    let text = |attribute| Some(replaced(&disk.inherited(attribute)?));
    let mut ids = Vec::new();
    ids.extend(text("wwid").map(|wwid| format!("nvme-{wwid}")));
    if let Some((model, serial)) = text("model").zip(text("serial")) {
        let namespace = text("nsid");
        if namespace.as_deref() == Some("1") {
            ids.push(format!("nvme-{model}_{serial}"));
        }
        ids.extend(namespace.map(|namespace| format!("nvme-{model}_{serial}_{namespace}")));
    }
    ids
}

/// Disks that the kernel drives as SCSI: SATA and USB among them.
fn scsi_disk(disk: &Device) -> Vec<String> {
    let Some(device) = disk.ancestor("scsi", "scsi_device") else { return Vec::new() };
    let page = |number: &str| device.bytes(&format!("vpd_pg{number}")).unwrap_or_default();
    let mut ids = Vec::new();
    let identity = page("89");
    if device.attribute("vendor").as_deref() == Some("ATA") && !identity.is_empty() {
        let identify = identity.get(IDENTIFY_AT..).unwrap_or_default();
        ids.extend(ata_id(identify));
        ids.extend(ata_wwn(identify));
        return ids;
    }
    if let Some(id) = usb_id(&device) {
        ids.push(format!("usb-{id}"));
        return ids;
    }
    // The kernel cuts the blanks that the standard demands.
    let padded = |attribute: &str, width: usize| format!("{:width$}", device.attribute(attribute).unwrap_or_default());
    let maker = format!("{}{}", padded("vendor", 8), padded("model", 16));
    let identifiers = page("83");
    let id = scsi_id(&identifiers, &maker).or_else(|| {
        let serial = page("80");
        let serial = String::from_utf8_lossy(serial.get(PAGE_HEADER..)?).trim_matches(['\0', ' ']).to_string();
        (!serial.is_empty()).then(|| format!("S{maker}{serial}"))
    });
    ids.extend(id.map(|id| format!("scsi-{}", replaced(&id))));
    ids.extend(naa(&identifiers).map(|name| format!("wwn-0x{name}")));
    ids
}

/// The vendor, the product and the serial number as the stick tells them.
fn usb_id(device: &Device) -> Option<String> {
    let stick = device.ancestor("usb", "usb_device")?;
    let text = |from: &Device, attribute| Some(replaced(&from.attribute(attribute)?)).filter(|text| !text.is_empty());
    let vendor =
        text(device, "vendor").or_else(|| text(&stick, "manufacturer")).or_else(|| text(&stick, "idVendor"))?;
    let model = text(device, "model").or_else(|| text(&stick, "product")).or_else(|| text(&stick, "idProduct"))?;
    let is_serial = |serial: &String| serial.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',');
    let serial = stick.attribute("serial").filter(is_serial).map(|serial| format!("_{}", replaced(&serial)));
    // Some sticks call all their units by one name.
    let mut numbers = device.name().split(':').skip(2);
    let unit = format!("{}:{}", numbers.next()?, numbers.next()?);
    Some(format!("{vendor}_{model}{}-{unit}", serial.unwrap_or_default()))
}

/// `ata-MODEL_SERIAL`, from the answer to IDENTIFY DEVICE.
fn ata_id(identify: &[u8]) -> Option<String> {
    let (model, serial) = (ata_text(identify, 27, 20)?, ata_text(identify, 10, 10)?);
    if model.is_empty() {
        return None;
    }
    Some(if serial.is_empty() { format!("ata-{model}") } else { format!("ata-{model}_{serial}") })
}

fn ata_wwn(identify: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u16::from_le_bytes(identify.get(at * 2..at * 2 + 2)?.try_into().ok()?));
    // Whether words 108 to 111 mean anything.
    if word(87)? & 0xc100 != 0x4100 {
        return None;
    }
    let number = (108..112).try_fold(0_u64, |sum, at| Some(sum << 16 | u64::from(word(at)?)))?;
    (number != 0).then(|| format!("wwn-0x{number:016x}"))
}

/// Texts of ATA have the letters of each word the wrong way round.
fn ata_text(identify: &[u8], word: usize, words: usize) -> Option<String> {
    let field = identify.get(word * 2..(word + words) * 2)?;
    let swapped: Vec<u8> = field.as_chunks::<2>().0.iter().flat_map(|[first, second]| [*second, *first]).collect();
    Some(replaced(&String::from_utf8_lossy(&swapped)))
}

/// One identification descriptor of page 83h that speaks of the unit itself.
struct Descriptor<'a> {
    kind: u8,
    is_text: bool,
    bytes: &'a [u8],
}

impl Descriptor<'_> {
    /// The format of a name of kind 3: the upper half of its first byte.
    fn naa(&self) -> Option<u8> {
        self.bytes.first().filter(|_| self.kind == 3).map(|byte| byte >> 4)
    }

    fn text(&self) -> String {
        if self.is_text {
            String::from_utf8_lossy(self.bytes).trim_end_matches('\0').to_string()
        } else {
            self.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        }
    }
}

fn descriptors(page: &[u8]) -> Vec<Descriptor<'_>> {
    let mut found = Vec::new();
    let mut rest = page.get(PAGE_HEADER..).unwrap_or_default();
    while let [code, kind, _, length, tail @ ..] = rest
        && found.len() < MAX_DESCRIPTORS
    {
        let Some((bytes, next)) = tail.split_at_checked(usize::from(*length)) else { break };
        // Others speak of the port or the whole target.
        if kind & 0x30 == 0 {
            found.push(Descriptor { kind: kind & 0x0f, is_text: code & 0x0f == 2, bytes });
        }
        rest = next;
    }
    found
}

/// The best name of page 83h with its kind before it, in the order of trust that udev's users know.
fn scsi_id(page: &[u8], maker: &str) -> Option<String> {
    let found = descriptors(page);
    let rank = |one: &Descriptor<'_>| match (one.kind, one.naa()) {
        (3, Some(6)) => Some(0),
        (3, Some(5)) => Some(1),
        (3, _) => Some(2),
        (2, _) => Some(3),
        (1, _) => Some(4),
        (0, _) => Some(5),
        _ => None,
    };
    let best = found.iter().filter_map(|one| Some((rank(one)?, one))).min_by_key(|(rank, one)| (*rank, one.is_text))?.1;
    Some(match best.kind {
        // A name that is unique for one vendor only.
        0 => format!("0{maker}{}", best.text()),
        kind => format!("{kind:x}{}", best.text()),
    })
}

/// The world-wide name.
fn naa(page: &[u8]) -> Option<String> {
    let found = descriptors(page);
    let named = found.iter().filter(|one| one.naa().is_some() && !one.is_text);
    named.min_by_key(|one| one.naa() != Some(6)).map(Descriptor::text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tree::device;
    use proptest::prelude::*;
    use std::path::Path;

    const SCSI: &str = "pci0/host8/target8:0:1/8:0:1:2";

    fn disk(root: &Path, name: &str, attributes: &[(&str, &str)]) -> Device {
        device(root, &format!("{SCSI}/block/{name}"), "block", "disk", attributes);
        Device::open(&root.join("sys/class/block").join(name)).unwrap()
    }

    fn page(descriptors: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let mut page = vec![0, 0x83, 0, 0];
        for (code, kind, bytes) in descriptors {
            page.extend([*code, *kind, 0, u8::try_from(bytes.len()).unwrap()]);
            page.extend_from_slice(bytes);
        }
        page
    }

    #[test]
    fn virtio_nvme_and_memory_cards_are_called_as_udev_calls_them() {
        let root = tempfile::tempdir().unwrap();
        device(root.path(), "pci0/nvme0", "nvme", "", &[("model", "QEMU NVMe Ctrl      \n"), ("serial", "nv/1 \n")]);
        device(root.path(), "pci0/nvme0/nvme0n1", "block", "disk", &[("nsid", "1\n"), ("wwid", "nvme.1b36-6e-01\n")]);
        let nvme = Device::open(&root.path().join("sys/class/block/nvme0n1")).unwrap();
        assert_eq!(ids(&nvme), ["nvme-nvme.1b36-6e-01", "nvme-QEMU_NVMe_Ctrl_nv_1", "nvme-QEMU_NVMe_Ctrl_nv_1_1"]);
        assert_eq!(ids(&disk(root.path(), "vda", &[("serial", "../a b\n")])), ["virtio-.._a_b"]);
        assert_eq!(ids(&disk(root.path(), "vdb", &[])), Vec::<String>::new());
        assert_eq!(ids(&disk(root.path(), "mmcblk0", &[("name", "SD16G"), ("serial", "0x1")])), ["mmc-SD16G_0x1"]);
        assert_eq!(ids(&disk(root.path(), "dm-0", &[("dm/name", "vg-data\n")])), ["dm-name-vg-data"]);
    }

    #[test]
    fn a_scsi_disk_is_called_by_its_best_name() {
        let root = tempfile::tempdir().unwrap();
        device(root.path(), SCSI, "scsi", "scsi_device", &[("vendor", "QEMU    \n"), ("model", "QEMU HARDDISK   \n")]);
        let disk = disk(root.path(), "sda", &[]);
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(root.path().join("sys/devices").join(SCSI).join(name), bytes).unwrap();
        };
        assert_eq!(ids(&disk), Vec::<String>::new());
        write("vpd_pg80", b"\0\x80\0\x04sc-1");
        assert_eq!(ids(&disk), ["scsi-SQEMU_QEMU_HARDDISK_sc-1"]);
        let vendor: (u8, u8, &[u8]) = (2, 0, b"sc-1");
        write("vpd_pg83", &page(&[vendor]));
        assert_eq!(ids(&disk), ["scsi-0QEMU_QEMU_HARDDISK_sc-1"]);
        let name: (u8, u8, &[u8]) = (1, 3, &[0x50, 0, 0xc5, 0, 0x15, 0xea, 0x71, 0xad]);
        let of_port: (u8, u8, &[u8]) = (1, 0x13, &[0x60; 16]);
        write("vpd_pg83", &page(&[vendor, of_port, name]));
        assert_eq!(ids(&disk), ["scsi-35000c50015ea71ad", "wwn-0x5000c50015ea71ad"]);
    }

    #[test]
    fn a_sata_disk_is_called_by_model_and_serial() {
        let root = tempfile::tempdir().unwrap();
        device(root.path(), SCSI, "scsi", "scsi_device", &[("vendor", "ATA     \n"), ("model", "QEMU HARDDISK\n")]);
        let mut page = vec![0; IDENTIFY_AT + 512];
        let mut put = |word: usize, text: &[u8]| {
            for (index, pair) in text.chunks(2).enumerate() {
                let at = IDENTIFY_AT + (word + index) * 2;
                page[at..at + 2].copy_from_slice(&[pair[1], pair[0]]);
            }
        };
        put(27, b"QEMU HARDDISK                           ");
        put(10, b"at-1                ");
        put(87, &[0x41, 0]);
        put(108, &[0x50, 0, 0xc5, 0, 0x15, 0xea, 0x71, 0xac]);
        std::fs::write(root.path().join("sys/devices").join(SCSI).join("vpd_pg89"), &page).unwrap();
        assert_eq!(ids(&disk(root.path(), "sda", &[])), ["ata-QEMU_HARDDISK_at-1", "wwn-0x5000c50015ea71ac"]);
    }

    #[test]
    fn a_stick_is_called_by_what_it_says_and_an_odd_serial_is_left_out() {
        for (serial, id) in [
            ("us-1\n", "usb-QEMU_HARDDISK_us-1-1:2"),
            ("us,1\n", "usb-QEMU_HARDDISK-1:2"),
            ("é", "usb-QEMU_HARDDISK-1:2"),
        ] {
            let root = tempfile::tempdir().unwrap();
            device(root.path(), "pci0", "usb", "usb_device", &[("serial", serial)]);
            device(root.path(), SCSI, "scsi", "scsi_device", &[("vendor", "QEMU\n"), ("model", "HARDDISK \n")]);
            assert_eq!(ids(&disk(root.path(), "sda", &[])), [id], "{serial}");
        }
    }

    proptest! {
        #[test]
        fn hostile_pages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ignored = (scsi_id(&bytes, "maker"), naa(&bytes), ata_id(&bytes), ata_wwn(&bytes));
        }
    }
}
