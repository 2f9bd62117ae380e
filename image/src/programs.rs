//! Ferrite's own programs in the image: where each goes. Built programs are taken as they are.

use std::path::Path;

use anyhow::Context;

use crate::tree::{Content, Node, OURS, Origin, Tree};

/// Early boot's program; it goes into the initrd.
pub const INITRD: &str = "ferrite-initrd";

/// Programs and their folders.
const PROGRAMS: [(&str, &str); 12] = [
    ("ferrite-init", "/usr/lib/ferrite"),
    ("ferrite-journald", "/usr/lib/ferrite"),
    ("ferrite-journal-ship", "/usr/lib/ferrite"),
    ("ferrite-networkd", "/usr/lib/ferrite"),
    ("ferrite-devices", "/usr/lib/ferrite"),
    ("ferrite-host", "/usr/lib/ferrite"),
    ("ferrite-cloudinit", "/usr/lib/ferrite"),
    ("ferrite-login", "/usr/lib/ferrite"),
    ("ferrite-slots", "/usr/bin"),
    ("update-engine", "/usr/lib/ferrite"),
    ("journalctl", "/usr/bin"),
    ("systemctl", "/usr/bin"),
];

/// Other names of the same programs; `systemctl` is every command of the client, `ferrite-host` every one
/// that sets the host up.
const LINKS: [(&str, &str); 28] = [
    ("/usr/bin/ferrite-update", "../lib/ferrite/update-engine"),
    ("/usr/bin/update_engine_client", "../lib/ferrite/update-engine"),
    ("/usr/bin/ferrite-cloudinit", "../lib/ferrite/ferrite-cloudinit"),
    ("/usr/sbin/init", "../lib/ferrite/ferrite-init"),
    ("/usr/bin/hostnamectl", "systemctl"),
    ("/usr/bin/networkctl", "../lib/ferrite/ferrite-networkd"),
    ("/usr/bin/sudo", "systemctl"),
    ("/usr/bin/systemd-analyze", "systemctl"),
    ("/usr/bin/systemd-cat", "systemctl"),
    ("/usr/bin/systemd-cgls", "systemctl"),
    ("/usr/bin/systemd-detect-virt", "systemctl"),
    ("/usr/bin/systemd-escape", "systemctl"),
    ("/usr/bin/systemd-id128", "systemctl"),
    ("/usr/bin/systemd-notify", "systemctl"),
    ("/usr/bin/systemd-run", "systemctl"),
    ("/usr/bin/timedatectl", "systemctl"),
    ("/usr/bin/systemd-sysusers", "../lib/ferrite/ferrite-host"),
    ("/usr/bin/systemd-tmpfiles", "../lib/ferrite/ferrite-host"),
    ("/usr/lib/systemd/system/systemd-networkd-wait-online.service", "ferrite-network-wait-online.service"),
    ("/usr/lib/systemd/system/systemd-networkd.service", "ferrite-networkd.service"),
    ("/usr/lib/systemd/systemd-modules-load", "../ferrite/ferrite-devices"),
    ("/usr/lib/systemd/systemd-random-seed", "../ferrite/ferrite-host"),
    ("/usr/lib/systemd/systemd-sysctl", "../ferrite/ferrite-host"),
    ("/usr/lib/ferrite/ferrite-time-sources", "ferrite-host"),
    ("/usr/sbin/reboot", "../bin/systemctl"),
    ("/usr/sbin/poweroff", "../bin/systemctl"),
    ("/usr/sbin/halt", "../bin/systemctl"),
    ("/usr/sbin/shutdown", "../bin/systemctl"),
];

/// Reads the early boot program.
pub fn initrd(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(INITRD);
    std::fs::read(&path).with_context(|| missing(&path))
}

/// Puts all programs into the tree.
pub fn install(tree: &mut Tree, folder: &Path) -> anyhow::Result<()> {
    let origin: Origin = OURS.into();
    for (name, target) in PROGRAMS {
        let path = folder.join(name);
        let content = Content::of_file(&path).with_context(|| missing(&path))?;
        tree.insert(&format!("{target}/{name}"), Node::file(0o755, content, &origin))?;
    }
    for (path, target) in LINKS {
        tree.insert(path, Node::symlink(target, &origin))?;
    }
    Ok(())
}

fn missing(path: &Path) -> String {
    format!("reading '{}' (build it with `make build`, or name the folder with --programs)", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_not_built_is_named_with_the_way_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = install(&mut Tree::new(), folder.path()).unwrap_err().to_string();
        assert!(error.contains("ferrite-init' (build it with `make build`"), "{error}");
    }

    #[test]
    fn every_program_is_in_the_tree_and_executable() {
        let folder = tempfile::tempdir().unwrap();
        for (name, _) in PROGRAMS {
            std::fs::write(folder.path().join(name), b"elf").unwrap();
        }
        let mut tree = Tree::new();
        install(&mut tree, folder.path()).unwrap();
        assert_eq!(tree.get("/usr/lib/ferrite/ferrite-init").map(|node| node.mode), Some(0o755));
        assert!(tree.resolve("/usr/bin/ferrite-cloudinit").is_some());
    }
}
