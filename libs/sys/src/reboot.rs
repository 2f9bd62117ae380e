//! The end of the machine: reboot, power off, halt, and who reacts to Ctrl-Alt-Del.

use std::ffi::CStr;
use std::io;

use nix::libc;
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
    /// Start the kernel that was loaded for this.
    Kexec,
    /// Start PID 1 and everything above it again, below the same kernel.
    SoftReboot,
}

/// Ends the machine at once; nothing is written back. Returns only when it fails.
pub fn end(how: End) -> io::Error {
    let mode = match how {
        // The kernel has no part in the last one; whoever asks it nevertheless gets the next best.
        End::Reboot | End::SoftReboot => RebootMode::RB_AUTOBOOT,
        End::Kexec => RebootMode::RB_KEXEC,
        End::Poweroff => RebootMode::RB_POWER_OFF,
        End::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    match nix::sys::reboot::reboot(mode) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// Restarts the machine with a word for the firmware or the boot loader. Returns only when it fails.
pub fn restart_with(word: &CStr) -> io::Error {
    // SAFETY: the word ends with a zero byte and outlives the call; the other arguments are integers.
    unsafe {
        libc::syscall(
            libc::SYS_reboot,
            libc::LINUX_REBOOT_MAGIC1,
            libc::LINUX_REBOOT_MAGIC2,
            libc::LINUX_REBOOT_CMD_RESTART2,
            word.as_ptr(),
        )
    };
    io::Error::last_os_error()
}

/// Is a kernel loaded for [`End::Kexec`]?
pub fn kexec_is_loaded() -> bool {
    std::fs::read_to_string("/sys/kernel/kexec_loaded").is_ok_and(|text| text.trim() == "1")
}

/// Ctrl-Alt-Del becomes a SIGINT to PID 1 instead of an instant reboot.
pub fn take_ctrl_alt_del() -> io::Result<()> {
    Ok(nix::sys::reboot::set_cad_enabled(false)?)
}
