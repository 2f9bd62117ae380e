//! Mounts and unmounts. Runs in a child: a mount may hang for ever, PID 1 may not.

use std::io::Read;
use std::path::Path;

use ferrite_unit::environment::Environment;
use ferrite_unit::mount::Mount;
use nix::mount::{MntFlags, MsFlags};

use crate::child::Fault;

/// Flags with names; the second list takes a flag away.
const FLAGS: [(&str, MsFlags); 17] = [
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
    ("lazytime", MsFlags::MS_LAZYTIME),
    ("silent", MsFlags::MS_SILENT),
    ("mand", MsFlags::MS_MANDLOCK),
    ("remount", MsFlags::MS_REMOUNT),
    ("iversion", MsFlags::MS_I_VERSION),
    ("bind", MsFlags::MS_BIND),
    ("rbind", MsFlags::MS_BIND.union(MsFlags::MS_REC)),
];
const OPPOSITES: [(&str, MsFlags); 13] = [
    ("rw", MsFlags::MS_RDONLY),
    ("suid", MsFlags::MS_NOSUID),
    ("dev", MsFlags::MS_NODEV),
    ("exec", MsFlags::MS_NOEXEC),
    ("async", MsFlags::MS_SYNCHRONOUS),
    ("atime", MsFlags::MS_NOATIME),
    ("diratime", MsFlags::MS_NODIRATIME),
    ("norelatime", MsFlags::MS_RELATIME),
    ("nostrictatime", MsFlags::MS_STRICTATIME),
    ("nolazytime", MsFlags::MS_LAZYTIME),
    ("loud", MsFlags::MS_SILENT),
    ("nomand", MsFlags::MS_MANDLOCK),
    ("noiversion", MsFlags::MS_I_VERSION),
];
/// How mounts below spread to other name spaces.
const PROPAGATION: [(&str, MsFlags); 8] = [
    ("private", MsFlags::MS_PRIVATE),
    ("rprivate", MsFlags::MS_PRIVATE.union(MsFlags::MS_REC)),
    ("shared", MsFlags::MS_SHARED),
    ("rshared", MsFlags::MS_SHARED.union(MsFlags::MS_REC)),
    ("slave", MsFlags::MS_SLAVE),
    ("rslave", MsFlags::MS_SLAVE.union(MsFlags::MS_REC)),
    ("unbindable", MsFlags::MS_UNBINDABLE),
    ("runbindable", MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC)),
];
/// Options that speak to the manager or to mount(8), not to the kernel.
const NOT_FOR_KERNEL: [&str; 12] =
    ["defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group", "nogroup", "loop"];

/// The text of `Options=`, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    flags: MsFlags,
    propagation: MsFlags,
    /// What goes to the file system.
    data: String,
}

fn wish(text: &str) -> Wish {
    let (mut flags, mut propagation) = (MsFlags::empty(), MsFlags::empty());
    let mut data = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let named = |table: &[(&str, MsFlags)]| table.iter().find(|(name, _)| *name == word).map(|(_, flag)| *flag);
        let comment = word.starts_with("x-") || word.starts_with("X-") || word.starts_with("comment=");
        if let Some(flag) = named(&FLAGS) {
            flags |= flag;
        } else if let Some(flag) = named(&OPPOSITES) {
            flags &= !flag;
        } else if let Some(flag) = named(&PROPAGATION) {
            propagation |= flag;
        } else if !NOT_FOR_KERNEL.contains(&word) && !comment {
            data.push(word);
        }
    }
    Wish { flags, propagation, data: data.join(",") }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Mount it.
    Mount,
    /// Mount it again with the options of now.
    Remount,
    /// Unmount it.
    Unmount,
}

/// Does it, in the child.
pub fn run(mount: &Mount, deed: Deed) -> Result<(), Fault> {
    if deed != Deed::Unmount {
        // Nothing is executed that would read the names of the directories.
        crate::directories::make(&mount.exec, 0, 0, &mut Environment::new())?;
    }
    let outcome = match deed {
        Deed::Mount => do_mount(mount),
        Deed::Remount => remount(mount),
        Deed::Unmount => do_unmount(mount),
    };
    outcome.map_err(|text| Fault { code: 1, text })
}

fn do_mount(mount: &Mount) -> Result<(), String> {
    let place = mount.where_.as_str();
    make_directory(place, mount.directory_mode)?;
    if std::fs::canonicalize(place).is_ok_and(|path| path.as_os_str() != place) {
        return Err(format!("{place} leads elsewhere, through a link"));
    }
    if mount.is_bind() && !Path::new(&mount.what).exists() {
        make_directory(&mount.what, mount.directory_mode)?;
    }
    if let Some(program) = helper(mount) {
        return Err(execute(&program, mount));
    }
    let Wish { flags, propagation, data } = wish(mount.options.as_deref().unwrap_or(""));
    let found = kind_of(mount);
    let kind = found.as_deref();
    let attempt = |flags| nix::mount::mount(Some(mount.what.as_str()), place, kind, flags, Some(data.as_str()));
    let result = match attempt(flags) {
        Err(nix::Error::EROFS | nix::Error::EACCES)
            if !mount.read_write_only && !flags.contains(MsFlags::MS_RDONLY) =>
        {
            attempt(flags | MsFlags::MS_RDONLY)
        }
        other => other,
    };
    result.map_err(|errno| format!("mounting {} at {place}: {}", mount.what, errno.desc()))?;
    let narrowing = flags & !(MsFlags::MS_BIND | MsFlags::MS_REC);
    if flags.contains(MsFlags::MS_BIND) && !narrowing.is_empty() {
        // A bind mount takes its flags only in a second step.
        let again = flags | MsFlags::MS_REMOUNT;
        nix::mount::mount(None::<&str>, place, None::<&str>, again, None::<&str>)
            .map_err(|errno| format!("setting the flags of {place}: {}", errno.desc()))?;
    }
    if !propagation.is_empty() {
        nix::mount::mount(None::<&str>, place, None::<&str>, propagation, None::<&str>)
            .map_err(|errno| format!("setting the propagation of {place}: {}", errno.desc()))?;
    }
    Ok(())
}

fn remount(mount: &Mount) -> Result<(), String> {
    let Wish { flags, data, .. } = wish(mount.options.as_deref().unwrap_or(""));
    let flags = flags | MsFlags::MS_REMOUNT;
    nix::mount::mount(None::<&str>, mount.where_.as_str(), None::<&str>, flags, Some(data.as_str()))
        .map_err(|errno| format!("mounting {} again: {}", mount.where_, errno.desc()))
}

/// A place may be a file, if what is mounted there is one.
fn make_directory(path: &str, mode: u32) -> Result<(), String> {
    use std::os::unix::fs::DirBuilderExt;
    if Path::new(path).exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|error| format!("making {path}: {error}"))
}

/// The program for what the kernel alone cannot do: loop devices and file systems with a helper of their own.
fn helper(mount: &Mount) -> Option<String> {
    let there = |path: &String| Path::new(path).exists();
    let kind = mount.kind.as_deref().unwrap_or("auto");
    let own = ["/usr/sbin", "/sbin"].iter().map(|directory| format!("{directory}/mount.{kind}")).find(there);
    if mount.is_bind() || kind.contains('/') {
        return None;
    }
    let general = || ["/usr/bin/mount".to_owned(), "/bin/mount".to_owned()].into_iter().find(there);
    own.or_else(|| if mount.has_option("loop") { general() } else { None })
}

/// Executes a helper; returns only what went wrong.
fn execute(program: &str, mount: &Mount) -> String {
    let mut command = std::process::Command::new(program);
    command.arg(&mount.what).arg(&mount.where_);
    if let (true, Some(kind)) = (program.ends_with("/mount"), &mount.kind) {
        command.arg("-t").arg(kind);
    }
    if let Some(options) = &mount.options {
        command.arg("-o").arg(options);
    }
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    format!("executing {program}: {error}")
}

/// The file system: as written, or as its first bytes tell.
fn kind_of(mount: &Mount) -> Option<String> {
    match mount.kind.as_deref() {
        Some("none") => None,
        Some("auto") | None if !mount.is_bind() => {
            let mut bytes = Vec::new();
            let device = std::fs::File::open(&mount.what).ok()?;
            let limit = u64::try_from(ferrite_probe::PREFIX_BYTES).ok()?;
            device.take(limit).read_to_end(&mut bytes).ok()?;
            ferrite_probe::probe(&bytes).map(|found| found.kind.mount_type().to_owned())
        }
        other => other.map(str::to_owned),
    }
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
        let Wish { flags, propagation, data } =
            wish("mode=1777,strictatime,nosuid,nodev,size=50%,nofail,x-y=z,suid,rslave,X-mount.mkdir");
        assert_eq!(flags, MsFlags::MS_STRICTATIME | MsFlags::MS_NODEV);
        assert_eq!(propagation, MsFlags::MS_SLAVE | MsFlags::MS_REC);
        assert_eq!(data, "mode=1777,size=50%");
    }
}
