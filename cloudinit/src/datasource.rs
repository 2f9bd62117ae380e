//! Where the documents are: QEMU's fw_cfg first, then a disk with the label `cidata` (NoCloud). No network is asked.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use ferrite_probe::{Kind, PREFIX_BYTES, probe};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::document::MAX_BYTES;
use crate::network::Format;

const FW_CFG: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.ferrite";
const BLOCK: &str = "/sys/class/block";
const SEED: &str = "/run/ferrite/cloudinit/seed";
const LOADER: &str = "/usr/lib/ferrite/ferrite-devices";
const MAX_DEVICES: usize = 1024;

/// The documents of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Documents {
    /// Where they came from.
    pub origin: String,
    /// The user-data; empty when there is none.
    pub user_data: Vec<u8>,
    /// The meta-data; empty when there is none.
    pub meta_data: Vec<u8>,
    /// The cloud's own document; empty when there is none.
    pub vendor_data: Vec<u8>,
    /// The description of the network; empty when there is none.
    pub network_config: Vec<u8>,
    /// Whose language it is in.
    pub network_format: Format,
}

/// Finds the documents of this machine; `None` when nobody left any.
pub(crate) fn find() -> anyhow::Result<Option<Documents>> {
    if let Some(found) = fw_cfg(Path::new(FW_CFG))? {
        return Ok(Some(found));
    }
    match seed_disk() {
        Some((device, kind)) => Ok(Some(nocloud(&device, kind)?)),
        None => Ok(None),
    }
}

fn fw_cfg(folder: &Path) -> anyhow::Result<Option<Documents>> {
    let read = |name: &str| read_file(&folder.join(name).join("raw"));
    let (user_data, meta_data) = (read("user-data")?, read("meta-data")?);
    if user_data.is_none() && meta_data.is_none() {
        return Ok(None);
    }
    Ok(Some(Documents {
        origin: "fw_cfg opt/org.ferrite".into(),
        user_data: user_data.unwrap_or_default(),
        meta_data: meta_data.unwrap_or_default(),
        vendor_data: read("vendor-data")?.unwrap_or_default(),
        network_config: read("network-config")?.unwrap_or_default(),
        network_format: Format::CloudInit,
    }))
}

/// The first block device, by name, with the label of NoCloud.
fn seed_disk() -> Option<(PathBuf, Kind)> {
    let entries = std::fs::read_dir(BLOCK).ok()?;
    let mut names: Vec<String> =
        entries.flatten().take(MAX_DEVICES).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.into_iter().filter(|name| !name.starts_with("ram") && !name.starts_with("zram")).find_map(|name| {
        let device = Path::new("/dev").join(name.replace('!', "/"));
        let kind = seed_kind(&device)?;
        Some((device, kind))
    })
}

/// The file system of a device that is a seed. A drive without a medium or an unreadable disk is none.
fn seed_kind(device: &Path) -> Option<Kind> {
    // Without O_NONBLOCK an optical drive that is empty refuses at once; with it the reading would fail, loudly.
    let file = File::open(device).ok()?;
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    file.take(PREFIX_BYTES as u64).read_to_end(&mut prefix).ok()?;
    let found = probe(&prefix)?;
    let is_seed = found.label.is_some_and(|label| label.eq_ignore_ascii_case("cidata"));
    (is_seed && matches!(found.kind, Kind::Vfat | Kind::Iso9660)).then_some(found.kind)
}

fn nocloud(device: &Path, kind: Kind) -> anyhow::Result<Documents> {
    load_modules(kind);
    std::fs::create_dir_all(SEED).with_context(|| format!("making '{SEED}'"))?;
    std::fs::set_permissions(SEED, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .with_context(|| format!("closing '{SEED}' to others"))?;
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(device, SEED, kind.mount_type(), flags, None)
        .with_context(|| format!("mounting {} as {}", device.display(), kind.mount_type()))?;
    let documents = read_seed(Path::new(SEED), device);
    if let Err(error) = unmount(SEED, UnmountFlags::DETACH) {
        eprintln!("warning: unmounting '{SEED}': {error}, it stays mounted read-only");
    }
    documents
}

fn read_seed(folder: &Path, device: &Path) -> anyhow::Result<Documents> {
    Ok(Documents {
        origin: format!("nocloud {}", device.display()),
        user_data: read_file(&folder.join("user-data"))?.unwrap_or_default(),
        meta_data: read_file(&folder.join("meta-data"))?.unwrap_or_default(),
        vendor_data: read_file(&folder.join("vendor-data"))?.unwrap_or_default(),
        network_config: read_file(&folder.join("network-config"))?.unwrap_or_default(),
        network_format: Format::CloudInit,
    })
}

/// The file system and its character sets; the mount would load the first by itself, but not say what is missing.
fn load_modules(kind: Kind) {
    let names: &[&str] = match kind {
        Kind::Vfat => &["vfat", "nls_cp437", "nls_ascii", "nls_utf8"],
        Kind::Iso9660 => &["isofs", "nls_utf8"],
        // No seed is of another kind.
        Kind::Ext | Kind::Erofs | Kind::Xfs | Kind::Btrfs | Kind::Exfat | Kind::Ntfs | Kind::Swap | Kind::Luks => &[],
    };
    match Command::new(LOADER).arg("load").args(names).status() {
        Ok(status) if status.success() => {}
        // The mount says what is missing, if anything is.
        Ok(status) => eprintln!("warning: loading {names:?}: {status}, trying to mount all the same"),
        Err(error) => eprintln!("warning: starting '{LOADER}': {error}, trying to mount all the same"),
    }
}

/// Reads a document; `None` when there is none. Its size is known before, because fw_cfg is slow in small pieces.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    let reading = || format!("reading '{}'", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(reading),
    };
    let size = usize::try_from(file.metadata().with_context(reading)?.len()).unwrap_or(usize::MAX);
    if size > MAX_BYTES {
        bail!("'{}' is larger than the limit of {MAX_BYTES} bytes", path.display());
    }
    let mut bytes = Vec::with_capacity(size + 1);
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).with_context(reading)?;
    if bytes.len() > MAX_BYTES {
        bail!("'{}' is larger than the limit of {MAX_BYTES} bytes", path.display());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fw_cfg_without_our_files_is_no_datasource() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(fw_cfg(folder.path()).unwrap(), None);
        std::fs::create_dir(folder.path().join("user-data")).unwrap();
        std::fs::write(folder.path().join("user-data/raw"), "#cloud-config\n").unwrap();
        let found = fw_cfg(folder.path()).unwrap().unwrap();
        assert_eq!((found.user_data.as_slice(), found.meta_data.as_slice()), (&b"#cloud-config\n"[..], &b""[..]));
    }

    #[test]
    fn only_a_disk_labelled_cidata_is_a_seed() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let mut content = vec![0; 40 * 1024];
        content[32 * 1024..32 * 1024 + 6].copy_from_slice(b"\x01CD001");
        content[32 * 1024 + 40..32 * 1024 + 46].copy_from_slice(b"CIDATA");
        std::fs::write(&disk, &content).unwrap();
        assert_eq!(seed_kind(&disk), Some(Kind::Iso9660));
        content[32 * 1024 + 40] = b'X';
        std::fs::write(&disk, &content).unwrap();
        assert_eq!(seed_kind(&disk), None);
        assert_eq!(seed_kind(&folder.path().join("none")), None);
    }

    #[test]
    fn a_document_over_the_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        std::fs::write(&path, vec![b'x'; MAX_BYTES + 1]).unwrap();
        assert!(read_file(&path).unwrap_err().to_string().contains("larger than the limit"));
    }
}
