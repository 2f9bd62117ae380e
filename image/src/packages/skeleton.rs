//! What an image has that no package brings: folders, mount points, our own configuration files, os-release.
//!
//! Files come from `image/rootfs` of the source tree, folders and special modes from the table here, because git
//! keeps neither.

use crate::tree::{Kind, Node, OURS, Origin, Tree};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Folders with their modes.
const FOLDERS: [(&str, u32); 42] = [
    ("/boot", 0o755),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/opt", 0o755),
    ("/etc/profile.d", 0o755),
    ("/etc/skel", 0o755),
    ("/etc/ssh", 0o755),
    ("/etc/ssl/certs", 0o755),
    ("/etc/sysctl.d", 0o755),
    ("/etc/systemd/system", 0o755),
    ("/home", 0o755),
    ("/media", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/srv", 0o755),
    ("/state", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr/bin", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/lib/ferrite", 0o755),
    ("/usr/lib/x86_64-linux-gnu", 0o755),
    ("/usr/lib64", 0o755),
    ("/usr/local", 0o755),
    ("/usr/sbin", 0o755),
    ("/usr/share", 0o755),
    ("/var", 0o755),
    ("/var/backups", 0o755),
    ("/var/cache", 0o755),
    ("/var/empty", 0o755),
    ("/var/lib", 0o755),
    ("/var/lib/systemd", 0o755),
    ("/var/log", 0o755),
    ("/var/log/journal", 0o750),
    ("/var/mail", 0o755),
    ("/var/opt", 0o755),
    ("/var/spool", 0o755),
    ("/var/spool/cron", 0o700),
    ("/var/tmp", 0o1777),
];

/// Symbolic links. None leads from /etc/issue to /run/issue: agetty prints both.
const LINKS: [(&str, &str); 11] = [
    ("/etc/motd", "/run/motd"),
    ("/etc/mtab", "../proc/self/mounts"),
    ("/etc/os-release", "../usr/lib/os-release"),
    ("/etc/resolv.conf", "/run/resolv.conf"),
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/usr/sbin/init", "../lib/ferrite/ferrite-init"),
    ("/var/lock", "/run/lock"),
    ("/var/run", "/run"),
];

/// Adds the files of a folder, over those that are there.
pub(super) fn add_files(tree: &mut Tree, folder: &Path) -> Result<()> {
    add_folder(tree, folder, "", &OURS.into())
}

/// Adds folders, links and the files of `rootfs`.
pub(super) fn add(tree: &mut Tree, rootfs: &Path) -> Result<()> {
    let origin: Origin = OURS.into();
    for (path, mode) in FOLDERS {
        tree.insert(path, Node::dir(mode, &origin))?;
    }
    for (path, target) in LINKS {
        tree.insert(path, Node::symlink(target, &origin))?;
    }
    add_folder(tree, rootfs, "", &origin)
}

fn add_folder(tree: &mut Tree, folder: &Path, below: &str, origin: &Origin) -> Result<()> {
    let reading = || format!("reading '{}'", folder.display());
    let mut entries =
        fs::read_dir(folder).with_context(reading)?.collect::<Result<Vec<_>, _>>().with_context(reading)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("a name in '{}' is not UTF-8", folder.display()))?;
        let path = format!("{below}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tree.insert(&path, Node::dir(0o755, origin))?;
            add_folder(tree, &entry.path(), &path, origin)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path())?;
            let target = target.to_str().with_context(|| format!("the target of {path} is not UTF-8"))?;
            tree.insert(&path, Node::symlink(target, origin))?;
        } else {
            let executable = entry.metadata()?.permissions().mode() & 0o100 != 0;
            let bytes = fs::read(entry.path()).with_context(reading)?;
            tree.insert(&path, Node::file(if executable { 0o755 } else { 0o644 }, bytes, origin))?;
        }
    }
    Ok(())
}

/// The text of /usr/lib/os-release.
pub(super) fn os_release(version: &str, board: &str) -> String {
    format!(
        "NAME=Ferrite\nID=ferrite\nPRETTY_NAME=\"Ferrite {version}\"\nVERSION=\"{version}\"\nVERSION_ID={version}\n\
         IMAGE_ID=ferrite-{board}\nIMAGE_VERSION={version}\nVARIANT_ID={board}\nFERRITE_BOARD={board}\n\
         ANSI_COLOR=\"0;33\"\n"
    )
}

/// Makes one file of all certificate authorities, which is where every TLS library looks.
pub(super) fn bundle_certificates(tree: &mut Tree) -> Result<()> {
    const SOURCE: &str = "/usr/share/ca-certificates";
    let mut bundle = Vec::new();
    let mut origin: Origin = OURS.into();
    for (path, node) in tree.below(SOURCE).filter(|(path, _)| path.ends_with(".crt")) {
        let content = node.content().with_context(|| format!("{path} is not a regular file"))?;
        bundle.extend(content.read().with_context(|| format!("reading {path}"))?);
        if bundle.last() != Some(&b'\n') {
            bundle.push(b'\n');
        }
        origin = node.origin.clone();
    }
    if !bundle.is_empty() {
        tree.insert("/etc/ssl/certs/ca-certificates.crt", Node::file(0o644, bundle, &origin))?;
    }
    tree.retain(|path, _| path != SOURCE && !path.starts_with("/usr/share/ca-certificates/"));
    Ok(())
}

/// Takes set-user-id and set-group-id away everywhere; the paths that had them.
pub(super) fn strip_set_id(tree: &mut Tree) -> Vec<String> {
    let mut stripped = Vec::new();
    for (path, node) in tree.iter_mut() {
        let plain = match node.kind {
            Kind::Dir => node.mode & 0o1777,
            Kind::File(_) => node.mode & 0o777,
            Kind::Symlink(_) => 0o777,
        };
        if node.mode & 0o6000 != 0 {
            stripped.push(path.to_owned());
        }
        node.mode = plain;
    }
    stripped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_source_tree_enter_with_their_executable_bit() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/hosts"), "x").unwrap();
        fs::write(dir.path().join("etc/run"), "x").unwrap();
        fs::set_permissions(dir.path().join("etc/run"), fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("hosts", dir.path().join("etc/link")).unwrap();
        let mut tree = Tree::new();
        add(&mut tree, dir.path()).unwrap();
        let mode = |path: &str| tree.get(path).unwrap().mode;
        assert_eq!((mode("/etc/hosts"), mode("/etc/run"), mode("/tmp")), (0o644, 0o755, 0o1777));
        assert_eq!(tree.get("/etc/link").unwrap().kind, Kind::Symlink("hosts".into()));
        assert_eq!(tree.resolve("/sbin").unwrap().0, "/usr/sbin");
    }

    #[test]
    fn nothing_keeps_its_set_id_bits() {
        let mut tree = Tree::new();
        tree.insert("/usr/bin/su", Node::file(0o4755, "", &"p".into())).unwrap();
        tree.insert("/var/mail", Node::dir(0o3775, &"p".into())).unwrap();
        assert_eq!(strip_set_id(&mut tree), ["/usr/bin/su", "/var/mail"]);
        assert_eq!(tree.get("/usr/bin/su").unwrap().mode, 0o755);
        assert_eq!(tree.get("/var/mail").unwrap().mode, 0o1775);
    }

    #[test]
    fn certificates_become_one_file() {
        let mut tree = Tree::new();
        for (name, text) in [("b.crt", "B\n"), ("a.crt", "A")] {
            let path = format!("/usr/share/ca-certificates/mozilla/{name}");
            tree.insert(&path, Node::file(0o644, text, &"ca".into())).unwrap();
        }
        bundle_certificates(&mut tree).unwrap();
        assert_eq!(tree.read("/etc/ssl/certs/ca-certificates.crt").unwrap().unwrap(), b"A\nB\n");
        assert!(tree.get("/usr/share/ca-certificates").is_none());
    }

    #[test]
    fn os_release_names_the_version_and_the_board() {
        let text = os_release("1.2.3", "qemu");
        assert!(text.contains("\nVERSION_ID=1.2.3\n") && text.contains("\nFERRITE_BOARD=qemu\n"), "{text}");
    }
}
