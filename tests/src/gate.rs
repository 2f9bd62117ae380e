//! At most a few guests at a time, over all test processes of this machine: each holds the lock of one file.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::Context;

/// The right to run a guest; given back on drop.
#[derive(Debug)]
pub struct Permit {
    _file: File,
}

/// Waits for the right to run a guest. `FERRITE_GUESTS` says how many run at a time (3).
pub fn enter() -> anyhow::Result<Permit> {
    let guests: u32 = std::env::var("FERRITE_GUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(3).max(1);
    let folder = lock_folder()?;
    let mut files = Vec::new();
    for number in 0..guests {
        let path = folder.join(format!("guest-{number}"));
        files.push(File::create(&path).with_context(|| format!("opening lock '{}'", path.display()))?);
    }
    if let Some(free) = files.iter().position(|file| file.try_lock().is_ok()) {
        return Ok(Permit { _file: files.swap_remove(free) });
    }
    // All are busy: queue at one of them, threads of one process at different ones.
    let mut hasher = DefaultHasher::new();
    (std::process::id(), std::thread::current().id()).hash(&mut hasher);
    let chosen = files.swap_remove(hasher.finish() as usize % files.len());
    chosen.lock().context("waiting for another test to end")?;
    Ok(Permit { _file: chosen })
}

/// Runs `work` while no other test process runs a work of the same name.
pub fn alone<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let path = lock_folder()?.join(name);
    let file = File::create(&path).with_context(|| format!("opening lock '{}'", path.display()))?;
    file.lock().with_context(|| format!("waiting for lock '{}'", path.display()))?;
    work()
}

fn lock_folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::temp_dir().join("ferrite-test-locks");
    fs::create_dir_all(&folder).with_context(|| format!("making '{}'", folder.display()))?;
    Ok(folder)
}
