//! Boots disks in QEMU: what a guest is made of, its console, its monitor, its end.
//!
//! A [`MachineSpec`] is a plan (pure: it becomes QEMU's arguments), a [`Guest`] is a running QEMU. A guest never
//! outlives the thread that started it: it is killed on drop, and by the kernel when its starter dies.

pub mod accelerator;
pub mod boot_probe;
pub mod console;
pub mod disk;
pub mod firmware;
pub mod guest;
pub mod hotplug;
pub mod interrupt;
pub mod metadata;
pub mod progress;
pub mod qmp;
pub mod session;
pub mod spec;
pub mod ssh;
pub mod trouble;
pub mod user_data;

mod arguments;
mod error;
mod process;

pub use accelerator::{Accelerator, AcceleratorChoice};
pub use console::{Console, ConsoleLine};
pub use error::QemuError;
pub use guest::Guest;
pub use hotplug::PluggedDisk;
pub use metadata::MetadataService;
pub use spec::{
    Cd, CdBus, DirectKernel, Disk, DiskBus, DiskFormat, Firmware, MachineSpec, Metadata, Nic, Smbios, UserData,
};
