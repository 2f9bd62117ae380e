//! The files of networkd: those of this boot's description and of `wireguard`; those of an earlier one go. Pure.

use std::collections::BTreeSet;

use crate::document::Node;
use crate::fault::Faults;
use crate::network::device::{self, FOLDER, NetworkFile};
use crate::network::wireguard;
use crate::plan::{Planner, Step};

/// Who reads the keys of WireGuard beside root.
const GROUP: &str = "systemd-network";

/// Plans the network.
pub(crate) fn network(planner: &mut Planner<'_>) {
    let mut files = planner.config.network.clone();
    let tunnels = tunnels(planner);
    files.extend(tunnels);
    let wanted: BTreeSet<String> = files.iter().map(|file| format!("{FOLDER}/{}", file.name)).collect();
    let gid = planner.accounts.gid(GROUP).unwrap_or(0);
    let mut changed = false;
    for path in planner.facts.network_files.iter().filter(|path| !wanted.contains(*path)) {
        changed = true;
        planner.plan.steps.push(Step::Remove { path: path.clone() });
    }
    for file in files {
        let path = format!("{FOLDER}/{}", file.name);
        let content = file.text.into_bytes();
        changed |= planner.facts.at(&path).and_then(|seen| seen.content.as_ref()) != Some(&content);
        let (mode, owner) = if file.secret { (0o640, (0, gid)) } else { (0o644, (0, 0)) };
        planner.owned_file(&path, content, mode, owner, "network");
    }
    if changed {
        planner.command(&["networkctl", "reload"]);
    }
}

/// The tunnels of the `wireguard` key, also as the files that `wg-quick` reads. The check of the document has told what
/// is wrong with them.
fn tunnels(planner: &mut Planner<'_>) -> Vec<NetworkFile> {
    let interfaces = planner.config.root.get("wireguard").and_then(|spec| spec.get("interfaces")).cloned();
    let mut devices = Vec::new();
    for item in interfaces.as_ref().map(Node::items).unwrap_or_default() {
        let text = |key: &str| item.get(key).and_then(Node::text);
        let (Some(name), Some(content)) = (text("name"), text("content")) else {
            continue;
        };
        let path = text("config_path").map_or_else(|| format!("/etc/wireguard/{name}.conf"), str::to_string);
        planner.file(&path, content, 0o600, "wireguard");
        devices.extend(wireguard::quick(name, content, item.place).ok());
    }
    device::files(devices, &BTreeSet::new(), &mut Faults::default())
}
