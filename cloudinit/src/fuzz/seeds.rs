//! What the documents by chance are made of: those of this crate, the recorded cases beside the repository where they
//! are, and the names of all keys.

use std::path::Path;

use crate::keys_cloud::CONFIG;
use crate::language::{Key, Kind};

/// A case that is larger says nothing that a smaller one does not.
const MAX_SEED_BYTES: usize = 32 << 10;

pub(super) struct Seeds {
    pub(super) all: Vec<Vec<u8>>,
    pub(super) keys: Vec<String>,
}

impl Seeds {
    pub(super) fn read() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut all = Vec::new();
        for folder in ["tests/seeds", "tests/network", "../../shared/data/cloud-config"] {
            collect(&own.join(folder), &mut all);
        }
        assert!(all.len() >= 20, "there are only {} seeds", all.len());
        let mut keys = Vec::new();
        names(CONFIG, &mut keys, 0);
        Self { all, keys }
    }
}

/// All small files below a folder, by name.
fn collect(folder: &Path, all: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, all);
        } else if !path.extension().is_some_and(|suffix| suffix == "txt" || suffix == "md" || suffix == "py") {
            let bytes = std::fs::read(&path).unwrap();
            all.extend((bytes.len() <= MAX_SEED_BYTES).then_some(bytes));
        }
    }
}

fn names(keys: &[Key], all: &mut Vec<String>, level: usize) {
    for key in keys {
        all.push(key.name.to_string());
        kind_names(&key.kind, all, level);
    }
}

fn kind_names(kind: &Kind, all: &mut Vec<String>, level: usize) {
    match kind {
        Kind::Map(keys, _) if level < 4 => names(keys, all, level + 1),
        Kind::List(inner) | Kind::Table(inner) => kind_names(inner, all, level),
        Kind::OneOf(kinds, _) => kinds.iter().for_each(|kind| kind_names(kind, all, level)),
        _ => {}
    }
}
