//! The device manager: loads kernel modules, names disks under /dev/disk, gives device nodes their group and mode.
//!
//! `coldplug` does it once for all devices that are there, `monitor` for those that come and go, and waits for
//! the power button. Loading modules is
//! always a process of its own (`load`), so the monitor never holds the index of all modules in memory. Called by the
//! name `modprobe` it is what the kernel runs to get a file system or a protocol.

mod block;
mod coldplug;
mod disk_links;
mod group;
mod modprobe;
mod modules;
mod monitor;
mod permissions;
mod power_button;
mod uevent;

pub use coldplug::coldplug;
pub use modules::{load, modprobe};
pub use monitor::monitor;
