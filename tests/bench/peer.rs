//! The peer: Debian trixie with systemd, the same kernel, sshd and etcd packages, installed as Debian installs itself.
//!
//! Everything is made anew from packages; a root that is already in the folder is used again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use ferrite_qemu::ssh;

/// The same kernel, ssh and etcd as the board's; systemd and what Debian's own images have beside it.
const PACKAGES: &str = "systemd-sysv,systemd,systemd-resolved,udev,dbus,libpam-systemd,openssh-server,etcd-server,\
    etcd-client,linux-image-cloud-amd64,initramfs-tools,zstd,ca-certificates,iproute2,procps,less,curl,sudo,login,\
    e2fsprogs,nano,iputils-ping,kmod";
const DISK_BYTES: u64 = 2 << 30;

/// The files that boot the peer.
pub(crate) struct Peer {
    pub(crate) disk: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    pub(crate) key: PathBuf,
    /// The installed root as a tar file.
    pub(crate) root_tar: PathBuf,
}

/// Builds the peer in `out`/peer.
pub(crate) fn build(out: &Path) -> anyhow::Result<Peer> {
    let folder = out.join("peer");
    fs::create_dir_all(&folder).with_context(|| format!("making '{}'", folder.display()))?;
    let peer = Peer {
        disk: folder.join("debian.raw"),
        kernel: folder.join("vmlinuz"),
        initrd: folder.join("initrd.img"),
        key: folder.join("key"),
        root_tar: folder.join("root.tar"),
    };
    if !peer.root_tar.exists() {
        eprintln!("installing the peer from packages");
        let new = folder.join("new.tar");
        run(Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=minbase", "--format=tar"])
            .arg(format!("--include={PACKAGES}"))
            .arg("trixie")
            .arg(&new))?;
        fs::rename(&new, &peer.root_tar).context("keeping the peer's root")?;
    }
    let root = folder.join("root");
    unpack(&peer.root_tar, &root)?;
    let public = ssh::ensure_key(&peer.key)?;
    configure(&root, &public)?;
    copy_boot_files(&root, &peer)?;
    make_disk(&root, &peer.disk)?;
    fs::remove_dir_all(&root).context("removing the peer's unpacked root")?;
    Ok(peer)
}

/// A root of Debian trixie in this folder with these packages; one that is there is used again.
pub(crate) fn packaged_root(out: &Path, packages: &str) -> anyhow::Result<PathBuf> {
    let root = out.join("root");
    if !root.exists() {
        eprintln!("installing {packages} from packages");
        let new = out.join("new");
        let _ = fs::remove_dir_all(&new); // It may not be there.
        run(Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=minbase", "--format=directory"])
            .arg(format!("--include={packages}"))
            .arg("trixie")
            .arg(&new))?;
        fs::rename(&new, &root).with_context(|| format!("keeping the root of {packages}"))?;
    }
    Ok(root)
}

fn unpack(tar: &Path, root: &Path) -> anyhow::Result<()> {
    if root.exists() {
        fs::remove_dir_all(root).context("removing an old root")?;
    }
    fs::create_dir_all(root).context("making the root")?;
    run(Command::new("tar").arg("-C").arg(root).args(["--numeric-owner", "-xpf"]).arg(tar))
}

/// DHCP on every wired link, the key for `core`, host keys; etcd is installed but off, as it is in Ferrite.
fn configure(root: &Path, public_key: &str) -> anyhow::Result<()> {
    let write = |name: &str, text: &str| fs::write(root.join(name), text).with_context(|| format!("writing {name}"));
    write("etc/systemd/network/80-dhcp.network", "[Match]\nType=ether\n[Network]\nDHCP=ipv4\n")?;
    write("etc/hostname", "debian\n")?;
    write("etc/machine-id", "")?;
    write("etc/fstab", "/dev/vda / ext4 defaults 0 1\n")?;
    run(Command::new("useradd").arg("-R").arg(root).args(["-m", "-u", "1000", "-s", "/bin/bash", "core"]))?;
    write("etc/sudoers.d/core", "core ALL=(ALL) NOPASSWD:ALL\n")?;
    let ssh_folder = root.join("home/core/.ssh");
    fs::create_dir_all(&ssh_folder).context("making core's ssh folder")?;
    write("home/core/.ssh/authorized_keys", &format!("{public_key}\n"))?;
    for path in [ssh_folder.clone(), ssh_folder.join("authorized_keys")] {
        chown(&path, Some(1000), Some(1000)).context("giving core its key")?;
    }
    fs::set_permissions(&ssh_folder, fs::Permissions::from_mode(0o700)).context("closing core's ssh folder")?;
    run(Command::new("ssh-keygen").arg("-A").arg("-f").arg(root))?;
    run(Command::new("chroot").arg(root).args(["systemctl", "--quiet", "enable", "systemd-networkd", "ssh"]))?;
    run(Command::new("chroot").arg(root).args(["systemctl", "--quiet", "disable", "etcd"]))
}

fn copy_boot_files(root: &Path, peer: &Peer) -> anyhow::Result<()> {
    for (prefix, to) in [("vmlinuz-", &peer.kernel), ("initrd.img-", &peer.initrd)] {
        let found = fs::read_dir(root.join("boot"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
            .with_context(|| format!("the peer has no /boot/{prefix}*"))?;
        fs::copy(found, to).context("copying the peer's kernel")?;
    }
    Ok(())
}

fn make_disk(root: &Path, disk: &Path) -> anyhow::Result<()> {
    let file = fs::File::create(disk).context("making the peer's disk")?;
    file.set_len(DISK_BYTES).context("sizing the peer's disk")?;
    run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-L", "debian", "-d"]).arg(root).arg(disk))
}

/// Runs a command; its words are shown when it fails.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("starting {name}: is its package installed?"))?;
    ensure!(output.status.success(), "{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}
