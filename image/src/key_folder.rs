//! A folder with the key sets of a product and those secret keys that are at hand. Secret keys of releases and of the
//! root are meant to lie elsewhere; whatever `*.key` files are in the folder are used.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_payload::key_set::{self, KeySet, Role};
use ferrite_payload::{PublicKey, SecretKey};

/// Characters of a key's name in file names and tables.
pub const SHORT: usize = 12;

/// What the folder holds.
pub struct KeyFolder {
    folder: PathBuf,
    /// The sets' files, by number, each checked against the one before.
    pub sets: Vec<(u64, Vec<u8>)>,
    /// The newest set.
    pub current: KeySet,
    secrets: BTreeMap<String, SecretKey>,
}

/// How many keys a role has, and how many of them it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Needed.
    pub threshold: usize,
    /// There.
    pub keys: usize,
}

impl std::str::FromStr for Quorum {
    type Err = String;

    fn from_str(text: &str) -> Result<Quorum, String> {
        let wrong = || format!("'{text}' is not like 2/3: how many keys have to sign, of how many");
        let (threshold, keys) = text.split_once('/').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let quorum = Quorum { threshold: number(threshold)?, keys: number(keys)? };
        if (1..=quorum.keys).contains(&quorum.threshold) { Ok(quorum) } else { Err(wrong()) }
    }
}

/// The first characters of a key's name.
pub fn short(key: &PublicKey) -> String {
    key.id().to_string().chars().take(SHORT).collect()
}

/// A new secret key.
pub fn generate() -> anyhow::Result<SecretKey> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("asking the kernel for random bytes: {error}"))?;
    Ok(SecretKey::from_seed(&seed))
}

impl KeyFolder {
    /// Reads the folder.
    pub fn open(folder: &Path) -> anyhow::Result<KeyFolder> {
        let (mut files, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        let entries = fs::read_dir(folder).with_context(|| format!("reading key folder '{}'", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let read = || format!("reading '{}'", path.display());
            if let Some(number) = set_number(&name) {
                files.insert(number, fs::read(&path).with_context(read)?);
            } else if name.ends_with(".key") {
                let text = fs::read_to_string(&path).with_context(read)?;
                let key = SecretKey::from_pem(&text).with_context(read)?;
                secrets.insert(key.public().to_string(), key);
            }
        }
        let sets: Vec<(u64, Vec<u8>)> = files.into_iter().collect();
        let current = walk(&sets).with_context(|| format!("reading the key sets in '{}'", folder.display()))?;
        Ok(KeyFolder { folder: folder.to_path_buf(), sets, current, secrets })
    }

    /// The secret keys of a role that are at hand.
    pub fn secrets(&self, role: &Role) -> Vec<&SecretKey> {
        role.keys().iter().filter_map(|key| self.secrets.get(&key.to_string())).collect()
    }

    /// As many secret keys as the role needs.
    pub fn quorum(&self, role: &Role) -> anyhow::Result<Vec<&SecretKey>> {
        let mut keys = self.secrets(role);
        if keys.len() < role.threshold() {
            bail!(
                "{} {} keys have to sign and '{}' holds the secret half of {}: put the missing .key files there",
                role.threshold(),
                role.name(),
                self.folder.display(),
                keys.len()
            );
        }
        keys.truncate(role.threshold());
        Ok(keys)
    }

    /// Whether the secret half of a key is here.
    pub fn has_secret(&self, key: &PublicKey) -> bool {
        self.secrets.contains_key(&key.to_string())
    }

    /// Adds a secret key that was made just now.
    pub fn add_secret(&mut self, role: &str, key: SecretKey) -> anyhow::Result<()> {
        write_secret(&self.folder, role, &key)?;
        self.secrets.insert(key.public().to_string(), key);
        Ok(())
    }

    /// Signs the set that follows, with the root keys of the current one and its own, and keeps it.
    pub fn add_set(&mut self, next: KeySet) -> anyhow::Result<PathBuf> {
        let mut keys = self.quorum(self.current.root())?;
        keys.extend(self.quorum(next.root())?);
        let text = next.seal(&keys)?;
        self.current.parse_next(text.as_bytes())?;
        let path = self.folder.join(key_set::file_name(next.number()));
        write_new(&path, text.as_bytes(), 0o644)?;
        self.sets.push((next.number(), text.into_bytes()));
        self.current = next;
        Ok(path)
    }
}

/// Makes a folder with new keys and the first set.
pub fn create(folder: &Path, product: &str, quorums: [Quorum; 3]) -> anyhow::Result<KeyFolder> {
    fs::create_dir_all(folder).with_context(|| format!("creating '{}'", folder.display()))?;
    if fs::read_dir(folder)?.next().is_some() {
        bail!("'{}' is not empty: new keys go into a new folder; `ferrite keys rotate` changes one", folder.display());
    }
    let mut roles = Vec::new();
    let mut secrets = Vec::new();
    for (name, quorum) in ["root", "release", "channel"].into_iter().zip(quorums) {
        let keys = (0..quorum.keys).map(|_| generate()).collect::<anyhow::Result<Vec<_>>>()?;
        roles.push(Role::new(name, quorum.threshold, keys.iter().map(SecretKey::public).collect())?);
        secrets.extend(keys.into_iter().map(|key| (name, key)));
    }
    let roles: [Role; 3] = roles.try_into().map_err(|_| anyhow::anyhow!("a key set has three roles"))?;
    let set = KeySet::new(product, 1, roles)?;
    let root: Vec<&SecretKey> = secrets.iter().filter(|(name, _)| *name == "root").map(|(_, key)| key).collect();
    let text = set.seal(&root)?;
    for (name, key) in &secrets {
        write_secret(folder, name, key)?;
    }
    write_new(&folder.join(key_set::file_name(1)), text.as_bytes(), 0o644)?;
    KeyFolder::open(folder)
}

/// Reads a row of sets: the first is trusted as it lies there.
pub fn walk(sets: &[(u64, Vec<u8>)]) -> anyhow::Result<KeySet> {
    let Some(((number, first), rest)) = sets.split_first() else {
        bail!("there is no root.N.json: `ferrite keys new` makes keys and a key set");
    };
    let mut current = KeySet::parse_trusted(first).with_context(|| key_set::file_name(*number))?;
    for (number, bytes) in rest {
        current = current.parse_next(bytes).with_context(|| key_set::file_name(*number))?;
    }
    Ok(current)
}

fn set_number(name: &str) -> Option<u64> {
    name.strip_prefix("root.")?.strip_suffix(".json")?.parse().ok()
}

fn write_secret(folder: &Path, role: &str, key: &SecretKey) -> anyhow::Result<()> {
    let path = folder.join(format!("{role}-{}.key", short(&key.public())));
    write_new(&path, key.to_pem()?.as_bytes(), 0o600)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("writing '{}'", path.display()))
}
