//! Disks that carry documents: which there are, and their files while they are mounted, read-only and in private.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use ferrite_probe::{Kind, PREFIX_BYTES, probe};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const BLOCK: &str = "/sys/class/block";
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
}

/// A disk with documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The device.
    pub device: PathBuf,
    /// Its file system.
    pub kind: Kind,
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
    names.retain(|name| !name.starts_with("ram") && !name.starts_with("zram"));
    names.iter().filter_map(|name| look(&Path::new("/dev").join(name.replace('!', "/")))).collect()
}

/// What a device is to us. A drive without a medium or an unreadable disk is nothing.
fn look(device: &Path) -> Option<Volume> {
    // Without O_NONBLOCK an optical drive that is empty refuses at once; with it the reading would fail, loudly.
    let file = File::open(device).ok()?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    file.take(PREFIX_BYTES as u64).read_to_end(&mut prefix).ok()?;
    let found = probe(&prefix)?;
    let label = match found.label?.to_ascii_lowercase().as_str() {
        "cidata" => Label::Cidata,
        "config-2" => Label::Config2,
        _ => return None,
    };
    matches!(found.kind, Kind::Vfat | Kind::Iso9660).then(|| Volume { device: device.into(), kind: found.kind, label })
}

/// Reads a disk: mounts it where nobody else can look, and unmounts it again.
pub(crate) fn read<T>(volume: &Volume, read: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    load_modules(volume.kind);
    std::fs::create_dir_all(SEED).with_context(|| format!("making '{SEED}'"))?;
    std::fs::set_permissions(SEED, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .with_context(|| format!("closing '{SEED}' to others"))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(&volume.device, SEED, volume.kind.mount_type(), flags, None)
        .with_context(|| format!("mounting {} as {}", volume.device.display(), volume.kind.mount_type()))?;
    let outcome = read(Path::new(SEED)).with_context(|| format!("reading {}", volume.device.display()));
    if let Err(error) = unmount(SEED, UnmountFlags::DETACH) {
        eprintln!("warning: unmounting '{SEED}': {error}, it stays mounted read-only");
    }
    outcome
}

/// The file system and its character sets; the mount would load the first by itself, but not say what is missing.
fn load_modules(kind: Kind) {
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
            assert_eq!(look(&disk).map(|volume| (volume.kind, volume.label)), expected.map(|l| (Kind::Iso9660, l)));
        }
        assert_eq!(look(&folder.path().join("none")), None);
    }
}
