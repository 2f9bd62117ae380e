//! Devices that pull in other units, as `WantedBy=dev-disk-by\x2dlabel-backup.device` in a mount says.
//!
//! Nobody else may name such a device, so its unit is loaded for its own sake: what it wants starts when it comes.

use ferrite_unit::{Dependency, Files, LoadPath, UnitKind, UnitName};

use crate::device_unit::DeviceState;
use crate::disk::Disk;
use crate::engine::Engine;
use crate::jobs::Active;
use crate::kinds::KindState;
use crate::units::Runtime;

/// What a device unit has beside its name when it may pull in others.
const SUFFIXES: [&str; 4] = ["", ".wants", ".requires", ".d"];
/// Such devices at most.
const MAX_DEVICES: usize = 1_000;

/// The device units of which there are files or links.
pub fn named(path: &LoadPath, files: &Disk) -> Vec<UnitName> {
    let is_device = |name: &UnitName| name.kind() == UnitKind::Device && !name.is_template();
    let mut found = Vec::new();
    for name in path.0.iter().flat_map(|directory| files.list(directory)) {
        let stems = SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix));
        let named = stems.filter_map(|stem| UnitName::parse(stem).ok()).find(is_device);
        if let Some(named) = named.filter(|named| !found.contains(named))
            && found.len() < MAX_DEVICES
        {
            found.push(named);
        }
    }
    found
}

/// Does a device pull in others? Then its unit stays, though nobody names it.
pub fn pulls(runtime: &Runtime) -> bool {
    let pull = |dependency: &Dependency| {
        matches!(dependency, Dependency::Wants | Dependency::Requires | Dependency::BindsTo | Dependency::Upholds)
    };
    runtime.unit.name.kind() == UnitKind::Device && runtime.unit.dependencies.iter().any(|(one, ..)| pull(one))
}

impl Engine {
    /// Loads those that are not known yet.
    pub fn load_devices(&mut self, names: &[UnitName]) {
        let fresh: Vec<&UnitName> = names.iter().filter(|name| self.units.find(name).is_none()).collect();
        if !fresh.is_empty() {
            self.load_all(fresh.into_iter());
        }
    }

    /// Loads those of the start of the machine.
    pub fn load_first_devices(&mut self) {
        let names = named(&self.settings.load_path, &Disk::default());
        self.load_devices(&names);
    }

    /// Starts what the devices that were there before process 1 pull in: they will not come any more.
    pub fn start_for_present_devices(&mut self) {
        let is_there = |kind: Option<KindState>| matches!(kind, Some(KindState::Device(DeviceState::Plugged)));
        let pulling = self.units.iter().filter(|(_, runtime)| pulls(runtime)).map(|(id, _)| id);
        let present: Vec<_> = pulling.filter(|id| is_there(self.kind_state(*id))).collect();
        present.into_iter().for_each(|id| self.follow_unasked(id, Active::Inactive, Active::Active));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_with_files_or_links_are_found_once() {
        let folder = tempfile::tempdir().unwrap();
        for name in
            ["dev-a.device.wants", "dev-b.device.requires", "dev-a.device.d", "x.service.wants", "y@.device.wants"]
        {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("dev-c.device"), "").unwrap();
        std::fs::write(folder.path().join("device.wants"), "").unwrap();
        let path = LoadPath(vec![folder.path().to_str().unwrap().to_owned(), "/nonexistent".to_owned()]);
        let found: Vec<String> = named(&path, &Disk::default()).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["dev-a.device", "dev-b.device", "dev-c.device"]);
    }
}
