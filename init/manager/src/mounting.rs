//! Mounts and unmounts. Runs in a child: a mount may hang for ever, PID 1 may not.

use std::io::Write;
use std::os::fd::OwnedFd;

use ferrite_unit::mount::Mount;
use nix::mount::{MntFlags, MsFlags};

/// Flags with names; the second list takes a flag away.
const FLAGS: [(&str, MsFlags); 12] = [
    ("ro", MsFlags::MS_RDONLY),
    ("nosuid", MsFlags::MS_NOSUID),
    ("nodev", MsFlags::MS_NODEV),
    ("noexec", MsFlags::MS_NOEXEC),
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
    ("relatime", MsFlags::MS_RELATIME),
    ("strictatime", MsFlags::MS_STRICTATIME),
    ("bind", MsFlags::MS_BIND),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC)),
];
const OPPOSITES: [(&str, MsFlags); 6] = [
    ("rw", MsFlags::MS_RDONLY),
    ("suid", MsFlags::MS_NOSUID),
    ("dev", MsFlags::MS_NODEV),
    ("exec", MsFlags::MS_NOEXEC),
    ("async", MsFlags::MS_SYNCHRONOUS),
    ("atime", MsFlags::MS_NOATIME),
];
/// Options that speak to the manager or to mount(8), not to the kernel.
const NOT_FOR_KERNEL: [&str; 7] = ["defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser"];

/// Splits the text of `Options=` into flags and what goes to the file system.
pub fn options(text: &str) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut data = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == word) {
            flags |= *flag;
        } else if let Some((_, flag)) = OPPOSITES.iter().find(|(name, _)| *name == word) {
            flags &= !*flag;
        } else if !NOT_FOR_KERNEL.contains(&word) && !word.starts_with("x-") && !word.starts_with("comment=") {
            data.push(word);
        }
    }
    (flags, data.join(","))
}

/// Does it, in the child; returns the exit status.
pub fn run(mount: &Mount, up: bool, report: OwnedFd) -> i32 {
    let outcome = if up { do_mount(mount) } else { do_unmount(mount) };
    match outcome {
        Ok(()) => 0,
        Err(text) => {
            // The exit status tells of the failure if the pipe is broken.
            let _ = std::fs::File::from(report).write_all(format!("1 {text}\n").as_bytes());
            1
        }
    }
}

fn do_mount(mount: &Mount) -> Result<(), String> {
    let place = mount.where_.as_str();
    std::fs::create_dir_all(place).map_err(|error| format!("making {place}: {error}"))?;
    let (flags, data) = options(mount.options.as_deref().unwrap_or(""));
    let kind = mount.kind.as_deref().filter(|kind| *kind != "none");
    let result = nix::mount::mount(Some(mount.what.as_str()), place, kind, flags, Some(data.as_str()));
    result.map_err(|errno| format!("mounting {} at {place}: {}", mount.what, errno.desc()))?;
    let narrowing = flags & !(MsFlags::MS_BIND | MsFlags::MS_REC);
    if flags.contains(MsFlags::MS_BIND) && !narrowing.is_empty() {
        // A bind mount takes its flags only in a second step.
        let again = flags | MsFlags::MS_REMOUNT;
        nix::mount::mount(None::<&str>, place, None::<&str>, again, None::<&str>)
            .map_err(|errno| format!("setting the flags of {place}: {}", errno.desc()))?;
    }
    Ok(())
}

fn do_unmount(mount: &Mount) -> Result<(), String> {
    let mut flags = MntFlags::UMOUNT_NOFOLLOW;
    if mount.lazy_unmount {
        flags |= MntFlags::MNT_DETACH;
    }
    if mount.force_unmount {
        flags |= MntFlags::MNT_FORCE;
    }
    nix::mount::umount2(mount.where_.as_str(), flags).map_err(|e| format!("unmounting {}: {}", mount.where_, e.desc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_data() {
        let (flags, data) = options("mode=1777,strictatime,nosuid,nodev,size=50%,nofail,x-y=z,suid");
        assert_eq!(flags, MsFlags::MS_STRICTATIME | MsFlags::MS_NODEV);
        assert_eq!(data, "mode=1777,size=50%");
    }
}
