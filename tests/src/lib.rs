//! Machine tests: what a test needs to tell its story about a booted machine.
//!
//! A [`Setup`] is a machine that is off: disks, firmware, what is broken on them. [`Setup::power_on`] makes it a
//! [`Machine`], which is talked to through ssh and its console. Every failure shows the end of the console.

pub mod amount;
pub mod board;
pub mod broken_release;
pub mod broken_slot;
pub mod chance;
pub mod disk_file;
pub mod erofs;
pub mod fake_kernel;
pub mod gate;
pub mod machine;
pub mod probe;
pub mod publisher;
pub mod replay;
pub mod seed;
pub mod setup;
pub mod tiny_elf;
pub mod write_log;

pub use board::Board;
pub use broken_release::BrokenRelease;
pub use broken_slot::BrokenSlot;
pub use chance::Chance;
pub use disk_file::DiskFile;
pub use ferrite_layout::{Part, Slot};
pub use ferrite_qemu::{CdBus, DiskBus, Firmware, Nic, PluggedDisk};
pub use machine::{Machine, Said};
pub use probe::Probe;
pub use publisher::Publisher;
pub use setup::Setup;

/// Text with every run of blanks and line ends made one blank: the banner breaks long lines.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
