//! A link as networkd's files describe it, and the files of all links together. Pure.
//!
//! A stacked link (bond, bridge, VLAN, tunnel) is also written into the file of each link below it, because that is
//! where networkd looks for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Faults, Severity};

/// Where the files go: they describe this boot only.
pub(crate) const FOLDER: &str = "/run/systemd/network";
/// What the name of each of our files begins with.
pub(crate) const PREFIX: &str = "10-cloudinit-";
/// Longest name the kernel accepts for a link.
const MAX_NAME: usize = 15;

/// A file for networkd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkFile {
    /// Its name in [`FOLDER`].
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it holds a key that only networkd may read.
    pub secret: bool,
    /// The device it is about.
    pub device: String,
    /// Where that stands in the document.
    pub place: (u64, u64),
}

impl NetworkFile {
    /// The text without its keys.
    pub(crate) fn shown(&self) -> String {
        let hidden = |line: &str| match line.split_once('=') {
            Some((key @ ("PrivateKey" | "PresharedKey"), _)) => format!("{key}=<redacted>\n"),
            _ => format!("{line}\n"),
        };
        self.text.lines().map(hidden).collect()
    }
}

/// The sections of a file in the order in which they were first named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sections(Vec<(&'static str, Vec<(&'static str, String)>)>);

impl Sections {
    /// Adds a setting to the section of this name.
    pub(crate) fn set(&mut self, section: &'static str, key: &'static str, value: impl Into<String>) {
        match self.0.iter_mut().find(|(name, _)| *name == section) {
            Some((_, lines)) => lines.push((key, value.into())),
            None => self.0.push((section, vec![(key, value.into())])),
        }
    }

    /// Sets what may be there once.
    pub(crate) fn replace(&mut self, section: &'static str, key: &'static str, value: impl Into<String>) {
        for (_, lines) in self.0.iter_mut().filter(|(name, _)| *name == section) {
            lines.retain(|(known, _)| *known != key);
        }
        self.set(section, key, value);
    }

    /// Adds a section of its own, such as one address of several.
    pub(crate) fn add(&mut self, section: &'static str, lines: Vec<(&'static str, String)>) {
        self.0.push((section, lines));
    }

    /// Whether a section has this setting.
    pub(crate) fn has(&self, section: &str, key: &str) -> bool {
        self.values(section, key).next().is_some()
    }

    /// The values of a setting.
    pub(crate) fn values<'a>(&'a self, section: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
        let sections = self.0.iter().filter(move |(name, _)| *name == section);
        let lines = sections.flat_map(|(_, lines)| lines);
        lines.filter(move |(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text: [Match], [NetDev] and [Link] come first, [Network] next, the rest as it was added.
    fn render(&self) -> String {
        let rank = |name: &str| ["Match", "NetDev", "Link", "Network"].iter().position(|known| *known == name);
        let mut sections: Vec<_> = self.0.iter().collect();
        sections.sort_by_key(|(name, _)| rank(name).unwrap_or(4));
        let mut text = String::from("# Written by ferrite-cloudinit at every boot\n");
        for (name, lines) in sections.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            text.push_str(&format!("\n[{name}]\n"));
            for (key, value) in lines {
                text.push_str(&format!("{key}={}\n", value.trim()));
            }
        }
        text
    }
}

/// A link that another one is put on top of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Below {
    /// The id of the link below.
    pub id: String,
    /// The setting in its [Network] section that names the upper one: Bond, Bridge, VLAN, VRF or Tunnel.
    pub setting: &'static str,
    /// What else its file says because of that.
    pub more: Vec<(&'static str, &'static str, String)>,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// What the document calls it; of a virtual link also its name.
    pub id: String,
    /// Where it stands in the document.
    pub place: (u64, u64),
    /// The [Match] section.
    pub matching: Vec<(&'static str, String)>,
    /// The name a link had before that its .link file changes, where that is what it is found by.
    pub original_name: Option<String>,
    /// The .link file without [Match]; none when it is empty.
    pub link: Sections,
    /// The .netdev file; none when it is empty.
    pub netdev: Sections,
    /// The .network file without [Match].
    pub network: Sections,
    /// Whether the .netdev file holds a key.
    pub secret: bool,
    /// The links below it.
    pub below: Vec<Below>,
}

impl Device {
    /// A link of the hardware, found by its name until something better is known.
    pub(crate) fn new(id: &str, place: (u64, u64)) -> Self {
        Self { id: id.to_string(), place, matching: vec![("Name", id.to_string())], ..Self::default() }
    }

    /// A link that networkd makes.
    pub(crate) fn made(id: &str, kind: &str, place: (u64, u64)) -> Self {
        let mut device = Self::new(id, place);
        device.netdev.set("NetDev", "Name", id);
        device.netdev.set("NetDev", "Kind", kind);
        device
    }

    /// Finds the link by its own address. Links on top of it borrow that address, but have none of their own.
    pub(crate) fn match_address(&mut self, mac: &str) {
        self.matching = vec![("PermanentMACAddress", mac.to_ascii_lowercase())];
    }

    /// Whether networkd makes it.
    pub(crate) fn is_made(&self) -> bool {
        !self.netdev.is_empty()
    }

    /// Gives the link an address of the link layer.
    pub(crate) fn set_mac(&mut self, mac: &str) {
        match self.is_made() {
            true => self.netdev.replace("NetDev", "MACAddress", mac.to_ascii_lowercase()),
            false => self.network.replace("Link", "MACAddress", mac.to_ascii_lowercase()),
        }
    }

    /// Puts this link on top of another.
    pub(crate) fn put_on(&mut self, id: &str, setting: &'static str) {
        self.below.push(Below { id: id.to_string(), setting, more: Vec::new() });
    }

    /// Adds an address with its prefix.
    pub(crate) fn add_address(&mut self, address: &str) {
        self.network.add("Address", vec![("Address", address.to_string())]);
    }

    /// Adds a route to everywhere.
    pub(crate) fn add_gateway(&mut self, gateway: &str) {
        let to = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
        self.network.add("Route", vec![("Destination", to.to_string()), ("Gateway", gateway.to_string())]);
    }

    /// Says how addresses are asked for.
    pub(crate) fn set_dhcp(&mut self, v4: bool, v6: bool) {
        let word = match (v4, v6) {
            (true, true) => "yes",
            (true, false) => "ipv4",
            (false, true) => "ipv6",
            (false, false) => "no",
        };
        self.network.replace("Network", "DHCP", word);
    }
}

/// The files of all links, sorted by name. `broken` are ids of links that are left out: a fault was told already.
pub(crate) fn files(mut devices: Vec<Device>, broken: &BTreeSet<String>, faults: &mut Faults) -> Vec<NetworkFile> {
    for upper in devices.clone().iter().filter(|device| !device.below.is_empty()) {
        for below in &upper.below {
            attach(&mut devices, upper, below, broken, faults);
        }
    }
    let mut files: BTreeMap<String, NetworkFile> = BTreeMap::new();
    for device in &devices {
        for file in device_files(device) {
            let place = device.place;
            if files.insert(file.name.clone(), file).is_some() {
                let message =
                    format!("there are two devices '{}'; the last one counts", crate::check::short(&device.id));
                faults.push(Severity::Warning, place, message);
            }
        }
    }
    files.into_values().collect()
}

/// Writes a stacked link into the file of the one below.
fn attach(devices: &mut Vec<Device>, upper: &Device, below: &Below, broken: &BTreeSet<String>, faults: &mut Faults) {
    if broken.contains(&below.id) || below.id == upper.id {
        return;
    }
    if !devices.iter().any(|device| device.id == below.id) {
        let name = crate::check::short(&below.id);
        let message = format!("'{name}' is not a device of this document; a link of that name is used as it is");
        faults.push(Severity::Warning, upper.place, message);
        devices.push(Device::new(&below.id, upper.place));
    }
    let Some(device) = devices.iter_mut().find(|device| device.id == below.id) else {
        return;
    };
    let name = upper.netdev.values("NetDev", "Name").next().unwrap_or(&upper.id);
    device.network.set("Network", below.setting, name);
    if matches!(below.setting, "Bond" | "Bridge") {
        // A member has no addresses; the link on top of it has.
        device.network.replace("Network", "LinkLocalAddressing", "no");
    }
    for (section, key, value) in &below.more {
        device.network.set(section, key, value.as_str());
    }
}

fn device_files(device: &Device) -> Vec<NetworkFile> {
    let name = file_name(&device.id);
    let file = |suffix: &str, sections: &Sections, secret: bool| NetworkFile {
        name: format!("{PREFIX}{name}.{suffix}"),
        text: sections.render(),
        secret,
        device: device.id.clone(),
        place: device.place,
    };
    let matched = |sections: &Sections, matching: &[(&'static str, String)]| {
        let mut all = Sections::default();
        all.add("Match", matching.to_vec());
        all.0.extend(sections.0.iter().cloned());
        all
    };
    let mut files = Vec::new();
    if !device.link.is_empty() {
        // A .link file is about the name a link had before, which [Match] calls OriginalName.
        let renamed = |(key, value): &(&'static str, String)| match *key {
            "Name" => ("OriginalName", device.original_name.clone().unwrap_or_else(|| value.clone())),
            _ => (*key, value.clone()),
        };
        let matching: Vec<(&'static str, String)> = device.matching.iter().map(renamed).collect();
        files.push(file("link", &matched(&device.link, &matching), false));
    }
    if device.is_made() {
        files.push(file("netdev", &device.netdev, device.secret));
    }
    files.push(file("network", &matched(&device.network, &device.matching), false));
    files
}

/// An id as a part of a file name.
fn file_name(id: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.' | ':' | '@');
    id.chars().take(64).map(|character| if plain(character) { character } else { '_' }).collect()
}

/// A name of a link that the kernel accepts.
pub(crate) fn link_name(text: &str) -> Result<(), String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
    if text.is_empty() || text.len() > MAX_NAME || matches!(text, "." | "..") || !text.bytes().all(is_plain) {
        let text = crate::check::short(text);
        return Err(format!(
            "'{text}' is not a name of a link: 1 to {MAX_NAME} characters, no blanks, '/', ':' or '%'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stacked_link_is_named_in_the_files_of_those_below_and_a_missing_one_is_made_up() {
        let mut bond = Device::made("bond0", "bond", (1, 1));
        bond.put_on("eth0", "Bond");
        bond.put_on("eth1", "Bond");
        bond.put_on("eth2", "Bond");
        let mut faults = Faults::default();
        let broken = BTreeSet::from(["eth2".to_string()]);
        let files = files(vec![Device::new("eth0", (2, 1)), bond], &broken, &mut faults);
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "10-cloudinit-bond0.netdev",
                "10-cloudinit-bond0.network",
                "10-cloudinit-eth0.network",
                "10-cloudinit-eth1.network"
            ]
        );
        assert!(files[2].text.ends_with("[Match]\nName=eth0\n\n[Network]\nBond=bond0\nLinkLocalAddressing=no\n"));
        assert_eq!((faults.0.len(), faults.worst()), (1, Some(Severity::Warning)));
    }

    #[test]
    fn names_of_links_and_files_stay_inside_their_folder() {
        for (name, good) in [("eth0", true), ("", false), ("..", false), ("a/b", false), ("sixteen-letters-", false)] {
            assert_eq!(link_name(name).is_ok(), good, "{name}");
        }
        assert_eq!(file_name("../a b"), ".._a_b");
    }
}
