//! Makes the tree of a board: chosen files of packages, their libraries, accounts, and what `image/rootfs` adds.
//!
//! Ferrite's own programs and the kernel's modules are not in it yet: the builder adds them.

use super::lock::{Lock, Locked};
use super::select::{prune_empty_folders, select};
use super::skeleton;
use super::store::Store;
use super::tools::BOOT_PACKAGES;
use super::users::{SysusersFile, accounts};
use super::{closure, users};
use crate::tree::{Node, OURS, Origin, Tree};
use anyhow::{Context, Result, bail};
use ferrite_boards::Board;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What an image is made from.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The kind of machine.
    pub board: &'a Board,
    /// The versions of the packages.
    pub lock: &'a Lock,
    /// The folder `image/rootfs` of the source tree.
    pub rootfs: &'a Path,
    /// The version of the image.
    pub version: &'a str,
}

/// The tree and what else the builder needs.
#[derive(Debug)]
pub struct Composed {
    /// The root file system without our programs and without kernel modules.
    pub tree: Tree,
    /// The kernel package.
    pub kernel: KernelPackage,
    /// The packages that something of the image came from, sorted, the kernel's included.
    pub packages: Vec<Locked>,
    /// Paths that had set-user-id or set-group-id in their package.
    pub stripped: Vec<String>,
}

/// The package that has the kernel.
#[derive(Debug, Clone)]
pub struct KernelPackage {
    /// The package file.
    pub package: Locked,
    /// All its files: `/boot/vmlinuz-RELEASE`, plain modules in `/usr/lib/modules/RELEASE`.
    pub files: Tree,
}

/// Makes the tree. Fetches packages that the cache does not have.
pub fn compose(order: &Order<'_>, store: &Store<'_>) -> Result<Composed> {
    let locked = order.lock.board(&order.board.name);
    store.fetch(&locked)?;
    let by_name: BTreeMap<&str, &Locked> = locked.iter().map(|package| (package.name.as_str(), package)).collect();
    let mut sources = open_all(order.board, &by_name, store)?;
    let mut tree = Tree::new();
    let mut stripped = Vec::new();
    for package in &order.board.packages {
        let mut files = sources.chosen.remove(&package.name).unwrap_or_default();
        select(package, &mut files)?;
        stripped.extend(skeleton::strip_set_id(&mut files));
        tree.merge(files)?;
    }
    skeleton::add(&mut tree, order.rootfs)?;
    order.board.files.iter().try_for_each(|folder| skeleton::add_files(&mut tree, folder))?;
    skeleton::bundle_certificates(&mut tree)?;
    let origin: Origin = OURS.into();
    for link in &order.board.links {
        tree.insert(&link.path, Node::symlink(link.target.as_str(), &origin))?;
    }
    closure::close(&mut tree, &sources.available, &order.board.libraries)?;
    stripped.extend(skeleton::strip_set_id(&mut tree));
    add_accounts(&mut tree, order.board)?;
    let release = skeleton::os_release(order.version, &order.board.name);
    tree.insert("/usr/lib/os-release", Node::file(0o644, release.as_str(), &origin))?;
    let kernel = kernel(order.board, &locked, store)?;
    add_licences(&mut tree, &sources.available)?;
    add_licences_of_boot(&mut tree, &kernel, order.lock, store)?;
    prune_empty_folders(&mut tree);
    let used: BTreeSet<&str> = tree.iter().map(|(_, node)| &*node.origin).collect();
    let boot = order.lock.tools().iter().filter(|package| is_boot(package));
    let mut packages: Vec<Locked> =
        locked.iter().chain(boot).filter(|package| used.contains(package.name.as_str())).cloned().collect();
    packages.sort();
    packages.dedup();
    stripped.sort();
    Ok(Composed { tree, kernel, packages, stripped })
}

/// The files of all packages.
struct Sources {
    /// Those the board names, whole.
    chosen: BTreeMap<String, Tree>,
    /// Everything of every package: where libraries and licences are found.
    available: Tree,
}

fn open_all(board: &Board, locked: &BTreeMap<&str, &Locked>, store: &Store<'_>) -> Result<Sources> {
    let mut sources = Sources { chosen: BTreeMap::new(), available: Tree::new() };
    for package in &board.packages {
        let found = locked.get(package.name.as_str());
        let found =
            found.with_context(|| format!("package {} is not in the lock file: run `ferrite lock`", package.name))?;
        sources.chosen.insert(package.name.clone(), store.open(found)?);
    }
    for (name, package) in locked.iter().filter(|(name, _)| !name.starts_with("linux-image-")) {
        let files = match sources.chosen.get(*name) {
            Some(files) => files.clone(),
            None => store.open(package)?,
        };
        sources.available.merge(files).with_context(|| format!("joining {name} with the other packages"))?;
    }
    Ok(sources)
}

/// The board's kernel package, or the one that the metapackage stands for: `linux-image-[RELEASE-]FLAVOUR`.
fn kernel(board: &Board, locked: &[Locked], store: &Store<'_>) -> Result<KernelPackage> {
    let flavour = board.kernel.strip_prefix("linux-image-").unwrap_or(&board.kernel);
    let is_release = |name: &str| {
        let middle = name.strip_prefix("linux-image-").and_then(|rest| rest.strip_suffix(flavour)?.strip_suffix('-'));
        middle.is_some_and(|release| release.starts_with(|c: char| c.is_ascii_digit()) && !release.contains('-'))
    };
    let package = locked.iter().find(|package| is_release(&package.name));
    let package = package.or_else(|| locked.iter().find(|package| package.name == board.kernel));
    let Some(package) = package else {
        bail!("kernel package {} is not in the lock file: run `ferrite lock`", board.kernel);
    };
    Ok(KernelPackage { package: package.clone(), files: store.open(package)? })
}

fn add_accounts(tree: &mut Tree, board: &Board) -> Result<()> {
    let mut files = Vec::new();
    for (path, node) in tree.below("/usr/lib/sysusers.d") {
        let content = node.content().with_context(|| format!("{path} is not a regular file"))?;
        let text = String::from_utf8(content.read()?).with_context(|| format!("{path} is not UTF-8"))?;
        files.push(SysusersFile { path: path.to_owned(), text });
    }
    let accounts: users::Accounts = accounts(board, &files)?;
    let origin: Origin = OURS.into();
    let shadow = accounts.shadow_gid();
    for (path, mode, gid, text) in [
        ("/etc/passwd", 0o644, 0, accounts.passwd()),
        ("/etc/group", 0o644, 0, accounts.group()),
        ("/etc/shadow", 0o640, shadow, accounts.shadow()),
        ("/etc/gshadow", 0o640, shadow, accounts.gshadow()),
    ] {
        tree.insert(path, Node::file(mode, text.as_str(), &origin).owned_by(0, gid))?;
    }
    // A service's home below /var/lib is on the state partition, which is filled from this tree.
    for user in board.users.iter().filter(|user| user.home.starts_with("/var/lib/")) {
        let gid = accounts.gid(&user.name).unwrap_or(user.uid);
        tree.insert(&user.home, Node::dir(0o700, &origin).owned_by(user.uid, gid))?;
    }
    if let (Some(gid), Some(node)) = (accounts.gid("adm"), tree.get_mut("/var/log/journal")) {
        node.gid = gid;
    }
    Ok(())
}

/// Keeps the licence text of every package that something came from, as their licences demand.
fn add_licences(tree: &mut Tree, available: &Tree) -> Result<()> {
    let mut origins: BTreeSet<Origin> = tree.iter().map(|(_, node)| node.origin.clone()).collect();
    origins.remove(OURS);
    origins.iter().try_for_each(|origin| add_licence(tree, origin, available))
}

/// The same for what lies on the disk outside the root: kernel and boot loaders.
fn add_licences_of_boot(tree: &mut Tree, kernel: &KernelPackage, lock: &Lock, store: &Store<'_>) -> Result<()> {
    add_licence(tree, &kernel.package.name.as_str().into(), &kernel.files)?;
    store.fetch(lock.tools())?;
    let mut available = Tree::new();
    for package in lock.tools().iter().filter(|package| package.name.starts_with("grub") || is_boot(package)) {
        let mut files = store.open(package)?;
        files.retain(|path, _| path.starts_with("/usr/share/doc/"));
        available.merge(files)?;
    }
    let boot = lock.tools().iter().filter(|package| is_boot(package));
    boot.map(|package| package.name.as_str().into()).try_for_each(|origin| add_licence(tree, &origin, &available))
}

fn is_boot(package: &Locked) -> bool {
    BOOT_PACKAGES.contains(&package.name.as_str())
}

fn add_licence(tree: &mut Tree, origin: &Origin, available: &Tree) -> Result<()> {
    let path = format!("/usr/share/doc/{origin}/copyright");
    let (_, node) = available.resolve(&path).with_context(|| format!("package {origin} has no licence text"))?;
    let content = node.content().with_context(|| format!("{path} is not a regular file"))?;
    tree.insert(&path, Node::file(0o644, content.clone(), origin))?;
    Ok(())
}
