//! What a guest is made of. Pure data; `arguments.rs` turns it into QEMU's command line.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::accelerator::Accelerator;
use crate::metadata::{Cloud, CloudKind};

/// The firmware that starts the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, which QEMU brings along.
    Bios,
    /// OVMF, with its own copy of the variables.
    Uefi,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskBus {
    /// virtio-blk on PCI.
    VirtioBlk,
    /// virtio-scsi on PCI.
    VirtioScsi,
    /// NVMe.
    Nvme,
    /// SATA behind an AHCI controller.
    Ahci,
    /// USB storage behind xHCI.
    Usb,
}

/// The network card; its other end is QEMU's user network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nic {
    /// virtio-net on PCI.
    VirtioNet,
    /// Intel 82574.
    E1000e,
}

/// What QEMU calls the USB controller of a machine that has one.
pub(crate) const USB_BUS: &str = "usb";

/// The format of a disk file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// Plain bytes.
    Raw,
    /// QEMU's own.
    Qcow2,
}

/// A disk of the guest. The first one of a machine is booted.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The file.
    pub file: PathBuf,
    /// Its format.
    pub format: DiskFormat,
    /// How it is attached.
    pub bus: DiskBus,
    /// Writes are thrown away when QEMU ends.
    pub ephemeral: bool,
    /// Every write is also appended to this file, in the format of the kernel's dm-log-writes.
    pub write_log: Option<PathBuf>,
}

impl Disk {
    /// A disk on virtio-blk that keeps its writes; a name that ends in `.qcow2` is of that format, all others are raw.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        let format = match file.extension() {
            Some(extension) if extension == "qcow2" => DiskFormat::Qcow2,
            _ => DiskFormat::Raw,
        };
        Self { file, format, bus: DiskBus::VirtioBlk, ephemeral: false, write_log: None }
    }

    /// The same disk on another bus.
    pub fn on(mut self, bus: DiskBus) -> Self {
        self.bus = bus;
        self
    }
}

/// Where an optical drive hangs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CdBus {
    /// The IDE controller of the machine.
    Ide,
    /// SATA behind an AHCI controller.
    Ahci,
    /// virtio-scsi on PCI.
    VirtioScsi,
    /// USB behind xHCI.
    Usb,
    /// No drive: the image as a disk of virtio-blk that cannot be written.
    VirtioBlk,
}

/// An optical drive with a medium in it.
#[derive(Debug, Clone)]
pub struct Cd {
    /// The image.
    pub file: PathBuf,
    /// Where its drive hangs.
    pub bus: CdBus,
}

/// How user-data reaches the guest.
#[derive(Debug, Clone)]
pub enum UserData {
    /// Not at all.
    None,
    /// A file given by QEMU's fw_cfg as `opt/org.ferrite/user-data`.
    FwCfg(PathBuf),
    /// Files given by QEMU's fw_cfg below `opt/org.ferrite/`, each under its own name.
    FwCfgFiles(Vec<PathBuf>),
    /// A folder with `user-data` and `meta-data`, shown as a FAT disk labelled `cidata`.
    Cidata(PathBuf),
    /// The tree of OpenStack's drive, shown as a FAT disk labelled `config-2`.
    ConfigDrive(PathBuf),
    /// The tree of OpenStack's drive, as a folder shared by 9p under the name `config-2`.
    SharedConfigDrive(PathBuf),
}

/// What the firmware says about the machine; what is absent is QEMU's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Smbios {
    /// Who made it.
    pub manufacturer: Option<String>,
    /// What it is called.
    pub product: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
}

/// A metadata service in the guest's network, at port 80 of 169.254.169.254.
///
/// The network is then 160.0.0.0/4, which holds that address and the private one of its router, 172.16.0.1; its DHCP
/// gives away 172.16.0.15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// The port of 127.0.0.1 where the service listens.
    pub port: u16,
    /// The guest's address when it does not use DHCP.
    pub guest: Option<Ipv4Addr>,
}

/// A kernel that QEMU loads itself, without a boot loader.
#[derive(Debug, Clone)]
pub struct DirectKernel {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
    /// Its command line.
    pub command_line: String,
}

/// A machine, ready to be started by [`crate::Guest::start`].
#[derive(Debug, Clone)]
pub struct MachineSpec {
    /// The disks; the first is booted.
    pub disks: Vec<Disk>,
    /// Optical drives.
    pub cds: Vec<Cd>,
    /// The firmware.
    pub firmware: Firmware,
    /// The file that keeps the UEFI variables between runs; `None`: fresh ones for this run.
    pub firmware_variables: Option<PathBuf>,
    /// The network card.
    pub nic: Nic,
    /// Its hardware address; `None`: QEMU's own.
    pub mac: Option<String>,
    /// Port of 127.0.0.1 that leads to port 22 of the guest.
    pub ssh_port: Option<u16>,
    /// Memory.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// Who runs the guest's instructions.
    pub accelerator: Accelerator,
    /// A hardware watchdog (i6300esb) that resets the machine.
    pub watchdog: bool,
    /// A USB controller that sticks can be plugged into.
    pub usb: bool,
    /// Words added to the kernel's command line, given by SMBIOS table 11.
    pub kernel_words: Option<String>,
    /// User-data.
    pub user_data: UserData,
    /// What the firmware says.
    pub smbios: Smbios,
    /// A metadata service.
    pub metadata: Option<Metadata>,
    /// A kernel instead of the boot loader of the disk.
    pub kernel: Option<DirectKernel>,
    /// The memory of a machine of the same make that was saved ([`crate::Guest::save`]): it goes on and does not start.
    pub memory: Option<PathBuf>,
}

impl MachineSpec {
    /// A machine of this cloud, with its service at this port of 127.0.0.1 and no other user-data.
    pub fn of_cloud(mut self, kind: CloudKind, cloud: &Cloud, port: u16) -> Self {
        let (guest, mac) = cloud.guest();
        self.smbios = kind.smbios();
        self.metadata = Some(Metadata { port, guest });
        self.mac = mac;
        self.user_data = UserData::None;
        self
    }

    /// The usual machine: BIOS, virtio, 1 GiB, two processors, emulated.
    pub fn new(boot_disk: Disk) -> Self {
        Self {
            disks: vec![boot_disk],
            cds: Vec::new(),
            firmware: Firmware::Bios,
            firmware_variables: None,
            nic: Nic::VirtioNet,
            mac: None,
            ssh_port: None,
            memory_mib: 1024,
            cpus: 2,
            accelerator: Accelerator::Tcg,
            watchdog: false,
            usb: false,
            kernel_words: None,
            user_data: UserData::None,
            smbios: Smbios::default(),
            metadata: None,
            kernel: None,
            memory: None,
        }
    }
}
