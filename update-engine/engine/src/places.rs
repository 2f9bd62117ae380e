//! Where the engine finds its files: all of them below one root, which is another folder in tests.

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
    pub fn configuration(&self) -> Vec<(&'static str, PathBuf)> {
        config::FILES.map(|name| (name, self.path(name))).to_vec()
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
