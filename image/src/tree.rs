//! The files of an image before they are on a disk: paths with modes, owners, contents and the package each came
//! from.
//!
//! Pure but for reading contents, which stay in the cache as slices of files until they are written. Paths are
//! absolute and usr-merged: what a package ships below /bin, /sbin, /lib or /lib64 lands in /usr. Iteration is
//! sorted, parents first.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

#[path = "tree_write.rs"]
mod write;

/// Symbolic links are followed this many times before a path is given up.
const LINK_LIMIT: usize = 32;

/// Permission bits without set-user-id, set-group-id (and sticky on files).
const PLAIN_MODE: u32 = 0o777;

/// Where a node came from: the name of a Debian package, or `ferrite` for what we add.
pub type Origin = Arc<str>;

/// The origin of what is not from a package.
pub const OURS: &str = "ferrite";

/// One file system object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Permission bits with sticky, set-user-id and set-group-id.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it is.
    pub kind: Kind,
    /// The package it came from.
    pub origin: Origin,
}

/// The kinds of objects an image may hold; device nodes come from devtmpfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target.
    Symlink(String),
}

/// The bytes of a file, in memory or as a part of a file of the build host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Made here.
    Bytes(Arc<[u8]>),
    /// Part of an unpacked package in the cache, or a whole file of ours.
    Slice {
        /// The file on the build host.
        file: Arc<Path>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        size: u64,
    },
}

/// A sorted tree of nodes by absolute path; the root folder itself is implied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// Why a tree could not be changed or written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The path is relative, empty, or has `.` or `..` in it.
    #[error("'{path}' is not an absolute path in normal form")]
    Path {
        /// The path as given.
        path: String,
    },
    /// Two packages disagree about a path.
    #[error("{path} of {new} is a different kind of object than that of {old}")]
    Clash {
        /// The path.
        path: String,
        /// The package that was first.
        old: String,
        /// The package that came second.
        new: String,
    },
    /// A parent of the path is a file or a link.
    #[error("{path} lies below {parent}, which is not a folder")]
    Parent {
        /// The path.
        path: String,
        /// Its parent.
        parent: String,
    },
    /// A content could not be read or an output not be written.
    #[error("writing {path} of the image")]
    Write {
        /// The path in the image.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Content {
    /// The whole of a file of the build host.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let size = std::fs::metadata(path)?.len();
        Ok(Self::Slice { file: Arc::from(path), offset: 0, size })
    }

    /// Number of bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Slice { size, .. } => *size,
        }
    }

    /// A reader of exactly the content's bytes, unless the file on the host became shorter.
    pub fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(io::Cursor::new(Arc::clone(bytes)))),
            Self::Slice { file, offset, size } => {
                let mut open = File::open(file)?;
                open.seek(SeekFrom::Start(*offset))?;
                Ok(Box::new(open.take(*size)))
            }
        }
    }

    /// All bytes; an error if the file on the host became shorter.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or(0));
        self.open()?.read_to_end(&mut bytes)?;
        if bytes.len() as u64 != self.size() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was used"));
        }
        Ok(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl Node {
    /// A folder of root's.
    pub fn dir(mode: u32, origin: &Origin) -> Self {
        Self { mode, uid: 0, gid: 0, kind: Kind::Dir, origin: Arc::clone(origin) }
    }

    /// A regular file of root's.
    pub fn file(mode: u32, content: impl Into<Content>, origin: &Origin) -> Self {
        Self { mode, uid: 0, gid: 0, kind: Kind::File(content.into()), origin: Arc::clone(origin) }
    }

    /// A symbolic link of root's.
    pub fn symlink(target: impl Into<String>, origin: &Origin) -> Self {
        Self { mode: PLAIN_MODE, uid: 0, gid: 0, kind: Kind::Symlink(target.into()), origin: Arc::clone(origin) }
    }

    /// The same node with another owner.
    #[must_use]
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.uid = uid;
        self.gid = gid;
        self
    }

    /// The content, if this is a regular file.
    pub fn content(&self) -> Option<&Content> {
        match &self.kind {
            Kind::File(content) => Some(content),
            Kind::Dir | Kind::Symlink(_) => None,
        }
    }
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a node at a path, with missing parents as 0755 folders. A folder over a folder keeps the first one's mode
    /// unless the new one is ours; a file or link replaces a file or link.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<(), TreeError> {
        let path = normal_path(path)?;
        self.insert_parents(&path, &node.origin)?;
        match self.nodes.entry(path) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(node);
            }
            btree_map::Entry::Occupied(mut occupied) => match (&occupied.get().kind, &node.kind) {
                (Kind::Dir, Kind::Dir) if &*node.origin != OURS => {}
                (Kind::Dir, Kind::Dir) | (Kind::File(_) | Kind::Symlink(_), Kind::File(_) | Kind::Symlink(_)) => {
                    occupied.insert(node);
                }
                (Kind::Dir, Kind::File(_) | Kind::Symlink(_)) | (Kind::File(_) | Kind::Symlink(_), Kind::Dir) => {
                    return Err(TreeError::Clash {
                        path: occupied.key().clone(),
                        old: occupied.get().origin.to_string(),
                        new: node.origin.to_string(),
                    });
                }
            },
        }
        Ok(())
    }

    fn insert_parents(&mut self, path: &str, origin: &Origin) -> Result<(), TreeError> {
        for (at, _) in path.match_indices('/').skip(1) {
            let parent = &path[..at];
            match self.nodes.get(parent) {
                None => {
                    self.nodes.insert(parent.to_owned(), Node::dir(0o755, origin));
                }
                Some(node) if node.kind == Kind::Dir => {}
                Some(_) => return Err(TreeError::Parent { path: path.to_owned(), parent: parent.to_owned() }),
            }
        }
        Ok(())
    }

    /// Puts every node of another tree into this one, by the rules of `insert`.
    pub fn merge(&mut self, other: Self) -> Result<(), TreeError> {
        for (path, node) in other.nodes {
            self.insert(&path, node)?;
        }
        Ok(())
    }

    /// The node at a path, links not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Like `get`, to change mode or owner.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(path)
    }

    /// Takes a node out; a folder's content stays.
    pub fn remove(&mut self, path: &str) -> Option<Node> {
        self.nodes.remove(path)
    }

    /// Keeps the nodes for which the rule is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Node) -> bool) {
        self.nodes.retain(|path, node| keep(path, node));
    }

    /// All nodes in order of their paths, parents before what they hold.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Like `iter`, to change modes or owners.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Node)> {
        self.nodes.iter_mut().map(|(path, node)| (path.as_str(), node))
    }

    /// The nodes directly or indirectly below a folder.
    pub fn below<'a>(&'a self, folder: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let end = prefix.clone();
        self.nodes.range(prefix..).take_while(move |(path, _)| path.starts_with(&end)).map(|(p, n)| (p.as_str(), n))
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Sum of the sizes of all regular files.
    pub fn size_bytes(&self) -> u64 {
        self.nodes.values().filter_map(Node::content).map(Content::size).sum()
    }

    /// The path and node at the end of all symbolic links, as a program on the machine would find it.
    pub fn resolve(&self, path: &str) -> Option<(String, &Node)> {
        let mut path = join_link("", path, "");
        for _ in 0..LINK_LIMIT {
            match self.first_link(&path) {
                Some((at, target)) => path = join_link(&path[..at], target, &path[at..]),
                None => return self.nodes.get_key_value(&path).map(|(path, node)| (path.clone(), node)),
            }
        }
        None
    }

    /// The length of the shortest prefix of the path that is a symbolic link, and its target.
    fn first_link(&self, path: &str) -> Option<(usize, &str)> {
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]);
        ends.into_iter().find_map(|end| match self.nodes.get(&path[..end]).map(|node| &node.kind) {
            Some(Kind::Symlink(target)) => Some((end, target.as_str())),
            Some(Kind::Dir | Kind::File(_)) | None => None,
        })
    }

    /// The content of a regular file, links followed.
    pub fn read(&self, path: &str) -> Option<io::Result<Vec<u8>>> {
        self.resolve(path).and_then(|(_, node)| node.content().map(Content::read))
    }
}

/// The path that a link at `link` with this target points to.
pub fn link_target(link: &str, target: &str) -> String {
    join_link(link, target, "")
}

/// Joins the place of a link, its target and what follows it in the path.
fn join_link(link: &str, target: &str, rest: &str) -> String {
    let joined = if target.starts_with('/') {
        format!("{target}{rest}")
    } else {
        let folder = link.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{folder}/{target}{rest}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    usr_merged(&format!("/{}", parts.join("/")))
}

/// Moves a path of the old top-level folders into /usr.
pub fn usr_merged(path: &str) -> String {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "bin" | "sbin" | "lib" | "lib64" if path.len() > first.len() + 1 => format!("/usr{path}"),
        _ => path.to_owned(),
    }
}

fn normal_path(path: &str) -> Result<String, TreeError> {
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    match path.strip_prefix('/') {
        Some(rest) if !rest.split('/').any(odd) => Ok(usr_merged(path)),
        _ => Err(TreeError::Path { path: path.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn origin() -> Origin {
        "p".into()
    }

    fn tree() -> Tree {
        let mut tree = Tree::new();
        tree.insert("/lib/libc.so.6", Node::file(0o644, "libc", &origin())).unwrap();
        tree.insert("/usr/bin/long", Node::symlink("../lib/libc.so.6", &origin())).unwrap();
        tree.insert("/lib", Node::symlink("usr/lib", &origin())).unwrap();
        tree.insert("/tmp", Node::dir(0o1777, &OURS.into())).unwrap();
        tree.insert("/etc/shadow", Node::file(0o640, "x", &origin()).owned_by(0, 42)).unwrap();
        tree
    }

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn old_folders_land_in_usr_and_parents_come_first() {
        let expected = [
            "/etc",
            "/etc/shadow",
            "/lib",
            "/tmp",
            "/usr",
            "/usr/bin",
            "/usr/bin/long",
            "/usr/lib",
            "/usr/lib/libc.so.6",
        ];
        assert_eq!(paths(&tree()), expected);
        assert_eq!(tree().below("/usr/lib").count(), 1);
        assert_eq!(tree().size_bytes(), 5);
    }

    #[test]
    fn links_are_followed_as_on_the_machine() {
        let mut tree = tree();
        for path in ["/lib/libc.so.6", "/usr/bin/long", "/usr/lib/../bin/long"] {
            assert_eq!(tree.resolve(path).unwrap().0, "/usr/lib/libc.so.6", "{path}");
        }
        tree.insert("/usr/a", Node::symlink("b", &origin())).unwrap();
        tree.insert("/usr/b", Node::symlink("/usr/a", &origin())).unwrap();
        assert_eq!(tree.resolve("/usr/a"), None);
        assert_eq!(tree.resolve("/usr/none"), None);
        assert_eq!(tree.read("/lib/libc.so.6").unwrap().unwrap(), b"libc");
    }

    #[test]
    fn contradictions_and_odd_paths_are_refused() {
        let mut tree = tree();
        let file = || Node::file(0o644, "", &"q".into());
        let mut error = |path: &str| tree.insert(path, file()).unwrap_err().to_string();
        assert_eq!(error("/tmp"), "/tmp of q is a different kind of object than that of ferrite");
        assert_eq!(error("/etc/shadow/x"), "/etc/shadow/x lies below /etc/shadow, which is not a folder");
        for path in ["etc", "/", "/etc/", "/etc//x", "/etc/../x", "/./etc"] {
            assert!(error(path).contains("normal form"), "{path}");
        }
    }

    #[test]
    fn a_folder_keeps_its_first_mode_unless_ours_says_another() {
        let mut tree = tree();
        tree.insert("/tmp", Node::dir(0o700, &origin())).unwrap();
        assert_eq!(tree.get("/tmp").unwrap().mode, 0o1777);
        tree.insert("/etc", Node::dir(0o711, &OURS.into())).unwrap();
        assert_eq!(tree.get("/etc").unwrap().mode, 0o711);
    }

    #[test]
    fn a_tar_keeps_owners_and_is_always_the_same() {
        let write = |tree: &Tree| {
            let mut bytes = Vec::new();
            tree.to_tar(&mut bytes, 7).unwrap();
            bytes
        };
        let bytes = write(&tree());
        assert_eq!(bytes, write(&tree()));
        let mut archive = tar::Archive::new(&bytes[..]);
        let shadow = archive.entries().unwrap().map(Result::unwrap).find(|e| e.path().unwrap().ends_with("shadow"));
        let header = shadow.unwrap().header().clone();
        assert_eq!((header.mode().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0o640, 42, 7));
    }

    #[test]
    fn a_folder_on_disk_gets_modes_links_and_slices_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::write(&source, "abcdef").unwrap();
        let slice = Content::Slice { file: Arc::from(source.as_path()), offset: 2, size: 3 };
        let mut tree = tree();
        tree.insert("/usr/bin/slice", Node { kind: Kind::File(slice.clone()), ..Node::dir(0o755, &origin()) }).unwrap();
        let out = dir.path().join("out");
        std::fs::create_dir(&out).unwrap();
        tree.write_to_dir(&out).unwrap();
        assert_eq!(std::fs::read(out.join("usr/bin/slice")).unwrap(), b"cde");
        assert_eq!(std::fs::metadata(out.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(std::fs::read(out.join("lib/libc.so.6")).unwrap(), b"libc");
        std::fs::write(&source, "abc").unwrap();
        assert!(slice.read().is_err());
        assert_eq!(Content::of_file(&source).unwrap().read().unwrap(), b"abc");
    }
}
