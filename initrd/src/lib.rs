//! Early boot: from the kernel's first program to the root's `init`.
//!
//! Finds the disk it was started from, verifies and mounts the root of its slot, mounts what survives an
//! update over it and switches to it. Nothing here panics, waits for ever or returns: whatever fails is told on
//! every console and written down, then the machine reboots, so that the boot loader can try the other slot.

pub mod boot;
pub mod failure;
pub mod stage;

pub mod command_line;
pub mod deadline;
pub mod early_mounts;
pub mod report;

pub mod drivers;
pub mod uevents;
pub mod watchdog;

pub mod block_devices;
pub mod disks;
pub mod efi;
pub mod find;

pub mod root;
pub mod slots;
pub mod table;

pub mod etc;
pub mod etc_prune;
pub mod fill;
pub mod machine_id;
pub mod state;
pub mod state_grow;
pub mod state_kind;
pub mod tool;

pub mod handover;
pub mod switch;
