//! Ferrite's own programs in the image: where each goes. Built programs are taken as they are.

use std::path::Path;

use anyhow::Context;

use crate::tree::{Content, Node, OURS, Origin, Tree};

/// Early boot's program; it goes into the initrd.
pub const INITRD: &str = "ferrite-initrd";

/// Where all programs are.
const FOLDER: &str = "/usr/lib/ferrite";

/// Programs that are files of their own.
const PROGRAMS: [&str; 4] = ["ferrite-init", "ferrite-system", "ferrite-cloudinit", "update-engine"];

/// Other names of them, by which a program knows what it is called to be.
const LINKS: [(&str, &str); 37] = [
    ("/usr/bin/ferrite-cloudinit", "../lib/ferrite/ferrite-cloudinit"),
    ("/usr/bin/ferrite-slots", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/ferrite-update", "../lib/ferrite/update-engine"),
    ("/usr/bin/hostnamectl", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/journalctl", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/networkctl", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/sudo", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemctl", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-analyze", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-cat", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-cgls", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-detect-virt", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-escape", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-id128", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-notify", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-run", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-sysusers", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/systemd-tmpfiles", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/timedatectl", "../lib/ferrite/ferrite-system"),
    ("/usr/bin/update_engine_client", "../lib/ferrite/update-engine"),
    ("/usr/lib/ferrite/ferrite-devices", "ferrite-system"),
    ("/usr/lib/ferrite/ferrite-host", "ferrite-system"),
    ("/usr/lib/ferrite/ferrite-journal-ship", "ferrite-system"),
    ("/usr/lib/ferrite/ferrite-journald", "ferrite-system"),
    ("/usr/lib/ferrite/ferrite-login", "ferrite-system"),
    ("/usr/lib/ferrite/ferrite-networkd", "ferrite-system"),
    ("/usr/lib/ferrite/ferrite-time-sources", "ferrite-system"),
    ("/usr/lib/systemd/system/systemd-networkd-wait-online.service", "ferrite-network-wait-online.service"),
    ("/usr/lib/systemd/system/systemd-networkd.service", "ferrite-networkd.service"),
    ("/usr/lib/systemd/systemd-modules-load", "../ferrite/ferrite-system"),
    ("/usr/lib/systemd/systemd-random-seed", "../ferrite/ferrite-system"),
    ("/usr/lib/systemd/systemd-sysctl", "../ferrite/ferrite-system"),
    ("/usr/sbin/halt", "../lib/ferrite/ferrite-system"),
    ("/usr/sbin/init", "../lib/ferrite/ferrite-init"),
    ("/usr/sbin/poweroff", "../lib/ferrite/ferrite-system"),
    ("/usr/sbin/reboot", "../lib/ferrite/ferrite-system"),
    ("/usr/sbin/shutdown", "../lib/ferrite/ferrite-system"),
];

/// Reads the early boot program.
pub fn initrd(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let path = folder.join(INITRD);
    std::fs::read(&path).with_context(|| missing(&path))
}

/// Puts all programs into the tree, but where a board's own file is there already.
pub fn install(tree: &mut Tree, folder: &Path) -> anyhow::Result<()> {
    let origin: Origin = OURS.into();
    let mut add = |path: &str, node: Node| match tree.get(path) {
        Some(own) if *own.origin == *OURS => Ok(()),
        Some(_) | None => tree.insert(path, node),
    };
    for name in PROGRAMS {
        let path = folder.join(name);
        let content = Content::of_file(&path).with_context(|| missing(&path))?;
        add(&format!("{FOLDER}/{name}"), Node::file(0o755, content, &origin))?;
    }
    for (path, target) in LINKS {
        add(path, Node::symlink(target, &origin))?;
    }
    Ok(())
}

fn missing(path: &Path) -> String {
    format!("reading '{}' (build it with `make build`, or name the folder with --programs)", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in PROGRAMS {
            std::fs::write(folder.path().join(name), b"elf").unwrap();
        }
        folder
    }

    #[test]
    fn a_program_that_was_not_built_is_named_with_the_way_to_build_it() {
        let folder = tempfile::tempdir().unwrap();
        let error = install(&mut Tree::new(), folder.path()).unwrap_err().to_string();
        assert!(error.contains("ferrite-init' (build it with `make build`"), "{error}");
    }

    #[test]
    fn a_file_of_the_board_is_kept_and_one_of_a_package_is_not() {
        let folder = built();
        let mut tree = Tree::new();
        for (path, origin) in
            [("/usr/lib/ferrite/ferrite-init", OURS), ("/usr/bin/sudo", OURS), ("/usr/sbin/init", "sysv")]
        {
            tree.insert(path, Node::file(0o700, "other", &origin.into())).unwrap();
        }
        install(&mut tree, folder.path()).unwrap();
        let is_other = |path| tree.get(path).is_some_and(|node| node.mode == 0o700);
        assert!(is_other("/usr/lib/ferrite/ferrite-init") && is_other("/usr/bin/sudo") && !is_other("/usr/sbin/init"));
    }

    #[test]
    fn every_program_is_in_the_tree_and_executable() {
        let folder = built();
        let mut tree = Tree::new();
        install(&mut tree, folder.path()).unwrap();
        assert_eq!(tree.get("/usr/lib/ferrite/ferrite-init").map(|node| node.mode), Some(0o755));
        for (path, _) in LINKS.iter().filter(|(path, _)| !path.ends_with(".service")) {
            assert!(tree.resolve(path).is_some(), "{path}");
        }
    }
}
