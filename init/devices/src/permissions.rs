//! Which group and mode a device node has, as udev's default rules of Debian 13 have it. `wanted` is pure.
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

/// A device node, as far as its permissions depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    /// The name below /dev.
    pub name: &'a str,
    /// Its class or bus.
    pub subsystem: &'a str,
    /// The type that a SCSI device says it is.
    pub scsi_type: Option<u8>,
}

/// Class, pattern of the name below /dev, group, mode. An empty class is any; `#` is digits at the end, `*` anything.
/// The first match counts.
const TABLE: [(&str, &str, &str, u32); 55] = [
    ("tty", "ptmx", "tty", 0o666),
    ("tty", "tty", "tty", 0o666),
    ("tty", "tty#", "tty", 0o600),
    ("tty", "hvc#", "tty", 0o600),
    ("vc", "vcs*", "tty", 0o660),
    ("tty", "ttyS#", "dialout", 0o660),
    ("tty", "ttyUSB#", "dialout", 0o660),
    ("tty", "ttyACM#", "dialout", 0o660),
    ("tty", "ttyAMA#", "dialout", 0o660),
    ("tty", "ttymxc#", "dialout", 0o660),
    ("tty", "rfcomm#", "dialout", 0o660),
    ("mem", "mem", "kmem", 0o640),
    ("mem", "kmem", "kmem", 0o640),
    ("mem", "port", "kmem", 0o640),
    ("", "nvram", "kmem", 0o640),
    ("input", "input/js#", "input", 0o664),
    ("input", "*", "input", 0o660),
    ("video4linux", "*", "video", 0o660),
    ("graphics", "*", "video", 0o660),
    ("drm", "dri/renderD#", "render", 0o660),
    ("drm", "*", "video", 0o660),
    ("dvb", "*", "video", 0o660),
    ("media", "*", "video", 0o660),
    ("cec", "*", "video", 0o660),
    ("kfd", "*", "render", 0o660),
    ("accel", "*", "render", 0o660),
    ("sound", "*", "audio", 0o660),
    ("usb", "bus/usb/*", "root", 0o664),
    ("", "parport#", "lp", 0o660),
    ("ppdev", "*", "lp", 0o660),
    ("usbmisc", "usb/lp#", "lp", 0o660),
    ("", "lp#", "lp", 0o660),
    ("block", "sr#", "cdrom", 0o660),
    ("block", "*", "disk", 0o660),
    ("", "sch#", "cdrom", 0o660),
    ("", "pktcdvd/control", "cdrom", 0o644),
    ("", "loop-control", "disk", 0o660),
    ("", "btrfs-control", "disk", 0o660),
    ("", "rawctl", "disk", 0o660),
    ("raw", "raw#", "disk", 0o660),
    ("aoe", "etherd/err", "disk", 0o440),
    ("aoe", "*", "disk", 0o220),
    ("", "rfkill", "root", 0o664),
    ("", "net/tun", "root", 0o666),
    ("", "fuse", "root", 0o666),
    ("", "kvm", "kvm", 0o660),
    ("", "vfio/vfio", "root", 0o666),
    ("", "vsock", "root", 0o666),
    ("", "vhost-vsock", "kvm", 0o660),
    ("", "vhost-net", "kvm", 0o660),
    ("", "udmabuf", "kvm", 0o660),
    ("misc", "sgx_enclave", "sgx", 0o660),
    ("misc", "sgx_vepc", "sgx", 0o660),
    ("", "lirc#", "video", 0o660),
    ("", "mISDNtimer", "dialout", 0o660),
];

/// What a node below /dev shall have.
pub(crate) fn wanted(node: &Node<'_>) -> Option<Permission> {
    let by_type = match (node.subsystem, node.scsi_type) {
        ("scsi_generic", Some(0)) => Some("disk"),
        ("scsi_generic", Some(4 | 5)) => Some("cdrom"),
        ("scsi_generic" | "scsi_tape", Some(1 | 8)) => Some("tape"),
        _ => None,
    };
    if let Some(group) = by_type {
        return Some(Permission { group, mode: 0o660 });
    }
    let found = TABLE.iter().find(|(subsystem, pattern, ..)| {
        (subsystem.is_empty() || *subsystem == node.subsystem) && matches(node.name, pattern)
    });
    found.map(|(_, _, group, mode)| Permission { group, mode: *mode })
}

fn matches(name: &str, pattern: &str) -> bool {
    if let Some(stem) = pattern.strip_suffix('#') {
        let digits = name.strip_prefix(stem);
        return digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    }
    match pattern.strip_suffix('*') {
        Some(stem) => name.starts_with(stem),
        None => name == pattern,
    }
}

/// Gives a node its group and mode.
///
/// A group that does not exist leaves the node to root alone, and a node that somebody owns, as a terminal after a
/// login, is left alone.
pub(crate) fn apply(dev: &Path, name: &str, permission: Permission, group_file: &str) -> std::io::Result<()> {
    let path = dev.join(name);
    let before = rustix::fs::lstat(&path)?;
    let is_node = matches!(
        rustix::fs::FileType::from_raw_mode(before.st_mode),
        rustix::fs::FileType::BlockDevice | rustix::fs::FileType::CharacterDevice
    );
    if !is_node || !Uid::from_raw(before.st_uid).is_root() {
        return Ok(());
    }
    let gid = group::number(group_file, permission.group).unwrap_or(0);
    if before.st_gid != gid {
        rustix::fs::chown(&path, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
    }
    if before.st_mode & 0o7777 != permission.mode {
        rustix::fs::chmod(&path, Mode::from_raw_mode(permission.mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_group_and_mode() {
        for (name, subsystem, scsi_type, expected) in [
            ("vda1", "block", None, Some(("disk", 0o660))),
            ("loop0", "block", None, Some(("disk", 0o660))),
            ("sr0", "block", Some(5), Some(("cdrom", 0o660))),
            ("sg0", "scsi_generic", Some(0), Some(("disk", 0o660))),
            ("sg1", "scsi_generic", Some(5), Some(("cdrom", 0o660))),
            ("sg2", "scsi_generic", Some(13), None),
            ("st0", "scsi_tape", Some(1), Some(("tape", 0o660))),
            ("tty1", "tty", None, Some(("tty", 0o600))),
            ("hvc0", "tty", None, Some(("tty", 0o600))),
            ("ttyS0", "tty", None, Some(("dialout", 0o660))),
            ("ttyUSB12", "tty", None, Some(("dialout", 0o660))),
            ("ttyUSB", "tty", None, None),
            ("tty", "tty", None, Some(("tty", 0o666))),
            ("console", "tty", None, None),
            ("vcsa1", "vc", None, Some(("tty", 0o660))),
            ("null", "mem", None, None),
            ("mem", "mem", None, Some(("kmem", 0o640))),
            ("net/tun", "misc", None, Some(("root", 0o666))),
            ("kvm", "misc", None, Some(("kvm", 0o660))),
            ("fuse", "misc", None, Some(("root", 0o666))),
            ("rtc0", "rtc", None, None),
            ("watchdog0", "watchdog", None, None),
            ("input/event3", "input", None, Some(("input", 0o660))),
            ("input/js0", "input", None, Some(("input", 0o664))),
            ("dri/card0", "drm", None, Some(("video", 0o660))),
            ("dri/renderD128", "drm", None, Some(("render", 0o660))),
            ("snd/controlC0", "sound", None, Some(("audio", 0o660))),
            ("bus/usb/001/002", "usb", None, Some(("root", 0o664))),
            ("loop-control", "misc", None, Some(("disk", 0o660))),
        ] {
            let found = wanted(&Node { name, subsystem, scsi_type });
            assert_eq!(found.map(|wanted| (wanted.group, wanted.mode)), expected, "{name}");
        }
    }

    #[test]
    fn a_link_or_a_plain_file_in_place_of_a_node_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("vda");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("vda", folder.path().join("vdb")).unwrap();
        let before = rustix::fs::stat(&file).unwrap().st_mode;
        for name in ["vda", "vdb"] {
            apply(folder.path(), name, Permission { group: "disk", mode: 0o604 }, "").unwrap();
        }
        assert_eq!(rustix::fs::stat(&file).unwrap().st_mode, before);
        assert!(apply(folder.path(), "none", Permission { group: "disk", mode: 0o660 }, "").is_err());
    }
}
