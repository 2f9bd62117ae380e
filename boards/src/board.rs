//! The typed board: what the image builder may rely on after a board file was read.

use crate::Glob;
use crate::merge::{self, BoardError};
use std::path::{Path, PathBuf};

/// A kind of machine that images are built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// Short name: lower case letters, digits and dashes.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Debian package of the kernel; a metapackage such as `linux-image-amd64` follows the newest one.
    pub kernel: String,
    /// Packages whose files enter the image.
    pub packages: Vec<Package>,
    /// Libraries that programs open by name at run time (`dlopen`), as path patterns.
    pub libraries: Vec<Glob>,
    /// Symbolic links that the packages' maintainer scripts would have made.
    pub links: Vec<Link>,
    /// Folders whose files enter the image last, over those of packages and of the tree.
    pub files: Vec<PathBuf>,
    /// Words added to the kernel's command line.
    pub command_line: Vec<String>,
    /// Kernel modules that the initrd carries (with all they depend on), by name.
    pub initrd_modules: Vec<String>,
    /// Kernel modules loaded at boot whether or not a device asks for them.
    pub load_modules: Vec<String>,
    /// Kernel modules left out, as patterns of paths below `/usr/lib/modules/VERSION`.
    pub exclude_modules: Vec<Glob>,
    /// Accounts, on top of those that packages declare in sysusers.d.
    pub users: Vec<User>,
    /// Groups, on top of the users' own and of those in sysusers.d.
    pub groups: Vec<Group>,
    /// Sizes of partitions where the board differs from the layout's.
    pub disk: DiskSizes,
    /// Compression of the root file system.
    pub root_compression: Compression,
}

/// A package of the board with the rule which of its files enter the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Debian package name.
    pub name: String,
    /// Only files that match one of these enter; empty means all but documentation and the like.
    pub include: Vec<Glob>,
    /// Files that match one of these stay out, whatever `include` says.
    pub exclude: Vec<Glob>,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Where the link is, an absolute path.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// An account of the image. Its password is locked; keys come from cloud-config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id, which is also the id of the group of the same name.
    pub uid: u32,
    /// Further groups.
    pub groups: Vec<String>,
    /// Home folder.
    pub home: String,
    /// Login shell.
    pub shell: String,
    /// The GECOS field.
    pub comment: String,
}

/// A group of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
}

/// Partition sizes in MiB; `None` is what the layout says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskSizes {
    /// Each of the two boot partitions.
    pub boot_mib: Option<u32>,
    /// Each of the two root partitions.
    pub root_mib: Option<u32>,
    /// The state partition before its first growth.
    pub state_mib: Option<u32>,
}

/// How the root file system stores its blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Plain: smallest updates, fastest reads.
    #[default]
    None,
    /// LZ4 at its highest level: where the root lives in memory.
    Lz4hc,
}

impl Board {
    /// Reads a board file and the files it extends, which lie beside it or in `boards_dir`.
    pub fn load(path: &Path, boards_dir: &Path) -> Result<Self, BoardError> {
        merge::load(path, boards_dir)
    }

    /// Reads the board `name` of `boards_dir`; a name that ends in `.yaml` is the path of an ad hoc board.
    pub fn find(name: &str, boards_dir: &Path) -> Result<Self, BoardError> {
        if name.ends_with(".yaml") {
            return merge::load(Path::new(name), boards_dir);
        }
        let path = boards_dir.join(format!("{name}.yaml"));
        if !path.is_file() {
            return Err(BoardError::Unknown { name: name.to_owned(), known: Self::names(boards_dir) });
        }
        merge::load(&path, boards_dir)
    }

    /// The names of the complete boards of a folder, sorted; files that others extend are not among them.
    pub fn names(boards_dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(boards_dir).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "yaml"))
            .filter_map(|entry| merge::load(&entry.path(), boards_dir).ok())
            .map(|board| board.name)
            .collect();
        names.sort();
        names
    }
}
