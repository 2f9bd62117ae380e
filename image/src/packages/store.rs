//! The cache of package files by SHA-256: fetches what is missing and opens what is there.
//!
//! Everything in the cache is named by the hash of the package file and made under a temporary name first, so a build
//! that was killed leaves nothing half-made, and a build whose packages are all here needs no network.

use super::lock::{Archive, Locked};
use super::mirror::{HostTexts, Mirror, MirrorChoice, MirrorError, derive};
use super::unpack;
use crate::cache::Cache;
use crate::tree::{Origin, Tree};
use anyhow::{Context, Result, bail};
use ferrite_layout::verity::hex;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Downloads at the same time.
const PARALLEL: usize = 4;

/// apt's downloader: it uses the host's proxies.
const DOWNLOADER: &str = "/usr/lib/apt/apt-helper";

/// Something worth showing happened.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Package files have to be fetched.
    Missing {
        /// How many.
        packages: usize,
        /// Their sizes together.
        bytes: u64,
    },
    /// A package file is in the cache now.
    Fetched {
        /// The package.
        package: &'a Locked,
    },
    /// A package file is being unpacked for the first time.
    Unpacking {
        /// The package.
        package: &'a Locked,
    },
}

/// Receives progress; called from several threads.
pub type OnProgress<'a> = &'a (dyn Fn(Progress<'_>) + Sync);

/// The package cache.
pub struct Store<'a> {
    cache: &'a Cache,
    choice: MirrorChoice,
    progress: OnProgress<'a>,
}

impl<'a> Store<'a> {
    /// A store in a cache.
    pub fn new(cache: &'a Cache, choice: MirrorChoice, progress: OnProgress<'a>) -> Self {
        Self { cache, choice, progress }
    }

    /// The cache.
    pub fn cache(&self) -> &Cache {
        self.cache
    }

    /// The archive to fetch from. Read from the host only when it is needed: an offline build needs none.
    pub fn mirror(&self) -> Result<Mirror, MirrorError> {
        derive(&self.choice, &host_texts())
    }

    /// Where a package file is, once it was fetched.
    pub fn deb(&self, package: &Locked) -> PathBuf {
        self.cache.entry("debs", &format!("{}.deb", package.sha256))
    }

    fn unpacked(&self, package: &Locked) -> PathBuf {
        self.cache.entry("unpacked", &format!("{}.tar", package.sha256))
    }

    /// Makes sure that all these package files are in the cache.
    pub fn fetch(&self, packages: &[Locked]) -> Result<()> {
        let missing: Vec<&Locked> =
            packages.iter().filter(|p| !self.unpacked(p).is_file() & !self.deb(p).is_file()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mirror = self.mirror()?;
        let bytes = missing.iter().map(|package| package.size_bytes).sum();
        (self.progress)(Progress::Missing { packages: missing.len(), bytes });
        let folder = self.cache.folder().join("debs");
        fs::create_dir_all(&folder).with_context(|| format!("making '{}'", folder.display()))?;
        let next = AtomicUsize::new(0);
        let failure = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..PARALLEL {
                scope.spawn(|| {
                    while let Some(package) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.fetch_one(package, &mirror) {
                            Ok(()) => (self.progress)(Progress::Fetched { package }),
                            Err(error) => {
                                next.store(missing.len(), Ordering::Relaxed);
                                // A poisoned lock means that another thread panicked, which ends the scope anyway.
                                failure.lock().map(|mut first| first.get_or_insert(error).to_string()).ok();
                            }
                        }
                    }
                });
            }
        });
        match failure.into_inner() {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(_) => bail!("a download thread panicked"),
        }
    }

    fn fetch_one(&self, package: &Locked, mirror: &Mirror) -> Result<()> {
        let base = match package.archive {
            Archive::Main => &mirror.main,
            Archive::Security => &mirror.security,
        };
        // '+' means a blank to some proxies.
        let url = format!("{base}/{}", package.path).replace('+', "%2b");
        let target = self.deb(package);
        let part = target.with_extension(format!("part{}", std::process::id()));
        let output = Command::new(DOWNLOADER)
            .args(["-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3", "download-file", &url])
            .arg(&part)
            .arg(format!("SHA256:{}", package.sha256))
            .env("LC_ALL", "C")
            .output()
            .with_context(|| format!("starting {DOWNLOADER} (package apt)"))?;
        if !output.status.success() {
            // Neither file need be there; what is wrong is said by the downloader.
            for left in [part.clone(), part.with_added_extension("FAILED")] {
                let _ = fs::remove_file(left);
            }
            let text = [output.stdout, output.stderr].concat();
            bail!("{}", download_fault(package, &url, &String::from_utf8_lossy(&text)));
        }
        let found = sha256_of(&part)?;
        if found != package.sha256 {
            fs::remove_file(&part).ok();
            bail!("{} {} has SHA-256 {found}, the lock file says {}", package.name, package.version, package.sha256);
        }
        fs::rename(&part, &target).with_context(|| format!("keeping '{}'", target.display()))
    }

    /// The files of a package, which was fetched before.
    pub fn open(&self, package: &Locked) -> Result<Tree> {
        let tar = self.unpacked(package);
        if !tar.is_file() {
            (self.progress)(Progress::Unpacking { package });
            self.unpack(package, &tar).with_context(|| format!("unpacking {} {}", package.name, package.version))?;
        }
        let origin: Origin = package.name.as_str().into();
        unpack::index(&tar, &origin).with_context(|| format!("reading '{}'", tar.display()))
    }

    fn unpack(&self, package: &Locked, tar: &Path) -> Result<()> {
        let deb = self.deb(package);
        if sha256_of(&deb)? != package.sha256 {
            fs::remove_file(&deb).with_context(|| format!("removing '{}', which was damaged", deb.display()))?;
            self.fetch(std::slice::from_ref(package))
                .with_context(|| format!("'{}' was damaged; fetching it again", deb.display()))?;
        }
        let folder = self.cache.folder().join("unpacked");
        fs::create_dir_all(&folder).with_context(|| format!("making '{}'", folder.display()))?;
        let temporary = tempfile::NamedTempFile::new_in(&folder)?;
        unpack::unpack(&deb, temporary.as_file())?;
        temporary.persist(tar)?;
        Ok(())
    }
}

/// What is wrong, out of lines such as `E: Failed to fetch URL  404  Not Found`.
fn download_fault(package: &Locked, url: &str, output: &str) -> String {
    let Locked { name, version, .. } = package;
    let line = output.lines().find_map(|line| line.strip_prefix("E: "));
    let reason = line.unwrap_or("no message");
    let reason = reason.strip_prefix("Failed to fetch ").map_or(reason, |rest| rest.strip_prefix(url).unwrap_or(rest));
    if reason.trim_start().starts_with("404") {
        return format!(
            "the mirror no longer has {name} {version} ('{url}'): run `ferrite lock` to renew the lock file"
        );
    }
    format!("fetching {name} from '{url}': {}", reason.trim())
}

/// SHA-256 of a file in lower case hex.
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("opening '{}'", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).with_context(|| format!("reading '{}'", path.display()))?;
        if count == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// What the host's files say about Debian archives; a file that cannot be read says nothing.
fn host_texts() -> HostTexts {
    let mut texts = HostTexts::default();
    let read = |path: &Path| fs::read_to_string(path).ok();
    texts.one_line.extend(read(Path::new("/etc/apt/sources.list")));
    let entries = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => texts.one_line.extend(read(&path)),
            Some("sources") => texts.deb822.extend(read(&path)),
            _ => {}
        }
    }
    let defaults = ["/usr/sbin/debootstrap", "/usr/share/python-apt/templates/Debian.info"];
    texts.defaults.extend(defaults.iter().filter_map(|path| read(Path::new(path))));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Locked {
        Locked {
            name: "etcd-server".into(),
            version: "3.5.16-4".into(),
            arch: "amd64".into(),
            archive: Archive::Main,
            path: "pool/main/e/etcd/etcd-server_3.5.16-4_amd64.deb".into(),
            size_bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        }
    }

    #[test]
    fn a_version_that_is_gone_says_how_to_renew_the_lock() {
        let url = "http://m.example/x.deb";
        let output = "Err:1 x\nE: Failed to fetch http://m.example/x.deb  404  Not Found [IP: 192.0.2.1 80]\nE: Failed";
        let fault = download_fault(&package(), url, output);
        assert!(fault.contains("etcd-server 3.5.16-4") && fault.contains("ferrite lock"), "{fault}");
        let fault =
            download_fault(&package(), url, "E: Failed to fetch http://m.example/x.deb  Could not resolve 'm'\n");
        assert!(fault.ends_with("/x.deb': Could not resolve 'm'"), "{fault}");
    }

    #[test]
    fn a_damaged_package_file_is_never_used() {
        let dir = tempfile::tempdir().unwrap();
        let choice = MirrorChoice { main: Some("no address".into()), security: None };
        let cache = Cache::open(dir.path()).unwrap();
        let store = Store::new(&cache, choice, &|_| {});
        fs::create_dir_all(dir.path().join("debs")).unwrap();
        fs::write(store.deb(&package()), "abd").unwrap();
        let error = format!("{:#}", store.open(&package()).unwrap_err());
        assert!(error.contains("was damaged; fetching it again: 'no address'"), "{error}");
        assert!(!store.deb(&package()).exists());
    }

    #[test]
    fn a_cached_package_needs_no_mirror() {
        let dir = tempfile::tempdir().unwrap();
        let choice = MirrorChoice { main: Some("no address".into()), security: None };
        let cache = Cache::open(dir.path()).unwrap();
        let store = Store::new(&cache, choice, &|_| {});
        assert!(store.fetch(&[package()]).is_err());
        fs::create_dir_all(dir.path().join("debs")).unwrap();
        fs::write(store.deb(&package()), "abc").unwrap();
        store.fetch(&[package()]).unwrap();
    }
}
