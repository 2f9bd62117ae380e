//! Keeps what is slow to make and changes seldom, named by the hash of everything it was made from.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

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
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{hex}", self.stage)
    }
}

/// The result of a stage: out of the cache, or made now and kept.
pub fn keep(folder: &Path, key: &Key, make: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Vec<u8>> {
    let folder = folder.join("stages");
    let path = folder.join(key.file_name());
    if let Ok(bytes) = fs::read(&path) {
        return Ok(bytes);
    }
    let bytes = make()?;
    fs::create_dir_all(&folder).with_context(|| format!("creating '{}'", folder.display()))?;
    let mut temporary = tempfile::NamedTempFile::new_in(&folder)?;
    temporary.write_all(&bytes)?;
    temporary.persist(&path).with_context(|| format!("keeping '{}'", path.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_result_is_not_made_again_and_other_inputs_are() {
        let folder = tempfile::tempdir().unwrap();
        let key = |text| Key::new("stage").text(text);
        assert_eq!(keep(folder.path(), &key("one"), || Ok(b"made".to_vec())).unwrap(), b"made");
        assert_eq!(keep(folder.path(), &key("one"), || panic!("made twice")).unwrap(), b"made");
        assert_eq!(keep(folder.path(), &key("two"), || Ok(b"new".to_vec())).unwrap(), b"new");
    }

    #[test]
    fn inputs_do_not_run_into_each_other() {
        assert_ne!(Key::new("s").text("ab").text("c").file_name(), Key::new("s").text("a").text("bc").file_name());
    }
}
