//! Reads the files that were made as networkd will, so that what it would not understand is told with the device it
//! comes from, and not only in networkd's log. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ferrite_netconf::{Content, SourceFile};

use super::device::{self, Device, FOLDER, NetworkFile};
use crate::fault::{Faults, Severity};

/// Leaving out one device may leave another one without what it is put on.
const MAX_ROUNDS: usize = 8;
/// What a message says of them may hold a part of the key.
const SECRETS: [&str; 2] = ["PrivateKey", "PresharedKey"];

/// The files of the devices that networkd understands; a fault costs its device.
pub(super) fn files(mut devices: Vec<Device>, mut broken: BTreeSet<String>, faults: &mut Faults) -> Vec<NetworkFile> {
    let mut told = Faults::default();
    for _ in 0..MAX_ROUNDS {
        let mut found = Faults::default();
        let files = device::files(devices.clone(), &broken, &mut found);
        let bad = misunderstood(&files, &mut told);
        if bad.is_empty() {
            faults.append(told);
            faults.append(found);
            return files;
        }
        devices.retain(|device| !bad.contains(&device.id));
        broken.extend(bad);
    }
    faults.append(told);
    Vec::new()
}

/// The devices that networkd would not take as they are.
fn misunderstood(files: &[NetworkFile], faults: &mut Faults) -> BTreeSet<String> {
    let path = |file: &NetworkFile| format!("{FOLDER}/{}", file.name);
    let by_path: BTreeMap<String, &NetworkFile> = files.iter().map(|file| (path(file), file)).collect();
    let source =
        |file: &NetworkFile| SourceFile { path: path(file), content: Content::Bytes(file.text.clone().into_bytes()) };
    let sources: Vec<SourceFile> = files.iter().map(source).collect();
    let mut bad = BTreeSet::new();
    for fault in ferrite_netconf::read(&sources).faults {
        let Some(file) = by_path.get(&fault.path) else {
            continue;
        };
        let line = usize::try_from(fault.line).unwrap_or_default().checked_sub(1);
        let line = line.and_then(|line| file.text.lines().nth(line)).unwrap_or_default();
        let name = crate::check::short(&file.device);
        let secret = SECRETS.iter().find(|key| line.starts_with(*key));
        let message = match secret {
            Some(key) => format!("device '{name}': {key} is not 44 characters of base64"),
            None => {
                let said = fault.message.split(", ignoring").next().unwrap_or_default();
                format!("device '{name}': networkd does not understand {}", crate::check::short(said))
            }
        };
        match fault.severity {
            ferrite_netconf::Severity::Error => {
                faults.push(Severity::Error, file.place, message);
                bad.insert(file.device.clone());
            }
            ferrite_netconf::Severity::Warning => faults.push(Severity::Warning, file.place, message),
        }
    }
    bad
}
