//! The links below /dev/disk: which there should be (pure), and making them so.
//!
//! When two devices claim a link, the first in the order of names has it, and the next inherits it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::block::BlockDevice;

const FOLDERS: [&str; 5] = ["by-id", "by-label", "by-partlabel", "by-partuuid", "by-uuid"];
const MAX_NAME_BYTES: usize = 255;

/// `by-label/state` -> `../../vda9`.
pub(crate) type Links = BTreeMap<String, String>;

/// One change below /dev/disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Make or replace a link.
    Set { link: String, target: String },
    /// Remove a link.
    Remove { link: String },
}

/// The links that the devices ask for.
pub(crate) fn wanted<'a>(devices: impl Iterator<Item = &'a BlockDevice>) -> Links {
    let mut links = Links::new();
    for device in devices {
        for link in links_of(device) {
            links.entry(link).or_insert_with(|| format!("../../{}", device.name));
        }
    }
    links
}

fn links_of(device: &BlockDevice) -> Vec<String> {
    let filesystem = device.filesystem.as_ref();
    let suffix = device.partition.map(|number| format!("-part{number}")).unwrap_or_default();
    let named = [
        ("by-partlabel", device.partition_name.clone()),
        ("by-partuuid", device.partition_uuid.clone()),
        ("by-label", filesystem.and_then(|found| found.label.clone())),
        ("by-uuid", filesystem.and_then(|found| found.uuid.clone())),
        ("by-id", device.id.as_ref().map(|id| format!("{}{suffix}", id.replace(' ', "_")))),
    ];
    let link = |(folder, name): (&str, Option<String>)| Some(format!("{folder}/{}", encoded(&name?)?));
    named.into_iter().filter_map(link).collect()
}

/// A name as udev writes it: what is not plain becomes `\xNN`, so that no name leaves its folder.
fn encoded(name: &str) -> Option<String> {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric()
            || "#+-.:=@_".contains(character)
            || (!character.is_ascii() && !character.is_control())
        {
            text.push(character);
        } else {
            let mut bytes = [0; 4];
            text.extend(character.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\x{byte:02x}")));
        }
    }
    (!matches!(text.as_str(), "" | "." | "..") && text.len() <= MAX_NAME_BYTES).then_some(text)
}

/// What must change to get from the links that are to those that should be.
pub(crate) fn plan(current: &Links, wanted: &Links) -> Vec<Change> {
    let stale = current.keys().filter(|link| !wanted.contains_key(*link));
    let mut changes: Vec<Change> = stale.map(|link| Change::Remove { link: link.clone() }).collect();
    for (link, target) in wanted {
        if current.get(link) != Some(target) {
            changes.push(Change::Set { link: link.clone(), target: target.clone() });
        }
    }
    changes
}

/// The links that are there.
pub(crate) fn current(disk: &Path) -> Links {
    let mut links = Links::new();
    for folder in FOLDERS {
        for path in crate::coldplug::entries(&disk.join(folder)) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if let (Some(name), Ok(target)) = (name, std::fs::read_link(&path)) {
                links.insert(format!("{folder}/{name}"), target.to_string_lossy().into_owned());
            }
        }
    }
    links
}

/// Makes one change; a link is replaced by renaming, so it is never missing.
pub(crate) fn apply(disk: &Path, change: &Change) -> std::io::Result<()> {
    match change {
        Change::Remove { link } => match std::fs::remove_file(disk.join(link)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        },
        Change::Set { link, target } => {
            let path = disk.join(link);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            let temporary = disk.join(".new-link");
            match std::fs::remove_file(&temporary) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            std::os::unix::fs::symlink(target, &temporary)?;
            std::fs::rename(&temporary, &path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrite_probe::{Filesystem, Kind};

    fn device(name: &str) -> BlockDevice {
        BlockDevice {
            name: name.into(),
            partition: Some(9),
            partition_name: Some("ferrite-state".into()),
            partition_uuid: Some("0a".into()),
            filesystem: Some(Filesystem { kind: Kind::Ext, label: Some("my state/..".into()), uuid: None }),
            id: Some("virtio-disk one".into()),
        }
    }

    #[test]
    fn a_partition_gets_its_links_with_safe_names() {
        let links: Vec<String> = wanted([device("vda9")].iter()).into_keys().collect();
        assert_eq!(
            links,
            [
                "by-id/virtio-disk_one-part9",
                "by-label/my\\x20state\\x2f..",
                "by-partlabel/ferrite-state",
                "by-partuuid/0a"
            ]
        );
        assert_eq!(encoded(".."), None);
    }

    #[test]
    fn the_first_of_two_claims_wins_and_the_second_inherits() {
        let both = [device("vda9"), device("vdb9")];
        assert_eq!(wanted(both.iter())["by-partuuid/0a"], "../../vda9");
        let changes = plan(&wanted(both.iter()), &wanted(both[1..].iter()));
        assert!(changes.contains(&Change::Set { link: "by-partuuid/0a".into(), target: "../../vdb9".into() }));
    }

    #[test]
    fn links_are_made_replaced_and_removed_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let one = wanted([device("vda9")].iter());
        for _twice in 0..2 {
            for change in plan(&current(folder.path()), &one) {
                apply(folder.path(), &change).unwrap();
            }
            assert_eq!(current(folder.path()), one);
        }
        for change in plan(&one, &Links::new()) {
            apply(folder.path(), &change).unwrap();
        }
        assert_eq!(current(folder.path()), Links::new());
    }
}
