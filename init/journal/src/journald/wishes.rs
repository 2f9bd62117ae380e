//! What a unit wants of its messages: PID 1 leaves it below /run/systemd/units, as links whose target is the value.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// How long what was read counts.
const FRESH_US: u64 = 1_000_000;
/// Units that are remembered.
const UNITS_MAX: usize = 1024;

/// The wishes of a unit; `None`: what the daemon usually does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Less important messages are dropped.
    pub level_max: Option<u8>,
    /// The time in which messages are counted, in microseconds.
    pub window_us: Option<u64>,
    /// So many may come in that time.
    pub burst: Option<u32>,
}

/// The wishes of all units.
#[derive(Debug)]
pub struct AllWishes {
    folder: PathBuf,
    known: BTreeMap<String, (u64, Wishes)>,
}

impl AllWishes {
    /// Reads wishes from this folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), known: BTreeMap::new() }
    }

    /// What a unit wants, at a monotonic time.
    pub fn of(&mut self, unit: &str, now_us: u64) -> Wishes {
        if unit.is_empty() || unit.contains('/') {
            return Wishes::default();
        }
        if let Some((read_us, wishes)) = self.known.get(unit)
            && now_us.saturating_sub(*read_us) < FRESH_US
        {
            return *wishes;
        }
        if self.known.len() >= UNITS_MAX {
            self.known.clear();
        }
        let wishes = Wishes {
            level_max: self.value("log-level-max", unit).filter(|level| *level <= 7),
            window_us: self.value("log-rate-limit-interval", unit),
            burst: self.value("log-rate-limit-burst", unit),
        };
        self.known.insert(unit.to_owned(), (now_us, wishes));
        wishes
    }

    fn value<T: std::str::FromStr>(&self, name: &str, unit: &str) -> Option<T> {
        // Most units want nothing: there is no such link.
        let target = fs::read_link(self.folder.join(format!("{name}:{unit}"))).ok()?;
        target.to_str()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn wishes_are_read_again_after_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let mut wishes = AllWishes::new(directory.path());
        assert_eq!(wishes.of("a.service", 0), Wishes::default());
        symlink("3", directory.path().join("log-level-max:a.service")).unwrap();
        symlink("x", directory.path().join("log-rate-limit-burst:a.service")).unwrap();
        assert_eq!(wishes.of("a.service", FRESH_US - 1), Wishes::default());
        assert_eq!(wishes.of("a.service", FRESH_US), Wishes { level_max: Some(3), ..Wishes::default() });
        assert_eq!(wishes.of("../a", 0), Wishes::default());
    }
}
