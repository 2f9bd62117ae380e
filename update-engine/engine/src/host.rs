//! What the machine runs and whom it trusts: gathered from files when the engine starts. Acts: reads only.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ferrite_layout::durable::replace_file;
use ferrite_layout::snapshot::Snapshot;
use ferrite_layout::{BootFacts, Slot};
use ferrite_payload::limits::KEY_SET_BYTES_MAX;
use ferrite_payload::{Hash, KeySet};
use ferrite_unit::zone::Zone;

use crate::config::{self, Config, Fault};
use crate::machine::Machine;
use crate::places::Places;
use crate::store::Store;

/// Bytes of a zone file that are read.
const ZONE_BYTES_MAX: u64 = 64 * 1024;

/// The machine.
#[derive(Debug, Clone)]
pub struct Host {
    /// What early boot found out.
    pub facts: BootFacts,
    /// The slot that runs.
    pub running: Slot,
    /// Serial of the release that runs; 0 for an image that was built without one.
    pub serial: u64,
    /// When the image was made: no clock of ours is before that.
    pub built: u64,
    /// `/etc/machine-id`.
    pub id: String,
    /// Hash of the running root.
    pub root: Hash,
    /// Whom the image trusts.
    image_keys: Option<KeySet>,
    /// Where newer sets of the same row are kept.
    kept_keys: PathBuf,
}

/// Why there are no updates on this machine. It is shown as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// Nobody to trust.
    NoKeys,
    /// Nowhere to look.
    NoServer,
    /// Somebody switched them off.
    Disabled,
    /// Nothing to write to.
    NoSlots,
    /// What is remembered would be forgotten.
    NoState,
}

impl Off {
    /// For a person.
    pub fn text(self) -> &'static str {
        match self {
            Off::NoKeys => "no keys: updates are off (the image was built without --keys)",
            Off::NoServer => "no SERVER in update.conf: updates are off, files can be installed",
            Off::Disabled => "SERVER=disabled in update.conf: updates are off, files can be installed",
            Off::NoSlots => "this machine runs from no slot (network boot): updates are off",
            Off::NoState => "the state partition is in memory only: updates are off",
        }
    }
}

impl Host {
    /// Gathers it. `None`: the machine has no slots.
    pub fn gather(places: &Places) -> anyhow::Result<Option<Host>> {
        let facts = places.boot().read_facts()?;
        let Some(running) = facts.slot else { return Ok(None) };
        let release = fs::read_to_string(places.os_release())
            .with_context(|| format!("reading '{}'", places.os_release().display()))?;
        let number = |key: &str| value(&release, key).and_then(|text| text.parse().ok()).unwrap_or(0);
        let id = fs::read_to_string(places.path("/etc/machine-id")).context("reading the machine id")?;
        let root = Hash::parse(&facts.root_hash).context("early boot told no root hash")?;
        let (image_keys, name) = image_keys(&places.image_keys())?;
        Ok(Some(Host {
            running,
            serial: number("FERRITE_SERIAL"),
            built: number("FERRITE_BUILT"),
            id: id.trim().to_string(),
            root,
            image_keys,
            kept_keys: places.state(&format!("keys-{name}.json")),
            facts,
        }))
    }

    /// The newest key set that is trusted: the image's, or one that was learned from it.
    pub fn keys(&self) -> Option<KeySet> {
        let image = self.image_keys.clone()?;
        let kept = read_limited(&self.kept_keys, KEY_SET_BYTES_MAX).ok().and_then(|bytes| {
            // A damaged one is learned again.
            KeySet::parse_trusted(&bytes).ok()
        });
        Some(kept.filter(|kept| kept.number() > image.number() && kept.product() == image.product()).unwrap_or(image))
    }

    /// Keeps the newest of the sets that were learned.
    pub fn keep_keys(&self, new_sets: &[Vec<u8>]) -> anyhow::Result<()> {
        match new_sets.last() {
            Some(bytes) => Ok(replace_file(&self.kept_keys, bytes, 0o644)?),
            None => Ok(()),
        }
    }

    /// The machine as decisions see it.
    pub fn machine(&self, product: &str, store: &Store) -> Machine {
        let blocked = store.blocked_serials(self.now(store));
        Machine {
            product: product.to_string(),
            board: self.facts.board.clone(),
            id: self.id.clone(),
            running: self.running,
            serial: self.serial,
            root: self.root,
            floor: store.floor,
            blocked,
        }
    }

    /// The time: never before something that was signed or built.
    pub fn now(&self, store: &Store) -> u64 {
        clock().max(self.built).max(store.latest_issue())
    }
}

/// Seconds since 1970, as the clock has them.
pub fn clock() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The same where the kernel knows that somebody keeps its clock right.
pub fn right_clock() -> Option<u64> {
    ferrite_sys::clock::is_synchronized().then(clock)
}

/// Reads the configuration.
pub fn configuration(places: &Places) -> (Config, Vec<Fault>) {
    let mut texts = Vec::new();
    let mut unreadable = Vec::new();
    for (name, path) in places.configuration() {
        match read_limited(&path, config::FILE_BYTES_MAX) {
            Ok(bytes) => texts.push((name, String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => unreadable.push(Fault { place: name.to_string(), text: format!("{error}, ignoring it") }),
        }
    }
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (config, mut faults) = config::parse(&files);
    faults.extend(unreadable);
    (config, faults)
}

/// The zone of the machine, UTC without one.
pub fn zone(places: &Places) -> Zone {
    let bytes = read_limited(&places.path("/etc/localtime"), ZONE_BYTES_MAX).unwrap_or_default();
    Zone::from_file("local", &bytes).unwrap_or_else(Zone::utc)
}

/// The flags of the slots as they were written last.
pub fn snapshot(places: &Places) -> Snapshot {
    // Early boot writes it on every machine with slots; one without has nothing to decide.
    places.boot().read_snapshot().unwrap_or_default()
}

/// The newest set in the folder, and the start of its sum.
fn image_keys(folder: &Path) -> anyhow::Result<(Option<KeySet>, String)> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, String::new())),
        entries => entries.with_context(|| format!("reading '{}'", folder.display()))?,
    };
    let mut newest: Option<(KeySet, Hash)> = None;
    for entry in entries {
        let path = entry.with_context(|| format!("reading '{}'", folder.display()))?.path();
        let reading = || format!("reading key set '{}'", path.display());
        let bytes = read_limited(&path, KEY_SET_BYTES_MAX).with_context(reading)?;
        let set = KeySet::parse_trusted(&bytes).with_context(reading)?;
        if newest.as_ref().is_some_and(|(other, _)| other.product() != set.product()) {
            bail!("'{}' holds keys of two products", folder.display());
        }
        if newest.as_ref().is_none_or(|(other, _)| other.number() < set.number()) {
            newest = Some((set, Hash::of(&bytes)));
        }
    }
    let name = newest.as_ref().map(|(_, sum)| sum.to_string().chars().take(16).collect()).unwrap_or_default();
    Ok((newest.map(|(set, _)| set), name))
}

fn read_limited(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
}
