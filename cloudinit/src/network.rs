//! From what says how a machine is connected to the files of networkd. Pure.
//!
//! Read are network-config of cloud-init, version 1 and 2, and what clouds say about the links of a machine. A fault
//! costs the device it is in, and that one gets what the image does without a word about it; never the user-data.

mod clouds;
pub(crate) mod device;
mod keys;
mod stacked;
#[cfg(test)]
mod tests;
mod understood;
mod version1;
mod version2;
pub(crate) mod wireguard;

use std::collections::BTreeSet;

use crate::check::check;
use crate::document::{self, Node, Value};
use crate::fault::{Faults, Severity};
use crate::language::Kind;

use device::{Device, NetworkFile};

/// The most links of one description.
pub(crate) const MAX_DEVICES: usize = 1000;

/// Who wrote the description of the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// A network-config of cloud-init.
    #[default]
    CloudInit,
    /// network_data.json of OpenStack, from a config drive.
    OpenStack,
    /// /metadata/v1.json of DigitalOcean.
    DigitalOcean,
    /// The map below network/interfaces/macs/ of EC2, as JSON.
    Ec2,
}

impl Format {
    /// The names on the command line.
    pub(crate) const NAMES: [(&str, Self); 4] = [
        ("cloud-init", Self::CloudInit),
        ("openstack", Self::OpenStack),
        ("digitalocean", Self::DigitalOcean),
        ("ec2", Self::Ec2),
    ];

    /// The format of a name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }
}

/// What a description asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Network {
    /// The files, sorted by name.
    pub files: Vec<NetworkFile>,
    /// What is wrong with it.
    pub faults: Faults,
}

/// Reads a description; empty is none.
pub(crate) fn read(bytes: &[u8], format: Format) -> Network {
    let mut faults = Faults::default();
    let text = match document::text(bytes) {
        Ok(text) => text,
        Err(reason) => {
            faults.push(Severity::Error, (1, 1), format!("the network-config is {reason}"));
            return Network { files: Vec::new(), faults };
        }
    };
    let root = document::parse(&text, &mut faults).filter(|root| root.value != Value::Null);
    let mut broken = BTreeSet::new();
    let mut devices = match (root, format) {
        (None, _) => Vec::new(),
        (Some(root), Format::CloudInit) => cloudinit(root.get("network").unwrap_or(&root), &mut broken, &mut faults),
        (Some(root), Format::OpenStack) => clouds::openstack(&root, &mut faults),
        (Some(root), Format::DigitalOcean) => clouds::digitalocean(&root, &mut faults),
        (Some(root), Format::Ec2) => clouds::ec2(&root, &mut faults),
    };
    if devices.len() > MAX_DEVICES {
        let message = format!("more than {MAX_DEVICES} devices, the others are left out");
        faults.push(Severity::Error, devices.get(MAX_DEVICES).map_or((1, 1), |device| device.place), message);
        devices.truncate(MAX_DEVICES);
    }
    let files = understood::files(devices, broken, &mut faults);
    for fault in faults.0.iter_mut().filter(|fault| fault.severity == Severity::Broken) {
        fault.severity = Severity::Error;
    }
    faults.sort();
    Network { files, faults }
}

fn cloudinit(root: &Node, broken: &mut BTreeSet<String>, faults: &mut Faults) -> Vec<Device> {
    if root.get("config").and_then(Node::text) == Some("disabled") {
        return Vec::new();
    }
    match (root.get("version").and_then(Node::text), &root.value) {
        (Some("2"), _) => version_2(root, broken, faults),
        (Some("1"), _) => version_1(root, broken, faults),
        (Some(other), _) => {
            let place = root.get("version").map_or(root.place, |node| node.place);
            let message = format!("version '{}' is not known; write 'version: 2'", crate::check::short(other));
            faults.push(Severity::Error, place, message);
            Vec::new()
        }
        (None, Value::Map(_)) => {
            faults.push(Severity::Error, root.place, "'version' is missing; write 'version: 2'");
            Vec::new()
        }
        (None, other) => {
            let message = format!("the network-config is {}, not a map; write 'version: 2' first", other.kind());
            faults.push(Severity::Error, root.place, message);
            Vec::new()
        }
    }
}

/// Checks one device; `None` when any of its keys is wrong.
fn checked(name: &str, node: &Node, kind: &Kind, faults: &mut Faults) -> Option<Node> {
    let mut own = Faults::default();
    let checked = check(name, node, kind, &mut own);
    let is_good = !matches!(own.worst(), Some(Severity::Broken | Severity::Error));
    faults.append(own);
    checked.filter(|_| is_good)
}

fn version_2(root: &Node, broken: &mut BTreeSet<String>, faults: &mut Faults) -> Vec<Device> {
    let _top = check("the network-config", root, &Kind::Map(keys::VERSION_2, None), faults);
    let mut devices = Vec::new();
    for (section, family) in version2::SECTIONS {
        for (key, spec) in root.get(section).map(Node::pairs).unwrap_or_default() {
            let Some(id) = key.text() else {
                faults.push(Severity::Error, key.place, format!("a device has a name, not {}", key.value.kind()));
                continue;
            };
            let nothing = Node::empty();
            let spec = if spec.value == Value::Null { &nothing } else { spec };
            let device =
                checked(id, spec, &keys::DEVICE, faults).and_then(|spec| version2::device(family, key, &spec, faults));
            match device {
                Some(device) => devices.push(device),
                None => {
                    broken.insert(id.to_string());
                }
            }
        }
    }
    for section in ["nm_devices", "openvswitch"] {
        if let Some(node) = root.get(section) {
            faults.push(Severity::Warning, node.place, format!("'{section}' is not done, ignored"));
        }
    }
    devices
}

fn version_1(root: &Node, broken: &mut BTreeSet<String>, faults: &mut Faults) -> Vec<Device> {
    let _top = check("the network-config", root, &Kind::Map(keys::VERSION_1, None), faults);
    let mut devices = Vec::new();
    let mut shared = version1::Shared::default();
    for item in root.get("config").map(Node::items).unwrap_or_default() {
        if !matches!(item.value, Value::Map(_)) {
            continue;
        }
        let kind = item.get("type").and_then(Node::text).unwrap_or_default().to_string();
        let is_shared = matches!(kind.as_str(), "nameserver" | "route");
        let language = match kind.as_str() {
            "nameserver" => &keys::GLOBAL_SERVERS,
            "route" => &keys::GLOBAL_ROUTE,
            _ => &keys::ITEM,
        };
        let id = item.get("name").and_then(Node::text).unwrap_or_default().to_string();
        match checked("a device", item, language, faults) {
            Some(item) if is_shared => shared.take(&kind, &item),
            Some(item) => match version1::device(&kind, &item, faults) {
                Some(device) => devices.push(device),
                None => {
                    broken.insert(id);
                }
            },
            None => {
                broken.insert(id);
            }
        }
    }
    shared.give(&mut devices, faults);
    devices
}
