//! Keeps what is slow to fetch or to make and changes seldom: package files, unpacked packages, the build's own tools,
//! and the results of stages, named by the hash of everything they were made from.
//!
//! Each build notes what it used. At its end it removes what the last builds did not use, so the cache stays small by
//! itself. Builds hold the cache together; who removes holds it alone, so nothing goes while another build needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use ferrite_layout::verity::hex;
use sha2::{Digest, Sha256};

/// The folders whose content is removed when nobody uses it.
const KINDS: [&str; 5] = ["debs", "unpacked", "tools", "kernels", "stages"];
/// The notes of builds: one file for each list of uses, dated by the last build that had it.
const BUILDS: &str = "builds";

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// What so many different builds used last stays.
    pub builds: usize,
    /// As long as it is no more than this, in bytes; what the last build used stays in any case.
    pub bytes: u64,
    /// What no build has noted stays for so long, as long as there is room.
    pub unused: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { builds: 8, bytes: 4 << 30, unused: Duration::from_secs(14 * 86_400) }
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// So many files and folders.
    pub removed: usize,
    /// Of so many bytes.
    pub bytes: u64,
    /// So many bytes are left.
    pub left: u64,
}

/// The cache as one build uses it.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    used: Mutex<BTreeSet<String>>,
    lock: File,
}

impl Cache {
    /// Opens a cache, which is made if it is not there. Waits while another build removes something.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating '{}'", folder.display()))?;
        let path = folder.join(".lock");
        let lock = File::create(&path).with_context(|| format!("creating '{}'", path.display()))?;
        lock.lock_shared().with_context(|| format!("locking '{}'", path.display()))?;
        Ok(Self { folder: folder.to_path_buf(), used: Mutex::default(), lock })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where something of a kind is, if it is there, or is to be put; notes the use.
    pub fn entry(&self, kind: &str, name: &str) -> PathBuf {
        if let Ok(mut used) = self.used.lock() {
            used.insert(format!("{kind}/{name}"));
        }
        self.folder.join(kind).join(name)
    }

    /// The result of a stage: out of the cache, or made now and kept.
    pub fn keep(&self, key: &Key, make: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
        let path = self.entry("stages", &key.file_name());
        if let Ok(bytes) = fs::read(&path) {
            return Ok(bytes);
        }
        let bytes = make()?;
        self.write(&path, &bytes)?;
        Ok(bytes)
    }

    /// Writes a file that appears whole or not at all.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).with_context(|| format!("creating '{}'", folder.display()))?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(bytes)?;
        temporary.persist(path).with_context(|| format!("keeping '{}'", path.display()))?;
        Ok(())
    }

    /// Ends a build: notes what it used and removes what the last builds did not. `None`: another build uses the cache,
    /// so nothing was removed.
    pub fn prune(self, limits: &Limits) -> anyhow::Result<Option<Pruned>> {
        let used = self.used.lock().map(|used| used.clone()).unwrap_or_default();
        let list: String = used.iter().map(|name| format!("{name}\n")).collect();
        let note = self.folder.join(BUILDS).join(hex(&Sha256::digest(&list)[..8]));
        self.write(&note, list.as_bytes())?;
        if self.lock.try_lock().is_err() {
            return Ok(None);
        }
        let entries = read_entries(&self.folder)?;
        let builds = read_builds(&self.folder)?;
        let plan = plan(&entries, &builds, limits, SystemTime::now());
        for name in &plan.entries {
            remove(&self.folder.join(name))?;
        }
        for build in &plan.builds {
            remove(&self.folder.join(BUILDS).join(build))?;
        }
        let size = |name: &String| entries.get(name).map_or(0, |entry| entry.bytes);
        let bytes = plan.entries.iter().map(size).sum();
        let all: u64 = entries.values().map(|entry| entry.bytes).sum();
        Ok(Some(Pruned { removed: plan.entries.len(), bytes, left: all - bytes }))
    }
}

/// Something in the cache.
#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    changed: SystemTime,
}

/// What a build used, and when that was noted last.
#[derive(Debug, Clone)]
struct Build {
    name: String,
    noted: SystemTime,
    used: BTreeSet<String>,
}

/// What is to be removed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    entries: Vec<String>,
    builds: Vec<String>,
}

/// Decides what is to be removed. `builds` begins with the newest.
fn plan(entries: &BTreeMap<String, Entry>, builds: &[Build], limits: &Limits, now: SystemTime) -> Plan {
    let size =
        |names: &BTreeSet<String>| names.iter().filter_map(|name| entries.get(name)).map(|e| e.bytes).sum::<u64>();
    let mut plan = Plan::default();
    let mut used = BTreeSet::new();
    for (place, build) in builds.iter().enumerate() {
        let together: BTreeSet<String> = used.union(&build.used).cloned().collect();
        let fits = place < limits.builds && size(&together) <= limits.bytes;
        if place == 0 || (plan.builds.is_empty() && fits) {
            used = together;
        } else {
            plan.builds.push(build.name.clone());
        }
    }
    let mut unused: Vec<(&String, &Entry)> = entries.iter().filter(|(name, _)| !used.contains(*name)).collect();
    unused.sort_by_key(|(_, entry)| entry.changed);
    let mut total: u64 = entries.values().map(|entry| entry.bytes).sum();
    for (name, entry) in unused {
        let age = now.duration_since(entry.changed).unwrap_or_default();
        if age > limits.unused || total > limits.bytes {
            total -= entry.bytes;
            plan.entries.push(name.clone());
        }
    }
    plan
}

fn read_entries(folder: &Path) -> anyhow::Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    for kind in KINDS {
        for item in list(&folder.join(kind))? {
            let path = item.path();
            let data = fs::symlink_metadata(&path).with_context(|| format!("looking at '{}'", path.display()))?;
            let entry = Entry { bytes: size_of(&path)?, changed: data.modified()? };
            entries.insert(format!("{kind}/{}", item.file_name().to_string_lossy()), entry);
        }
    }
    Ok(entries)
}

fn read_builds(folder: &Path) -> anyhow::Result<Vec<Build>> {
    let mut builds = Vec::new();
    for item in list(&folder.join(BUILDS))? {
        let text = fs::read_to_string(item.path()).with_context(|| format!("reading '{}'", item.path().display()))?;
        let used = text.lines().map(str::to_owned).collect();
        let name = item.file_name().to_string_lossy().into_owned();
        builds.push(Build { name, noted: item.metadata()?.modified()?, used });
    }
    builds.sort_by_key(|build| std::cmp::Reverse(build.noted));
    Ok(builds)
}

/// What is in a folder; nothing if it is not there.
fn list(folder: &Path) -> anyhow::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(items) => items.collect::<Result<_, _>>(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
    .with_context(|| format!("reading folder '{}'", folder.display()))
}

/// Bytes on the disk of a file, or of a folder with everything in it.
fn size_of(path: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let data = fs::symlink_metadata(path).with_context(|| format!("looking at '{}'", path.display()))?;
    let own = data.blocks() * 512;
    if !data.is_dir() {
        return Ok(own);
    }
    list(path)?.iter().try_fold(own, |sum, item| Ok(sum + size_of(&item.path())?))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("removing '{}' from the cache", path.display()))
}

/// Stands for all inputs of a stage.
pub struct Key {
    stage: &'static str,
    hasher: Sha256,
}

impl Key {
    /// A key for a stage.
    pub fn new(stage: &'static str) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(env!("CARGO_PKG_VERSION"));
        Self { stage, hasher }.text(stage)
    }

    /// Takes one more input in.
    #[must_use]
    pub fn text(mut self, input: &str) -> Self {
        // The length first: two inputs never read like two others.
        self.hasher.update((input.len() as u64).to_le_bytes());
        self.hasher.update(input);
        self
    }

    fn file_name(&self) -> String {
        let digest = self.hasher.clone().finalize();
        format!("{}-{}", self.stage, hex(&digest[..16]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_kept_result_is_not_made_again_and_other_inputs_are() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let key = |text| Key::new("stage").text(text);
        assert_eq!(cache.keep(&key("one"), || Ok(b"made".to_vec())).unwrap(), b"made");
        assert_eq!(cache.keep(&key("one"), || panic!("made twice")).unwrap(), b"made");
        assert_eq!(cache.keep(&key("two"), || Ok(b"new".to_vec())).unwrap(), b"new");
    }

    /// A build that uses these files and makes those that are not there; what is left afterwards.
    fn build(folder: &Path, uses: &[&str], limits: &Limits) -> (Option<Pruned>, Vec<String>) {
        let cache = Cache::open(folder).unwrap();
        for name in uses {
            let path = cache.entry("debs", name);
            if !path.exists() {
                cache.write(&path, &[1; 8192]).unwrap();
            }
        }
        let pruned = cache.prune(limits).unwrap();
        let names = read_entries(folder).unwrap().into_keys();
        (pruned, names.map(|name| name.trim_start_matches("debs/").to_owned()).collect())
    }

    #[test]
    fn what_the_last_builds_used_stays_and_the_rest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { builds: 2, bytes: 1 << 20, unused: Duration::ZERO };
        let folder = folder.path();
        assert_eq!(build(folder, &["a", "b"], &limits).1, ["a", "b"]);
        assert_eq!(build(folder, &["b", "c"], &limits).1, ["a", "b", "c"]);
        // The same build again is not a further one.
        assert_eq!(build(folder, &["b", "c"], &limits).1, ["a", "b", "c"]);
        let (pruned, left) = build(folder, &["d"], &limits);
        assert_eq!(left, ["b", "c", "d"]);
        assert_eq!(pruned, Some(Pruned { removed: 1, bytes: 8192, left: 3 * 8192 }));
    }

    #[test]
    fn the_cache_does_not_outgrow_its_bound_and_keeps_what_the_last_build_used() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { builds: 8, bytes: 5 * 8192, unused: DAY };
        let folder = folder.path();
        assert_eq!(build(folder, &["a", "b"], &limits).1, ["a", "b"]);
        assert_eq!(build(folder, &["c", "d"], &limits).1, ["a", "b", "c", "d"]);
        // What the second build used fits, what the first one used does not: one file of it has to go.
        assert_eq!(build(folder, &["e", "f"], &limits).1.len(), 5);
        let large = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(build(folder, &large, &limits).1, large);
    }

    #[test]
    fn what_no_build_has_noted_stays_for_a_while() {
        let now = SystemTime::now();
        let entry = |days: u32| Entry { bytes: 10, changed: now - DAY * days };
        let entries = BTreeMap::from([("debs/new".to_owned(), entry(1)), ("debs/old".to_owned(), entry(3))]);
        let limits = Limits { builds: 1, bytes: 100, unused: DAY * 2 };
        assert_eq!(plan(&entries, &[], &limits, now).entries, ["debs/old"]);
        let narrow = Limits { bytes: 9, ..limits };
        assert_eq!(plan(&entries, &[], &narrow, now).entries, ["debs/old", "debs/new"]);
    }

    #[test]
    fn nothing_goes_while_another_build_uses_the_cache() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { builds: 1, bytes: 0, unused: Duration::ZERO };
        build(folder.path(), &["a"], &limits);
        let other = Cache::open(folder.path()).unwrap();
        assert_eq!(build(folder.path(), &["b"], &limits), (None, vec!["a".to_owned(), "b".to_owned()]));
        drop(other);
        assert_eq!(build(folder.path(), &["b"], &limits).1, ["b"]);
    }

    #[test]
    fn inputs_do_not_run_into_each_other() {
        assert_ne!(Key::new("s").text("ab").text("c").file_name(), Key::new("s").text("a").text("bc").file_name());
    }
}
