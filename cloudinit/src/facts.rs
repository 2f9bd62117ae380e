//! What the plan must know about the machine: looked up before anything is changed, below any root.
//!
//! A first plan says which paths it is about; those are looked at, and the plan is made again. A link leads to one more
//! path, so this is done a few times.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_files::{Entry, EntryKind, Root};

use crate::accounts::Accounts;
use crate::network::device::{FOLDER, PREFIX};

const SKEL: &str = "/etc/skel";
const MAX_FILE_BYTES: usize = 8 << 20;
const MAX_SKEL_ENTRIES: usize = 200;
/// Files that every plan may need.
const ALWAYS: [&str; 13] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/fstab",
    "/etc/environment",
    "/etc/machine-id",
    "/etc/coreos/update.conf",
    "/usr/share/coreos/update.conf",
    "/etc/sudoers.d/90-cloud-init-users",
    crate::plan_instance::UNNAMED,
];

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

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its kind, mode and owner.
    pub entry: Entry,
    /// The bytes of a file.
    pub content: Option<Vec<u8>>,
    /// Where a link leads.
    pub target: Option<String>,
}

/// The machine before the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Every path that was looked at; `None`: there is nothing.
    pub seen: BTreeMap<String, Option<Seen>>,
    /// Our files of networkd that are there, with their paths.
    pub network_files: Vec<String>,
    /// What a new home gets.
    pub skel: Vec<SkelEntry>,
    /// The name the kernel has now; `None` when the plan is not for the running machine.
    pub kernel_hostname: Option<String>,
    /// Days since 1970.
    pub today: i64,
    /// Random letters and digits, for salts and passwords.
    pub random: String,
}

impl Facts {
    /// What is at a path, if it was looked at.
    pub(crate) fn at(&self, path: &str) -> Option<&Seen> {
        self.seen.get(path).and_then(Option::as_ref)
    }

    /// The text of a file; empty when there is none.
    pub(crate) fn text(&self, path: &str) -> String {
        let bytes = self.at(path).and_then(|seen| seen.content.as_deref()).unwrap_or_default();
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Users and groups.
    pub(crate) fn accounts(&self) -> Accounts {
        let [passwd, group, shadow, gshadow] =
            ["passwd", "group", "shadow", "gshadow"].map(|name| self.text(&format!("/etc/{name}")));
        Accounts::parse(&passwd, &group, &shadow, &gshadow)
    }

    /// Random text of one purpose; the same purpose gives the same text.
    pub(crate) fn random(&self, purpose: usize, length: usize) -> String {
        let letters: Vec<char> = self.random.chars().collect();
        if letters.is_empty() {
            return "x".repeat(length);
        }
        letters.iter().cycle().skip(purpose.wrapping_mul(length) % letters.len()).take(length).collect()
    }
}

/// Looks at what every plan may need.
pub(crate) fn gather(root: &Root) -> anyhow::Result<Facts> {
    let mut facts = Facts {
        skel: skel(root)?,
        // A clock before 1970 is no reason to fail; the day is only shown to `chage`.
        today: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as i64 / 86_400),
        random: random()?,
        ..Facts::default()
    };
    let names = root.list(FOLDER)?.into_iter().filter(|name| name.starts_with(PREFIX));
    facts.network_files = names.map(|name| format!("{FOLDER}/{name}")).collect();
    look(root, ALWAYS.iter().map(ToString::to_string), &mut facts);
    look(root, facts.network_files.clone().into_iter(), &mut facts);
    if root.is_machine() {
        facts.kernel_hostname = Some(nix::unistd::gethostname()?.to_string_lossy().into_owned());
    }
    Ok(facts)
}

/// Looks at more paths; whether there was a new one.
pub(crate) fn look(root: &Root, paths: impl Iterator<Item = String>, facts: &mut Facts) -> bool {
    let mut found_new = false;
    for path in paths {
        if facts.seen.contains_key(&path) {
            continue;
        }
        found_new = true;
        // A file below a file, in a loop of links, or too large to compare is as good as none; applying says more.
        let entry = root.entry(&path).ok().flatten();
        let seen = match entry {
            None => None,
            Some(entry) => {
                let content = match entry.kind {
                    EntryKind::File => root.read(&path, MAX_FILE_BYTES).ok().flatten(),
                    EntryKind::Folder | EntryKind::Link | EntryKind::Other => None,
                };
                let target = match entry.kind {
                    EntryKind::Link => root.link(&path).ok().flatten(),
                    EntryKind::Folder | EntryKind::File | EntryKind::Other => None,
                };
                Some(Seen { entry, content, target })
            }
        };
        facts.seen.insert(path, seen);
    }
    found_new
}

/// Letters and digits of crypt, from the kernel.
fn random() -> anyhow::Result<String> {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut bytes = [0u8; 1024];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 63))).map(|byte| char::from(*byte)).collect())
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
