//! The device manager: loads kernel modules, names disks under /dev/disk, gives device nodes their group and mode.
//!
//! `monitor` begins with the devices that are there (`coldplug`, which also sets kernel variables), follows those that
//! come and go, and waits for the power button. Called by the name `modprobe` it is what the kernel runs to get a file
//! system or a protocol.

mod block;
mod coldplug;
mod disk_links;
mod group;
mod modprobe;
mod modules;
mod monitor;
mod permissions;
mod power_button;
mod terminals;
mod uevent;
mod variables;

pub use coldplug::coldplug;
pub use modules::{load, modprobe};
pub use monitor::monitor;
