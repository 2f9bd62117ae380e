//! What the plan must know about the machine: gathered before anything is changed, below any root.

use ferrite_files::{Entry, EntryKind, Root};

/// The user that keys are for.
pub(crate) const USER: &str = "core";
const PASSWD: &str = "/etc/passwd";
const SKEL: &str = "/etc/skel";
const MAX_FILE_BYTES: usize = 1 << 20;
const MAX_SKEL_ENTRIES: usize = 200;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// User and group number.
    pub owner: (u32, u32),
    /// The home folder.
    pub home: String,
}

/// A file or folder of /etc/skel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SkelEntry {
    /// Below /etc/skel.
    pub path: String,
    /// The permission bits.
    pub mode: u32,
    /// `None` for a folder.
    pub content: Option<Vec<u8>>,
}

/// The machine before the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The user `core`, when there is one.
    pub user: Option<User>,
    /// The home folder, `.ssh` and the folder of managed keys, as they are.
    pub folders: Vec<(String, Option<Entry>)>,
    /// What a new home gets.
    pub skel: Vec<SkelEntry>,
    /// The managed keys as they are.
    pub managed_keys: Option<Vec<u8>>,
    /// The name in /etc/hostname.
    pub hostname_file: Option<String>,
    /// The name the kernel has now; `None` when the plan is not for the running machine.
    pub kernel_hostname: Option<String>,
    /// The machine id.
    pub machine_id: String,
}

impl Facts {
    /// What is at a path, if it was looked at.
    pub(crate) fn folder(&self, path: &str) -> Option<Entry> {
        self.folders.iter().find(|(known, _)| known == path).and_then(|(_, entry)| *entry)
    }
}

/// Where the keys of cloud-config go; the user's own authorized_keys is never touched.
pub(crate) fn key_folders(home: &str) -> [String; 2] {
    [format!("{home}/.ssh"), format!("{home}/.ssh/authorized_keys.d")]
}

/// The file in the last of them.
pub(crate) fn key_file(home: &str) -> String {
    format!("{home}/.ssh/authorized_keys.d/cloud-config")
}

/// Looks at the machine below `root`.
pub(crate) fn gather(root: &Root) -> anyhow::Result<Facts> {
    let text = |path: &str| -> anyhow::Result<String> {
        let bytes = root.read(path, MAX_FILE_BYTES)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let mut facts =
        Facts { user: user(&text(PASSWD)?, USER), machine_id: text("/etc/machine-id")?, ..Facts::default() };
    let name = text("/etc/hostname")?;
    facts.hostname_file =
        name.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_string);
    if root.is_machine() {
        facts.kernel_hostname = Some(nix::unistd::gethostname()?.to_string_lossy().into_owned());
    }
    if let Some(user) = &facts.user {
        let [ssh, managed] = key_folders(&user.home);
        for path in [user.home.clone(), ssh, managed] {
            let entry = root.entry(&path)?;
            facts.folders.push((path, entry));
        }
        facts.managed_keys = root.read(&key_file(&user.home), MAX_FILE_BYTES)?;
        facts.skel = skel(root)?;
    }
    Ok(facts)
}

/// Finds a user in the text of /etc/passwd.
fn user(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, _, home, _] = fields.as_slice() else {
            return None;
        };
        let is_usable = *found == name && home.starts_with('/') && !home.split('/').any(|part| part == "..");
        is_usable.then_some(())?;
        Some(User { owner: (uid.parse().ok()?, gid.parse().ok()?), home: home.trim_end_matches('/').to_string() })
    })
}

/// Files and folders of /etc/skel, each folder before what is in it. Links and devices are left out.
fn skel(root: &Root) -> anyhow::Result<Vec<SkelEntry>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for name in root.list(&format!("{SKEL}{folder}"))? {
            let path = format!("{folder}/{name}");
            let source = format!("{SKEL}{path}");
            let Some(entry) = root.entry(&source)? else {
                continue;
            };
            let content = match entry.kind {
                EntryKind::Folder => None,
                EntryKind::File => Some(root.read(&source, MAX_FILE_BYTES)?.unwrap_or_default()),
                EntryKind::Link | EntryKind::Other => continue,
            };
            if content.is_none() {
                folders.push(path.clone());
            }
            if found.len() < MAX_SKEL_ENTRIES {
                found.push(SkelEntry { path, mode: entry.mode, content });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_passwd() {
        let passwd = "root:x:0:0::/root:/bin/bash\nbad:x:core\ncore:x:1000:1001:Core:/home/core/:/bin/bash\n";
        let found = user(passwd, "core").unwrap();
        assert_eq!((found.owner, found.home.as_str()), ((1000, 1001), "/home/core"));
        assert_eq!(user("core:x:1:1::/home/../etc:/bin/sh\n", "core"), None);
        assert_eq!(user(passwd, "none"), None);
    }
}
