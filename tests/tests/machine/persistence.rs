//! A7: what stays and what does not: the root is read-only, /etc, /var and homes persist, /etc follows the image.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};
use ferrite_tests::{Board, Machine, Part};

#[test]
fn the_root_is_read_only_and_the_state_persists() -> anyhow::Result<()> {
    let mut machine = Machine::boot(Board::Qemu)?;
    let refused = machine.try_ssh("sudo touch /usr/bin/x")?;
    assert!(refused.code != 0 && refused.err.contains("Read-only file system"), "{refused:?}");
    machine.sudo("echo kept > /etc/of-mine; echo kept > /var/lib/of-mine; echo kept > /srv/of-mine")?;
    machine.ssh("echo kept > of-mine")?;
    machine.ssh("echo gone > /tmp/of-mine; cat /tmp/of-mine")?;

    // A file of the image is changed and then changed back.
    machine.sudo("cp -p /etc/bash.bashrc /root/original; echo >> /etc/bash.bashrc")?;
    machine.sudo("echo '# mine' >> /etc/profile")?;
    machine.sudo("cp -p /root/original /etc/bash.bashrc; test -e /state/etc/upper/bash.bashrc")?;
    // What the next boot mixes into the kernel's randomness is another seed than what this one left behind.
    let seed = "stat -c '%a %s' /var/lib/systemd/random-seed; sha256sum /var/lib/systemd/random-seed";
    let before = machine.sudo(seed)?;
    assert!(before.starts_with("600 512\n"), "{before}");
    machine.reboot()?;

    assert_ne!(machine.sudo(seed)?, before);
    let kept = machine.ssh("cat /etc/of-mine /var/lib/of-mine /srv/of-mine /home/core/of-mine")?;
    assert_eq!(kept, "kept\nkept\nkept\nkept\n");
    assert_ne!(machine.try_ssh("cat /tmp/of-mine")?.code, 0, "/tmp has persisted");
    machine.sudo("test ! -e /state/etc/upper/bash.bashrc").context("the equal file is still in the overlay")?;
    machine.sudo("test -e /state/etc/upper/profile").context("the changed file has left the overlay")?;
    assert!(machine.ssh("tail -1 /etc/profile")?.contains("# mine"));
    Ok(())
}

#[test]
fn an_orderly_end_leaves_a_clean_file_system_with_everything_written() -> anyhow::Result<()> {
    let mut machine = Machine::boot(Board::Qemu)?;
    // Written and not synced by us: the shutdown has to do it.
    machine.sudo("head -c 8000000 /dev/urandom > /var/lib/random")?;
    let sum = machine.sudo("sha256sum /var/lib/random")?;
    machine.power_off()?;

    let disk = machine.disk()?;
    let superblock = disk.read(Part::State, 1024, 1024)?;
    let needs_recovery = superblock[0x60] & 4 != 0;
    assert!(superblock[0x3a] == 1 && !needs_recovery, "the state partition was not unmounted");
    let folder = tempfile::tempdir().context("making a folder")?;
    let copy = folder.path().join("state");
    fs::write(&copy, disk.read_all(Part::State)?).context("copying the state partition")?;
    let check = Command::new("e2fsck").arg("-fn").arg(&copy).env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").output();
    let check = check.context("starting e2fsck (package e2fsprogs)")?;
    ensure!(check.status.success(), "e2fsck: {}", String::from_utf8_lossy(&check.stdout));

    machine.power_on()?;
    machine.wait_until_running()?;
    assert_eq!(machine.sudo("sha256sum /var/lib/random")?, sum);
    Ok(())
}
