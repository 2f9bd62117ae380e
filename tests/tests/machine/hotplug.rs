//! J5: a disk, a network card and a USB stick that are plugged into a running machine appear with modules, links and
//! permissions, start what waits for them, and take everything along when they are pulled. There is no udev.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use ferrite_tests::{Board, DiskBus, Machine, Nic, PluggedDisk, Setup};
use tempfile::TempDir;

/// A module, its device and its links may take an emulated machine a while.
const PATIENCE: Duration = Duration::from_secs(180);
const DISK_BYTES: u64 = 64 << 20;
/// What the kernel says when a mounted disk is pulled.
const PULLED_WHILE_MOUNTED: [&str; 4] = ["I/O error", "EXT4-fs error", "EXT4-fs warning", "Buffer I/O error"];
/// Makes a partition with a name and a file system with a label on a disk.
const FORMAT: &str = "echo \"start=2048, uuid=11111111-2222-3333-4444-555555555555, name=\\\"hot plug\\\"\" \
    | sfdisk --quiet --label gpt DISK && mke2fs -q -t ext4 -L \"plugged in\" \
    -U 01234567-89ab-cdef-0123-456789abcdef PART";

/// Disks of the host side that live as long as the test.
struct Disks(TempDir);

impl Disks {
    fn new() -> anyhow::Result<Self> {
        Ok(Self(tempfile::tempdir().context("making a folder")?))
    }

    fn blank(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.0.path().join(name);
        File::create(&path).and_then(|file| file.set_len(DISK_BYTES)).context("making a disk")?;
        Ok(path)
    }
}

fn plug(machine: &mut Machine, id: &str, file: &Path, bus: DiskBus, slot: Option<u8>) -> anyhow::Result<()> {
    let serial = format!("{id} #1");
    Ok(machine.on()?.plug_disk(&PluggedDisk { id, file, bus, serial: &serial, slot })?)
}

/// The links to a node below /dev, without those that count the disks of this start.
fn links(machine: &mut Machine, node: &str) -> anyhow::Result<String> {
    let command = format!("find /dev -xdev -lname \"*/{node}\" ! -path \"*/by-diskseq/*\" ! -path \"/dev/block/*\"");
    let said = machine.ssh(&format!("{command} | sort"))?;
    Ok(said.lines().map(|line| format!("{}\n", line.trim_start_matches("/dev/disk/"))).collect())
}

/// Waits until the links to a node are these.
fn expect_links(machine: &mut Machine, node: &str, expected: &[&str]) -> anyhow::Result<()> {
    let expected: String = expected.iter().map(|link| format!("{link}\n")).collect();
    let mut last = String::new();
    let found = machine.wait_for("the links", PATIENCE, |machine| {
        last = links(machine, node)?;
        Ok((last == expected).then_some(()))
    });
    found.with_context(|| format!("the links to {node} are\n{last}and should be\n{expected}"))
}

fn expect_state(machine: &mut Machine, unit: &str, wanted: &str) -> anyhow::Result<()> {
    let mut last = String::new();
    let found = machine.wait_for("the state", PATIENCE, |machine| {
        last = machine.ssh(&format!("systemctl show -p ActiveState --value '{unit}'"))?.trim().to_string();
        Ok((last == wanted).then_some(()))
    });
    found.with_context(|| format!("{unit} is {last} and should be {wanted}"))
}

/// Owner, group and mode of files.
fn permissions(machine: &mut Machine, nodes: &str) -> anyhow::Result<Vec<String>> {
    Ok(machine.ssh(&format!("stat -L -c '%n %U:%G %a' {nodes}"))?.lines().map(str::to_string).collect())
}

#[test]
fn disks_bring_their_links_start_what_wants_them_and_take_both_along() -> anyhow::Result<()> {
    let disks = Disks::new()?;
    let (virtio, nvme) = (disks.blank("virtio")?, disks.blank("nvme")?);
    let mut machine = Setup::new(Board::Qemu)?.expecting(&PULLED_WHILE_MOUNTED).boot()?;

    plug(&mut machine, "virtio", &virtio, DiskBus::VirtioBlk, Some(0x10))?;
    let of_disk = ["by-id/virtio-virtio_#1", "by-path/pci-0000:00:10.0", "by-path/virtio-pci-0000:00:10.0"];
    expect_links(&mut machine, "vdb", &of_disk)?;
    // The kernel tells nobody of a new file system: whoever closes the disk does.
    machine.sudo(&FORMAT.replace("DISK", "/dev/vdb").replace("PART", "/dev/vdb1"))?;
    let of_partition = [
        "by-id/virtio-virtio_#1-part1",
        "by-label/plugged\\x20in",
        "by-partlabel/hot\\x20plug",
        "by-partuuid/11111111-2222-3333-4444-555555555555",
        "by-path/pci-0000:00:10.0-part1",
        "by-path/virtio-pci-0000:00:10.0-part1",
        "by-uuid/01234567-89ab-cdef-0123-456789abcdef",
    ];
    expect_links(&mut machine, "vdb1", &of_partition)?;
    assert_eq!(
        permissions(&mut machine, "/dev/vdb /dev/vdb1 \"/dev/disk/by-label/plugged\\x20in\"")?,
        ["/dev/vdb root:disk 660", "/dev/vdb1 root:disk 660", "/dev/disk/by-label/plugged\\x20in root:disk 660"]
    );

    plug(&mut machine, "nvme", &nvme, DiskBus::Nvme, Some(0x11))?;
    machine.wait_for("the NVMe disk", PATIENCE, |machine| {
        let said = links(machine, "nvme0n1")?;
        Ok((said.contains("by-path/pci-0000:00:11.0-nvme-1\n") && said.contains("by-id/nvme-QEMU_NVMe_Ctrl_nvme_#1\n"))
            .then_some(()))
    })?;
    machine.on()?.pull_disk("nvme")?;
    expect_links(&mut machine, "nvme0n1", &[])?;

    machine.on()?.pull_disk("virtio")?;
    expect_links(&mut machine, "vdb*", &[])?;
    waits_for_the_disk(&mut machine)?;
    plug(&mut machine, "virtio", &virtio, DiskBus::VirtioBlk, Some(0x10))?;
    expect_links(&mut machine, "vdb1", &of_partition)?;
    comes_with_the_disk(&mut machine)?;
    machine.on()?.pull_disk("virtio")?;
    goes_with_the_disk(&mut machine)?;
    expect_links(&mut machine, "vdb*", &[])?;
    machine.power_off()
}

const DEVICE: &str = "dev-disk-by\\x2dlabel-plugged\\x5cx20in.device";

/// A mount that the device wants, and a service that is bound to the mount.
fn waits_for_the_disk(machine: &mut Machine) -> anyhow::Result<()> {
    let mount = "[Mount]\nWhat=/dev/disk/by-label/plugged\\x20in\nWhere=/srv/plugged\n\
                 [Install]\nWantedBy=dev-disk-by\\x2dlabel-plugged\\x5cx20in.device\n";
    machine.send("/etc/systemd/system/srv-plugged.mount", mount.as_bytes())?;
    let user = "[Unit]\nRequiresMountsFor=/srv/plugged\nBindsTo=srv-plugged.mount\n\
                [Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=srv-plugged.mount\n";
    machine.send("/etc/systemd/system/plugged-user.service", user.as_bytes())?;
    machine.sudo("systemctl enable srv-plugged.mount plugged-user.service")?;
    machine.sudo("systemctl daemon-reload")?;
    expect_state(machine, DEVICE, "inactive")?;
    expect_state(machine, "srv-plugged.mount", "inactive")
}

fn comes_with_the_disk(machine: &mut Machine) -> anyhow::Result<()> {
    expect_state(machine, "srv-plugged.mount", "active")?;
    expect_state(machine, "plugged-user.service", "active")?;
    let status = machine.ssh(&format!("systemctl status '{DEVICE}'"))?;
    ensure!(status.contains("active (plugged)"), "{status}");
    machine.sudo("touch /srv/plugged/here && sync /srv/plugged/here")?;
    Ok(())
}

fn goes_with_the_disk(machine: &mut Machine) -> anyhow::Result<()> {
    for unit in [DEVICE, "plugged-user.service", "srv-plugged.mount"] {
        expect_state(machine, unit, "inactive")?;
    }
    let mounts = machine.ssh("cat /proc/mounts")?;
    ensure!(!mounts.contains("/srv/plugged"), "{mounts}");
    Ok(())
}

#[test]
fn a_card_and_a_stick_get_their_drivers_an_address_and_links() -> anyhow::Result<()> {
    let disks = Disks::new()?;
    let (stick, twin) = (disks.blank("stick")?, disks.blank("twin")?);
    let mut machine = Setup::new(Board::Metal)?.usb().boot()?;
    let before = machine.ssh("ls /sys/module")?;
    let is_loaded = |modules: &str, name: &str| modules.lines().any(|line| line == name);
    ensure!(!is_loaded(&before, "e1000e"), "the driver of the card is there before the card");

    machine.on()?.plug_nic("card", Nic::E1000e)?;
    let address = machine.wait_for("the address of the card", PATIENCE, |machine| {
        let said = machine.ssh("ip -4 -o addr show scope global")?;
        Ok(said.lines().find(|line| line.contains("inet 10.0.9.")).map(str::to_string))
    })?;
    let name = address.split_whitespace().nth(1).context("the address has no interface")?.to_string();
    ensure!(is_loaded(&machine.ssh("ls /sys/module")?, "e1000e"), "{address}");
    machine.on()?.pull_nic("card")?;
    machine.wait_for("the end of the card", PATIENCE, |machine| {
        Ok((machine.try_ssh(&format!("ip link show {name}"))?.code != 0).then_some(()))
    })?;

    plug(&mut machine, "stick", &stick, DiskBus::Usb, None)?;
    let of_stick = |suffix: &str| -> Vec<String> {
        let place = "by-path/pci-0000:00:1c.0-usb";
        vec![
            format!("by-id/usb-QEMU_QEMU_HARDDISK_stick_#1-0:0{suffix}"),
            format!("{place}-0:1:1.0-scsi-0:0:0:0{suffix}"),
            format!("{place}v3-0:1:1.0-scsi-0:0:0:0{suffix}"),
        ]
    };
    let disk = of_stick("");
    expect_links(&mut machine, "sda", &disk.iter().map(String::as_str).collect::<Vec<_>>())?;
    machine.sudo(&FORMAT.replace("DISK", "/dev/sda").replace("PART", "/dev/sda1"))?;
    let own = of_stick("-part1");
    let label = "by-label/plugged\\x20in";
    let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
    all.splice(1..1, [label, "by-partlabel/hot\\x20plug", "by-partuuid/11111111-2222-3333-4444-555555555555"]);
    all.push("by-uuid/01234567-89ab-cdef-0123-456789abcdef");
    expect_links(&mut machine, "sda1", &all)?;
    assert_eq!(permissions(&mut machine, "/dev/sda1")?, ["/dev/sda1 root:disk 660"]);

    a_copy_takes_nothing_away(&mut machine, &twin, label)?;
    expect_links(&mut machine, "sda*", &[])?;
    machine.power_off()
}

/// A second stick with the same content: the first keeps its links until it goes, then the second has them.
fn a_copy_takes_nothing_away(machine: &mut Machine, twin: &Path, label: &str) -> anyhow::Result<()> {
    plug(machine, "twin", twin, DiskBus::Usb, None)?;
    machine.wait_for("the second stick", PATIENCE, |machine| {
        Ok(links(machine, "sdb")?.contains("twin_#1").then_some(()))
    })?;
    machine.sudo("sync; dd if=/dev/sda of=/dev/sdb bs=1M conv=fsync status=none && blockdev --rereadpt /dev/sdb")?;
    machine.wait_for("the partition of the second stick", PATIENCE, |machine| {
        Ok(links(machine, "sdb1")?.contains("twin_#1-0:0-part1\n").then_some(()))
    })?;
    ensure!(links(machine, "sda1")?.contains(label), "the copy has taken the label");
    machine.on()?.pull_disk("stick")?;
    machine.wait_for("the second stick to have the label", PATIENCE, |machine| {
        Ok(links(machine, "sdb1")?.contains(label).then_some(()))
    })?;
    machine.on()?.pull_disk("twin")?;
    expect_links(machine, "sdb*", &[])
}

#[test]
fn nodes_have_the_permissions_of_udev_and_a_storm_of_messages_loses_no_device() -> anyhow::Result<()> {
    let disks = Disks::new()?;
    let mut machine = Setup::new(Board::Qemu)?.watchdog().boot()?;
    machine.sudo("modprobe -a loop tun fuse vhost_net")?;
    machine.sudo("modprobe kvm")?;
    for (node, wanted) in [
        ("/dev/vda", "root:disk 660"),
        ("/dev/loop-control", "root:disk 660"),
        ("/dev/tty", "root:tty 666"),
        ("/dev/ptmx", "root:tty 666"),
        ("/dev/tty2", "root:tty 600"),
        ("/dev/ttyS1", "root:dialout 660"),
        ("/dev/vcs", "root:tty 660"),
        ("/dev/mem", "root:kmem 640"),
        ("/dev/net/tun", "root:root 666"),
        ("/dev/fuse", "root:root 666"),
        ("/dev/vhost-net", "root:kvm 660"),
        ("/dev/rtc", "root:root 600"),
        ("/dev/watchdog", "root:root 600"),
        ("/dev/kmsg", "root:root 644"),
        ("/dev/null", "root:root 666"),
        ("/dev/input/event0", "root:input 660"),
    ] {
        machine.wait_for(&format!("{node} with {wanted}"), PATIENCE, |machine| {
            let said = machine.try_ssh(&format!("stat -L -c '%U:%G %a' {node}"))?;
            Ok((said.out.trim() == wanted).then_some(()))
        })?;
    }
    let programs = machine.ssh("ls /usr/lib/systemd/systemd-udevd /usr/bin/udevadm /lib/udev 2>&1; true")?;
    ensure!(programs.matches("No such file").count() == 3, "udev is in the image:\n{programs}");

    // The kernel keeps so many messages for a program that does not read, and drops the rest.
    let file = disks.blank("storm")?;
    machine.sudo("systemctl kill --signal=STOP ferrite-devices")?;
    machine.sudo("for i in {1..20000}; do echo change >/sys/class/mem/null/uevent; done")?;
    plug(&mut machine, "storm", &file, DiskBus::VirtioBlk, Some(0x12))?;
    machine
        .wait_for("the disk", PATIENCE, |machine| Ok((machine.try_ssh("test -b /dev/vdb")?.code == 0).then_some(())))?;
    ensure!(links(&mut machine, "vdb")?.is_empty(), "nobody handles devices, and there are links");
    machine.sudo("systemctl kill --signal=CONT ferrite-devices")?;
    let of_disk = ["by-id/virtio-storm_#1", "by-path/pci-0000:00:12.0", "by-path/virtio-pci-0000:00:12.0"];
    expect_links(&mut machine, "vdb", &of_disk)?;
    assert_eq!(permissions(&mut machine, "/dev/vdb")?, ["/dev/vdb root:disk 660"]);
    let log = machine.sudo("journalctl -b -u ferrite-devices")?;
    ensure!(log.contains("the kernel lost device messages"), "nothing was lost:\n{log}");
    machine.on()?.pull_disk("storm")?;
    expect_links(&mut machine, "vdb", &[])?;
    machine.power_off()
}
