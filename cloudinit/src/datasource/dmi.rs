//! What the firmware says about the machine, and which cloud that is. Pure but for `read`.

use std::collections::BTreeMap;
use std::path::Path;

use super::command_line::NoCloudWords;

const MAX_BYTES: usize = 4096;
/// The names of fields in seeds and in /sys/class/dmi/id.
const FIELDS: [(&str, &str); 17] = [
    ("baseboard-asset-tag", "board_asset_tag"),
    ("baseboard-manufacturer", "board_vendor"),
    ("baseboard-product-name", "board_name"),
    ("baseboard-serial-number", "board_serial"),
    ("baseboard-version", "board_version"),
    ("bios-release-date", "bios_date"),
    ("bios-vendor", "bios_vendor"),
    ("bios-version", "bios_version"),
    ("chassis-asset-tag", "chassis_asset_tag"),
    ("chassis-manufacturer", "chassis_vendor"),
    ("chassis-serial-number", "chassis_serial"),
    ("chassis-version", "chassis_version"),
    ("system-manufacturer", "sys_vendor"),
    ("system-product-name", "product_name"),
    ("system-serial-number", "product_serial"),
    ("system-uuid", "product_uuid"),
    ("system-version", "product_version"),
];

/// The cloud that owns the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cloud {
    /// Amazon's own.
    Aws,
    /// DigitalOcean.
    DigitalOcean,
    /// A known one that has no datasource here.
    Other(&'static str),
}

/// The fields, by their names in /sys/class/dmi/id; absent ones are not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dmi {
    /// The fields of the folder.
    pub fields: BTreeMap<&'static str, String>,
    /// /sys/hypervisor/uuid, which old Xen machines have instead.
    pub hypervisor_uuid: Option<String>,
}

impl Dmi {
    /// Reads the files of the folder; what is missing or unreadable is absent.
    pub(crate) fn read(folder: &Path, hypervisor_uuid: &Path) -> Self {
        let text = |path: &Path| {
            let bytes = std::fs::read(path).ok()?;
            let text = String::from_utf8_lossy(bytes.get(..MAX_BYTES.min(bytes.len()))?).trim().to_string();
            (!text.is_empty()).then_some(text)
        };
        let fields = FIELDS.iter().filter_map(|(_, name)| Some((*name, text(&folder.join(name))?))).collect();
        Self { fields, hypervisor_uuid: text(hypervisor_uuid) }
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The cloud; `None`: none that is known.
    pub(crate) fn cloud(&self) -> Option<Cloud> {
        let (vendor, product) = (self.field("sys_vendor"), self.field("product_name"));
        let uuids = [self.field("product_uuid"), self.hypervisor_uuid.as_deref().unwrap_or_default()];
        if vendor == "Amazon EC2" {
            return Some(Cloud::Aws);
        }
        if vendor == "DigitalOcean" {
            return Some(Cloud::DigitalOcean);
        }
        // A random UUID begins like Amazon's once in two thousand machines, so other names count before it.
        let other = match (vendor, product) {
            (_, "Google Compute Engine") => "Google Compute Engine",
            (_, "OpenStack Nova" | "OpenStack Compute") => "OpenStack",
            ("Hetzner" | "Vultr" | "UpCloud", _) => "a cloud with its own metadata",
            ("Linode" | "Akamai", _) => "Linode",
            _ if self.field("chassis_asset_tag") == "7783-7084-3265-9085-8269-3286-77" => "Azure",
            _ if self.field("chassis_asset_tag").starts_with("OpenStack") => "OpenStack",
            _ => return uuids.iter().any(|uuid| is_ec2(uuid)).then_some(Cloud::Aws),
        };
        Some(Cloud::Other(other))
    }

    /// What the serial number says about NoCloud, with the fields of the firmware put in.
    pub(crate) fn nocloud(&self) -> Option<NoCloudWords> {
        let serial = self.field("product_serial");
        let at = serial.find("ds=nocloud")?;
        let text = serial.get(at + 3..)?.split_ascii_whitespace().next()?;
        let mut words = NoCloudWords::parse(text)?;
        words.seed = words.seed.map(|seed| self.expand(&seed));
        Some(words)
    }

    /// Replaces `__dmi.NAME__` by the field; one that is not there becomes nothing.
    pub(crate) fn expand(&self, text: &str) -> String {
        FIELDS
            .iter()
            .fold(text.to_string(), |text, (name, file)| text.replace(&format!("__dmi.{name}__"), self.field(file)))
    }
}

/// Amazon's UUIDs begin with ec2; some firmware swaps the bytes of the first group.
fn is_ec2(uuid: &str) -> bool {
    let first: Vec<char> = uuid.split('-').next().unwrap_or_default().to_ascii_lowercase().chars().collect();
    matches!(first.as_slice(), ['e', 'c', '2', ..] | [_, _, _, _, '2', _, 'e', 'c'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dmi(fields: &[(&'static str, &str)]) -> Dmi {
        Dmi { fields: fields.iter().map(|(name, value)| (*name, (*value).into())).collect(), hypervisor_uuid: None }
    }

    #[test]
    fn clouds_are_known_by_their_firmware() {
        for (fields, cloud) in [
            (&[("product_uuid", "ec2d8f4a-0001-0002-0003-000000000000")][..], Some(Cloud::Aws)),
            (&[("product_uuid", "EC2D8F4A-0001-0002-0003-000000000000")], Some(Cloud::Aws)),
            (&[("product_uuid", "45E12AEC-DCD1-B213-94ED-01234ABCDEF0")], Some(Cloud::Aws)),
            (&[("product_uuid", "45E1EC2A-DCD1-B213-94ED-01234ABCDEF0")], None),
            (&[("sys_vendor", "DigitalOcean"), ("product_serial", "2756294")], Some(Cloud::DigitalOcean)),
            (&[("product_name", "OpenStack Nova")], Some(Cloud::Other("OpenStack"))),
            (
                &[("product_name", "OpenStack Nova"), ("product_uuid", "ec2d8f4a-0001-0002-0003-000000000000")],
                Some(Cloud::Other("OpenStack")),
            ),
            (&[("sys_vendor", "Xen"), ("product_uuid", "ec2e1916-9099-7caf-fd21-012345abcdef")], Some(Cloud::Aws)),
            (&[("sys_vendor", "QEMU"), ("product_uuid", "")], None),
        ] {
            assert_eq!(dmi(fields).cloud(), cloud, "{fields:?}");
        }
        let xen = Dmi { hypervisor_uuid: Some("ec2e1916-9099-7caf-fd21-012345abcdef".into()), ..Dmi::default() };
        assert_eq!(xen.cloud(), Some(Cloud::Aws));
    }

    #[test]
    fn a_serial_number_names_a_seed_with_fields_of_the_firmware() {
        let dmi = dmi(&[
            ("product_serial", "ds=nocloud;s=http://192.0.2.1/__dmi.chassis-serial-number__/__dmi.system-version__"),
            ("chassis_serial", "C7"),
        ]);
        assert_eq!(dmi.nocloud().unwrap().seed.as_deref(), Some("http://192.0.2.1/C7/"));
        assert_eq!(super::tests::dmi(&[("product_serial", "VMware-42")]).nocloud(), None);
    }
}
