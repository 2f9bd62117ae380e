//! The end of the machine: reboot, power off, halt, and who reacts to Ctrl-Alt-Del.

use std::io;

use nix::sys::reboot::RebootMode;

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Start again.
    Reboot,
    /// Switch off.
    Poweroff,
    /// Stop, with the power on.
    Halt,
}

/// Ends the machine at once; nothing is written back. Returns only when it fails.
pub fn end(how: End) -> io::Error {
    let mode = match how {
        End::Reboot => RebootMode::RB_AUTOBOOT,
        End::Poweroff => RebootMode::RB_POWER_OFF,
        End::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    match nix::sys::reboot::reboot(mode) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Ctrl-Alt-Del becomes a SIGINT to PID 1 instead of an instant reboot.
pub fn take_ctrl_alt_del() -> io::Result<()> {
    Ok(nix::sys::reboot::set_cad_enabled(false)?)
}
