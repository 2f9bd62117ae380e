//! The very end of a machine: PID 1 moves to a file system in memory, so that the root itself can be closed.
//!
//! `enter` copies this program into memory, makes that the root and executes it; `run` is what it does there. If any of
//! it fails, the machine ends from where it is: everything was written back before.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ferrite_sys::inherit::Inherited;
use ferrite_sys::reboot::End;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::closing::{self, Closing};
use crate::facts::is_mount_point;
use crate::log::{Log, Mark};
use crate::mount_table;
use crate::shutdown;
use crate::watch::Watch;

/// Folders of the root, at least one of which every root has, that are not needed any more.
const PLACES: [&str; 3] = ["/tmp", "/mnt", "/media"];
/// The kernel's file systems, which move along.
const MOVED: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];
/// The program in memory.
const PROGRAM: &str = "/last-stage";
const OLD_ROOT: &str = "/oldroot";
/// The word that `main` knows the last stage by.
pub const OPTION: &str = "--last-stage";
/// The watchdog's time for the kernel's own part of the end.
const WATCHDOG_SECONDS: u32 = 600;

/// The word for an end, also for the hooks.
pub fn word(end: End) -> &'static str {
    match end {
        End::Reboot => "reboot",
        End::Poweroff => "poweroff",
        End::Halt => "halt",
        End::Kexec => "kexec",
        End::SoftReboot => "soft-reboot",
    }
}

fn end_of(word: &str) -> End {
    let ends = [End::Poweroff, End::Halt, End::Kexec];
    ends.into_iter().find(|end| self::word(*end) == word).unwrap_or(End::Reboot)
}

/// Moves into memory and goes on there. Returns only what went wrong.
pub fn enter(end: End, argument: Option<&str>, watch: &Watch) -> io::Error {
    match prepare() {
        Ok(()) => {}
        Err(error) => return error,
    }
    let words = [PROGRAM, OPTION, word(end), argument.unwrap_or("")];
    let words: Vec<CString> = words.into_iter().filter_map(|word| CString::new(word).ok()).collect();
    let Some(program) = words.first().cloned() else { return io::ErrorKind::InvalidInput.into() };
    watch.hand_over(true);
    let error = ferrite_sys::inherit::execute(&program, &words);
    watch.hand_over(false);
    error
}

fn prepare() -> io::Result<()> {
    let place = PLACES.iter().find(|place| Path::new(place).is_dir()).ok_or(io::ErrorKind::NotFound)?;
    // Mounts must not spread to other namespaces, or the root could not be exchanged.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("tmpfs"), *place, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=700,size=64m"))?;
    let outcome = fill(place).and_then(|()| exchange(place));
    if outcome.is_err() {
        // It holds nothing but a copy of this program.
        let _ = umount2(*place, MntFlags::MNT_DETACH);
    }
    outcome
}

fn fill(place: &str) -> io::Result<()> {
    let program = format!("{place}{PROGRAM}");
    fs::copy("/proc/self/exe", &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700))?;
    MOVED.iter().chain([&OLD_ROOT]).try_for_each(|folder| fs::create_dir(format!("{place}{folder}")))
}

fn exchange(place: &str) -> io::Result<()> {
    rustix::process::pivot_root(place, format!("{place}{OLD_ROOT}"))?;
    rustix::process::chdir("/")?;
    for folder in MOVED {
        let old = format!("{OLD_ROOT}{folder}");
        // Without one of them the last stage does less; it is left to the old root then.
        let _ = mount(Some(old.as_str()), folder, None::<&str>, MsFlags::MS_MOVE, None::<&str>);
    }
    Ok(())
}

/// The last stage, as process 1 on the file system in memory.
pub fn run(words: &[String]) -> io::Error {
    // First of all, as long as every open file is one of the image before this one.
    let mut inherited = Inherited::find();
    let end = end_of(words.first().map_or("", String::as_str));
    let argument = words.get(1).map(String::as_str).filter(|word| !word.is_empty());
    let log = Log::kernel();
    let (mut watch, fault) = Watch::open(&fs::read_to_string("/proc/cmdline").unwrap_or_default(), &mut inherited);
    inherited.close_rest();
    fault.iter().for_each(|fault| log.warning(fault));
    close_root(&log, &watch);
    shutdown::write_back(&log, &watch);
    leave(end, argument, &log, &mut watch)
}

/// Closes the old root and what lies below it.
fn close_root(log: &Log, watch: &Watch) {
    let mut closing = Closing::new(log, watch);
    let left = closing.close_all(|place| place == "/");
    if !left.is_empty() {
        log.error(&format!("still writable: {}", left.join(" ")));
    }
    let mapped = closing::mapped_devices();
    match Path::new(mount_table::TABLE).exists() && !is_mount_point(OLD_ROOT) {
        true if mapped.is_empty() => log.status(Mark::Ok, "All file systems and devices are closed."),
        true => log.warning(&format!("all file systems are closed, still mapped: {}", mapped.join(" "))),
        false => log.error("the root cannot be closed, it is read-only"),
    }
}

/// The last call. Returns only what went wrong.
pub fn leave(end: End, argument: Option<&str>, log: &Log, watch: &mut Watch) -> io::Error {
    if end == End::Halt {
        // Nobody pings a halted machine, and it is to stay halted.
        watch.disarm();
    } else {
        watch.lengthen(WATCHDOG_SECONDS);
    }
    let text = match end {
        End::Reboot | End::SoftReboot => "Restarting.",
        End::Poweroff => "Powering off.",
        End::Halt => "Halted.",
        End::Kexec => "Starting another kernel.",
    };
    log.status(Mark::None, text);
    if end == End::Reboot
        && let Some(Ok(argument)) = argument.map(CString::new)
    {
        let error = ferrite_sys::reboot::restart_with(&argument);
        log.warning(&format!("restarting with an argument: {error}, restarting without"));
    }
    if end == End::Kexec {
        let error = ferrite_sys::reboot::end(end);
        log.error(&format!("starting another kernel: {error}, restarting"));
        return ferrite_sys::reboot::end(End::Reboot);
    }
    ferrite_sys::reboot::end(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_survives_as_a_word() {
        for end in [End::Reboot, End::Poweroff, End::Halt, End::Kexec] {
            assert_eq!(end_of(word(end)), end);
        }
        assert_eq!(end_of("strange"), End::Reboot);
    }
}
