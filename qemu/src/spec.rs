//! What a guest is made of. Pure data; `arguments.rs` turns it into QEMU's command line.

use std::path::PathBuf;

use crate::accelerator::Accelerator;

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

/// How user-data reaches the guest.
#[derive(Debug, Clone)]
pub enum UserData {
    /// Not at all.
    None,
    /// A file given by QEMU's fw_cfg as `opt/org.ferrite/user-data`.
    FwCfg(PathBuf),
    /// A folder with `user-data` and `meta-data`, shown as a FAT disk labelled `cidata`.
    Cidata(PathBuf),
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
    /// The firmware.
    pub firmware: Firmware,
    /// The file that keeps the UEFI variables between runs; `None`: fresh ones for this run.
    pub firmware_variables: Option<PathBuf>,
    /// The network card.
    pub nic: Nic,
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
    /// A kernel instead of the boot loader of the disk.
    pub kernel: Option<DirectKernel>,
}

impl MachineSpec {
    /// The usual machine: BIOS, virtio, 1 GiB, two processors, emulated.
    pub fn new(boot_disk: Disk) -> Self {
        Self {
            disks: vec![boot_disk],
            firmware: Firmware::Bios,
            firmware_variables: None,
            nic: Nic::VirtioNet,
            ssh_port: None,
            memory_mib: 1024,
            cpus: 2,
            accelerator: Accelerator::Tcg,
            watchdog: false,
            usb: false,
            kernel_words: None,
            user_data: UserData::None,
            kernel: None,
        }
    }
}
