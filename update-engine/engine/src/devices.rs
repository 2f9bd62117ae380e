//! The partitions of a slot on the disk that the machine runs from: found by their names in sysfs, so that a second
//! disk with the same names is left alone. Acts: reads only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_layout::{Part, Slot};
use ferrite_payload::PartRole;

use crate::places::Places;

/// The devices of both slots.
#[derive(Debug, Clone)]
pub struct Devices {
    found: Vec<(Part, PathBuf)>,
}

impl Devices {
    /// Finds them on a disk such as /dev/vda.
    pub fn find(places: &Places, disk: &str) -> anyhow::Result<Devices> {
        let name = Path::new(disk).file_name().context("early boot told no disk")?;
        let folder = places.path("/sys/class/block").join(name);
        let reading = || format!("reading '{}'", folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let path = entry.with_context(reading)?.path().join("uevent");
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            let (Some(label), Some(device)) = (value("PARTNAME"), value("DEVNAME")) else { continue };
            for slot in Slot::BOTH {
                for part in [Part::boot_of(slot), Part::root_of(slot)] {
                    if part.name() == label {
                        found.push((part, places.path("/dev").join(device)));
                    }
                }
            }
        }
        let devices = Devices { found };
        for slot in Slot::BOTH {
            for role in [PartRole::Root, PartRole::Boot] {
                devices.path(slot, role).with_context(|| format!("looking at disk {disk}"))?;
            }
        }
        Ok(devices)
    }

    /// The device of a partition.
    pub fn path(&self, slot: Slot, role: PartRole) -> anyhow::Result<PathBuf> {
        let part = match role {
            PartRole::Root => Part::root_of(slot),
            PartRole::Boot => Part::boot_of(slot),
        };
        let mut same = self.found.iter().filter(|(found, _)| *found == part);
        match (same.next(), same.next()) {
            (Some((_, path)), None) => Ok(path.clone()),
            (None, _) => bail!("there is no partition {}", part.name()),
            (Some(_), Some(_)) => bail!("there are several partitions {}", part.name()),
        }
    }
}
