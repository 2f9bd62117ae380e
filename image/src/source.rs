//! Finds what an image is built from: the source tree, the folder of built programs, the cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The parts of a source tree that a build reads.
#[derive(Clone, Debug)]
pub struct SourceTree {
    root: PathBuf,
}

impl SourceTree {
    /// The tree that was named, or the one around the current folder, or the one around this program.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(root) = named {
            if !is_tree(root) {
                bail!("'{}' is not Ferrite's source tree: it has no boards and image/rootfs", root.display());
            }
            return Ok(Self { root: root.to_path_buf() });
        }
        let starts = [std::env::current_dir(), std::env::current_exe()];
        let above = starts.iter().flatten().flat_map(|start| start.ancestors());
        let found = above.into_iter().find(|folder| is_tree(folder));
        let root = found.context("no source tree of Ferrite around this folder: name it with --tree DIR")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// The folder of board files.
    pub fn boards(&self) -> PathBuf {
        self.root.join("boards")
    }

    /// The lock file of packages.
    pub fn lock(&self) -> PathBuf {
        self.boards().join("packages.lock")
    }

    /// The lock file beside a board file that is named by its path, whether or not it is there; a board of the tree
    /// has none of its own.
    pub fn lock_beside(board: &str) -> Option<PathBuf> {
        board.ends_with(".yaml").then(|| Path::new(board).with_extension("lock"))
    }

    /// The files that are added to the packages'.
    pub fn rootfs(&self) -> PathBuf {
        self.root.join("image/rootfs")
    }
}

/// The folder of built programs: the one that was named, or the one this program lies in.
pub fn programs(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    match named {
        Some(folder) => Ok(folder.to_path_buf()),
        None => {
            let own = std::env::current_exe().context("finding this program")?;
            Ok(own.parent().unwrap_or(Path::new("/")).to_path_buf())
        }
    }
}

/// The cache of package files and slow steps: $XDG_CACHE_HOME/ferrite, or ~/.cache/ferrite.
pub fn cache() -> anyhow::Result<PathBuf> {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let home =
        || std::env::var_os("HOME").filter(|folder| !folder.is_empty()).map(|home| Path::new(&home).join(".cache"));
    let folder = named.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set: where is the cache?")?;
    Ok(folder.join("ferrite"))
}

fn is_tree(folder: &Path) -> bool {
    folder.join("boards").is_dir() && folder.join("image/rootfs").is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_no_source_tree_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = SourceTree::find(Some(folder.path())).unwrap_err();
        assert!(error.to_string().ends_with("is not Ferrite's source tree: it has no boards and image/rootfs"));
        std::fs::create_dir_all(folder.path().join("boards")).unwrap();
        std::fs::create_dir_all(folder.path().join("image/rootfs")).unwrap();
        let tree = SourceTree::find(Some(folder.path())).unwrap();
        assert_eq!(tree.lock(), folder.path().join("boards/packages.lock"));
        assert_eq!(SourceTree::lock_beside("qemu"), None);
        assert_eq!(SourceTree::lock_beside("a/b.yaml"), Some("a/b.lock".into()));
    }
}
