//! Which group and mode a device node has. `wanted` is pure.
//!
//! Nodes that are not in the table keep what the kernel gave them.

use std::path::Path;

use rustix::fs::{Gid, Mode, Uid};

use crate::group;

/// Group and mode of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permission {
    /// The group's name.
    pub group: &'static str,
    /// The permission bits.
    pub mode: u32,
}

/// Patterns of names below /dev; `#` stands for one or more digits. The first match counts.
const TABLE: [(&str, Permission); 14] = [
    ("fuse", permission("root", 0o666)),
    ("net/tun", permission("root", 0o666)),
    ("kvm", permission("kvm", 0o660)),
    ("vhost-net", permission("kvm", 0o660)),
    ("vhost-vsock", permission("kvm", 0o660)),
    ("vsock", permission("root", 0o666)),
    ("loop-control", permission("disk", 0o660)),
    ("ttyS#", permission("dialout", 0o660)),
    ("ttyUSB#", permission("dialout", 0o660)),
    ("tty#", permission("tty", 0o620)),
    ("hvc#", permission("dialout", 0o660)),
    ("dri/card#", permission("video", 0o660)),
    ("dri/renderD#", permission("render", 0o660)),
    ("input/event#", permission("input", 0o660)),
];

const fn permission(group: &'static str, mode: u32) -> Permission {
    Permission { group, mode }
}

/// What a node below /dev shall have.
pub(crate) fn wanted(name: &str, subsystem: &str) -> Option<Permission> {
    if subsystem == "block" {
        let group = if matches(name, "sr#") { "cdrom" } else { "disk" };
        return Some(permission(group, 0o660));
    }
    TABLE.iter().find(|(pattern, _)| matches(name, pattern)).map(|(_, permission)| *permission)
}

fn matches(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('#') {
        None => name == pattern,
        Some(stem) => name
            .strip_prefix(stem)
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())),
    }
}

/// Gives a node its group and mode; a group that does not exist leaves the node to root.
///
/// A node that somebody owns, as a terminal after a login, is left alone.
pub(crate) fn apply(dev: &Path, name: &str, permission: Permission, group_file: &str) -> std::io::Result<()> {
    let path = dev.join(name);
    if !Uid::from_raw(rustix::fs::stat(&path)?.st_uid).is_root() {
        return Ok(());
    }
    let gid = group::number(group_file, permission.group).unwrap_or(0);
    rustix::fs::chown(&path, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
    Ok(rustix::fs::chmod(&path, Mode::from_raw_mode(permission.mode))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_group_and_mode() {
        for (name, subsystem, expected) in [
            ("vda1", "block", Some(("disk", 0o660))),
            ("sr0", "block", Some(("cdrom", 0o660))),
            ("tty1", "tty", Some(("tty", 0o620))),
            ("ttyS0", "tty", Some(("dialout", 0o660))),
            ("tty", "tty", None),
            ("null", "mem", None),
            ("net/tun", "misc", Some(("root", 0o666))),
        ] {
            assert_eq!(wanted(name, subsystem).map(|wanted| (wanted.group, wanted.mode)), expected, "{name}");
        }
    }
}
