//! Where the engine finds its files: all of them below one root, which is another folder in tests.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config;
use crate::paths::Paths;

/// The socket of the engine.
pub const SOCKET_PATH: &str = "/run/ferrite/update-engine.sock";

/// The file system as the engine sees it.
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
}

impl Places {
    /// Everything below a folder; `/` on a machine.
    pub fn below(root: &Path) -> Places {
        Places { root: root.to_path_buf() }
    }

    /// A path.
    pub fn path(&self, absolute: &str) -> PathBuf {
        self.root.join(absolute.trim_start_matches('/'))
    }

    /// What early boot left.
    pub fn boot(&self) -> Paths {
        Paths {
            facts: self.path(ferrite_layout::facts::FACTS_PATH),
            snapshot: self.path(ferrite_layout::snapshot::SLOTS_PATH),
        }
    }

    /// The files of the configuration, with their names for messages.
    pub fn configuration(&self) -> Vec<(String, PathBuf)> {
        let mut names = config::FILES.map(str::to_string).to_vec();
        // Most machines have no drop-ins.
        let entries = fs::read_dir(self.path(config::FOLDER)).into_iter().flatten().flatten();
        let found = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut found: Vec<String> = found.filter(|name| name.ends_with(".conf") && !name.starts_with('.')).collect();
        found.sort();
        names.extend(found.into_iter().map(|name| format!("{}/{name}", config::FOLDER)));
        names.into_iter().map(|name| (name.clone(), self.path(&name))).collect()
    }

    /// What the image says of itself.
    pub fn os_release(&self) -> PathBuf {
        self.path("/usr/lib/os-release")
    }

    /// The key sets of the image.
    pub fn image_keys(&self) -> PathBuf {
        self.path("/usr/share/ferrite/update-keys")
    }

    /// Who signs for web servers.
    pub fn authorities(&self) -> PathBuf {
        self.path(ferrite_trust::AUTHORITIES)
    }

    /// A file of the engine on the state partition.
    pub fn state(&self, name: &str) -> PathBuf {
        self.path("/var/lib/update-engine").join(name)
    }

    /// The socket of the engine.
    pub fn socket(&self) -> PathBuf {
        self.path(SOCKET_PATH)
    }

    /// The socket of PID 1.
    pub fn init_socket(&self) -> PathBuf {
        self.path(ferrite_control::SOCKET_PATH)
    }
}
