//! Disks that carry documents: which there are, and their files while they are mounted, read-only and in private.
//!
//! A folder of the host that QEMU shares by 9p counts as one, and so does the machine's own oem partition.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use ferrite_layout::facts::{BootFacts, FACTS_PATH};
use ferrite_probe::{Kind, PREFIX_BYTES, probe};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::nocloud;

const BLOCK: &str = "/sys/class/block";
const VIRTIO: &str = "/sys/bus/virtio/devices";
const SEED: &str = "/run/ferrite/cloudinit/seed";
const LOADER: &str = "/usr/lib/ferrite/ferrite-devices";
const MAX_DEVICES: usize = 1024;

/// Whose documents are on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// `cidata`: NoCloud's.
    Cidata,
    /// `config-2`: OpenStack's.
    Config2,
    /// None: the partition is known by its place.
    Oem,
}

impl Label {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "cidata" => Some(Self::Cidata),
            "config-2" => Some(Self::Config2),
            _ => None,
        }
    }
}

/// How it is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// A block device with this file system.
    Block(Kind),
    /// A folder of the host.
    Share,
}

/// A disk with documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The device, or the name of the share.
    pub device: PathBuf,
    /// What it is.
    pub medium: Medium,
    /// Whose documents it has.
    pub label: Label,
}

/// The disks with documents, by name.
pub(crate) fn list() -> Vec<Volume> {
    let Ok(entries) = std::fs::read_dir(BLOCK) else {
        return Vec::new();
    };
    let mut names: Vec<String> =
        entries.flatten().take(MAX_DEVICES).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    // Asking a floppy drive that is empty takes seconds.
    names.retain(|name| !["ram", "zram", "fd"].iter().any(|kind| name.starts_with(kind)));
    let blocks = names.iter().filter_map(|name| look(&Path::new("/dev").join(name.replace('!', "/"))));
    shares(Path::new(VIRTIO)).into_iter().chain(blocks).collect()
}

/// The folders that the host shares under a name of ours.
fn shares(devices: &Path) -> Vec<Volume> {
    // Without the bus there are none.
    let entries = std::fs::read_dir(devices).into_iter().flatten().flatten().take(MAX_DEVICES);
    let mut tags: Vec<String> = entries
        .filter_map(|entry| std::fs::read(entry.path().join("mount_tag")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).to_string())
        .collect();
    tags.sort();
    let volume = |tag: &String| Some(Volume { device: tag.into(), medium: Medium::Share, label: Label::parse(tag)? });
    tags.iter().filter_map(volume).collect()
}

/// The oem partition of this machine, if somebody left a document on it.
pub(crate) fn oem() -> Option<Volume> {
    let facts = BootFacts::parse(&std::fs::read_to_string(FACTS_PATH).ok()?);
    // Who may not mount it is told about the datasource all the same.
    if facts.oem_device.is_empty() || !nix::unistd::geteuid().is_root() {
        return None;
    }
    let volume = Volume { device: facts.oem_device.into(), medium: Medium::Block(Kind::Vfat), label: Label::Oem };
    let names = nocloud::OEM_NAMES.iter().chain(&["meta-data"]);
    let found = read(&volume, |root| Ok(names.clone().any(|name| root.join(name).exists())));
    // Nobody asked for it, so a partition that cannot be read is as good as an empty one, but not in silence.
    let is_there = found.unwrap_or_else(|error| {
        eprintln!("warning: {error:#}, going on without it");
        false
    });
    is_there.then_some(volume)
}

/// What a device is to us. A drive without a medium or an unreadable disk is nothing.
fn look(device: &Path) -> Option<Volume> {
    // Without O_NONBLOCK an optical drive that is empty refuses at once; with it the reading would fail, loudly.
    let file = File::open(device).ok()?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    file.take(PREFIX_BYTES as u64).read_to_end(&mut prefix).ok()?;
    let found = probe(&prefix)?;
    let label = Label::parse(&found.label?)?;
    let medium = Medium::Block(found.kind);
    matches!(found.kind, Kind::Vfat | Kind::Iso9660).then(|| Volume { device: device.into(), medium, label })
}

/// Reads a disk: mounts it where nobody else can look, and unmounts it again.
pub(crate) fn read<T>(volume: &Volume, read: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    load_modules(volume.medium);
    std::fs::create_dir_all(SEED).with_context(|| format!("making '{SEED}'"))?;
    std::fs::set_permissions(SEED, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .with_context(|| format!("closing '{SEED}' to others"))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let (kind, options) = match volume.medium {
        Medium::Block(kind) => (kind.mount_type(), None),
        Medium::Share => ("9p", Some(c"trans=virtio,version=9p2000.L")),
    };
    mount(&volume.device, SEED, kind, flags, options)
        .with_context(|| format!("mounting {} as {kind}", volume.device.display()))?;
    let outcome = read(Path::new(SEED)).with_context(|| format!("reading {}", volume.device.display()));
    if let Err(error) = unmount(SEED, UnmountFlags::DETACH) {
        eprintln!("warning: unmounting '{SEED}': {error}, it stays mounted read-only");
    }
    outcome
}

/// The file system and its character sets; the mount would load the first by itself, but not say what is missing.
fn load_modules(medium: Medium) {
    let Medium::Block(kind) = medium else {
        // A driver found the share, and the mount loads the rest.
        return;
    };
    let names: &[&str] = match kind {
        Kind::Vfat => &["vfat", "nls_cp437", "nls_ascii", "nls_utf8"],
        Kind::Iso9660 => &["isofs", "nls_utf8"],
        // No disk with documents is of another kind.
        Kind::Ext | Kind::Erofs | Kind::Xfs | Kind::Btrfs | Kind::Exfat | Kind::Ntfs | Kind::Swap | Kind::Luks => &[],
    };
    match Command::new(LOADER).arg("load").args(names).status() {
        Ok(status) if status.success() => {}
        // The mount says what is missing, if anything is.
        Ok(status) => eprintln!("warning: loading {names:?}: {status}, trying to mount all the same"),
        Err(error) => eprintln!("warning: starting '{LOADER}': {error}, trying to mount all the same"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, arguments: &[&str], folder: &Path) {
        let output = Command::new(name).args(arguments).current_dir(folder).output();
        let output = output.unwrap_or_else(|error| panic!("this test needs the program '{name}': {error}"));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn media_that_real_tools_made_are_known_whatever_their_size_and_the_case_of_the_label() {
        let folder = tempfile::tempdir().unwrap();
        let is = |name: &str, kind: Kind, label: Label| {
            let found = look(&folder.path().join(name)).map(|volume| (volume.medium, volume.label));
            assert_eq!(found, Some((Medium::Block(kind), label)), "{name}");
        };
        for (bits, mib, label) in
            [("12", 2, "cidata"), ("16", 64, "CIDATA"), ("32", 300, "CIDATA"), ("32", 40, "cidata")]
        {
            let name = format!("fat{bits}-{mib}");
            std::fs::File::create(folder.path().join(&name)).unwrap().set_len(mib << 20).unwrap();
            tool("mkfs.vfat", &["-F", bits, "-n", label, &name], folder.path());
            is(&name, Kind::Vfat, Label::Cidata);
        }
        std::fs::create_dir(folder.path().join("files")).unwrap();
        std::fs::write(folder.path().join("files/user-data"), "#cloud-config\n").unwrap();
        for (options, label) in [(&["-J", "-r"][..], "config-2"), (&["-r"], "CONFIG-2"), (&[], "config-2")] {
            let arguments = [&["-quiet", "-V", label, "-o", "cd"][..], options, &["files"]].concat();
            tool("genisoimage", &arguments, folder.path());
            is("cd", Kind::Iso9660, Label::Config2);
        }
    }

    #[test]
    fn a_share_of_the_host_is_known_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for (device, tag) in [("virtio3", &b"config-2\0"[..]), ("virtio4", b"home\n")] {
            std::fs::create_dir(folder.path().join(device)).unwrap();
            std::fs::write(folder.path().join(device).join("mount_tag"), tag).unwrap();
        }
        std::fs::create_dir(folder.path().join("virtio0")).unwrap();
        let expected = Volume { device: "config-2".into(), medium: Medium::Share, label: Label::Config2 };
        assert_eq!(shares(folder.path()), [expected]);
        assert_eq!(shares(&folder.path().join("none")), []);
    }

    #[test]
    fn only_a_disk_with_a_label_of_ours_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let mut content = vec![0; 40 * 1024];
        content[32 * 1024..32 * 1024 + 6].copy_from_slice(b"\x01CD001");
        for (label, expected) in [
            (b"CIDATA  ", Some(Label::Cidata)),
            (b"config-2", Some(Label::Config2)),
            (b"CONFIG-2", Some(Label::Config2)),
            (b"config-3", None),
        ] {
            content[32 * 1024 + 40..32 * 1024 + 48].copy_from_slice(label);
            std::fs::write(&disk, &content).unwrap();
            let found = look(&disk).map(|volume| (volume.medium, volume.label));
            assert_eq!(found, expected.map(|label| (Medium::Block(Kind::Iso9660), label)));
        }
        assert_eq!(look(&folder.path().join("none")), None);
    }
}
