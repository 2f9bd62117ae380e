//! Where the journal of a machine lies.

/// The journal on the disk, above the folder of the machine.
pub const DISK: &str = "/var/log/journal";
/// The journal in memory, above the folder of the machine.
pub const MEMORY: &str = "/run/log/journal";
/// The file with the id of the machine.
pub const MACHINE_ID: &str = "/etc/machine-id";
