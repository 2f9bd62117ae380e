//! The device manager: loads kernel modules, names disks under /dev/disk, gives device nodes their group and mode.
//!
//! `monitor` begins with the devices that are there (`coldplug`), follows those that
//! come and go, and waits for the power button. Called by the name `modprobe` it is what the kernel runs to get a file
//! system or a protocol, as `systemd-modules-load` it loads what files and the kernel command line name.

mod block;
mod claims;
mod coldplug;
mod command;
mod devices;
mod disk_id;
mod disk_path;
mod group;
mod messages;
mod modprobe;
mod modules;
mod modules_load;
mod monitor;
mod names;
mod nodes;
mod permissions;
mod power_button;
mod program;
mod sysfs;
mod terminals;
mod uevent;
mod written;

pub use program::main;
